"""How far a pixel stands out from its surroundings of the same channel."""

from __future__ import annotations

import math

import numpy as np

from calibkit.kernels._jit import kernel
from calibkit.kernels.sorting import sort_values

#: Median of the neighbours and smooth level agree within so many sigma: four times what noise makes of it.
_AGREE = 0.8
#: The neighbours are looked at in windows of so many rows and columns: a vector, and the rows of a 2 × 2 pattern.
WINDOW_ROWS, WINDOW_COLUMNS = 7, 16


@kernel(apart=True)
def finite_rows(values, out):
    """Copy rows, NaN for what is not finite."""
    for i in range(values.shape[0]):
        row, target = values[i], out[i]
        for j in range(row.size):
            value = np.float32(row[j])
            target[j] = value if abs(value) < np.float32(np.inf) else np.float32(np.nan)


@kernel(apart=True)
def drop_flagged(flags, flag, out):
    """NaN in *out* where *flags* have *flag*."""
    for i in range(flags.shape[0]):
        row, target = flags[i], out[i]
        for j in range(row.size):
            target[j] = np.float32(np.nan) if row[j] & flag else target[j]


@kernel
def local_median(signal, taps, rings, a, b, y, x, values):
    """Median of the finite neighbours of (y, x), and their number; *values* is working space."""
    height, width = signal.shape
    count = 0
    for k in range(rings[a, b, rings.shape[2] - 1]):
        v, u = y + taps[a, b, k, 0], x + taps[a, b, k, 1]
        if v < 0 or v >= height or u < 0 or u >= width:
            continue
        value = signal[v, u]
        if math.isfinite(value):
            values[count] = value
            count += 1
    if count == 0:
        return math.nan, 0
    sort_values(values, count)
    half = count // 2
    if count % 2:
        return values[half], count
    return 0.5 * (values[half - 1] + values[half]), count


@kernel
def _counts_beside(signal, taps, rings, a, b, y, x, low, high):
    """How many neighbours of (y, x) there are, how many do not lie above *low*, and how many not below *high*."""
    height, width = signal.shape
    count = below = above = 0
    for k in range(rings[a, b, rings.shape[2] - 1]):
        v, u = y + taps[a, b, k, 0], x + taps[a, b, k, 1]
        if v < 0 or v >= height or u < 0 or u >= width:
            continue
        value = signal[v, u]
        if math.isfinite(value):
            count += 1
            below += value <= low
            above += value >= high
    return count, below, above


@kernel
def _surely_between(flat, at, rows, mask, count, low, high):
    """Whether more than half of the neighbours, were there all of them, lie above *low* and as many below *high*.

    Then their median lies between, whichever of them are missing. Rows of the window around the pixel begin in *flat*
    at place *at* and *rows* from it, and *mask* tells which of their pixels are its *count* neighbours: so they are
    compared with vector instructions. (Numbers without a sign are not looked at for places before the array.)
    """
    over = under = np.uint32(0)
    for part in range(rows.shape[0]):
        for j in range(np.uint64(WINDOW_COLUMNS)):
            for k in range(np.uint64(WINDOW_ROWS)):
                value = flat[at + rows[part, k] + j]
                over += np.uint32(value > low) & mask[part, k, j]
                under += np.uint32(value < high) & mask[part, k, j]
    return min(over, under) > max(count // 2, 2)


@kernel(apart=True)
def _between_columns(grid, labels, columns, weights, out):
    """A row of a grid of nodes (channel, column) on every column of the frame; *labels* are the channels of a cell's row."""
    for x in range(out.size):
        c, s, q = labels[x % labels.size], columns[x], weights[x]
        out[x] = grid[c, s] + q * (grid[c, s + 1] - grid[c, s])


@kernel(apart=True)
def _far_ones(row, levels, noises, weight, least, far):
    """Tell the pixels that lie more than *least* sigma from the smooth level, which is that between two rows."""
    for x in range(row.size):
        mean = levels[0, x] + weight * (levels[1, x] - levels[0, x])
        noise = noises[0, x] + weight * (noises[1, x] - noises[0, x])
        far[x] = abs(row[x] - mean) > least * noise


@kernel
def _list_true(mask, places):
    """List the places of what is true; returns how many they are."""
    count = 0
    for x in range(mask.size):
        places[count] = x
        count += np.int64(mask[x])
    return count


@kernel
def stand_out(
    signal,
    cell,
    taps,
    rings,
    window,
    mask,
    rows,
    row_weights,
    columns,
    column_weights,
    level,
    sigma,
    least,
    top,
    bottom,
    y0,
    place,
    stands,
):
    """List the pixels that lie *least* sigma from the smooth level, and by how many sigma above their surroundings.

    Only these are compared with the median of their neighbours too.

    Parameters
    ----------
    signal : array
        Rows of the frame, of which those from *top* to *bottom* are looked at; what is not finite, and so left out,
        is NaN.
    window, mask : arrays
        What `calibkit.defects.surroundings.window_of` makes of *taps*.
    rows, row_weights, columns, column_weights : arrays
        Node of the grids below or beside every row and column of the frame, and the weight of the next one.
    level, sigma : arrays, (channel, node row, node column)
        Smooth level and noise.
    y0 : int
        Row of the frame that *signal* begins with.
    place, stands : arrays
        Written to: places in the flat array of the rows that are looked at, in their order, and sigma.

    Returns
    -------
    int
        How many they are.
    """
    height, width = signal.shape
    py = cell.shape[0]
    qy, qx, most = taps.shape[:3]
    values = np.empty(most, np.float64)
    flat = signal.reshape(-1)
    halo, left = np.abs(taps[..., 0]).max(), np.abs(taps[..., 1]).max()
    window_rows = (window * width).astype(np.uint64)
    # Level and noise at the nodes above and below the row, and of which nodes these are.
    levels, noises = np.empty((py, 2, width), np.float64), np.empty((py, 2, width), np.float64)
    held = -1
    far, far_ones = np.empty(width, np.uint8), np.empty(width + 1, np.int64)
    listed = 0
    for y in range(top, bottom):
        r, p = rows[y0 + y], row_weights[y0 + y]
        if r != held:
            for a in range(py):
                for k in range(2):
                    _between_columns(level[:, r + k], cell[a], columns, column_weights, levels[a, k])
                    _between_columns(sigma[:, r + k], cell[a], columns, column_weights, noises[a, k])
            held = r
        mean_at, noise_at = levels[y % py], noises[y % py]
        _far_ones(signal[y], mean_at, noise_at, p, least, far)
        inside_rows = window.size > 0 and halo <= y < height - halo
        for k in range(_list_true(far, far_ones)):
            x = far_ones[k]
            mean = mean_at[0, x] + p * (mean_at[1, x] - mean_at[0, x])
            noise = noise_at[0, x] + p * (noise_at[1, x] - noise_at[0, x])
            # The median of some 40 pixels is noisier than the smooth level, so that it only speaks where they differ:
            # whether it does, counting tells.
            reach = _AGREE * noise
            reference = mean
            a, b = y % qy, x % qx
            inside = inside_rows and left <= x <= width - WINDOW_COLUMNS + left
            if not (
                inside
                and _surely_between(
                    flat,
                    np.uint64(y * width + x - left),
                    window_rows,
                    mask[a, b],
                    rings[a, b, rings.shape[2] - 1],
                    np.float32(mean - reach),
                    np.float32(mean + reach),
                )
            ):
                count, below, above = _counts_beside(
                    signal, taps, rings, a, b, y, x, mean - reach, mean + reach
                )
                if count < 3:
                    continue
                if max(below, above) > (count - 1) // 2:
                    middle, _ = local_median(signal, taps, rings, a, b, y, x, values)
                    reference = mean if abs(middle - mean) < reach else middle
            place[listed] = (y - top) * width + x
            stands[listed] = (signal[y, x] - reference) / noise
            listed += 1
    return listed


@kernel
def allow_for_lost(place, stands, kept, divisor):
    """Divide by the *divisor* that belongs to the number of frames that each pixel has *kept*."""
    flat = kept.reshape(-1)
    most = divisor.size - 1
    for k in range(place.size):
        stands[k] /= divisor[min(int(flat[place[k]]), most)]


@kernel
def mark_outstanding(place, stands, above, high, below, low, flags):
    """Set the flag *high* on pixels *above* a limit, and *low* on those *below* another."""
    flat = flags.reshape(-1)
    for k in range(place.size):
        if stands[k] > above:
            flat[place[k]] |= high
        if stands[k] < below:
            flat[place[k]] |= low


@kernel
def mark_flagged(known, flag, mark, flags):
    """Set *mark* on the pixels that are *known* to have *flag*."""
    for i in range(known.shape[0]):
        seen = known.dtype.type(0)
        for j in range(known.shape[1]):
            seen |= known[i, j]
        if seen & flag:  # few rows have one
            for j in range(known.shape[1]):
                if known[i, j] & flag:
                    flags[i, j] |= mark


@kernel(apart=True)
def _count_above(row, bounds):
    count = 0
    for x in range(row.size):
        count += np.float64(row[x]) > bounds[x]
    return count


@kernel
def places_above(values, cell, level, down, across, factor, place):
    """List the places in flat *values* that lie above *factor* times the *level* of their tile; returns how many they are.

    *down* and *across* are the tile (row, column) of every row and column, *level* is (channel, row, column).
    """
    height, width = values.shape
    py, px = cell.shape
    bounds = np.empty((py, width), np.float64)
    held = -1
    listed = 0
    for y in range(height):
        if down[y] != held:
            held = down[y]
            for a in range(py):
                for x in range(width):
                    bounds[a, x] = factor * level[cell[a, x % px], held, across[x]]
        bound = bounds[y % py]
        if _count_above(values[y], bound):
            for x in range(width):
                if values[y, x] > bound[x]:
                    place[listed] = y * width + x
                    listed += 1
    return listed

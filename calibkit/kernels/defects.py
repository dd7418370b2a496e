"""How far a pixel stands out from its surroundings of the same channel."""

from __future__ import annotations

import math

import numpy as np

from calibkit.kernels._jit import kernel

#: Median of the neighbours and smooth level agree within so many sigma: four times what noise makes of it.
_AGREE = 0.8
#: Values that a median to start from is taken of.
_ENOUGH = 200


@kernel
def _clipped(values, n, apart, clip):
    """Mean and standard deviation of the first *n* values, of those within *clip* sigma; *apart* is working space."""
    # The clipping starts from a part of the values: it ends at the same, or next to it.
    step = max(1, n // _ENOUGH)
    centre = np.median(values[:n:step])
    for k in range(n):
        apart[k] = abs(values[k] - centre)
    spread = 1.4826 * np.median(apart[:n:step])
    if spread == 0.0:  # more than half are equal, as in coarse whole numbers
        total = 0.0
        for k in range(n):
            total += apart[k]
        spread = 1.2533 * total / n  # what it is of normal values' mean deviation
    for _ in range(5):
        count = 0
        total = squares = 0.0
        for k in range(n):
            d = values[k] - centre
            if abs(d) <= clip * spread:
                count += 1
                total += d
                squares += d * d
        before = spread
        shift = total / count
        spread = math.sqrt(max(squares / count - shift * shift, 0.0))
        centre += shift
        if abs(before - spread) <= 1e-3 * spread:
            break
    return centre, spread


@kernel
def tile_statistics(band, cell, columns, width, clip, mean, sigma):
    """Mean and standard deviation of each channel in the tiles of *band*, of what lies within *clip* sigma.

    Parameters
    ----------
    band : array
        Rows of one row of tiles, the first with the phase of ``cell[0]``.
    columns : array
        First columns of the tiles, whole cells; *width* is their width.
    mean, sigma : arrays, (channel, tile)
        Written to; NaN with fewer than four finite values.
    """
    py, px = cell.shape
    values = np.empty(band.shape[0] * width, np.float64)
    apart = np.empty(values.size, np.float64)
    for t in range(columns.size):
        for c in range(mean.shape[0]):
            n = 0
            for i in range(band.shape[0]):
                for b in range(px):  # tiles begin with a whole cell
                    if cell[i % py, b] != c:
                        continue
                    for j in range(columns[t] + b, columns[t] + width, px):
                        if math.isfinite(band[i, j]):
                            values[n] = band[i, j]
                            n += 1
            mean[c, t] = sigma[c, t] = math.nan
            if n >= 4:
                mean[c, t], sigma[c, t] = _clipped(values, n, apart, clip)


@kernel
def tile_roughness(band, cell, columns, width, clip, wanted, sigma):
    """Standard deviation in the *wanted* tiles without the slope of the level, where that makes *sigma* smaller.

    It is that of every pixel's difference from the mean of the two beside it on a diagonal, a cell away, to which
    even steep glow adds next to nothing. Parameters as for `tile_statistics`; *wanted* is boolean (channel, tile).
    """
    py, px = cell.shape
    values = np.empty(band.shape[0] * width, np.float64)
    apart = np.empty(values.size, np.float64)
    for t in range(columns.size):
        for c in range(sigma.shape[0]):
            if not wanted[c, t]:
                continue
            n = 0
            for i in range(py, band.shape[0] - py):
                for b in range(px):
                    if cell[i % py, b] != c:
                        continue
                    for j in range(columns[t] + px + b, columns[t] + width - px, px):
                        value = band[i, j] - 0.5 * (band[i - py, j - px] + band[i + py, j + px])
                        if math.isfinite(value):
                            values[n] = value
                            n += 1
            if n >= 4:
                _, rough = _clipped(values, n, apart, clip)
                sigma[c, t] = min(sigma[c, t], rough / math.sqrt(1.5))


@kernel
def sort_values(values, count):
    """Sort the first *count* values in place (few of them: by insertion)."""
    for k in range(1, count):
        value = values[k]
        m = k - 1
        while m >= 0 and values[m] > value:
            values[m + 1] = values[m]
            m -= 1
        values[m + 1] = value


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
def _median_within(signal, taps, rings, a, b, y, x, low, high):
    """Whether the median of the neighbours of (y, x) lies between *low* and *high*, which counting tells, and their number."""
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
    half = (count - 1) // 2
    return count > 0 and below <= half and above <= half, count


@kernel
def stand_out(
    signal, cell, taps, rings, rows, row_weights, columns, column_weights, level, sigma, least, top, y0, out
):
    """Write into *out* by how many sigma a pixel lies above its surroundings, 0 for ordinary ones.

    Only pixels that lie *least* sigma from the smooth level are compared with the median of their neighbours too.

    Parameters
    ----------
    signal : array
        Rows of the frame, from *top* rows above the first row of *out*; NaN is left out.
    rows, row_weights, columns, column_weights : arrays
        Node of the grids below or beside every row and column of the frame, and the weight of the next one.
    level, sigma : arrays, (channel, node row, node column)
        Smooth level and noise.
    y0 : int
        Row of the frame that *signal* begins with.
    """
    py, px = cell.shape
    qy, qx = rings.shape[:2]
    values = np.empty(taps.shape[2], np.float64)
    for i in range(out.shape[0]):
        y = i + top
        r, p = rows[y0 + y], row_weights[y0 + y]
        for x in range(signal.shape[1]):
            out[i, x] = 0.0
            value = np.float64(signal[y, x])
            if not math.isfinite(value):
                continue
            c = cell[y % py, x % px]
            s, q = columns[x], column_weights[x]
            w00, w01, w10, w11 = (1 - p) * (1 - q), (1 - p) * q, p * (1 - q), p * q
            noise = (
                w00 * sigma[c, r, s]
                + w01 * sigma[c, r, s + 1]
                + w10 * sigma[c, r + 1, s]
                + w11 * sigma[c, r + 1, s + 1]
            )
            mean = (
                w00 * level[c, r, s]
                + w01 * level[c, r, s + 1]
                + w10 * level[c, r + 1, s]
                + w11 * level[c, r + 1, s + 1]
            )
            if not abs(value - mean) > least * noise:
                continue
            # The median of some 40 pixels is noisier than the smooth level, so that it only speaks where they differ.
            reach = _AGREE * noise
            agrees, count = _median_within(
                signal, taps, rings, y % qy, x % qx, y, x, mean - reach, mean + reach
            )
            if count < 3:
                continue
            reference = mean
            if not agrees:
                middle, count = local_median(signal, taps, rings, y % qy, x % qx, y, x, values)
                reference = mean if abs(middle - mean) < reach else middle
            out[i, x] = (value - reference) / noise

"""Clipped mean and standard deviation of a frame's channels in tiles."""

from __future__ import annotations

import math

import numpy as np

from calibkit.kernels._jit import kernel
from calibkit.kernels.sorting import sort_values

#: Values that a median to start from is taken of.
_ENOUGH = 200
#: So few values are sorted to find the one in the middle; so often the others are halved before, at most.
_FEW, _HALVINGS = 12, 40


@kernel
def _count_to(values, n, bound):
    """How many of the first *n* values are not above *bound*."""
    count = np.int32(0)
    for k in range(n):
        count += np.int32(values[k] <= bound)
    return count


@kernel(fastmath={"reassoc", "nsz"})  # sums in several parts, or they are not made with vector instructions
def _mean_distance(values, n, centre):
    """Mean distance of the first *n* values from *centre*, and the mean of the differences."""
    total = distance = 0.0
    for k in range(n):
        d = values[k] - centre
        total += d
        distance += abs(d)
    return distance / n, total / n


@kernel
def _median(values, n, few):
    """Median of the first *n* values, in *few*, which is working space, those next to it.

    A search by halves, whose counts are made with vector instructions: most of the time of picking values in turn
    goes into branches that are taken by chance.
    """
    first, last = (n - 1) // 2, n // 2
    _, mean = _mean_distance(values, n, 0.0)
    reach, _ = _mean_distance(values, n, mean)  # the median is never farther from the mean
    reach = (1 + 1e-9) * reach + 1e-9 * abs(mean) + 1e-300  # rounding; *low* has to lie below it
    low, high = mean - reach, mean + reach
    before, upto = _count_to(values, n, low), _count_to(values, n, high)
    for _ in range(_HALVINGS):
        if upto - before <= _FEW:
            break
        middle = 0.5 * (low + high)
        count = _count_to(values, n, middle)
        if count <= first:
            low, before = middle, count
        elif count > last:
            high, upto = middle, count
        else:
            break
    found = 0
    for k in range(n):
        few[found] = values[k]
        found += low < values[k] <= high  # the next one takes the place of one that is not
    sort_values(few, found)
    return 0.5 * (few[first - before] + few[last - before])


@kernel(fastmath={"reassoc", "nsz"})
def _sums_within(values, n, centre, limit):
    """Number of the first *n* values within *limit* of *centre*, sum of their differences and of the squares."""
    count = 0
    total = squares = 0.0
    for k in range(n):
        d = values[k] - centre
        inside = abs(d) <= limit
        d = d if inside else 0.0
        count += inside
        total += d
        squares += d * d
    return count, total, squares


@kernel
def _clipped(values, n, sample, few, clip):
    """Mean and standard deviation of the first *n* values, of those within *clip* sigma.

    *sample* and *few* are working space for as many values.
    """
    # The clipping starts from a part of the values: it ends at the same, or next to it.
    count = 0
    for k in range(0, n, max(1, n // _ENOUGH)):
        sample[count] = values[k]
        count += 1
    centre = _median(sample, count, few)
    for k in range(count):
        sample[k] = abs(sample[k] - centre)
    spread = 1.4826 * _median(sample, count, few)
    if spread == 0.0:  # more than half are equal, as in coarse whole numbers
        # what it is of normal values' mean deviation
        spread = 1.2533 * _mean_distance(values, n, centre)[0]
    for _ in range(5):
        count, total, squares = _sums_within(values, n, centre, clip * spread)
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
    sample, few = np.empty(values.size, np.float64), np.empty(values.size, np.float64)
    for t in range(columns.size):
        for c in range(mean.shape[0]):
            n = 0
            for i in range(band.shape[0]):
                for b in range(px):  # tiles begin with a whole cell
                    if cell[i % py, b] != c:
                        continue
                    for j in range(columns[t] + b, columns[t] + width, px):
                        values[n] = band[i, j]
                        n += math.isfinite(band[i, j])  # the next one takes the place of one that is not
            mean[c, t] = sigma[c, t] = math.nan
            if n >= 4:
                mean[c, t], sigma[c, t] = _clipped(values, n, sample, few, clip)


@kernel
def tile_roughness(band, cell, columns, width, clip, wanted, sigma):
    """Standard deviation in the *wanted* tiles without the slope of the level, where that makes *sigma* smaller.

    It is that of every pixel's difference from the mean of the two beside it on a diagonal, a cell away, to which
    even steep glow adds next to nothing. Parameters as for `tile_statistics`; *wanted* is boolean (channel, tile).
    """
    py, px = cell.shape
    values = np.empty(band.shape[0] * width, np.float64)
    sample, few = np.empty(values.size, np.float64), np.empty(values.size, np.float64)
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
                        values[n] = value
                        n += math.isfinite(value)
            if n >= 4:
                _, rough = _clipped(values, n, sample, few, clip)
                sigma[c, t] = min(sigma[c, t], rough / math.sqrt(1.5))

"""The sky of a picture: its level and noise in tiles, in spite of stars, and taking it away along a smooth surface."""

from __future__ import annotations

import math

import numpy as np

from calibkit.kernels._jit import kernel

#: Bins of a tile's histogram at most, over so many sigma to both sides; rounds of clipping at most.
_BINS, _REACH, _ROUNDS = 1024, 5.0, 100


@kernel(fastmath={"reassoc"})  # sums in several parts at a time; NaN keeps its meaning
def _moments(values, low, high):
    """How many values lie from *low* to *high*, their mean and standard deviation."""
    count = 0.0
    total = 0.0
    for i in range(values.size):
        within = (values[i] >= low) & (values[i] <= high)
        total += np.float64(values[i]) if within else 0.0
        count += 1.0 if within else 0.0
    mean = total / count
    square = 0.0
    for i in range(values.size):
        d = np.float64(values[i]) - mean
        square += d * d if (values[i] >= low) & (values[i] <= high) else 0.0
    return count, mean, math.sqrt(square / count)


@kernel
def _fill(values, low, width, place, histogram):
    """Count *values* in bins of this *width* from *low* on; the last one takes what lies outside or is NaN."""
    histogram[:] = 0
    scale = 1.0 / width
    last = histogram.size - 1
    for i in range(values.size):
        at = (np.float64(values[i]) - low) * scale
        place[i] = np.int32(at) if (at >= 0.0) & (at < last) else np.int32(last)
    for i in range(values.size):
        histogram[place[i]] += 1


@kernel
def _part(histogram, first, last):
    """Median, mean and standard deviation, in bins, of what is in the bins from *first* to *last*."""
    count = 0
    total = 0
    square = 0
    for i in range(first, last + 1):
        k = np.int64(histogram[i])
        count += k
        total += k * i
        square += k * i * i
    if count == 0:
        return 0.5, 0.5, 0.0
    mean = total / count
    below = 0
    i = first
    while 2 * (below + histogram[i]) < count:
        below += histogram[i]
        i += 1
    median = i + (0.5 * count - below) / histogram[i]
    return median, mean + 0.5, math.sqrt(max(square / count - mean * mean, 0.0))


@kernel
def _sky(values, place, histogram):
    """How many values of a tile are there, and mode and standard deviation of the sky among them; NaN if half are missing."""
    count, mean, sigma = _moments(values, -np.inf, np.inf)
    if count < 0.5 * values.size:
        return count, np.nan, np.nan
    _, mean, sigma = _moments(values, np.float32(mean - 2.0 * sigma), np.float32(mean + 2.0 * sigma))
    if not sigma > 0.0:
        return count, mean, 0.0
    bins = min(values.size, _BINS)
    low, width = mean - _REACH * sigma, 2.0 * _REACH * sigma / bins
    _fill(values, low, width, place, histogram[: bins + 1])
    first, last = 0, bins - 1
    before = np.inf
    median, middle, spread = _part(histogram, first, last)
    for _ in range(_ROUNDS):
        if not spread > 0.1 or abs(spread / before - 1.0) < 1e-4:
            break
        before = spread
        first = max(0, math.floor(median - 3.0 * spread))
        last = min(bins - 1, math.floor(median + 3.0 * spread))
        median, middle, spread = _part(histogram, first, last)
    if abs(middle - median) < 0.3 * spread:  # else too many stars for the relation of mean, median and mode
        median = 2.5 * median - 1.5 * middle
    return count, low + median * width, spread * width


@kernel
def tile_sky(plane, tile, level, sigma):
    """Mode and standard deviation of the sky in tiles of *tile* × *tile*, the last ones smaller; NaN in those half empty.

    Returns
    -------
    float
        How many values of *plane* are there.
    """
    height, width = plane.shape
    there = 0.0
    place = np.empty(tile * tile, np.int32)
    histogram = np.empty(_BINS + 1, np.int32)
    values = np.empty(tile * tile, np.float32)
    for row in range(level.shape[0]):
        y0, y1 = row * tile, min((row + 1) * tile, height)
        for column in range(level.shape[1]):
            x0, x1 = column * tile, min((column + 1) * tile, width)
            size = 0
            for y in range(y0, y1):
                values[size : size + x1 - x0] = plane[y, x0:x1]
                size += x1 - x0
            count, level[row, column], sigma[row, column] = _sky(values[:size], place, histogram)
            there += count
    return there


@kernel(apart=True)
def _subtract_cubic(row, start, step, left, right, bend_left, bend_right):
    """Subtract a cubic between two nodes, with its second derivatives there, from places *start*, *start* + *step* … on."""
    for i in range(row.size):
        b = start + step * np.float32(i)
        a = np.float32(1.0) - b
        bend = a * (a * a - np.float32(1.0)) * bend_left + b * (b * b - np.float32(1.0)) * bend_right
        rest = row[i] - (a * left + b * right + bend)
        row[i] = np.float32(0.0) if math.isnan(rest) else rest


@kernel
def subtract_surface(plane, tile, nodes, bends):
    """Subtract from every row of *plane* a cubic spline; zero where there is nothing.

    ``nodes`` (row, column of tiles) holds its values in the middle of the tiles, ``bends`` a sixth of its second
    derivatives per tile², both in single precision.
    """
    height, width = plane.shape
    count = nodes.shape[1]
    step = np.float32(1.0 / tile)
    for y in range(height):
        for k in range(max(count - 1, 1)):
            # from the middle of this tile to that of the next; the first and the last cubic go on to the edges
            x0 = 0 if k == 0 else math.ceil((k + 0.5) * tile - 0.5)
            x1 = width if k >= count - 2 else min(width, math.ceil((k + 1.5) * tile - 0.5))
            start = np.float32((x0 + 0.5) / tile - 0.5 - k)
            other = min(k + 1, count - 1)
            _subtract_cubic(
                plane[y, x0:x1], start, step, nodes[y, k], nodes[y, other], bends[y, k], bends[y, other]
            )

"""Scatter of many short rows of values without their outliers; what is not finite is not there."""

from __future__ import annotations

import math

import numpy as np

from calibkit.kernels._jit import kernel


@kernel(fastmath={"reassoc"})  # sums in several parts at a time; NaN keeps its meaning
def moments(row):
    """How many values there are, their mean, and the sum of the squares of their differences from it."""
    count = 0.0
    total = 0.0
    for i in range(row.size):
        missing = np.isnan(row[i])
        total += 0.0 if missing else row[i]
        count += 0.0 if missing else 1.0
    mean = total / count
    square = 0.0
    for i in range(row.size):
        d = row[i] - mean
        square += 0.0 if np.isnan(d) else d * d
    return count, mean, square


@kernel
def drop_far(row, centre, reach):
    """NaN for what is further than *reach* from *centre*; returns how many these are."""
    far = 0
    for i in range(row.size):
        outside = abs(row[i] - centre) > reach
        row[i] = np.nan if outside else row[i]
        far += outside
    return far


@kernel
def drop_outliers(row, limit, rounds):
    """NaN for what is further than *limit* sigma from the mean, found again at most *rounds* times."""
    for _ in range(rounds):
        count, mean, square = moments(row)
        if drop_far(row, mean, limit * math.sqrt(square / count)) == 0:
            break


@kernel
def variance_of(row, limit, rounds, least):
    """Variance of a row (divisor n − 1) without its outliers, which become NaN; NaN for fewer than *least* values."""
    count, _, _ = moments(row)
    if count < least:
        return np.nan
    drop_outliers(row, limit, rounds)
    count, _, square = moments(row)
    return square / (count - 1.0)


@kernel
def variances(values, limit, rounds, least, variance):
    """`variance_of` each row of *values*, whose infinities count as not there."""
    row = np.empty(values.shape[1])
    for k in range(values.shape[0]):
        for i in range(row.size):
            v = np.float64(values[k, i])
            row[i] = v if abs(v) < np.inf else np.nan
        variance[k] = variance_of(row, limit, rounds, least)


@kernel
def add_there(values, total, count):
    """Add the values that are there to the sums."""
    for i in range(values.size):
        v = np.float64(values[i])
        there = abs(v) < np.inf
        total[i] += v if there else 0.0
        count[i] += 1.0 if there else 0.0


@kernel
def subtract_kept(first, second, kept, out):
    """Differences where *kept* is not NaN and both are finite, else NaN."""
    for i in range(out.size):
        d = np.float64(first[i]) - np.float64(second[i])
        out[i] = d if (abs(d) < np.inf) & ~np.isnan(kept[i]) else np.nan


@kernel
def measure_pairs(values, limit, rounds, level, variance):
    """Levels of tiles and variances of the differences of their frames two by two, of the same pixels.

    Parameters
    ----------
    values : array
        (frame, tile, pixel).
    limit, rounds : float, int
        As for `drop_outliers`.
    level, variance : array
        Results, (tile,) and (pair, tile); a variance of fewer than half of the pixels is NaN.
    """
    frames, tiles, pixels = values.shape
    kept = np.empty(pixels)
    count = np.empty(pixels)
    row = np.empty(pixels)
    least = max(3, pixels // 2)
    for k in range(tiles):
        kept[:] = 0.0
        count[:] = 0.0
        for f in range(frames):
            add_there(values[f, k], kept, count)
        kept /= count
        drop_outliers(kept, limit, rounds)  # hot pixels, which level and noise leave out both
        _, level[k], _ = moments(kept)
        for pair in range(frames // 2):
            subtract_kept(values[2 * pair, k], values[2 * pair + 1, k], kept, row)
            variance[pair, k] = variance_of(row, limit, rounds, least)


@kernel(fastmath={"reassoc"})
def sum_below(row, limit):
    """Sum and number of the values below *limit*, and how many are not."""
    total = 0.0
    count = 0.0
    above = 0.0
    for i in range(row.size):
        v = np.float64(row[i])
        full = v >= limit
        left_out = full | ~(v > -np.inf)
        total += 0.0 if left_out else v
        count += 0.0 if left_out else 1.0
        above += 1.0 if full else 0.0
    return total, count, above


@kernel
def sum_tiles(values, limit, total, count, above):
    """`sum_below` of every tile of every frame, (frame, tile, pixel)."""
    for f in range(values.shape[0]):
        for k in range(values.shape[1]):
            total[f, k], count[f, k], above[f, k] = sum_below(values[f, k], limit)


@kernel
def ratio_variances(first, second, ratio, full, limit, rounds, least, variance):
    """`variance_of` what *first* has more than *ratio* times *second*, tile by tile, where both are below *full*."""
    row = np.empty(first.shape[1])
    for k in range(first.shape[0]):
        for i in range(row.size):
            a, b = np.float64(first[k, i]), np.float64(second[k, i])
            d = a - ratio * b
            row[i] = np.nan if (a >= full) | (b >= full) | ~(abs(d) < np.inf) else d
        variance[k] = variance_of(row, limit, rounds, least)

"""Tiles: the samples of some pixels in single precision, for work on many pixels with vector instructions.

A tile is (sample, column); a column holds the differences of one pixel's sorted samples from some centre,
filled up with zeros.
"""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel

#: Samples in a tile, so that it stays in the first-level cache.
TILE_SAMPLES = 6000


@kernel
def tile_width(n):
    """Pixels in a tile of *n* samples each."""
    return max(32, min(256, TILE_SAMPLES // n // 16 * 16))


@kernel
def load_tile(s, start, width, centre, tile):
    """Differences of *width* pixels' samples from *centre*, in single precision."""
    for j in range(s.shape[0]):
        differences(s[j, start : start + width], centre, width, tile[j])


@kernel(apart=True)
def differences(row, centre, width, out):
    """Differences of a row of samples from *centre*, in single precision."""
    if row.itemsize == 2:  # 16-bit numbers and their medians are exact in it
        for i in range(width):
            out[i] = np.float32(row[i]) - np.float32(centre[i])
    else:
        for i in range(width):
            out[i] = np.float64(row[i]) - centre[i]


@kernel(apart=True)
def pick(row, place, width, out):
    """The values of *row* at some places."""
    for c in range(width):
        out[c] = row[place[c]]


@kernel(apart=True)
def middles(lower, upper, width, centre):
    """Means of the two middle samples."""
    for i in range(width):
        centre[i] = 0.5 * (np.float64(lower[i]) + np.float64(upper[i]))


@kernel
def follow_each_other(pixel, columns, first, last, n):
    """Whether these ascending pixels follow each other, with all of *n* samples in their windows."""
    begin = pixel[0]
    if pixel[columns - 1] - begin != columns - 1:
        return False
    least = n
    for p in range(begin, begin + columns):
        least = min(least, last[p] - first[p])
    return least == n


@kernel(apart=True)
def step_down(at, number, rank, stride, width):
    """Move places in a flat array to the next row, those that have reached the end of their window but not."""
    for c in range(width):
        at[c] += stride if rank < number[c] else np.uint32(0)


@kernel(apart=True)
def blank(row, number, rank, width):
    """Zeros where a window has no sample of this rank."""
    for c in range(width):
        row[c] = row[c] if rank < number[c] else np.float32(0.0)


@kernel
def load_windows(s, pixel, columns, first, last, centre, number, at, values, tile):
    """Median and number of the samples in the windows of some ascending pixels, and a tile of the differences.

    ``at`` (uint32) and ``values`` (as *s*) are arrays to work in.
    """
    n, stride = s.shape
    if follow_each_other(pixel, columns, first, last, n):
        begin = pixel[0]
        end = begin + columns
        middles(s[(n - 1) // 2, begin:end], s[n // 2, begin:end], columns, centre)
        number[:columns] = n
        load_tile(s, begin, columns, centre, tile)
        return
    longest = 0
    shortest = n
    for c in range(columns):
        p = pixel[c]
        a = first[p]
        k = last[p] - a
        centre[c] = 0.5 * (np.float64(s[a + (k - 1) // 2, p]) + np.float64(s[a + k // 2, p]))
        number[c] = k
        at[c] = a * stride + p
        longest = max(longest, k)
        shortest = min(shortest, k)
    flat = s.reshape(-1)
    for j in range(longest):  # row by row: neighbouring pixels are in the same lines of the cache
        pick(flat, at, columns, values)
        differences(values, centre, columns, tile[j])
        if j >= shortest:
            blank(tile[j], number, np.float32(j), columns)
        step_down(at, number, np.float32(j + 1), np.uint32(stride), columns)
    tile[longest:, :columns] = 0.0


@kernel
def pixels_above(count, size, least, pixel):
    """List the pixels that have more than *least* samples; returns how many there are."""
    found = 0
    for p in range(size):
        pixel[found] = p
        found += count[p] > least
    return found


@kernel
def fewest(count, size):
    """The least number of samples that any of the pixels has."""
    least = count[0]
    for p in range(size):
        least = min(least, count[p])
    return least

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
    words = s.itemsize == 2  # 16-bit numbers and their medians are exact in single precision
    for j in range(s.shape[0]):
        row = s[j, start : start + width]
        target = tile[j]
        if words:
            for i in range(width):
                target[i] = np.float32(row[i]) - np.float32(centre[i])
        else:
            for i in range(width):
                target[i] = np.float64(row[i]) - centre[i]


@kernel
def contiguous(pixel, first, last, n):
    """Whether these ascending pixels follow each other, with all of *n* samples in their windows."""
    columns = pixel.size
    together = pixel[columns - 1] - pixel[0] == columns - 1
    for c in range(columns):
        together &= last[pixel[c]] - first[pixel[c]] == n
    return together


@kernel
def load_columns(s, pixel, columns, first, last, centre, tile):
    """`load_tile` for the windows of some pixels, in ascending order, filled up with zeros."""
    n, stride = s.shape
    if contiguous(pixel[:columns], first, last, n):
        load_tile(s, pixel[0], columns, centre, tile)
        return
    flat = s.reshape(-1)
    words = s.itemsize == 2
    for c in range(columns):
        p = pixel[c]
        k = last[p] - first[p]
        at = np.uint64(first[p] * stride + p)  # a number without a sign spares a check of each index
        z = centre[c]
        if words:
            for j in range(k):
                tile[j, c] = np.float32(flat[at]) - np.float32(z)
                at += np.uint64(stride)
        else:
            for j in range(k):
                tile[j, c] = np.float64(flat[at]) - z
                at += np.uint64(stride)
        for j in range(k, n):
            tile[j, c] = 0.0


@kernel
def pixels_above(count, size, least, pixel):
    """List the pixels that have more than *least* samples; returns how many there are."""
    found = 0
    for p in range(size):
        if count[p] > least:
            pixel[found] = p
            found += 1
    return found

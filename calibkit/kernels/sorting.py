"""Sorting the samples of every pixel with a network, many pixels at a time.

A sorting network is a fixed list of compare-and-swap steps, so the same step is done for a whole
block of pixels with vector instructions and without a branch.

References
----------
Batcher, K. E. 1968, "Sorting networks and their applications", AFIPS Spring Joint Computing
Conference 32, 307 (merge exchange: Knuth, The Art of Computer Programming 3, algorithm 5.2.2M).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from calibkit.kernels._jit import kernel


@lru_cache(maxsize=64)
def network(count: int, wanted: tuple[int, ...] | None = None) -> np.ndarray:
    """Compare-and-swap steps that sort *count* values, as an int32 array of shape (steps, 2).

    With *wanted*, steps that do not bear on the values of these ranks are left out.
    """
    steps: list[np.ndarray] = []
    if count > 1:
        top = 1 << ((count - 1).bit_length() - 1)
        p = top
        while p > 0:
            q, r, d = top, 0, p
            while d > 0:
                first = np.arange(count - d, dtype=np.int32)
                first = first[(first & p) == r]
                steps.append(np.stack([first, first + d], axis=1))
                d, q, r = q - p, q >> 1, p
            p >>= 1
    table = np.concatenate(steps).astype(np.int32) if steps else np.empty((0, 2), np.int32)
    if wanted is None:
        return table
    needed = np.zeros(count, bool)
    needed[list(wanted)] = True
    used = np.zeros(len(table), bool)
    for index in range(len(table) - 1, -1, -1):
        a, b = table[index]
        if needed[a] or needed[b]:
            used[index] = needed[a] = needed[b] = True
    return table[used]


@kernel(apart=True)
def order(upper, lower, width):
    """Put the smaller of each pair of values into *upper*, the larger into *lower*."""
    for i in range(width):
        a = upper[i]
        b = lower[i]
        upper[i] = a if a < b else b  # noqa: FURB136 (compiles to one vector instruction, min() to two)
        lower[i] = b if a < b else a  # noqa: FURB136


@kernel
def sort_block(block, width, steps):
    """Sort the first *width* columns of ``block`` (samples, pixels), each by itself, in place."""
    for step in range(steps.shape[0]):
        order(block[steps[step, 0]], block[steps[step, 1]], width)


@kernel(apart=True)
def copy(source, target, width):
    """Copy *width* values."""
    for i in range(width):
        target[i] = source[i]


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

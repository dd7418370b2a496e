"""Sorting the samples of a chunk of pixels, and their mean and scatter, while they are in the first-level cache."""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel
from calibkit.kernels.sorting import copy, sort_block


@kernel(apart=True)
def add_four(a, b, c, d, zero, width, total, square):
    """Add the differences of four rows of samples from *zero*, and their squares, to the sums."""
    number = total.dtype.type
    for i in range(width):
        z = number(zero[i])
        p = number(a[i]) - z
        q = number(b[i]) - z
        r = number(c[i]) - z
        s = number(d[i]) - z
        total[i] += (p + q) + (r + s)
        square[i] += (p * p + q * q) + (r * r + s * s)


@kernel(apart=True)
def add_present(row, zero, width, total, square, count):
    """Add the differences of one row of samples from *zero*, but for those that are missing."""
    number = total.dtype.type
    for i in range(width):
        there = row[i] < np.inf
        d = number(row[i]) - number(zero[i]) if there else number(0.0)
        total[i] += d
        square[i] += d * d
        count[i] += there


@kernel(apart=True)
def finish_moments(zero, total, square, width, count, last, mean, scatter):
    """Mean and sample variance (divisor k − 1) from the sums, NaN where they do not exist."""
    for i in range(width):
        k = np.float64(count[i])
        sum_of = np.float64(total[i])
        shift = sum_of / k
        rest = np.float64(square[i]) - sum_of * shift
        rest = rest if rest > 0.0 else 0.0  # noqa: FURB136 (one vector instruction)
        mean[i] = np.float64(zero[i]) + shift
        scatter[i] = rest / (k - 1.0) if k > 1.0 else np.nan
        last[i] = count[i]


@kernel(apart=True)
def all_there(highest, width):
    """Whether none of the highest samples is missing."""
    missing = np.int32(0)
    for i in range(width):
        missing |= np.int32(not (highest[i] < np.inf))
    return missing == 0


@kernel
def sort_and_measure(
    x, offset, size, steps, top, bottom, complete, block, total, square, s, count, first, last, mean, scatter
):
    """Sort the samples of *size* pixels of *x* (samples, pixels) from *offset* on, block by block.

    Parameters
    ----------
    steps : array
        A network of `calibkit.kernels.sorting`.
    top, bottom : int
        Only the sorted rows from *top* up to *bottom* are put into *s*.
    complete : bool
        No sample is missing. Otherwise *steps* has to sort them all, so that missing ones come last, and tell by that
        where none is.
    block, total, square : array
        To work in: (samples, some pixels) and (some pixels,), the sums in the precision that the samples deserve.
    s, count, first, last, mean, scatter : array
        Results: sorted samples, how many are there, the window of all of them, their mean and sample variance.
    """
    n = x.shape[0]
    for start in range(0, size, block.shape[1]):
        width = min(block.shape[1], size - start)
        end = start + width
        for f in range(n):
            copy(x[f, offset + start : offset + end], block[f], width)
        sort_block(block, width, steps)
        for f in range(top, bottom):
            copy(block[f], s[f, start:end], width)
        # sums are of the differences from a sample that is no outlier, so that no digits are lost
        whole = complete or all_there(block[n - 1], width)
        zero = block[n // 2 if whole else 0]
        total[:width] = 0.0
        square[:width] = 0.0
        first[start:end] = 0
        count[start:end] = n if whole else 0
        if whole:
            for f in range(0, n, 4):
                b = block[f + 1] if f + 1 < n else zero
                c = block[f + 2] if f + 2 < n else zero
                d = block[f + 3] if f + 3 < n else zero
                add_four(block[f], b, c, d, zero, width, total, square)
        else:
            for f in range(n):
                add_present(block[f], zero, width, total, square, count[start:end])
        finish_moments(
            zero, total, square, width, count[start:end], last[start:end], mean[start:end], scatter[start:end]
        )

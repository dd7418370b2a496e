"""Which samples of a pixel are outliers: one kernel per method.

All take ``x`` and ``state`` (see `calibkit.kernels.stacking`) and mark rejected samples in ``state``.
Pixels are worked on in blocks that stay in the first-level cache: ``scratch`` is (samples, block).
"""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel
from calibkit.kernels.sorting import sort_block


@kernel
def sort_kept(x, state, start, stop, steps, block, counts):
    """Sort the kept samples of pixels *start* to *stop* into *block*; ``counts`` is how many there are."""
    width = stop - start
    for i in range(width):
        counts[i] = 0
    for f in range(x.shape[0]):
        row = block[f]
        for i in range(width):
            good = state[f, start + i] == 0
            row[i] = x[f, start + i] if good else np.inf
            counts[i] += good
    sort_block(block, width, steps)


@kernel
def mark_outside(x, state, pixel, column, first, last, count):
    """Mark what sorts before *first* as low and from *last* on as high; of equals, the first frames go."""
    floor = column[first]
    ceiling = column[last - 1]
    low_ties = 0
    for j in range(first - 1, -1, -1):
        if column[j] != floor:
            break
        low_ties += 1
    high_ties = 0
    for j in range(last, count):
        if column[j] != ceiling:
            break
        high_ties += 1
    for f in range(x.shape[0]):
        if state[f, pixel] == 0:
            value = x[f, pixel]
            if value < floor:
                state[f, pixel] = 1
            elif value > ceiling:
                state[f, pixel] = 2
            elif value == floor and low_ties > 0:
                low_ties -= 1
                state[f, pixel] = 1
            elif value == ceiling and high_ties > 0:
                high_ties -= 1
                state[f, pixel] = 2


@kernel
def reject_sigma(x, state, steps, scratch, counts, low, high, iterations, keep):
    """Sigma clipping about the median with the standard deviation (divisor k − 1)."""
    size = scratch.shape[1]
    column = np.empty(x.shape[0], x.dtype)
    for start in range(0, x.shape[1], size):
        stop = min(start + size, x.shape[1])
        sort_kept(x, state, start, stop, steps, scratch, counts)
        for i in range(stop - start):
            count = counts[i]
            first = 0
            last = count
            for j in range(count):
                column[j] = scratch[j, i]
            for _ in range(iterations):
                k = last - first
                if k <= keep:
                    break
                mean = 0.0
                for j in range(first, last):
                    mean += column[j]
                mean /= k
                total = 0.0
                for j in range(first, last):
                    d = column[j] - mean
                    total += d * d
                sigma = np.sqrt(total / (k - 1))
                centre = 0.5 * (column[first + (k - 1) // 2] + column[first + k // 2])
                before = k
                while last - first > keep:
                    # the more deviant end goes first, so that a limit on the count keeps the best
                    below = (centre - column[first]) - low * sigma
                    above = (column[last - 1] - centre) - high * sigma
                    if below <= 0.0 and above <= 0.0:
                        break
                    if below > above:
                        first += 1
                    else:
                        last -= 1
                if last - first == before:
                    break
            if last - first < count:
                mark_outside(x, state, start + i, column, first, last, count)


@kernel
def median_of_kept(x, state, steps, scratch, counts, out):
    """Median of the kept samples of every pixel, NaN where there are none.

    The mean of the two middle samples is taken in the type of the samples, as numpy does.
    """
    size = scratch.shape[1]
    half = x.dtype.type(0.5)
    for start in range(0, x.shape[1], size):
        stop = min(start + size, x.shape[1])
        sort_kept(x, state, start, stop, steps, scratch, counts)
        for i in range(stop - start):
            k = counts[i]
            if k == 0:
                out[start + i] = np.nan
            elif k % 2 == 1:
                out[start + i] = scratch[k // 2, i]
            else:
                out[start + i] = (scratch[k // 2 - 1, i] + scratch[k // 2, i]) * half

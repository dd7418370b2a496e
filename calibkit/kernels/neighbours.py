"""Pixels of one site of the pattern, and how each differs from the next one of that site in its row."""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel

_HALVINGS = 24


@kernel
def take_site(values, flags, variance, dy, dx, py, px, found, steps, spread, count):
    """Append the finite pixels without flags of the site (*dy*, *dx*) of cells of *py* × *px* to what was found.

    Parameters
    ----------
    values, flags, variance : array
        Rows of a frame, (y, x); flags and variance may be empty.
    found, steps, spread : array
        Get pixels, differences of neighbours and variances; as long as all the pixels there are.
    count : array
        How many of each there are, counted on.
    """
    number = found.dtype.type
    first, second, third = count[0], count[1], count[2]
    for i in range(dy, values.shape[0], py):
        last = number(np.nan)
        for j in range(dx, values.shape[1], px):
            value = number(values[i, j])
            if flags.size and flags[i, j] != 0:
                value = number(np.nan)
            there = np.abs(value) < np.inf
            step = value - last
            last = value
            found[first] = value
            first += there
            steps[second] = step
            second += np.abs(step) < np.inf
            if variance.size:
                spread[third] = variance[i, j]
                third += there and np.abs(variance[i, j]) < np.inf
    count[0], count[1], count[2] = first, second, third


@kernel
def _count_to(values, limit):
    """How many values are no larger than *limit*."""
    count = np.int32(0)
    for i in range(values.size):
        count += np.int32(values[i] <= limit)
    return count


@kernel
def bracket_ranks(values, rank, few):
    """Halve the range of *values* until those of rank − 1 and *rank* (from 0) are among *few*.

    Returns
    -------
    low, high : float
        They are larger than *low* and no larger than *high*.
    below : int
        How many values are no larger than *low*.
    """
    number = values.dtype.type
    least, high = values.min(), values.max()
    low = number(-np.inf)
    below, up_to = 0, values.size
    for _ in range(_HALVINGS):  # equal values stay together however often
        middle = number(0.5) * max(low, least) + number(0.5) * high
        count = _count_to(values, middle)
        if up_to - below <= few or count == rank:
            break
        if count > rank:
            high, up_to = middle, count
        else:
            low, below = middle, count
    return low, high, below

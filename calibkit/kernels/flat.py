"""Flats: the level of the good pixels of each channel, and division by it."""

from __future__ import annotations

import numpy as np

from calibkit.flags import BAD, BAD_FLAT, NO_DATA, REJECTED_ALL, REPAIRED, SATURATED
from calibkit.kernels._jit import kernel

_BAD, _REPAIRED = np.uint32(BAD), np.uint32(REPAIRED)
_MENDED = np.uint32(REPAIRED | NO_DATA)
_SATURATED = np.uint32(SATURATED)
_UNUSABLE = np.uint16(SATURATED | NO_DATA | REJECTED_ALL)


@kernel(apart=True)
def add_scaled(values, factor, out):
    """Add *factor* times *values*."""
    for i in range(out.size):
        out[i] += factor * values[i]


@kernel
def is_good(value, flag):
    """Whether the pixel has a finite value and no bad flag, or was repaired."""
    marks = np.uint32(flag)
    usable = ((marks & _BAD) == 0) | ((marks & _MENDED) == _REPAIRED)
    return usable & (abs(value) < np.float32(np.inf))


@kernel(apart=True)
def count_row(values, flags, good, full):
    """Count the good and the saturated pixels of a row, in the counts of each column."""
    for i in range(values.size):
        good[i] += np.uint32(1) if is_good(values[i], flags[i]) else np.uint32(0)
        full[i] += np.uint32(1) if (np.uint32(flags[i]) & _SATURATED) != 0 else np.uint32(0)


@kernel
def count_rows(values, flags, good, full):
    """`count_row` of rows, whose columns are those of the row of the colour pattern."""
    for y in range(values.shape[0]):
        phase = y % good.shape[0]
        count_row(values[y], flags[y], good[phase], full[phase])


@kernel
def pick_good(signal, variance, flags, y, x, period_y, period_x, every, wait, picked, spread):
    """Put each *every*-th good pixel of one site of the pattern into *picked*, and its variance into *spread*.

    Returns
    -------
    int, int
        How many these are, and how many good pixels of the next site come before the first that is picked.
    """
    found = 0
    for row in range(y, signal.shape[0], period_y):
        for column in range(x, signal.shape[1], period_x):
            if is_good(signal[row, column], flags[row, column]):
                if wait == 0:
                    picked[found] = signal[row, column]
                    spread[found] = variance[row, column]
                    found += 1
                    wait = every
                wait -= 1
    return found, wait


@kernel(apart=True)
def sum_row(values, flags, middle, reach, total, number):
    """Add the good pixels of a row that are at most *reach* from *middle* to the sums of each column."""
    for i in range(values.size):
        v = values[i]
        near = (abs(v - middle[i]) <= reach[i]) & is_good(v, flags[i])
        total[i] += np.float64(v) if near else 0.0
        number[i] += np.uint32(1) if near else np.uint32(0)


@kernel
def sum_rows(values, flags, middle, reach, total, number):
    """`sum_row` of rows, whose columns are those of the row of the colour pattern."""
    for y in range(values.shape[0]):
        phase = y % total.shape[0]
        sum_row(values[y], flags[y], middle[phase], reach[phase], total[phase], number[phase])


@kernel(apart=True)
def divide_row(signal, variance, flags, by, squared):
    """Divide a row in place, and flag what cannot be divided by afterwards; by NaN where there is no light."""
    for i in range(signal.size):
        s = signal[i] / by[i]
        signal[i] = s
        variance[i] /= squared[i]
        unusable = ~(s > 0) | ((flags[i] & _UNUSABLE) != 0)  # NaN is not above zero either
        flags[i] |= np.uint16(BAD_FLAT) if unusable else np.uint16(0)


@kernel
def divide_rows(signal, variance, flags, by, squared):
    """`divide_row` of rows, by the numbers of the row of the colour pattern."""
    for y in range(signal.shape[0]):
        phase = y % by.shape[0]
        divide_row(signal[y], variance[y], flags[y], by[phase], squared[phase])

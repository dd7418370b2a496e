"""Replacing bad pixels from good neighbours of their own channel."""

from __future__ import annotations

import math

import numpy as np

from calibkit.flags import BAD, NO_DATA, REPAIRED, SATURATED
from calibkit.kernels._jit import kernel

_BAD = np.uint16(BAD)
_REPAIRED = np.uint16(REPAIRED)
_NO_DATA = np.uint16(NO_DATA)
_SATURATED = np.uint16(SATURATED)


#: Pixels looked at together for one to be replaced.
_GROUP = 64


@kernel
def _any(flags, wanted):
    found = np.uint16(0)
    for j in range(flags.size):
        found |= flags[j]
    return (found & wanted) != 0


@kernel
def repair_rows(signal, variance, flags, wanted, taps, rings, enough, first, last):
    """Replace, in rows *first* up to *last*, the pixels flagged *wanted*, and flag them.

    ``taps[a, b, k]`` is the offset (dy, dx) of the k-th neighbour of phase (a, b), nearest ring first;
    ``rings[a, b, r]`` says how many neighbours the first r + 1 rings hold. Rings are added until *enough*
    good neighbours are found. *variance* may be empty, and is left out then. *wanted* are bad flags: only pixels that
    carry none are used, and a replaced one keeps its own, so the order of work does not matter.
    """
    width = flags.shape[1]
    for y in range(first, last):
        row = flags[y]
        for x0 in range(0, width, _GROUP):
            if _any(row[x0 : x0 + _GROUP], wanted):
                for x in range(x0, min(x0 + _GROUP, width)):
                    if (row[x] & wanted) != 0 and (row[x] & (_NO_DATA | _REPAIRED)) == 0:
                        _repair(signal, variance, flags, wanted, taps, rings, enough, y, x)


@kernel
def _repair(signal, variance, flags, wanted, taps, rings, enough, y, x):
    """Replace one pixel, if there are good neighbours."""
    height, width = signal.shape
    a, b = y % rings.shape[0], x % rings.shape[1]
    known = variance.size > 0
    count = 0
    saturated = 0
    total = squares = noise = 0.0
    start = 0
    shift = 0.0
    for ring in range(rings.shape[2]):
        for k in range(start, rings[a, b, ring]):
            v, u = y + taps[a, b, k, 0], x + taps[a, b, k, 1]
            if v < 0 or v >= height or u < 0 or u >= width:
                continue
            near = flags[v, u]
            if ring == 0 and (near & _SATURATED) != 0 and (near & wanted) == 0:
                saturated += 1
            value = signal[v, u]
            if (near & (_BAD | _REPAIRED)) != 0 or math.isnan(value):
                continue
            if count == 0:
                shift = value
            count += 1
            d = value - shift  # about one of them, so that squares lose no digits
            total += d
            squares += d * d
            if known:
                noise += variance[v, u]
        start = rings[a, b, ring]
        if ring == 0 and saturated > count:
            # The core of a star: good neighbours lie outside of it and say nothing of it.
            return
        if count >= enough:
            break
    if count == 0:
        return
    mean = total / count
    noise /= count
    spread = noise / count
    if count > 1:
        scatter = (squares - total * mean) / (count - 1)
        # More scatter than noise makes is structure (3 σ of χ²): the pixel may lie anywhere in it.
        if scatter > noise * (1.0 + 3.0 * math.sqrt(2.0 / (count - 1))):
            spread += scatter
    signal[y, x] = shift + mean
    if known:
        variance[y, x] = spread
    flags[y, x] |= _REPAIRED

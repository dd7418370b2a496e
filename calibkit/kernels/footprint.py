"""What a footprint of samples comes to where some of them are flagged, missing or outside of the frame."""

from __future__ import annotations

import math

import numpy as np

from calibkit.flags import BAD, NO_DATA, REPAIRED, SATURATED
from calibkit.kernels._jit import kernel

_BAD = np.uint16(BAD)
_REPAIRED = np.uint16(REPAIRED)
NOTHING = np.uint16(NO_DATA)
_SATURATED = np.uint16(SATURATED)
#: A saturated sample whose weight is beyond this share of the whole makes its result one.
_HEARD = 0.02
#: Beyond what the polynomials of weights are wrong by, 2e-5; a place at the last sample needs nothing of what lies behind it.
_WEIGHT_ERROR = 1e-4


@kernel
def is_usable(flag):
    """Whether a sample with these flags is a measurement, or was replaced by one."""
    return (flag & _BAD) == 0 or ((flag & _REPAIRED) != 0 and (flag & NOTHING) == 0)


@kernel
def flags_of_middle(flags, i, j, wy, wx, reach):
    """Flags of the four samples in the middle that matter."""
    flag = np.uint16(0)
    for di in range(2):
        for dj in range(2):
            weight = np.float64(wy[di + reach - 1]) * wx[dj + reach - 1]
            if abs(weight) > _HEARD:
                flag |= flags[i + di, j + dj]
    return flag


@kernel
def careful(signal, variance, flags, i, j, wy, wx, reach):
    """Value, variance and flags at a footprint of which some samples are flagged, missing or outside.

    A bad sample at the middle, or a saturated one that matters anywhere, is taken and flagged; any other bad
    sample is left out, and the rest weighed up.
    """
    rows, columns = signal.shape
    total = total_weight = spread = 0.0
    every = every_weight = every_spread = 0.0
    flag = np.uint16(0)
    bad = False
    for di in range(-reach + 1, reach + 1):
        y = i + di
        for dj in range(-reach + 1, reach + 1):
            x = j + dj
            middle = 0 <= di <= 1 and 0 <= dj <= 1
            weight = np.float64(wy[di + reach - 1]) * wx[dj + reach - 1]
            if y < 0 or y >= rows or x < 0 or x >= columns:
                if middle and abs(weight) > _WEIGHT_ERROR:
                    return math.nan, math.nan, NOTHING
                continue
            own = flags[y, x]
            value = signal[y, x]
            if not math.isfinite(value):
                if middle and abs(weight) > _HEARD:
                    bad = True
                    flag |= own | NOTHING
                continue
            usable = is_usable(own)
            every += weight * value
            every_weight += weight
            every_spread += weight * weight * variance[y, x]
            if usable:
                total += weight * value
                total_weight += weight
                spread += weight * weight * variance[y, x]
                if middle and abs(weight) > _HEARD:
                    flag |= own
            elif abs(weight) > _HEARD and (middle or (own & _SATURATED) != 0):
                bad = True
                flag |= own & ~_REPAIRED
    if bad:
        if every_weight > 0.3:
            return every / every_weight, every_spread / (every_weight * every_weight), flag & ~_REPAIRED
        return math.nan, math.nan, flag | NOTHING
    if total_weight > 0.3:
        return total / total_weight, spread / (total_weight * total_weight), flag
    return math.nan, math.nan, NOTHING

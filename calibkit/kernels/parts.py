"""Rows of a calibrated frame that lie in two places: those that are wanted, and those around them, their halo.

So the wanted ones are made where they are to be, and need not be copied there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from calibkit.kernels._jit import kernel


class Parts(NamedTuple):
    """Signal, variance (empty where it is not wanted) and flags, (row, x) each."""

    signal: np.ndarray
    variance: np.ndarray
    flags: np.ndarray


@kernel
def row_of(wanted, around, top, y):
    """Row *y* of all, of which *top* lie above those that are wanted."""
    if y < top:
        return around[y]
    if y < top + len(wanted):
        return wanted[y - top]
    return around[y - len(wanted)]

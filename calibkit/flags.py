"""Pixel flags: one table from which constants, names and descriptions come.

A pixel's flags are the bitwise *or* of the values below, held as ``uint16``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FLAG_DTYPE = np.uint16


@dataclass(frozen=True)
class Flag:
    """One bit: its value, its name and what it means.

    ``bad`` says whether the number in the pixel is not a measurement of the light that fell on it,
    so that statistics and combination must leave it out.
    """

    value: int
    name: str
    meaning: str
    bad: bool


FLAGS = (
    Flag(1, "no_data", "no value was recorded here (margin, missing rows, NaN)", True),
    Flag(2, "saturated", "at or above the saturation level in the raw frame", True),
    Flag(4, "hot", "dark current far above its neighbours' in the dark", True),
    Flag(8, "cold", "response or dark level far below its neighbours'", True),
    Flag(16, "unstable", "varies from frame to frame by more than its noise", True),
    Flag(32, "cosmic_ray", "struck by a cosmic ray or another transient", True),
    Flag(64, "bad_flat", "the flat is zero, negative or unusable here", True),
    Flag(128, "repaired", "replaced from good neighbours of the same colour", False),
    Flag(256, "bad_line", "lies in a row or column that is bad as a whole", True),
    Flag(512, "rejected_all", "every frame was rejected or missing here; the value is a fallback", True),
)

NO_DATA, SATURATED, HOT, COLD, UNSTABLE, COSMIC_RAY, BAD_FLAT, REPAIRED, BAD_LINE, REJECTED_ALL = (
    flag.value for flag in FLAGS
)
#: Every bit whose pixel must not enter statistics or combination.
BAD = sum(flag.value for flag in FLAGS if flag.bad)


def flag_names(value: int) -> list[str]:
    """Names of the bits that are set in *value*, lowest bit first."""
    return [flag.name for flag in FLAGS if value & flag.value]


def count_flags(flags: np.ndarray) -> dict[str, int]:
    """How many pixels carry each flag, as ``{name: count}`` for the flags that occur."""
    flags = np.asarray(flags)
    flags = flags[flags != 0]  # most pixels carry none
    counts = {flag.name: int(np.count_nonzero(flags & flag.value)) for flag in FLAGS}
    return {name: count for name, count in counts.items() if count}


def named_counts(counts: np.ndarray) -> dict[str, int]:
    """The same from numbers of pixels by bit, the lowest first."""
    found = {flag.name: int(counts[flag.value.bit_length() - 1]) for flag in FLAGS}
    return {name: count for name, count in found.items() if count}


def usable(flags: np.ndarray) -> np.ndarray:
    """Boolean array, true where no bad bit is set, or where a bad pixel was repaired."""
    flags = np.asarray(flags)
    return ((flags & BAD) == 0) | (((flags & REPAIRED) != 0) & ((flags & NO_DATA) == 0))

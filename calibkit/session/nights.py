"""Nights: from one local noon to the next, named by the date of the evening."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_DAY = 24.0
#: Shortest daily pause (hours) that is taken for day time.
_PAUSE = 4.0


def nights_of(times: Sequence[np.datetime64], offsets: Sequence[float]) -> list[str]:
    """Night of every frame as ``"2013-07-03"``, "" where the time is not known.

    Parameters
    ----------
    times : sequence of numpy.datetime64
        Start of each exposure.
    offsets : sequence of float
        Hours from that clock to local time (longitude / 15, or the camera's own time zone), NaN when they
        are not known.

    Notes
    -----
    Where no frame says its longitude, noon is taken to be in the middle of the longest pause in the times of
    day of all frames. A fixed noon in UTC would cut the nights of Asia and Australia in two.
    """
    known = [(time, offset) for time, offset in zip(times, offsets, strict=True) if not np.isnat(time)]
    said = sorted(offset for _, offset in known if math.isfinite(offset))
    middle = said[len(said) // 2] if said else None
    noon = 12.0 if middle is not None else _quiet_hour([_hour(time) for time, _ in known])
    nights = []
    for time, offset in zip(times, offsets, strict=True):
        if np.isnat(time):
            nights.append("")
            continue
        shift = (offset if math.isfinite(offset) else middle or 0.0) - noon
        nights.append(str((time + np.timedelta64(round(shift * 3600e3), "ms")).astype("datetime64[D]")))
    return nights


def _hour(time: np.datetime64) -> float:
    return float((time - time.astype("datetime64[D]")) / np.timedelta64(1, "s")) / 3600


def _quiet_hour(hours: Sequence[float]) -> float:
    """Middle of the longest pause on the 24-hour clock, 12 when there is none worth the name."""
    ordered = sorted(set(hours))
    if not ordered:
        return 12.0
    pauses = [
        (after - before, before)
        for before, after in zip(ordered, [*ordered[1:], ordered[0] + _DAY], strict=True)
    ]
    length, before = max(pauses)
    return (before + length / 2) % _DAY if length >= _PAUSE else 12.0

"""The level of each channel of a combined flat, and division by it, in the flat's own memory and by bands of rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from calibkit import flags as fl
from calibkit import meta
from calibkit.calibration.levels import CLIP, MEDIAN_SAMPLE
from calibkit.cfa import channel_index
from calibkit.errors import MismatchError
from calibkit.io.result_file import rows_of
from calibkit.threads import in_threads
from calibkit.warned import warn

#: A channel half of which is saturated is of no use.
_SATURATED_ALL = 0.5
#: A channel in which one pixel's noise is larger than its level shows no response.
EMPTY = 1.0
#: Rows that a thread works on at a time, about.
_ROWS = 256


@dataclass(frozen=True)
class FlatChannel:
    """What a channel is like: its level, the noise of a pixel over it, and the part of its pixels that is saturated."""

    level: float
    noise: float
    saturated: float


def divide_by_level(flat: xr.Dataset) -> tuple[xr.Dataset, dict[str, FlatChannel]]:
    """*flat* divided, in its own memory, by the mean of the good pixels of each channel; and what these are like.

    Raises
    ------
    MismatchError
        A channel is saturated as a whole, or no channel shows any light.
    """
    from calibkit.kernels.flat import divide_rows

    cell, channels = channel_index(flat)
    signal, variance, flags = (
        np.require(flat[name].data, dtype, ["C", "W"])
        for name, dtype in (("signal", np.float32), ("variance", np.float32), ("flags", fl.FLAG_DTYPE))
    )
    found = dict(zip(channels, _measure(signal, variance, flags, cell, channels), strict=True))
    levels = {name: channel.level for name, channel in found.items()}
    empty = [name for name in channels if not levels[name] > 0 or found[name].noise > EMPTY]
    if len(empty) == len(channels):
        told = ", ".join(f"{name} {levels[name]:.3g} ADU" for name in channels)
        msg = (
            f"flat: no light above its noise in any channel ({told} above the offset); check that these are flats and "
            "that the bias or dark belongs to them"
        )
        raise MismatchError(msg)
    if empty:
        told = ", ".join(
            f"{name} (no good pixel)"
            if math.isnan(levels[name])
            else f"{name} ({levels[name]:.3g} ADU above the offset)"
            for name in empty
        )
        msg = (
            f"flat: no light in channel {told}, which is flagged bad_flat as a whole; with a narrowband filter that "
            "is to be expected, and these channels of the lights hold nothing either"
        )
        warn(msg, stacklevel=3)
    # a channel without light becomes NaN, which is no good pixel
    divisor = np.array([math.nan if name in empty else levels[name] for name in channels])
    by, squared = (_along_rows(part, cell, signal.shape[1]) for part in (divisor, divisor**2))
    in_threads(
        lambda rows: divide_rows(signal[rows], variance[rows], flags[rows], by, squared),
        _bands(len(signal), len(cell)),
    )
    dims = ("y", "x")
    result = flat.assign(signal=(dims, signal), variance=(dims, variance), flags=(dims, flags))
    result = meta.add_step(result, "divide by level", level=dict(levels), unit="adu", inputs=[])
    result.attrs |= {"units": "1", "channel_level": levels}
    result.attrs |= {"pedestal": 0.0, "saturation": math.nan}
    result.attrs.pop("black", None)
    result["signal"].attrs["units"] = "1"
    result["variance"].attrs["units"] = "1"
    return result, found


def _measure(
    signal: np.ndarray,
    variance: np.ndarray,
    flags: np.ndarray,
    cell: np.ndarray,
    channels: tuple[str, ...],
) -> list[FlatChannel]:
    """What each channel is like: its level is the mean of the good pixels within five robust sigma of their median."""
    from calibkit.kernels.flat import count_rows, sum_rows

    shape = (len(cell), signal.shape[1])
    bands = _bands(len(signal), len(cell))

    def count(rows: slice) -> np.ndarray:
        found = np.zeros((2, *shape), np.uint32)
        count_rows(signal[rows], flags[rows], *found)
        return found

    good, full = (_by_channel(part, cell) for part in sum(in_threads(count, bands)))
    rows_each = np.array([len(range(y, len(signal), len(cell))) for y in range(len(cell))])
    saturated = full / _by_channel(np.repeat(rows_each[:, None], shape[1], 1), cell)
    for name, share in zip(channels, saturated, strict=True):
        refuse_saturated(float(share), name)
    samples = in_threads(
        lambda number: _sample(signal, variance, flags, cell, number, int(good[number])),
        range(len(channels)),
    )
    middle, reach = (_along_rows(part, cell, shape[1]) for part in np.array(samples)[:, :2].T)

    def add(rows: slice) -> np.ndarray:
        total, number = np.zeros(shape), np.zeros(shape, np.uint32)
        sum_rows(signal[rows], flags[rows], middle, reach, total, number)
        return np.stack([total, number])

    total, number = (_by_channel(part, cell) for part in sum(in_threads(add, bands)))
    levels = [float(a / b) if b else math.nan for a, b in zip(total, number, strict=True)]
    return [
        FlatChannel(level, sigma / level if level > 0 else math.inf, float(share))
        for level, (_, _, sigma), share in zip(levels, samples, saturated, strict=True)
    ]


def _sample(
    signal: np.ndarray, variance: np.ndarray, flags: np.ndarray, cell: np.ndarray, channel: int, good: int
) -> tuple[float, float, float]:
    """Median of a channel, how far from it pixels may be that its level is the mean of, and its noise; of a sample."""
    from calibkit.kernels.flat import pick_good

    if not good:
        return math.nan, math.nan, math.nan
    every, wait, found = max(1, good // MEDIAN_SAMPLE), 0, 0
    picked, spread = np.empty((2, -(-good // every)), np.float32)
    for y, x in np.argwhere(cell == channel):
        place = (int(y), int(x), *cell.shape)
        more, wait = pick_good(signal, variance, flags, *place, every, wait, picked[found:], spread[found:])
        found += more
    middle = float(np.median(picked))
    reach = CLIP * 1.4826 * float(np.median(np.abs(picked - middle)))
    spread = spread[np.isfinite(spread)]
    sigma = math.sqrt(np.median(spread)) if spread.size else math.nan
    return middle, reach if reach > 0 else math.inf, sigma


def refuse_saturated(share: float, name: str) -> None:
    """Raise MismatchError where too large a part of a channel's pixels is saturated."""
    if share >= _SATURATED_ALL:
        msg = (
            f"flat: {100 * share:.0f} % of the pixels of channel {name} are saturated, so that it says "
            "nothing of their response; take flats of a shorter exposure or a weaker lamp"
        )
        raise MismatchError(msg)


def add_times(values: np.ndarray, master: Any, factor: float) -> None:
    """Add *factor* times an image of a master, which may be lazy, to *values*, in place."""
    from calibkit.kernels.flat import add_scaled

    read: Callable[[int, int], np.ndarray] = rows_of(master) or partial(rows_of_array, master)

    def add(rows: slice) -> None:
        own = values[rows].reshape(-1)
        more = np.ascontiguousarray(read(rows.start, rows.start + len(values[rows])), np.float32)
        add_scaled(more.reshape(-1), np.float32(factor), own)

    in_threads(add, _bands(len(values), 1))


def rows_of_array(master: Any, y0: int, y1: int) -> np.ndarray:
    """Rows of an array, computed where it is lazy."""
    return np.asarray(master[y0:y1])


def _bands(height: int, period: int) -> list[slice]:
    """Bands of rows that begin with a whole cell of the colour pattern."""
    rows = max(1, _ROWS // period) * period
    return [slice(y0, y0 + rows) for y0 in range(0, height, rows)]


def _along_rows(values: np.ndarray, cell: np.ndarray, width: int) -> np.ndarray:
    """Numbers of the channels, for each pixel of the rows of the colour pattern."""
    return values[cell[:, np.arange(width) % cell.shape[1]]].astype(np.float32)


def _by_channel(values: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Sums over the pixels of each channel, of what there is for each column and row of the colour pattern."""
    index = cell[:, np.arange(values.shape[1]) % cell.shape[1]]
    return np.bincount(index.ravel(), values.ravel(), minlength=int(cell.max()) + 1)

"""Levels of a frame per channel, robust against stars, hot pixels and whatever is flagged."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from calibkit.cfa import channel_index
from calibkit.errors import SettingError
from calibkit.flags import usable

#: Pixels that a level is taken from where a sample is enough.
_SAMPLE = 2_000_000
#: Values that a median is taken of where it need not be exact.
MEDIAN_SAMPLE = 1_000_000
#: Values further from the median than this many robust sigma do not enter a mean.
CLIP = 5.0


def sites_of(cell: np.ndarray, channel: int) -> list[tuple[slice, slice]]:
    """Slices that pick the pixels of one channel, one regular grid for each of its sites."""
    py, px = cell.shape
    return [(slice(int(a), None, py), slice(int(b), None, px)) for a, b in np.argwhere(cell == channel)]


def channel_values(
    signal: np.ndarray, flags: np.ndarray | None, cell: np.ndarray, channel: int
) -> np.ndarray:
    """Finite values of one channel that carry no bad flag, in one dimension."""
    parts = []
    for site in sites_of(cell, channel):
        part = signal[site]
        good = np.isfinite(part)
        if flags is not None:
            good &= usable(flags[site])
        parts.append(part[good])
    return np.concatenate(parts)


def channel_levels(
    frame: xr.DataArray | xr.Dataset, *, mean: bool = False, sample: bool = True
) -> dict[str, float]:
    """Median, or clipped mean, of the good pixels of every channel of one frame.

    Parameters
    ----------
    frame : DataArray or Dataset
        Dimensions (y, x).
    mean : bool
        The mean of what lies within 5 robust sigma of the median, instead of the median.
    sample : bool
        Take bands of rows spread over the frame, some two million pixels, instead of all of them.

    Returns
    -------
    dict
        Channel → level; NaN for a channel without a good pixel.
    """
    cell, channels = channel_index(frame)
    signal = frame["signal"] if isinstance(frame, xr.Dataset) else frame
    flags = frame["flags"] if isinstance(frame, xr.Dataset) and "flags" in frame else None
    rows = _rows(*signal.shape, cell.shape[0]) if sample else slice(None)
    values = np.asarray(signal.data[rows])
    marks = None if flags is None else np.asarray(flags.data[rows])
    levels = {}
    for number, name in enumerate(channels):
        good = channel_values(values, marks, cell, number)
        levels[name] = float(clipped_mean(good) if mean else np.median(good)) if good.size else np.nan
    return levels


def clipped_mean(values: np.ndarray) -> float:
    """Mean of the values within 5 robust sigma (1.4826 × the median deviation) of their median."""
    middle = median_of_some(values)
    apart = np.abs(values - middle)
    width = CLIP * 1.4826 * median_of_some(apart)
    kept = values[apart <= width] if width > 0 else values
    return float(kept.mean(dtype=np.float64))


def median_of_some(values: np.ndarray) -> float:
    """Median of values spread over all of them, a million or so: good to a thousandth of their scatter."""
    return float(np.median(values[:: max(1, values.size // MEDIAN_SAMPLE)]))


def _rows(height: int, width: int, period: int) -> slice | np.ndarray:
    """Rows of whole cells spread over the frame."""
    wanted = max(1, _SAMPLE // max(width, 1) // period)
    cells = height // period
    if cells <= wanted:
        return slice(None)
    starts = np.linspace(0, cells - 1, wanted).astype(np.int64) * period
    return (starts[:, None] + np.arange(period)).ravel()


def per_channel(
    value: float | Mapping[str, float], channels: tuple[str, ...], name: str, *, least: float = 0.0
) -> np.ndarray:
    """A setting given once or for every channel (a mapping, or a `Measurement`), as one number per channel.

    Raises
    ------
    SettingError
        If a channel is missing, or a value is not a finite number of at least *least*.
    """
    value = value if isinstance(value, Mapping) else getattr(value, "values", value)
    if isinstance(value, Mapping):
        missing = [channel for channel in channels if channel not in value]
        if missing:
            msg = f"{name}={dict(value)!r}: nothing for channel {', '.join(missing)}; channels are {', '.join(channels)}"
            raise SettingError(msg)
        numbers = np.array([value[channel] for channel in channels], dtype=np.float64)
    else:
        try:
            numbers = np.full(len(channels), float(value))
        except (TypeError, ValueError):
            msg = f"{name}={value!r}: a number, or one for every channel ({', '.join(channels)}) is wanted"
            raise SettingError(msg) from None
    if not (np.isfinite(numbers).all() and (numbers >= least).all()):
        msg = f"{name}={value!r}: finite numbers of at least {least:g} are wanted"
        raise SettingError(msg)
    return numbers

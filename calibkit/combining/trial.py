"""What a setting of `combine` does, seen on a part of the frames before all of them are combined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from calibkit.calibration.pairs import clipped_variance
from calibkit.cfa import channel_index
from calibkit.combining.engine import combine
from calibkit.combining.normalise import Levels, coefficients, measure, workable
from calibkit.combining.prepare import normalisation_of
from calibkit.combining.reading import StackReader
from calibkit.combining.threads import run
from calibkit.errors import SettingError
from calibkit.flags import usable
from calibkit.progress import Progress, silent
from calibkit.warned import collected

#: Pixels of each channel that a measured noise rests on at most.
_NOISE_PIXELS = 10_000
_LEVELS = ("location", "scale", "noise")

Stack = xr.DataArray | xr.Dataset


def measure_levels(stack: Stack, *, progress: Progress = silent) -> Levels:
    """Level, spread and noise of every frame, for the normalisation and the weights of `combine`.

    Parameters
    ----------
    stack : xarray.DataArray or xarray.Dataset
        Whole frames, ``(frame, y, x)``.
    progress : callable
        ``progress(done, total, what)``.

    Returns
    -------
    Levels
        Each ``(frame, channel)``, as `combine` measures them; for ``combine(part, levels=…)``.

    Raises
    ------
    MismatchError
        It is not a stack, or a frame has no usable pixel where its level is measured.

    Examples
    --------
    >>> frames = xr.DataArray([[[1.0, 2.0, 3.0]], [[5.0, 6.0, 7.0]]], dims=("frame", "y", "x"))
    >>> measure_levels(frames).location.ravel().tolist()
    [2.0, 6.0]
    """
    reader = StackReader(stack)
    return measure(
        reader,
        channel_index(stack)[0],
        noise=True,
        run=lambda function, count, what: run(function, count, what, progress),
    )


#: What there is to be looked at of a combination.
MAPS = ("result", "noise", "rejected low", "rejected high", "kept")


def map_of(result: xr.Dataset, name: str) -> xr.DataArray:
    """A picture of what `combine` did.

    Parameters
    ----------
    result : xarray.Dataset
        From `combine`.
    name : {"result", "noise", "rejected low", "rejected high", "kept"}
        Its signal, the standard deviation of the signal, or a number of samples.

    Returns
    -------
    xarray.DataArray
        ``(y, x)``, with its unit, pattern and row order in ``attrs``.

    Raises
    ------
    SettingError
        A name that does not exist.
    """
    if name not in MAPS:
        msg = f"map {name!r}: allowed are {', '.join(map(repr, MAPS))}"
        raise SettingError(msg)
    kept = {key: result.attrs[key] for key in ("cfa", "roworder") if key in result.attrs}
    unit = result.attrs.get("units", "adu")
    if name == "result":
        return result["signal"].assign_attrs(kept, units=unit)
    if name == "noise":
        return np.sqrt(result["variance"]).assign_attrs(kept, units=unit)
    counts = result["n_kept" if name == "kept" else name.replace(" ", "_")]
    return counts.assign_attrs(kept, units="samples")


def first_levels(levels: Levels | None, count: int) -> Levels | None:
    """The levels of the first *count* frames."""
    if levels is None:
        return None
    return Levels(*(getattr(levels, name)[:count] for name in _LEVELS))


def noise_by_count(
    stack: Stack, counts: Sequence[int], *, levels: Levels | None = None, **settings: Any
) -> xr.Dataset:
    """Noise of the combination of so many frames: measured, that of a plain mean, and what 1/√n promises.

    Parameters
    ----------
    stack : xarray.DataArray or xarray.Dataset
        Frames ``(frame, y, x)`` or a part of them, as from `calibkit.display.sampling.sample_region`.
    counts : sequence of int
        Even numbers of frames, 2 to all of them.
    levels : Levels, optional
        Of the whole frames.
    **settings
        As for `combine`.

    Returns
    -------
    xarray.Dataset
        Dims ``(count, channel)``: ``measured`` and ``mean``, the noise of a pixel after combination with these
        settings and as a plain mean; ``ideal``, the noise of one frame over √n. In the unit of the frames; NaN where
        two halves of the frames show no difference. A sum counts as the mean that it is proportional to.

    Raises
    ------
    SettingError
        A count that is odd or that the stack does not have.

    Notes
    -----
    The frames 1, 3, 5 … and 2, 4, 6 … of the first n are combined apart. Half of the standard deviation of the
    difference is the noise of a combination of all n, whatever is the same in all frames: stars, glow and the
    pattern of the sensor drop out. Differences beyond 4 σ are left out, and corrected for. Each half has n/2 frames, so a
    rejection that needs more than that shows its work only from twice as many on.

    References
    ----------
    Janesick, J. R. 2001, Scientific Charge-Coupled Devices, SPIE, chapter 5 (noise from differences of frames).

    Examples
    --------
    >>> frames = np.random.default_rng(1).normal(100, 8, (16, 64, 64))
    >>> found = noise_by_count(xr.DataArray(frames, dims=("frame", "y", "x")), [4, 16], reject="none")
    >>> found.measured.values.ravel().round().tolist()
    [4.0, 2.0]
    """
    total = stack.sizes["frame"]
    if any(n < 2 or n % 2 or n > total for n in counts):
        msg = f"counts={list(counts)!r}: even numbers from 2 to {total} are wanted"
        raise SettingError(msg)
    cell, channels = channel_index(stack)
    stack = _thinned(stack, cell.shape[0], len(channels))
    frames, levels = _normalised(stack, cell, levels, settings.get("normalise", "auto"))
    found = {name: np.full((len(counts), len(channels)), np.nan) for name in ("measured", "mean", "ideal")}
    with collected():  # the combination itself warns, these halves of it would do so again and again
        single = None
        for i, n in enumerate(counts):
            found["measured"][i] = _half_difference(frames, n, levels, cell, settings)
            found["mean"][i] = _half_difference(frames, n, None, cell, {"reject": "none"})
            if single is None:
                single = found["mean"][i] * np.sqrt(n)
            found["ideal"][i] = single / np.sqrt(n)
    return xr.Dataset(
        {name: (("count", "channel"), values) for name, values in found.items()},
        coords={"count": list(counts), "channel": list(channels)},
    )


def telling_pixel(stack: Stack, result: xr.Dataset) -> tuple[int, int]:
    """A pixel that shows what a rejection does: the one with the widest values among those that lost a few.

    Parameters
    ----------
    stack : xarray.DataArray or xarray.Dataset
        A few frames ``(frame, y, x)`` in memory.
    result : xarray.Dataset
        What `combine` made of them.

    Returns
    -------
    int, int
        Row and column, from 0. Where nothing was rejected it is the one with the widest values of all.

    Examples
    --------
    >>> frames = np.random.default_rng(1).normal(100, 5, (12, 4, 6))
    >>> frames[3, 1, 2] = 5000
    >>> stack = xr.DataArray(frames, coords={"y": range(4), "x": range(6)}, dims=("frame", "y", "x"))
    >>> telling_pixel(stack, combine(stack, reject="winsorized"))
    (1, 2)
    """
    values = (stack["signal"] if isinstance(stack, xr.Dataset) else stack).values
    width = values.max(axis=0).astype(float) - values.min(axis=0)
    lost = (result["rejected_low"] + result["rejected_high"]).values
    few = (lost > 0) & (lost <= max(1, len(values) // 4))
    width = np.where(few, width, -np.inf) if few.any() else width
    row, column = np.unravel_index(np.nanargmax(width), width.shape)
    return int(row), int(column)


def pixel_samples(
    stack: Stack, y: int, x: int, *, levels: Levels | None = None, **settings: Any
) -> xr.Dataset:
    """All values of one pixel over the frames, and which of them `combine` leaves out.

    Parameters
    ----------
    stack : xarray.DataArray or xarray.Dataset
        Whole frames ``(frame, y, x)``.
    y, x : int
        The sensor pixel.
    levels : Levels, optional
        Of the frames, so that they are not measured again.
    **settings
        As for `combine`.

    Returns
    -------
    xarray.Dataset
        Dim ``frame``: ``value`` as in the frame, ``normalised`` as it is compared with the others, and ``side``: −1 for
        rejected low, 1 for rejected high, 0 for kept, NaN for no usable value. ``attrs``: ``result``, its ``sigma``,
        ``units``, ``y`` and ``x``.

    Raises
    ------
    SettingError
        The stack does not have this pixel.

    Examples
    --------
    >>> frames = np.random.default_rng(1).normal(100, 5, (12, 4, 6))
    >>> frames[3, 1, 2] = 5000
    >>> stack = xr.DataArray(frames, coords={"y": range(4), "x": range(6)}, dims=("frame", "y", "x"))
    >>> pixel_samples(stack, 1, 2, reject="winsorized").side.values.nonzero()[0].tolist()
    [3]
    """
    places = {}
    for dim, number in (("y", y), ("x", x)):
        numbers = stack.coords[dim].values if dim in stack.coords else np.arange(stack.sizes[dim])
        place = np.flatnonzero(numbers == number)
        if not place.size:
            msg = f"{dim}={number} is not in this stack, whose pixels are {dim} {numbers[0]} to {numbers[-1]}"
            raise SettingError(msg)
        places[dim] = int(place[0])
    if levels is None:
        levels = measure_levels(stack)
    row = stack.isel(y=slice(places["y"], places["y"] + 1)).compute()
    with collected():
        done = combine(row, levels=levels, **settings)
    signal = (row["signal"] if isinstance(row, xr.Dataset) else row)[:, 0, places["x"]]
    value = signal.values.astype(np.float64)
    cell, _ = channel_index(row)
    channel = int(cell[0, places["x"] % cell.shape[1]])
    normalise = done.attrs["provenance"][-1]["normalise"]
    scale, zero = (
        (np.ones(len(value)), np.zeros(len(value)))
        if normalise == "none"
        else (part[:, channel] for part in coefficients(normalise, levels, str))
    )
    normalised = scale * value + zero
    good = np.isfinite(value)
    if isinstance(row, xr.Dataset) and "flags" in row:
        good &= usable(row["flags"].values[:, 0, places["x"]])
    here = done.isel(y=0, x=places["x"])
    side = np.where(good, 0.0, np.nan)
    order = np.flatnonzero(good)[np.argsort(normalised[good], kind="stable")]
    low, high = int(here.rejected_low), int(here.rejected_high)
    side[order[:low]] = -1
    side[order[order.size - high :]] = 1
    return xr.Dataset(
        {"value": ("frame", value), "normalised": ("frame", normalised), "side": ("frame", side)},
        attrs={
            "result": float(here.signal),
            "sigma": float(np.sqrt(here.variance)),
            "units": stack.attrs.get("units", "adu"),
            "y": int(y),
            "x": int(x),
        },
    )


def _thinned(stack: Stack, period: int, channels: int) -> Stack:
    """Rows from all over the stack with about `_NOISE_PIXELS` pixels of each channel, their filters in order."""
    wanted = max(1, channels * _NOISE_PIXELS // stack.sizes["x"])
    return stack.isel(y=slice(None, None, 1 + stack.sizes["y"] // wanted // period * period))


def _normalised(
    stack: Stack, cell: np.ndarray, levels: Levels | None, normalise: str
) -> tuple[Stack, Levels | None]:
    """The frames brought to the level of all of them, and the levels that they have then."""
    name = normalisation_of(normalise, stack)
    if name == "none":
        return stack, levels
    if levels is None:
        levels = measure_levels(stack)
    if normalise == "auto":
        name, _ = workable(name, levels)
    scale, zero = coefficients(name, levels, lambda frame: f"frame {frame}")
    signal = stack["signal"] if isinstance(stack, xr.Dataset) else stack
    index = np.tile(cell, [-(-size // p) for size, p in zip(signal.shape[1:], cell.shape, strict=True)])
    index = index[: signal.shape[1], : signal.shape[2]]
    moved = signal.copy(data=(scale[:, index] * signal.values + zero[:, index]).astype(np.float32))
    known = Levels(scale * levels.location + zero, np.abs(scale) * levels.scale, np.abs(scale) * levels.noise)
    if isinstance(stack, xr.Dataset):
        variance = {"variance": stack["variance"] * scale[:, index] ** 2} if "variance" in stack else {}
        return stack.assign(signal=moved, **variance), known
    return moved, known


def _half_difference(
    frames: Stack, count: int, levels: Levels | None, cell: np.ndarray, settings: dict[str, Any]
) -> np.ndarray:
    """Noise of a combination of *count* normalised frames, by channel, from two halves."""
    halves = []
    for first in (0, 1):
        pick = slice(first, count, 2)
        own = {**settings, "normalise": "none"}
        if isinstance(own.get("weights"), np.ndarray | list | tuple):
            own["weights"] = np.asarray(own["weights"], float)[pick]
        part = None if levels is None else Levels(*(getattr(levels, name)[pick] for name in _LEVELS))
        signal = combine(frames.isel(frame=pick), levels=part, **own)["signal"].values.astype(np.float64)
        halves.append(signal / (count // 2) if settings.get("method") == "sum" else signal)
    difference = halves[0] - halves[1]
    found = np.full(int(cell.max()) + 1, np.nan)
    for channel in range(found.size):
        sites = np.argwhere(cell == channel)
        planes = [difference[y :: cell.shape[0], x :: cell.shape[1]].ravel() for y, x in sites]
        variance, good = clipped_variance(np.concatenate(planes)[None])
        if good[0] and variance[0] > 0:
            found[channel] = np.sqrt(variance[0]) / 2
    return found

"""Dark current from darks of several exposures, and how it grows with temperature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from calibkit.calibration.checks import check_frame, check_size
from calibkit.calibration.levels import channel_values, per_channel
from calibkit.cfa import channel_index
from calibkit.dark.current import BOLTZMANN, DarkCurrent, fit_dark_current
from calibkit.errors import MismatchError
from calibkit.noise import Measurement
from calibkit.progress import Progress, silent
from calibkit.sensor.tile_pairs import frame_column
from calibkit.statistics import sample_strips

#: Pixels further from the median than this many robust sigma are hot, or struck by a cosmic ray.
_CLIP = 5.0 * 1.4826022185056018
#: Scatter beyond the counting statistics is believed when chance makes as much in so many of all cases only.
_CHANCE = 0.01
#: Exposures closer than this, relative, give no slope.
_LEAST_SPAN = 1.2
#: Pixels of each channel that a level wants.
_LEAST_PIXELS = 12


@dataclass(frozen=True)
class DarkRates:
    """What `measure_dark_current` found.

    Attributes
    ----------
    rates : list of (float, Measurement)
        Temperature in °C (NaN where it is not known) and dark current per second, coldest first.
    fits : dict
        Channel → `DarkCurrent`: doubling temperature and activation energy; empty for one temperature.
    curve : xarray.Dataset
        Dims ``(channel, temperature)``: ``rate`` and ``error``, with the ``fit`` where there is one.
    levels : xarray.Dataset
        Dims ``(channel, frame)``: mean ``level`` of the pixels that are not hot, in ADU, and ``residual`` from the
        line of its temperature, with the coordinates ``exposure`` and ``temperature``.
    refused : dict
        What these frames cannot show → why.
    """

    rates: list[tuple[float, Measurement]]
    fits: dict[str, DarkCurrent]
    curve: xr.Dataset
    levels: xr.Dataset
    refused: dict[str, str] = field(default_factory=dict)

    def at(self, temperature: float) -> Measurement:
        """The rate measured nearest to *temperature* in °C."""
        return min(self.rates, key=lambda pair: abs(pair[0] - temperature))[1]

    def __str__(self) -> str:
        lines = [
            f"dark current{f' at {t:.1f} °C' if math.isfinite(t) else ''}: {rate}" for t, rate in self.rates
        ]
        lines += [f"{channel}: {fit}" for channel, fit in self.fits.items()]
        return "\n".join([*lines, *(f"{name}: not measured, {why}" for name, why in self.refused.items())])


def measure_dark_current(
    darks: xr.DataArray,
    biases: xr.DataArray | None = None,
    *,
    gain: float | Mapping[str, float] | Measurement | None = None,
    temperature_tolerance: float = 1.0,
    progress: Progress = silent,
) -> DarkRates:
    """Measure dark current at each temperature, and the temperature step over which it doubles.

    Parameters
    ----------
    darks : xarray.DataArray
        Raw darks ``(frame, y, x)``, ADU, of several exposures; of several temperatures for the doubling. Lazy or in
        memory.
    biases : xarray.DataArray, optional
        Raw bias frames: exposures of 0 s at temperatures where all darks have one exposure.
    gain : float, mapping or Measurement, optional
        Electrons per ADU. With it rates are in electron/s, otherwise in adu/s.
    temperature_tolerance : float
        Frames whose temperatures are closer than this, in °C, count as one temperature.
    progress : callable
        ``progress(done, total, what)``.

    Returns
    -------
    DarkRates

    Raises
    ------
    MismatchError
        Exposures are not known, or nowhere do they differ.
    SettingError
        A gain that is no positive number.

    Notes
    -----
    The rate is the slope of the straight line through level against exposure (EMVA 1288, 7.1), so that the offset
    does not matter. The level is the mean of a sample of two million pixels without the hot ones: those further than 5
    robust σ from the median of the longest exposure at that temperature, the same ones in all its frames. Errors
    of the levels are those of counting, plus as much common scatter (an offset that drifts) as is needed where the
    frames scatter more than chance allows (1 %). The same goes for the line through ln(rate) over 1/kT
    (`fit_dark_current`), where temperatures that are only known to some tenths of a degree show up.

    Examples
    --------
    >>> from calibkit import Camera, simulate_stack
    >>> import xarray as xr
    >>> camera = Camera(shape=(128, 128), dark_current=1.0, gain=2.0)
    >>> darks = [simulate_stack(camera, 2, kind="dark", exposure=t, frame_index=int(t)) for t in (10.0, 60.0, 120.0)]
    >>> found = measure_dark_current(xr.concat(darks, "frame"), gain=2.0)
    >>> abs(found.rates[0][1].value - 1.0) < 0.02
    True
    """
    darks = _stack(darks)
    cell, channels = channel_index(darks)
    factor = np.ones(len(channels)) if gain is None else per_channel(gain, channels, "gain", least=1e-6)
    unit = "adu/s" if gain is None else "electron/s"
    members = _by_temperature(darks, biases, temperature_tolerance)
    refused: dict[str, str] = {}
    rates: list[tuple[float, Measurement]] = []
    rows: list[dict[str, object]] = []
    done, total = 0, sum(len(frames) for _, frames in members)
    for temperature, frames in members:
        exposures = np.array([exposure for _, _, exposure in frames])
        if exposures.max() < _LEAST_SPAN * exposures.min() or exposures.max() <= 0:
            refused[f"rate at {temperature:.1f} °C"] = (
                f"all {len(frames)} frames were exposed for about {exposures.max():g} s; add another exposure, or biases"
            )
            continue
        masks, patterns = _normal_pixels(frames, exposures, channels, cell)
        levels, errors = [], []
        for stack, index, exposure in frames:
            progress(done, total, f"dark current from {total} frames")
            done += 1
            samples = _samples(stack, index, channels, cell)
            found = [
                _level(values, mask, pattern * exposure**2)
                for values, mask, pattern in zip(samples, masks, patterns, strict=True)
            ]
            levels.append([level for level, _ in found])
            errors.append([error for _, error in found])
        values, sigma = np.array(levels).T, np.array(errors).T
        slopes = [_line(exposures, v, s) for v, s in zip(values, sigma, strict=True)]
        rates.append(
            (
                temperature,
                Measurement(
                    {c: float(f * s.slope) for c, f, s in zip(channels, factor, slopes, strict=True)},
                    {c: float(f * s.error) for c, f, s in zip(channels, factor, slopes, strict=True)},
                    unit,
                    len(frames),
                ),
            )
        )
        rest = [v - s.level - s.slope * exposures for v, s in zip(values, slopes, strict=True)]
        rows += [
            {
                "exposure": exposures[i],
                "temperature": temperature,
                "level": values[:, i],
                "residual": [r[i] for r in rest],
            }
            for i in range(len(frames))
        ]
    progress(total, total, f"dark current from {total} frames")
    if not rates:
        msg = "measure_dark_current: " + "; ".join(f"{name}: {why}" for name, why in refused.items())
        raise MismatchError(msg)
    fits = _doubling(rates, channels, refused)
    return DarkRates(rates, fits, _curve(rates, fits, channels, unit), _levels(rows, channels), refused)


def _stack(frames: object) -> xr.DataArray:
    stack = check_frame(frames, "measure_dark_current")
    check_size(stack, "measure_dark_current", pixels=_LEAST_PIXELS)
    return stack if "frame" in stack.dims else stack.expand_dims("frame")


_Frame = tuple[xr.DataArray, int, float]


def _by_temperature(
    darks: xr.DataArray, biases: xr.DataArray | None, tolerance: float
) -> list[tuple[float, list[_Frame]]]:
    """(mean temperature, [(stack, frame, exposure)]): biases only where the darks have one exposure."""
    exposures = frame_column(darks, "exposure")
    if not np.isfinite(exposures).all():
        msg = "measure_dark_current: the exposures of the darks are not known; assign them: darks.assign_coords(exposure=…)"
        raise MismatchError(msg)
    temperatures = frame_column(darks, "temperature")
    groups: list[list[int]] = []
    for index in np.argsort(temperatures, kind="stable").tolist():
        last = temperatures[groups[-1][-1]] if groups else math.nan
        now = temperatures[index]
        if groups and (now - last <= tolerance or (math.isnan(now) and math.isnan(last))):
            groups[-1].append(index)
        else:
            groups.append([index])
    result: list[tuple[float, list[_Frame]]] = []
    for group in groups:
        middle = float(np.mean(temperatures[group]))
        frames: list[_Frame] = [(darks, i, float(exposures[i])) for i in sorted(group)]
        longest, shortest = exposures[group].max(), exposures[group].min()
        if biases is not None and longest < _LEAST_SPAN * max(shortest, 1e-9):
            bias = _stack(biases)
            near = np.abs(frame_column(bias, "temperature") - middle) <= 2 * tolerance
            near |= ~np.isfinite(frame_column(bias, "temperature")) | (not math.isfinite(middle))
            frames += [(bias, i, 0.0) for i in np.flatnonzero(near).tolist()]
        result.append((middle, frames))
    return result


def _samples(
    stack: xr.DataArray, index: int, channels: tuple[str, ...], cell: np.ndarray
) -> list[np.ndarray]:
    """Pixels of each channel in strips spread over a frame; NaN where there is no number."""
    frame = stack.isel(frame=index)
    rows = np.concatenate([np.arange(strip.start, strip.stop) for strip in sample_strips(frame)])
    values = np.asarray(frame.data[rows], np.float64)  # all at once: a compressed file is read through once
    return [
        channel_values(np.where(np.isfinite(values), values, 0.0), None, cell, c)
        for c in range(len(channels))
    ]


def _normal(values: np.ndarray) -> np.ndarray:
    """Which pixels are not hot."""
    middle = np.median(values)
    return np.abs(values - middle) <= max(_CLIP * float(np.median(np.abs(values - middle))), 2.0)


def _normal_pixels(
    frames: list[_Frame], exposures: np.ndarray, channels: tuple[str, ...], cell: np.ndarray
) -> tuple[list[np.ndarray], list[float]]:
    """For each channel, which pixels are not hot, and the variance of their dark current from pixel to pixel.

    The latter, in ADU²/s², is what the two longest exposures have in common: it is no noise.
    """
    second, first = np.argsort(exposures, kind="stable")[-2:].tolist()
    masks, patterns = [], []
    pair = zip(*(_samples(*frames[i][:2], channels, cell) for i in (first, second)), strict=True)
    for a, b in pair:
        masks.append(_normal(a))
        both = masks[-1] & _normal(b)
        product = exposures[first] * exposures[second]
        common = float(np.mean((a[both] - a[both].mean()) * (b[both] - b[both].mean())))
        patterns.append(max(common, 0.0) / product if product > 0 else 0.0)
    return masks, patterns


def _level(values: np.ndarray, normal: np.ndarray, pattern: float) -> tuple[float, float]:
    """Mean of the normal pixels that no cosmic ray struck, and its error; *pattern* is variance that is no noise."""
    part = values[normal]
    part = part[_normal(part)]
    variance = float(part.var(ddof=1))
    return float(part.mean()), math.sqrt(max(variance - pattern, 0.05 * variance) / part.size)


@dataclass(frozen=True)
class _Line:
    level: float
    slope: float
    error: float
    extra: float  # common scatter of the values beyond their errors


def _line(x: np.ndarray, y: np.ndarray, sigma: np.ndarray) -> _Line:
    """Weighted straight line; where the values scatter more than chance allows, with as much more error for all."""
    from scipy import optimize, special

    sigma = np.maximum(sigma, 1e-9 * max(1e-30, float(np.abs(y).max())))
    freedom = x.size - 2

    def fit(extra: float) -> tuple[float, float, float, float]:
        weight = 1 / (sigma**2 + extra**2)
        middle = np.average(x, weights=weight)
        spread = float((weight * (x - middle) ** 2).sum())
        slope = float((weight * (x - middle) * y).sum()) / spread
        level = float(np.average(y, weights=weight)) - slope * middle
        chi = float((weight * (y - level - slope * x) ** 2).sum())
        return level, slope, 1 / math.sqrt(spread), chi

    extra = 0.0
    chi = fit(0.0)[3]
    if freedom > 0 and special.chdtrc(freedom, chi) < _CHANCE:
        top = float(np.ptp(y)) + float(sigma.max())
        extra = optimize.brentq(lambda s: fit(s)[3] - freedom, 0.0, 10 * top)
    level, slope, error, _ = fit(extra)
    return _Line(level, slope, error, extra)


def _doubling(
    rates: list[tuple[float, Measurement]], channels: tuple[str, ...], refused: dict[str, str]
) -> dict[str, DarkCurrent]:
    known = [(t, rate) for t, rate in rates if math.isfinite(t)]
    fits: dict[str, DarkCurrent] = {}
    if len(known) < 2:
        refused["doubling"] = (
            f"{len(known)} known temperature{'s' if len(known) != 1 else ''}; darks of two temperatures at least, some "
            "degrees apart, are needed"
        )
        return fits
    t = np.array([temperature for temperature, _ in known])
    for c in channels:
        rate, error = (
            np.array([part[c] for part in parts])
            for parts in ([m.values for _, m in known], [m.errors for _, m in known])
        )
        if not (rate > 3 * error).all():
            refused[f"doubling of {c}"] = "there is no dark current at some temperature; take longer darks"
            continue
        inverse = 1 / (BOLTZMANN * (t + 273.15))
        extra = _line(inverse, np.log(rate), error / rate).extra
        fits[c] = fit_dark_current(t.tolist(), rate.tolist(), errors=np.hypot(error, extra * rate).tolist())
    return fits


def _curve(
    rates: list[tuple[float, Measurement]], fits: dict[str, DarkCurrent], channels: tuple[str, ...], unit: str
) -> xr.Dataset:
    t = np.array([temperature for temperature, _ in rates])
    table = {
        "rate": [[m[c] for _, m in rates] for c in channels],
        "error": [[m.errors[c] for _, m in rates] for c in channels],
        "fit": [[fits[c].at(x) if c in fits else math.nan for x in t.tolist()] for c in channels],
    }
    curve = xr.Dataset(
        {name: (("channel", "temperature"), np.array(values, float)) for name, values in table.items()},
        coords={"channel": list(channels), "temperature": t},
    )
    for name in table:
        curve[name].attrs["units"] = unit
    curve["temperature"].attrs["units"] = "°C"
    return curve


def _levels(rows: list[dict[str, object]], channels: tuple[str, ...]) -> xr.Dataset:
    dims = ("channel", "frame")
    return xr.Dataset(
        {
            name: (dims, np.array([row[name] for row in rows]).T, {"units": "adu"})
            for name in ("level", "residual")
        },
        coords={
            "channel": list(channels),
            **{name: ("frame", [row[name] for row in rows]) for name in ("exposure", "temperature")},
        },
    )

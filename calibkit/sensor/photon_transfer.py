"""The photon transfer curve: gain, read noise, saturation, curvature and linearity from pairs of flats."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from calibkit.calibration.checks import check_camera, check_frame
from calibkit.calibration.pairs import tile_shape
from calibkit.cfa import channel_index
from calibkit.errors import MismatchError
from calibkit.noise import Measurement
from calibkit.progress import Progress, silent
from calibkit.sensor.linearity import Exposures, Linearity, fit_linearity
from calibkit.sensor.tile_pairs import (
    CurveSums,
    DarkTiles,
    Points,
    dark_tiles,
    equal_enough,
    exposure_groups,
    nearest_dark,
    pair_tiles,
    pairs_of,
)
from calibkit.sensor.transfer_fit import Fit, check_slopes, check_span, fit_curve

#: Variance of rounding to whole ADU, and the dark variance below which rounding hides the noise (EMVA 1288, 6.7).
QUANTISATION, LEAST_VARIANCE = 1.0 / 12.0, 0.24
#: A curvature of fewer sigma is not told.
_CURVED = 3.0


@dataclass(frozen=True)
class PhotonTransfer:
    """What `measure_photon_transfer` found; every `Measurement` holds one number and its error per channel.

    Attributes
    ----------
    gain : Measurement
        Electrons per ADU.
    read_noise : Measurement
        Of one frame in electrons, rounding to whole ADU taken out: what `calibrate`, `combine` and the simulator want.
    dark_noise : Measurement
        Of one frame in ADU, with rounding, as a bias frame shows it.
    saturation : Measurement or None
        Level in ADU, offset included, at which the variance is largest; of the channels that reach it.
    full_well : Measurement or None
        Electrons at saturation.
    curvature : Measurement or None
        By what share the variance at the upper end of the fit differs from the straight line of low signals; negative
        where bright pixels pass charge on to their neighbours (brighter-fatter effect).
    linearity : Linearity or None
        Deviations of the signal from a straight line over exposure.
    curve : xarray.Dataset
        Dims ``(channel, point)``: ``signal``, ``variance`` and ``error`` above the dark level, ``tiles`` that each
        point rests on, ``fitted`` (whether it lies in the range of the fit). NaN fills the shorter channels.
    refused : dict
        What these frames cannot show → why, and what to do.
    notes : tuple of str
        What is worth knowing besides.
    """

    gain: Measurement
    read_noise: Measurement
    dark_noise: Measurement
    saturation: Measurement | None
    full_well: Measurement | None
    curvature: Measurement | None
    linearity: Linearity | None
    curve: xr.Dataset
    refused: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def dynamic_range(self) -> dict[str, float]:
        """Full well over the least detectable signal, by channel (EMVA 1288, 6.7); empty without saturation."""
        if self.full_well is None:
            return {}
        return {
            c: full / (self.dark_noise[c] * self.gain[c] + 0.5) for c, full in self.full_well.values.items()
        }

    def __str__(self) -> str:
        lines = [f"gain: {self.gain}", f"read noise: {self.read_noise}"]
        if self.full_well is not None:
            lines.append(f"full well: {self.full_well}")
        if self.linearity is not None:
            lines.append(f"linearity error: {self.linearity.error}")
        lines += [f"{name}: not measured, {why}" for name, why in self.refused.items()]
        return "\n".join([*lines, *self.notes])


def measure_photon_transfer(
    flats: xr.DataArray, darks: xr.DataArray, *, progress: Progress = silent
) -> PhotonTransfer:
    """Fit the photon transfer curve of a sensor from flats of many levels.

    Parameters
    ----------
    flats : xarray.DataArray
        Raw flats ``(frame, y, x)``, ADU, two or more of each exposure, from faint to saturated; lazy or in memory. Levels
        may also come from uneven light: what counts are tiles of about 48 × 48 pixels.
    darks : xarray.DataArray
        Two or more bias frames, or darks of the flats' exposures, of the same camera and gain.
    progress : callable
        ``progress(done, total, what)``.

    Returns
    -------
    PhotonTransfer

    Raises
    ------
    MismatchError
        No two flats or darks of one exposure, or frames that do not belong together.
    CalibkitError
        All flats are about equally bright, or show no photon noise.

    Notes
    -----
    EMVA Standard 1288 [1]_, with tiles instead of a region that is evenly lit. For each pair of flats the temporal
    variance is half that of the difference (the second frame brought to the level of the first), without samples
    further than 4 σ and corrected for that. Tiles are gathered in narrow bins of the level above the darks. The gain
    is the inverse slope of the straight line through zero, of variance against level, each above that of the
    darks, up to 70 % of saturation, and weighted with its own fitted noise; saturation is where the variance is
    largest, and its error that of a level which may lie anywhere between the neighbouring points. Where the
    next brighter point has next to no variance, all its pixels are full, and its level is taken, with 2 % for where that begins.
    Dark variances below 0.24 ADU² are mostly rounding; the read noise is then given as an upper limit, with NaN
    for its error. The curvature is that of a second-order polynomial through zero, as expected of the
    brighter-fatter effect at first order [2]_. Linearity: see `calibkit.sensor.linearity.fit_linearity`.

    References
    ----------
    .. [1] EMVA Standard 1288, release 4.0 Linear, 2021, chapters 2 and 6.
    .. [2] Astier, P. et al. 2019, A&A 629, A36, eq. 16.

    Examples
    --------
    >>> from calibkit import Camera, Lamp, simulate_stack
    >>> import xarray as xr
    >>> camera = Camera(shape=(96, 96), gain=1.6, full_well=60_000)
    >>> flats = [
    ...     simulate_stack(camera, 2, kind="flat", exposure=t, lamp=Lamp(rate=10_000), frame_index=2 * i)
    ...     for i, t in enumerate([0.2, 0.5, 1.0, 2.0, 4.0, 6.0, 8.0])
    ... ]
    >>> biases = simulate_stack(camera, 4, kind="bias", frame_index=100)
    >>> found = measure_photon_transfer(xr.concat(flats, "frame"), biases)
    >>> abs(found.gain.value - 1.6) < 0.05
    True
    """
    flats, darks = (_stack(stack, "measure_photon_transfer") for stack in (flats, darks))
    check_camera(darks.to_dataset(name="signal").assign_attrs(darks.attrs), flats, "dark", subject="flat")
    cell, channels = channel_index(flats)
    if tile_shape(flats, cell) != tile_shape(darks, cell) or flats.shape[1:] != darks.shape[1:]:
        msg = (
            f"measure_photon_transfer: the darks measure {darks.shape[1:]} and the flats {flats.shape[1:]} "
            "(rows, columns)"
        )
        raise MismatchError(msg)
    dark = dark_tiles(darks, "measure_photon_transfer")
    sums, exposures, offset, notes = _gather(flats, dark, len(channels), progress)
    points = [each.points() for each in sums]
    check_span(points, channels)
    stated = float(flats.attrs.get("saturation", math.nan)) - offset
    fits = [
        fit_curve(p, dark[0].variance[c], dark[0].error[c], float(stated[c])) for c, p in enumerate(points)
    ]
    check_slopes(fits, channels)
    return _result(
        flats, channels, dark[0], offset, points, fits, exposures, sum(map(len, exposures[0])), notes
    )


def _stack(stack: object, who: str) -> xr.DataArray:
    stack = check_frame(stack, who)
    if stack.sizes.get("frame", 1) < 2:
        msg = f"{who}: two frames of each exposure at least are needed to see the noise; found one frame"
        raise MismatchError(msg)
    return stack


def _gather(
    flats: xr.DataArray, dark: list[DarkTiles], n_channels: int, progress: Progress
) -> tuple[list[CurveSums], list[list[Exposures]], np.ndarray, list[str]]:
    """Curve sums and levels by exposure for each channel, the offset of each, and notes about pairs left out."""
    sums = [CurveSums() for _ in range(n_channels)]
    by_exposure: list[list[Exposures]] = [[] for _ in range(n_channels)]
    notes: list[str] = []
    groups = [(t, list(pairs_of(members))) for t, members in exposure_groups(flats)]
    total, done = sum(len(pairs) for _, pairs in groups), 0
    if not total:
        msg = "measure_photon_transfer: no two flats have one exposure; take two or more of each"
        raise MismatchError(msg)
    for exposure, pairs in groups:
        nearest = nearest_dark(dark, exposure)
        offset = nearest.level
        gathered = [Exposures(exposure) for _ in range(n_channels)]
        for i, j in pairs:
            progress(done, total, f"compare {2 * total} flats")
            done += 1
            found = pair_tiles(flats, i, j, offset)
            means = [
                (float(np.nanmean(t.first - o)), float(np.nanmean(t.second - o)))
                for t, o in zip(found, offset, strict=True)
            ]
            if not all(equal_enough(a, b) for a, b in means):
                notes.append(
                    f"flats {i} and {j}, of one exposure ({exposure:g} s), differ by more than a fifth and were left out"
                )
                continue
            for c, (tile, level) in enumerate(zip(found, offset, strict=True)):
                signal = (tile.first + tile.second) / 2 - level
                # Darks of the flats' own exposure have more noise than the shortest: take the difference off here.
                extra = nearest.variance[c] - dark[0].variance[c]
                sums[c].add(signal, tile.variance - extra, tile.pixels)
                gathered[c].add(*means[c], signal, tile)
        for c in range(n_channels):
            if len(gathered[c]):
                by_exposure[c].append(gathered[c])
    progress(total, total, f"compare {2 * total} flats")
    return sums, by_exposure, np.array([float(np.nanmean(level)) for level in dark[0].level]), notes


def _result(
    flats: xr.DataArray,
    channels: tuple[str, ...],
    dark: DarkTiles,
    offset: np.ndarray,
    points: list[Points],
    fits: list[Fit],
    exposures: list[list[Exposures]],
    pairs: int,
    notes: list[str],
) -> PhotonTransfer:
    refused: dict[str, str] = {}

    def per_channel(values: list[float], errors: list[float], unit: str) -> Measurement:
        return Measurement(
            dict(zip(channels, map(float, values), strict=True)),
            dict(zip(channels, map(float, errors), strict=True)),
            unit,
            pairs,
        )

    gains = [1 / fit.slope for fit in fits]
    gain = per_channel(gains, [fit.slope_error / fit.slope**2 for fit in fits], "electron/adu")
    sigma = np.sqrt(dark.variance)
    spread = np.divide(dark.error, 2 * sigma, out=np.zeros_like(sigma), where=sigma > 0)
    dark_noise = per_channel(sigma.tolist(), spread.tolist(), "adu")
    whole = flats.dtype.kind in "iu" or bool(flats.attrs.get("overscan_subtracted", False))
    read_noise = _read_noise(dark, gain, pairs, whole=whole, notes=notes)
    known = {c: f for c, f in zip(channels, fits, strict=True) if math.isfinite(f.saturation)}
    saturation = full_well = None
    if known:
        places = {c: channels.index(c) for c in known}
        errors = {c: f.saturation_error for c, f in known.items()}
        saturation = Measurement(
            {c: f.saturation + offset[places[c]] for c, f in known.items()}, errors, "adu", pairs
        )
        full_well = Measurement(
            {c: f.saturation * gain[c] for c, f in known.items()},
            {c: math.hypot(errors[c] * gain[c], f.saturation * gain.errors[c]) for c, f in known.items()},
            "electron",
            pairs,
        )
    if len(known) < len(channels):
        brightest = max(float(p.signal.max()) for p in points)
        refused["full_well"] = (
            f"the variance still grows at the brightest level ({brightest:.0f} ADU above the darks) in channel "
            f"{', '.join(c for c in channels if c not in known)}; add flats that are saturated"
        )
    rounded = [whole and v < LEAST_VARIANCE for v in dark.variance.tolist()]
    bent = {
        c: f for c, f, r in zip(channels, fits, rounded, strict=True) if math.isfinite(f.curvature) and not r
    }
    curvature = None
    if bent:
        curvature = Measurement(
            {c: f.curvature for c, f in bent.items()},
            {c: f.curvature_error for c, f in bent.items()},
            "1",
            pairs,
        )
        notes += [
            f"channel {c}: at {f.end:.0f} ADU above the darks the variance differs by {100 * f.curvature:+.2f} ± "
            f"{100 * f.curvature_error:.2f} % from the line of low signals; a gain from flats of that level alone is off "
            "by as much"
            for c, f in bent.items()
            if abs(f.curvature) > _CURVED * f.curvature_error
        ]
    else:
        refused["curvature"] = (
            "rounding to whole ADU distorts the variance of low signals"
            if any(rounded)
            else "too few levels below 70 % of saturation"
        )
    stated = float(flats.attrs.get("saturation", math.nan))
    limits = [
        f.saturation if math.isfinite(f.saturation) else stated - o for f, o in zip(fits, offset, strict=True)
    ]
    linearity, why = fit_linearity(exposures, channels, limits)
    if why:
        refused["linearity"] = why
    curve = _curve(channels, points, fits, dark.variance)
    return PhotonTransfer(
        gain,
        read_noise,
        dark_noise,
        saturation,
        full_well,
        curvature,
        linearity,
        curve,
        refused,
        tuple(notes),
    )


def _read_noise(
    dark: DarkTiles, gain: Measurement, pairs: int, *, whole: bool, notes: list[str]
) -> Measurement:
    """Electrons of one reading without rounding; an upper limit, and a note, where rounding hides it."""
    values, errors = {}, {}
    for c, name in enumerate(gain.values):
        g, variance, error = gain[name], float(dark.variance[c]), float(dark.error[c])
        if whole and variance < LEAST_VARIANCE:
            values[name], errors[name] = math.sqrt(LEAST_VARIANCE - QUANTISATION) * g, math.nan
            notes.append(
                f"channel {name}: the darks vary by {math.sqrt(variance):.2f} ADU, mostly from rounding to whole ADU, so that "
                f"the read noise is only known to be at most {values[name]:.3g} electrons"
            )
            continue
        sigma = math.sqrt(max(variance - (QUANTISATION if whole else 0.0), 0.0))
        values[name] = sigma * g
        errors[name] = math.hypot(sigma * gain.errors[name], g * error / (2 * sigma)) if sigma else math.nan
    return Measurement(values, errors, "electron", pairs)


def _curve(
    channels: tuple[str, ...], points: list[Points], fits: list[Fit], dark_variance: np.ndarray
) -> xr.Dataset:
    longest = max(p.signal.size for p in points)

    def table(columns: list[np.ndarray]) -> tuple[tuple[str, str], np.ndarray]:
        out = np.full((len(channels), longest), np.nan)
        for row, values in zip(out, columns, strict=True):
            row[: values.size] = values
        return ("channel", "point"), out

    above = [p.variance - d for p, d in zip(points, dark_variance, strict=True)]
    data = {
        "signal": table([p.signal for p in points]),
        "variance": table(above),
        "error": table([p.model_error * p.variance for p in points]),
        "tiles": table([p.tiles for p in points]),
        "fitted": table(
            [((p.signal > 0) & (p.signal <= f.limit)) * 1.0 for p, f in zip(points, fits, strict=True)]
        ),
    }
    curve = xr.Dataset(data, coords={"channel": list(channels)})
    curve["slope"] = ("channel", [f.slope for f in fits])
    curve["dark_variance"] = ("channel", dark_variance)
    for name, unit in (
        ("signal", "adu"),
        ("variance", "adu2"),
        ("error", "adu2"),
        ("slope", "adu/electron"),
        ("dark_variance", "adu2"),
    ):
        curve[name].attrs["units"] = unit
    return curve

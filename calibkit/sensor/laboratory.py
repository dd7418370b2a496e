"""Everything that a set of frames tells about its sensor, in one call."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from calibkit.calibration.checks import check_frame, values_of
from calibkit.calibration.levels import channel_levels
from calibkit.errors import CalibkitError, Cancelled, SettingError
from calibkit.noise import Measurement, measure_gain, measure_read_noise
from calibkit.progress import Progress, silent
from calibkit.sensor.dark_rates import DarkRates, measure_dark_current
from calibkit.sensor.fixed_pattern import FixedPattern, measure_fixed_pattern
from calibkit.sensor.photon_transfer import QUANTISATION, PhotonTransfer, measure_photon_transfer
from calibkit.sensor.sensor_profile import SensorProfile
from calibkit.sensor.tile_pairs import exposure_groups, frame_column
from calibkit.sensor.unstable_pixels import LEAST_FRAMES, UnstablePixels, find_unstable_pixels

Found = TypeVar("Found")


@dataclass(frozen=True)
class SensorReport:
    """What `measure_sensor` found: each part as its own function gives it, with its curves, or None.

    Attributes
    ----------
    gain, read_noise : Measurement or None
        From the photon transfer curve, or from pairs of flats and biases of one level.
    transfer : PhotonTransfer or None
    pattern : FixedPattern or None
    dark : DarkRates or None
        In electron/s where the gain is known, else in adu/s.
    unstable : UnstablePixels or None
    refused : dict
        What these frames cannot show → why, and what to do.
    profile : SensorProfile
        The numbers, ready to be saved.
    """

    gain: Measurement | None
    read_noise: Measurement | None
    transfer: PhotonTransfer | None
    pattern: FixedPattern | None
    dark: DarkRates | None
    unstable: UnstablePixels | None
    profile: SensorProfile
    refused: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join(
            [str(self.profile), *(f"{name}: not measured, {why}" for name, why in self.refused.items())]
        )


def measure_sensor(
    *,
    flats: xr.DataArray | None = None,
    biases: xr.DataArray | None = None,
    darks: xr.DataArray | None = None,
    progress: Progress = silent,
) -> SensorReport:
    """Measure all that the given frames tell about their sensor.

    Parameters
    ----------
    flats : xarray.DataArray, optional
        Raw flats ``(frame, y, x)`` of one filter, ADU: two of one exposure for the gain, pairs of many exposures up to
        saturation for the photon transfer curve, full well and linearity.
    biases : xarray.DataArray, optional
        Raw bias frames.
    darks : xarray.DataArray, optional
        Raw darks of several exposures for the dark current, of several temperatures for its doubling, and five or
        more of one exposure and temperature for unstable pixels.
    progress : callable
        ``progress(done, total, what)`` of each part of the work.

    Returns
    -------
    SensorReport

    Raises
    ------
    SettingError
        No frames are given.
    Cancelled
        The progress callback asked to stop.

    Notes
    -----
    What the frames cannot support is left out and said in ``refused``; nothing is guessed.

    Examples
    --------
    >>> import calibkit
    >>> camera = calibkit.Camera(shape=(200, 300), gain=1.5, read_noise=6.0)
    >>> biases = calibkit.simulate_stack(camera, 6, kind="bias")
    >>> flats = calibkit.simulate_stack(camera, 6, kind="flat", exposure=2.0)
    >>> report = calibkit.measure_sensor(flats=flats, biases=biases)
    >>> print(report.profile)
    calibkit simulated camera
    gain: L 1.496 ± 0.0054 electron/adu
    read noise: L 5.988 ± 0.024 electron
    dark noise: L 4.013 ± 0.007 adu
    offset: L 99.99 ± 0.0073 adu
    prnu: L 0.01007 ± 3.4e-05 1
    dsnu: L 0 ± 0.16 adu
    """
    given = {
        name: frames
        for name, frames in (("flats", flats), ("biases", biases), ("darks", darks))
        if frames is not None
    }
    if not given:
        msg = "measure_sensor: give flats, biases or darks; with all three the most can be told"
        raise SettingError(msg)
    for name, frames in given.items():
        stack = check_frame(frames, "measure_sensor")
        given[name] = stack if "frame" in stack.dims else stack.expand_dims("frame")
    flats, biases, darks = (given.get(name) for name in ("flats", "biases", "darks"))
    refused: dict[str, str] = {}

    def attempt(name: str, work: Callable[..., Found], *args: Any, **options: Any) -> Found | None:
        try:
            return work(*args, **options)
        except Cancelled:
            raise
        except CalibkitError as error:
            refused[name] = str(error)
            return None

    without_light = biases if biases is not None else darks
    transfer = pattern = dark = unstable = gain = None
    if flats is not None and without_light is not None:
        transfer = attempt(
            "photon transfer", measure_photon_transfer, flats, without_light, progress=progress
        )
        middle = _middle_flats(flats)
        offset = _one_exposure(without_light)
        gain = transfer.gain if transfer is not None else attempt("gain", measure_gain, middle, offset)
        pattern = attempt("fixed pattern", measure_fixed_pattern, middle, offset, progress=progress)
    elif flats is not None:
        refused["gain"] = "flats need biases or darks besides, for the noise and level without light"
    elif without_light is not None:
        pattern = attempt(
            "fixed pattern", measure_fixed_pattern, None, _one_exposure(without_light), progress=progress
        )
        refused["gain"] = "no flats were given"
    read_noise, dark_noise = _read_noise(transfer, without_light, gain, attempt)
    if darks is not None:
        dark = attempt("dark current", measure_dark_current, darks, biases, gain=gain, progress=progress)
        largest = _largest_set(darks)
        if largest.sizes["frame"] >= LEAST_FRAMES:
            unstable = attempt("unstable pixels", find_unstable_pixels, largest, gain=gain, progress=progress)
        else:
            refused["unstable pixels"] = (
                f"{LEAST_FRAMES} darks of one exposure and temperature are needed, found {largest.sizes['frame']}"
            )
    for part in (transfer, pattern, dark):
        refused |= {} if part is None else part.refused
    profile = _profile(given, gain, read_noise, dark_noise, transfer, pattern, dark, unstable)
    return SensorReport(gain, read_noise, transfer, pattern, dark, unstable, profile, refused)


def _middle_flats(flats: xr.DataArray) -> xr.DataArray:
    """The flats of the exposure that comes nearest to half of saturation, of which there are two at least."""
    groups = [members for _, members in exposure_groups(flats) if len(members) > 1]
    if not groups:
        return flats[:1]  # refused by what is measured from it, with the reason
    half = float(flats.attrs.get("saturation", math.nan)) / 2
    levels = [max(channel_levels(flats.isel(frame=members[0])).values()) for members in groups]
    if math.isfinite(half):
        best = int(np.argmin([abs(level - half) for level in levels]))
    else:
        best = int(np.argmax([len(members) for members in groups]))
    return flats.isel(frame=groups[best])


def _one_exposure(stack: xr.DataArray) -> xr.DataArray:
    """The shortest exposure of which there are two frames or more."""
    for _, members in exposure_groups(stack):
        if len(members) > 1:
            return stack.isel(frame=members)
    return stack[:1]


def _largest_set(darks: xr.DataArray) -> xr.DataArray:
    """The most darks of one exposure and about one temperature; the longer exposure where there are as many."""
    temperature = np.nan_to_num(frame_column(darks, "temperature"))
    best: list[int] = []
    for _, members in exposure_groups(darks):
        for i in members:
            near = [j for j in members if abs(temperature[j] - temperature[i]) <= 0.5]
            if len(near) >= len(best) and near != best:
                best = near
    return darks.isel(frame=best)


def _read_noise(
    transfer: PhotonTransfer | None,
    without_light: xr.DataArray | None,
    gain: Measurement | None,
    attempt: Callable[..., Any],
) -> tuple[Measurement | None, Measurement | None]:
    """Noise of one reading in electrons without rounding, and in ADU with it."""
    if transfer is not None:
        return transfer.read_noise, transfer.dark_noise
    if without_light is None:
        return None, None
    noise = attempt("read noise", measure_read_noise, _one_exposure(without_light))
    if noise is None or gain is None:
        return None, noise
    rounding = QUANTISATION if without_light.dtype.kind in "iu" else 0.0
    values, errors = {}, {}
    for c, sigma in noise.values.items():
        pure = math.sqrt(max(sigma**2 - rounding, 0.0))
        values[c] = pure * gain[c]
        slope = gain[c] * sigma / pure if pure else math.nan
        errors[c] = math.hypot(pure * gain.errors[c], slope * noise.errors[c])
    return Measurement(values, errors, "electron", noise.samples), noise


def _profile(
    given: dict[str, xr.DataArray],
    gain: Measurement | None,
    read_noise: Measurement | None,
    dark_noise: Measurement | None,
    transfer: PhotonTransfer | None,
    pattern: FixedPattern | None,
    dark: DarkRates | None,
    unstable: UnstablePixels | None,
) -> SensorProfile:
    found: dict[str, Measurement | None] = {"gain": gain, "read_noise": read_noise, "dark_noise": dark_noise}
    without_light = given.get("biases", given.get("darks"))
    if without_light is not None:
        found["offset"] = _offset(without_light)
    if transfer is not None:
        found |= {"saturation": transfer.saturation, "full_well": transfer.full_well}
        found["linearity"] = None if transfer.linearity is None else transfer.linearity.error
    if pattern is not None:
        found |= {"prnu": pattern.prnu, "dsnu": pattern.dsnu}
    if unstable is not None:
        found["unstable"] = unstable.share
    frames = next(iter(given.values()))
    setting = values_of(frames, "gain_setting")
    in_electrons = dark is not None and gain is not None
    return SensorProfile(
        camera=str(frames.attrs.get("camera", "")),
        gain_setting=float(setting[0]) if setting.size == 1 else math.nan,
        binning=tuple(int(n) for n in frames.attrs.get("binning", (1, 1))),
        pattern=str(frames.attrs.get("cfa", "")),
        shape=(frames.sizes["y"], frames.sizes["x"]),
        white=float(frames.attrs.get("saturation", math.nan)),
        quantities={name: value for name, value in found.items() if value is not None},
        dark_rates=tuple(dark.rates) if in_electrons else (),
        dark_fits=dict(dark.fits) if in_electrons else {},
        notes=transfer.notes if transfer is not None else (),
        created=dt.datetime.now(dt.UTC).date().isoformat(),
    )


def _offset(stack: xr.DataArray) -> Measurement:
    """Median level of the shortest exposure, its scatter from frame to frame as the error."""
    members = exposure_groups(stack)[0][1]
    levels = [channel_levels(stack.isel(frame=i), mean=True) for i in members]
    values = {c: float(np.mean([level[c] for level in levels])) for c in levels[0]}
    errors = {
        c: float(np.std([level[c] for level in levels], ddof=1) / math.sqrt(len(levels)))
        if len(levels) > 1
        else math.nan
        for c in values
    }
    return Measurement(values, errors, "adu", len(levels))

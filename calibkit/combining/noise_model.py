"""The noise of a sample from gain, read noise and offset level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibkit import meta
from calibkit.calibration.levels import per_channel
from calibkit.cfa import pattern_of
from calibkit.combining.plan import Noise
from calibkit.combining.reading import StackReader
from calibkit.errors import SettingError

#: Electrons per ADU, below which a number is no gain.
_LEAST_GAIN = 1e-9


@dataclass(frozen=True)
class Detector:
    """What is known about the noise of the frames.

    ``gain`` (frame, channel) in electrons per unit of the signal, ``read_noise`` (channel) in electrons, ``level``
    (channel) the signal without light, or None; NaN where not known. ``calibrated`` lights have noise that their
    signal does not show any more: that of the thermal charge which was subtracted, and of the masters.
    """

    gain: np.ndarray
    read_noise: np.ndarray
    level: np.ndarray | None
    has_light: bool
    calibrated: bool = False

    @property
    def complete(self) -> bool:
        """Whether the noise of a sample can be computed."""
        known = bool(np.isfinite(self.gain).all()) and bool(np.isfinite(self.read_noise).all())
        return known and not self.calibrated and (self.level is not None or not self.has_light)

    def require(self) -> list[str]:
        """Raise if gain or read noise are missing; warnings about what else is."""
        missing = [
            name
            for name, known in (
                ("gain", np.isfinite(self.gain).all()),
                ("read_noise", np.isfinite(self.read_noise).all()),
            )
            if not known
        ]
        if missing:
            msg = (
                f"reject='noise_model' needs {' and '.join(missing)}, which the frames do not say; give "
                f"{' and '.join(f'{name}=' for name in missing)} (see measure_gain and measure_read_noise), or another "
                "rejection such as reject='winsorized'"
            )
            raise SettingError(msg)
        if self.calibrated:
            message = (
                "combine(reject='noise_model'): these lights are calibrated, and their noise is more than gain and read "
                "noise tell: thermal charge was subtracted, which leaves its noise; so good samples are rejected. Take "
                "another rejection, such as reject='winsorized'"
            )
            return [message]
        if self.level is None and self.has_light:
            message = (
                "combine(reject='noise_model'): the offset level of these frames is not known and taken as 0 ADU, so "
                "that their noise is overestimated and less is rejected; subtract the bias first, or set "
                "attrs['pedestal'] to the level"
            )
            return [message]
        return []


def detector_of(
    stack: xr.DataArray | xr.Dataset,
    *,
    gain: float | Mapping[str, float] | None,
    read_noise: float | Mapping[str, float] | None,
) -> Detector:
    """What *stack* says about its noise; given numbers go first.

    Raises
    ------
    SettingError
        For a gain that is not above zero, a negative read noise, or a channel for which there is none.
    """
    n = stack.sizes["frame"]
    channels = pattern_of(stack).channels
    units = stack.attrs.get("units", "adu")
    if isinstance(gain, int | float) and not gain > 0:
        msg = f"gain={gain}: it is a number of electrons per ADU, above 0"
        raise SettingError(msg)
    if isinstance(read_noise, int | float) and not read_noise >= 0:
        msg = f"read_noise={read_noise}: it is a number of electrons, 0 or more"
        raise SettingError(msg)
    if gain is not None:
        given = per_channel(gain, channels, "gain", least=_LEAST_GAIN)
    if units == "electron":
        gains = np.ones((n, len(channels)))
    elif gain is not None:
        gains = np.tile(given, (n, 1))
    else:
        found = np.full(n, np.nan)
        if units == "adu" and "gain" in stack.coords:
            found = np.broadcast_to(np.asarray(stack.coords["gain"].values, float), n)
        elif units == "adu":
            value = stack.attrs.get("gain", np.nan)
            found = np.full(n, np.nan if value is None else float(value))
        gains = np.repeat(np.where(found > 0, found, np.nan)[:, None], len(channels), axis=1)
    if read_noise is None:
        said = stack.attrs.get("read_noise", np.nan)
        noise = np.full(len(channels), np.nan if said is None else float(said))
    else:
        noise = per_channel(read_noise, channels, "read_noise")
    kind = meta.frame_value(stack, "kind", "")
    return Detector(
        gain=gains,
        read_noise=noise,
        level=_level(stack),
        has_light=kind != "bias",
        calibrated=kind == "light"
        and any(stack.attrs.get(name) for name in ("dark_subtracted", "flat_divided")),
    )


def _level(stack: xr.DataArray | xr.Dataset) -> np.ndarray | None:
    """The signal without light and dark current, per channel."""
    channels = pattern_of(stack).channels
    if any(stack.attrs.get(f"{name}_subtracted") for name in ("bias", "dark", "overscan")):
        return np.zeros(len(channels))
    black = stack.attrs.get("black")
    if black and all(channel in black for channel in channels):
        return np.array([float(black[channel]) for channel in channels])
    pedestal = stack.attrs.get("pedestal", 0.0)
    if meta.known(pedestal) and pedestal:
        return np.full(len(channels), float(pedestal))
    return None


def sample_noise(
    detector: Detector,
    stack: xr.DataArray | xr.Dataset,
    cell: np.ndarray,
    *,
    scale: np.ndarray | None,
    zero: np.ndarray | None,
) -> Noise | None:
    """Variance of the samples as normalised by *scale* and *zero* (frame, channel); None when not known."""
    if not (np.isfinite(detector.gain).all() and np.isfinite(detector.read_noise).all()):
        return None
    channels = int(cell.max()) + 1
    ones = np.ones((stack.sizes["frame"], channels))
    factor = ones if scale is None else scale
    term = 0 * ones if zero is None else zero
    gain = detector.gain
    level = np.zeros(channels) if detector.level is None else detector.level
    slope = factor / gain if detector.has_light else 0 * ones
    return Noise(floor=(factor * detector.read_noise / gain) ** 2, slope=slope, zero=factor * level + term)


def typical_ratio(
    reader: StackReader, cell: np.ndarray, scale: np.ndarray | None, zero: np.ndarray | None
) -> float:
    """Level over noise of a typical pixel, from a strip of rows in the middle of the frames."""
    from calibkit.combining.normalise import SAMPLE_PIXELS

    n, height, width = reader.shape
    period = cell.shape[0]
    rows = max(period, min(height, SAMPLE_PIXELS // (16 * width)))
    y0 = (height - rows) // 2 // period * period
    values = np.stack([reader.read_strips(frame, [(y0, y0 + rows)])[0] for frame in range(n)]).astype(
        np.float64
    )
    if scale is not None:
        y, x = np.arange(rows) % period, np.arange(width) % cell.shape[1]
        channel = cell[y[:, None], x]
        values = values * scale[:, channel] + zero[:, channel]
    if n < 2:
        return float("nan")
    level = np.median(values, axis=0)
    scatter = np.var(values, axis=0, ddof=1)
    there = np.isfinite(level) & np.isfinite(scatter) & (level > 0)
    if not there.any() or not np.median(scatter[there]) > 0:
        return float("nan")
    freedom = 2.0 / (9.0 * (n - 1))
    return float(np.median(level[there]) / np.sqrt(np.median(scatter[there]) / (1 - freedom) ** 3))

"""What the noise of a frame is made of, one number per frame and channel: gain, readout, dark current."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibkit.calibration.levels import channel_levels, per_channel
from calibkit.meta import known
from calibkit.warned import warn

#: Variance of rounding to whole ADU.
QUANTISATION = 1.0 / 12.0
_FROM_DARK = "the scatter of the dark's frames"


@dataclass(frozen=True)
class NoiseTerms:
    """Constants of the noise model; None where the noise cannot be known.

    Attributes
    ----------
    per_adu : numpy.ndarray
        1/gain, shape (frame, channel).
    floor : numpy.ndarray
        Variance in ADU² of a pixel with no electron but those of `dark_level`, shape (frame, channel).
    dark_level : numpy.ndarray
        Level of the dark, in ADU, whose noise `floor` holds already, shape (channel,).
    floor_has_dark : bool
        `floor` is the noise of the dark's own frames, with the mean dark current's.
    note : dict
        For the provenance: gain and read noise, and where they come from.
    """

    per_adu: np.ndarray
    floor: np.ndarray
    dark_level: np.ndarray
    floor_has_dark: bool
    note: dict[str, object]


def noise_terms(
    light: xr.DataArray,
    channels: tuple[str, ...],
    *,
    bias: xr.Dataset | None,
    dark: xr.Dataset | None,
    scale: np.ndarray,
    gain: float | Mapping[str, float] | None,
    read_noise: float | Mapping[str, float] | None,
) -> NoiseTerms | None:
    """Gather the noise model's constants; warn, and give None, where one is not known."""
    gains, gain_from = _gains(light, channels, gain)
    readout, from_where = _readout(light, channels, gains, bias, dark, scale, read_noise)
    if gains is None or readout is None:
        said = known(read_noise if read_noise is not None else light.attrs.get("read_noise"))
        lacking = [("the gain (electrons per ADU)", "gain=")] if gains is None else []
        lacking += [("the read noise (electrons)", "read_noise=")] if readout is None and not said else []
        msg = (
            f"not known of this camera: {' and '.join(what for what, _ in lacking)}; so the variance of the result is NaN. "
            f"Give {' and '.join(option for _, option in lacking)}, measured with calibkit.measure_gain and "
            "calibkit.measure_read_noise"
        )
        warn(msg, stacklevel=3)
        return None
    floor, level = readout
    if bias is None and dark is None:
        level = _offset(light, channels, aloud=True)
    return NoiseTerms(
        per_adu=1.0 / gains,
        floor=np.broadcast_to(floor, gains.shape).astype(np.float64),
        dark_level=np.asarray(level, np.float64),
        floor_has_dark=from_where == _FROM_DARK,
        note={
            "gain": _plain(gains, channels),
            "gain_from": gain_from,
            "floor": _plain(np.sqrt(np.broadcast_to(floor, gains.shape)), channels),
            "floor_from": from_where,
        },
    )


def _gains(
    light: xr.DataArray, channels: tuple[str, ...], gain: float | Mapping[str, float] | None
) -> tuple[np.ndarray | None, str]:
    """Electrons per ADU, shape (frame, channel)."""
    frames = light.sizes.get("frame", 1)
    if gain is not None:
        values = per_channel(gain, channels, "gain", least=1e-6)
        return np.tile(values, (frames, 1)), "gain="
    found = light.coords["gain"].values if "gain" in light.coords else light.attrs.get("gain", np.nan)
    values = np.broadcast_to(np.asarray(found, np.float64), (frames,))
    if not (np.isfinite(values) & (values > 0)).all():
        return None, ""
    return np.repeat(values[:, None], len(channels), axis=1), "the frames"


def _readout(
    light: xr.DataArray,
    channels: tuple[str, ...],
    gains: np.ndarray | None,
    bias: xr.Dataset | None,
    dark: xr.Dataset | None,
    scale: np.ndarray,
    read_noise: float | Mapping[str, float] | None,
) -> tuple[tuple[np.ndarray, np.ndarray] | None, str]:
    """((variance in ADU² without electrons, level of the dark that it includes), where it comes from)."""
    zero = np.zeros(len(channels))
    whole = light.dtype.kind in "iu" or bool(light.attrs.get("overscan_subtracted", False))
    rounding = QUANTISATION if whole else 0.0
    said = read_noise if read_noise is not None else light.attrs.get("read_noise")
    source = "read_noise=" if read_noise is not None else "the frames"
    holds_bias = dark is not None and not dark.attrs.get("bias_subtracted", False)
    if holds_bias:
        # The offset below the dark current is not known, so its share of the noise is measured, not computed.
        measured = _frame_noise(dark, channels)
        if measured is not None:
            return (np.maximum(measured**2, rounding), _levels(dark, channels)), _FROM_DARK
    if gains is not None and known(said):
        floor = (per_channel(said, channels, "read_noise") / gains) ** 2 + rounding
        return (floor, _raw_dark_level(light, dark, channels) if holds_bias else zero), source
    if bias is not None and (measured := _frame_noise(bias, channels)) is not None:
        return (np.maximum(measured**2, rounding), zero), "the scatter of the bias's frames"
    if dark is not None and (scale == 1).all() and (measured := _frame_noise(dark, channels)) is not None:
        return (np.maximum(measured**2, rounding), _levels(dark, channels)), _FROM_DARK
    return None, ""


def _raw_dark_level(light: xr.DataArray, dark: xr.Dataset, channels: tuple[str, ...]) -> np.ndarray:
    offset = _offset(light, channels, aloud=False)
    if offset.any():
        return offset
    msg = (
        "the dark holds its bias and does not say the noise of its frames, so the noise of its mean dark current "
        "is left out of the variance; give bias= with a dark made by master_dark(stack, bias=bias)"
    )
    warn(msg, stacklevel=5)
    return _levels(dark, channels)


def _offset(light: xr.DataArray, channels: tuple[str, ...], *, aloud: bool) -> np.ndarray:
    """Level without light, in ADU, as far as the frame itself says it."""
    black = light.attrs.get("black")
    if isinstance(black, Mapping) and all(channel in black for channel in channels):
        return np.array([float(black[channel]) for channel in channels])
    pedestal = light.attrs.get("pedestal", 0.0)
    known_zero = light.attrs.get("bias_subtracted", False) or light.attrs.get("overscan_subtracted", False)
    if aloud and not known_zero and not pedestal:
        msg = (
            "neither bias nor dark is given and the frame says no pedestal: its electrons are counted from 0 ADU, and "
            "its variance is too large by the offset; give bias=, for instance calibkit.constant_bias(frame, level=…)"
        )
        warn(msg, stacklevel=4)
    return np.full(len(channels), float(pedestal or 0.0))


def _frame_noise(master: xr.Dataset, channels: tuple[str, ...]) -> np.ndarray | None:
    """Noise in ADU of a single frame of the master, per channel, if it was measured."""
    measured = master.attrs.get("frame_noise")
    if not isinstance(measured, Mapping) or any(not known(measured.get(channel)) for channel in channels):
        return None
    return np.array([float(measured[channel]) for channel in channels])


def _levels(master: xr.Dataset, channels: tuple[str, ...]) -> np.ndarray:
    levels = master.attrs.get("channel_level")
    if not isinstance(levels, Mapping):
        levels = channel_levels(master)
    return np.nan_to_num(np.array([float(levels.get(channel, np.nan)) for channel in channels]))


def _plain(values: np.ndarray, channels: tuple[str, ...]) -> float | dict[str, float]:
    """One number where all agree, else one for every channel."""
    rounded = np.round(np.asarray(values, np.float64).mean(axis=0), 6)
    if (rounded == rounded[0]).all():
        return float(rounded[0])
    return dict(zip(channels, rounded.tolist(), strict=True))

"""What frames of a flat show of its light: level, noise and saturation of every channel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibkit.calibration.checks import check_camera, check_frame, check_master, check_size, cover
from calibkit.calibration.levels import channel_levels, channel_values, clipped_mean, sites_of
from calibkit.calibration.pairs import pair_noise
from calibkit.cfa import channel_index
from calibkit.errors import MismatchError, SettingError
from calibkit.flags import SATURATED
from calibkit.meta import frame_value
from calibkit.statistics import measure_noise, sample_strips
from calibkit.warned import warn

#: The brightest pixels of a flat, as a percentile.
_PEAK = 99.9


@dataclass(frozen=True)
class Seen:
    """A flat's light: arrays along the channels, levels in ADU above the offset."""

    channels: tuple[str, ...]
    level: np.ndarray
    peak: np.ndarray  # level of the brightest pixels
    full: np.ndarray  # level at saturation
    saturated: np.ndarray  # share of the pixels
    noise: np.ndarray  # of one pixel of one frame
    photons: np.ndarray  # the part of its variance that grows with the level
    frames: int
    exposure: float
    filter: str


def of_frames(
    flat: object, bias: xr.Dataset | None, dark: xr.Dataset | None, saturation: float | None
) -> Seen:
    stack = check_frame(flat, "lamp_colour")
    stack = stack if "frame" in stack.dims else stack.expand_dims("frame")
    check_size(stack, "lamp_colour")
    cell, channels = channel_index(stack)
    offset = _offset(stack, channels, bias, dark)
    full = float(stack.attrs.get("saturation", math.nan)) if saturation is None else float(saturation)
    first = stack.isel(frame=0)
    rows = np.concatenate([np.arange(strip.start, strip.stop) for strip in sample_strips(first)])
    values = np.asarray(first.data[rows], np.float64)
    parts = [channel_values(values, None, cell, number) for number in range(len(channels))]
    raw = np.array([clipped_mean(part) for part in parts])
    noise = _noiseof_frames(stack, channels, raw - offset)
    gain = frame_value(stack, "gain")
    photons = np.minimum((raw - offset) / gain, noise**2) if gain else noise**2
    return Seen(
        channels,
        raw - offset,
        np.array([np.percentile(part, _PEAK) for part in parts]) - offset,
        full - offset,
        np.array([np.mean(part >= full) for part in parts]),
        noise,
        np.maximum(photons, 0.0),
        stack.sizes["frame"],
        float(frame_value(stack, "exposure", math.nan)),
        str(frame_value(stack, "filter", "")),
    )


def _noiseof_frames(stack: xr.DataArray, channels: tuple[str, ...], level: np.ndarray) -> np.ndarray:
    if stack.sizes["frame"] > 1:
        found = pair_noise(stack, sample=True).noise
        return np.array([found[name] for name in channels])
    gain, read_noise = frame_value(stack, "gain"), frame_value(stack, "read_noise")
    if gain and read_noise:
        return np.sqrt(np.maximum(level, 0.0) / gain + (read_noise / gain) ** 2)
    single = measure_noise(stack.isel(frame=0))
    return np.array([single[name].measured for name in channels])


def _offset(
    stack: xr.DataArray, channels: tuple[str, ...], bias: xr.Dataset | None, dark: xr.Dataset | None
) -> np.ndarray:
    if bias is not None and dark is not None and not dark.attrs.get("bias_subtracted", False):
        msg = "lamp_colour: bias subtracted twice: the dark still holds its bias; leave bias= out"
        raise MismatchError(msg)
    total = np.zeros(len(channels))
    for name, master in (("bias", bias), ("dark", dark)):
        if master is not None:
            master = check_master(master, name)
            check_camera(master, stack, name, subject="flat")
            levels = channel_levels(cover(master, stack, name, "flat"), mean=True)
            total += np.array([levels[channel] for channel in channels])
    if bias is not None or (dark is not None and not dark.attrs.get("bias_subtracted", False)):
        return total
    black = stack.attrs.get("black")
    if isinstance(black, Mapping):
        return total + np.array([float(black[channel]) for channel in channels])
    pedestal = float(stack.attrs.get("pedestal", 0.0) or 0.0)
    if not pedestal and not stack.attrs.get("bias_subtracted", False):
        msg = (
            "lamp_colour: the offset of the flats is not known and counts as light, which makes the channels look more "
            "alike than they are; give dark= (flat dark) or bias="
        )
        warn(msg, stacklevel=4)
    return total + pedestal


def of_master(flat: xr.Dataset, saturation: float | None) -> Seen:
    """The light that a master flat was made of."""
    flat = check_master(flat, "flat")
    levels = flat.attrs.get("channel_level")
    cell, channels = channel_index(flat)
    if flat.attrs.get("units") != "1" or not isinstance(levels, Mapping) or set(channels) - set(levels):
        msg = (
            "lamp_colour needs a flat of calibkit.master_flat, with attrs['channel_level'] (the level of each channel "
            f"before it was divided by it); found unit {flat.attrs.get('units')!r} and channel_level {levels}"
        )
        raise SettingError(msg)
    frames = int(flat.attrs.get("n_frames", 1))
    level = np.array([float(levels[name]) for name in channels])
    signal, flags = np.asarray(flat["signal"].data), np.asarray(flat["flags"].data)
    variance = np.asarray(flat["variance"].data)
    peak, noise, saturated = (np.full(len(channels), math.nan) for _ in range(3))
    for number in range(len(channels)):
        good = channel_values(signal, flags, cell, number)
        spread = channel_values(variance, flags, cell, number)
        if good.size:
            peak[number] = level[number] * float(np.percentile(good, _PEAK))
            # the mean: the median of variances that come from a few frames is too small, by 13 % for six
            noise[number] = level[number] * float(np.sqrt(frames * clipped_mean(spread)))
        saturated[number] = np.mean([np.mean((flags[s] & SATURATED) != 0) for s in sites_of(cell, number)])
    gain = frame_value(flat, "gain")
    photons = np.fmin(level / gain, noise**2) if gain else noise**2
    return Seen(
        channels,
        level,
        peak,
        np.full(len(channels), math.nan if saturation is None else float(saturation)),
        saturated,
        noise,
        photons,
        frames,
        float(frame_value(flat, "exposure", math.nan)),
        str(frame_value(flat, "filter", "")),
    )

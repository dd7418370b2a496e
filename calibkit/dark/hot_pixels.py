"""Hot pixels as thermometers: which ones, what they show in every frame, and how strong that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibkit.calibration.levels import channel_levels, sites_of
from calibkit.cfa import channel_index
from calibkit.cfa.neighbours import neighbour_taps
from calibkit.defects.defect_map import DefectMap
from calibkit.errors import CalibkitError
from calibkit.flags import BAD, HOT, SATURATED
from calibkit.progress import Progress

#: Hot pixels that are watched, the strongest ones that are not full.
_MOST, LEAST = 2000, 20
#: They stand out by this many sigma in the reference, so that its noise does not matter; in each of some lights a
#: third of that will do.
SIGMA, LIGHT_SIGMA = 15.0, 5.0
#: Residuals further out than this, in robust sigma, are stars, cosmic rays and unstable pixels.
_CLIP = 4.0
#: Groups of pixels that are left out one at a time to find the error.
_GROUPS = 20


@dataclass(frozen=True)
class HotPixels:
    """Hot pixels and their good neighbours of the same channel."""

    y: np.ndarray
    x: np.ndarray
    near_y: np.ndarray  # (pixel, neighbour)
    near_x: np.ndarray
    usable: np.ndarray  # which neighbours are there and good
    mask: np.ndarray  # (y, x): everything hot

    @classmethod
    def over(cls, stack: xr.DataArray, defects: DefectMap, *, sigma: float) -> HotPixels:
        """The strongest hot pixels of *defects* that stand out by *sigma* at least."""
        flags = defects.flags.values
        points = defects.points[np.argsort(-defects.points["sigma"])]
        y = points["y"] - int(defects.flags.y[0])
        x = points["x"] - int(defects.flags.x[0])
        keep = (points["sigma"] > sigma) & ((flags[y, x] & HOT) != 0)
        keep &= (flags[y, x] & SATURATED) == 0
        y, x = y[keep][:_MOST].astype(np.int64), x[keep][:_MOST].astype(np.int64)
        if y.size < LEAST:
            raise CalibkitError(too_few(y.size))
        cell, _ = channel_index(stack)
        taps, rings = neighbour_taps(cell, (1, 2))
        py, px = rings.shape[:2]
        offsets = taps[y % py, x % px]
        count = rings[y % py, x % px]
        enough = np.where(count[:, :1] >= 6, count[:, :1], count[:, 1:])
        near_y, near_x = y[:, None] + offsets[..., 0], x[:, None] + offsets[..., 1]
        height, width = flags.shape
        usable = (np.arange(offsets.shape[1]) < enough) & (near_y >= 0) & (near_y < height)
        usable &= (near_x >= 0) & (near_x < width)
        near_y, near_x = np.where(usable, near_y, 0), np.where(usable, near_x, 0)
        usable &= (flags[near_y, near_x] & BAD) == 0
        some = usable.sum(axis=1) >= 3
        return cls(*(a[some] for a in (y, x, near_y, near_x, usable)), (flags & HOT) != 0)

    def contrast(self, frame: np.ndarray) -> np.ndarray:
        """What each pixel has more than its neighbours."""
        near = np.where(self.usable, frame[self.near_y, self.near_x].astype(np.float64), np.nan)
        return frame[self.y, self.x] - np.nanmedian(near, axis=1)


def watch(
    stack: xr.DataArray,
    pixels: HotPixels,
    *,
    light: bool,
    shielded: Mapping[str, slice] | None,
    progress: Progress,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Contrast (frame, pixel), largest value of each pixel, and per channel and frame level and full pixels."""
    cell, channels = channel_index(stack)
    count = stack.sizes["frame"]
    saturation = float(stack.attrs.get("saturation", math.nan))
    contrast = np.empty((count, pixels.y.size), np.float32)
    top = np.full(pixels.y.size, -np.inf)
    levels, full = np.full((len(channels), count), np.nan), np.zeros((len(channels), count), np.int64)
    for number in range(count):
        progress(number, count, "watch hot pixels")
        frame = stack.isel(frame=number)
        data = np.asarray(frame.data)
        contrast[number] = pixels.contrast(data)
        top = np.fmax(top, data[pixels.y, pixels.x])
        filled = data >= saturation
        if light:
            filled &= pixels.mask
        full[:, number] = [sum(int(filled[s].sum()) for s in sites_of(cell, c)) for c in range(len(channels))]
        part = frame.copy(data=data)
        if shielded is not None or not light:
            part = part if shielded is None else part.isel(dict(shielded))
            found = channel_levels(part, mean=True)
            levels[:, number] = [found[name] for name in channels]
    progress(count, count, "watch hot pixels")
    return contrast, top, levels, full


def fit_strength(contrast: np.ndarray, charge: np.ndarray, gain: float | None) -> tuple[float, float]:
    """Strength of *charge* in *contrast* and its error."""
    use = np.ones(charge.size, bool)
    strength = float(np.median(contrast / charge))
    for _ in range(8):
        rest = contrast - strength * charge
        floor = (1.4826 * np.median(np.abs(rest[charge <= np.median(charge)]))) ** 2
        sigma = (
            np.sqrt(floor + np.maximum(strength, 0) * charge / gain) if gain else np.full(charge.size, 1.0)
        )
        pull = rest / sigma
        before, use = use, np.abs(pull) <= _CLIP * max(1.4826 * np.median(np.abs(pull)), 1e-9)
        weight = np.where(use, charge / sigma**2, 0.0)
        strength = float((weight * contrast).sum() / (weight * charge).sum())
        if np.array_equal(use, before):
            break
    group = np.arange(charge.size) % _GROUPS
    above = np.bincount(group, weight * contrast, _GROUPS)
    below = np.bincount(group, weight * charge, _GROUPS)
    without = (above.sum() - above) / (below.sum() - below)
    error = math.sqrt((_GROUPS - 1) / _GROUPS * float(((without - without.mean()) ** 2).sum()))
    return strength, error


def too_few(count: int) -> str:
    """The message where *count* hot pixels do not suffice."""
    return (
        f"measure_warming: only {count} hot pixels stand out enough and are not full, {LEAST} at least are wanted; "
        "expose longer, give a dark of longer exposure, or take it that this sensor is cold"
    )

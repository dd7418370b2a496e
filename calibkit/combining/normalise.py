"""Bringing frames to a common level and spread before outliers are looked for.

Level and spread are measured per frame and colour channel in strips of rows spread over the frame, the
same ones in every frame, so that what the picture shows cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from calibkit.combining.reading import StackReader
from calibkit.errors import MismatchError, SettingError

NORMALISATIONS = ("none", "additive", "multiplicative", "additive_scaling", "multiplicative_scaling")
#: What ``"auto"`` stands for, by kind of frame; anything else is left alone.
BY_KIND = {"flat": "multiplicative", "light": "additive_scaling"}
#: About so many pixels of each frame are measured, in this many strips.
SAMPLE_PIXELS = 2**18
STRIPS = 16


@dataclass(frozen=True)
class Levels:
    """What was measured, each (frame, channel)."""

    location: np.ndarray
    scale: np.ndarray
    noise: np.ndarray


def biweight(values: np.ndarray) -> tuple[float, float]:
    """Biweight location and scale (Beers, Flynn & Gebhardt 1990, AJ 100, 32; tuning 6 and 9)."""
    values = values.astype(np.float64)
    centre = float(np.median(values))
    distance = np.abs(values - centre)
    mad = float(np.median(distance))
    if mad == 0.0:  # more than half are equal, as in coarse whole numbers
        mad = float(distance.mean()) * 0.8453
    if mad == 0.0:
        return centre, 0.0
    u = (values - centre) / (6.0 * mad)
    weight = np.where(np.abs(u) < 1, (1 - u**2) ** 2, 0.0)
    location = centre + float((weight * (values - centre)).sum() / weight.sum())
    d = values - location
    u = d / (9.0 * mad)
    near = np.abs(u) < 1
    d, u2 = d[near], u[near] ** 2
    above = float((d**2 * (1 - u2) ** 4).sum())
    below = float(((1 - u2) * (1 - 5 * u2)).sum())
    return location, float(np.sqrt(values.size * above)) / abs(below)


def strips(height: int, width: int, period: int) -> list[tuple[int, int]]:
    """Rows (start, stop) that are measured: all of a small frame, else `STRIPS` strips spread over it."""
    if height * width <= 2 * SAMPLE_PIXELS:
        return [(0, height)]
    rows = max(period, round(SAMPLE_PIXELS / STRIPS / width / period) * period)
    places = (np.arange(STRIPS) + 0.5) * height / STRIPS - rows / 2
    starts = np.clip(places, 0, height - rows).astype(int) // period * period
    return [(int(start), int(start) + rows) for start in np.unique(starts)]


def measure(
    reader: StackReader,
    cell: np.ndarray,
    *,
    noise: bool,
    run: Callable[[Callable[[int], np.ndarray], int, str], list[np.ndarray]],
) -> Levels:
    """Level, spread and, if wanted, pixel noise of every frame and channel of *reader*.

    Parameters
    ----------
    cell : numpy.ndarray
        Channel number of the sites of the colour pattern, from the stack's first pixel.
    noise : bool
        Measure noise too: from second differences between neighbours of the same filter along rows,
        which a slope in the picture does not touch.
    run : callable
        ``run(function, count, what)`` calls ``function(i)`` for every frame and gives the results in order.
    """
    places = strips(reader.shape[1], reader.shape[2], cell.shape[0])

    def one_frame(frame: int) -> np.ndarray:
        return _measured(reader.read_strips(frame, places), places, cell, noise=noise)

    found = Levels(*np.stack(run(one_frame, reader.shape[0], "measure levels"), axis=1))
    check_measured(found, reader.name)
    return found


def levels_in(signal: np.ndarray, cell: np.ndarray) -> Levels:
    """What `measure` finds of one frame (y, x) in memory, NaN where it is not to be used; no noise, and NaN without a pixel."""
    places = strips(*signal.shape, cell.shape[0])
    found = _measured([signal[y0:y1] for y0, y1 in places], places, cell, noise=False)
    return Levels(*found[:, np.newaxis])


def _measured(
    parts: Sequence[np.ndarray], places: Sequence[tuple[int, int]], cell: np.ndarray, *, noise: bool
) -> np.ndarray:
    """Level, spread and pixel noise of every channel in the strips of one frame, shape (3, channel)."""
    channels, period = int(cell.max()) + 1, cell.shape[0]
    result = np.full((3, channels), np.nan)
    for channel in range(channels):
        sites = np.argwhere(cell == channel)
        planes = [
            part[(y - y0) % period :: period, x :: cell.shape[1]]
            for (y0, _), part in zip(places, parts, strict=True)
            for y, x in sites
        ]
        values = np.concatenate([plane.reshape(-1) for plane in planes])
        values = values[np.isfinite(values)]
        if values.size:
            result[0, channel], result[1, channel] = biweight(values)
        if noise:
            result[2, channel] = _pixel_noise(planes)
    return result


def check_measured(levels: Levels, name: Callable[[int], str]) -> None:
    """Refuse frames without a usable pixel where the level is measured; ``name(frame)`` is what to call one."""
    fine = np.isfinite(levels.location)
    if not fine.all():
        msg = f"{name(_first(fine))}: no usable pixel where its level is measured, so it cannot be normalised"
        raise MismatchError(msg)


def _pixel_noise(planes: list[np.ndarray]) -> float:
    differences = [
        (plane[:, :-2].astype(np.float64) - 2.0 * plane[:, 1:-1] + plane[:, 2:]).reshape(-1)
        for plane in planes
        if plane.shape[1] > 2
    ]
    d = np.concatenate(differences) if differences else np.empty(0)
    d = d[np.isfinite(d)]
    return biweight(d)[1] / np.sqrt(6.0) if d.size else np.nan


def check_normalisation(normalise: str) -> None:
    """Refuse a normalisation that does not exist."""
    if normalise != "auto" and normalise not in NORMALISATIONS:
        msg = f"normalise={normalise!r} is not known; allowed are 'auto', {', '.join(map(repr, NORMALISATIONS))}"
        raise SettingError(msg)


def workable(normalise: str, levels: Levels) -> tuple[str, str]:
    """What ``"auto"`` stands for with frames of these levels, and why it is not *normalise*, "" if it is."""
    known = (levels.scale > 0).all(axis=1)
    if not normalise.endswith("scaling") or known.all():
        return normalise, ""
    simple = normalise.removesuffix("_scaling")
    why = f"in {np.sum(~known)} of {known.size} most pixels are equal, so that their spread says nothing"
    return simple, f"normalise='auto' became {simple!r} for these frames: {why}"


def _first(fine: np.ndarray) -> int:
    """The first frame that is not fine in all its channels."""
    return int(np.flatnonzero(~fine.all(axis=1))[0])


def coefficients(normalise: str, levels: Levels, name: Callable[[int], str]) -> tuple[np.ndarray, np.ndarray]:
    """Factor and term (frame, channel) that bring every frame to the median level and spread of all.

    With level m and spread s of a frame, m₀ and s₀ of all: *additive* x − m + m₀; *multiplicative*
    x m₀/m; *additive scaling* (x − m) s₀/s + m₀; *multiplicative scaling* x (m₀/m)(s₀/s).
    """
    location, scale = levels.location, levels.scale
    ones = np.ones_like(location)
    common, common_scale = np.median(location, axis=0), np.median(scale, axis=0)
    if normalise.startswith("multiplicative") and not (location > 0).all():
        frame = _first(location > 0)
        msg = (
            f"{name(frame)}: its level is {location[frame].min():.6g}, and only frames with a level above zero "
            "can be normalised by multiplying; use normalise='additive' or 'none'"
        )
        raise SettingError(msg)
    stretch = ones
    if normalise.endswith("scaling"):
        if not (scale > 0).all():
            msg = (
                f"{name(_first(scale > 0))}: most of its pixels are equal, so that its spread cannot be matched; use "
                f"normalise={normalise.removesuffix('_scaling')!r} or 'none'"
            )
            raise SettingError(msg)
        stretch = common_scale / scale
    if normalise.startswith("multiplicative"):
        return stretch * common / location, 0 * ones
    return stretch * ones, common - stretch * location

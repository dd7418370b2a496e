"""What should be gone or even after calibration: amplifier glow, gradients, light in darks."""

from __future__ import annotations

import math

import numpy as np

from calibkit.diagnosis.evidence import Evidence
from calibkit.diagnosis.finding import Finding, judged, unclear
from calibkit.diagnosis.patterns import (
    high_pass,
    mean_of,
    median_of,
    sky_of,
    spread_of,
)

#: Per cent of the dark's glow that may be left.
_GLOW, _GLOW_GRAVE = 15.0, 40.0
#: The glow has to stand so many sigma above the noise of the dark's tiles.
_GLOW_SEEN = 10.0
#: An error from three values is too small by so much, as often as not.
_FEW = 1.5
#: Per cent by which the sky may differ from edge to edge.
_GRADIENT, _GRADIENT_GRAVE = 25.0, 60.0
#: Per cent of a dark's own level (or of its noise) by which it may be tilted.
_LEAK, _LEAK_GRAVE = 25.0, 80.0


def amp_glow(ev: Evidence) -> list[Finding]:
    """How much of the dark's glow is left in the sky after calibration."""
    name, unit = "amp glow", "% of the dark's glow"
    if ev.thermal is None:
        return [
            unclear(name, ev.where, "there is no dark that would show where the amplifier glows.", unit=unit)
        ]
    if ev.sky is None:
        return [unclear(name, ev.where, "there is no light.", unit=unit)]
    tiles = mean_of(ev.grid.by_channel(sky_of(ev.thermal.values)), axis=0)
    noise = median_of(spread_of(high_pass(ev.thermal.values))) / math.sqrt(ev.thermal.values[:, 0].size)
    shape = (ev.grid.rows.size, ev.grid.columns.size)
    glow = _glow(tiles.reshape(shape))
    height = float(np.nanmax(glow))
    if not height > _GLOW_SEEN * noise or not height > 0.3 * max(median_of(tiles), 0.0):
        return [unclear(name, ev.where, "the dark shows no glow.", unit=unit)]
    left, error = _glow_left(ev, glow)
    number, error = 100 * left, 100 * error
    bad = (
        f"{abs(number):.0f} % of the amplifier's glow ({height:.3g} ADU in the dark) is "
        f"{'left' if number > 0 else 'missing: too much of it was subtracted'}."
    )
    advice = "Take darks of the lights' own exposure; glow does not follow temperature, so scaling a dark spoils it."
    limits = {"tolerance": _GLOW, "grave": _GLOW_GRAVE}
    good = "the amplifier's glow is gone."
    return [judged(name, ev.where, number, error, unit, **limits, good=good, bad=bad, advice=advice)]


def _glow_left(ev: Evidence, glow: np.ndarray) -> tuple[float, float]:
    """Amount of the glow in the sky and its error, of all channels."""
    response = ev.response.values if ev.response is not None else np.ones_like(ev.net)
    skies, weights = (ev.grid.by_channel(sky_of(part)) for part in (ev.even, response))
    found = []
    for sky, weight in zip(skies, weights, strict=True):
        if not np.isfinite(sky).any():
            continue
        sky, weight = (
            part.reshape(glow.shape)
            for part in (sky, np.divide(1, weight, where=weight > 0, out=weight * np.nan))
        )
        left = _amount(sky, glow * weight)
        # The same shape mirrored into the other corners shows what the sky itself has of it.
        mirrored = [_amount(sky, shape * weight) for shape in (glow[::-1], glow[:, ::-1], glow[::-1, ::-1])]
        found.append((left, _FEW * math.sqrt(np.mean(np.square(mirrored)))))
    if not found:
        return math.nan, math.nan
    value, error = np.array(found).T
    error = np.maximum(error, 1e-3)
    total = (1 / error**2).sum()
    return float((value / error**2).sum() / total), float(total**-0.5)


def _glow(tiles: np.ndarray) -> np.ndarray:
    """What rises smoothly towards an edge: tiles above their median by more than they scatter."""
    base = tiles - median_of(tiles)
    width = 1.4826 * median_of(np.abs(base))
    return np.nan_to_num(np.maximum(base - 3 * width, 0))


def _amount(sky: np.ndarray, shape: np.ndarray) -> float:
    """Weight of *shape* in *sky* beside a plane, by least squares without the tiles that stars spoil."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in sky.shape), indexing="ij")
    use = np.isfinite(sky) & np.isfinite(shape)
    weight = 0.0
    for _ in range(3):
        columns = np.stack([part[use] for part in (shape, np.ones_like(y), x, y)], axis=1)
        fit = np.linalg.lstsq(columns, sky[use], rcond=None)[0]
        weight = float(fit[0])
        rest = np.full(sky.shape, np.nan)
        rest[use] = sky[use] - columns @ fit
        width = 1.4826 * median_of(np.abs(rest))
        use = use & (np.abs(rest) <= 5 * max(width, 1e-9))
        if use.sum() < 16:
            break
    return weight


def gradient(ev: Evidence) -> list[Finding]:
    """Tilt of the sky after calibration."""
    if ev.sky is None:
        return [unclear("gradient", ev.where, "there is no light, or neither bias nor dark for it.")]
    return [_sky_gradient(ev)]


def _sky_gradient(ev: Evidence) -> Finding:
    sky = ev.grid.by_channel(sky_of(ev.even))
    level = median_of(sky, axis=-1)
    noise = median_of(spread_of(ev.net)) / math.sqrt(ev.net[0, 0].size)
    bright = level > max(20 * noise, 0.2 * np.nanmax(level))
    name, unit = "gradient", "% of the sky, edge to edge"
    if not bright.any():
        return unclear(name, ev.where, "the sky is too dark to tell.", unit=unit)
    relative = mean_of(sky[bright] / level[bright, None], axis=0)
    tilt, error = _tilt(ev, relative)
    flat = "" if ev.response is not None else " No flat was divided: vignetting may be a part of it."
    bad = (
        f"the sky differs by {100 * tilt:.0f} % from edge to edge: moonlight, a town, clouds, or light that leaks in beside "
        f"the optics.{flat}"
    )
    advice = "Compare with frames of another direction: what moves with the sky is sky, what stays is a leak; cover it."
    limits = {"tolerance": _GRADIENT, "grave": _GRADIENT_GRAVE}
    good = "the sky is even."
    return judged(name, ev.where, 100 * tilt, 100 * error, unit, **limits, good=good, bad=bad, advice=advice)


def light_leak(ev: Evidence) -> list[Finding]:
    """Light in a dark: a tilt that is large beside the dark's own level and noise."""
    dark = ev.get("dark")
    if dark is None or not ev.thermal_is_free:
        return [unclear("light leak", ev.where, "there is no dark, or no bias to subtract from it.")]
    tiles = mean_of(ev.grid.by_channel(sky_of(ev.thermal.values)), axis=0)
    tilt, error = _tilt(ev, tiles)
    noise = median_of(spread_of(high_pass(ev.thermal.values)))
    level = max(abs(median_of(tiles)), noise, 1.0)
    number, sigma = 100 * tilt / level, 100 * error / level
    bad = (
        f"the dark rises by {tilt:.3g} ADU from edge to edge, {number:.0f} % of its level: light leaks into the camera, or a "
        "part of the sensor is warmer."
    )
    advice = "Take darks with the camera covered, in the dark; compare with the lens cap on and off."
    limits = {"tolerance": _LEAK, "grave": _LEAK_GRAVE}
    unit, good = "% of the dark, edge to edge", "the dark is even."
    return [judged("light leak", dark.name, number, sigma, unit, **limits, good=good, bad=bad, advice=advice)]


def _tilt(ev: Evidence, tiles: np.ndarray) -> tuple[float, float]:
    """Difference from edge to edge along the steepest direction, by median slopes, so that a corner does not count."""
    grid = tiles.reshape(ev.grid.rows.size, ev.grid.columns.size)
    slopes, errors = [], []
    for part in (grid, grid.T):
        half = part.shape[1] // 2
        if half < 1:
            continue
        pairs = part[:, -half:] - part[:, :half]  # tiles half a frame apart
        run = 1 - half / part.shape[1] if part.shape[1] % 2 == 0 else (half + 1) / part.shape[1]
        values = pairs[np.isfinite(pairs)] / run
        if values.size < 4:
            continue
        middle = median_of(values)
        slopes.append(middle)
        errors.append(1.2533 * 1.4826 * median_of(np.abs(values - middle)) / math.sqrt(values.size / 4))
    if not slopes:
        return math.nan, math.nan
    return math.hypot(*slopes), max(errors)

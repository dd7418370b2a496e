"""Levels that cannot be: a clipped background, and a bias that was subtracted twice or not at all."""

from __future__ import annotations

import math

import numpy as np

from calibkit.diagnosis.evidence import Evidence
from calibkit.diagnosis.finding import Finding, judged, unclear
from calibkit.diagnosis.patterns import kept_median, mean_of, median_of, sky_of
from calibkit.diagnosis.sampling import Sample

#: Per cent of the pixels that may lie at the lowest value beyond what noise puts there.
_CLIPPED, _CLIPPED_GRAVE = 0.05, 0.5
#: A tile that lies at the lowest value as a whole, in a frame where others do not, is no data.
_EMPTY = 0.999


def background_clipped(ev: Evidence) -> list[Finding]:
    """Share of the pixels that pile up at the lowest value, in results and raw frames."""
    return [
        _clipped(ev, role, sample)
        for role in ("result", "light", "bias", "dark")
        if (sample := ev.get(role)) is not None and not sample.is_constant
    ] or [unclear("background clipped", ev.where, "there is no frame with a background.")]


def _clipped(ev: Evidence, role: str, sample: Sample) -> Finding:
    name, unit = "background clipped", "% of the pixels"
    values = sample.frames[0] if sample.raw else sample.signal
    whole = values.dtype.kind in "iu"
    finite = values if whole else np.where(np.isfinite(values), values, np.nan)
    low = np.nanmin(finite)
    at_end = finite == low
    tiles = at_end.mean(axis=(0, 2, 3))
    empty = tiles > _EMPTY
    if empty.any() and not empty.all() and (tiles[~empty] < 1e-4).all():
        at_end, finite = at_end[:, ~empty], finite[:, ~empty]
    share = 100 * float(at_end.mean())
    expected = 100 * _by_chance(finite, float(low), whole)
    if math.isnan(expected):
        why = "the numbers are so coarse that noise does not move them from one to the next."
        return unclear(name, sample.name, why, unit=unit)
    error = 100 * math.sqrt(max(share / 100, 1 / at_end.size) / at_end.size)
    if role == "result":
        bad = (
            f"{share:.3g} % of the pixels lie at the lowest value, {low:.4g}: the background was cut off there. It cannot turn "
            "black: there is always light in it, and noise on both sides of its level."
        )
        advice = "Keep negative values (floating point numbers) when bias and dark are subtracted, and calibrate again."
    else:
        bad = f"{share:.3g} % of the raw pixels lie at the lowest value, {low:.4g} ADU: the camera's offset is too small."
        advice = "Raise the camera's offset setting, and take lights and calibration frames again."
    limits = {"tolerance": _CLIPPED, "grave": _CLIPPED_GRAVE}
    number = max(share - expected, 0.0)
    good = "nothing piles up at the lowest value."
    return judged(name, sample.name, number, error, unit, **limits, good=good, bad=bad, advice=advice)


def _by_chance(values: np.ndarray, low: float, whole: bool) -> float:
    """Fraction of the pixels that noise puts at the lowest whole number or below; NaN for coarse numbers."""
    if not whole:
        return 0.0
    tiles = values.reshape(*values.shape[:2], -1).astype(np.float32)
    middle = kept_median(tiles)
    differences = np.diff(tiles, axis=-1)
    sigma = 1.4826 * median_of(np.abs(differences), axis=-1) / math.sqrt(2)
    if median_of(sigma) < 0.7:
        return math.nan
    from scipy.special import ndtr

    return float(ndtr((low + 0.5 - middle[..., 0]) / np.maximum(sigma, 0.7)).mean())


def bias_level(ev: Evidence) -> list[Finding]:
    """Whether the bias was subtracted once: by the dark's level, the sky's sign, and the result's arithmetic."""
    found = [*_dark_above_bias(ev), *_sky_above_zero(ev), *_arithmetic(ev)]
    return found or [
        unclear("bias level", ev.where, "there are no two frames whose levels could be compared.")
    ]


def _dark_above_bias(ev: Evidence) -> list[Finding]:
    """A dark lies at its bias or above; a dark without bias at zero or above."""
    dark, bias = ev.get("dark"), ev.get("bias")
    if dark is None or (bias is None and not dark.bias_subtracted):
        return []
    level = ev.level("dark") if dark.bias_subtracted else ev.level("dark") - ev.level("bias")
    excess = mean_of(level)
    error = math.hypot(_level_error(dark), 0.0 if dark.bias_subtracted else _level_error(bias))
    height = abs(ev.bias_level) if math.isfinite(ev.bias_level) else 20.0
    grave = max(2.0, 0.3 * height)
    if dark.bias_subtracted:
        bad = f"the dark says that its bias is subtracted and lies {-excess:.3g} ADU below zero: bias subtracted twice."
    else:
        bad = (
            f"the dark lies {-excess:.3g} ADU below the bias, though it should hold both bias and dark current: its bias was "
            "subtracted already. Subtracting a bias once more makes it bias subtracted twice."
        )
    advice = "Subtract the bias from the dark once, and say so: open the dark with attrs['bias_subtracted'] = True."
    limits = {"tolerance": max(1.0, 0.05 * height), "grave": grave}
    good = "the dark lies at its bias or above."
    number = min(excess, 0.0)
    return [
        judged("bias level", dark.name, number, error, "ADU", **limits, good=good, bad=bad, advice=advice)
    ]


def _level_error(sample: Sample) -> float:
    """Error of the level of a set, from its scatter from frame to frame."""
    levels = mean_of(sample.levels, axis=(1, 2))
    if levels.size < 3:
        return 0.2
    return max(float(levels.std(ddof=1) / math.sqrt(levels.size)), 0.02)


def _sky_above_zero(ev: Evidence) -> list[Finding]:
    """There is light in the sky: what is left of a light after bias and dark cannot be below zero."""
    light = ev.get("light") or ev.get("result")
    if light is None or ev.sky is None:
        return []
    sky = ev.grid.by_channel(ev.sky)
    level = median_of(sky, axis=-1)
    worst = float(np.nanmin(level))
    error = _level_error(light) if light.raw else 0.2
    for role in ("dark", "bias"):
        sample = ev.get(role)
        if sample is not None and sample.raw:
            error = math.hypot(error, _level_error(sample))
    height = ev.bias_level if math.isfinite(ev.bias_level) else 20.0
    likely = " That is the bias: it was subtracted twice." if abs(worst + height) < 0.3 * height else ""
    bad = f"after bias and dark the sky lies {-worst:.3g} ADU below zero: more was subtracted than there is.{likely}"
    advice = (
        "Check that the bias is subtracted once: as a master of its own or as a part of the dark, not both."
    )
    limits = {"tolerance": max(1.0, 0.03 * abs(height)), "grave": max(2.0, 0.2 * abs(height))}
    number, good = min(worst, 0.0), "the sky lies above zero."
    return [judged("bias level", ev.where, number, error, "ADU", **limits, good=good, bad=bad, advice=advice)]


def _arithmetic(ev: Evidence) -> list[Finding]:
    """What was subtracted from the light on the way to the result, over what bias and dark hold."""
    light, result, offset = ev.get("light"), ev.get("result"), ev.offset
    if light is None or result is None or offset is None or light.bias_subtracted:
        return []
    taken = light.sky - ev.sky
    gap = median_of(ev.grid.by_channel(taken - sky_of(offset)))
    sky = median_of(ev.sky)
    error = 0.02 + abs(sky) / 2000
    if light.count > 1:
        error = math.hypot(error, float(mean_of(light.levels, axis=(1, 2)).std(ddof=1)))
    height = ev.bias_level
    likely = ""
    if math.isfinite(height):
        twice, never = abs(gap - height) < 0.2 * height, abs(gap + height) < 0.2 * height
        likely = ": bias subtracted twice" if twice else ": the bias was not subtracted" if never else ""
    how = "more" if gap > 0 else "less"
    bad = f"{abs(gap):.3g} ADU {how} were subtracted from the light than bias and dark hold{likely}."
    advice = (
        "Calibrate again: calibkit.calibrate(light, bias=…, dark=…, flat=…) refuses what cannot be right."
    )
    limits = {"tolerance": max(1.0, 0.02 * abs(sky)), "grave": max(3.0, 0.05 * abs(sky))}
    good = "what was subtracted is what bias and dark hold."
    return [judged("bias level", result.name, gap, error, "ADU", **limits, good=good, bad=bad, advice=advice)]

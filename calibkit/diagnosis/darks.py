"""Does the dark fit? Its pattern is looked for in the lights: its strength tells exposure and temperature."""

from __future__ import annotations

import math

import numpy as np

from calibkit.diagnosis.evidence import Evidence
from calibkit.diagnosis.finding import OK, Finding, judged, unclear
from calibkit.diagnosis.patterns import Share, dark_share
from calibkit.diagnosis.sampling import Sample
from calibkit.session.wording import degrees

#: Per cent by which the dark may be too strong or too weak.
_TOLERANCE, _GRAVE = 4.0, 12.0
#: Per cent below which the lights hold nothing of the dark.
_GONE = 10.0
#: °C.
_WARM, _WARM_GRAVE = 0.8, 1.5
_DRIFT, _DRIFT_GRAVE = 1.0, 3.0
#: °C over which dark current doubles, usually; the lecture's figure.
DOUBLING = 7.0
#: The dark's pattern has to stand so many sigma above its noise.
_SEEN = 8.0
#: Frames of a set whose dark current is compared.
_DRIFT_FRAMES = 5


def dark_strength(ev: Evidence) -> list[Finding]:
    """How much of the dark's pattern is in the lights, over what is subtracted."""
    name, unit = "dark strength", "% of what is subtracted"
    share, why = _in_lights(ev)
    if share is None:
        return [unclear(name, ev.where, why, unit=unit)]
    if not ev.scale > 0:
        return [unclear(name, ev.where, "the dark is multiplied by 0.", unit=unit)]
    number, error = 100 * share.value / ev.scale, 100 * share.error / ev.scale
    weak = number > 100
    gone = number < _GONE
    bad = (
        "the dark's hot pixels are not in the lights: a dark was subtracted from them already, by the camera perhaps, or "
        "these darks are of another camera."
        if gone
        else f"the dark is too {'weak: hot pixels and glow stay' if weak else 'strong: holes are left where hot pixels were'}. "
        f"It was {'shorter or colder' if weak else 'longer or warmer'} than the light, or multiplied by a wrong factor."
    )
    advice = (
        "Look at the lights' headers and the camera's settings; leave the dark out if it is subtracted already."
        if gone
        else "Take darks of the lights' own exposure and temperature; or subtract the bias from both and give "
        f"dark_scale={share.value:.3g} (measure_dark_scale tells it with its error)."
    )
    limits = {"expected": 100.0, "tolerance": _TOLERANCE, "grave": _GRAVE}
    good = "the dark's pattern is in the lights as strong as it is subtracted."
    return [judged(name, ev.where, number, error, unit, **limits, good=good, bad=bad, advice=advice)]


def dark_temperature(ev: Evidence) -> list[Finding]:
    """By how much the lights were warmer than the dark, whatever the headers say."""
    name, unit = "dark temperature", "°C"
    share, why = _in_lights(ev)
    if share is None:
        return [unclear(name, ev.where, why, unit=unit)]
    ratio = ev.exposure_ratio
    if not ratio > 0:
        return [unclear(name, ev.where, "the exposures of lights and darks are not said.", unit=unit)]
    if not share.value > 4 * share.error:
        why = (
            "the dark's pattern is not in the lights at all: these darks are of another camera, or no darks."
        )
        return [unclear(name, ev.where, why, unit=unit)]
    number = DOUBLING * math.log2(share.value / ratio)
    error = DOUBLING * share.error / (share.value * math.log(2))
    if 100 * abs(share.value / ev.scale - 1) < _TOLERANCE and abs(ev.scale - ratio) > 0.01 * ratio:
        good = (
            f"the lights were {number:+.1f} °C from the dark; its factor {ev.scale:.3g} takes care of that."
        )
        return [Finding(name, ev.where, number, error, unit, 0.0, OK, good, "")]
    said = _stated(ev)
    bad = (
        f"the lights were {abs(number):.1f} °C {'warmer' if number > 0 else 'colder'} than the dark, taking it that dark current "
        f"doubles every {DOUBLING:g} °C{said}; or an exposure is not what its header says."
    )
    advice = "Take darks at the lights' temperature, or scale these: subtract the bias from both, give dark_scale=."
    limits = {"tolerance": _WARM, "grave": _WARM_GRAVE}
    good = "the dark is of the lights' temperature."
    return [judged(name, ev.where, number, error, unit, **limits, good=good, bad=bad, advice=advice)]


def _stated(ev: Evidence) -> str:
    light, dark = ev.get("light") or ev.get("result"), ev.get("dark")
    temperatures = [sample.number("temperature") for sample in (light, dark)]
    if not all(math.isfinite(t) for t in temperatures):
        return ""
    return f" (headers: lights {degrees(temperatures[0])}, dark {degrees(temperatures[1])})"


def _in_lights(ev: Evidence) -> tuple[Share | None, str]:
    """How much of the dark is in the lights, or why that cannot be told."""
    dark = ev.get("dark")
    if dark is None:
        return None, "there is no dark."
    if ev.get("light") is None and ev.get("result") is None:
        return None, "there is no light."
    if not ev.thermal.known:
        return (
            None,
            "it takes two darks, or a master dark with its variance, to tell its pattern from its noise.",
        )
    share = ev.dark_share
    if share is None:
        return None, "the light's offset is not known."
    if not share.significance > _SEEN or math.isnan(share.value):
        return (
            None,
            "the dark shows no hot pixels or other pattern above its noise; so little harm is done by it.",
        )
    return share, ""


def temperature_drift(ev: Evidence) -> list[Finding]:
    """Whether lights and darks warmed up while they were taken, by headers and by the dark current itself."""
    found = []
    for role in ("light", "dark"):
        sample = ev.get(role)
        if sample is not None and sample.raw:
            found += _drift(ev, role, sample)
    return found or [
        unclear("temperature drift", ev.where, "there are no single lights or darks.", unit="°C")
    ]


def _drift(ev: Evidence, role: str, sample: Sample) -> list[Finding]:
    name, unit = "temperature drift", "°C"
    findings = []
    bad = f"the {role}s warmed up or cooled down by {{0:.1f}} °C while they were taken{{1}}: one dark does not fit all."
    advice = "Group the frames by temperature with a dark for each, or wait until the camera is steady."
    limits = {"tolerance": _DRIFT, "grave": _DRIFT_GRAVE}
    stated = np.asarray(sample.facts("temperature"), float)
    stated = stated[np.isfinite(stated)]
    if stated.size > 1:
        drift = float(stated.max() - stated.min())
        words = {
            "good": "by their headers the temperature kept still.",
            "bad": bad.format(drift, ", by their headers"),
        }
        findings.append(
            judged(name, f"{sample.name} (headers)", drift, 0.0, unit, **limits, **words, advice=advice)
        )
    measured = _measured_drift(ev, role, sample)
    if measured is not None:
        drift, error = measured
        words = {
            "good": "their dark current kept still.",
            "bad": bad.format(abs(drift), f", by their dark current, if it doubles every {DOUBLING:g} °C"),
        }
        where = f"{sample.name} (dark current)"
        findings.append(judged(name, where, drift, error, unit, **limits, **words, advice=advice))
    elif not findings and stated.size:
        findings.append(unclear(name, sample.name, "a single frame does not drift.", unit=unit))
    elif not findings:
        why = "headers do not say the temperature, and there is no pattern of dark current in several frames."
        findings.append(unclear(name, sample.name, why, unit=unit))
    return findings


def _measured_drift(ev: Evidence, role: str, sample: Sample) -> tuple[float, float] | None:
    """Warming from the first to the last frame in °C by a straight line, and its error."""
    count = len(sample.frames)
    dark = ev.get("dark")
    if count < 3 or dark is None or not ev.thermal.split or not ev.thermal_is_free:
        return None
    share = ev.dark_share if role == "light" else None
    if role == "light" and (share is None or not share.value > 10 * share.error):
        return None
    shares = shares_of_frames(ev, role, sample)
    if shares is None:
        return None
    number, value, error = shares
    if not (value > 5 * error).all():
        return None
    warm = DOUBLING * np.log2(value / value.mean())
    sigma = DOUBLING * error / (value * math.log(2))
    weight = 1 / sigma**2
    x = number - np.average(number, weights=weight)
    freedom = (weight * x**2).sum()
    slope = float((weight * x * warm).sum() / freedom)
    rest = warm - np.average(warm, weights=weight) - slope * x
    excess = max(1.0, float((weight * rest**2).sum()) / max(count - 2, 1))
    span = float(number[-1] - number[0])
    return slope * span, math.sqrt(excess / freedom) * span


def shares_of_frames(
    ev: Evidence, role: str, sample: Sample
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Number, share of the dark's pattern and its error for some frames of lights or darks."""
    bias = ev.get("bias")
    if sample.bias_subtracted != (bias is None) or bias is None:
        return None
    split = bias.halves or (bias.master,) * 2
    chosen = np.unique(np.linspace(0, len(sample.frames) - 1, _DRIFT_FRAMES).astype(int))
    found = []
    for i in chosen.tolist():
        frame = sample.frames[i].astype(np.float32)
        pair: tuple[np.ndarray | None, np.ndarray | None] = (frame - split[1], frame - split[0])
        if role == "dark":  # a frame is compared with the half that it is not in
            pair = (None, pair[1]) if i % 2 == 0 else (pair[0], None)
        share = dark_share(pair, ev.thermal, shared=ev.shared, full=ev.full)
        if not share.significance > _SEEN:
            return None
        found.append((sample.chosen[i], share.value, share.error))
    number, value, error = np.array(found).T
    return number, value, error

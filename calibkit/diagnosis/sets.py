"""Do the frames belong together: settings that are mixed, and frames that differ from the rest of their set."""

from __future__ import annotations

import math

import numpy as np

from calibkit.diagnosis.evidence import Evidence
from calibkit.diagnosis.finding import FAULT, OK, Finding, judged, unclear
from calibkit.diagnosis.patterns import kept_median, mean_of, median_of
from calibkit.diagnosis.sampling import Sample
from calibkit.meta import known
from calibkit.session.clusters import by_tolerance
from calibkit.session.tolerances import Tolerances
from calibkit.session.wording import listed, number, plural

#: A frame is odd whose level is off by so many times the usual scatter of its set.
_ODD_SIGMA = 6.0
#: Per cent of the level (flats, lights), or of a pixel's noise (biases, darks), by which a frame may be off.
_LEVEL, _LEVEL_GRAVE = 10.0, 30.0
_OFFSET, _OFFSET_GRAVE = 50.0, 200.0
_LEAST = 4
#: Gains that agree to this fraction are one, as in sessions.
_ALIKE = Tolerances().gain_fraction


def mixed_settings(ev: Evidence) -> list[Finding]:
    """Gain, ISO or binning that differ within a set, or between lights and what is to calibrate them."""
    name = "mixed settings"
    found = [*ev.misfits, *_within(ev), *_between(ev), *_refused(ev)]
    if found:
        return found
    told = [sample for sample in ev.each if _settings(sample)]
    if not told:
        return [unclear(name, ev.where, "headers say neither gain nor ISO.")]
    return [
        Finding(name, ev.where, 1, 0.0, "settings", 1, OK, "gain and binning are the same everywhere.", "")
    ]


def _settings(sample: Sample) -> dict[str, set[object]]:
    """What the headers say, property → values."""
    found: dict[str, set[object]] = {}
    for fact, words in (("gain_setting", "gain/ISO"), ("gain", "gain in e⁻/ADU")):
        values = sorted({float(v) for v in np.asarray(sample.facts(fact), float) if known(v)})
        if values:
            found[words] = {values[part[0]] for part in by_tolerance(values, lambda v: _ALIKE * v)}
    binning = sample.data.attrs.get("binning")
    if binning:
        found["binning"] = {tuple(int(v) for v in binning)}
    return found


def _within(ev: Evidence) -> list[Finding]:
    found = []
    for sample in ev.each:
        for words, values in _settings(sample).items():
            if len(values) > 1:
                cause = f"frames of several settings in one set: {words} {_listed(values)}."
                advice = "Combine each setting apart: numbers of one mean nothing in the other."
                count = len(values)
                found.append(
                    Finding("mixed settings", sample.name, count, 0.0, "settings", 1, FAULT, cause, advice)
                )
    return found


def _between(ev: Evidence) -> list[Finding]:
    light = ev.get("light") or ev.get("result")
    found = []
    for sample in ev.each if light is not None else ():
        if sample is light or sample.kind == "flat":
            continue
        have, want = _settings(sample), _settings(light)
        for words in have.keys() & want.keys():
            if words == "gain in e⁻/ADU" and "gain/ISO" in have.keys() & want.keys():
                continue
            if not any(_alike(a, b) for a in have[words] for b in want[words]):
                cause = f"{words} {_listed(have[words])}, the lights have {_listed(want[words])}."
                advice = "Take calibration frames with the lights' own setting."
                found.append(
                    Finding("mixed settings", sample.name, 2, 0.0, "settings", 1, FAULT, cause, advice)
                )
    return found


def _alike(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=_ALIKE)
    return a == b


def _refused(ev: Evidence) -> list[Finding]:
    """What the session could not use because of its gain or binning."""
    if ev.match is None:
        return []
    light, found = ev.match.light, []
    for role in ("bias", "dark", "flat"):
        if ev.match[role] is not None:
            continue
        for group in (group for group in ev.groups if group.kind == role):
            gains = (group.gain_setting, light.gain_setting)
            cause = ""
            if all(math.isfinite(g) for g in gains) and gains[0] != gains[1]:
                cause = f"gain/ISO {number(gains[0])}, the lights have {number(gains[1])}"
            elif all(math.isfinite(g) for g in (group.gain, light.gain)) and not math.isclose(
                group.gain, light.gain, rel_tol=ev.tolerances.gain_fraction
            ):
                cause = f"gain {group.gain:.3g} e⁻/ADU, the lights have {light.gain:.3g}"
            if group.info.binning != light.info.binning:
                cause = "binned {}×{}, the lights {}×{}".format(*group.info.binning, *light.info.binning)
            if cause:
                advice = "Take calibration frames with the lights' own setting; these are not used."
                found.append(
                    Finding("mixed settings", group.name, 2, 0.0, "settings", 1, FAULT, f"{cause}.", advice)
                )
    return found


def _listed(values: set[object]) -> str:
    return ", ".join(number(v) if isinstance(v, float) else "×".join(map(str, v)) for v in sorted(values))


def odd_frames(ev: Evidence) -> list[Finding]:
    """Frames whose level or shading differs from the rest of their set."""
    found = [
        _odd(ev, sample)
        for sample in ev.each
        if sample.raw and sample.kind in ("bias", "dark", "flat", "flat dark", "light")
    ]
    return found or [unclear("odd frames", ev.where, "there is no set of single frames.")]


def _odd(ev: Evidence, sample: Sample) -> Finding:
    name = "odd frames"
    levels = sample.levels
    if len(levels) < _LEAST:
        why = f"{plural(len(levels), 'frame')}: {_LEAST} are wanted to say what is usual."
        return unclear(name, sample.name, why)
    lit = sample.kind in ("flat", "light")
    middle = median_of(levels, axis=0)
    if lit:
        overall = median_of(levels.reshape(len(levels), -1), axis=1) - _without_light(ev, sample)
        usual = median_of(overall)
        if not usual > 0:
            return unclear(name, sample.name, "there is no light in these frames.")
        shift = 100 * _shift(levels, middle) / usual
        shading = 100 * _shading(levels, middle) / usual
        unit, tolerance, grave = "% of the level", _LEVEL, _LEVEL_GRAVE
    else:
        noise = math.sqrt(median_of(sample.pair_variance))
        scale = max(noise, 0.5)
        shift = 100 * _shift(levels, middle) / scale
        shading = 100 * _shading(levels, middle) / scale
        unit, tolerance, grave = "% of the noise of a pixel", _OFFSET, _OFFSET_GRAVE
    worst, which = 0.0, []
    for values in (shift, shading):
        off = np.abs(values - median_of(values))
        odd = np.flatnonzero((off > _ODD_SIGMA * 1.4826 * median_of(off)) & (off > tolerance))
        which += odd.tolist()
        worst = max(worst, float(off[odd].max()) if odd.size else 0.0)
    which = sorted(set(which))
    if which and len(which) > len(levels) // 3:
        why = f"{len(which)} of {len(levels)} frames differ: there is no rest that they could differ from."
        return unclear(name, sample.name, why, "Look at the frames; group those that belong together.")
    files = [str(sample.facts("file")[sample.surveyed[i]]) for i in which] if which else []
    names = [
        file.replace("\\", "/").rpartition("/")[2] or f"no. {sample.surveyed[i] + 1}"
        for i, file in zip(which, files, strict=True)
    ]
    differ = "differs" if len(which) == 1 else "differ"
    bad = f"{plural(len(which), 'frame')} of {len(levels)} {differ} from the rest in level or shading: {listed(names)}."
    advice = "Look at them (clouds, a lamp that was off, light in a dark, a frame of another kind) and leave them out."
    limits = {"tolerance": tolerance, "grave": grave}
    good = "no frame differs from the rest."
    return judged(name, sample.name, worst, 0.0, unit, **limits, good=good, bad=bad, advice=advice)


def _without_light(ev: Evidence, sample: Sample) -> float:
    """Level without light in ADU, as far as it is known."""
    for role in ("bias", "flat dark" if sample.kind == "flat" else "dark"):
        level = ev.level(role)
        if level is not None and not sample.bias_subtracted and not ev.samples[role].bias_subtracted:
            return mean_of(level)
    return float(sample.data.attrs.get("pedestal", 0.0) or 0.0)


def _shift(levels: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """How far every frame lies above the usual one."""
    return median_of((levels - middle).reshape(len(levels), -1), axis=1)


def _shading(levels: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """How far the tiles of every frame scatter about the usual frame, its own level apart."""
    rest = (levels - middle).reshape(len(levels), -1)
    return 1.4826 * median_of(np.abs(rest - kept_median(rest)), axis=1)

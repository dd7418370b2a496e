"""Is there as much noise as there should be, are fractions kept, and can outliers be rejected at all?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from calibkit.bias.interference import find_interference
from calibkit.calibration.pairs import clipped_variance
from calibkit.combining import can_reject
from calibkit.combining.choose import choose_rejection
from calibkit.diagnosis.evidence import Evidence
from calibkit.diagnosis.finding import FAULT, OK, SUSPECT, Finding, judged, unclear
from calibkit.diagnosis.patterns import high_pass, level_of, mean_of, median_of, spread_of
from calibkit.diagnosis.sampling import Sample

#: Measured over predicted noise.
_RATIO, _RATIO_GRAVE = 0.12, 0.3
#: Frames that are searched for a wave, and the part of the surplus that it has to make up.
_WAVE_FRAMES, _WAVE_SHARE = 6, 0.3
#: Fraction to which a level that is missing has to agree with the bias.
_LIKE_BIAS = 0.3
#: Per cent of the noise that rounding may add.
_STEP, _STEP_GRAVE = 30.0, 90.0
#: Values that a step is looked for in.
_STEP_VALUES = 200_000


def noise(ev: Evidence) -> list[Finding]:
    """Measured over predicted noise, of raw frames and of the result."""
    found = [_raw_noise(ev, role) for role in ("bias", "dark", "flat", "light")]
    found += [_result_noise(ev)]
    found = [finding for finding in found if finding is not None]
    return found or [unclear("noise", ev.where, "there are no frames whose noise could be measured.")]


def _raw_noise(ev: Evidence, role: str) -> Finding | None:
    sample = ev.get(role)
    if sample is None or not sample.raw:
        return None
    name, unit = "noise", "of what is predicted"
    if sample.pair_variance is None:
        return unclear(
            name, sample.name, "a single frame: noise is seen in differences of frames.", unit=unit
        )
    floor, source = _floor(ev, sample)
    gain, gain_from = _gain(ev, sample)
    if floor is None or (role != "bias" and gain is None):
        lacking = "read noise" if floor is None else "gain"
        return unclear(
            name,
            sample.name,
            f"the {lacking} is not known.",
            f"Give {lacking.replace(' ', '_')}=.",
            unit=unit,
        )
    measured = sample.pair_variance
    predicted = np.broadcast_to(floor[ev.grid.site_channel][:, None], measured.shape).astype(float)
    if role != "bias":
        electrons = _above_offset(ev, sample)
        if electrons is None:
            return unclear(
                name, sample.name, "there is no bias: the level without light is not known.", unit=unit
            )
        predicted = predicted + np.maximum(electrons, 0) / gain[ev.grid.site_channel][:, None]
    ratios = _ratios(measured, predicted)
    ratio, error = median_of(ratios), _error_of_median(ratios)
    finding = _noise_finding(sample, ratio, error, measured, predicted, source, gain_from)
    if finding.verdict in (SUSPECT, FAULT) and role in ("bias", "dark") and ratio > 1:
        return _with_wave(sample, finding, mean_of(measured - predicted))
    if finding.verdict in (SUSPECT, FAULT) and role == "light" and ratio > 1:
        lacking = _lacking_bias(ev, gain, measured - predicted)
        return finding if not lacking else replace(finding, cause=lacking[0], advice=lacking[1])
    return finding


def _with_wave(sample: Sample, finding: Finding, excess: float) -> Finding:
    """*finding*, which says that it is interference where a wave makes up a good part of the *excess* in ADU²."""
    frames = sample.data.isel(frame=slice(_WAVE_FRAMES)) if "frame" in sample.data.dims else sample.data
    waves = find_interference(frames, most=1)
    if not waves or waves[0].amplitude ** 2 / 2 < _WAVE_SHARE * excess:
        return finding
    first = finding.cause.partition(". ")[0]
    cause = f"{first}, and a wave runs through the frames ({waves[0]} ADU): radio-frequency interference."
    advice = (
        "No master takes it out, since it begins at another place in every frame. Look for the source: cables, the power "
        "supply, a dimmed lamp."
    )
    return replace(finding, cause=cause, advice=advice)


def _lacking_bias(ev: Evidence, gain: np.ndarray, excess: np.ndarray) -> tuple[str, str] | None:
    """Cause and advice where the noise is that of a level higher by the bias; None otherwise."""
    height = ev.bias_level
    level = median_of(mean_of(excess * gain[ev.grid.site_channel][:, None], axis=0))
    if not (math.isfinite(height) and abs(level - height) < _LIKE_BIAS * height):
        return None
    cause = (
        f"the lights have the noise of a level that is {level:.3g} ADU higher than theirs. That is the bias: it is gone "
        "from the lights already, and taking it off once more makes it bias subtracted twice."
    )
    return (
        cause,
        "Say so when the lights are opened, attrs['bias_subtracted'] = True, or start from the raw ones.",
    )


def _ratios(measured: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Measured over predicted noise of every tile; NaN where none is predicted."""
    have, want = mean_of(measured, axis=0), mean_of(predicted, axis=0)
    return np.sqrt(np.divide(have, want, out=np.full(want.shape, np.nan), where=want > 0))


def _noise_finding(
    sample: Sample,
    ratio: float,
    error: float,
    measured: np.ndarray,
    predicted: np.ndarray,
    source: str,
    gain_from: str,
) -> Finding:
    have, want = (math.sqrt(median_of(mean_of(part, axis=0))) for part in (measured, predicted))
    facts = " and ".join(filter(None, (source, gain_from)))
    less = ratio < 1
    bad = f"there are {have:.3g} ADU of noise where {want:.3g} ADU are predicted from {facts}. " + (
        "The gain or the read noise is another one, frames are copies of each other, or were smoothed or scaled."
        if less
        else "The gain or read noise is another one, or something changes from frame to frame."
    )
    advice = "Measure both from your own frames: measure_gain(flats, biases), measure_read_noise(biases)."
    limits = {"expected": 1.0, "tolerance": _RATIO, "grave": _RATIO_GRAVE}
    good = f"{have:.3g} ADU of noise, as predicted from {facts}."
    unit = "of what is predicted"
    return judged("noise", sample.name, ratio, error, unit, **limits, good=good, bad=bad, advice=advice)


def _error_of_median(values: np.ndarray) -> float:
    count = int(np.isfinite(values).sum())
    if count < 4:
        return math.nan
    return 1.2533 * 1.4826 * median_of(np.abs(values - median_of(values))) / math.sqrt(count) + 1e-3


def _reference(ev: Evidence, sample: Sample) -> Sample | None:
    """Frames of the same offset and readout noise, with less light: their noise is what every frame has."""
    roles = {"dark": ("bias",), "light": ("bias", "dark"), "flat": ("bias", "flat dark", "dark")}[sample.kind]
    for role in roles:
        found = ev.get(role)
        if (
            found is not None
            and found.pair_variance is not None
            and found.bias_subtracted == sample.bias_subtracted
        ):
            return found
    return None


def _floor(ev: Evidence, sample: Sample) -> tuple[np.ndarray | None, str]:
    """Variance of one frame without light, ADU², per channel: measured in biases or darks, or as stated."""
    reference = _reference(ev, sample) if sample.kind != "bias" else None
    if reference is not None:
        plural = {"bias": "biases'", "dark": "darks'", "flat dark": "flat darks'"}[reference.kind]
        return mean_of(ev.grid.by_channel(reference.pair_variance), axis=-1), f"the {plural} noise"
    gain, stated = ev.gain_of(sample), ev.read_noise_of(sample)
    if gain is None or stated is None:
        return None, ""
    return (stated / gain) ** 2 + 1 / 12, f"the read noise of {_numbers(stated)} e⁻"


def _gain(ev: Evidence, sample: Sample) -> tuple[np.ndarray | None, str]:
    """Electrons per ADU per channel: as stated, or measured in the flats."""
    stated = ev.gain_of(sample)
    if stated is not None:
        return stated, f"the gain of {_numbers(stated)} e⁻/ADU"
    flat = ev.get("flat")
    if sample.kind in ("bias", "flat") or flat is None or flat.pair_variance is None:
        return None, ""
    level, (floor, _) = _above_offset(ev, flat), _floor(ev, flat)
    if level is None or floor is None:
        return None, ""
    noise = mean_of(ev.grid.by_channel(flat.pair_variance), axis=-1) - floor
    light = mean_of(ev.grid.by_channel(level), axis=-1)
    if not (noise > 0).all() or not (light > 0).all():
        return None, ""
    return light / noise, f"the gain of {_numbers(light / noise)} e⁻/ADU measured in the flats"


def _above_offset(ev: Evidence, sample: Sample) -> np.ndarray | None:
    """Level above that of `_floor` in the tiles that noise is measured in, (site, tile), ADU."""
    level = sample.sky[:, sample.noise_tiles]
    if sample.bias_subtracted:
        return level
    reference = _reference(ev, sample) or ev.get("bias")
    if reference is not None:
        return level - reference.sky[:, sample.noise_tiles]
    black = sample.data.attrs.get("black")
    if black:
        return level - np.array([float(black[ev.grid.channels[c]]) for c in ev.grid.site_channel])[:, None]
    pedestal = float(sample.data.attrs.get("pedestal", 0.0) or 0.0)
    return level - pedestal if pedestal else None


def _numbers(values: np.ndarray) -> str:
    return f"{values[0]:.3g}" if (values == values[0]).all() else ", ".join(f"{v:.3g}" for v in values)


def _result_noise(ev: Evidence) -> Finding | None:
    """The result's noise from pixel to pixel over what its variance says."""
    result = ev.get("result")
    if result is None:
        return None
    name, unit = "noise", "of what is predicted"
    if result.variance is None or not np.isfinite(result.variance).any():
        return unclear(name, result.name, "the result does not say its variance.", unit=unit)
    tiles = result.noise_tiles
    passed = high_pass(result.master[:, tiles])
    measured, _ = clipped_variance(passed.reshape(-1, passed.shape[-2] * passed.shape[-1]))
    measured = measured.reshape(passed.shape[:2]) / 1.125
    predicted = level_of(result.variance[:, tiles])[..., 0, 0]
    ratios = _ratios(measured, predicted)
    ratio, error = median_of(ratios), _error_of_median(ratios)
    return _noise_finding(result, ratio, error, measured, predicted, "the result's variance", "")


def fractions(ev: Evidence) -> list[Finding]:
    """Whether numbers were rounded so coarsely that it shows beside their noise."""
    found = []
    made = {id(sample.data) for sample in ev.each}
    others = [
        Sample(f"master {name}", "master", ev.grid, data)
        for name, data in ev.masters
        if id(data) not in made and (data.sizes["y"], data.sizes["x"]) == ev.grid.shape
    ]
    for sample in [*ev.each, *others]:
        if sample.is_constant:
            continue
        step = _step(sample.signal if not sample.raw else sample.frames[0])
        sigma = _own_noise(sample)
        if step is None:
            continue
        found.append(_rounded(ev, sample, step, sigma))
    if not found:
        return [unclear("fractions", ev.where, "there is no frame.")]
    return found


def _rounded(ev: Evidence, sample: Sample, step: float, sigma: float) -> Finding:
    name, unit = "fractions", "% of the noise, from rounding"
    if math.isinf(step):
        cause = "all its numbers are the same: the fractions were cut off, and nothing is left."
        advice = "Keep masters as floating point numbers: a flat runs from 0.94 to 1.06, and all of it is fractions."
        return Finding(name, sample.name, math.inf, 0.0, unit, 0.0, FAULT, cause, advice)
    if sample.raw and step <= 1:
        good = "its steps are those of the camera's converter."
        return Finding(name, sample.name, 0.0, 0.0, unit, 0.0, OK, good, "")
    if not sigma > 0:
        return unclear(name, sample.name, "its noise is not known.", unit=unit)
    number = 100 * step / math.sqrt(12) / sigma
    what = "the frame has" if sample.raw else "the master was rounded to"
    lost = "fractions were lost, and bands appear in what is made of it."
    bad = f"{what} steps of {step:.3g}, beside a noise of {sigma:.3g}: {lost}"
    advice = (
        "Save what the camera gives without conversion to 8 bits."
        if sample.raw
        else "Keep masters as floating point numbers, not as whole ones; combine by mean, not by median."
    )
    limits = {"tolerance": _STEP, "grave": _STEP_GRAVE}
    good = "its numbers are fine enough for its noise."
    return judged(name, sample.name, number, 0.0, unit, **limits, good=good, bad=bad, advice=advice)


def _step(values: np.ndarray) -> float | None:
    """Smallest step between the values, 0 for continuous ones, infinite where all are the same."""
    flat = values.ravel()
    flat = flat[:: max(1, flat.size // _STEP_VALUES)]
    flat = np.unique(flat[np.isfinite(flat)].astype(np.float64))
    if not flat.size:
        return None
    if flat.size < 2:
        return math.inf
    steps = np.diff(flat)
    least = float(steps.min())
    whole = np.abs(steps / least - np.rint(steps / least))
    return least if flat.size < 20_000 and median_of(whole) < 0.02 and (whole < 0.05).mean() > 0.95 else 0.0


def _own_noise(sample: Sample) -> float:
    """Noise of one pixel of a frame or master."""
    if sample.raw:
        if sample.pair_variance is not None:
            return math.sqrt(median_of(sample.pair_variance))
        return median_of(spread_of(high_pass(sample.master))) / math.sqrt(1.125)
    seen = median_of(spread_of(high_pass(sample.signal))) / math.sqrt(1.125)
    if sample.variance is not None and np.isfinite(sample.variance).any():
        said = math.sqrt(max(median_of(sample.variance[:, ::7]), 0.0))
        return min(said, seen) if seen > 0 and said > 0 else max(said, seen)
    return seen


def rejection(ev: Evidence) -> list[Finding]:
    """Whether the rejection chosen can reject anything with so few frames.

    Masters that were made tell how, and so does a result of those that it was made with; of other frames it is what
    `calibkit.combine` would choose.
    """
    found = []
    for name, master in ev.masters:
        steps = [step for step in master.attrs.get("provenance", []) if step.get("step") == "combine"]
        if steps:
            step = steps[-1]
            found.append(
                _reach(name, step["reject"], int(step["n_frames"]), step.get("low"), step.get("high"))
            )
    made, told = {name for name, _ in ev.masters}, set()
    result = ev.get("result")
    for step in result.data.attrs.get("provenance", []) if result is not None else []:
        how, role = step.get("combine"), str(step.get("step", "")).rpartition(" ")[2]
        if isinstance(how, Mapping) and role in ("bias", "dark", "flat"):
            told.add(role)
            where = f"{role} in the result"
            found.append(_reach(where, how["reject"], int(step["frames"]), how.get("low"), how.get("high")))
    for role in ("bias", "dark", "flat", "flat dark"):
        sample = ev.get(role)
        if sample is not None and sample.raw and sample.name not in made and role not in told:
            method = ev.combine.get("method", "mean")
            reject = ev.combine.get("reject", "auto")
            low, high = ev.combine.get("low"), ev.combine.get("high")
            if reject == "auto":
                known = ev.gain_of(sample) is not None and ev.read_noise_of(sample) is not None
                given = low is not None or high is not None
                reject, _ = choose_rejection(method, sample.count, noise_known=known, limits=given)
                if method == "median" and sample.count >= 3:
                    continue  # hardly moved by outliers as it is
            found.append(_reach(sample.name, reject, sample.count, low, high))
    return found or [
        unclear("rejection", ev.where, "there is no set, and no master that says how it was combined.")
    ]


def _reach(where: str, reject: str, count: int, low: float | None, high: float | None) -> Finding:
    name, unit = "rejection", "frames"
    if reject == "none":
        if count >= 3:
            return Finding(name, where, count, 0.0, unit, count, OK, "nothing was to be rejected.", "")
        cause = f"{count} frame{'s' if count > 1 else ''}: a cosmic ray or a satellite in one of them cannot be told and stays."
        return Finding(
            name, where, count, 0.0, unit, 3, SUSPECT, cause, "Take at least 5 frames, better 10 or more."
        )
    reach = can_reject(reject, count, low, high)
    if reach.can:
        return Finding(name, where, count, 0.0, unit, count, OK, reach.message, "")
    wanted = reach.minimum or math.nan
    advice = (
        f"Take {reach.minimum} frames or more, " if reach.minimum else "Use "
    ) + "or reject='winsorized' (7 frames and more), 'gesd' (4 and more), 'noise_model' (3 and more)."
    return Finding(name, where, count, 0.0, unit, wanted, FAULT, reach.message, advice)

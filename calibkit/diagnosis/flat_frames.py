"""Are the flats well exposed, of the same night, and is their dark as long as they are?"""

from __future__ import annotations

import math

import numpy as np

from calibkit.diagnosis.evidence import Evidence
from calibkit.diagnosis.finding import FAULT, OK, SUSPECT, Finding, judged, unclear
from calibkit.diagnosis.patterns import dark_share, mean_of
from calibkit.flags import SATURATED
from calibkit.session.wording import seconds

#: Per cent of saturation up to which a flat is taken to be linear, and from which it is not.
_LEVEL, _LEVEL_GRAVE = 85.0, 95.0
#: Per cent of the pixels that may be saturated (bright dust, hot pixels).
_FULL, _FULL_GRAVE = 0.2, 1.0
#: A flat dark's exposure over the flat's that is let pass, and that is a fault.
_LONGER, _LONGER_GRAVE = 1.5, 2.0
_DOUBLING = 7.0


def flat_exposure(ev: Evidence) -> list[Finding]:
    """How near the flats are to saturation, and whether they pile up there."""
    name, flat = "flat exposure", ev.get("flat")
    if flat is None:
        return [unclear(name, ev.where, "there is no flat.")]
    advice = "Take flats of about half of saturation: a shorter exposure or a weaker lamp."
    share, top = _full_share(ev)
    if share > _FULL:
        bad = f"{share:.2g} % of the flat's pixels lie at its end, {top:.0f} ADU: what they would have shown is lost."
        limits = {"tolerance": _FULL, "grave": _FULL_GRAVE}
        return [
            judged(
                name, flat.name, share, 0.0, "% of the pixels full", **limits, good="", bad=bad, advice=advice
            )
        ]
    saturation = flat.saturation
    if math.isnan(saturation):
        saturation = max((s.saturation for s in ev.each if not math.isnan(s.saturation)), default=math.nan)
    level = _raw_level(ev)
    if not saturation > 0 or level is None:
        why = (
            "the camera does not say where it saturates, and no pixel is at an end."
            if level is not None
            else "the raw level of this master flat is not known."
        )
        return [unclear(name, flat.name, why)]
    number = 100 * level / saturation
    bad = f"the flat's brightest part lies at {number:.0f} % of saturation, where few sensors are linear."
    good = f"its brightest part lies at {number:.0f} % of saturation."
    limits = {"tolerance": _LEVEL, "grave": _LEVEL_GRAVE}
    return [
        judged(name, flat.name, number, 0.0, "% of saturation", **limits, good=good, bad=bad, advice=advice)
    ]


def _full_share(ev: Evidence) -> tuple[float, float]:
    """Per cent of the flats' pixels at their largest value or saturation, and that value."""
    flat = ev.get("flat")
    if not flat.raw:
        share = 0.0 if flat.flags is None else float(((flat.flags & SATURATED) != 0).mean())
        return 100 * share, flat.saturation
    top = float(flat.frames.max())
    end = min(top, flat.saturation) if math.isfinite(flat.saturation) else top
    return 100 * float((flat.frames >= end).mean()), end


def _raw_level(ev: Evidence) -> float | None:
    """Level in ADU that 1 % of the pixels of the brightest channel are above."""
    flat = ev.get("flat")
    if flat.raw:
        return float(_high(flat.master).max())
    if ev.flat_level is None:
        return None
    high = ev.grid.by_channel(_high(flat.master)).max(axis=-1)
    bias = ev.bias_level if math.isfinite(ev.bias_level) else 0.0
    scale = ev.flat_level if flat.data.attrs.get("units") == "1" else np.ones_like(high)
    return float(np.nanmax(high * scale)) + bias


def _high(values: np.ndarray) -> np.ndarray:
    """What 1 % of the pixels of every site are above, (site, 1)."""
    return np.array([[np.percentile(site[np.isfinite(site)], 99)] for site in values])


def flat_night(ev: Evidence) -> list[Finding]:
    """Whether the flats were taken within a day of the lights."""
    name = "flat night"
    limit = ev.tolerances.flat_hours
    advice = "Take flats in the same night; if nothing was touched since, Tolerances(flat_hours=…) lets these pass."
    if ev.match is not None and ev.match.flat is None:
        from calibkit.session.compare import compare

        others = [group for group in ev.groups if group.kind == "flat"]
        against = [compare(group, ev.match.light, ev.tolerances).against for group in others]
        if against and any(len(texts) == 1 and texts[0].startswith("of the night") for texts in against):
            texts = next(t for t in against if len(t) == 1 and t[0].startswith("of the night"))
            cause = (
                f"there are flats, but they are {texts[0]}: dust moves, and so does everything touched since."
            )
            return [Finding(name, ev.where, math.nan, 0.0, "h", 0.0, FAULT, cause, advice)]
        return [unclear(name, ev.where, "there is no flat for these lights.")]
    flat, light = ev.get("flat"), ev.get("light") or ev.get("result")
    if flat is None or light is None:
        return [unclear(name, ev.where, f"there is no {'flat' if flat is None else 'light'}.")]
    times = [np.asarray(sample.facts("time"), "datetime64[ns]") for sample in (flat, light)]
    known = [part[~np.isnat(part)] for part in times]
    if not all(part.size for part in known):
        return [unclear(name, flat.name, "flats or lights do not say when they were taken.")]
    apart = max(known[0].min() - known[1].max(), known[1].min() - known[0].max()) / np.timedelta64(1, "h")
    hours = max(float(apart), 0.0)
    bad = f"the flats were taken {hours:.0f} h from the lights: dust moves, and so does everything touched since."
    limits = {"tolerance": limit, "grave": 7 * limit}
    return [
        judged(
            name,
            flat.name,
            hours,
            0.0,
            "h",
            **limits,
            good="the flats are of the same night.",
            bad=bad,
            advice=advice,
        )
    ]


def flat_dark(ev: Evidence) -> list[Finding]:
    """Whether the flat dark is as long as the flat, by its header and by the dark's pattern in it."""
    name, flat, dark = "flat dark", ev.get("flat"), ev.get("flat dark")
    if flat is None:
        return [unclear(name, ev.where, "there is no flat.")]
    match = ev.match
    if match is not None and match.flat_dark is not None and match.flat_dark_scale is not None:
        good = (
            f"the flat darks are {seconds(match.flat_dark.exposure)} long; without their bias they are scaled by "
            f"{match.flat_dark_scale:.3g}."
        )
        return [Finding(name, match.flat_dark.name, 1.0, 0.0, "× the flat's exposure", 1.0, OK, good, "")]
    if dark is None:
        return [*_refused(ev, name)] or [unclear(name, flat.name, "there is no flat dark.")]
    stated = dark.exposure / flat.exposure if flat.exposure > 0 else math.nan
    consequence = _consequence(ev)
    advice = "Take flat darks of the flats' own exposure, or subtract a bias from the flats instead."
    if math.isfinite(stated) and stated > _LONGER:
        lengths = f"the flat dark is {seconds(dark.exposure)} long, the flat {seconds(flat.exposure)}"
        bad = f"{lengths}: too much is subtracted{consequence}."
        return [Finding(name, dark.name, stated, 0.0, "× the flat's exposure", 1.0, FAULT, bad, advice)]
    found = _effective(ev)
    if found is None:
        if math.isnan(stated):
            return [
                unclear(name, dark.name, "exposures are not said, and no dark shows how fast charge gathers.")
            ]
        good = "by their headers flat and flat dark are of one exposure."
        return [Finding(name, dark.name, stated, 0.0, "× the flat's exposure", 1.0, OK, good, "")]
    number, error = found
    bad = (
        f"the pattern of the dark is in the flat dark as if it were {number:.3g} times as long as the flat, whatever its "
        f"header says{consequence}."
    )
    one_sided = max(
        number, 1.0
    )  # a shorter or colder one leaves a little charge, which a flat hardly notices
    judgement = judged(
        name,
        dark.name,
        one_sided,
        error,
        "× the flat's exposure",
        expected=1.0,
        tolerance=_LONGER - 1,
        grave=_LONGER_GRAVE - 1,
        good="the flat dark is not longer than the flat.",
        bad=bad,
        advice=advice,
    )
    return [judgement]


def _refused(ev: Evidence, name: str) -> list[Finding]:
    """A flat dark that the session refused because it is longer than the flats."""
    match = ev.match
    if match is None or match.flat is None:
        return []
    longest = match.flat.exposure_range[1]
    longer = [g for g in ev.groups if g.kind == "flat dark" and g.exposure > _LONGER * longest]
    if not longer or match.flat_dark is not None:
        return []
    cause = (
        f"the flat darks are {seconds(longer[0].exposure)} long, the flats {seconds(match.flat.exposure)}: they do not fit, "
        "and the session does without them."
    )
    ratio = longer[0].exposure / longest
    unit = "× the flat's exposure"
    return [
        Finding(
            name,
            longer[0].name,
            ratio,
            0.0,
            unit,
            1.0,
            SUSPECT,
            cause,
            "Take flat darks of the flats' exposure.",
        )
    ]


def _effective(ev: Evidence) -> tuple[float, float] | None:
    """The flat dark's exposure over the flat's, by the pattern of the dark in it, with its error."""
    flat, sample, thermal, dark = ev.get("flat"), ev.get("flat dark"), ev.thermal, ev.get("dark")
    if thermal is None or not thermal.known or not ev.thermal_is_free or sample.bias_subtracted:
        return None
    bias = ev.get("bias")
    if bias is None or not (flat.exposure > 0 and dark.exposure > 0):
        return None
    split = bias.halves or (bias.master,) * 2
    pair = (sample.master - split[1], sample.master - split[0])
    share = dark_share(pair, thermal, shared=ev.shared)
    if not share.significance > 8:
        return None
    warmer = 1.0
    if math.isfinite(sample.number("temperature")) and math.isfinite(dark.number("temperature")):
        warmer = 2 ** ((sample.number("temperature") - dark.number("temperature")) / _DOUBLING)
    factor = dark.exposure / flat.exposure / warmer
    return share.value * factor, share.error * factor


def _consequence(ev: Evidence) -> str:
    """What it does to the flat, in words."""
    dark, bias, level = ev.level("flat dark"), ev.bias_level, ev.flat_level
    if dark is None or level is None or not math.isfinite(bias):
        return ""
    return f" ({100 * (mean_of(dark) - bias) / mean_of(level):.2g} % of the flat)"

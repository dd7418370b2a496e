"""The best bias, dark or flat for a group of frames, or in words why there is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from calibkit.session.compare import Comparison, compare, compare_exposure, hours_apart
from calibkit.session.frame import Group, count_of, natural_key
from calibkit.session.tolerances import Tolerances
from calibkit.session.wording import degrees, listed, number, plural, plural_of, seconds

#: From this many frames on, outliers can be rejected.
_ENOUGH = 3
#: Frames that a master of unknown making is taken to stand for.
_MASTER_FRAMES = 10
#: A flat shorter than this fraction of the dark is served by its bias alone.
_SHORT_FLAT = 0.01
#: Scaling a dark up by more than this is not even suggested.
_HOPELESS = 4.0


@dataclass(frozen=True)
class Choice:
    """The group chosen and why, or None and why not."""

    group: Group | None
    text: str
    scale: float | None = None
    doubts: tuple[str, ...] = ()  # what should be looked at all the same


def choose_bias(target: Group, groups: Sequence[Group], limits: Tolerances) -> Choice:
    """The bias for lights or flats."""
    found = [compare(group, target, limits) for group in groups if group.kind == "bias"]
    return _best("bias", found, target, limits, _by_temperature)


def choose_flat(target: Group, groups: Sequence[Group], limits: Tolerances) -> Choice:
    """The flat for lights: same filter, the same night before others."""
    found = [compare(group, target, limits) for group in groups if group.kind == "flat"]
    return _best("flat", found, target, limits, _by_night)


def choose_dark(target: Group, groups: Sequence[Group], limits: Tolerances, *, bias: Group | None) -> Choice:
    """The dark for lights, or the flat dark for flats: of equal exposure, else one that can be scaled.

    Parameters
    ----------
    target : Group
        Lights or flats.
    groups : sequence of Group
        All groups.
    limits : Tolerances
        How far apart they may be.
    bias : Group or None
        The bias that fits the target: without one, darks are neither scaled nor used bias-subtracted.
    """
    own, other = ("flat dark", "dark") if target.kind == "flat" else ("dark", "flat dark")
    found = [compare(group, target, limits) for group in groups if group.kind in (own, other)]
    pedestal = bias is not None or (bool(found) and _known_pedestal(target))
    for result in found:
        if "bias" in result.group.applied and not pedestal:
            result.against.append(
                "its bias is subtracted already, and there is no bias for the " + target.kind
            )
    scalable = [result for result in found if result.fits]
    for result in found:
        compare_exposure(result, target, limits)

    def rank(group: Group, wanted: Group) -> tuple[object, ...]:
        return (group.kind != own, *_by_temperature(group, wanted))

    choice = _best(own, found, target, limits, rank)
    if choice.group or not any(result.group.kind in (own, other) for result in found):
        return choice
    return _scaled(target, [r.group for r in scalable], limits, pedestal=pedestal, otherwise=choice)


def _scaled(
    target: Group, darks: Sequence[Group], limits: Tolerances, *, pedestal: bool, otherwise: Choice
) -> Choice:
    """The dark that brings the least noise when it is scaled, or *otherwise* with what stands in the way."""
    low, high = target.exposure_range
    factors = {id(dark): target.exposure / dark.exposure for dark in darks if dark.exposure > 0}
    darks = [dark for dark in darks if math.isfinite(factors.get(id(dark), math.nan))]
    if not darks or not target.exposure > 0 or not limits.same_exposure(low, high):
        return otherwise
    allowed = [dark for dark in darks if factors[id(dark)] <= limits.max_dark_scale + 1e-9]
    if not allowed:
        if limits.max_dark_scale == 0:
            return otherwise
        least = min(factors.values())
        if least > _HOPELESS:
            return otherwise
        hint = f"scaled to {seconds(target.exposure)} its noise would be multiplied by {least:.3g}"
        allow = f"Tolerances(max_dark_scale={math.ceil(least * 10) / 10:g}) allows it"
        return Choice(None, f"{otherwise.text}; {hint}: {allow}")
    if not pedestal:
        return Choice(None, f"{otherwise.text}; it could be scaled if there were biases")

    def noise(dark: Group) -> float:
        frames = _MASTER_FRAMES if dark.master else len(dark)
        return factors[id(dark)] / math.sqrt(frames)

    best = min(allowed, key=lambda dark: (_poor(dark), noise(dark), natural_key(dark.name)))
    scale = factors[id(best)]
    if target.kind == "flat" and scale < _SHORT_FLAT:
        return Choice(None, f"{otherwise.text}; for so short an exposure the bias is enough")
    text = (
        f"{_facts(best)}; none of {seconds(target.exposure)}, so it is scaled by {scale:.4g} after its bias is "
        "subtracted"
    )
    return Choice(best, text, scale)


def _known_pedestal(target: Group) -> bool:
    return bool(target.black) or target.info.pedestal > 0


def _best(
    role: str,
    found: Sequence[Comparison],
    target: Group,
    limits: Tolerances,
    rank: Callable[[Group, Group], tuple[object, ...]],
) -> Choice:
    fits = sorted(
        (r for r in found if r.fits), key=lambda r: (*rank(r.group, target), natural_key(r.group.name))
    )
    if not fits:
        return Choice(None, _why_none(role, found, limits))
    open_question = _ambiguous(role, [result.group for result in fits], target, limits)
    if open_question:
        return Choice(None, open_question)
    best = fits[0]
    text = _facts(best.group)
    if role != "flat" and math.isfinite(best.group.temperature) and math.isfinite(target.temperature):
        text += f" ({target.kind}: {degrees(target.temperature)})"
    if role == "flat" and best.group.night:
        text += ", same night" if best.group.night == target.night else f", night of {best.group.night}"
    if best.doubts:
        text += "; but " + ", ".join(best.doubts)
    if len(fits) > 1:
        text += f"; before {listed([result.group.name for result in fits[1:]])}"
    return Choice(best.group, text, doubts=tuple(best.doubts))


def _facts(group: Group) -> str:
    facts = [count_of(group)]
    if group.kind != "bias" and math.isfinite(group.exposure):
        facts.append(seconds(group.exposure))
    if group.kind == "flat" and group.filter:
        facts.append(f"filter {group.filter}")
    if group.kind != "flat" and math.isfinite(group.temperature):
        facts.append(degrees(group.temperature))
    return ", ".join(facts)


def _poor(group: Group) -> int:
    """0 for a set that outliers can be rejected from, 1 for a master, 2 for less."""
    return 1 if group.master else 0 if len(group) >= _ENOUGH else 2


def _by_temperature(group: Group, target: Group) -> tuple[object, ...]:
    apart = abs(group.temperature - target.temperature)
    hours = hours_apart(group, target)
    return (
        math.inf if math.isnan(apart) else round(2 * apart),
        _poor(group),
        math.inf if math.isnan(hours) else hours,
        -len(group),
    )


def _by_night(group: Group, target: Group) -> tuple[object, ...]:
    hours = hours_apart(group, target)
    return (
        group.night != target.night,
        _poor(group),
        math.inf if math.isnan(hours) else hours,
        -len(group),
    )


def _ambiguous(role: str, fits: Sequence[Group], target: Group, limits: Tolerances) -> str:
    """Why one cannot choose between groups that differ in something the target does not say."""
    open_values: dict[str, set[str]] = {}
    if "gain" not in limits.ignore and math.isnan(target.gain_setting) and math.isnan(target.gain):
        open_values["gain"] = {number(g.gain_setting) for g in fits if math.isfinite(g.gain_setting)}
    if role == "flat" and "filter" not in limits.ignore and not target.filter:
        open_values["filter"] = {group.filter for group in fits if group.filter}
    if "dark" in role and math.isnan(target.exposure):
        open_values["exposure"] = {seconds(g.exposure) for g in fits if math.isfinite(g.exposure)}
    if "dark" in role and "temperature" not in limits.ignore and math.isnan(target.temperature):
        known = sorted(group.temperature for group in fits if math.isfinite(group.temperature))
        if known and known[-1] - known[0] > limits.dark_temperature:
            open_values["temperature"] = {degrees(value) for value in known}
    for name, values in open_values.items():
        if len(values) > 1:
            return (
                f"the {target.kind} does not say its {name}, and {plural_of(role)} of several are here "
                f"({', '.join(sorted(values))}): keep only those that belong to it in the folder"
            )
    return ""


def _why_none(role: str, found: Sequence[Comparison], limits: Tolerances) -> str:
    if not found:
        return f"there are no {plural_of(role)} in the session"
    nearest = sorted(found, key=lambda r: (len(r.against), -len(r.group), natural_key(r.group.name)))
    frames = sum(len(result.group) for result in found)
    reasons = [f"{r.group.name} ({count_of(r.group)}): {', '.join(r.against)}" for r in nearest[:3]]
    more = f"; and {plural(len(nearest) - 3, 'more group')}" if len(nearest) > 3 else ""
    text = f"{plural(frames, role + ' frame')} found, none fits: {'; '.join(reasons)}{more}"
    if limits.unknown == "refuse" and any(r.unsaid and len(r.against) == 1 for r in nearest):
        text += "; Tolerances(unknown='accept') would take what does not say it"
    return text

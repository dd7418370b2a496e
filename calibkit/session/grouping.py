"""Frames into groups: what may become one stack and one master."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace

from calibkit.meta import KINDS
from calibkit.session.clusters import by_gap, by_nearest, by_tolerance
from calibkit.session.frame import Frame, Group, group_of, natural_key, time_key
from calibkit.session.tolerances import Tolerances
from calibkit.session.wording import degrees, number, seconds, size

#: Within one group exposures agree to this fraction too: 0.05 s is much for a flat of 0.1 s.
_EXPOSURE_FRACTION = 0.02
#: A temperature range is told from here on (°C).
_DRIFT = 1.0
_KIND_ORDER = {kind: i for i, kind in enumerate(("bias", "dark", "flat dark", "flat", "light", ""))}


def group_frames(frames: Iterable[Frame], tolerances: Tolerances | None = None) -> list[Group]:
    """Groups of frames that belong together, every frame of known kind in exactly one.

    Frames of a group agree in kind, camera, size, place on the sensor, binning, colour pattern, row order,
    number type, gain, offset setting, readout mode and exposure (biases: any); flats and lights in filter
    and night too, lights in target. Temperatures may drift, not jump (`Tolerances`). Every master is a
    group of its own.

    Parameters
    ----------
    frames : iterable of Frame
        In any order; the groups do not depend on it.
    tolerances : Tolerances, optional
        What counts as equal.

    Returns
    -------
    list of Group
        Bias, dark, flat dark, flat, light; each by filter, exposure, temperature and time.
    """
    limits = tolerances or Tolerances()
    alike: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in sorted(frames, key=lambda frame: natural_key(frame.relative)):
        if frame.kind in KINDS:
            alike[_identity(frame)].append(frame)
    groups: list[Group] = []
    for members in sorted(
        alike.values(), key=lambda members: members[0].kind == "light"
    ):  # darks before them
        for same_gain in _part(members, lambda frame: _gain(frame), lambda gain: limits.gain_fraction * gain):
            for same_exposure in _by_exposure(same_gain, limits):
                parts = _by_temperature(same_exposure, groups, limits)
                groups += [group_of(part, notes=_notes(part)) for part in parts]
    groups.sort(key=_order)
    return _named(groups)


def filter_key(name: str) -> str:
    """Filters that are the same: ``Ha`` and ``HA``, ``H-alpha`` and ``h alpha``; but ``r`` is not ``R``."""
    plain = "".join(c for c in name if c.isalnum() or c in "'+")
    return plain.casefold() if len(plain) > 1 else plain


def _identity(frame: Frame) -> Hashable:
    info = frame.info
    looks = frame.kind in ("flat", "light")
    return (
        frame.kind,
        frame.relative if frame.master else "",
        info.camera.casefold(),
        (info.shape, info.full_shape, info.origin, info.binning, info.cfa, info.roworder),
        (str(info.dtype), info.pedestal),
        _key(info.gain_setting),
        _key(frame.offset),
        frame.readout.casefold(),
        tuple(sorted(frame.applied)),
        (filter_key(info.filter), frame.night) if looks else (),
        frame.target.casefold() if frame.kind == "light" else "",
    )


def _key(value: float) -> float | None:
    return None if math.isnan(value) else value


def _gain(frame: Frame) -> float:
    """Electrons per ADU where no setting says more."""
    return frame.info.gain if math.isnan(frame.info.gain_setting) else math.nan


def _part(
    frames: Sequence[Frame], value: Callable[[Frame], float], tolerance: Callable[[float], float]
) -> list[list[Frame]]:
    return [[frames[i] for i in part] for part in by_tolerance([value(frame) for frame in frames], tolerance)]


def _by_exposure(frames: list[Frame], limits: Tolerances) -> list[list[Frame]]:
    """By exposure; biases stay together, and so do sky flats, which are exposed as the light fades."""
    kind = frames[0].kind
    if kind == "bias":
        return [frames]
    parts = _part(
        frames,
        lambda frame: frame.info.exposure,
        lambda t: max(limits.exposure_fraction * t, min(limits.exposure, _EXPOSURE_FRACTION * t)),
    )
    sky_flats = kind == "flat" and len(parts) >= 3 and len(frames) < 2 * len(parts)
    return [frames] if sky_flats else parts


def _by_temperature(frames: list[Frame], groups: Sequence[Group], limits: Tolerances) -> list[list[Frame]]:
    """By temperature; lights that drift are parted only where there are darks to choose from."""
    values = [frame.info.temperature for frame in frames]
    jump = limits.dark_temperature
    if frames[0].kind == "flat":
        parts = by_gap(values, jump=jump)
    elif frames[0].kind == "bias":
        parts = by_gap(values, jump=jump, span=limits.bias_temperature)
    elif frames[0].kind == "light":
        parts = by_gap(values, jump=jump, gap=limits.master_temperature)
    else:
        parts = by_gap(values, jump=jump, gap=limits.master_temperature, span=limits.dark_temperature)
    clusters = [[frames[i] for i in part] for part in parts]
    if frames[0].kind != "light":
        return clusters
    return [part for cluster in clusters for part in _by_dark(cluster, groups, limits)]


def _by_dark(lights: list[Frame], groups: Sequence[Group], limits: Tolerances) -> list[list[Frame]]:
    """Lights that drift further than one dark serves, by the temperature of the nearest dark of their camera."""
    values = [frame.info.temperature for frame in lights]
    if not max(values) - min(values) > limits.dark_temperature:
        return [lights]
    sensor = (lights[0].info.shape, lights[0].info.camera.casefold())
    darks = [
        group
        for group in groups
        if group.kind in ("dark", "flat dark") and (group.info.shape, group.info.camera.casefold()) == sensor
    ]
    exposure = lights[0].info.exposure
    alike = [group for group in darks if limits.same_exposure(group.exposure, exposure)]
    usable = alike or [group for group in darks if not group.exposure < exposure]  # to be scaled down
    anchors = sorted({group.temperature for group in usable if math.isfinite(group.temperature)})
    return [[lights[i] for i in part] for part in by_nearest(values, anchors)]


def _notes(frames: Sequence[Frame]) -> list[str]:
    notes = []
    temperatures = [f.info.temperature for f in frames if math.isfinite(f.info.temperature)]
    if temperatures and max(temperatures) - min(temperatures) > _DRIFT:
        low, high = degrees(min(temperatures)), degrees(max(temperatures))
        notes.append(f"the temperature drifts between {low} and {high}; kept together")
    exposures = [f.info.exposure for f in frames if math.isfinite(f.info.exposure)]
    if (
        frames[0].kind == "flat"
        and exposures
        and max(exposures) > (1 + _EXPOSURE_FRACTION) * min(exposures) + 0.05
    ):
        low, high = seconds(min(exposures)), seconds(max(exposures))
        notes.append(f"exposures from {low} to {high}, hardly two alike: taken as one set of sky flats")
    return notes


def _order(group: Group) -> tuple[object, ...]:
    return (
        _KIND_ORDER[group.kind],
        group.filter,
        _last(group.exposure),
        group.night,
        _last(group.temperature),
        time_key(group.time),
        natural_key(group.frames[0].relative),
    )


def _last(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _named(groups: list[Group]) -> list[Group]:
    """With names as short as they can be without two being the same, even as file names."""
    names = [_short_name(group) for group in groups]
    for text in _DISTINCTIONS:
        same: dict[str, list[int]] = defaultdict(list)
        for i, name in enumerate(names):
            same[_fold(groups[i], name)].append(i)
        for alike in same.values():
            texts = [text(groups[i]) for i in alike]
            if len(set(texts)) > 1:
                for i, added in zip(alike, texts, strict=True):
                    names[i] = f"{names[i]} {added}".rstrip()
    counts: dict[str, int] = defaultdict(int)
    for i, name in enumerate(names):
        counts[_fold(groups[i], name)] += 1
        count = counts[_fold(groups[i], name)]
        names[i] = name if count == 1 else f"{name} no. {count}"
    return [replace(group, name=name) for group, name in zip(groups, names, strict=True)]


def _fold(group: Group, name: str) -> str:
    return replace(group, name=name).slug.casefold()


def _short_name(group: Group) -> str:
    words = ["master"] if group.master else []
    words.append(group.kind)
    if group.kind in ("flat", "light"):
        words.append(group.filter)
    if group.kind in ("dark", "flat dark", "light") and math.isfinite(group.exposure):
        words.append(seconds(group.exposure))
    return " ".join(word for word in words if word)


#: What tells two groups apart that would have the same name, in this order.
_DISTINCTIONS: tuple[Callable[[Group], str], ...] = (
    lambda group: group.target,
    lambda group: "" if group.kind == "bias" else seconds(group.exposure),
    lambda group: degrees(group.temperature),
    lambda group: group.night if group.kind in ("flat", "light") else "",
    lambda group: f"gain {number(group.gain_setting)}" if math.isfinite(group.gain_setting) else "",
    lambda group: f"{group.gain:.3g} e per ADU" if math.isfinite(group.gain) else "",
    lambda group: group.info.camera,
    lambda group: size(group.info.shape),
    lambda group: "binned {}×{}".format(*group.info.binning),
    lambda group: group.info.cfa.replace("/", "")[:8],
    lambda group: f"offset {number(group.frames[0].offset)}" if math.isfinite(group.frames[0].offset) else "",
    lambda group: group.frames[0].readout,
)

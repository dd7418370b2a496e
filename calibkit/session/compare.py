"""What keeps two groups apart, in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from calibkit.session.frame import Group
from calibkit.session.grouping import filter_key
from calibkit.session.tolerances import Tolerances
from calibkit.session.wording import degrees, number, seconds, size

_HOUR = np.timedelta64(3600, "s")


@dataclass
class Comparison:
    """What speaks against a calibration group for a target, and what is doubtful about it."""

    group: Group
    against: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    unsaid: bool = False  # one of `against` is only that the candidate does not say it

    @property
    def fits(self) -> bool:
        """Nothing speaks against it."""
        return not self.against


def compare(candidate: Group, target: Group, limits: Tolerances) -> Comparison:
    """Everything that a bias, dark or flat must share with the frames it is used for, but exposure.

    Size, place on the sensor, binning and pattern always; camera, row order, offset setting and readout
    mode where both say it; gain, a dark's or bias's temperature, a flat's filter and night by the
    tolerances.
    """
    result = Comparison(candidate)
    _sensor(result, target, limits)
    _gain(result, target, limits)
    if candidate.kind == "flat":
        _filter(result, target, limits)
        _night(result, target, limits)
    else:
        _temperature(result, target, limits)
    return result


def hours_apart(a: Group, b: Group) -> float:
    """Hours between two groups (0 when their times overlap), NaN when one does not say its time."""
    if np.isnat(a.time) or np.isnat(b.time):
        return math.nan
    gap = max(a.time_range[0] - b.time_range[1], b.time_range[0] - a.time_range[1])
    return max(float(gap / _HOUR), 0.0)


def _sensor(result: Comparison, target: Group, limits: Tolerances) -> None:
    have, want = result.group.info, target.info
    if have.shape != want.shape:
        result.against.append(f"size {size(have.shape)}, wanted {size(want.shape)}")
    elif have.origin != want.origin:
        result.against.append(
            f"its first pixel is sensor pixel (x {have.origin[1]}, y {have.origin[0]}), "
            f"wanted (x {want.origin[1]}, y {want.origin[0]})"
        )
    if have.binning != want.binning:
        result.against.append("binning {}×{}, wanted {}×{}".format(*have.binning, *want.binning))
    if have.cfa != want.cfa:
        result.against.append(f"colour pattern {have.cfa or 'none'}, wanted {want.cfa or 'none'}")
    if have.roworder and want.roworder and have.roworder != want.roworder:
        result.against.append(f"row order {have.roworder}, wanted {want.roworder}")
    cameras = {" ".join(name.casefold().split()) for name in (have.camera, want.camera) if name}
    if len(cameras) == 2 and "camera" not in limits.ignore:
        result.against.append(f"camera {have.camera!r}, wanted {want.camera!r}")
    offset, wanted = result.group.frames[0].offset, target.frames[0].offset
    if "offset" not in limits.ignore and math.isfinite(offset) and math.isfinite(wanted) and offset != wanted:
        result.against.append(f"camera offset {number(offset)}, wanted {number(wanted)}")
    mode, wanted_mode = result.group.frames[0].readout, target.frames[0].readout
    if (
        "readout mode" not in limits.ignore
        and mode
        and wanted_mode
        and mode.casefold() != wanted_mode.casefold()
    ):
        result.against.append(f"readout mode {mode!r}, wanted {wanted_mode!r}")


def _gain(result: Comparison, target: Group, limits: Tolerances) -> None:
    if "gain" in limits.ignore:
        return
    have, want = result.group, target
    if math.isfinite(want.gain_setting) and math.isfinite(have.gain_setting):
        if have.gain_setting != want.gain_setting:
            result.against.append(f"gain/ISO {number(have.gain_setting)}, wanted {number(want.gain_setting)}")
    elif math.isfinite(want.gain) and math.isfinite(have.gain):
        if abs(have.gain - want.gain) > limits.gain_fraction * max(have.gain, want.gain):
            result.against.append(f"gain {have.gain:.3g} e⁻/ADU, wanted {want.gain:.3g} e⁻/ADU")
    elif have.kind == "flat":  # a flat is divided by its own mean: its gain cancels
        if math.isfinite(want.gain_setting) or math.isfinite(want.gain):
            result.doubts.append("it does not say its gain")
    elif math.isfinite(want.gain_setting):
        unsaid(result, f"does not say its gain/ISO, wanted {number(want.gain_setting)}", limits)
    elif math.isfinite(want.gain):
        unsaid(result, f"does not say its gain, wanted {want.gain:.3g} e⁻/ADU", limits)


def _temperature(result: Comparison, target: Group, limits: Tolerances) -> None:
    if "temperature" in limits.ignore:
        return
    have, want = result.group.temperature, target.temperature
    limit = limits.bias_temperature if result.group.kind == "bias" else limits.dark_temperature
    if math.isfinite(have) and math.isfinite(want):
        if abs(have - want) > limit + 1e-9:
            result.against.append(f"temperature {degrees(have)}, wanted {degrees(want)} (± {limit:g})")
        elif (
            target.kind == "light" and max(abs(have - end) for end in target.temperature_range) > limit + 1e-9
        ):
            low, high = (degrees(end) for end in target.temperature_range)
            result.doubts.append(f"the lights drift between {low} and {high}, it is of {degrees(have)}")
    elif math.isfinite(want) and result.group.kind != "bias":  # whose level hardly depends on it
        unsaid(result, f"does not say its temperature, wanted {degrees(want)}", limits)


def _filter(result: Comparison, target: Group, limits: Tolerances) -> None:
    if "filter" in limits.ignore:
        return
    have, want = result.group.filter, target.filter
    if have and want:
        if filter_key(have) != filter_key(want):
            result.against.append(f"filter {have}, wanted {want}")
    elif want:
        unsaid(result, f"does not say its filter, wanted {want}", limits)


def _night(result: Comparison, target: Group, limits: Tolerances) -> None:
    if "night" in limits.ignore:
        return
    hours = hours_apart(result.group, target)
    same = result.group.night and result.group.night == target.night
    if math.isnan(hours):
        if not np.isnat(target.time):
            result.doubts.append("it does not say its time")
    elif not same and hours > limits.flat_hours:
        apart = f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.0f} h"
        result.against.append(
            f"of the night {result.group.night}, {apart} away (limit {limits.flat_hours:g} h)"
        )


def compare_exposure(result: Comparison, target: Group, limits: Tolerances) -> None:
    """Add what speaks against a dark's exposure; a set of unequal flats must be met by it as a whole."""
    have = result.group.exposure
    low, high = target.exposure_range
    if math.isfinite(have) and math.isfinite(low):
        if not (limits.same_exposure(have, low) and limits.same_exposure(have, high)):
            wanted = seconds(low) if limits.same_exposure(low, high) else f"{seconds(low)} to {seconds(high)}"
            result.against.append(f"exposure {seconds(have)}, wanted {wanted}")
    elif math.isfinite(low):
        unsaid(result, f"does not say its exposure, wanted {seconds(target.exposure)}", limits)
    elif math.isfinite(have):
        result.doubts.append(f"the {target.kind} does not say its exposure")
    else:
        result.doubts.append("neither says its exposure")


def unsaid(result: Comparison, text: str, limits: Tolerances) -> None:
    """A property that the target says and the candidate does not."""
    if limits.unknown == "accept":
        result.doubts.append(f"it {text.partition(',')[0]}")
    else:
        result.against.append(text)
        result.unsaid = True

"""To every group of lights its bias, dark, flat and flat dark, with the reason for each, or against all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from calibkit.session.choosing import Choice, choose_bias, choose_dark, choose_flat
from calibkit.session.frame import Group
from calibkit.session.tolerances import Tolerances

#: What a light may need, in the order of the work.
ROLES = ("bias", "dark", "flat", "flat dark", "flat bias")


@dataclass(frozen=True, eq=False)
class Match:
    """What calibrates one group of lights.

    Of every role in `ROLES` there is either a group, with `why`, or the reason in `missing`.

    Attributes
    ----------
    light : Group
        What is to be calibrated.
    bias, dark, flat, flat_dark, flat_bias : Group or None
        What fits it; `flat_dark` and `flat_bias` are for the flat.
    dark_scale, flat_dark_scale : float or None
        Factor (exposure of the target / exposure of the dark) by which the dark, its bias subtracted, has to
        be scaled; None when it is used as it is.
    why : dict
        Role → why this one was chosen.
    missing : dict
        Role → why there is none, and what would help.
    doubts : dict
        Role → what should be looked at all the same: what could not be compared because one of the two does
        not say it, lights that drift away from their dark.
    """

    light: Group
    bias: Group | None = None
    dark: Group | None = None
    flat: Group | None = None
    flat_dark: Group | None = None
    flat_bias: Group | None = None
    dark_scale: float | None = None
    flat_dark_scale: float | None = None
    why: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    doubts: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __getitem__(self, role: str) -> Group | None:
        """The group for one of `ROLES`."""
        return getattr(self, role.replace(" ", "_"))

    def __repr__(self) -> str:
        parts = [f"{role}: {self[role].name if self[role] else 'none'}" for role in ROLES[:4]]  # type: ignore[union-attr]
        return f"<Match {self.light.name} ← {', '.join(parts)}>"


def match_lights(groups: Sequence[Group], tolerances: Tolerances | None = None) -> list[Match]:
    """One `Match` for every group of single lights, in their order.

    Parameters
    ----------
    groups : sequence of Group
        All groups of the session, in any order.
    tolerances : Tolerances, optional
        How far apart two frames may be.

    Notes
    -----
    Of several that fit, the nearest in temperature is taken, then sets of three frames or more before
    masters before fewer, then the nearest in time; of flats those of the same night first. Darks serve as
    flat darks and flat darks as darks when all else fits. A dark of another exposure is scaled when a bias
    (or the camera's known black level) lets it be.
    """
    limits = tolerances or Tolerances()
    return [_match(light, groups, limits) for light in groups if light.kind == "light" and not light.master]


def _match(light: Group, groups: Sequence[Group], limits: Tolerances) -> Match:
    if light.applied:
        done = ", ".join(f"{step} ({card})" for step, card in light.applied.items())
        reason = f"calibrated already: {done}; calibkit begins with raw frames"
        return Match(light, missing=dict.fromkeys(ROLES, reason))
    bias = choose_bias(light, groups, limits)
    dark = choose_dark(light, groups, limits, bias=bias.group)
    flat = choose_flat(light, groups, limits)
    flat_dark, flat_bias = _for_flat(flat.group, groups, limits)
    choices = dict(zip(ROLES, (bias, dark, flat, flat_dark, flat_bias), strict=True))
    return Match(
        light=light,
        bias=bias.group,
        dark=dark.group,
        flat=flat.group,
        flat_dark=flat_dark.group,
        flat_bias=flat_bias.group,
        dark_scale=dark.scale,
        flat_dark_scale=flat_dark.scale,
        why={role: choice.text for role, choice in choices.items() if choice.group},
        missing={role: choice.text for role, choice in choices.items() if not choice.group},
        doubts={role: choice.doubts for role, choice in choices.items() if choice.doubts},
    )


def _for_flat(flat: Group | None, groups: Sequence[Group], limits: Tolerances) -> tuple[Choice, Choice]:
    if flat is None:
        choice = Choice(None, "there is no flat that would need one")
        return choice, choice
    if "bias" in flat.applied or "dark" in flat.applied:
        done = ", ".join(dict.fromkeys(card for step, card in flat.applied.items() if step != "flat"))
        choice = Choice(None, f"not needed: it was subtracted from the flat already ({done})")
        return choice, choice
    if flat.master:
        choice = Choice(None, f"not needed: the flat is a master, taken as ready ({flat.master})")
        return choice, choice
    bias = choose_bias(flat, groups, limits)
    return choose_dark(flat, groups, limits, bias=bias.group), bias


def unused_groups(groups: Sequence[Group], matches: Sequence[Match]) -> list[Group]:
    """Calibration groups that no light uses."""
    used = {id(match[role]) for match in matches for role in ROLES}
    return [group for group in groups if group.kind != "light" and id(group) not in used]


def scale_text(scale: float | None) -> str:
    """``" × 0.5"`` for a scaled dark, else ""."""
    return "" if scale is None or math.isnan(scale) else f" × {scale:.4g}"

"""Which masters are made from which frames, and which of them calibrate which lights: decided, not yet done."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from calibkit.session import Group, Match, Session
from calibkit.session.choosing import choose_bias, choose_dark
from calibkit.session.frame import count_of
from calibkit.session.wording import number, seconds

#: Says whether a master can be had; asked before anything is built upon it.
Usable = Callable[["MasterSpec"], bool]
#: Gives a dark for lights that none fits in temperature.
Choose = Callable[[Match], Group | None]
#: Darks from which two half masters are made.
_LEAST_TO_HALVE = 4


def nothing(_match: Match) -> None:
    """No dark of another temperature."""
    return


@dataclass(frozen=True)
class MasterSpec:
    """One master: the frames it is made of and what is subtracted from them.

    Attributes
    ----------
    kind : str
        "bias", "dark", "flat dark" or "flat".
    group : Group
        The frames; for a constant bias those that it is meant for.
    bias, dark : MasterSpec or None
        What is subtracted from every frame.
    dark_scale : float or None
        Factor of a bias-subtracted dark; None when it is used as it is.
    constant : bool
        A bias that is the black level which the camera states, the same for every pixel of a channel.
    level : float or None
        A constant bias whose level in ADU is said by the recipe.
    half : int
        1 or 2 for a master of every other frame, 0 for one of all.
    """

    kind: str
    group: Group
    bias: MasterSpec | None = None
    dark: MasterSpec | None = None
    dark_scale: float | None = None
    constant: bool = False
    level: float | None = None
    half: int = 0

    @property
    def name(self) -> str:
        """What it is called in tables."""
        if self.constant:
            return "black level"
        half = f", half {self.half}" if self.half else ""
        return f"{self.group.name}{' without bias' if self._reduced_dark else ''}{half}"

    @property
    def slug(self) -> str:
        """The name as a file name, without an ending."""
        half = f"_half_{self.half}" if self.half else ""
        return f"{self.group.slug}{'_without_bias' if self._reduced_dark else ''}{half}"

    def halves(self) -> tuple[MasterSpec, MasterSpec]:
        """The same from every other frame, twice: their noise is independent."""
        frames = self.group.frames
        first, second = (
            replace(self, group=replace(self.group, frames=frames[start::2]), half=start + 1)
            for start in (0, 1)
        )
        return first, second

    @property
    def _reduced_dark(self) -> bool:
        return self.bias is not None and self.kind != "flat"

    @property
    def parts(self) -> tuple[MasterSpec, ...]:
        """The masters that it needs."""
        return tuple(part for part in (self.bias, self.dark) if part is not None)

    def how(self) -> str:
        """The frames and what is done with them, in words."""
        if self.constant:
            if self.level is not None:
                return f"constant {number(self.level)} ADU, as the recipe says"
            return "constant per channel, as the camera states it"
        if self.group.master:
            return f"ready to use: {self.group.master}"
        steps = [count_of(self.group)]
        if self.bias is not None:
            steps.append(f"minus {self.bias.name}")
        if self.dark is not None:
            steps.append(f"minus {self.dark.name}{scale_words(self.dark_scale)}")
        if self.kind == "flat":
            steps.append("divided by the mean of each channel")
        return ", ".join(steps)


@dataclass(frozen=True)
class LightPlan:
    """What is done with the lights of one group.

    Attributes
    ----------
    match : Match
        The lights, and what the session found for them.
    bias, dark, flat : MasterSpec or None
        What is subtracted and divided.
    dark_scale : float or None
        Factor of a bias-subtracted dark.
    measured : bool
        The factor is measured in every light; `dark_scale` is what is taken where that cannot be done, None: no dark.
    notes : tuple of str
        What is missing or done in another way than one would wish.
    error : str
        Why nothing can be done, "" when something can.
    """

    match: Match
    bias: MasterSpec | None = None
    dark: MasterSpec | None = None
    flat: MasterSpec | None = None
    dark_scale: float | None = None
    measured: bool = False
    notes: tuple[str, ...] = ()
    error: str = ""

    @property
    def masters(self) -> tuple[MasterSpec, ...]:
        """What is used directly."""
        return tuple(spec for spec in (self.bias, self.dark, self.flat) if spec is not None)

    def steps(self) -> list[str]:
        """The arithmetic in words."""
        steps = []
        if self.bias is not None:
            steps.append(f"− {self.bias.name}")
        if self.dark is not None:
            holds = "" if self.bias is not None else " (bias in it)"
            factor = " × its measured strength" if self.measured else scale_words(self.dark_scale)
            steps.append(f"− {self.dark.name}{factor}{holds}")
        if self.flat is not None:
            steps.append(f"÷ {self.flat.name}")
        return steps


def plan_lights(
    match: Match,
    usable: Usable,
    *,
    scale: str = "exposure",
    warmer: Choose = nothing,
    limit: float = math.inf,
    pedestal: float | None = None,
) -> LightPlan:
    """The best that can be done for the lights of *match* with the masters that are *usable*.

    *scale* is the recipe's: with ``"measured"`` or ``"auto"`` a dark of another temperature, which *warmer* chooses, is used
    with a strength that is measured in the light; with ``"auto"`` so is one from which some lights differ by more than
    *limit* °C. *pedestal* is the level without light in ADU where neither biases nor the frames say it.

    A dark of the lights' own exposure holds their bias too, so it is subtracted as it is: taking a bias from
    both would only add its noise. A dark of another exposure is scaled after its bias is subtracted. Without a
    dark the bias alone is subtracted, without either the black level that the camera or the recipe states. A flat whose own
    pedestal cannot be subtracted is not used.
    """
    light = match.light
    if light.applied:
        done = ", ".join(f"{step} ({card})" for step, card in light.applied.items())
        return LightPlan(
            match, error=f"calibrated already, as its header says: {done}; calibkit begins with raw frames"
        )
    notes: list[str] = []
    bias = _bias_for(light, match.bias, usable, pedestal)
    dark, factor = _dark_for(match.dark, match.dark_scale, bias, usable)
    measured = False
    if (
        bias is not None
        and scale != "exposure"
        and (dark is None or scale == "measured" or _drifts(match, limit))
    ):
        found = _measurable(match.dark or warmer(match), bias, usable)
        if found is not None:
            light_time, dark_time = light.exposure, found.group.exposure
            factor = light_time / dark_time if dark is not None and dark_time > 0 else None
            dark, measured = found, True
    if dark is None and bias is None:
        return LightPlan(match, error=_nothing(match))
    if dark is None:
        notes.append(
            f"no dark, only {bias.name} subtracted: thermal signal and hot pixels stay ({_why(match, 'dark')})"
        )
    elif measured:
        notes.append(f"{dark.name} is scaled by its strength in each light, which is measured")
    elif factor is None and "bias" not in match.dark.applied:
        bias = None
    elif bias is not None and bias.constant:
        who = "camera" if bias.level is None else "recipe"
        notes.append(f"no bias frames: the black level that the {who} states is subtracted instead")
    if factor is not None and not measured:
        notes.append(
            f"no dark of {seconds(light.exposure)}: {dark.name} is scaled by {number(round(factor, 4))}"
        )
    flat, problem = flat_spec(
        match.flat, match.flat_dark, match.flat_bias, match.flat_dark_scale, usable, pedestal
    )
    if flat is None:
        notes.append(f"not divided by a flat: {problem or _why(match, 'flat')}")
    return LightPlan(
        match, bias=bias, dark=dark, dark_scale=factor, measured=measured, flat=flat, notes=tuple(notes)
    )


def _drifts(match: Match, limit: float) -> bool:
    """Whether some of the lights are too warm or too cold for their dark."""
    own = match.dark.temperature
    return (
        max(abs(end - own) for end in match.light.temperature_range) > limit
    )  # never where one is not known


def _measurable(dark: Group | None, bias: MasterSpec, usable: Usable) -> MasterSpec | None:
    """The bias-subtracted dark whose strength can be measured: from frames enough for two halves."""
    if dark is None or dark.master or "bias" in dark.applied or len(dark) < _LEAST_TO_HALVE:
        return None
    spec = MasterSpec(dark.kind, dark, bias=bias)
    return spec if usable(spec) and all(usable(half) for half in spec.halves()) else None


def flat_spec(
    flat: Group | None,
    flat_dark: Group | None,
    flat_bias: Group | None,
    scale: float | None,
    usable: Usable,
    pedestal: float | None = None,
) -> tuple[MasterSpec | None, str]:
    """The master flat, or why there is none although there are flats."""
    if flat is None:
        return None, ""
    if flat.master or {"bias", "dark"} & set(flat.applied):
        spec = MasterSpec("flat", flat)
        return (spec, "") if usable(spec) else (None, f"{flat.name} cannot be used")
    bias = _bias_for(flat, flat_bias, usable, pedestal)
    dark, used_scale = _dark_for(flat_dark, scale, bias, usable)
    if dark is None and bias is None:
        return (
            None,
            f"{flat.name} has neither flat darks nor a bias, and a flat with its pedestal in it spoils the lights",
        )
    if dark is not None and used_scale is None and "bias" not in flat_dark.applied:
        bias = None
    spec = MasterSpec("flat", flat, bias=bias, dark=dark, dark_scale=used_scale)
    return (spec, "") if usable(spec) else (None, f"the master {flat.name} could not be made")


def companions(session: Session, usable: Usable, pedestal: float | None = None) -> list[MasterSpec]:
    """Masters that are made although no light needs them in its arithmetic.

    A bias that fits the lights is worth having, and tells the readout noise. Where there are no lights at all,
    every bias, dark and flat is made into a master.
    """
    if session.matches:
        groups = [match[role] for match in session.matches for role in ("bias", "flat bias")]
        return [MasterSpec("bias", group) for group in dict.fromkeys(groups) if group is not None]
    specs = [MasterSpec(g.kind, g) for g in session.groups if g.kind in ("bias", "dark", "flat dark")]
    for flat in (group for group in session.groups if group.kind == "flat"):
        bias = choose_bias(flat, session.groups, session.tolerances).group
        dark = choose_dark(flat, session.groups, session.tolerances, bias=bias)
        spec, _ = flat_spec(flat, dark.group, bias, dark.scale, usable, pedestal)
        specs += [spec] if spec else []
    return specs


def _bias_for(target: Group, bias: Group | None, usable: Usable, pedestal: float | None) -> MasterSpec | None:
    if bias is not None and usable(spec := MasterSpec("bias", bias)):
        return spec
    if "bias" in target.applied:
        return None
    if target.black or target.info.pedestal > 0:
        return MasterSpec("bias", target, constant=True)
    return None if pedestal is None else MasterSpec("bias", target, constant=True, level=pedestal)


def _dark_for(
    dark: Group | None, scale: float | None, bias: MasterSpec | None, usable: Usable
) -> tuple[MasterSpec | None, float | None]:
    if dark is None:
        return None, None
    reduced = "bias" in dark.applied
    if bias is None and (reduced or scale is not None):
        return None, None  # the target would keep its bias, or the dark's would be scaled
    spec = MasterSpec(dark.kind, dark, bias=None if reduced or scale is None else bias)
    return (spec, scale) if usable(spec) else (None, None)


def _why(match: Match, role: str) -> str:
    group = match[role]
    if group is not None:
        return f"{group.name} could not be used"
    return match.missing.get(role, "") or "there is none"


def _nothing(match: Match) -> str:
    reasons = "; ".join(f"{role}: {_why(match, role)}" for role in ("bias", "dark"))
    return (
        f"its pedestal is not known, since there is neither a bias nor a dark for it ({reasons}). "
        "Add biases, or darks of the same exposure; or say what a pixel without light holds, 0 where "
        "the camera has subtracted a dark itself: camera: pedestal: 0 in a recipe, or --pedestal 0 on the command line"
    )


def scale_words(scale: float | None) -> str:
    """``" × 0.5"`` for a scaled dark, else ""."""
    return "" if scale is None else f" × {scale:.4g}"


def all_specs(plans: Sequence[LightPlan], extra: Sequence[MasterSpec] = ()) -> Iterator[MasterSpec]:
    """Every master that is needed, each once, after those that it needs itself; no constants."""
    seen: set[MasterSpec] = set()

    def walk(spec: MasterSpec) -> Iterator[MasterSpec]:
        if spec in seen or spec.constant:
            return
        seen.add(spec)
        for part in spec.parts:
            yield from walk(part)
        yield spec

    for plan in plans:
        for spec in plan.masters:
            yield from walk(spec)
    for spec in extra:
        yield from walk(spec)


@dataclass(frozen=True)
class Plan:
    """Everything that a run will do, in order."""

    groups: tuple[LightPlan, ...]
    masters: tuple[MasterSpec, ...]
    warnings: tuple[str, ...] = field(default=())

    @property
    def lights(self) -> int:
        """Lights that can be calibrated."""
        return sum(len(plan.match.light) for plan in self.groups if not plan.error)

"""What a recipe holds: sections of settings, each checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from calibkit.align.resampling import INTERPOLATIONS
from calibkit.brightness.scaling import PICTURE_CURVES
from calibkit.colour.narrowband import LINES
from calibkit.combining.normalise import NORMALISATIONS
from calibkit.combining.plan import METHODS
from calibkit.combining.rejections import REJECTIONS
from calibkit.errors import SettingError
from calibkit.meta import KINDS
from calibkit.recipe import rules
from calibkit.session.tolerances import IGNORABLE, Tolerances

#: Of the file's form; raised when an older calibkit would misread it.
VERSION = 1
#: How far a run goes.
UNTIL = ("lights", "stack", "picture")

_PER_CHANNEL = rules.optional(
    rules.either(rules.number(1e-6, 1e6), rules.mapping(rules.text, rules.number(1e-6, 1e6)))
)
_LIMIT = rules.optional(rules.number(0, 1000))
_LIMITS = [f.name for f in fields(Tolerances) if isinstance(f.default, float)]


def _setting(default: Any, rule: rules.Rule) -> Any:
    if isinstance(default, dict):
        return field(default_factory=dict, metadata={"rule": rule})
    return field(default=default, metadata={"rule": rule})


@dataclass(frozen=True, kw_only=True)
class Section:
    """Settings that belong together; every one has a rule."""

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            try:
                kept = setting.metadata["rule"](value)
            except ValueError as error:
                msg = f"{type(self).__name__}({setting.name}=…): {error}"
                raise SettingError(msg) from error
            object.__setattr__(self, setting.name, kept)

    def options(self) -> dict[str, Any]:
        """The settings that are set, for a function that knows its own defaults."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}


@dataclass(frozen=True, kw_only=True)
class FrameSettings(Section):
    """What the frames are and how far apart they may be, for `calibkit.scan`.

    Attributes
    ----------
    kinds : dict
        Kind → tuple of file name patterns.
    pattern : str, optional
        The colour filters, ``""`` for none.
    tolerances : dict
        Limit of `calibkit.Tolerances` → value.
    ignore : tuple of str
        Properties that are not compared.
    """

    kinds: Mapping[str, tuple[str, ...]] = _setting(
        {}, rules.mapping(rules.one_of(*KINDS), rules.several(rules.text))
    )
    pattern: str | None = _setting(None, rules.optional(rules.text))
    tolerances: Mapping[str, float] = _setting({}, rules.mapping(rules.one_of(*_LIMITS), rules.number(0)))
    ignore: tuple[str, ...] = _setting((), rules.several(rules.one_of(*IGNORABLE)))

    def limits(self) -> Tolerances:
        """As `calibkit.scan` takes them."""
        return Tolerances(**self.tolerances, ignore=self.ignore)


@dataclass(frozen=True, kw_only=True)
class CameraSettings(Section):
    """What frames do not say, or say wrongly.

    Attributes
    ----------
    gain, read_noise : float or mapping of channel to float, optional
        Electrons per ADU, and electrons.
    pedestal : float, optional
        What a pixel without light holds, in ADU, where neither biases nor the frames say it: 0 where the camera has
        subtracted a dark itself.
    """

    gain: float | Mapping[str, float] | None = _setting(None, _PER_CHANNEL)
    read_noise: float | Mapping[str, float] | None = _setting(None, _PER_CHANNEL)
    pedestal: float | None = _setting(None, rules.optional(rules.number(-65536, 65536)))


@dataclass(frozen=True, kw_only=True)
class MasterSettings(Section):
    """How masters are combined: options of `calibkit.combine`, its defaults where not set."""

    method: str | None = _setting(None, rules.optional(rules.one_of(*METHODS)))
    reject: str | None = _setting(None, rules.optional(rules.one_of("auto", *REJECTIONS)))
    low: float | None = _setting(None, _LIMIT)
    high: float | None = _setting(None, _LIMIT)
    normalise: str | None = _setting(None, rules.optional(rules.one_of("auto", *NORMALISATIONS)))
    weights: str | None = _setting(None, rules.optional(rules.one_of("exposure", "noise")))
    max_iterations: int | None = _setting(None, rules.optional(rules.whole(1, 1000)))
    keep: int | None = _setting(None, rules.optional(rules.whole(1, 10000)))


@dataclass(frozen=True, kw_only=True)
class DarkSettings(Section):
    """The strength of the dark.

    Attributes
    ----------
    scale : {"auto", "exposure", "measured"}
        ``"exposure"``: a dark of another exposure is scaled by the ratio, one of another temperature is not used;
        ``"measured"``: the factor is measured in every light; ``"auto"``: measured where only a dark of another
        temperature is there, by exposure otherwise.
    """

    scale: str = _setting("auto", rules.one_of("auto", "exposure", "measured"))


@dataclass(frozen=True, kw_only=True)
class DefectSettings(Section):
    """Bad pixels: found in dark and flat beyond what the masters' own flags say, and replaced or only flagged."""

    find: bool = _setting(True, rules.yes_or_no)
    sigma: float = _setting(5.0, rules.number(1, 1000))
    repair: bool = _setting(True, rules.yes_or_no)


@dataclass(frozen=True, kw_only=True)
class LightSettings(Section):
    """Whether the calibrated lights are kept when the stack is made."""

    keep: bool = _setting(False, rules.yes_or_no)


@dataclass(frozen=True, kw_only=True)
class AlignSettings(Section):
    """How lights are laid upon each other.

    Attributes
    ----------
    model : {"translation", "euclidean", "similarity", "affine"}
        See `calibkit.register`.
    select : bool
        Leave out those of poor quality, see `calibkit.measure_quality`.
    leave_out : tuple of str
        Leave out these too: their names, or patterns of names or of paths below the session's folder.
    """

    model: str = _setting("similarity", rules.one_of("translation", "euclidean", "similarity", "affine"))
    select: bool = _setting(True, rules.yes_or_no)
    leave_out: tuple[str, ...] = _setting((), rules.several(rules.text))


@dataclass(frozen=True, kw_only=True)
class StackSettings(Section):
    """How the aligned lights are combined, as for `stack_lights`; its defaults where not set.

    Attributes
    ----------
    line : {"auto", "none", "Ha", "SII", "NII", "OIII", "Hb"}
        The line of which a colour camera's stack is made, see `calibkit.extract_line`: the channels that hold nothing
        of it are discarded. ``"auto"``: that of the lights' filter, if its name is that of a single line, where colours
        would be made (channels ``"debayer"``).
    """

    channels: str = _setting("debayer", rules.one_of("planes", "mosaic", "debayer", "drizzle"))
    method: str = _setting("mean", rules.one_of(*METHODS))
    reject: str = _setting("auto", rules.one_of("auto", *REJECTIONS))
    low: float | None = _setting(None, _LIMIT)
    high: float | None = _setting(None, _LIMIT)
    normalise: str = _setting("auto", rules.one_of("auto", *NORMALISATIONS))
    weights: str | None = _setting(None, rules.optional(rules.one_of("exposure", "noise")))
    interpolation: str | None = _setting(None, rules.optional(rules.one_of(*INTERPOLATIONS)))
    scale: float | None = _setting(None, rules.optional(rules.number(0.1, 4)))
    pixfrac: float | None = _setting(None, rules.optional(rules.number(0.05, 2)))
    line: str = _setting("auto", rules.one_of("auto", "none", *LINES))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.line in LINES and self.channels in ("planes", "drizzle"):
            msg = (
                f"StackSettings(line={self.line!r}, channels={self.channels!r}): a line is taken from the whole grid; use "
                "channels 'debayer' or 'mosaic' with it, or line 'none'"
            )
            raise SettingError(msg)
        if self.pixfrac is not None and self.channels != "drizzle":
            msg = (
                f"StackSettings(pixfrac={self.pixfrac:g}, channels={self.channels!r}): drops are those of drizzle; use "
                "channels 'drizzle' with it, or leave it out"
            )
            raise SettingError(msg)


@dataclass(frozen=True, kw_only=True)
class PictureSettings(Section):
    """How the stack is shown, as for `stretch_picture`, its defaults where not set; and the file it is shown in."""

    curve: str = _setting("mtf", rules.one_of(*PICTURE_CURVES))
    black: float | None = _setting(None, rules.optional(rules.number()))
    white: float | None = _setting(None, rules.optional(rules.number()))
    midtone: float | None = _setting(None, rules.optional(rules.number(1e-9, 1 - 1e-9)))
    intensity: float | None = _setting(None, rules.optional(rules.number(-5, 15)))
    brightness: float | None = _setting(None, rules.optional(rules.number(0.01, 0.99)))
    linked: bool = _setting(False, rules.yes_or_no)
    allow_clipping: bool = _setting(False, rules.yes_or_no)
    format: str = _setting("png", rules.one_of("png", "tif"))
    bits: int = _setting(8, rules.whole(8, 16))

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, curves in (("midtone", ("asinh", "mtf")), ("intensity", ("ghs",))):
            if getattr(self, name) is not None and self.curve not in curves:
                msg = (
                    f"PictureSettings({name}={getattr(self, name):g}, curve={self.curve!r}): it has no effect on this curve; "
                    f"it belongs to {' and '.join(map(repr, curves))}"
                )
                raise SettingError(msg)
        if self.black is not None and self.white is not None and not self.white > self.black:
            msg = f"PictureSettings(black={self.black:g}, white={self.white:g}): white has to be above black"
            raise SettingError(msg)


#: The sections of a recipe, in the order of the work.
SECTIONS: dict[str, type[Section]] = {
    "frames": FrameSettings,
    "camera": CameraSettings,
    "masters": MasterSettings,
    "dark": DarkSettings,
    "defects": DefectSettings,
    "lights": LightSettings,
    "align": AlignSettings,
    "stack": StackSettings,
    "picture": PictureSettings,
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what `calibkit.process` makes of a folder of frames.

    Parameters
    ----------
    until : {"picture", "stack", "lights"}
        How far the work goes: calibrated lights, the stack of aligned lights, or its picture.
    frames : FrameSettings
        What the frames are, where they do not say it.
    camera : CameraSettings
        Gain and readout noise, where the frames do not say them.
    masters : MasterSettings
        How masters are combined.
    dark : DarkSettings
        How strong the dark is.
    defects : DefectSettings
        How bad pixels are found, and whether they are repaired.
    lights : LightSettings
        Whether the calibrated lights are kept.
    align : AlignSettings
        How lights are laid upon each other.
    stack : StackSettings
        How the aligned lights are combined.
    picture : PictureSettings
        How the stack is shown.

    Raises
    ------
    SettingError
        A setting that cannot be, with what is allowed.

    Examples
    --------
    >>> from calibkit.recipe import MasterSettings, Recipe
    >>> Recipe(until="lights", masters=MasterSettings(method="median")).masters.options()
    {'method': 'median'}
    """

    until: str = "picture"
    frames: FrameSettings = field(default_factory=FrameSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    masters: MasterSettings = field(default_factory=MasterSettings)
    dark: DarkSettings = field(default_factory=DarkSettings)
    defects: DefectSettings = field(default_factory=DefectSettings)
    lights: LightSettings = field(default_factory=LightSettings)
    align: AlignSettings = field(default_factory=AlignSettings)
    stack: StackSettings = field(default_factory=StackSettings)
    picture: PictureSettings = field(default_factory=PictureSettings)

    def __post_init__(self) -> None:
        try:
            rules.one_of(*UNTIL)(self.until)
        except ValueError as error:
            msg = f"Recipe(until=…): {error}"
            raise SettingError(msg) from error
        for name, section in SECTIONS.items():
            if not isinstance(getattr(self, name), section):
                msg = f"Recipe({name}=…): wanted is a {section.__name__}, found {type(getattr(self, name)).__name__}"
                raise SettingError(msg)

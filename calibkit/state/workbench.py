"""Settings of the application that goes through all steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import traitlets

from calibkit.recipe import (
    AlignSettings,
    DarkSettings,
    DefectSettings,
    FrameSettings,
    MasterSettings,
    PictureSettings,
    Recipe,
    StackSettings,
)
from calibkit.recipe.model import Section
from calibkit.session import Tolerances
from calibkit.state.base import State
from calibkit.state.brightness import BrightnessState

#: The steps in the order of the lecture.
STEPS = (
    *("session", "numbers", "signal chain", "bias", "dark", "flat", "combine", "hot pixels", "calibrate"),
    *("noise", "compare", "channels", "stack", "brightness"),
)

T = TypeVar("T", bound=Section)


class WorkbenchState(State):
    """Which step is open, on which light, and what every step's panel is set to.

    Attributes
    ----------
    step : str
        One of `STEPS`.
    lights : str
        Name of the group of lights that is worked on; "": the first.
    light : int
        Number of the light, from 0, where a step shows one.
    out : str
        Folder of masters, calibrated lights and what is written; "": ``calibrated`` in the session's folder.
    steps : dict
        Step → settings of its panel, as ``panel.settings()`` gives them.
    """

    call = "Workbench"
    step = traitlets.Enum(STEPS, "session")
    lights = traitlets.Unicode("")
    light = traitlets.Int(0, min=0)
    out = traitlets.Unicode("")
    steps = traitlets.Dict(key_trait=traitlets.Enum(STEPS), value_trait=traitlets.Dict())

    def remember(self, step: str, settings: dict[str, Any]) -> None:
        """Keep the settings of a step's panel."""
        others = {name: value for name, value in self.steps.items() if name != step}
        self.steps = {**others, step: settings} if settings else others

    def recipe(self, asked: Mapping[str, Any], lights: Sequence[str] = ()) -> Recipe:
        """What the steps are set to, as far as a recipe has it.

        Parameters
        ----------
        asked : mapping
            Options that `calibkit.scan` was given.
        lights : sequence of str
            Names of the lights that are stacked, for those that are left out by hand.
        """
        stacking, light = self.steps.get("stack", {}), self.steps.get("calibrate", {})
        select = {"select": stacking["judge"]} if "judge" in stacking else {}
        left_out = tuple(lights[number] for number in stacking.get("left_out", ()) if number < len(lights))
        shown = BrightnessState(**self.steps.get("brightness", {})).options()
        if "black" in shown:  # these are for all channels
            shown["linked"] = True
        scale = light.get("dark_scale")
        repair = {"repair": light["repair"]} if "repair" in light else {}
        return Recipe(
            frames=_frame_settings(asked),
            masters=_section(MasterSettings, self.steps.get("combine", {})),
            dark=DarkSettings() if scale is None else DarkSettings(scale=scale),
            defects=_section(DefectSettings, {**self.steps.get("hot pixels", {}), **repair}),
            align=_section(AlignSettings, {**stacking, **select, "leave_out": left_out}),
            stack=_section(StackSettings, stacking),
            picture=_section(PictureSettings, shown),
        )


def _section(section: type[T], settings: Mapping[str, Any]) -> T:
    """The section of a recipe with those settings of a panel that it has too."""
    return section(**{f.name: settings[f.name] for f in fields(section) if f.name in settings})


def _frame_settings(asked: Mapping[str, Any]) -> FrameSettings:
    limits = asked.get("tolerances") or Tolerances()
    kinds = {
        kind: (names,) if isinstance(names, str) else tuple(names)
        for kind, names in (asked.get("kinds") or {}).items()
    }
    numbers = {
        f.name: getattr(limits, f.name)
        for f in fields(limits)
        if isinstance(f.default, float) and getattr(limits, f.name) != f.default
    }
    return FrameSettings(kinds=kinds, pattern=asked.get("cfa"), tolerances=numbers, ignore=limits.ignore)

"""What can be switched on and off in a simulated frame, and which calibration frame can map it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from calibkit.errors import SettingError


@dataclass(frozen=True)
class Effect:
    """One artifact: where it comes from, which calibration frame maps it ("" for none), and what it is."""

    name: str
    origin: str  # "optics", "detector", "electronics", "noise" or "sky"
    mapped_by: str  # "bias", "dark", "flat" or ""
    meaning: str


EFFECTS: dict[str, Effect] = {
    effect.name: effect
    for effect in (
        Effect("vignetting", "optics", "flat", "the optics send less light to the corners"),
        Effect("dust", "optics", "flat", "specks of dust cast shadows, rings out of focus"),
        Effect("reflection", "optics", "", "light that bounced between surfaces: it is added, not weakened"),
        Effect("light leak", "optics", "", "stray light that comes in beside the optics"),
        Effect("sky gradient", "sky", "", "the background is brighter on one side"),
        Effect("sensitivity", "detector", "flat", "pixels respond differently to light"),
        Effect("weak pixels", "detector", "flat", "pixels with little or no response"),
        Effect("bad columns", "detector", "flat", "columns with little response from some row on"),
        Effect("dark current", "detector", "dark", "thermal charge, in every pixel"),
        Effect("dark spread", "detector", "dark", "thermal charge differs from pixel to pixel"),
        Effect("hot pixels", "detector", "dark", "pixels with far more thermal charge"),
        Effect("telegraph pixels", "detector", "", "pixels whose thermal charge jumps between two levels"),
        Effect("amp glow", "detector", "dark", "the read-out amplifier shines into its corner"),
        Effect("non-linearity", "detector", "", "full pixels answer with less than their charge"),
        Effect("saturation", "detector", "", "a pixel holds only so much charge"),
        Effect("blooming", "detector", "", "charge of full pixels flows along the column"),
        Effect("smear", "detector", "", "light falls on rows while they are read out"),
        Effect("cosmic rays", "detector", "", "particles leave charge in a few pixels of one frame"),
        Effect("offset", "electronics", "bias", "a level added so that no reading is negative"),
        Effect("offset structure", "electronics", "bias", "rows and columns with levels of their own"),
        Effect("row noise", "electronics", "", "rows shift by an amount that is new in every frame"),
        Effect(
            "interference",
            "electronics",
            "",
            "a radio signal in the cables: a wave that moves between frames",
        ),
        Effect("read noise", "noise", "", "every reading is uncertain"),
        Effect("thermal noise", "noise", "", "thermal electrons come at random"),
        Effect("photon noise", "noise", "", "photons come at random"),
    )
}
"""Every effect by name, along the way of the light."""


def chosen_effects(effects: Iterable[str] | None) -> frozenset[str]:
    """The set of *effects*, all of them for None.

    Raises
    ------
    SettingError
        A name that is not in `EFFECTS`.
    """
    if effects is None:
        return frozenset(EFFECTS)
    names = frozenset([effects] if isinstance(effects, str) else effects)
    unknown = names - set(EFFECTS)
    if unknown:
        msg = f"effects {sorted(unknown)} are not known; allowed are {', '.join(EFFECTS)}"
        raise SettingError(msg)
    return names

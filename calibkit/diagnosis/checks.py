"""The table of tests: adding one is one entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from calibkit.diagnosis import (
    colours,
    darks,
    flat_frames,
    flats,
    levels,
    noise_checks,
    pixels,
    sets,
    stripes,
    structure,
)
from calibkit.diagnosis.evidence import Evidence
from calibkit.diagnosis.finding import Finding


@dataclass(frozen=True)
class Check:
    """One test.

    Attributes
    ----------
    name : str
        As findings have it, and `calibkit.diagnose(checks=…)`.
    run : callable
        From `Evidence` to its findings; one at least: where the frames do not tell, it says why.
    """

    name: str
    run: Callable[[Evidence], list[Finding]]


CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        Check("background clipped", levels.background_clipped),
        Check("bias level", levels.bias_level),
        Check("dark strength", darks.dark_strength),
        Check("dark temperature", darks.dark_temperature),
        Check("temperature drift", darks.temperature_drift),
        Check("flat correction", flats.flat_correction),
        Check("flat shading", flats.flat_shading),
        Check("flat shadows", flats.flat_shadows),
        Check("flat exposure", flat_frames.flat_exposure),
        Check("flat night", flat_frames.flat_night),
        Check("flat dark", flat_frames.flat_dark),
        Check("amp glow", structure.amp_glow),
        Check("gradient", structure.gradient),
        Check("light leak", structure.light_leak),
        Check("banding", stripes.banding),
        Check("hot pixels", pixels.hot_pixels),
        Check("noise", noise_checks.noise),
        Check("fractions", noise_checks.fractions),
        Check("rejection", noise_checks.rejection),
        Check("colour pattern", colours.colour_pattern),
        Check("mixed settings", sets.mixed_settings),
        Check("odd frames", sets.odd_frames),
    )
}
"""Every test by name, in the order of the findings."""

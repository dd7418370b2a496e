"""Gain and readout noise for the lights: as said, else measured from the session's own flats and biases."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import xarray as xr

from calibkit.errors import CalibkitError, Cancelled
from calibkit.frames import open_stack
from calibkit.pipeline.recipe import Recipe
from calibkit.session import Group, Match

PerChannel = float | Mapping[str, float]

#: Frames of each kind that a gain is measured from: three pairs of a megapixel give it to a few tenths of a percent.
_FRAMES = 6


@dataclass(frozen=True)
class Camera:
    """What the noise of lights is reckoned with.

    Attributes
    ----------
    gain : float or mapping of channel to float, optional
        Electrons per ADU; None: as the frames say, or not known.
    read_noise : float or mapping of channel to float, optional
        Electrons; None: as the frames or the masters say, or not known.
    notes : tuple of str
        Where they are from, when not from the frames.
    """

    gain: PerChannel | None = None
    read_noise: PerChannel | None = None
    notes: tuple[str, ...] = ()


def camera_of(recipe: Recipe, given: tuple[PerChannel | None, PerChannel | None]) -> Camera:
    """What is *given*; where it is not and the lights do not say their gain, what flats and biases show."""
    gain, read_noise = given
    if gain is not None or recipe.error or math.isfinite(recipe.match.light.gain):
        return Camera(gain, read_noise)
    flats, dark = recipe.match.flat, _without_light(recipe.match)
    if flats is None or dark is None or flats.master or len(flats) < 2:
        return Camera(None, read_noise)
    from calibkit.noise import measure_gain

    try:
        found = measure_gain(_stack(flats), _stack(dark))
    except Cancelled:
        raise
    except CalibkitError as error:
        return Camera(None, read_noise, (f"the gain cannot be measured: {error}",))
    note = f"the frames do not say their gain: measured from {flats.name} and {dark.name}, {found}"
    return Camera(dict(found.values), read_noise, (note.replace("electron/adu", "e⁻/ADU"),))


def _without_light(match: Match) -> Group | None:
    """Frames with the flats' offset and readout noise and next to nothing else: two or more."""
    for group, scale in ((match.flat_bias, None), (match.flat_dark, match.flat_dark_scale)):
        if group is not None and scale is None and not group.master and len(group) > 1:
            return group
    return None


def _stack(group: Group) -> xr.DataArray:
    return open_stack(group.paths[:_FRAMES], kind=group.kind, mixed=True)

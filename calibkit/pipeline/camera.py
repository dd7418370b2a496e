"""Gain and readout noise for the lights: as said, else measured from the session's own flats and biases."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibkit.calibration.bands import reader_of
from calibkit.combining.reading import read_rows
from calibkit.computing import compute_here
from calibkit.errors import CalibkitError, Cancelled
from calibkit.frames import open_stack
from calibkit.pipeline.plan import LightPlan
from calibkit.session import Group, Match
from calibkit.statistics import measure_noise

PerChannel = float | Mapping[str, float]

#: Frames of each kind, and pixels of each frame, that a gain is measured from: it is then good to half a percent.
_FRAMES, _PIXELS = 4, 2_000_000
#: A stated gain that is off by more than this fraction is doubted.
_DOUBT = 0.04
#: Photon noise that is more than this many times the scatter of neighbouring pixels cannot be.
_EXCESS = 1.3


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


def camera_of(plan: LightPlan, given: tuple[PerChannel | None, PerChannel | None]) -> Camera:
    """What is *given*; else what the lights say, checked against flats and biases; else what those show."""
    gain, read_noise = given
    flats, dark = plan.match.flat, _without_light(plan.match)
    if gain is not None or plan.error or flats is None or dark is None or flats.master or len(flats) < 2:
        return Camera(gain, read_noise)
    from calibkit.noise import measure_gain

    said = plan.match.light.gain
    stacks = _stack(flats), _stack(dark)
    try:
        found = measure_gain(*stacks)
        doubt = _contradiction(stacks[0].isel(frame=0), stacks[1].isel(frame=0), found.values)
    except Cancelled:
        raise
    except CalibkitError as error:
        doubt = str(error)
    if doubt:
        notes = () if math.isfinite(said) else (f"the gain cannot be measured: {doubt}",)
        return Camera(None, read_noise, notes)
    text = str(found).replace("electron/adu", "e⁻/ADU")
    if not math.isfinite(said):
        note = f"the frames do not say their gain: measured from {flats.name} and {dark.name}, {text}"
        return Camera(dict(found.values), read_noise, (note,))
    if found.error > 0 and abs(found.value - said) > max(_DOUBT * said, 4 * found.error):
        note = (
            f"the frames say a gain of {said:.4g} e⁻/ADU, but {flats.name} and {dark.name} show {text}; what they say is "
            "used, and if it is wrong so is the predicted noise. Another one can be given as gain"
        )
        return Camera(None, read_noise, (note,))
    return Camera(None, read_noise)


def _contradiction(flat: xr.DataArray, dark: xr.DataArray, gain: Mapping[str, float]) -> str:
    """Why flats do not show the gain: they would have more photon noise than one of them has noise at all."""
    light, offset = measure_noise(flat), measure_noise(dark)
    for channel, value in gain.items():
        photons = math.sqrt(max(light[channel].level - offset[channel].level, 0.0) / value)
        if photons > _EXCESS * max(light[channel].measured, 1.0):
            return (
                f"the flats differ from each other by more than their noise: they would have a photon noise of {photons:.3g} "
                f"ADU, but neighbouring pixels differ by {light[channel].measured:.3g} ADU only (channel {channel})"
            )
    return ""


def _without_light(match: Match) -> Group | None:
    """Frames with the flats' offset and readout noise and next to nothing else: two or more."""
    for group, scale in ((match.flat_bias, None), (match.flat_dark, match.flat_dark_scale)):
        if group is not None and scale is None and not group.master and len(group) > 1:
            return group
    return None


def _stack(group: Group) -> xr.DataArray:
    """Some frames of the group, and of large ones the rows in the middle: that is enough; read once, for all that is measured."""
    stack = open_stack(group.paths[:_FRAMES], kind=group.kind, mixed=True, cfa=group.info.cfa)
    height, rows = stack.sizes["y"], max(_PIXELS // stack.sizes["x"], 96)
    first = max(0, (height - rows) // 2)
    part = stack.isel(y=slice(first, first + rows))
    source = reader_of(stack)
    if source is None:
        return part.copy(data=compute_here(part.data))
    data = np.empty(part.shape, part.dtype)
    for frame, out in enumerate(data):
        read_rows(source, frame, first, first + len(out), out)
    return part.copy(data=data)

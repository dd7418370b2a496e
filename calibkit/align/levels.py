"""What is common to the lights of a stack: what is known about them, their levels, spreads and weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from calibkit import meta
from calibkit.align.lights import Light
from calibkit.cfa import channel_index
from calibkit.combining.normalise import (
    Levels,
    check_measured,
    check_normalisation,
    coefficients,
    measure,
    workable,
)
from calibkit.combining.threads import run
from calibkit.combining.weights import by_noise, frame_weights
from calibkit.progress import Progress
from calibkit.warned import warn


def template_of(lights: list[Light]) -> xr.Dataset:
    """What is known about the lights, as a stack without pixels."""
    coords: dict[str, Any] = {}
    for name, (_, default) in meta.FRAME_COORDS.items():
        values = [meta.frame_value(light.labelled, name, default) for light in lights]
        coords[name] = ("frame", np.array(values))
    first = lights[0].labelled
    coords |= {dim: first.coords[dim].values for dim in ("y", "x") if dim in first.coords}
    return xr.Dataset(coords=coords, attrs=dict(first.attrs))


class _Unaligned:
    """The lights as `calibkit.combining.normalise.measure` reads a stack."""

    def __init__(self, lights: list[Light]) -> None:
        self._lights = lights
        self.shape = (len(lights), *lights[0].shape)

    def name(self, frame: int) -> str:
        return self._lights[frame].name

    def read_strips(self, frame: int, strips: list[tuple[int, int]]) -> list[np.ndarray]:
        return self._lights[frame].strips(strips)


def levels_of(
    template: xr.Dataset,
    lights: list[Light],
    *,
    normalise: str,
    weights: str | Sequence[float] | None,
    known: Levels | None,
    progress: Progress,
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Factor and term (frame, channel) that bring every light to a common level and spread, and weights likewise.

    They are measured on the lights as they are, since aligned ones would have to be made twice, unless they are *known*.
    """
    check_normalisation(normalise)
    cell, channels = channel_index(template)
    alone = len(lights) == 1
    levels = factor = term = None
    if (normalise != "none" and not alone) or by_noise(weights):
        if known is None or (by_noise(weights) and np.isnan(known.noise).any()):
            known = measure(
                _Unaligned(lights),
                cell,
                noise=by_noise(weights),
                run=lambda function, count, what: run(function, count, what, progress),
            )
        check_measured(known, lambda i: lights[i].name)
        levels = known
    if normalise != "none" and not alone:
        if normalise == "auto":
            normalise, simpler = workable("additive_scaling", levels)
            if simpler:
                warn(simpler, stacklevel=3)
        factor, term = coefficients(normalise, levels, lambda i: lights[i].name)
    weight, _ = frame_weights(
        weights,
        template,
        noise=None if levels is None else levels.noise,
        scale=factor,
        channels=len(channels),
    )
    return factor, term, weight

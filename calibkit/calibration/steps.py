"""A light after each step of its calibration, and the numbers that tell what the step did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from calibkit.calibration.engine import calibrate
from calibkit.display.stretch import auto_levels
from calibkit.statistics import measure_noise


@dataclass(frozen=True)
class Step:
    """A frame after one step.

    Attributes
    ----------
    name : str
        "raw", "bias", "dark", "flat" or "repair".
    frame : xarray.DataArray or xarray.Dataset
        As it is then.
    shown : tuple of float
        The values that a linear automatic stretch shows black and white.
    mean, median : float
        Of all the pixels that have a value.
    noise : dict of str to float
        Standard deviation of a pixel per channel, from differences of neighbours; pattern counts as noise.
    """

    name: str
    frame: xr.DataArray | xr.Dataset
    shown: tuple[float, float]
    mean: float
    median: float
    noise: dict[str, float]


def calibration_steps(
    light: xr.DataArray,
    *,
    bias: xr.Dataset | None = None,
    dark: xr.Dataset | None = None,
    flat: xr.Dataset | None = None,
    defects: Any = None,
    repair: bool = True,
    **options: Any,
) -> list[Step]:
    """Calibrate a frame step by step and measure it after each.

    Parameters
    ----------
    light : xarray.DataArray
        Raw frame ``(y, x)``, or a part of one.
    bias, dark, flat, defects, repair
        As for `calibrate`; a step whose master is not given is left out.
    **options
        More of what `calibrate` takes.

    Returns
    -------
    list of Step
        The raw frame first; the last is what `calibrate` makes of it with everything together.

    Raises
    ------
    MismatchError
        The masters do not belong to the light, or to each other, as for `calibrate`.

    Examples
    --------
    >>> from calibkit import Camera, Lamp, master_bias, simulate_stack
    >>> camera = Camera(shape=(64, 64), offset=300.0)
    >>> bias = master_bias(simulate_stack(camera, 4, kind="bias"))
    >>> light = simulate_stack(camera, 1, exposure=30, frame_index=9)[0]
    >>> [step.name for step in calibration_steps(light, bias=bias, repair=False)]
    ['raw', 'bias']
    """
    # All of it first: a combination that cannot be is refused before anything is shown.
    whole = calibrate(light, bias=bias, dark=dark, flat=flat, defects=defects, repair=repair, **options)
    masters = {"bias": bias, "dark": dark, "flat": flat}
    given = [name for name, master in masters.items() if master is not None]
    steps = [_measured("raw", light)]
    for i, name in enumerate(given):
        last = i == len(given) - 1
        if last and not repair:
            steps.append(_measured(name, whole))
            continue
        so_far = {each: masters[each] for each in given[: i + 1]}
        scale = {key: value for key, value in options.items() if key != "dark_scale" or "dark" in so_far}
        steps.append(_measured(name, calibrate(light, **so_far, defects=defects, repair=False, **scale)))
    if repair:
        steps.append(_measured("repair", whole))
    return steps


def _measured(name: str, frame: xr.DataArray | xr.Dataset) -> Step:
    frame = frame.compute()
    signal = frame["signal"] if isinstance(frame, xr.Dataset) else frame
    values = np.asarray(signal.values, np.float64).ravel()
    values = values[np.isfinite(values)]
    levels = auto_levels(values.astype(np.float32), curve="linear")
    noise = {channel: found.measured for channel, found in measure_noise(frame).items()}
    return Step(
        name,
        frame,
        (float(levels.black), float(levels.white)),
        float(values.mean()) if values.size else float("nan"),
        float(np.median(values)) if values.size else float("nan"),
        noise,
    )

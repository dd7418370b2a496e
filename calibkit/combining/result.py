"""The labelled result of a combination."""

from __future__ import annotations

import numpy as np
import xarray as xr

from calibkit import meta
from calibkit.combining.bands import Tally
from calibkit.combining.prepare import Prepared
from calibkit.flags import NO_DATA

_SCALARS = ("kind", "exposure", "temperature", "gain", "gain_setting", "filter")
_DONE = ("bias_subtracted", "dark_subtracted", "flat_divided")


def make_result(
    stack: xr.DataArray | xr.Dataset, prepared: Prepared, outputs: dict[str, np.ndarray], tally: Tally
) -> tuple[xr.Dataset, str]:
    """The Dataset, and what to warn of when its variance is not known everywhere.

    Parameters
    ----------
    outputs : dict
        Arrays (y, x) as `calibkit.combining.bands.OUTPUTS` names them.
    tally : Tally
        What was counted while they were made.
    """
    plan = prepared.plan
    if plan.weight is not None and (plan.weight == 0).any():  # where all that is left has no weight
        outputs["flags"][np.isnan(outputs["signal"])] |= NO_DATA
    scatter = not (isinstance(stack, xr.Dataset) and "variance" in stack)
    unknown = _fill_single(plan, outputs, scatter=scatter) if tally.unknown else ""
    frames = tally.frames
    coords = {name: stack.coords[name].variable for name in ("y", "x", "file") if name in stack.coords}
    result = xr.Dataset({name: (("y", "x"), array) for name, array in outputs.items()}, coords=coords)
    there = np.maximum(outputs["signal"].size - frames[:, 2], 1)
    fraction = (frames[:, 0] + frames[:, 1]) / there
    result["rejected_fraction"] = ("frame", fraction)
    units = stack.attrs.get("units", "adu")
    attrs = meta.camera_attrs(stack) | {"units": units}
    for name in _SCALARS:
        attrs[name] = meta.frame_value(stack, name, meta.FRAME_COORDS[name][1])
    if "temperature" in stack.coords:  # it differs by tenths of a degree from frame to frame
        attrs["temperature"] = _median(stack.coords["temperature"].values)
    if plan.method == "sum" and "exposure" in stack.coords:
        exposures = np.broadcast_to(np.asarray(stack.coords["exposure"].values, float), plan.n_frames)
        attrs["exposure"] = float(exposures.sum())
    attrs["n_frames"] = plan.n_frames
    attrs |= {name: bool(stack.attrs.get(name, False)) for name in _DONE}
    attrs["rejection"] = prepared.message
    step = prepared.step | {"rejected_fraction": float(fraction.mean())}
    attrs["provenance"] = [*stack.attrs.get("provenance", []), step]
    result.attrs = attrs
    result["signal"].attrs["units"] = units
    result["variance"].attrs["units"] = units if units == "1" else f"{units}2"
    return result, unknown


def _median(values: np.ndarray) -> float:
    """Median of the values that are known, NaN when none is."""
    known = np.atleast_1d(values)[np.isfinite(np.atleast_1d(values))]
    return float(np.median(known)) if known.size else float("nan")


def _fill_single(plan: object, outputs: dict[str, np.ndarray], *, scatter: bool) -> str:
    """Give pixels with a single sample the variance that gain and read noise say; count those without any.

    With *scatter*, where that is the variance, a single one has weight however many are kept.
    """
    signal, variance, kept = outputs["signal"], outputs["variance"], outputs["n_kept"]
    lacking = np.isnan(variance) & (kept > 0)
    if plan.noise is not None:
        y, x = np.nonzero(lacking)
        channel = plan.cell[y % plan.cell.shape[0], x % plan.cell.shape[1]]
        floor, slope, zero = (
            part.mean(axis=0)[channel] for part in (plan.noise.floor, plan.noise.slope, plan.noise.zero)
        )
        times = plan.n_frames if plan.method == "sum" else 1
        level = signal[y, x] / times
        number = 1 if scatter else kept[y, x]
        variance[y, x] = (floor + slope * np.maximum(level - zero, 0.0)) * times**2 / number
        return ""
    share = float(lacking.mean())
    part = f"{100 * share:.2g} % of the pixels" if share < 0.99 else "nearly all pixels"
    return (
        f"combine: the variance of {'the result' if share == 1 else part} is not known "
        "(NaN), because a single sample shows no scatter; combine more frames, or give gain= and read_noise="
    )

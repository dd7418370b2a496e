"""`combine`: from a stack of frames to one frame, with its variance."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from calibkit import meta
from calibkit.combining.plan import Plan
from calibkit.combining.rejections import REJECTIONS
from calibkit.errors import SettingError
from calibkit.progress import Progress, silent


def combine(
    stack: xr.DataArray | xr.Dataset,
    *,
    method: str = "mean",
    reject: str = "auto",
    low: float | None = None,
    high: float | None = None,
    normalise: str = "auto",
    weights: str | np.ndarray | None = None,
    max_iterations: int | None = None,
    keep: int | None = None,
    gain: float | None = None,
    read_noise: float | None = None,
    progress: Progress = silent,
    client: Any = None,
) -> xr.Dataset:
    """Combine the frames of *stack* into one."""
    from calibkit.combining.reading import StackReader
    from calibkit.combining.threads import run_bands

    reader = StackReader(stack)
    n = reader.shape[0]
    chosen = reject
    if chosen == "auto":
        chosen = "sigma" if method != "median" and n >= 4 else "none"
    if chosen not in REJECTIONS:
        msg = f"reject={reject!r} is not known; choose one of {', '.join(REJECTIONS)} or auto"
        raise SettingError(msg)
    if method not in ("mean", "median"):
        msg = f"method={method!r} is not known; choose mean or median"
        raise SettingError(msg)
    rejection = REJECTIONS[chosen]
    ones = np.ones(n + 1)
    plan = Plan(
        method=method,
        rejection=rejection,
        low=rejection.low if low is None else float(low),
        high=rejection.high if high is None else float(high),
        iterations=rejection.iterations if max_iterations is None else int(max_iterations),
        keep=rejection.keep if keep is None else int(keep),
        n_frames=n,
        cell=np.zeros((1, 1), np.uint8),
        scale=None,
        zero=None,
        weight=None,
        relative=None,
        noise=None,
        scatter_factor=ones * (np.pi / 2 if method == "median" else 1.0),
        carried_factor=ones * (np.pi / 2 if method == "median" else 1.0),
        saturation=float("nan"),
    )
    outputs, frames = run_bands(reader, plan, progress)
    return _result(stack, plan, outputs, frames)


def _result(
    stack: xr.DataArray | xr.Dataset, plan: Plan, outputs: dict[str, np.ndarray], frames: np.ndarray
) -> xr.Dataset:
    height, width = outputs["signal"].shape
    coords = {name: stack.coords[name] for name in ("y", "x") if name in stack.coords}
    if "file" in stack.coords:
        coords["file"] = stack.coords["file"]
    result = xr.Dataset({name: (("y", "x"), array) for name, array in outputs.items()}, coords=coords)
    valid = np.maximum(height * width - frames[:, 2], 1)
    result["rejected_fraction"] = ("frame", (frames[:, 0] + frames[:, 1]) / valid)
    attrs = meta.camera_attrs(stack)
    attrs["units"] = stack.attrs.get("units", "adu")
    for name in ("kind", "exposure", "temperature", "gain", "gain_setting", "filter"):
        default = meta.FRAME_COORDS[name][1]
        attrs[name] = meta.frame_value(stack, name, default)
    attrs["n_frames"] = plan.n_frames
    for name in ("bias_subtracted", "dark_subtracted", "flat_divided"):
        attrs[name] = bool(stack.attrs.get(name, False))
    step = {
        "step": "combine",
        "method": plan.method,
        "reject": plan.rejection.name,
        "low": plan.low,
        "high": plan.high,
        "inputs": [str(name) for name in np.atleast_1d(stack.coords["file"].values)]
        if "file" in stack.coords
        else [],
    }
    attrs["provenance"] = [*stack.attrs.get("provenance", []), step]
    result.attrs = attrs
    result["signal"].attrs["units"] = attrs["units"]
    return result

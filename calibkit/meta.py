"""What is known about a frame or a master, wherever it is kept.

A stack of many frames keeps what differs from frame to frame (kind, exposure, temperature …) as
coordinates along ``frame``; one frame taken from it has them as scalars; a master has them in
``attrs``. These helpers look in all three places, so that nobody else has to.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

#: Frame coordinates in the order of a table: name → (unit, value when it is not known).
FRAME_COORDS: dict[str, tuple[str, Any]] = {
    "file": ("", ""),
    "kind": ("", ""),
    "exposure": ("s", math.nan),
    "gain": ("electron/adu", math.nan),
    "gain_setting": ("", math.nan),  # ISO, or the camera's own gain number
    "temperature": ("°C", math.nan),
    "filter": ("", ""),
    "time": ("", np.datetime64("NaT", "ns")),
}

#: The kinds of frame, in the order in which they are taken.
KINDS = ("bias", "dark", "flat", "flat dark", "light")

#: Attributes that describe the camera and go from the frames into every result made of them.
CAMERA_ATTRS = (
    *("units", "camera", "cfa", "saturation", "pedestal", "black", "binning", "read_noise", "roworder"),
    *("white_balance", "camera_matrix", "overscan_subtracted"),
    "header",  # of the first frame: what still holds of it goes into the file of the result
)


def known(value: object) -> bool:
    """Whether *value* says anything: not None, "", NaN or NaT."""
    if value is None or (isinstance(value, str) and not value):
        return False
    array = np.asarray(value)
    if array.dtype.kind in "mM":
        return not bool(np.isnat(array).any())
    return not (array.dtype.kind == "f" and bool(np.isnan(array).any()))


def frame_value(obj: xr.DataArray | xr.Dataset, name: str, default: Any = None) -> Any:
    """The one value of *name* for *obj*: a scalar coordinate, a common frame coordinate or an attribute.

    Returns *default* when it is not known, or when the frames of *obj* differ in it.
    """
    if name in obj.coords:
        values = obj.coords[name].values
        first = values.reshape(-1)[0] if values.size else None
        if known(first) and (values == first).all():
            return first.item() if hasattr(first, "item") and first.dtype.kind in "fiubU" else first
        return default
    value = obj.attrs.get(name)
    return value if known(value) else default


def camera_attrs(obj: xr.DataArray | xr.Dataset) -> dict[str, Any]:
    """The attributes of *obj* that a result made from it inherits."""
    return {name: obj.attrs[name] for name in CAMERA_ATTRS if name in obj.attrs}


def add_step(result: xr.Dataset, step: str, **details: Any) -> xr.Dataset:
    """*result* with one more step at the end of its provenance; the old one is left as it is."""
    provenance = [*result.attrs.get("provenance", []), {"step": step, **details}]
    return result.assign_attrs(provenance=provenance)

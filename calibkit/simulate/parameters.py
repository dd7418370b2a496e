"""Cameras, optics and skies as plain JSON and back."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from calibkit.errors import SettingError
from calibkit.simulate.camera import Camera
from calibkit.simulate.optics import DustShadow, Optics, Reflection
from calibkit.simulate.sky import Lamp, Sky
from calibkit.simulate.spectrum import Curve, Spectrum

_CLASSES = {cls.__name__: cls for cls in (Camera, Optics, DustShadow, Reflection, Sky, Lamp, Curve, Spectrum)}


def to_json(value: Any) -> Any:
    """*value* made of what JSON knows; a camera or another setting becomes a table with its ``"type"``."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def from_json(value: Any) -> Any:
    """The inverse of `to_json`; lists become tuples, which the settings take for any sequence.

    Raises
    ------
    SettingError
        A type or a field that is not known: written by another version.
    """
    if isinstance(value, list):
        return tuple(from_json(item) for item in value)
    if not isinstance(value, dict):
        return value
    fields = {key: from_json(item) for key, item in value.items() if key != "type"}
    if "type" not in value:
        return fields
    cls = _CLASSES.get(value["type"])
    known = {field.name for field in dataclasses.fields(cls)} if cls else set()
    if cls is None or set(fields) - known:
        msg = f"simulation settings of type {value['type']!r} with {sorted(fields)} come from another version"
        raise SettingError(msg)
    # None stands for NaN, which is the default wherever it may occur.
    return cls(**{key: item for key, item in fields.items() if item is not None})

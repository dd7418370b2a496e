"""Attributes as JSON text and back, exactly: the types that JSON lacks are marked with a ``"$"``.

Numbers, text, lists and dictionaries look as they do in any JSON; a tuple is ``{"$": "tuple", "v": […]}``.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from calibkit.errors import SettingError


def dumps(value: Any) -> str:
    """*value* as ASCII JSON.

    Raises
    ------
    SettingError
        Something in *value* is of a type that a file cannot keep; the message says where.
    """
    return json.dumps(_plain(value, "result"), ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def loads(text: str) -> Any:
    """What `dumps` was given.

    Raises
    ------
    ValueError, KeyError, TypeError
        *text* is not from `dumps`.
    """
    return _restored(json.loads(text))


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return _plain_array(np.asarray(value), where, scalar=isinstance(value, np.generic))
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"$": "float", "v": repr(value)}
    if isinstance(value, list):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, tuple):
        return {"$": "tuple", "v": [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]}
    if isinstance(value, dict):
        pairs = [(key, _plain(item, f"{where}[{key!r}]")) for key, item in value.items()]
        if all(type(key) is str for key in value) and "$" not in value:
            return dict(pairs)
        return {"$": "dict", "v": [[_plain(key, f"{where}: key"), item] for key, item in pairs]}
    if isinstance(value, bytes):
        return {"$": "bytes", "v": base64.b64encode(value).decode("ascii")}
    if isinstance(value, Path):
        return {"$": "path", "v": str(value)}
    if isinstance(value, dt.datetime):
        return {"$": "datetime", "v": value.isoformat()}
    msg = (
        f"{where} is of type {type(value).__name__}, which a file cannot keep. Allowed are text, numbers, True, "
        "False, None, dates, paths, numpy arrays, and lists, tuples and dictionaries of these; "
        "convert or delete it"
    )
    raise SettingError(msg)


def _plain_array(array: np.ndarray, where: str, *, scalar: bool) -> dict[str, Any]:
    kind, size = array.dtype.kind, array.dtype.itemsize
    flat = array.reshape(-1)
    values: list[Any]
    if kind in "mM":
        values = flat.view(np.dtype("i8").newbyteorder(array.dtype.byteorder)).tolist()
    elif kind in "biuUO" or (kind == "f" and size <= 8):
        values = [_plain(item, where) for item in flat.tolist()]
    elif kind == "c" and size <= 16:
        values = [[_plain(z.real, where), _plain(z.imag, where)] for z in flat.tolist()]
    elif kind == "S":
        values = [item.decode("latin-1") for item in flat.tolist()]
    else:
        msg = (
            f"{where} is a numpy array of type {array.dtype}, which a file cannot keep; convert or delete it"
        )
        raise SettingError(msg)
    return {
        "$": "scalar" if scalar else "array",
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "v": values,
    }


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("$")
    if kind is None:
        return {key: _restored(item) for key, item in value.items()}
    inner = value["v"]
    if kind in ("scalar", "array"):
        array = _restored_array(inner, np.dtype(value["dtype"]), tuple(value["shape"]))
        return array[()] if kind == "scalar" else array
    if kind == "tuple":
        return tuple(_restored(item) for item in inner)
    if kind == "dict":
        return {_restored(key): _restored(item) for key, item in inner}
    makers = {
        "float": float,
        "bytes": base64.b64decode,
        "path": Path,
        "datetime": dt.datetime.fromisoformat,
    }
    return makers[kind](inner)


def _restored_array(values: list[Any], dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    if dtype.kind in "mM":
        integers = np.array(values, dtype=np.dtype("i8").newbyteorder(dtype.byteorder))
        return integers.view(dtype).reshape(shape)
    values = [item.encode("latin-1") for item in values] if dtype.kind == "S" else _restored(values)
    if dtype.kind == "c":
        values = [complex(*pair) for pair in values]
    array = np.empty(len(values), dtype=dtype)
    for i, item in enumerate(values):
        array[i] = item
    return array.reshape(shape)

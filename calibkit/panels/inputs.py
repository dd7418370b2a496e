"""The Python that makes a panel's inputs again from their files."""

from __future__ import annotations

import ast
import glob
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from calibkit.errors import CalibkitError
from calibkit.frames import opened_as
from calibkit.io.save import open_result
from calibkit.session import Session
from calibkit.warned import collected

#: Layers of a dask array that choose pixels and leave their values alone.
_CHOOSING = ("getitem-", "rechunk-merge-", "rechunk-split-")
#: Longer calls are written over several lines.
_LINE = 100


def load_lines(**inputs: Any) -> list[str]:
    """Python lines that make variables of these names again.

    Parameters
    ----------
    **inputs
        Name of the variable → what it holds: a stack from `calibkit.open_stack`, also a part of it; a result
        from `calibkit.open_result`; a `Session`; a path (of a frame or result, a folder of frames, or a
        pattern); None; or lists and dicts of these.

    Returns
    -------
    list of str
        Imports first, then one assignment to a name. Pixels that do not come straight from files cannot be
        made again: of these only a comment says that the reader has to have them under this name.

    Notes
    -----
    Which rows, columns and frames a part of a stack holds is read off its coordinates.

    Examples
    --------
    >>> load_lines(session=Path("."), dark=None)
    ['from calibkit import scan', '', "session = scan('.')", 'dark = None']
    """
    lines: list[str] = []
    for name, value in inputs.items():
        text = expression(value)
        if text is None:
            lines.append(f"# {name}: does not come from files as it is; it has to be there already")
        else:
            lines += wrapped(f"{name} = {text}")
    functions = ("open_image", "open_result", "open_stack", "scan", "Tolerances")
    used = [name for name in functions if any(re.search(rf"\b{name}\(", line) for line in lines)]
    return with_imports([*([f"from calibkit import {', '.join(used)}"] if used else []), *lines])


def calibrated_lines(
    name: str, lights: xr.DataArray | xr.Dataset, masters: Mapping[str, xr.Dataset | None]
) -> tuple[list[str], str, list[str]]:
    """Python lines that load lights with their masters, and calibrate them where they are raw.

    Parameters
    ----------
    name : str
        Variable that holds the lights.
    lights : DataArray or Dataset
        Raw or calibrated.
    masters : mapping
        Argument of `calibkit.calibrate` → master, or None where there is none.

    Returns
    -------
    lines : list of str
    made : str
        Variable that holds the calibrated lights.
    given : list of str
        The masters there are, as arguments of a call.
    """
    there = {each: master for each, master in masters.items() if master is not None}
    given = [f"{each}={each}" for each in there]
    lines = load_lines(**{name: lights}, **there)
    if isinstance(lights, xr.Dataset):
        return lines, name, given
    call = f"calibrated = calibrate({', '.join([name, *given])})"
    return [*lines, "from calibkit import calibrate", call], "calibrated", given


def with_imports(lines: Iterable[str]) -> list[str]:
    """The same lines with every import once, at the top, and an empty line below them.

    Examples
    --------
    >>> with_imports(["from calibkit import scan", "", "s = scan('.')", "from calibkit import combine"])
    ['from calibkit import combine, scan', '', "s = scan('.')"]
    """
    names: dict[str, set[str]] = {}
    plain: set[str] = set()
    rest: list[str] = []
    for line in lines:
        found = re.fullmatch(r"from ([\w.]+) import ([\w, ]+)", line)
        if found:
            names.setdefault(found[1], set()).update(name.strip() for name in found[2].split(","))
        elif re.fullmatch(r"import [\w. ]+", line):
            plain.add(line)
        else:
            rest.append(line)
    while rest and not rest[0]:
        del rest[0]
    imports = [
        *sorted(plain),
        *(f"from {module} import {', '.join(sorted(found))}" for module, found in sorted(names.items())),
    ]
    return [*imports, *([""] if imports and rest else []), *rest]


def expression(value: Any) -> str | None:
    """Python that makes *value* again from its files; None where there is none."""
    if value is None:
        return "None"
    if isinstance(value, str | os.PathLike):
        return _opened_path(os.fspath(value))
    if isinstance(value, Session):
        options = {name: _literal(option) for name, option in value.asked.items()}
        return _call("scan", repr(str(value.folder)), options)
    if isinstance(value, xr.DataArray):
        return _array(value)
    if isinstance(value, xr.Dataset):
        return _dataset(value)
    if isinstance(value, Mapping):
        parts = {key: expression(part) for key, part in value.items()}
        items = [f"{key!r}: {part}" for key, part in parts.items()]
        return None if None in parts.values() else f"{{{', '.join(items)}}}"
    if isinstance(value, Sequence):
        listed = [expression(part) for part in value]
        return None if None in listed else f"[{', '.join(part for part in listed if part)}]"
    return None


def _opened_path(path: str) -> str:
    if Path(path).is_dir():
        return f"scan({path!r})"
    return (
        f"open_stack({path!r})"
        if glob.has_magic(path) and not Path(path).exists()
        else f"open_image({path!r})"
    )


# ---- pixels ---------------------------------------------------------------------------------------------------


def _array(array: xr.DataArray) -> str | None:
    root = _root(array)
    opened = opened_as(root)
    if opened is not None:
        paths = opened.paths if isinstance(opened.paths, str) else list(opened.paths)
        options = {name: _literal(value) for name, value in opened.options.items()}
        return _part(_call("open_stack", repr(paths), options), opened.labels, array)
    again = _opened_again(_result_path(array, root))
    names = [] if again is None else [str(name) for name in again.data_vars if _root(again[name]) == root]
    if again is None or not names:
        return None
    whole = again[names[0]]
    call = f"open_result({_result_path(array, root)!r})[{names[0]!r}]"
    return _part(call, xr.Dataset(coords=whole.coords, attrs=whole.attrs), array)


def _dataset(dataset: xr.Dataset) -> str | None:
    if "signal" not in dataset:
        return None
    first = next(iter(dataset.attrs.get("provenance", ())), {})
    path = _result_path(dataset["signal"], _root(dataset["signal"])) or "".join(first.get("inputs", ())[:1])
    again = _opened_again(path)
    if again is None or set(dataset.data_vars) - set(again.data_vars):
        return None
    kept = [str(name) for name in again.data_vars if name in dataset]
    if not all(_unchanged(dataset[name], again[name]) for name in kept):
        return None
    call = f"open_result({path!r})"
    if len(kept) < len(again.data_vars):
        again, call = again[kept], f"{call}[{kept!r}]"
    return _part(call, xr.Dataset(coords=again.coords, attrs=again.attrs), dataset)


def _opened_again(path: str) -> xr.Dataset | None:
    """The result in that file, if there is one."""
    if not path or not Path(path).is_file():
        return None
    with collected():  # was said when it was opened
        try:
            return open_result(path)
        except CalibkitError:
            return None


def _layers(array: xr.DataArray) -> list[str]:
    graph = getattr(array.data, "dask", None)
    return [] if graph is None else [name for name in graph.layers if not name.startswith(_CHOOSING)]


def _root(array: xr.DataArray) -> str:
    """Name of the dask array that all pixels come from as they are; "" when there is none."""
    names = _layers(array)
    return names[0] if len(names) == 1 else ""


def _unchanged(array: xr.DataArray, again: xr.DataArray) -> bool:
    """Whether nothing but a choice was done to the pixels: the same layers, but for what is random in their names."""
    steps, others = (
        [name if name.startswith("result-") else re.split(r"-[0-9a-f]{8}", name)[0] for name in _layers(one)]
        for one in (array, again)
    )
    return steps == others and (bool(steps) or array.identical(again))


def _result_path(array: xr.DataArray, root: str) -> str:
    """The file that a result's pixels come from as they are, "" when there is none."""
    if not root.startswith("result-"):
        return ""
    task = next(iter(array.data.dask.layers[root].values()))
    return next((str(part.path) for part in getattr(task, "args", task) if hasattr(part, "path")), "")


# ---- parts of them --------------------------------------------------------------------------------------------


def _part(call: str, labels: xr.Dataset, part: xr.DataArray | xr.Dataset) -> str | None:
    """*call* with the choice of frames, rows and columns that *part* holds, and with what was labelled anew."""
    chosen: dict[str, int | list[int]] = {}
    for dim, label in (("frame", "file"), ("y", "y"), ("x", "x")):
        if label not in labels.coords or labels[label].dims != (dim,):
            continue
        if label not in part.coords:
            return None
        places = {value: place for place, value in reversed(list(enumerate(labels[label].values.tolist())))}
        found = [places.get(value) for value in np.atleast_1d(part[label].values).tolist()]
        if None in found:
            return None
        positions = [place for place in found if place is not None]
        if part[label].ndim == 0:
            chosen[dim] = positions[0]
        elif positions != list(range(labels.sizes[dim])):
            chosen[dim] = positions
    if chosen:
        call = _call(f"{call}.isel", "", {dim: _index(at) for dim, at in chosen.items()})
    return _relabelled(call, labels.isel(chosen), part)


def _index(at: int | list[int]) -> str:
    if isinstance(at, int):
        return str(at)
    steps = {int(step) for step in np.diff(at)} or {1}
    step = steps.pop()
    if steps or step < 1:
        return repr(at)
    return f"slice({at[0]}, {at[-1] + 1})" if step == 1 else f"slice({at[0]}, {at[-1] + 1}, {step})"


def _relabelled(call: str, labels: xr.Dataset, part: xr.DataArray | xr.Dataset) -> str | None:
    """*call* with the coordinates and attributes that are no longer those of the file."""
    if set(labels.coords) - set(part.coords) or set(labels.attrs) - set(part.attrs):
        return None
    coords: dict[str, str | None] = {}
    for name, coord in part.coords.items():
        if name not in labels.coords or not coord.variable.identical(labels[name].variable):
            value = _literal(coord.values.tolist()) if coord.dtype.kind in "biufU" else None
            dims = f"{coord.dims!r}, " if coord.dims else ""
            coords[str(name)] = value and (f"({dims}{value})" if dims else value)
    attrs = {
        str(name): _literal(value)
        for name, value in part.attrs.items()
        if name not in labels.attrs or not _same(value, labels.attrs[name])
    }
    if None in coords.values() or None in attrs.values():
        return None
    if coords:
        call = _call(f"{call}.assign_coords", "", coords)
    return _call(f"{call}.assign_attrs", "", attrs) if attrs else call


def _same(one: Any, other: Any) -> bool:
    return one is other or (type(one) is type(other) and repr(one) == repr(other))


# ---- text -----------------------------------------------------------------------------------------------------


def _literal(value: Any) -> str | None:
    """Python for a plain value or a dataclass of these; None for anything else."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if is_dataclass(value) and not isinstance(value, type):
        changed = {
            f.name: getattr(value, f.name) for f in fields(value) if getattr(value, f.name) != f.default
        }
        return _call(type(value).__name__, "", {name: _literal(option) for name, option in changed.items()})
    if isinstance(value, Mapping):
        items = [f"{_literal(key)}: {_literal(part)}" for key, part in value.items()]
        return f"{{{', '.join(items)}}}"
    if isinstance(value, list | tuple):
        items = [str(_literal(part)) for part in value]
        if isinstance(value, list):
            return f"[{', '.join(items)}]"
        return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
    return None


def _call(function: str, first: str, options: Mapping[str, str | None]) -> str:
    return (
        f"{function}({', '.join([*([first] if first else []), *(f'{k}={v}' for k, v in options.items())])})"
    )


def wrapped(line: str) -> list[str]:
    """An assignment of a long list as several lines."""
    if len(line) <= _LINE:
        return [line]
    lists = [node for node in ast.walk(ast.parse(line).body[0]) if isinstance(node, ast.List) and node.elts]
    if not lists:
        return [line]
    first = min(lists, key=lambda node: node.col_offset)
    # the parser counts bytes, of which other letters than Latin ones have several
    text = line.encode()
    inside = [text[item.col_offset : item.end_col_offset].decode() for item in first.elts]
    before, after = text[: first.col_offset + 1].decode(), text[first.end_col_offset - 1 :].decode()
    return [before, *(f"    {item}," for item in inside), after]

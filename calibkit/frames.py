"""Frames as one labelled stack: opened lazily, refused when they do not belong together."""

from __future__ import annotations

import glob
import os
import uuid
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr

from calibkit import io
from calibkit.cfa.pattern import Pattern
from calibkit.errors import MismatchError, SettingError
from calibkit.io.source import FrameInfo, FrameSource, StackSource, told_pattern
from calibkit.memory import band_rows
from calibkit.meta import FRAME_COORDS, KINDS, known

#: dask array name → the reader behind it, for as long as the array lives.
_STACKS: weakref.WeakValueDictionary[str, StackSource] = weakref.WeakValueDictionary()

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Opened:
    """How a stack was asked for, and its coordinates and attributes as they came."""

    paths: str | list[str]
    options: dict[str, Any]
    labels: xr.Dataset


_OPENED: weakref.WeakKeyDictionary[StackSource, Opened] = weakref.WeakKeyDictionary()


def open_stack(
    paths: PathLike | Sequence[PathLike],
    *,
    kind: str | None = None,
    area: Literal["active", "full"] = "active",
    mixed: bool = False,
    cfa: str | None = None,
) -> xr.DataArray:
    """Open frames as one lazy stack.

    Only headers are read; pixels come by bands of rows when they are computed.

    Parameters
    ----------
    paths : path, pattern, or sequence of paths
        Frames in the order of the stack; a text such as ``"darks/*.fit"`` stands for the files that it
        matches, by name.
    kind : {"bias", "dark", "flat", "flat dark", "light"}, optional
        What the frames are, where the files do not say or say it wrongly.
    area : {"active", "full"}
        The light-sensitive area, or everything that is stored: overscan and masked margins too.
    mixed : bool
        Allow frames of several cameras, gains or number types. Sizes, places on the sensor, binning and
        colour patterns have to agree in any case.
    cfa : str, optional
        The colour filters, as `Pattern` takes them, where the files do not say or say it wrongly: ``""`` for a camera
        whose filters were removed, ``"RGGB"`` for FITS of a colour camera without a pattern. As everywhere, the
        pattern of sensor pixel (0, 0): the file's first pixel, unless it is a part of the sensor or has margins.

    Returns
    -------
    xarray.DataArray
        Dimensions ``(frame, y, x)`` in ADU, in the files' own number type, as a dask array in bands of rows.
        ``y`` and ``x`` are sensor pixel numbers, so that a crop keeps its colours. Coordinates along
        ``frame`` and attributes are those of `calibkit.meta`.

    Raises
    ------
    FrameFileError
        A file cannot be read as a frame.
    MismatchError
        The frames do not belong together.
    SettingError
        No path, a *kind* or *area* that does not exist, or a *cfa* that is no pattern.

    Examples
    --------
    >>> import calibkit
    >>> night = calibkit.sample_session("ccd")
    >>> darks = calibkit.open_stack(night / "darks/*")
    >>> dict(darks.sizes)
    {'frame': 11, 'y': 480, 'x': 640}
    >>> float(darks.isel(frame=0).mean())
    112.42908203125
    """
    if kind is not None and kind not in KINDS:
        msg = f"kind={kind!r}: allowed are {', '.join(repr(name) for name in KINDS)}"
        raise SettingError(msg)
    if area not in ("active", "full"):
        msg = f"area={area!r}: allowed are 'active' and 'full'"
        raise SettingError(msg)
    sources = [io.open_frame(path) for path in _listed(paths)]
    infos = [told_pattern(source.info, cfa) for source in sources]
    _refuse_mixture(infos, mixed=mixed)
    for source in sources[1:]:  # ten thousand headers would take more memory than the pixels being worked on
        source.info = replace(source.info, header={})
    dtype = np.result_type(*{info.dtype for info in infos})
    stack = StackSource(sources, area=area, dtype=dtype)
    array = _lazy_array(stack, period=Pattern(infos[0].cfa).period[0])
    top, left = infos[0].origin
    if area == "full":
        top, left = top - infos[0].active[0], left - infos[0].active[2]
    opened = xr.DataArray(
        array,
        dims=("frame", "y", "x"),
        coords={
            **{name: ("frame", _column(infos, name, kind)) for name in FRAME_COORDS},
            "y": top + np.arange(array.shape[1]),
            "x": left + np.arange(array.shape[2]),
        },
        attrs=_attrs(infos, told_pattern(sources[0].complete_info(), cfa)),
        name="signal",
    )
    asked = {"kind": (kind, None), "area": (area, "active"), "mixed": (mixed, False), "cfa": (cfa, None)}
    _OPENED[stack] = Opened(
        os.fspath(paths) if isinstance(paths, str | os.PathLike) else [str(info.path) for info in infos],
        {name: value for name, (value, default) in asked.items() if value != default},
        xr.Dataset(coords=opened.coords, attrs=opened.attrs),
    )
    return opened


def stack_source(stack: xr.DataArray) -> StackSource | None:
    """The reader behind a stack that comes straight from `open_stack`; None after any change of its pixels."""
    name = getattr(stack.data, "name", None)
    source = _STACKS.get(name) if isinstance(name, str) else None
    return source if source is not None and stack.shape == source.shape else None


def opened_as(array_name: str) -> Opened | None:
    """How the stack whose dask array has this name was opened; None once it is gone."""
    source = _STACKS.get(array_name)
    return None if source is None else _OPENED.get(source)


def _listed(paths: PathLike | Sequence[PathLike]) -> list[Path]:
    if isinstance(paths, str | os.PathLike):
        text = os.fspath(paths)
        if glob.has_magic(text) and not Path(text).exists():
            start = Path(Path(text).anchor)
            found = sorted(start.glob(str(Path(text).relative_to(start))))
            if not found:
                msg = f"{text}: no file matches this pattern"
                raise SettingError(msg)
            return found
        if Path(text).is_dir():
            msg = f"{text} is a folder: give its files, {text}/* for instance, or use calibkit.scan({text!r})"
            raise SettingError(msg)
        return [Path(text)]
    listed = [Path(path) for path in paths]
    if not listed:
        msg = "open_stack was given an empty list: it needs at least one frame"
        raise SettingError(msg)
    return listed


def _lazy_array(stack: StackSource, *, period: int) -> da.Array:
    count, height, width = stack.shape
    # Work on a frame holds about 16 bytes a pixel: data, signal, variance, flags and what is in between. To combine
    # calibrated frames takes a band of all of them at once.
    rows = band_rows(height, width, bytes_per_pixel=max(16, 5 * count), multiple=period)
    edges = [*range(0, height, rows), height]
    name = f"frames-{uuid.uuid4().hex}"
    graph: dict[object, object] = {
        (name, i, j, 0): (_read_block, stack.sources[i], stack.area, stack.dtype, edges[j], edges[j + 1])
        for i in range(count)
        for j in range(len(edges) - 1)
    }
    # No block needs this one: it keeps the reader as long as the array. A block holds its own frame's
    # source alone, so that a cluster is sent one file's worth of facts with every task.
    graph[f"reader-of-{name}"] = stack
    chunks = ((1,) * count, tuple(np.diff(edges).tolist()), (width,))
    _STACKS[name] = stack
    return da.Array(graph, name, chunks, dtype=stack.dtype)


def _read_block(source: FrameSource, area: str, dtype: np.dtype, y0: int, y1: int) -> np.ndarray:
    return source.read(y0, y1, area=area)[None].astype(dtype, copy=False)


def _column(infos: list[FrameInfo], name: str, kind: str | None) -> np.ndarray:
    if name == "file":
        return np.array([str(info.path) for info in infos], dtype=object).astype(str)
    if name == "kind" and kind is not None:
        return np.array([kind] * len(infos))
    return np.array([getattr(info, name) for info in infos])


def _attrs(infos: list[FrameInfo], first: FrameInfo) -> dict[str, object]:
    cameras = {info.camera for info in infos if info.camera}
    stated = {info.saturation for info in infos if known(info.saturation)}
    # Camera RAW only tells its white level when it is decoded, which is done for the first frame.
    levels = {first.saturation} if len(stated) <= 1 else stated | {first.saturation}
    attrs: dict[str, object] = {
        "units": "adu",
        "camera": cameras.pop() if len(cameras) == 1 else "",
        "cfa": first.cfa,
        "saturation": min(levels),
        "pedestal": first.pedestal,
        "binning": first.binning,
        "read_noise": first.read_noise,
        "roworder": first.roworder,
        "header": dict(first.header),
    }
    if first.black:
        attrs["black"] = dict(first.black)
    if first.white_balance:
        attrs["white_balance"] = dict(first.white_balance)
    if first.camera_matrix:
        attrs["camera_matrix"] = [list(row) for row in first.camera_matrix]
    return attrs


#: What has to agree: field, its name in a message, how it is written, whether mixed=True lets it differ.
_MUST_AGREE = (
    ("shape", "size", lambda v: f"{v[1]} × {v[0]}", False),
    ("full_shape", "stored size", lambda v: f"{v[1]} × {v[0]}", False),
    ("origin", "place on the sensor (x, y)", lambda v: f"{v[1]}, {v[0]}", False),
    ("binning", "binning", lambda v: f"{v[1]} × {v[0]}", False),
    ("cfa", "colour pattern", lambda v: v or "none", False),
    ("roworder", "row order", str, False),
    ("pedestal", "pedestal", lambda v: f"{v:g} ADU", False),
    ("dtype", "number type", str, True),
    ("camera", "camera", str, True),
    ("gain_setting", "gain setting", lambda v: f"{v:g}", True),
    ("gain", "gain", lambda v: f"{v:g} e⁻/ADU", True),
)


def _refuse_mixture(infos: list[FrameInfo], *, mixed: bool) -> None:
    for field, title, written, may_differ in _MUST_AGREE:
        if mixed and may_differ:
            continue
        groups: dict[object, list[FrameInfo]] = {}
        for info in infos:
            value = getattr(info, field)
            if field in ("camera", "gain", "gain_setting", "roworder") and not known(value):
                continue
            groups.setdefault(value, []).append(info)
        if len(groups) > 1:
            lines = [_group_line(written(value), members) for value, members in groups.items()]
            hint = "Open each group as its own stack" + (", or give mixed=True." if may_differ else ".")
            msg = f"the frames differ in {title}:\n" + "\n".join(lines) + f"\n{hint}"
            raise MismatchError(msg)


def _group_line(value: str, members: list[FrameInfo]) -> str:
    names = [info.path.name for info in members[:3]]
    more = f" and {len(members) - 3} more" if len(members) > 3 else ""
    return f"  {value:<20} {', '.join(names)}{more}"

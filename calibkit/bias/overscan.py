"""Overscan: columns that are read out but see no light tell the offset of every row."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import xarray as xr

from calibkit.calibration.checks import check_frame
from calibkit.errors import MismatchError, SettingError
from calibkit.io.keywords import active_area, section_of
from calibkit.memory import band_rows

#: Overscan pixels further from the median of their row than this many robust sigma do not count.
_CLIP = 4.0
_MAD = 1.4826022185056018
#: Rounding to whole ADU makes the robust scatter of quiet frames 0; this many ADU are assumed at least.
_LEAST_SIGMA = 0.5
#: Columns whose mean differs from the others' by this many sigma of a single pixel hold light.
_LIT = 10.0
#: A row's level needs so many pixels.
_LEAST_COLUMNS = 4
#: Fewer rows do not tell a lit column from a wild pixel.
_ENOUGH_ROWS = 16

Columns = tuple[int, int]


@dataclass(frozen=True)
class _Tap:
    """One amplifier: its overscan columns and the columns that it reads, counted from 0, ends excluded."""

    overscan: Columns
    active: Columns


@dataclass(frozen=True)
class _Plan:
    taps: tuple[_Tap, ...]
    rows: Columns
    edges: tuple[int, ...]  # first rows of the parts that are smoothed on their own, and the end
    smooth: int
    widths: tuple[
        float, ...
    ] = ()  # ADU from the median of a row, by amplifier, beyond which a pixel does not count
    saturation: float = math.nan  # of the raw frame
    new_saturation: float = math.nan

    @property
    def columns(self) -> Columns:
        """The columns that stay."""
        return min(tap.active[0] for tap in self.taps), max(tap.active[1] for tap in self.taps)


def subtract_overscan(
    stack: xr.DataArray,
    *,
    columns: Columns | Sequence[tuple[Columns, Columns]] | None = None,
    active: tuple[int, int, int, int] | None = None,
    level: Literal["rows", "constant"] = "rows",
    smooth: int = 1,
    row_breaks: Sequence[int] = (),
) -> xr.DataArray:
    """Subtract from each row the level of its overscan, and cut the frame to its active area.

    Parameters
    ----------
    stack : xarray.DataArray
        Raw frame ``(y, x)`` or stack ``(frame, y, x)`` in ADU with its overscan, as ``open_stack(…, area="full")`` gives
        it; lazy or in memory.
    columns : (int, int), or sequence of ((int, int), (int, int)), optional
        Overscan columns (first, end), counted from 0 in *stack*, end excluded. For several amplifiers, pairs of overscan
        columns and the columns that they belong to. By default the header's BIASSEC.
    active : (int, int, int, int), optional
        Rows and columns (y0, y1, x0, x1) that see light, ends excluded. By default the header's TRIMSEC, or all rows
        and what lies beside the overscan.
    level : {"rows", "constant"}
        A level for each row, or one for each frame and amplifier.
    smooth : int
        Odd number of rows over which the levels are averaged: as much less noise, while steps from row to row stay in
        the frame.
    row_breaks : sequence of int
        Rows at which another amplifier begins, counted from 0: levels are not averaged across them.

    Returns
    -------
    xarray.DataArray
        float32 ADU, lazy where *stack* is, with its sensor coordinates. ``attrs["overscan_subtracted"]`` is true and
        ``pedestal`` 0: the offset is known to be 0, but what the bias has of structure is still there, so a bias
        (from frames treated alike) may be subtracted. `calibrate`, `combine` and the masters know such frames.

    Raises
    ------
    SettingError
        Columns, rows or a smoothing that cannot be, or columns that hold light.
    MismatchError
        No overscan is named, by the call or the header, or the stack was opened without it.

    Notes
    -----
    A row's level is the mean of its overscan pixels within 4 robust σ of their median. Its error, σ/√n for n columns,
    is common to the row's pixels; ``smooth`` and ``level="constant"`` make it smaller. The first columns after the active
    area often hold charge that trails behind: leave them out. A sample that is saturated stays at or above the new
    saturation level.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> raw = np.full((6, 40), 1000, "u2")
    >>> raw[:, 8:] += 500
    >>> frame = xr.DataArray(raw, dims=("y", "x"), coords={"y": range(6), "x": range(-8, 32)})
    >>> result = subtract_overscan(frame, columns=(0, 8))
    >>> result.shape, float(result.mean()), int(result.x[0])
    ((6, 32), 500.0, 0)
    """
    stack = check_frame(stack, "subtract_overscan")
    if stack.attrs.get("overscan_subtracted", False):
        msg = "subtract_overscan: the overscan was subtracted from these frames already"
        raise MismatchError(msg)
    if level not in ("rows", "constant"):
        msg = f"level={level!r}: allowed are 'rows' and 'constant'"
        raise SettingError(msg)
    frames = stack if "frame" in stack.dims else stack.expand_dims("frame")
    plan = _plan(frames, columns, active, smooth, row_breaks)
    sample = np.asarray(frames.data[0, slice(*plan.rows)])
    plan = replace(plan, widths=tuple(_width(sample, tap) for tap in plan.taps))
    first = _levels(sample, plan, plan.rows[0])
    plan = _with_saturation(plan, frames, first)
    constants = None
    if level == "constant":
        later = (
            _levels(np.asarray(frame[slice(*plan.rows)]), plan, plan.rows[0]) for frame in frames.data[1:]
        )
        constants = np.stack([_by_part(rows, plan) for rows in itertools.chain([first], later)])
    run = _run_lazily if hasattr(frames.data, "dask") else _run_now
    data = run(frames.data, plan, constants)
    x0, x1 = plan.columns
    result = frames.isel(y=slice(*plan.rows), x=slice(x0, x1)).copy(data=data)
    step: dict[str, Any] = {
        "step": "subtract overscan",
        "level": level,
        "columns": [list(tap.overscan) for tap in plan.taps],
        "adu": [round(float(np.nanmedian(row)), 3) for row in first],
        "inputs": [],
    }
    if smooth > 1:
        step["smoothed over rows"] = smooth
    attrs = stack.attrs | {
        "pedestal": 0.0,
        "saturation": plan.new_saturation,
        "overscan_subtracted": True,
        "provenance": [*stack.attrs.get("provenance", []), step],
    }
    attrs.pop("black", None)
    result.attrs = attrs
    return result if "frame" in stack.dims else result.isel(frame=0, drop="frame" not in stack.coords)


def _plan(
    frames: xr.DataArray,
    columns: Columns | Sequence[tuple[Columns, Columns]] | None,
    active: tuple[int, int, int, int] | None,
    smooth: int,
    row_breaks: Sequence[int],
) -> _Plan:
    height, width = frames.shape[1:]
    header = frames.attrs.get("header", {})
    if active is None:
        active = active_area(header, (height, width))
        stated = active != (0, height, 0, width)
    else:
        active, stated = tuple(int(n) for n in active), True
    y0, y1, x0, x1 = active
    if not (0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width):
        msg = f"active={active!r}: rows y0 < y1 and columns x0 < x1 within {height} rows and {width} columns are wanted"
        raise SettingError(msg)
    if columns is None:
        taps = (_Tap(_bias_section(header, (height, width), active), (x0, x1)),)
    elif len(columns) == 2 and all(isinstance(n, int | np.integer) for n in columns):
        overscan = _range(columns, width, "columns")
        taps = (_Tap(overscan, (x0, x1) if stated else _beside(overscan, width)),)
    else:
        taps = tuple(
            _Tap(_range(overscan, width, "columns"), _range(served, width, "columns served by an overscan"))
            for overscan, served in columns
        )
    _check_taps(taps)
    if not (isinstance(smooth, int | np.integer) and 1 <= smooth <= y1 - y0 and smooth % 2):
        msg = f"smooth={smooth!r}: an odd number of rows from 1 to {y1 - y0} is wanted"
        raise SettingError(msg)
    inner = sorted({int(row) for row in row_breaks})
    if inner and not (y0 < inner[0] and inner[-1] < y1):
        msg = f"row_breaks={list(row_breaks)!r}: rows between {y0} and {y1} are wanted"
        raise SettingError(msg)
    return _Plan(taps, (y0, y1), (y0, *inner, y1), int(smooth))


def _bias_section(
    header: dict[str, Any], shape: tuple[int, int], active: tuple[int, int, int, int]
) -> Columns:
    text = header.get("BIASSEC")
    stored = header.get("NAXIS1"), header.get("NAXIS2")
    if text and all(isinstance(n, int) for n in stored) and stored != (shape[1], shape[0]):
        msg = (
            f"subtract_overscan: the header's BIASSEC counts the file's {stored[0]} × {stored[1]} pixels, the stack has "
            f"{shape[1]} × {shape[0]}: open it with open_stack(…, area='full'), or give columns="
        )
        raise MismatchError(msg)
    section = section_of(header, "BIASSEC", shape)
    if section is None:
        why = f"its BIASSEC is {text!r}, no part of it" if text else "its header has no BIASSEC"
        msg = (
            f"subtract_overscan: where the overscan of this frame of {shape[1]} × {shape[0]} pixels lies is not known, {why}; "
            "open it with open_stack(…, area='full') and give columns=(first, end)"
        )
        raise MismatchError(msg)
    y0, y1, x0, x1 = section
    if y0 > active[0] or y1 < active[1]:
        msg = (
            f"subtract_overscan: BIASSEC = {text} does not lie beside all rows of the active area ({active[0]} to "
            f"{active[1]}); only columns beside the rows tell their level. Give columns="
        )
        raise SettingError(msg)
    return _range((x0, x1), shape[1], "BIASSEC")


def _range(columns: Sequence[int], width: int, name: str) -> Columns:
    first, end = (int(n) for n in columns)
    if not 0 <= first < end <= width:
        msg = f"{name}={tuple(columns)!r}: a first column and an end within 0 to {width} are wanted"
        raise SettingError(msg)
    return first, end


def _beside(overscan: Columns, width: int) -> Columns:
    """What lies beside an overscan at one edge of the frame."""
    if overscan[0] == 0 and overscan[1] < width:
        return overscan[1], width
    if overscan[1] == width and overscan[0] > 0:
        return 0, overscan[0]
    msg = (
        f"columns={overscan!r}: this overscan lies at neither edge of the frame of {width} columns, so that the active area is "
        "not known; give active=(y0, y1, x0, x1)"
    )
    raise SettingError(msg)


def _check_taps(taps: tuple[_Tap, ...]) -> None:
    served = sorted(tap.active for tap in taps)
    for (_, end), (start, _) in itertools.pairwise(served):
        if end != start:
            msg = f"columns: the columns that the overscans belong to, {served}, have to follow each other without gap or overlap"
            raise SettingError(msg)
    for tap, other in itertools.product(taps, taps):
        if max(tap.overscan[0], other.active[0]) < min(tap.overscan[1], other.active[1]):
            msg = f"columns: overscan {tap.overscan} lies inside the active columns {other.active}"
            raise SettingError(msg)
        if tap.overscan[1] - tap.overscan[0] < _LEAST_COLUMNS:
            msg = f"columns: overscan {tap.overscan} is narrower than {_LEAST_COLUMNS} columns; a row's level needs more"
            raise SettingError(msg)


def _width(values: np.ndarray, tap: _Tap) -> float:
    """How far from the median of its row an overscan pixel may lie."""
    part = values[:, slice(*tap.overscan)].astype(np.float64)
    part -= np.nanmedian(part, axis=1, keepdims=True)
    return _CLIP * max(_MAD * float(np.nanmedian(np.abs(part))), _LEAST_SIGMA)


def _refuse_light(part: np.ndarray, tap: _Tap, width: float) -> None:
    """Refuse columns that differ from the others of their overscan; *part* is about the medians of the rows."""
    sigma = width / _CLIP
    columns = np.nanmedian(part, axis=0)
    columns -= np.median(columns)
    lit = np.flatnonzero(np.abs(columns) > _LIT * sigma)
    if lit.size:
        names = ", ".join(str(tap.overscan[0] + i) for i in lit[:8].tolist())
        msg = (
            f"columns: in the overscan {tap.overscan}, column {names}{' and more' if lit.size > 8 else ''} differ by up to "
            f"{np.abs(columns).max():.0f} ADU from the others, at a noise of {sigma:.1f} ADU: they hold light or trailing "
            "charge. Leave them out"
        )
        raise SettingError(msg)


def _levels(values: np.ndarray, plan: _Plan, top: int) -> np.ndarray:
    """Level of every row, shape (tap, row), of *values*, whose first row is row *top* of the frame."""
    levels = []
    for tap, width in zip(plan.taps, plan.widths, strict=True):
        part = values[:, slice(*tap.overscan)].astype(np.float64)
        away = part - np.nanmedian(part, axis=1, keepdims=True)
        if len(part) >= _ENOUGH_ROWS:
            _refuse_light(away, tap, width)
        near = np.abs(away) <= width
        count = near.sum(axis=1)
        rows = np.divide(
            np.where(near, part, 0.0).sum(axis=1), count, out=np.full(count.size, math.nan), where=count > 0
        )
        levels.append(_smoothed(rows, plan, top))
    return np.stack(levels)


def _smoothed(rows: np.ndarray, plan: _Plan, top: int) -> np.ndarray:
    """Running mean over ``plan.smooth`` rows, cut at the breaks."""
    if plan.smooth == 1:
        return rows
    out = np.empty_like(rows)
    half = plan.smooth // 2
    for start, stop in itertools.pairwise(plan.edges):
        a, b = max(start - top, 0), min(stop - top, rows.size)
        if a >= b:
            continue
        total = np.concatenate([[0.0], np.cumsum(rows[a:b])])
        index = np.arange(b - a)
        low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, b - a)
        out[a:b] = (total[high] - total[low]) / (high - low)
    return out


def _by_part(levels: np.ndarray, plan: _Plan) -> np.ndarray:
    """Mean level (tap, part) of the rows between two breaks."""
    parts = [slice(a - plan.rows[0], b - plan.rows[0]) for a, b in itertools.pairwise(plan.edges)]
    return np.stack([np.nanmean(levels[:, part], axis=1) for part in parts], axis=1)


def _with_saturation(plan: _Plan, frames: xr.DataArray, first: np.ndarray) -> _Plan:
    raw = float(frames.attrs.get("saturation", math.nan))
    if math.isnan(raw) and frames.dtype.kind == "u" and frames.dtype.itemsize <= 2:
        raw = float(np.iinfo(frames.dtype).max)
    new = math.floor(raw - float(np.nanmax(first))) if math.isfinite(raw) else math.nan
    return replace(plan, saturation=raw, new_saturation=float(new))


def _subtract(values: np.ndarray, levels: np.ndarray, plan: _Plan) -> np.ndarray:
    """*values* (row, column) of whole rows less *levels* (tap, row), cut to the active columns."""
    x0, x1 = plan.columns
    out = np.empty((len(values), x1 - x0), np.float32)
    for tap, level in zip(plan.taps, levels, strict=True):
        part = values[:, slice(*tap.active)]
        target = out[:, tap.active[0] - x0 : tap.active[1] - x0]
        target[...] = part - level[:, None]
        if math.isfinite(plan.saturation):
            full = part >= plan.saturation
            target[full] = np.maximum(target[full], np.float32(plan.new_saturation))
    return out


def _band(
    values: np.ndarray, plan: _Plan, top: int, y0: int, y1: int, constants: np.ndarray | None
) -> np.ndarray:
    """Rows *y0* to *y1* of the frame; *values* begins at row *top* and may have more rows for the smoothing."""
    inside = slice(y0 - top, y1 - top)
    if constants is not None:
        levels = np.repeat(constants, np.diff(plan.edges), axis=1)[:, y0 - plan.rows[0] : y1 - plan.rows[0]]
    else:
        levels = _levels(values, plan, top)[:, inside]
    return _subtract(values[inside], levels, plan)


def _run_now(data: np.ndarray, plan: _Plan, constants: np.ndarray | None) -> np.ndarray:
    (y0, y1), (x0, x1) = plan.rows, plan.columns
    out = np.empty((len(data), y1 - y0, x1 - x0), np.float32)
    for i, frame in enumerate(data):
        out[i] = _band(frame[y0:y1], plan, y0, y0, y1, None if constants is None else constants[i])
    return out


def _run_lazily(data: Any, plan: _Plan, constants: np.ndarray | None) -> Any:
    """Dask bands: rows of the light's own chunks, with a few more at their ends where levels are smoothed."""
    import dask
    import dask.array as da

    work = dask.delayed(_band, pure=False)
    (first, last), (x0, x1) = plan.rows, plan.columns
    rows = band_rows(last - first, data.shape[2], bytes_per_pixel=16)
    ends = np.cumsum(data.chunks[1]).tolist()
    edges = sorted({first, last, *(end for end in ends if first < end < last)})
    if len(edges) == 2 and rows < last - first:
        edges = [*range(first, last, rows), last]
    half = plan.smooth // 2 if constants is None else 0
    stack = []
    for i in range(data.shape[0]):
        parts = []
        for y0, y1 in itertools.pairwise(edges):
            above, below = max(first, y0 - half), min(last, y1 + half)
            made = work(
                data[i, above:below], plan, above, y0, y1, None if constants is None else constants[i]
            )
            parts.append(da.from_delayed(made, (y1 - y0, x1 - x0), np.float32))
        stack.append(da.concatenate(parts))
    return da.stack(stack)

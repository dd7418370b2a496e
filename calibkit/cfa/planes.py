"""The planes of a mosaic and the mosaic back from them, exactly.

A plane is one site of the pattern's cell: every py-th row and px-th column. Nothing is interpolated, so
planes and mosaic hold the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from calibkit.cfa.blocks import join_bands, split_bands
from calibkit.cfa.pattern import Pattern
from calibkit.cfa.phase import origin, pattern_of
from calibkit.errors import SettingError
from calibkit.flags import NO_DATA

Frames = TypeVar("Frames", xr.DataArray, xr.Dataset)
#: Sensor row and column after the last ones of the mosaic: what lies beyond in the planes is padding.
END = "cfa_end"
#: Type of the mosaic's numbers, where padding made the planes floating point.
DTYPE = "cfa_dtype"
_PLANE_COORDS = ("channel", "colour", "dy", "dx")


def one_channel(obj: Frames, name: str) -> Frames:
    """Pixels of one site of the pattern, as a view without a copy.

    Parameters
    ----------
    obj : xarray.DataArray or xarray.Dataset
        Mosaic with dims (…, y, x).
    name : str
        A channel; in patterns whose channels have several sites (X-Trans) the name of a site, e.g. ``"G3"``.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        Same dims; ``y`` and ``x`` are the sensor pixels of that site, ``channel`` is a scalar coordinate.
        Numpy data share memory with *obj*, dask data stay lazy.

    Raises
    ------
    SettingError
        If there is no such channel, or it has several sites.
    """
    pattern = pattern_of(obj)
    if name not in pattern.site_names:
        several = name in pattern.channels or name in pattern.colours
        sites = [n for n in pattern.site_names if several and n.rstrip("0123456789") == name]
        why = (
            f"lies on {len(sites)} pixels of each cell, which is no regular grid"
            if several
            else "is not there"
        )
        msg = f"pattern {pattern}: channel {name!r} {why}. Take one of {', '.join(sites or pattern.site_names)}, "
        raise SettingError(msg + "all as frame.cfa.planes(), or a mask with frame.cfa.channel_mask(name)")
    (dy, dx), (py, px) = _offsets(obj, pattern)[pattern.site_names.index(name)], pattern.period
    view = obj.isel(y=slice(dy, None, py), x=slice(dx, None, px))
    return view.assign_coords(channel=name).assign_attrs(cfa="")


def channel_mask(obj: xr.DataArray | xr.Dataset, name: str) -> xr.DataArray:
    """Which pixels of *obj* carry a channel, a site or a colour.

    Parameters
    ----------
    obj : xarray.DataArray or xarray.Dataset
        Mosaic with dims (…, y, x).
    name : str
        A channel (``"G1"``), a site of a larger cell (``"G3"``), or a letter (``"G"``: every green).

    Returns
    -------
    xarray.DataArray
        Boolean, dims (y, x), with the sensor pixel numbers of *obj*.

    Raises
    ------
    SettingError
        If there is no such channel.
    """
    pattern = pattern_of(obj)
    y0, x0 = origin(obj, pattern)
    chosen = [s for s, n in zip(pattern.sites, pattern.site_names, strict=True) if n == name]
    if not chosen:
        chosen = [(int(y), int(x)) for y, x in np.argwhere(pattern.label_letters == name)]
    if not chosen:
        known = dict.fromkeys([*pattern.channels, *pattern.site_names, *pattern.colours])
        msg = f"pattern {pattern}: channel {name!r} is not there; there are {', '.join(known)}"
        raise SettingError(msg)
    (py, px), (ny, nx) = pattern.period, (obj.sizes["y"], obj.sizes["x"])
    cell = np.zeros((py, px), dtype=bool)
    cell[tuple(np.transpose(chosen))] = True
    cell = np.roll(cell, (-y0, -x0), (0, 1))
    mask = np.tile(cell, (-(-ny // py), -(-nx // px)))[:ny, :nx]
    return xr.DataArray(mask, dims=("y", "x"), coords={d: obj.coords[d] for d in "yx" if d in obj.coords})


def planes(obj: Frames) -> Frames:
    """Every site of the pattern as a plane along the new dimension ``channel``.

    Parameters
    ----------
    obj : xarray.DataArray or xarray.Dataset
        Mosaic with dims (…, y, x), cropped or not.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        Dims (…, channel, y, x). ``y`` and ``x`` are the sensor pixel of each cell's first row and column, and
        ``dy``, ``dx`` along ``channel`` what to add for the plane's own pixel; ``colour`` is the letter.
        A 2 × 2 pattern has 4 planes, mono 1, X-Trans 36, named by site. Lazy data stay lazy.

    Raises
    ------
    SettingError
        If ``y`` or ``x`` do not number consecutive sensor pixels, or the padding cannot be represented.

    Notes
    -----
    Sizes that are no multiple of the cell are padded: with NaN (integers become floating point, and
    `mosaic` makes them integers again), flags with ``no_data``. Otherwise the type is kept. The planes are a
    copy, because four interleaved grids in the order R, G1, G2, B have no common stride; ``frame.cfa["R"]`` is
    the view without a copy.
    """
    pattern = pattern_of(obj)
    offsets, (py, px) = _offsets(obj, pattern), pattern.period
    ny, nx = obj.sizes["y"], obj.sizes["x"]
    y0, x0 = origin(obj, pattern)
    beside = [str(n) for n, c in obj.coords.items() if n not in ("y", "x") and {"y", "x"} & set(c.dims)]
    taken = [n for n in _PLANE_COORDS if n in obj.coords or n in obj.dims]
    if beside or taken:
        msg = f"the coordinates {', '.join(beside + taken)} are in the way of planes; drop them first (drop_vars)"
        raise SettingError(msg)
    padded = bool(ny % py or nx % px)

    def one(variable: xr.DataArray) -> xr.Variable:
        dtype, fill = _padding(variable) if padded else (variable.dtype, 0)
        variable = variable.transpose(..., "y", "x")
        data = split_bands(variable.data, offsets=offsets, period=(py, px), to=dtype, fill=fill)
        attrs = dict(variable.attrs) | ({DTYPE: variable.dtype.str} if dtype != variable.dtype else {})
        return xr.Variable((*variable.dims[:-2], "channel", "y", "x"), data, attrs)

    coords: dict[str, Any] = {n: c.variable for n, c in obj.coords.items() if n not in ("y", "x")}
    for dim, step in (("y", py), ("x", px)):
        if dim in obj.coords:
            coords[dim] = obj.coords[dim].variable[::step]
    coords["channel"] = list(pattern.site_names)
    coords["colour"] = ("channel", [str(pattern.label_letters[site]) for site in pattern.sites])
    coords["dy"] = ("channel", [dy for dy, _ in offsets])
    coords["dx"] = ("channel", [dx for _, dx in offsets])
    return _rebuilt(obj, one, coords).assign_attrs({END: (y0 + ny, x0 + nx)})


def mosaic(planes: Frames, *, dtype: Any = None) -> Frames:
    """The mosaic back from its planes: the same numbers, coordinates, type and crop.

    Parameters
    ----------
    planes : xarray.DataArray or xarray.Dataset
        From `planes`, possibly worked on or cropped, dims (…, channel, y, x). The planes may be in any order.
    dtype : dtype, optional
        Type of the result. By default that of *planes*, or of the frame before padding made it floating point.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        Dims (…, y, x).

    Raises
    ------
    SettingError
        If a plane is missing or twice, or when whole numbers are wanted back but the planes hold others.
    """
    missing = [n for n in ("channel", "dy", "dx") if n not in planes.coords]
    missing += [END] if END not in planes.attrs else []
    if missing or "channel" not in planes.dims:
        msg = (
            "mosaic needs all the planes as frame.cfa.planes() made them; "
            f"missing {', '.join(missing or ['the dimension channel'])}. Arithmetic of older versions of xarray drops "
            "attributes: use xarray.set_options(keep_attrs=True)"
        )
        raise SettingError(msg)
    pattern = pattern_of(planes)
    py, px = pattern.period
    dys, dxs = (planes.coords[n].values.tolist() for n in ("dy", "dx"))
    offsets = list(zip(dys, dxs, strict=True))
    if sorted(offsets) != [(i, j) for i in range(py) for j in range(px)]:
        have = ", ".join(map(str, planes.coords["channel"].values.tolist()))
        msg = f"pattern {pattern}: a mosaic needs each of the planes {', '.join(pattern.site_names)} once; found {have}"
        raise SettingError(msg)

    coords: dict[str, Any] = {
        n: c.variable for n, c in planes.coords.items() if "channel" not in c.dims and n not in ("y", "x")
    }
    keep = {}
    for dim, step, end in zip("yx", (py, px), planes.attrs[END], strict=True):
        size = planes.sizes[dim] * step
        if dim in planes.coords:
            cell = planes.coords[dim].variable
            numbers = (
                cell.values
                if step == 1
                else (cell.values[:, None] + np.arange(step)).astype(cell.dtype).ravel()
            )
            size = size if step == 1 else int(np.count_nonzero(numbers < end))
            coords[dim] = xr.Variable((dim,), numbers[:size], cell.attrs)
        keep[dim] = size

    def one(variable: xr.DataArray) -> xr.Variable:
        variable = variable.transpose(..., "channel", "y", "x")
        attrs = dict(variable.attrs)
        wanted = np.dtype(dtype if dtype is not None else attrs.get(DTYPE, variable.dtype))
        attrs.pop(DTYPE, None)
        shape = (keep["y"], keep["x"])
        data = join_bands(variable.data, offsets=offsets, period=(py, px), shape=shape, to=wanted)
        return xr.Variable((*variable.dims[:-3], "y", "x"), data, attrs)

    result = _rebuilt(planes, one, coords)
    del result.attrs[END]
    return result


def _offsets(obj: xr.DataArray | xr.Dataset, pattern: Pattern) -> list[tuple[int, int]]:
    """Row and column of every site of the pattern in the first cell of *obj*."""
    (y0, x0), (py, px) = origin(obj, pattern), pattern.period
    return [((sy - y0) % py, (sx - x0) % px) for sy, sx in pattern.sites]


def _padding(variable: xr.DataArray) -> tuple[np.dtype, Any]:
    """Type that can hold the padding next to every value of *variable*, and the padding."""
    dtype = variable.dtype
    if variable.name == "flags" and dtype.kind in "iu":
        return dtype, NO_DATA
    if dtype.kind not in "biufc":
        msg = f"planes of a frame whose size is no multiple of the cell are padded with NaN, which {dtype} cannot hold"
        raise SettingError(msg)
    return np.result_type(dtype, np.float32) if dtype.kind in "biu" else dtype, np.nan


def _rebuilt(obj: Frames, one: Callable[[xr.DataArray], xr.Variable], coords: dict) -> Frames:
    """*obj* with *one* applied to whatever has rows and columns, and new coordinates."""
    if isinstance(obj, xr.DataArray):
        return xr.DataArray(one(obj), coords=coords).rename(obj.name)
    variables = {
        name: one(v) if {"y", "x"} <= set(v.dims) else v.variable for name, v in obj.data_vars.items()
    }
    return xr.Dataset(variables, coords=coords, attrs=dict(obj.attrs))

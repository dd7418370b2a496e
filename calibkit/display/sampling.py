"""A few of the real pixels of a stack, for numbers that have to follow a slider.

Averages have other statistics than pixels: what a rejection does, how noisy a result is, how many pixels are
hot can only be seen on the pixels themselves. So a panel works on single pixels of a regular lattice, in memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from calibkit.cfa import pattern_of
from calibkit.errors import SettingError
from calibkit.progress import Progress, silent

#: Pixels of each frame that a sample has at most.
SAMPLE_PIXELS = 300_000
#: Rows that are read at a time from what can only be read from front to back.
_BAND = 64

Stack = xr.DataArray | xr.Dataset
Region = tuple[float, float, float, float]


def sample_region(
    stack: Stack, region: Region | None = None, *, most: int = SAMPLE_PIXELS, progress: Progress = silent
) -> Stack:
    """Single pixels of *region* on a regular lattice, in memory.

    Parameters
    ----------
    stack : xarray.DataArray or xarray.Dataset
        Frames ``(frame, y, x)`` or one frame ``(y, x)``, lazy or not; of a Dataset every variable is sampled.
    region : tuple of float, optional
        Edges in sensor pixels, (x0, x1, y0, y1); the whole frame when not given.
    most : int
        Pixels of each frame at most. A region with fewer is taken whole.
    progress : callable
        ``progress(done, total, what)`` over the frames; may raise `Cancelled`.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        As *stack*, with the sensor numbers of the pixels in ``y`` and ``x``. Their distance is the same everywhere
        and in both directions, and so that the filters of the lattice follow each other as on the sensor: every
        channel has its share, and `channel_index`, `combine` and the image viewer take it for a frame.

    Raises
    ------
    SettingError
        No pixel lies in the region, or *most* is less than one cell of the pattern.

    Notes
    -----
    The step is 1, or a whole number of cells and one pixel. Neighbours in a sample are not neighbours on the sensor:
    nothing that compares a pixel with those beside it (`repair`, `find_defects`) means anything there.

    Examples
    --------
    >>> import numpy as np
    >>> frame = xr.DataArray(np.zeros((400, 600)), coords={"y": range(400), "x": range(600)}, dims=("y", "x"))
    >>> sample = sample_region(frame.assign_attrs(cfa="RGGB"), most=10_000)
    >>> sample.shape, sample.x.values[:4].tolist()
    ((80, 120), [0, 5, 10, 15])
    """
    rows, columns = _lines(stack, region)
    period = pattern_of(stack).period
    if most < period[0] * period[1]:
        msg = f"most={most}: a sample has at least one cell of the pattern, {period[0] * period[1]} pixels"
        raise SettingError(msg)
    step, jump = 1, math.lcm(*period)
    while math.ceil(rows.size / step) * math.ceil(columns.size / step) > most:
        step += jump
    rows, columns = rows[::step], columns[::step]
    signal = stack["signal"] if isinstance(stack, xr.Dataset) else stack
    values = _from_files(signal, rows, columns, progress)
    if values is None:
        return _from_arrays(stack, rows, columns)
    return stack.isel(y=rows, x=columns).copy(data=values)


def _lines(stack: Stack, region: Region | None) -> tuple[np.ndarray, np.ndarray]:
    """Places of the rows and columns that lie in the region."""
    places = [np.arange(stack.sizes[dim]) for dim in ("y", "x")]
    if region is not None:
        edges = (sorted(region[2:]), sorted(region[:2]))
        for axis, (dim, (low, high)) in enumerate(zip(("y", "x"), edges, strict=True)):
            numbers = stack.coords[dim].values if dim in stack.coords else places[axis]
            places[axis] = np.flatnonzero((numbers >= low) & (numbers <= high))
    if not (places[0].size and places[1].size):
        msg = f"no pixel of the {stack.sizes['x']} × {stack.sizes['y']} lies in the region {region}"
        raise SettingError(msg)
    return places[0], places[1]


def _from_files(
    stack: xr.DataArray, rows: np.ndarray, columns: np.ndarray, progress: Progress
) -> np.ndarray | None:
    """The pixels, read from the files of an untouched stack with one pass through each; None for any other."""
    from calibkit.frames import stack_source

    source: Any = stack_source(stack) if stack.chunks is not None and stack.dims[0] == "frame" else None
    if source is None:
        return None
    out = np.empty((len(source), rows.size, columns.size), source.dtype)
    for i, single in enumerate(source.sources):
        progress(i, len(source), "read a sample")
        near = getattr(single, "random_access", hasattr(single, "open_spool"))
        # Rows that are close together are read in one go, as are all rows of what has no quick way to a row.
        band = 1 if near and rows.size > 1 and rows[1] - rows[0] > 2 else _BAND
        for start in range(0, rows.size, band):
            part = rows[start : start + band]
            read = source.read(i, int(part[0]), int(part[-1]) + 1)
            out[i, start : start + band] = read[np.ix_(part - part[0], columns)]
    progress(len(source), len(source), "read a sample")
    return out


def _from_arrays(stack: Stack, rows: np.ndarray, columns: np.ndarray) -> Stack:
    """The pixels of what is in memory, or computed."""
    picked = stack.isel(y=rows, x=columns)
    if any(array.chunks is not None for array in _arrays(picked)):
        return picked.compute()
    return picked.copy(deep=True)


def _arrays(stack: Stack) -> list[xr.DataArray]:
    return list(stack.data_vars.values()) if isinstance(stack, xr.Dataset) else [stack]

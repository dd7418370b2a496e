"""The middle of a frame: pixels beside each other, few enough to follow a slider."""

from __future__ import annotations

import math

import xarray as xr

from calibkit.cfa import pattern_of
from calibkit.display.sampling import sample_region
from calibkit.progress import Progress, silent

#: What the middle of a whole stack takes in memory at most.
MOST_BYTES = 48 * 2**20


def central_part(
    stack: xr.DataArray, *, most_bytes: int = MOST_BYTES, progress: Progress = silent
) -> xr.DataArray:
    """The middle of every frame, in memory: all of it where it is small.

    Parameters
    ----------
    stack : xarray.DataArray
        Frames ``(frame, y, x)``, lazy or not.
    most_bytes : int
        What the part may take; its sides have the ratio of the frame's.
    progress : callable
        ``progress(done, total, what)`` over the frames; may raise `Cancelled`.

    Returns
    -------
    xarray.DataArray
        ``(frame, y, x)`` with its sensor coordinates; neighbours in it are neighbours on the sensor.

    Examples
    --------
    >>> import numpy as np
    >>> stack = xr.DataArray(np.zeros((4, 600, 900), "u2"), dims=("frame", "y", "x"), attrs={"cfa": "RGGB"})
    >>> central_part(stack, most_bytes=480_000).shape
    (4, 200, 300)
    """
    count, height, width = stack.shape
    pixels = max(64, most_bytes // (count * stack.dtype.itemsize))
    share = min(1.0, math.sqrt(pixels / (height * width)))
    py, px = pattern_of(stack).period
    rows, columns = (
        max(period, int(share * size + 1e-9) // period * period) if share < 1 else size
        for size, period in ((height, py), (width, px))
    )
    y0, x0 = (height - rows) // 2 // py * py, (width - columns) // 2 // px * px
    part = {"y": slice(y0, y0 + rows), "x": slice(x0, x0 + columns)}
    named = stack.assign_coords(
        {dim: range(stack.sizes[dim]) for dim in ("y", "x") if dim not in stack.coords}
    )
    ys, xs = (named[dim][part[dim]].values for dim in ("y", "x"))
    region = (float(xs[0]), float(xs[-1]), float(ys[0]), float(ys[-1]))
    return sample_region(named, region, most=rows * columns, progress=progress)

"""The lecture's first picture: a cut-out of a real image as a table of numbers."""

from __future__ import annotations

import csv
import math
from importlib import resources

import numpy as np
import xarray as xr


def deck_pixels() -> xr.DataArray:
    """The lecture's table of pixel values: two stars on a sky.

    Returns
    -------
    xarray.DataArray
        uint16 ``(y, x)``, 39 rows numbered from 1 and 30 columns numbered from 1, as in the lecture; row 1 is on top.

    Examples
    --------
    >>> table = deck_pixels()
    >>> table.shape, int(table.sel(y=12, x=19)), int(table.sel(y=39, x=23))
    ((39, 30), 54741, 56797)
    """
    text = resources.files("calibkit.simulate").joinpath("pixels.csv").read_text(encoding="utf-8")
    header, *rows = csv.reader(text.splitlines())
    return xr.DataArray(
        np.array([row[1:] for row in rows], dtype=np.uint16),
        dims=("y", "x"),
        coords={"y": [int(row[0]) for row in rows], "x": [int(name) for name in header[1:]]},
        attrs={"units": "adu", "camera": "", "cfa": "", "saturation": math.nan, "roworder": "TOP-DOWN"},
        name="signal",
    )

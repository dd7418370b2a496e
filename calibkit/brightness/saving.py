"""A picture into a file that every program shows: TIFF and PNG with 16 or 8 bits."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr

from calibkit.errors import SettingError
from calibkit.io.picture_files import PictureLayout, write_png, write_tiff
from calibkit.memory import band_rows

_WRITERS = {".tif": write_tiff, ".tiff": write_tiff, ".png": write_png}


def save_picture(
    picture: xr.DataArray,
    path: str | os.PathLike[str],
    *,
    bits: Literal[8, 16] = 16,
    overwrite: bool = False,
) -> Path:
    """Write a picture as TIFF or PNG: there whole or not at all.

    Parameters
    ----------
    picture : xarray.DataArray
        From `stretch_picture`: values 0 … 1 with the dims (y, x), or (channel, y, x) with three channels, which
        become red, green and blue in their order. Written by bands of rows where it is lazy.
    path : path
        Ends with ``.tif``, ``.tiff`` or ``.png``.
    bits : {16, 8}
        Of each value.
    overwrite : bool
        Replace a file that is there.

    Returns
    -------
    Path

    Raises
    ------
    SettingError
        Values outside 0 … 1, other dims, another ending or number of bits.
    OutputError
        The file exists already, or cannot be written.

    Notes
    -----
    Values are multiplied by 65535 (255) and rounded; where there is no data the picture is black. Rows that run
    upward (most FITS files) are turned, so that the picture stands as the viewer shows it. How the brightness was
    scaled is written into the file as JSON (TIFF ImageDescription, PNG text "Description"). The measurement itself
    is kept by `save`, as FITS.

    Examples
    --------
    >>> import calibkit
    >>> raw = calibkit.simulate_frame(calibkit.Camera(shape=(40, 60), offset=100.0), exposure=60.0)
    >>> light = calibkit.calibrate(raw, bias=calibkit.constant_bias(raw, level=100.0))
    >>> import tempfile
    >>> picture = calibkit.stretch_picture(light)
    >>> calibkit.save_picture(picture, tempfile.mkdtemp() + "/picture.tif").name
    'picture.tif'
    """
    path = Path(path).expanduser()
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        msg = f"{path.name}: a picture is saved as .tif, .tiff or .png; measured values are saved with calibkit.save"
        raise SettingError(msg)
    if bits not in (8, 16):
        msg = f"bits={bits!r}: allowed are 8 and 16"
        raise SettingError(msg)
    planes = _planes(picture)
    count, height, width = planes.shape
    text = json.dumps(
        {name: picture.attrs[name] for name in ("curve", "scaling", "clipped") if name in picture.attrs}
    )
    upward = picture.attrs.get("roworder") in ("BOTTOM-UP", "")
    writer(
        path, PictureLayout(height, width, count, bits, text), _rows(planes, bits, upward=upward), overwrite
    )
    return path


def _planes(picture: xr.DataArray) -> xr.DataArray:
    if not isinstance(picture, xr.DataArray) or picture.dtype.kind != "f":
        msg = "save_picture takes a picture with values 0 … 1: scale the brightness with calibkit.stretch_picture first"
        raise SettingError(msg)
    if set(picture.dims) == {"y", "x"}:
        picture = picture.expand_dims("channel")
    if (
        set(picture.dims) != {"channel", "y", "x"}
        or picture.sizes["channel"] not in (1, 3)
        or not picture.size
    ):
        msg = f"a picture has the dims (y, x), or (channel, y, x) with three channels; found {dict(picture.sizes)}"
        raise SettingError(msg)
    return picture.transpose("channel", "y", "x")


def _rows(planes: xr.DataArray, bits: int, *, upward: bool) -> Iterator[np.ndarray]:
    """Bands of rows as they are in the file: (rows, columns · planes)."""
    count, height, width = planes.shape
    most, kind = (65535, np.uint16) if bits == 16 else (255, np.uint8)
    band = band_rows(height, width, bytes_per_pixel=24.0 * count)
    for start in range(0, height, band):
        rows = (
            slice(height - min(start + band, height), height - start)
            if upward
            else slice(start, start + band)
        )
        values = planes.isel(y=rows).values
        if upward:
            values = values[:, ::-1]
        if np.nanmin(values, initial=0.0) < 0.0 or np.nanmax(values, initial=0.0) > 1.0:
            msg = (
                f"values from {np.nanmin(values):.6g} to {np.nanmax(values):.6g}: those of a picture lie between 0 and 1. "
                "Scale the brightness with calibkit.stretch_picture first"
            )
            raise SettingError(msg)
        steps = np.rint(np.nan_to_num(values).astype(np.float64) * most).astype(kind)
        yield np.moveaxis(steps, 0, -1).reshape(steps.shape[1], width * count)

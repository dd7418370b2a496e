"""Defect maps as FITS masks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from calibkit import flags as fl
from calibkit.defects.defect_map import POINT, DefectMap
from calibkit.errors import FrameFileError, MismatchError, OutputError
from calibkit.io.damage import fits_damage
from calibkit.io.tiles import check_tiles, decompressing

#: FITS keyword → attribute, for what tells the sensor.
_CARDS = {"INSTRUME": "camera", "CFA": "cfa", "ROWORDER": "roworder"}


def write_mask(defects: DefectMap, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write *defects* as an image of flags with the sensor pixel of its corner, and a table of sigma."""
    from astropy.io import fits

    path = Path(path)
    if path.exists() and not overwrite:
        msg = f"{path} exists already; give overwrite=True, or another name"
        raise OutputError(msg)
    flags = defects.flags
    image = fits.PrimaryHDU(flags.values)
    image.header["EXTNAME"] = "FLAGS"
    image.header["SENSORX0"] = (int(flags.x[0]), "sensor column of the first pixel")
    image.header["SENSORY0"] = (int(flags.y[0]), "sensor row of the first pixel")
    for key, name in _CARDS.items():
        if flags.attrs.get(name):
            image.header[key] = str(flags.attrs[name])
    if "binning" in flags.attrs:
        image.header["YBINNING"], image.header["XBINNING"] = (int(b) for b in flags.attrs["binning"])
    for flag in fl.FLAGS:
        image.header[f"FLAG{flag.value.bit_length() - 1}"] = (flag.value, flag.name)
    table = fits.BinTableHDU(defects.points, name="POINTS")
    part = path.with_name(f".{path.name}.part")
    try:
        fits.HDUList([image, table]).writeto(part, overwrite=True)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        msg = f"{path}: the defect map could not be written ({error.strerror or error})"
        raise OutputError(msg) from error


def read_mask(path: str | os.PathLike[str], *, like: xr.DataArray | xr.Dataset | None = None) -> DefectMap:
    """Read what `write_mask` wrote, or any FITS image in which bad pixels are not zero."""
    from astropy.io import fits

    path = Path(path)
    with fits_damage(path, "cannot be read as a defect mask"):
        methods = check_tiles(path)
        with decompressing(methods), fits.open(path, memmap=False) as hdus:
            return _map_in(path, hdus, like)


def _map_in(path: Path, hdus: Any, like: xr.DataArray | xr.Dataset | None) -> DefectMap:
    image = next((hdu for hdu in hdus if hdu.is_image and hdu.data is not None and hdu.data.ndim == 2), None)
    if image is None:
        msg = f"{path}: no image of two dimensions in it, so it is no defect mask"
        raise FrameFileError(msg)
    data, header = np.array(image.data), image.header.copy()
    points = np.array(hdus["POINTS"].data, dtype=POINT) if "POINTS" in hdus else np.empty(0, POINT)
    own = "SENSORX0" in header
    values = data.astype(fl.FLAG_DTYPE) if own else np.where(data != 0, fl.HOT, 0).astype(fl.FLAG_DTYPE)
    if own:
        attrs = {name: header[key] for key, name in _CARDS.items() if key in header}
        if "YBINNING" in header:
            attrs["binning"] = (header["YBINNING"], header["XBINNING"])
        y0, x0 = header["SENSORY0"], header["SENSORX0"]
        coords = {"y": y0 + np.arange(data.shape[0]), "x": x0 + np.arange(data.shape[1])}
        return DefectMap(
            xr.DataArray(values, dims=("y", "x"), coords=coords, attrs={"cfa": "", **attrs}), points
        )
    empty = DefectMap.empty(
        like if like is not None else xr.DataArray(np.empty(data.shape, np.uint8), dims=("y", "x"))
    )
    if empty.flags.shape != data.shape:
        msg = f"{path} measures {data.shape} pixels and the frame it is read for {empty.flags.shape} (rows, columns)"
        raise MismatchError(msg)
    return DefectMap(empty.flags.copy(data=values))

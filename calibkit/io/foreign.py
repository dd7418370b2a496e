"""Masters that other programs made: astropy's ``CCDData`` files (ccdproc) and plain FITS images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from calibkit import meta
from calibkit.errors import FrameFileError
from calibkit.flags import FLAG_DTYPE, NO_DATA
from calibkit.frames import open_stack
from calibkit.io import read_info
from calibkit.io.damage import fits_damage
from calibkit.io.source import FrameInfo
from calibkit.io.tiles import check_tiles, decompressing
from calibkit.warned import warn

if TYPE_CHECKING:
    import dask.array as da

UNCERTAINTY, MASK, TYPE = "UNCERT", "MASK", "UTYPE"
#: Class of the uncertainty as astropy names it → its power of the standard deviation.
_POWER = {"StdDevUncertainty": 1, "VarianceUncertainty": 2, "InverseVariance": -2}
_UNITS = {
    "adu": ("", "adu", "dn", "count", "counts", "ct", "du"),
    "electron": ("electron", "electrons", "e", "e-", "photoelectron", "elec"),
}
#: Keywords that count the frames in a master.
_COUNT = ("NCOMBINE", "STACKCNT", "SNAPSHOT", "NIMAGES")


def open_foreign(path: Path) -> xr.Dataset:
    """A FITS image that calibkit did not write, as a result.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    xarray.Dataset
        Lazy, as `calibkit.open_result` describes it.

    Raises
    ------
    FrameFileError
        The file is no frame, or its UNCERT or MASK do not fit to it.

    Notes
    -----
    ``CCDData`` keeps the uncertainty in the extension UNCERT, as what UTYPE says: a standard deviation, also where
    UTYPE is missing, a variance, or an inverse variance. In MASK everything but 0 is masked. (astropy.nddata,
    ``fits_ccddata_reader``.)
    """
    info = read_info(path)
    frame = open_stack([path]).isel(frame=0)
    signal = frame.data.astype(np.float32)
    shape, extensions = frame.shape, _extensions(path, info.full_shape)
    mask = _extension(path, info, MASK, shape) if MASK in extensions else None
    flagged = ~np.isfinite(signal) if mask is None else ~np.isfinite(signal) | (mask != 0)
    if UNCERTAINTY in extensions:
        variance = _variance(path, info, extensions[UNCERTAINTY], shape)
    else:
        variance = signal * np.float32("nan")
        msg = f"{path}: says nothing of its noise, so the variance is not known (NaN)"
        warn(msg, stacklevel=3)
    attrs = _attrs(frame, info)
    result = xr.Dataset(
        {
            "signal": (("y", "x"), signal, {"units": attrs["units"]}),
            "variance": (("y", "x"), variance.rechunk(signal.chunks)),
            "flags": (("y", "x"), (flagged * np.array(NO_DATA, FLAG_DTYPE)).astype(FLAG_DTYPE)),
        },
        coords={"y": frame.y, "x": frame.x},
        attrs=attrs,
    ).drop_vars([name for name in frame.coords if name not in frame.dims], errors="ignore")
    result["variance"].attrs["units"] = "1" if attrs["units"] == "1" else f"{attrs['units']}2"
    return result


def _attrs(frame: xr.DataArray, info: FrameInfo) -> dict[str, Any]:
    from calibkit.session.facts import applied_steps

    header = info.header
    attrs = dict(frame.attrs)
    for name, (_, unknown) in meta.FRAME_COORDS.items():
        if name != "file":
            attrs[name] = meta.frame_value(frame, name, unknown)
    unit = str(header.get("BUNIT") or "").strip()
    attrs["units"] = next((ours for ours, names in _UNITS.items() if unit.lower() in names), unit)
    done = applied_steps(header)
    for step, name in (("bias", "bias_subtracted"), ("dark", "dark_subtracted"), ("flat", "flat_divided")):
        if step in done:
            attrs[name] = True
    counts = [header[key] for key in _COUNT if isinstance(header.get(key), int) and header[key] > 0]
    if counts:
        attrs["n_frames"] = counts[0]
    return attrs | {"provenance": [{"step": "open", "inputs": [str(info.path)]}]}


def _extensions(path: Path, shape: tuple[int, int]) -> dict[str, str]:
    """Names of the extensions → their UTYPE; *shape* is what UNCERT and MASK have to be of."""
    from astropy.io import fits

    with fits_damage(path, "its extensions cannot be read"), fits.open(path, memmap=False) as hdus:
        found = {
            hdu.name: (str(hdu.header.get(TYPE, "")).strip(), hdu.shape) for hdu in hdus[1:] if hdu.is_image
        }
    for name in {UNCERTAINTY, MASK} & set(found):
        if found[name][1] != shape:
            sizes = (" × ".join(str(n) for n in reversed(size)) for size in (found[name][1], shape))
            msg = "{}: {} is of another size than the image, {} and {} pixels".format(path, name, *sizes)
            raise FrameFileError(msg)
    return {name: kind for name, (kind, _) in found.items()}


def _variance(path: Path, info: FrameInfo, kind: str, shape: tuple[int, int]) -> da.Array:
    power = _POWER.get(kind or "StdDevUncertainty")
    if power is None:
        msg = f"{path}: {UNCERTAINTY} is of the type {TYPE} = {kind!r}; known are {', '.join(_POWER)}"
        raise FrameFileError(msg)

    def to_variance(block: np.ndarray) -> np.ndarray:
        block = block.astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = {1: block * block, 2: block, -2: 1 / block}[power]
        return np.where(np.isfinite(variance) & (block >= 0), variance, np.float32("nan"))

    return _extension(path, info, UNCERTAINTY, shape).map_blocks(to_variance, dtype=np.float32)


def _extension(path: Path, info: FrameInfo, name: str, shape: tuple[int, int]) -> da.Array:
    """The active area of one extension, read when it is computed."""
    import dask
    import dask.array as da

    lazy = dask.delayed(_read_extension)(path, name, info.active)
    return da.from_delayed(lazy, shape=shape, dtype=np.float64)


def _read_extension(path: Path, name: str, active: tuple[int, int, int, int]) -> np.ndarray:
    from astropy.io import fits

    y0, y1, x0, x1 = active
    with fits_damage(path, f"the extension {name} cannot be read"):
        methods = check_tiles(path, name)
        with decompressing(methods), fits.open(path, memmap=False) as hdus:
            return hdus[name].data[y0:y1, x0:x1].astype(np.float64)

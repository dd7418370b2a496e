"""What goes wrong when a frame is converted to colours before it is calibrated: to be looked at, not to be used."""

from __future__ import annotations

import numpy as np
import xarray as xr

from calibkit.calibration.checks import check_camera, check_frame, check_master, cover
from calibkit.cfa import channel_index
from calibkit.colour.debayer import Method, debayer
from calibkit.errors import MismatchError
from calibkit.flags import FLAG_DTYPE
from calibkit.meta import add_step
from calibkit.warned import warn


def convert_too_early(
    light: xr.DataArray,
    *,
    bias: xr.Dataset | None = None,
    dark: xr.Dataset | None = None,
    flat: xr.Dataset | None = None,
    method: Method = "edge",
) -> xr.Dataset:
    """Do it the wrong way round, for comparison: convert light and masters to colours, then subtract and divide.

    Parameters
    ----------
    light : xarray.DataArray
        One raw frame ``(y, x)`` of a sensor with red, green and blue filters, ADU.
    bias, dark, flat : xarray.Dataset, optional
        Masters as for `calibrate`; a dark whose bias was subtracted goes with a bias.
    method : {"superpixel", "bilinear", "edge"}
        As for `debayer`. Raw converters work along edges.

    Returns
    -------
    xarray.Dataset
        In colour, with the layout that `debayer` gives, so that both can be shown side by side. The variance is NaN:
        nobody knows it any more.

    Raises
    ------
    MismatchError
        A stack of frames, or a master that does not belong to the light.
    SettingError
        A sensor without filters, or with other ones.

    Warns
    -----
    CalibkitWarning
        Always: this is no way to calibrate.

    Notes
    -----
    The conversion takes hot pixels for light and gives a share of them to the pixels around, in every colour. The dark
    takes the same away again on average, but not their noise; it cannot be told any more which pixels are bad, so
    they cannot be replaced; and a hot pixel that is full leaves a hole with a rim. Where the converter follows edges,
    it follows those of light and dark apart, and what is subtracted is not what was added.

    Examples
    --------
    >>> import calibkit
    >>> camera = calibkit.Camera(shape=(40, 60), pattern="RGGB", offset=100.0)
    >>> raw = calibkit.simulate_frame(camera, exposure=60.0)
    >>> bias = calibkit.constant_bias(raw, level=100.0)
    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):  # it says what is wrong with it
    ...     wrong = calibkit.convert_too_early(raw, bias=bias)
    >>> wrong.signal.dims
    ('channel', 'y', 'x')
    """
    light = check_frame(light, "convert_too_early")
    if light.dims != ("y", "x"):
        msg = f"convert_too_early takes one frame (y, x), found {light.dims}; take one with lights.isel(frame=0)"
        raise MismatchError(msg)

    def colours(image: np.ndarray) -> np.ndarray:
        mosaic = xr.Dataset(
            {
                "signal": (("y", "x"), np.asarray(image, np.float32)),
                "variance": (("y", "x"), np.ones(image.shape, np.float32)),
                "flags": (
                    ("y", "x"),
                    np.zeros(image.shape, FLAG_DTYPE),
                ),  # a converter knows of no bad pixels
            },
            coords=light.coords,
            attrs=light.attrs,
        )
        return debayer(mosaic, method=method)

    out = colours(np.asarray(light.data))
    signal = out["signal"].values
    for name, master in (("bias", bias), ("dark", dark)):
        if master is not None:
            signal = signal - colours(_data(master, light, name))["signal"].values
    if flat is not None:
        raw = colours(_data(flat, light, "flat") * _levels(flat, light))["signal"].values
        signal = signal / (raw / np.nanmean(raw, axis=(1, 2), keepdims=True))
    msg = (
        "convert_too_early: colours were made before dark and flat were applied, which spreads hot pixels and their noise; "
        "calibrate first, and convert then"
    )
    warn(msg, stacklevel=2)
    out = out.assign(
        signal=out["signal"].copy(data=signal.astype(np.float32)),
        variance=out["variance"].copy(data=np.full(signal.shape, np.nan, np.float32)),
    )
    return add_step(out, "convert too early", method=method)


def _data(master: xr.Dataset, light: xr.DataArray, name: str) -> np.ndarray:
    master = check_master(master, name)
    check_camera(master, light, name, gain=name != "flat")
    return np.asarray(cover(master, light, name)["signal"].data, np.float32)


def _levels(flat: xr.Dataset, light: xr.DataArray) -> np.ndarray:
    """The level that every pixel's channel had in the flat, 1 where it is not known."""
    cell, channels = channel_index(light)
    levels = flat.attrs.get("channel_level") or {}
    tile = np.array([float(levels.get(name, 1.0)) for name in channels], np.float32)[cell]
    height, width = light.shape
    return np.tile(tile, (-(-height // cell.shape[0]), -(-width // cell.shape[1])))[:height, :width]

"""White balance and colour matrix, from the camera's own numbers where they are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from calibkit.errors import SettingError
from calibkit.meta import add_step


def white_balance(colour: xr.Dataset, multipliers: Mapping[str, float] | None = None) -> xr.Dataset:
    """Multiply every channel by its own factor, the variance by its square.

    Parameters
    ----------
    colour : xarray.Dataset
        A result of `debayer`, dims ``(…, channel, y, x)``.
    multipliers : mapping of str to float, optional
        Factor of each channel, e.g. ``{"R": 2.0, "G": 1.0, "B": 1.5}``. By default the camera's own daylight
        factors, where the RAW file holds them (``attrs["white_balance"]``; not there any more in the result, so
        that nothing is balanced twice).

    Returns
    -------
    xarray.Dataset
        A new Dataset; lazy if *colour* is.

    Raises
    ------
    SettingError
        No factors are given and the file holds none, one is missing, or one is not a positive number.

    Examples
    --------
    >>> import calibkit
    >>> camera = calibkit.Camera(shape=(40, 60), pattern="RGGB", offset=100.0)
    >>> raw = calibkit.simulate_frame(camera, exposure=60.0)
    >>> light = calibkit.calibrate(raw, bias=calibkit.constant_bias(raw, level=100.0))
    >>> colour = calibkit.debayer(light, method="superpixel")
    >>> balanced = calibkit.white_balance(colour, {"R": 2.0, "G": 1.0, "B": 1.5})
    >>> float((balanced.signal / colour.signal).sel(channel="R").median())
    2.0
    """
    channels = _channels(colour)
    factors = multipliers if multipliers is not None else colour.attrs.get("white_balance")
    if not factors:
        msg = (
            "no white balance is given and the frame holds none (only camera RAW files do, and once it is done it is "
            "done); pass "
            f"multipliers={{{', '.join(f'{name!r}: 1.0' for name in channels)}}}"
        )
        raise SettingError(msg)
    missing = [name for name in channels if name not in factors]
    if missing:
        msg = f"white balance for {', '.join(missing)} is missing; given are {dict(factors)}"
        raise SettingError(msg)
    values = np.array([float(factors[name]) for name in channels])
    if not (np.isfinite(values) & (values > 0)).all():
        msg = f"white balance factors have to be positive numbers; given are {dict(factors)}"
        raise SettingError(msg)
    scale = xr.DataArray(values.astype(np.float32), dims="channel", coords={"channel": list(channels)})
    out = _without(colour, "white_balance").assign(
        signal=(colour["signal"] * scale)
        .transpose(*colour["signal"].dims)
        .assign_attrs(colour["signal"].attrs),
        variance=(colour["variance"] * scale**2)
        .transpose(*colour["variance"].dims)
        .assign_attrs(colour["variance"].attrs),
    )
    return add_step(out, "white balance", **dict(zip(channels, map(float, values), strict=True)))


def colour_matrix(colour: xr.Dataset, matrix: Sequence[Sequence[float]] | None = None) -> xr.Dataset:
    """Mix the camera's colours into another colour space: ``out = matrix · in`` at every pixel.

    Parameters
    ----------
    colour : xarray.Dataset
        A white-balanced result of `debayer`, dims ``(…, channel, y, x)``.
    matrix : 3 × 3 numbers, optional
        Rows give the new red, green and blue. By default the camera's own matrix to linear sRGB, where
        the RAW file holds it (``attrs["camera_matrix"]``; not there any more in the result).

    Returns
    -------
    xarray.Dataset
        A new Dataset. The variance is that of independent channels: after super-pixels it is exact; the new
        channels share noise with each other in any case.

    Raises
    ------
    SettingError
        No matrix is given and the file holds none, or it is not 3 × 3 finite numbers.

    Examples
    --------
    >>> import calibkit
    >>> camera = calibkit.Camera(shape=(40, 60), pattern="RGGB", offset=100.0)
    >>> raw = calibkit.simulate_frame(camera, exposure=60.0)
    >>> light = calibkit.calibrate(raw, bias=calibkit.constant_bias(raw, level=100.0))
    >>> colour = calibkit.debayer(light, method="superpixel")
    >>> calibkit.colour_matrix(colour, [[1.6, -0.4, -0.2], [-0.2, 1.5, -0.3], [0.0, -0.6, 1.6]]).signal.dims
    ('channel', 'y', 'x')
    """
    channels = _channels(colour)
    given = matrix if matrix is not None else colour.attrs.get("camera_matrix")
    if given is None:
        msg = (
            "no colour matrix is given and the frame holds none (only camera RAW files do, and once it is done it is "
            "done); pass matrix="
        )
        raise SettingError(msg)
    values = np.asarray(given, dtype=np.float32)
    if values.shape != (3, 3) or len(channels) != 3 or not np.isfinite(values).all():
        msg = (
            f"a colour matrix is 3 × 3 finite numbers for three channels; found {values.shape} for {channels}"
        )
        raise SettingError(msg)
    mix = xr.DataArray(
        values, dims=("new", "channel"), coords={"new": list(channels), "channel": list(channels)}
    )
    mixed = {}
    for name, weights in (("signal", mix), ("variance", mix**2)):
        product = xr.dot(weights, colour[name], dim="channel").rename(new="channel")
        mixed[name] = (
            product.transpose(*colour[name].dims).astype(np.float32).assign_attrs(colour[name].attrs)
        )
    flags = colour["flags"]
    together = flags.copy(data=flags.data)
    for name in channels:  # every new channel holds something of each old one
        together = together | flags.sel(channel=name, drop=True)
    out = _without(colour, "camera_matrix").assign(
        **mixed, flags=together.transpose(*flags.dims).assign_attrs(flags.attrs)
    )
    return add_step(out, "colour matrix", matrix=values.tolist())


def _without(colour: xr.Dataset, name: str) -> xr.Dataset:
    """*colour* without an attribute that does not hold of it any more."""
    out = colour.copy(deep=False)
    out.attrs = {key: value for key, value in colour.attrs.items() if key != name}
    return out


def _channels(colour: xr.Dataset) -> tuple[str, ...]:
    if "channel" not in colour.dims or "signal" not in colour:
        msg = f"a colour image has a dimension 'channel'; found {tuple(colour.dims)}. Convert with calibkit.debayer first"
        raise SettingError(msg)
    return tuple(str(name) for name in colour["channel"].values)

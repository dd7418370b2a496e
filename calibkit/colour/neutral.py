"""A grey sky: the background of every channel brought to one level."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from calibkit.background import measure_background
from calibkit.errors import SettingError
from calibkit.meta import add_step


def neutralise_background(colour: xr.Dataset, *, level: float | None = None) -> xr.Dataset:
    """Shift every channel so that its background has one level: the sky becomes grey, sources keep their colour.

    Parameters
    ----------
    colour : xarray.Dataset
        A result in colour, dims (channel, y, x), in memory or lazy.
    level : float, optional
        The common level, in the unit of *colour*; by default the middle one of the channels' own.

    Returns
    -------
    xarray.Dataset
        A new Dataset. A constant is added to each channel, so the variance stays; values below zero are kept.
        ``attrs["background"]``: channel → the level that it had, which its provenance says too.

    Raises
    ------
    SettingError
        No dimension ``channel``, more than one frame, a channel without a good pixel, or a level that is no number.

    See Also
    --------
    white_balance : factors for the channels' colour scale.

    Notes
    -----
    The background of a channel is the median of a sample of its good pixels when those 3 robust standard
    deviations above the median have been left out, again until no more are found. Its error is 1.25 σ/√n with n up
    to a million, and is not added to the variance, because it is common to all pixels.

    Examples
    --------
    >>> import calibkit
    >>> camera = calibkit.Camera(shape=(40, 60), pattern="RGGB", offset=100.0)
    >>> raw = calibkit.simulate_frame(camera, exposure=60.0)
    >>> light = calibkit.calibrate(raw, bias=calibkit.constant_bias(raw, level=100.0))
    >>> colour = calibkit.debayer(light, method="superpixel")
    >>> grey = calibkit.neutralise_background(colour)
    >>> levels = grey.signal.median(("y", "x")).values
    >>> bool(abs(levels - levels.mean()).max() < 1.0)
    True
    """
    if "signal" not in colour or set(colour["signal"].dims) != {"channel", "y", "x"}:
        dims = tuple(colour["signal"].dims) if "signal" in colour else tuple(colour.dims)
        msg = f"one picture in colour has the dims (channel, y, x); found {dims}. Convert with calibkit.debayer first"
        raise SettingError(msg)
    found = {name: background.level for name, background in measure_background(colour).items()}
    empty = [name for name, value in found.items() if not math.isfinite(value)]
    if empty:
        msg = f"channel {', '.join(empty)} has no finite pixel without a flag: its background is not known"
        raise SettingError(msg)
    if level is not None and not math.isfinite(level):
        msg = f"level={level!r}: the common level of the background is a finite number"
        raise SettingError(msg)
    common = float(np.median(list(found.values())) if level is None else level)
    shift = np.array([common - value for value in found.values()])
    shifts = xr.DataArray(
        shift.astype(np.float32), dims="channel", coords={"channel": colour["channel"].values}
    )
    signal = (colour["signal"] + shifts).transpose(*colour["signal"].dims).astype(np.float32)
    out = colour.assign(signal=signal.assign_attrs(colour["signal"].attrs)).assign_attrs(background=found)
    return add_step(out, "neutralise background", level=common, background=found)

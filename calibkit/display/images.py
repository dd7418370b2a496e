"""One image, in whatever form it is given, and where its pixels lie on the sensor."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import xarray as xr

from calibkit.cfa import Pattern
from calibkit.cfa.phase import origin
from calibkit.errors import SettingError

#: What is taken for one image: a path stands for the file's first frame, or for a result and all it holds.
Image = xr.DataArray | xr.Dataset | np.ndarray | str | os.PathLike[str]


def open_image(path: str | os.PathLike[str]) -> xr.DataArray | xr.Dataset:
    """One image from a file: a result with its variance and flags where it has them, else a frame.

    Parameters
    ----------
    path : path

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        Lazy, with dims (y, x).

    Raises
    ------
    FrameFileError
        The file is not an image.

    Examples
    --------
    >>> import calibkit
    >>> image = calibkit.open_image(calibkit.sample_session("ccd") / "lights/light_240s_001.fits")
    >>> image.dims, image.dtype
    (('y', 'x'), dtype('uint16'))
    """
    from calibkit.frames import open_stack
    from calibkit.io.result_file import open_own

    result = open_own(Path(path))
    return open_stack([path]).isel(frame=0) if result is None else result[["signal", "variance", "flags"]]


def parts_of(image: Image) -> tuple[xr.DataArray, dict[str, xr.DataArray]]:
    """The pixels of *image*, and the variance and flags that belong to them.

    Raises
    ------
    SettingError
        It is not one frame of real numbers; the message says what it is.
    """
    if isinstance(image, str | os.PathLike):
        image = open_image(image)
    extra: dict[str, xr.DataArray] = {}
    if isinstance(image, xr.Dataset):
        if "signal" not in image:
            found = ", ".join(map(str, image)) or "none"
            msg = f"a Dataset is shown by its variable 'signal'; this one has {found}"
            raise SettingError(msg)
        extra = {str(name): image[name] for name in ("variance", "flags") if name in image}
        image = image["signal"].assign_attrs({**image.attrs, **image["signal"].attrs})
    elif not isinstance(image, xr.DataArray):
        array = np.asarray(image)
        if array.ndim != 2:
            msg = f"one frame has two dimensions (y, x); this array has the shape {array.shape}"
            raise SettingError(msg)
        image = xr.DataArray(array, dims=("y", "x"))
    if set(image.dims) != {"y", "x"}:
        hint = "; take one with .isel(frame=0)" if "frame" in image.dims else ""
        msg = f"one frame has the dims (y, x); found {tuple(image.dims)}{hint}"
        raise SettingError(msg)
    if image.dtype.kind not in "uif":
        msg = f"pixels are real numbers; these are {image.dtype}"
        raise SettingError(msg)
    if image.size == 0:
        msg = f"this frame has no pixels: its shape is {image.shape}"
        raise SettingError(msg)
    missing = {dim: np.arange(image.sizes[dim]) for dim in ("y", "x") if dim not in image.coords}
    image = image.assign_coords(missing)
    return image.transpose("y", "x"), {name: a.transpose("y", "x") for name, a in extra.items()}


def signal_of(image: Image) -> xr.DataArray:
    """The pixels of *image* with dims (y, x) and sensor coordinates; of a Dataset its signal."""
    return parts_of(image)[0].reset_coords(drop=True)


def grid_of(signal: xr.DataArray, pattern: Pattern) -> tuple[tuple[int, int], tuple[float, float], float]:
    """Where pixels lie: first grid position (y, x), sensor position of grid 0, sensor pixels per grid step.

    One plane of a colour sensor goes by steps of two sensor pixels, a sample of a frame by its own, any other frame
    by one. The filter of grid position n is that of sensor pixel n.

    Raises
    ------
    SettingError
        The coordinates are not even, or not equal in both directions.
    """
    if not pattern.is_mono:
        origin(signal, pattern, spaced=True)
    steps, firsts = [], []
    for dim in ("y", "x"):
        values = signal.coords[dim].values.astype(float)
        gaps = np.diff(values)
        if gaps.size and not (gaps[0] > 0 and np.allclose(gaps, gaps[0])):
            msg = f"the coordinate {dim!r} must rise evenly to be an axis of a picture"
            raise SettingError(msg)
        steps += [float(gaps[0])] if gaps.size else []
        firsts.append(float(values[0]))
    step = steps[0] if steps else 1.0
    if not all(math.isclose(other, step) for other in steps):
        msg = f"pixels must be square to be shown: y goes by {steps[0]:g} and x by {steps[1]:g} sensor pixels"
        raise SettingError(msg)
    if pattern.is_mono or step == 1:
        numbers = [math.floor(first / step) for first in firsts]
    else:
        numbers = [int(first) % period for first, period in zip(firsts, pattern.period, strict=True)]
    offsets = [first - step * number for first, number in zip(firsts, numbers, strict=True)]
    return (numbers[0], numbers[1]), (offsets[0], offsets[1]), step

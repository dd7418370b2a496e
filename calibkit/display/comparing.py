"""Two images, pixel for pixel on the sensor."""

from __future__ import annotations

import numpy as np
import xarray as xr

from calibkit.cfa import pattern_of
from calibkit.display.images import Image, signal_of
from calibkit.display.view import Region
from calibkit.errors import MismatchError


def difference(before: Image, after: Image, *, region: Region | None = None) -> xr.DataArray:
    """After − before, at the sensor pixels that both have.

    Parameters
    ----------
    before, after : xarray.DataArray, xarray.Dataset, numpy.ndarray or path
        Frames with dims (y, x) in the same unit; of a Dataset its ``signal``.
    region : tuple of float, optional
        Edges in sensor pixels, (x0, x1, y0, y1): only the pixels whose centres lie inside.

    Returns
    -------
    xarray.DataArray
        float32 with dims (y, x), in the unit of both; lazy where one of the two is. NaN where either is.

    Raises
    ------
    MismatchError
        Different units or colour patterns, or no common pixel.

    Examples
    --------
    >>> import numpy as np
    >>> difference(np.array([[3, 5]], np.uint16), np.array([[4, 1]], np.uint16)).values
    array([[ 1., -4.]], dtype=float32)
    """
    first, second = (signal_of(image) for image in (before, after))
    units = [str(image.attrs.get("units", "")) for image in (first, second)]
    if units[0] != units[1]:
        msg = f"the difference of {units[0] or 'no unit'} and {units[1] or 'no unit'} has no meaning"
        raise MismatchError(msg)
    patterns = [pattern_of(image).text for image in (first, second)]
    if patterns[0] != patterns[1]:
        msg = f"the patterns differ, {patterns[0] or 'mono'} and {patterns[1] or 'mono'}: colours would be mixed"
        raise MismatchError(msg)
    if region is not None:
        x0, x1, y0, y1 = region
        first = first.isel(
            x=_inside(first, "x", x0, x1),
            y=_inside(first, "y", y0, y1),
        )
    first, second = xr.align(first, second, join="inner", copy=False)
    if first.size == 0:
        msg = "the two images have no sensor pixel in common" + (f" in the region {region}" if region else "")
        raise MismatchError(msg)
    kept = {name: first.attrs[name] for name in ("units", "cfa", "roworder") if name in first.attrs}
    result = second.astype(np.float32) - first.astype(np.float32)
    return result.rename("difference").assign_attrs(kept)


def _inside(image: xr.DataArray, dim: str, low: float, high: float) -> np.ndarray:
    values = image[dim].values
    return np.flatnonzero((values >= min(low, high)) & (values <= max(low, high)))

"""An image as the numbers that it is: the pixels around a place, and how often each value occurs."""

from __future__ import annotations

import numpy as np
import xarray as xr

from calibkit.display.images import Image, signal_of
from calibkit.display.stretch import auto_levels, stretch
from calibkit.errors import SettingError


def numbers_around(
    image: Image, centre: tuple[int, int] | None = None, *, rows: int = 39, columns: int = 30
) -> xr.DataArray:
    """The pixels around a place, as a table.

    Parameters
    ----------
    image : xarray.DataArray, xarray.Dataset, numpy.ndarray or path
        One frame with dims (y, x); of a Dataset its signal.
    centre : tuple of int, optional
        Sensor pixel (y, x); the middle of the frame when not given. Near an edge the table is moved inwards.
    rows, columns : int
        Size of the table; a smaller frame is shown whole.

    Returns
    -------
    xarray.DataArray
        In memory, the image's own number type, with its sensor coordinates.

    Raises
    ------
    SettingError
        The image is not one frame, or the place lies outside.

    Examples
    --------
    >>> table = numbers_around(np.arange(600).reshape(20, 30), (3, 4), rows=3, columns=3)
    >>> table.values.tolist()
    [[63, 64, 65], [93, 94, 95], [123, 124, 125]]
    """
    signal = signal_of(image)
    part = {}
    for dim, place, size in zip(("y", "x"), centre or (None, None), (rows, columns), strict=True):
        places = signal.coords[dim].values
        if place is None:
            middle = places.size // 2
        else:
            middle = int(np.abs(places - place).argmin())
            step = places[1] - places[0] if places.size > 1 else 1
            if abs(places[middle] - place) > step / 2:
                msg = f"there is no pixel with {dim} = {place}: this frame goes from {places[0]} to {places[-1]}"
                raise SettingError(msg)
        start = min(max(0, middle - size // 2), max(0, places.size - size))
        part[dim] = slice(start, start + size)
    return signal.isel(part).load().copy()


def value_counts(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often each value occurs.

    Parameters
    ----------
    values : array_like
        NaN is left out.

    Returns
    -------
    values, counts : numpy.ndarray
        Every value that occurs, rising, and its count.

    Examples
    --------
    >>> values, counts = value_counts([5, 3, 5, 5])
    >>> values.tolist(), counts.tolist()
    ([3, 5], [1, 3])
    """
    flat = np.asarray(values).ravel()
    return np.unique(flat[np.isfinite(flat)], return_counts=True)


def shades(values: np.ndarray) -> np.ndarray:
    """Shades of grey for values, as a viewer would show them.

    Parameters
    ----------
    values : array_like

    Returns
    -------
    numpy.ndarray
        uint8 of the same shape, 0 for black and for NaN.

    Examples
    --------
    >>> int(shades([[0.0, 1.0, 2.0, 100.0]]).argmax())
    3
    """
    values = np.asarray(values, np.float64)
    known = values[np.isfinite(values)]
    if not known.size:
        return np.zeros(values.shape, np.uint8)
    shown = stretch(values, *auto_levels(known, curve="asinh"), curve="asinh")
    return np.rint(255 * np.nan_to_num(shown)).astype(np.uint8)


def log_shades(values: np.ndarray) -> np.ndarray:
    """Shades for a power spectrum: equal ratios are equal steps, from a tenth of the median to the largest value.

    Parameters
    ----------
    values : array_like
        0 and above.

    Returns
    -------
    numpy.ndarray
        uint8 of the same shape.

    Examples
    --------
    >>> log_shades([[1.0, 1.0, 1.0, 10.0, 100.0]]).tolist()
    [[85, 85, 85, 170, 255]]
    """
    values = np.asarray(values, np.float64)
    low = max(float(np.median(values)) / 10, 1e-12)
    high = max(float(values.max(initial=0.0)), 10 * low)
    shown = np.log(np.clip(values, low, high) / low) / np.log(high / low)
    return np.rint(255 * shown).astype(np.uint8)

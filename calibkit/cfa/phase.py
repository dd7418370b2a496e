"""Where a frame lies on the sensor, and so which filter is on its first pixel."""

from __future__ import annotations

import numpy as np
import xarray as xr

from calibkit.cfa.pattern import Pattern
from calibkit.errors import SettingError


def pattern_of(obj: xr.DataArray | xr.Dataset) -> Pattern:
    """The pattern of *obj*, anchored at sensor pixel (0, 0); mono when it names none.

    Parameters
    ----------
    obj : xarray.DataArray or xarray.Dataset
        A stack or a result, with the pattern's text in ``attrs["cfa"]``.

    Returns
    -------
    Pattern

    Raises
    ------
    SettingError
        If the text is not a pattern.

    Examples
    --------
    >>> import xarray as xr
    >>> pattern_of(xr.DataArray([[1, 2], [3, 4]], dims=("y", "x"), attrs={"cfa": "GBRG"})).text
    'GBRG'
    """
    text = obj.attrs.get("cfa")
    if text is None and isinstance(obj, xr.Dataset) and "signal" in obj:
        text = obj["signal"].attrs.get("cfa")
    if text is None and isinstance(obj, xr.DataArray) and obj.name in ("signal", "variance", "flags"):
        msg = (
            f"the {obj.name} was taken out of its result, or lost its attributes, so its colour filter pattern is not "
            "known; give the whole result, or assign the pattern: frame.assign_attrs(cfa=result.attrs['cfa'])"
        )
        raise SettingError(msg)
    return Pattern(text or "")


def origin(
    obj: xr.DataArray | xr.Dataset, pattern: Pattern | None = None, *, spaced: bool = False
) -> tuple[int, int]:
    """Sensor pixel (y, x) of the first row and column of *obj*.

    *spaced* allows rows and columns that lie a whole number of cells and one pixel apart, as in a sample of
    `calibkit.display.sampling`: the filters of such a lattice follow each other as on the sensor.

    Raises
    ------
    SettingError
        If ``y`` or ``x`` are missing or do not count single sensor pixels: the filters are then not known.
        A mono frame may have any coordinates.
    """
    pattern = pattern_of(obj) if pattern is None else pattern
    found = []
    for dim in ("y", "x"):
        if dim not in obj.dims:
            msg = f"a frame has the dimensions y and x; found {tuple(obj.dims)}"
            raise SettingError(msg)
        values = obj.coords[dim].values if dim in obj.coords else None
        if not pattern.is_mono:
            _check(dim, values, pattern, spaced=spaced)
        known = values is not None and values.size and values.dtype.kind in "iuf"
        found.append(int(values[0]) if known else 0)
    return found[0], found[1]


def _check(dim: str, values: np.ndarray | None, pattern: Pattern, *, spaced: bool) -> None:
    if values is None:
        msg = (
            f"pattern {pattern}: which filter is on which pixel is not known, because there is no coordinate "
            f"{dim!r} with sensor pixel numbers; assign one, e.g. frame.assign_coords({dim}=range(n))"
        )
        raise SettingError(msg)
    whole = values.dtype.kind in "iu" or (
        values.dtype.kind == "f" and bool((values == np.floor(values)).all())
    )
    steps = np.unique(np.diff(values.astype(np.int64))) if whole else np.zeros(1)
    period = pattern.period["yx".index(dim)] if spaced else np.iinfo(np.int64).max
    if steps.size and not (steps.size == 1 and steps[0] > 0 and steps[0] % period == 1 % period):
        msg = (
            f"pattern {pattern}: the coordinate {dim!r} must number consecutive sensor pixels, so that every "
            f"pixel's filter is known; found {np.array2string(values, threshold=6, edgeitems=3)}. "
            'Crop with slices of step 1; take one colour with frame.cfa["R"], or all with frame.cfa.planes()'
        )
        raise SettingError(msg)


def channel_index(obj: xr.DataArray | xr.Dataset) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which channel each pixel of *obj* belongs to, as a small cell for its own first row and column.

    Parameters
    ----------
    obj : xarray.DataArray or xarray.Dataset
        A stack or a result, cropped or not, with dims (…, y, x).

    Returns
    -------
    cell : numpy.ndarray
        uint8 of shape (py, px): pixel ``[i, j]`` of the array belongs to ``channels[cell[i % py, j % px]]``.
    channels : tuple of str

    Raises
    ------
    SettingError
        If ``y`` or ``x`` do not number consecutive sensor pixels, or pixels of a regular sample whose filters follow
        each other as on the sensor (a mono frame may have any).

    Examples
    --------
    >>> import xarray as xr
    >>> frame = xr.DataArray([[1, 2], [3, 4]], coords={"y": [5, 6], "x": [0, 1]}, dims=("y", "x"))
    >>> channel_index(frame.assign_attrs(cfa="RGGB"))
    (array([[2, 3],
           [0, 1]], dtype=uint8), ('R', 'G1', 'G2', 'B'))
    """
    pattern = pattern_of(obj)
    y0, x0 = origin(obj, pattern, spaced=True)
    return np.roll(pattern.index, (-y0, -x0), (0, 1)), pattern.channels

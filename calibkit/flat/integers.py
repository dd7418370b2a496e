"""What is lost when a flat, which is a number near 1, is kept in whole numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibkit.errors import SettingError


@dataclass(frozen=True)
class RoundedFlat:
    """A flat in whole numbers, from `round_flat`.

    Attributes
    ----------
    flat : xarray.DataArray
        The rounded relative response, ``(y, x)``.
    values, counts : numpy.ndarray
        The different values that are left, and how many pixels have each.
    error : float
        Root mean square error that rounding makes in whatever is divided by the flat, as a share of it.
    largest : float
        The largest such error.
    corrected : float
        Share of the flat's variance that the rounded one still corrects: 1 all, 0 nothing.
    """

    flat: xr.DataArray
    values: np.ndarray
    counts: np.ndarray
    error: float
    largest: float
    corrected: float

    @property
    def different(self) -> int:
        """How many different values are left."""
        return int(self.values.size)


def round_flat(flat: xr.Dataset, scale: int) -> RoundedFlat:
    """Keep a flat as whole numbers of 1/scale.

    Parameters
    ----------
    flat : xarray.Dataset
        Master flat with mean 1, ``(y, x)``.
    scale : int
        The whole number that stands for a response of 1: with 1 every pixel near 1 becomes 1.

    Returns
    -------
    RoundedFlat

    Raises
    ------
    SettingError
        A scale below 1.

    Examples
    --------
    >>> response = np.linspace(0.94, 1.06, 1200, dtype="f4").reshape(30, 40)
    >>> flat = xr.Dataset({"signal": (("y", "x"), response)})
    >>> lost = round_flat(flat, 1)
    >>> lost.different, round(lost.corrected, 3), round(lost.largest, 2)
    (1, 0.0, 0.06)
    >>> round_flat(flat, 100).different
    13
    """
    if scale < 1:
        msg = f"scale={scale}: a whole number from 1 is wanted for a response of 1"
        raise SettingError(msg)
    signal = flat["signal"]
    rounded = np.rint(signal.values.astype(np.float64) * scale) / scale
    good = np.isfinite(rounded) & (rounded > 0) & (signal.values > 0)
    true = signal.values[good].astype(np.float64)
    error = true / rounded[good] - 1.0
    values, counts = np.unique(rounded[good], return_counts=True)
    variance = float(true.var())
    left = float(np.var(true - rounded[good]))
    return RoundedFlat(
        flat=signal.copy(data=rounded.astype(np.float32)),
        values=values,
        counts=counts,
        error=float(np.sqrt(np.mean(error**2))) if error.size else 0.0,
        largest=float(np.abs(error).max(initial=0.0)),
        corrected=max(0.0, 1.0 - left / variance) if variance > 0 else 1.0,
    )

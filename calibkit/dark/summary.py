"""What plots of dark frames show: noise by number of frames, and dark current by temperature between the measured ones."""

from __future__ import annotations

import numpy as np
import xarray as xr

from calibkit.combining.trial import noise_by_count
from calibkit.dark.current import DarkCurrent
from calibkit.errors import SettingError

#: A fitted curve goes on by this share of the measured range.
_MARGIN = 0.15


def noise_by_frames(stack: xr.DataArray, *, method: str = "median") -> xr.Dataset:
    """Noise of a master of 1, 2, 3 … frames: measured, and what 1/√n promises.

    Parameters
    ----------
    stack : xarray.DataArray
        Two or more frames ``(frame, y, x)`` in memory.
    method : {"mean", "median"}
        How the frames are combined.

    Returns
    -------
    xarray.Dataset
        Dims ``(count, channel)``, count from 1 to the number of frames: ``ideal``, the noise of one frame over √n, and
        ``measured``, NaN for odd numbers, which cannot be halved (see `calibkit.combining.trial.noise_by_count`).

    Raises
    ------
    SettingError
        Fewer than two frames.

    Examples
    --------
    >>> frames = np.random.default_rng(1).normal(100, 8, (8, 64, 64))
    >>> found = noise_by_frames(xr.DataArray(frames, dims=("frame", "y", "x")), method="mean")
    >>> found.ideal.values.ravel().round(1)[[0, 3]].tolist(), round(float(found.measured.sel(count=8)[0]), 1)
    ([7.9, 4.0], 2.8)
    """
    total = stack.sizes["frame"]
    if total < 2:
        msg = f"noise_by_frames: the noise shows in differences of frames: two at least are wanted, found {total}"
        raise SettingError(msg)
    found = noise_by_count(stack, range(2, total + 1, 2), method=method, reject="none", normalise="none")
    counts = np.arange(1, total + 1)
    single = found["ideal"].isel(count=-1) * np.sqrt(float(found["count"][-1]))
    ideal = single / np.sqrt(xr.DataArray(counts, coords={"count": counts}, dims="count"))
    return xr.Dataset(
        {"ideal": ideal.transpose("count", "channel"), "measured": found["measured"].reindex(count=counts)}
    )


def fitted_rates(
    fit: DarkCurrent, temperatures: np.ndarray, *, points: int = 60
) -> tuple[np.ndarray, np.ndarray]:
    """A fitted dark current over the measured temperatures and a little beyond.

    Parameters
    ----------
    fit : DarkCurrent
        From `calibkit.fit_dark_current`.
    temperatures : array_like
        Measured temperatures in °C.
    points : int

    Returns
    -------
    temperatures, rates : numpy.ndarray
        In °C, and in the unit of the fitted rates.

    Examples
    --------
    >>> from calibkit import fit_dark_current
    >>> t, rate = fitted_rates(fit_dark_current([0, 10], [1.0, 2.0]), [0, 10], points=3)
    >>> t.tolist(), float(rate[1].round(2))
    ([-1.5, 5.0, 11.5], 1.42)
    """
    low, high = float(np.min(temperatures)), float(np.max(temperatures))
    margin = _MARGIN * (high - low)
    where = np.linspace(low - margin, high + margin, points)
    return where, np.array([fit.at(t) for t in where.tolist()])

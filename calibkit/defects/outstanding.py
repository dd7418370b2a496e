"""Pixels that stand out, kept as a list, so that a threshold can be moved without going through the frame again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibkit import flags as fl
from calibkit.cfa import channel_index
from calibkit.defects.defect_map import DefectMap
from calibkit.defects.finding import find_defects, limit_of
from calibkit.defects.surroundings import Surroundings, measure_surroundings
from calibkit.errors import SettingError
from calibkit.progress import Progress, silent


@dataclass(frozen=True)
class HotThreshold:
    """What *sigma* of `find_defects` is in a dark.

    Attributes
    ----------
    around : Surroundings
        Level and sigma of its good pixels.
    scatter : Surroundings or None
        Its variance, where that is known.
    """

    around: Surroundings
    scatter: Surroundings | None

    @classmethod
    def of(cls, dark: xr.Dataset) -> HotThreshold:
        """Measure *dark*."""
        scatter = measure_surroundings(dark, variable="variance") if "variance" in dark else None
        return cls(measure_surroundings(dark), scatter)

    def excess(self, sigma: float) -> float:
        """Measured excess, in sigma, above which the true one is *sigma* in most cases."""
        return limit_of(self.scatter, self.around, sigma)

    def value(self, sigma: float) -> float:
        """Value of a hot pixel in a typical place, in the unit of the dark."""
        return float(np.median(self.around.level) + self.excess(sigma) * np.median(self.around.sigma))


@dataclass(frozen=True)
class Outstanding:
    """Pixels of a dark that stand out by *least* sigma or more; made by `outstanding_pixels`.

    Attributes
    ----------
    defects : DefectMap
        With both thresholds at *least*.
    threshold : HotThreshold
    least : float
    values : numpy.ndarray
        Of the pixels in ``defects.points``, in the unit of the dark.
    channel : numpy.ndarray
        Number of their channel.
    channels : tuple of str
    """

    defects: DefectMap
    threshold: HotThreshold
    least: float
    values: np.ndarray
    channel: np.ndarray
    channels: tuple[str, ...]

    def points(self, sigma: float, cold_sigma: float) -> np.ndarray:
        """Records (y, x, sigma) of the pixels that are hot or cold with these thresholds, strongest first."""
        stands = self.defects.points["sigma"]
        chosen = self.defects.points[self._hot(sigma) | (stands < -self._checked(cold_sigma))]
        return chosen[np.argsort(-np.abs(chosen["sigma"]), kind="stable")]

    def counts(self, sigma: float, cold_sigma: float) -> dict[str, dict[str, int]]:
        """Channel → number of ``hot`` and ``cold`` pixels with these thresholds."""
        hot, cold = self._hot(sigma), self.defects.points["sigma"] < -self._checked(cold_sigma)
        return {
            name: {
                "hot": int(np.count_nonzero(hot & (self.channel == c))),
                "cold": int(np.count_nonzero(cold & (self.channel == c))),
            }
            for c, name in enumerate(self.channels)
        }

    def curve(self, sigmas: np.ndarray) -> np.ndarray:
        """Number of hot pixels for each threshold of *sigmas*, shape (channel, sigma)."""
        limits = np.array([self.threshold.excess(self._checked(s)) for s in sigmas])
        found = []
        for c in range(len(self.channels)):
            stands = np.sort(self.defects.points["sigma"][self.channel == c])
            found.append(stands.size - np.searchsorted(stands, limits.astype(np.float32), side="right"))
        return np.array(found)

    def _hot(self, sigma: float) -> np.ndarray:
        return self.defects.points["sigma"] > np.float32(self.threshold.excess(self._checked(sigma)))

    def _checked(self, sigma: float) -> float:
        if sigma < self.least:
            msg = f"sigma={sigma:g}: these pixels were looked for from {self.least:g} on"
            raise SettingError(msg)
        return sigma


def outstanding_pixels(dark: xr.Dataset, *, least: float = 3.0, progress: Progress = silent) -> Outstanding:
    """Every pixel of a dark that stands out from its surroundings by *least* sigma, for moving thresholds.

    Parameters
    ----------
    dark : xarray.Dataset
        Master dark.
    least : float
        The smallest threshold that will be asked for.
    progress : callable
        ``progress(done, total, what)``.

    Returns
    -------
    Outstanding
        Its numbers of hot and cold pixels are those that `find_defects` finds with the same thresholds.

    Examples
    --------
    >>> frame = np.random.default_rng(0).normal(100, 5, (64, 64)).astype("f4")
    >>> frame[10, 20] += 500
    >>> dark = xr.Dataset({"signal": (("y", "x"), frame)}, coords={"y": range(64), "x": range(64)})
    >>> outstanding_pixels(dark).counts(5.0, 5.0)
    {'L': {'hot': 1, 'cold': 0}}
    """
    progress(0, 2, "look for pixels that stand out")
    found = find_defects(dark=dark, sigma=least, cold_sigma=least)
    progress(1, 2, "look for pixels that stand out")
    threshold = HotThreshold.of(dark)
    # Only hot and cold ones depend on the thresholds; a bad line or an unstable pixel is one with any.
    y0, x0 = int(found.flags.y[0]), int(found.flags.x[0])
    points = found.points
    flags = found.flags.values[points["y"] - y0, points["x"] - x0]
    points = points[(flags & (fl.HOT | fl.COLD)) != 0]
    cell, channels = channel_index(found.flags)
    channel = cell[(points["y"] - y0) % cell.shape[0], (points["x"] - x0) % cell.shape[1]]
    values = np.asarray(dark["signal"].values)[points["y"] - y0, points["x"] - x0]
    progress(2, 2, "look for pixels that stand out")
    return Outstanding(DefectMap(found.flags, points), threshold, least, values, channel, channels)

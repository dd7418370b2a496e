"""The background of a picture: the pixels that no source lights, how they are spread, and what black would cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibkit.errors import SettingError
from calibkit.statistics import sample_pixels

_MAD_TO_SIGMA = 1.4826022185056018
#: Pixels this many robust standard deviations above the background's median belong to sources.
_SOURCE = 3.0
#: A background clips when more than this part of its pixels is cut: of normal noise, 2.3 σ below the median.
CLIPPING_LIMIT = 0.01


@dataclass(frozen=True, eq=False)
class Background:
    """Background pixels of one plane.

    Attributes
    ----------
    values : numpy.ndarray
        float64, in rising order, in the unit of the frame: a sample, sources left out.
    level, sigma : float
        Their median and robust standard deviation; NaN where there are no pixels.
    """

    values: np.ndarray
    level: float
    sigma: float

    @property
    def error(self) -> float:
        """Standard error of `level` for independent normal pixels: √(π/2) σ/√n."""
        return self.sigma * float(np.sqrt(np.pi / 2.0 / max(1, self.values.size)))

    @property
    def lowest_black(self) -> float:
        """The highest black point that does not clip the background; see `CLIPPING_LIMIT`."""
        if not self.values.size:
            return np.nan
        return float(self.values[int(CLIPPING_LIMIT * self.values.size)])

    def clipped(self, black: float) -> float:
        """The fraction of the background's pixels that lie below *black*."""
        return float(np.searchsorted(self.values, black, side="left")) / max(1, self.values.size)


def background_of(values: np.ndarray) -> Background:
    """The background among *values*.

    Parameters
    ----------
    values : array_like
        A sample of single pixels of one plane; NaN is left out.

    Returns
    -------
    Background

    Notes
    -----
    Values more than 3 robust standard deviations above the median are sources and are dropped until no more are
    found. Nothing is dropped below: what is dark is background.

    Examples
    --------
    >>> import numpy as np
    >>> sky = np.random.default_rng(1).normal(500.0, 10.0, 100_000)
    >>> found = background_of(np.concatenate([sky, np.full(3000, 9000.0)]))
    >>> round(found.level), round(found.sigma), round(found.lowest_black)
    (500, 10, 477)
    """
    values = np.asarray(values, np.float64).ravel()
    values = np.sort(values[np.isfinite(values)])
    while values.size:
        level = float(np.median(values))
        sigma = _MAD_TO_SIGMA * float(np.median(np.abs(values - level)))
        count = int(np.searchsorted(values, level + _SOURCE * sigma, side="right"))
        if count == values.size or sigma == 0.0:
            # The median of what lies as far below as above: of the rest it would be a hundredth of σ too low.
            below = int(np.searchsorted(values, level - _SOURCE * sigma, side="left"))
            return Background(values, float(np.median(values[below:])), sigma)
        values = values[:count]
    return Background(values, np.nan, np.nan)


def planes_of_picture(image: xr.DataArray | xr.Dataset) -> dict[str, xr.DataArray | xr.Dataset]:
    """The planes (y, x) of *image* by channel; ``"L"`` where there is one only.

    Raises
    ------
    SettingError
        It is not one picture: dims other than (y, x) and (channel, y, x).
    """
    dims = tuple(image["signal"].dims) if isinstance(image, xr.Dataset) and "signal" in image else image.dims
    if isinstance(image, xr.Dataset) and "signal" not in image:
        msg = f"a Dataset needs the variable 'signal'; this one has {', '.join(map(str, image)) or 'none'}"
        raise SettingError(msg)
    if set(dims) == {"y", "x"}:
        return {"L": image}
    if set(dims) == {"channel", "y", "x"}:
        return {str(name): image.sel(channel=name, drop=True) for name in image["channel"].values}
    hint = "; take one frame with .isel(frame=0), or combine them" if "frame" in dims else ""
    msg = f"one picture has the dims (y, x) or (channel, y, x); found {dims}{hint}"
    raise SettingError(msg)


def measure_background(image: xr.DataArray | xr.Dataset) -> dict[str, Background]:
    """The background of every channel of one picture, from a sample of it.

    Parameters
    ----------
    image : xarray.DataArray or xarray.Dataset
        Dims (y, x) or (channel, y, x), lazy or not; of a Dataset its ``signal``, without flagged pixels.

    Returns
    -------
    dict
        Channel → `Background`; ``"L"`` where there is one plane only.

    Raises
    ------
    SettingError
        It is not one picture.
    """
    return {name: background_of(sample_pixels(plane)) for name, plane in planes_of_picture(image).items()}

"""The straight line of the photon transfer curve, where it ends, and how far it bends."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from calibkit.errors import CalibkitError
from calibkit.sensor.tile_pairs import Points

#: Share of saturation up to which the slope is fitted (EMVA 1288, 6.6).
FIT_RANGE = 0.7
#: The brightest tile has to be this many times as bright as the faintest for a slope.
_LEAST_SPAN = 2.0
#: Past its maximum the variance has to fall by this share, and by so many sigma, to call it saturation.
_FALL, _FALL_SIGMA = 0.1, 5.0
#: A variance below this share of its maximum is that of pixels that are all full; they begin to be so by this share
#: of the level below, since pixels differ.
_STILL, _CLOSE = 0.01, 0.02


def check_span(points: list[Points], channels: tuple[str, ...]) -> None:
    """Refuse curves of one level."""
    for p, name in zip(points, channels, strict=True):
        bright = p.signal[p.signal > 0]
        if not bright.size:
            msg = f"measure_photon_transfer: the flats are no brighter than the darks in channel {name}"
            raise CalibkitError(msg)
        if bright.max() < _LEAST_SPAN * bright.min():
            msg = (
                f"measure_photon_transfer: one level only: all tiles of channel {name} lie between {bright.min():.0f} and "
                f"{bright.max():.0f} ADU above the darks, and a curve needs levels that differ by a factor of "
                f"{_LEAST_SPAN:g} at least. Take flats of more exposures, or use calibkit.measure_gain for the gain alone"
            )
            raise CalibkitError(msg)


@dataclass(frozen=True)
class Fit:
    """The curve of one channel; NaN for what it does not show.

    Attributes
    ----------
    slope, slope_error : float
        ADU per electron.
    limit : float
        Level above the darks, ADU, up to which points are fitted.
    saturation, saturation_error : float
        Level above the darks, ADU, at which the variance is largest.
    end : float
        Level of the brightest point that was fitted.
    curvature, curvature_error : float
        Share by which the variance there differs from the line of low signals.
    """

    slope: float
    slope_error: float
    limit: float
    saturation: float
    saturation_error: float
    end: float
    curvature: float
    curvature_error: float


def fit_curve(points: Points, dark_variance: float, dark_error: float, stated: float) -> Fit:
    """Fit one channel; *stated* is the saturation above the darks that the frames state, in case none is seen."""
    x, y = points.signal, points.variance - dark_variance
    top, top_error = _saturation(points)
    reference = top if math.isfinite(top) else stated
    limit = FIT_RANGE * reference if math.isfinite(reference) and reference > 0 else math.inf
    use = (x > 0) & (x <= limit)
    if not use.any():
        return Fit(math.nan, math.nan, limit, top, top_error, math.nan, math.nan, math.nan)
    x, y, relative = x[use], y[use], points.model_error[use]
    slope = float((y / relative**2).sum() / (x / relative**2).sum())
    noise = relative * (max(dark_variance, 0.0) + np.maximum(slope, 0.0) * x)
    noise = np.maximum(noise, 1e-12)
    weight = 1.0 / noise**2
    sxx = float((weight * x * x).sum())
    slope = float((weight * x * y).sum()) / sxx
    error = math.sqrt(1.0 / sxx + ((weight * x).sum() / sxx * dark_error) ** 2)
    bend, bend_error = _curvature(x, y, weight, dark_error)
    return Fit(slope, error, limit, top, top_error, float(x.max()), bend, bend_error)


def _saturation(points: Points) -> tuple[float, float]:
    """Level at which the variance peaks and its error; NaN where it does not fall clearly after its maximum."""
    x, v = points.signal, points.variance
    if x.size < 3:
        return math.nan, math.nan
    best = int(np.argmax(v))
    after = slice(best + 1, None)
    fall = v[best] - v[after]
    sigma = np.hypot(points.model_error[best], points.model_error[after]) * v[best]
    if best == 0 or not ((fall > _FALL * v[best]) & (fall > _FALL_SIGMA * sigma)).any():
        return math.nan, math.nan
    high = float(x[best + 1])
    if v[best + 1] < _STILL * v[best]:  # every pixel is at its end: the peak lies just below
        return high, _CLOSE * high
    return float(x[best]), float(x[best + 1] - x[best - 1]) / math.sqrt(12.0)


def _curvature(x: np.ndarray, y: np.ndarray, weight: np.ndarray, dark_error: float) -> tuple[float, float]:
    """c of y = K x (1 + c x / x_max), and its error."""
    if x.size < 3 or x.max() < 2 * _LEAST_SPAN * x.min():
        return math.nan, math.nan
    design = np.stack([x, x * x / x.max()], axis=1)
    normal = design.T @ (weight[:, None] * design)
    if not np.linalg.cond(normal / np.outer(*[np.sqrt(np.diag(normal))] * 2)) < 1e10:
        return math.nan, math.nan
    inverse = np.linalg.inv(normal)
    k, q = inverse @ (design.T @ (weight * y))
    shift = inverse @ (design.T @ weight) * dark_error  # the dark variance is common to all points
    covariance = inverse + np.outer(shift, shift)
    gradient = np.array([-q / k**2, 1 / k])
    return float(q / k), float(math.sqrt(gradient @ covariance @ gradient))


def check_slopes(fits: list[Fit], channels: tuple[str, ...]) -> None:
    """Refuse flats without photon noise."""
    dull = [name for fit, name in zip(fits, channels, strict=True) if not fit.slope > 3 * fit.slope_error]
    if dull:
        msg = (
            f"measure_photon_transfer: the variance does not grow with the level in channel {', '.join(dull)}: the flats "
            "are dark, saturated, or copies of each other"
        )
        raise CalibkitError(msg)

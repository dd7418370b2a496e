"""The generalised hyperbolic stretch: contrast where one wants it, and straight lines at both ends."""

from __future__ import annotations

import math

import numpy as np

from calibkit.errors import SettingError


def hyperbolic_curve(
    x: np.ndarray | float,
    factor: float,
    *,
    intensity: float = 0.0,
    symmetry: float = 0.0,
    protect: tuple[float, float] = (0.0, 1.0),
) -> np.ndarray:
    """Generalised hyperbolic stretch: 0 → 0, 1 → 1, steepest at the point of symmetry.

    Parameters
    ----------
    x : array_like
        Fractions; values outside 0 … 1 are clipped.
    factor : float
        Slope before normalisation, D ≥ 0; 0 is a straight line. Programs often ask for ln(D + 1).
    intensity : float
        How much the contrast is gathered around the point of symmetry, b: −1 logarithmic, 0 exponential,
        1 harmonic (for *symmetry* 0 that is the midtones transfer function), above 1 hyperbolic.
    symmetry : float
        The fraction SP where the contrast is greatest.
    protect : tuple of float
        (LP, HP): below LP and above HP the curve goes on straight; LP ≤ *symmetry* ≤ HP.

    Returns
    -------
    numpy.ndarray
        float64, the shape of *x*, never falling.

    Raises
    ------
    SettingError
        A factor below zero, or points that are not 0 ≤ LP ≤ SP ≤ HP ≤ 1.

    Notes
    -----
    With the base curve T(x), T(0) = 0 and T′(0) = D: ln(1 + D x) for b = −1; (1 − (1 − b D x)^((b + 1)/b)) / (b + 1)
    for other b < 0; 1 − exp(−D x) for b = 0; 1 − (1 + b D x)^(−1/b) for b > 0. The curve is −T(SP − x) below SP
    and T(x − SP) above, continued by its tangents outside LP … HP, and scaled so that 0 → 0 and 1 → 1.

    References
    ----------
    Payne and Cranfield 2021, Generalised Hyperbolic Stretch, https://ghsastro.co.uk

    Examples
    --------
    >>> hyperbolic_curve([0.0, 0.1, 1.0], 8.0, intensity=1.0)
    array([0. , 0.5, 1. ])
    """
    low, high = (float(point) for point in protect)
    if not 0.0 <= low <= symmetry <= high <= 1.0:
        msg = f"protect=({low:g}, {high:g}), symmetry={symmetry:g}: allowed are 0 ≤ LP ≤ SP ≤ HP ≤ 1"
        raise SettingError(msg)
    if not (factor >= 0.0 and math.isfinite(factor) and math.isfinite(intensity)):
        msg = f"factor={factor:g}, intensity={intensity:g}: the factor is 0 (a straight line) or more, and both are finite"
        raise SettingError(msg)
    x = np.clip(np.asarray(x, np.float64), 0.0, 1.0)
    if factor == 0.0:
        return x

    def whole(values: np.ndarray) -> np.ndarray:
        inner = np.clip(values, low, high) - symmetry
        bent = np.copysign(_base(np.abs(inner), factor, intensity), inner)
        ends = np.where(values < low, values - low, 0.0) * _slope(symmetry - low, factor, intensity)
        return (
            bent
            + ends
            + np.where(values > high, values - high, 0.0) * _slope(high - symmetry, factor, intensity)
        )

    first, last = whole(np.array([0.0, 1.0]))
    return np.where(np.isnan(x), np.nan, np.clip((whole(x) - first) / (last - first), 0.0, 1.0))


def factor_for(
    fraction: float,
    brightness: float,
    *,
    intensity: float = 0.0,
    symmetry: float = 0.0,
    protect: tuple[float, float] = (0.0, 1.0),
) -> float:
    """The factor with which the curve shows *fraction* at *brightness*, or as near as it comes."""
    if not 0.0 < fraction < brightness:
        return 0.0
    low, high = 1e-6, math.expm1(10.0)  # as far as other programs go: ln(D + 1) = 10
    for _ in range(80):
        middle = math.sqrt(low * high)
        shown = hyperbolic_curve(fraction, middle, intensity=intensity, symmetry=symmetry, protect=protect)
        if float(shown) < brightness:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


def _base(x: np.ndarray, d: float, b: float) -> np.ndarray:
    if b == -1.0:
        return np.log1p(d * x)
    if b == 0.0:
        return -np.expm1(-d * x)
    # Written with log1p and expm1, so that b near 0 and −1 goes over into the two lines above.
    growth = np.log1p(abs(b) * d * x)
    if b < 0.0:
        return -np.expm1(growth * (b + 1.0) / b) / (b + 1.0)
    return -np.expm1(-growth / b)


def _slope(x: float, d: float, b: float) -> float:
    if b == 0.0:
        return d * math.exp(-d * x)
    if b < 0.0:
        return d * (1.0 - b * d * x) ** (1.0 / b)
    return d * (1.0 + b * d * x) ** (-1.0 / b - 1.0)

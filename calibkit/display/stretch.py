"""Brightness scaling: which value is shown black, which white, and how the values between are spread.

A stretch changes what is seen and never the data. Three numbers describe it: *black* and *white* are
values in the image's own unit, *midtone* is the fraction of the way from black to white that is shown at
half brightness. One half is a straight line; smaller values bring up the faint parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from calibkit.errors import SettingError

Curve = Literal["linear", "asinh", "mtf"]
CURVES: tuple[Curve, ...] = ("linear", "asinh", "mtf")

#: Maps that keep their order for colour-blind eyes and in print; the last is for differences.
PALETTES = ("grey", "cividis", "viridis", "magma", "blue–red")

#: A robust standard deviation is this times the median absolute deviation, for normal noise.
_MAD_TO_SIGMA = 1.4826022185056018
#: The automatic stretch puts black this many σ below the background, and the background at this brightness.
SHADOWS, BACKGROUND = -2.8, 0.25
#: The automatic stretch's white, as a percentile.
_WHITE = 99.98
#: Least σ of a background that is nearly all one number, as a fraction of the way from it to white.
_COARSEST = 0.005


class Levels(NamedTuple):
    """A stretch: the values shown black and white, and the fraction between them at half brightness."""

    black: float
    white: float
    midtone: float = 0.5


def mtf(x: np.ndarray | float, midtone: float) -> np.ndarray:
    """Midtones transfer function: 0 → 0, *midtone* → ½, 1 → 1.

    Parameters
    ----------
    x : array_like
        Fractions; values outside 0 … 1 are clipped.
    midtone : float
        Between 0 and 1, neither included.

    Returns
    -------
    numpy.ndarray

    Notes
    -----
    MTF(x) = (m − 1) x / ((2m − 1) x − m), the rational function through these three points that image
    processing programs for astronomy share.

    Examples
    --------
    >>> mtf([0.0, 0.1, 1.0], 0.1)
    array([0. , 0.5, 1. ])
    """
    _check_midtone(midtone)
    x = np.clip(x, 0.0, 1.0)
    return (midtone - 1.0) * x / ((2.0 * midtone - 1.0) * x - midtone)


def asinh_curve(x: np.ndarray | float, midtone: float) -> np.ndarray:
    """Inverse hyperbolic sine: 0 → 0, *midtone* → ½, 1 → 1; linear at the faint end, logarithmic above.

    Parameters
    ----------
    x : array_like
        Fractions; values outside 0 … 1 are clipped.
    midtone : float
        Between 0 and 0.5. From 0.5 the curve is a straight line.

    Returns
    -------
    numpy.ndarray

    Notes
    -----
    With asinh(x / β) / asinh(1 / β) = ½ at x = m, and s = asinh(1 / β), m = sinh(s/2) / sinh(s) =
    1 / (2 cosh(s/2)). See Lupton et al. 2004, PASP 116, 133.
    """
    _check_midtone(midtone)
    x = np.clip(x, 0.0, 1.0)
    if midtone >= 0.5:
        return x
    s = 2.0 * math.acosh(1.0 / (2.0 * midtone))
    return np.arcsinh(x * math.sinh(s)) / s


def stretch(
    values: np.ndarray, black: float, white: float, midtone: float = 0.5, *, curve: Curve = "linear"
) -> np.ndarray:
    """Brightness between 0 and 1 of every value.

    Parameters
    ----------
    values : array_like
        In any unit; NaN stays NaN.
    black, white : float
        The values shown black and white, in the same unit.
    midtone : float
        Fraction of the way from black to white shown at half brightness; has no effect on "linear".
    curve : {"linear", "asinh", "mtf"}

    Returns
    -------
    numpy.ndarray
        float64, the shape of *values*.

    Raises
    ------
    SettingError
        White is not above black, the midtone is not between 0 and 1, or the curve is not known.

    Examples
    --------
    >>> stretch(np.array([100.0, 150.0, 200.0, 900.0]), 100, 200)
    array([0. , 0.5, 1. , 1. ])
    """
    if not (math.isfinite(black) and math.isfinite(white) and white > black):
        msg = f"black={black:g}, white={white:g}: white has to be above black"
        raise SettingError(msg)
    fraction = np.clip((np.asarray(values, np.float64) - black) / (white - black), 0.0, 1.0)
    if curve == "linear":
        return fraction
    if curve == "asinh":
        return asinh_curve(fraction, midtone)
    if curve == "mtf":
        return mtf(fraction, midtone)
    msg = f"curve={curve!r}: allowed are {', '.join(map(repr, CURVES))}"
    raise SettingError(msg)


def auto_levels(values: np.ndarray, *, curve: Curve = "mtf", brightness: float = BACKGROUND) -> Levels:
    """A stretch in which background and faint detail are seen and neither is clipped.

    Parameters
    ----------
    values : array_like
        A sample of single pixels; NaN is left out. A million is plenty.
    curve : {"linear", "asinh", "mtf"}
    brightness : float
        Of the median, between 0 and 1.

    Returns
    -------
    Levels

    Raises
    ------
    SettingError
        The curve is not known.

    Notes
    -----
    Black is 2.8 robust standard deviations below the median, so that the background keeps its noise. With
    "asinh" and "mtf" white is the 99.98th percentile and the midtone brings the median to *brightness*, unless
    it is brighter than that already. With "linear" white is the median + 12 σ, but between the 99.5th and the 99.98th percentile.
    """
    if curve not in CURVES:
        msg = f"curve={curve!r}: allowed are {', '.join(map(repr, CURVES))}"
        raise SettingError(msg)
    values = np.asarray(values, np.float64).ravel()
    values = values[np.isfinite(values)]
    if values.size == 0:
        return Levels(0.0, 1.0)
    high, most = (float(q) for q in np.percentile(values, (99.5, _WHITE)))
    median, sigma = _centre_and_sigma(values)
    black = median + SHADOWS * sigma
    white = max(high, min(median + 12.0 * sigma, most)) if curve == "linear" else most
    if not white > black:  # all pixels are alike
        reach = max(abs(median) * 1e-3, 1e-6)
        return Levels(median - reach, median + reach)
    background = (median - black) / (white - black)
    return Levels(black, white, midtone_for(background, curve, brightness))


def difference_levels(values: np.ndarray) -> Levels:
    """Levels for a difference: as far below the middle as above, which is zero wherever that can be.

    Parameters
    ----------
    values : array_like
        A sample of the difference; NaN is left out.

    Returns
    -------
    Levels

    Notes
    -----
    All but one value in two hundred lie in between. Where nearly all of them lie on one side of zero (an
    offset was subtracted) the middle is their median, or nothing but that offset would be seen.
    """
    values = np.asarray(values, np.float64).ravel()
    values = values[np.isfinite(values)]
    if values.size == 0:
        return Levels(-1.0, 1.0)
    low, median, high = (float(q) for q in np.percentile(values, (0.5, 50.0, 99.5)))
    middle = 0.0 if low <= 0.0 <= high else median
    reach = max(middle - low, high - middle) or max(1.0, 1e-3 * abs(middle))
    return Levels(middle - reach, middle + reach)


def balance(planes: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    """Gain and shift with which every plane of a colour view gets the background of the middle one.

    Parameters
    ----------
    planes : sequence of array_like
        Samples of red, green and blue; one plane stays as it is.

    Returns
    -------
    list of tuple of float
        (gain, shift) for each plane: ``gain · value + shift`` has the median and the robust standard
        deviation of the middle plane. For display alone: a grey sky in place of a green one.
    """
    if len(planes) == 1:
        return [(1.0, 0.0)]
    spreads = [_centre_and_sigma(np.asarray(plane, np.float64)) for plane in planes]
    centre, sigma = spreads[len(planes) // 2]
    gains = [sigma / s if s > 0.0 and sigma > 0.0 else 1.0 for _, s in spreads]
    return [(gain, centre - gain * c) for gain, (c, _) in zip(gains, spreads, strict=True)]


def histogram(
    values: np.ndarray, low: float, high: float, *, bins: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """How many values fall into equal bins between *low* and *high*.

    Parameters
    ----------
    values : array_like
        NaN is left out, and so is what lies outside.
    low, high : float
    bins : int
        At most this many. Whole numbers get bins of one or more whole numbers each, so that no bin is empty
        just because of where its edges lie.

    Returns
    -------
    counts : numpy.ndarray
        int64.
    edges : numpy.ndarray
        float64, one more than the counts.
    """
    values = np.asarray(values).ravel()
    values = values[np.isfinite(values)]
    if not high > low:
        low, high = low - 0.5, low + 0.5
    width = (high - low) / bins
    if values.size and bool((values[:10_000] == np.rint(values[:10_000])).all()):
        width = max(1.0, math.ceil(width))
        low = math.floor(low + 0.5) - 0.5
        bins = max(1, math.ceil((high - low) / width))
        high = low + bins * width
    counts, edges = np.histogram(values, bins=bins, range=(low, high))
    return counts, edges


#: Probabilities of `quantiles`: fine at both ends, where the clipped pixels are.
_TAIL = np.geomspace(1e-6, 1e-2, 60)
_PROBABILITIES = np.concatenate([[0.0], _TAIL, np.linspace(0.02, 0.98, 97), 1.0 - _TAIL[::-1], [1.0]])


def quantiles(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A short table of how the values are spread, good enough to tell which fraction any level clips.

    Parameters
    ----------
    values : array_like
        NaN is left out.

    Returns
    -------
    probabilities, values : numpy.ndarray
        Both rising; empty where there are no values.
    """
    values = np.asarray(values).ravel()
    values = np.sort(values[np.isfinite(values)])  # faster than as many partitions
    if values.size == 0:
        return np.empty(0), np.empty(0)
    ranks = np.ceil(_PROBABILITIES * values.size).astype(np.int64) - 1
    return _PROBABILITIES, values[np.clip(ranks, 0, values.size - 1)].astype(np.float64)


def colours(palette: str) -> np.ndarray:
    """The 256 colours of a map, from dark to bright, as uint8 of shape (256, 3).

    Parameters
    ----------
    palette : str
        One of `PALETTES`.

    Returns
    -------
    numpy.ndarray

    Raises
    ------
    SettingError
        There is no such map.
    """
    if palette == "grey":
        return np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    from bokeh import palettes

    if palette in PALETTES[:-1]:
        return _rgb(getattr(palettes, f"{palette.title()}256"))
    if palette == PALETTES[-1]:
        anchors = _rgb(palettes.RdBu11).astype(float)
        places = np.linspace(0.0, 1.0, len(anchors))
        wanted = np.linspace(0.0, 1.0, 256)
        return (
            np.stack([np.interp(wanted, places, anchors[:, c]) for c in range(3)], 1).round().astype(np.uint8)
        )
    msg = f"palette={palette!r}: allowed are {', '.join(map(repr, PALETTES))}"
    raise SettingError(msg)


def picture(
    planes: np.ndarray, levels: Levels, *, curve: Curve = "linear", palette: str = "grey"
) -> np.ndarray:
    """A picture of one plane through a colour map, or of three planes as red, green and blue.

    Parameters
    ----------
    planes : numpy.ndarray
        Shape (1 or 3, rows, columns); NaN (no data) becomes transparent.
    levels : Levels
    curve : {"linear", "asinh", "mtf"}
    palette : str
        One of `PALETTES`; has no effect on three planes.

    Returns
    -------
    numpy.ndarray
        uint8, shape (rows, columns, 4): red, green, blue, opacity.

    Raises
    ------
    SettingError
        The levels, curve or palette cannot be.
    """
    shades = np.stack([stretch(plane, *levels, curve=curve) for plane in planes])
    nothing = np.isnan(shades).any(axis=0)
    steps = np.round(255.0 * np.nan_to_num(shades)).astype(np.uint8)
    rgb = colours(palette)[steps[0]] if len(planes) == 1 else np.moveaxis(steps, 0, -1)
    rgba = np.dstack([rgb, np.full(nothing.shape, 255, np.uint8)])
    rgba[nothing] = 0
    return rgba


def _centre_and_sigma(values: np.ndarray) -> tuple[float, float]:
    """Median and robust standard deviation of the finite values, (0, 0) where there are none.

    Where more than half of the values are one number (frames scaled to few steps) the spread is that of the
    middle 68 % of them; where those are one number too, that of the middle 95 % or 99 %, and at least `_COARSEST` of
    what the brightest are above it, or such a background would be as black as black, and every star as white as white.
    """
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 0.0
    centre = float(np.median(values))
    sigma = _MAD_TO_SIGMA * float(np.median(np.abs(values - centre)))
    for tail, width, least in ((16.0, 2.0, 0.0), (2.5, 4.0, _COARSEST), (0.5, 5.2, _COARSEST)):
        if sigma == 0.0:
            low, high, most = np.percentile(values, (tail, 100.0 - tail, _WHITE))
            sigma = max(float(high - low) / width, least * float(most - centre))
    return centre, sigma


def _check_midtone(midtone: float) -> None:
    if not 0.0 < midtone < 1.0:
        msg = f"midtone={midtone:g}: allowed is anything above 0 and below 1; 0.5 is a straight line"
        raise SettingError(msg)


def midtone_for(fraction: float, curve: Curve, brightness: float = BACKGROUND) -> float:
    """The midtone with which *curve* shows *fraction* of the way from black to white at *brightness*.

    One half, a straight line, where that is as bright or cannot be.
    """
    if curve == "linear" or not 0.0 < fraction < brightness:
        return 0.5
    if curve == "mtf":  # the function is its own inverse in this sense
        return float(mtf(fraction, brightness))
    low, high = 1e-9, 0.5
    for _ in range(60):  # brightness falls as the midtone rises
        middle = math.sqrt(low * high)
        if float(asinh_curve(fraction, middle)) > brightness:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


def _rgb(names: tuple[str, ...]) -> np.ndarray:
    return np.array([[int(name[i : i + 2], 16) for i in (1, 3, 5)] for name in names], dtype=np.uint8)

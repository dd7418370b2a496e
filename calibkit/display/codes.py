"""Values as 16-bit codes, for a display that has to be sent them and then stretches them itself.

Frames of whole numbers keep every number. Measured values keep far more than their noise: where a
straight scale from the smallest to the largest value would be too coarse (one saturated star among faint
sky), the scale is an inverse hyperbolic sine, fine near the background and proportional far above it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: The code of a value that is not there.
NO_VALUE = 65535
_STEPS = NO_VALUE - 1
_MAD_TO_SIGMA = 1.4826022185056018
#: A straight scale will do if its step is at most this part of the noise.
_FINE_ENOUGH = 1 / 32


@dataclass(frozen=True)
class Scale:
    """How a code is a value: ``offset + scale · code``, or ``offset + scale · sinh(start + step · code)``.

    The second where ``step`` is not zero.
    """

    offset: float
    scale: float
    start: float = 0.0
    step: float = 0.0

    def values(self, codes: np.ndarray) -> np.ndarray:
        """float64 values of *codes*, NaN for `NO_VALUE`."""
        numbers = np.asarray(codes, np.float64)
        if self.step:
            numbers = np.sinh(self.start + self.step * numbers)
        return np.where(np.asarray(codes) == NO_VALUE, np.nan, self.offset + self.scale * numbers)


def encode(values: np.ndarray) -> tuple[np.ndarray, Scale]:
    """Codes of *values* and the scale that turns them back.

    Parameters
    ----------
    values : numpy.ndarray
        Real numbers of any shape; what is not finite becomes `NO_VALUE`.

    Returns
    -------
    codes : numpy.ndarray
        uint16, the shape of *values*.
    scale : Scale
        Whole numbers that span less than 65 535 come back exactly. Other values come back within 1/64 of
        their robust standard deviation, or within 1/1000 of their distance from the median.

    Examples
    --------
    >>> codes, scale = encode(np.array([7.0, 9.0, np.nan]))
    >>> codes, scale.values(codes)
    (array([    0,     2, 65535], dtype=uint16), array([ 7.,  9., nan]))
    """
    values = np.asarray(values, np.float64)
    finite = np.isfinite(values)
    good = values[finite]
    if good.size == 0:
        return np.full(values.shape, NO_VALUE, np.uint16), Scale(0.0, 1.0)
    low, high = float(good.min()), float(good.max())
    few = good[:: max(1, good.size // 50_000)]
    if high - low <= _STEPS and bool((few == np.rint(few)).all()) and bool((good == np.rint(good)).all()):
        scale = Scale(low, 1.0)
    else:
        centre = float(np.median(few))
        sigma = _MAD_TO_SIGMA * float(np.median(np.abs(few - centre)))
        if (high - low) / _STEPS <= sigma * _FINE_ENOUGH or sigma == 0.0:
            scale = Scale(low, (high - low) / _STEPS or 1.0)
        else:
            width = 4.0 * sigma
            first, last = np.arcsinh((low - centre) / width), np.arcsinh((high - centre) / width)
            scale = Scale(centre, width, float(first), float((last - first) / _STEPS))
    codes = np.full(values.shape, NO_VALUE, np.uint16)
    numbers = (good - scale.offset) / scale.scale
    if scale.step:
        numbers = (np.arcsinh(numbers) - scale.start) / scale.step
    codes[finite] = np.clip(np.rint(numbers), 0, _STEPS)
    return codes, scale

"""What stands out pixel by pixel: the frame above its surroundings of one colour, and where stars are."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

#: A star is where the median of 3 × 3 residuals of one colour stands out by this many sigma.
_STAR_SIGMA = 4.0
#: Side of the square whose mean is the sky around a star, in pixels of one colour.
_SKY = 65


def touched(bad: np.ndarray, step: tuple[int, int]) -> np.ndarray:
    """Pixels whose `high_pass` value holds a bad one, and the rim."""
    return ndimage.binary_dilation(bad, _footprint(step), border_value=1)


def fill(array: np.ndarray, good: np.ndarray, step: tuple[int, int]) -> np.ndarray:
    """Something harmless in place of bad pixels: they are left out, but filters pass over them."""
    out = array.copy()
    for at in _sites(step):
        plane, fine = out[at], good[at]
        plane[~fine] = np.median(plane[fine]) if fine.any() else 0.0
    return out


def high_pass(array: np.ndarray, step: tuple[int, int]) -> np.ndarray:
    """Every pixel minus the mean of its eight nearest neighbours of the same place in the colour pattern."""
    weights = -_footprint(step).astype(float) / 8
    weights[step[0], step[1]] = 1.0
    return ndimage.convolve(array, weights, mode="nearest")


def star_mask(residual: np.ndarray, step: tuple[int, int]) -> np.ndarray:
    """Where stars are in a light without its dark; each place of the colour pattern has a sky of its own."""
    found = np.zeros(residual.shape, bool)
    for at in _sites(step):
        plane = residual[at]
        if not plane.size:
            continue
        smooth = ndimage.median_filter(plane, 3, mode="nearest")
        sky = np.clip(smooth, *np.percentile(smooth, (5, 75)))
        smooth -= ndimage.uniform_filter(sky, _SKY, mode="nearest")
        smooth -= np.median(smooth)
        found[at] = smooth > _STAR_SIGMA * robust_sigma(smooth)
    return ndimage.binary_dilation(found, iterations=2)


def robust_sigma(values: np.ndarray) -> float:
    """Scatter of most values: 1.4826 × their median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _footprint(step: tuple[int, int]) -> np.ndarray:
    """The pixel and its eight nearest neighbours of the same place in the colour pattern."""
    foot = np.zeros((2 * step[0] + 1, 2 * step[1] + 1), bool)
    foot[:: step[0], :: step[1]] = True
    return foot


def _sites(step: tuple[int, int]) -> list[tuple[slice, slice]]:
    return [
        (slice(i, None, step[0]), slice(j, None, step[1])) for i in range(step[0]) for j in range(step[1])
    ]

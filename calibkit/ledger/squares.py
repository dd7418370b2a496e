"""The root of a sum of squares as a drawing: right angles laid one upon the other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def root_sum_path(sigmas: Sequence[float]) -> np.ndarray:
    """Corners of right-angled triangles whose last hypotenuse is √(A² + B² + C² + …).

    Parameters
    ----------
    sigmas : sequence of float
        A, B, C, …; none negative.

    Returns
    -------
    numpy.ndarray
        Shape (n + 1, 2): the first leg goes from the origin to the right, and each of the following ones stands
        at right angles on the line from the origin to where the last one ended.

    Notes
    -----
    The distance of each corner from the origin is the root of the sum of squares so far (Pythagoras).

    Examples
    --------
    >>> root_sum_path([3, 4]).round(6).tolist()
    [[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]]
    """
    corners = [(0.0, 0.0)]
    length = angle = 0.0
    for sigma in sigmas:
        new = math.hypot(length, sigma)
        angle += math.atan2(sigma, length) if length > 0 else 0.0
        length = new
        corners.append((length * math.cos(angle), length * math.sin(angle)))
    return np.array(corners)

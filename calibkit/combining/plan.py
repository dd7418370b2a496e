"""What `combine` is going to do, decided before the pixels are read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from calibkit.combining.rejections import Rejection

METHODS = ("mean", "median", "sum", "minimum", "maximum")


@dataclass(frozen=True, eq=False)
class Noise:
    """Variance of a sample at the level m: ``floor + slope * max(m - zero, 0)``, each (frame, channel).

    All in the units of the normalised samples.
    """

    floor: np.ndarray
    slope: np.ndarray
    zero: np.ndarray

    @property
    def same_in_all_frames(self) -> bool:
        return all(bool((part == part[:1]).all()) for part in (self.floor, self.slope, self.zero))


@dataclass(frozen=True, eq=False)
class Plan:
    """Settings of one combination, complete and checked; small, so that it travels to other processes.

    ``scale`` and ``zero`` (frame, channel) normalise: a sample becomes ``scale * sample + zero``; None
    leaves the samples alone. ``weight`` and ``relative`` (frame, channel) are the weights and the
    variances of a sample but for a common factor; None weighs all alike. ``scatter_factor[k]`` turns the
    scatter of k samples over the number kept into the variance of the result, ``carried_factor[k]`` the
    mean of their own variances over the number kept.
    """

    method: str
    rejection: Rejection
    low: float
    high: float
    iterations: int
    keep: int
    n_frames: int
    cell: np.ndarray  # channel number of every site of the colour pattern, at the stack's first pixel
    scale: np.ndarray | None
    zero: np.ndarray | None
    weight: np.ndarray | None
    relative: np.ndarray | None
    noise: Noise | None
    scatter_factor: np.ndarray
    carried_factor: np.ndarray
    saturation: float  # in normalised units, NaN when not known

    @property
    def channels(self) -> int:
        return int(self.cell.max()) + 1

    def working_dtype(self, dtype: np.dtype, *, flagged: bool) -> np.dtype:
        """Type in which samples of *dtype* are sorted: their own when they are plain 16-bit numbers."""
        plain = self.scale is None and not flagged
        if plain and dtype in (np.uint8, np.uint16):
            return np.dtype(np.uint16)
        exact = np.can_cast(dtype, np.float32, casting="safe")
        return np.dtype(np.float32 if exact else np.float64)


@lru_cache(maxsize=256)
def critical_values(count: int, fraction: float, significance: float) -> np.ndarray:
    """Squares of Rosner's λ for *count* samples, as many as *fraction* of them allows, then a zero.

    λ_i = (N − i) t / √((N − i − 1 + t²)(N − i + 1)), t the 1 − α/(2(N − i + 1)) quantile of Student's t
    with N − i − 1 degrees of freedom (Rosner 1983, Technometrics 25, 165).
    """
    from scipy.special import stdtrit  # quantiles of Student's t; scipy.stats takes half a second to import

    most = min(int(fraction * count + 1e-9), count - 2)
    i = np.arange(1, max(most, 0) + 1)
    t = stdtrit(count - i - 1, 1 - significance / (2 * (count - i + 1)))
    limit = (count - i) * t / np.sqrt((count - i - 1 + t * t) * (count - i + 1))
    return np.append(limit**2, 0.0)

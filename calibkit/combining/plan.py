"""What `combine` is going to do, decided before any pixel is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibkit.combining.rejections import Rejection


@dataclass(frozen=True)
class Plan:
    """Settings of one combination, complete and checked; small, so that it travels to other processes."""

    method: str
    reject: Rejection
    low: float
    high: float
    iterations: int
    keep: int
    n_frames: int
    dtype: np.dtype  # working type of the samples

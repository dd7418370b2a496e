"""Combining a stack of frames into one: the public `combine` and `can_reject`."""

from calibkit.combining.engine import combine
from calibkit.combining.reach import Reach, can_reject
from calibkit.combining.rejections import REJECTIONS, Rejection
from calibkit.combining.trial import measure_levels, noise_by_count, pixel_samples

__all__ = [
    "REJECTIONS",
    "Reach",
    "Rejection",
    "can_reject",
    "combine",
    "measure_levels",
    "noise_by_count",
    "pixel_samples",
]

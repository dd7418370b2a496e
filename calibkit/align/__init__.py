"""From calibrated lights to one picture: stars, alignment, resampling, drizzle and stacking."""

from calibkit.align.quality import measure_quality
from calibkit.align.registering import register
from calibkit.align.resampling import resample
from calibkit.align.stacking import stack_lights
from calibkit.align.stars import Stars, find_stars
from calibkit.align.transforms import Transform, Transforms

__all__ = [
    "Stars",
    "Transform",
    "Transforms",
    "find_stars",
    "measure_quality",
    "register",
    "resample",
    "stack_lights",
]

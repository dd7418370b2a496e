"""From measured values to a picture: how bright every value is shown, without cutting the background off."""

from __future__ import annotations

from calibkit.brightness.hyperbolic import hyperbolic_curve
from calibkit.brightness.saving import save_picture
from calibkit.brightness.scaling import stretch_picture

__all__ = ["hyperbolic_curve", "save_picture", "stretch_picture"]

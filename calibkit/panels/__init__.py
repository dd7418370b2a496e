"""Panels for the notebook: every step as something to take hold of."""

from calibkit.panels.compare import ComparePanel
from calibkit.panels.image_view import ImageView
from calibkit.panels.numbers import NumbersPanel

__all__ = ["ComparePanel", "ImageView", "NumbersPanel"]

"""Combining a stack of frames into one: the public `combine` and `can_reject`."""

from calibkit.combining.engine import combine

__all__ = ["combine"]

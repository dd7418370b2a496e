"""Colour filter arrays: patterns, and the planes of a mosaic and back, as the ``.cfa`` accessor."""

from __future__ import annotations

from calibkit.cfa.accessor import CfaAccessor
from calibkit.cfa.pattern import Pattern
from calibkit.cfa.phase import channel_index, origin, pattern_of

__all__ = ["CfaAccessor", "Pattern", "channel_index", "origin", "pattern_of"]

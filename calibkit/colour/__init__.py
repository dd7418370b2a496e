"""From calibrated mosaics to colours, and to single spectral lines: always after calibration."""

from __future__ import annotations

from calibkit.colour.balance import colour_matrix, white_balance
from calibkit.colour.debayer import debayer
from calibkit.colour.early import convert_too_early
from calibkit.colour.lamp import LampColour, lamp_colour
from calibkit.colour.narrowband import channel_worth, extract_line

__all__ = [
    "LampColour",
    "channel_worth",
    "colour_matrix",
    "convert_too_early",
    "debayer",
    "extract_line",
    "lamp_colour",
    "white_balance",
]

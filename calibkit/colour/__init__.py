"""From calibrated mosaics to colours, and to single spectral lines: always after calibration."""

from __future__ import annotations

from calibkit.colour.balance import colour_matrix, white_balance
from calibkit.colour.debayer import debayer
from calibkit.colour.early import convert_too_early
from calibkit.colour.lamp import LampColour, lamp_colour
from calibkit.colour.mapping import combine_channels
from calibkit.colour.narrowband import channel_worth, extract_line
from calibkit.colour.neutral import neutralise_background

__all__ = [
    "LampColour",
    "channel_worth",
    "colour_matrix",
    "combine_channels",
    "convert_too_early",
    "debayer",
    "extract_line",
    "lamp_colour",
    "neutralise_background",
    "white_balance",
]

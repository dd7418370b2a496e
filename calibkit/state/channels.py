"""Settings of the panel that takes the channels of a colour sensor apart."""

from __future__ import annotations

import traitlets

from calibkit.state.base import State
from calibkit.state.view import Numbers


class ChannelsState(State):
    """Settings of a colour sensor's channels behind a filter.

    Attributes
    ----------
    line : str
        What is kept: a line ("Ha", "SII", "NII", "OIII", "Hb"), or channels joined by "+", such as "G1+B".
    size : {"half", "full"}
        Of the result, see `calibkit.extract_line`.
    region : tuple of float or None
        Edges in sensor pixels, (x0, x1, y0, y1), of what is seen; None: the whole frame.
    same_scale : bool
        One black and white for all channels; otherwise each its own.
    colour : {"R", "G", "B"}
        The colour in which the orders of work are compared.
    """

    call = "ChannelsPanel"
    line = traitlets.Unicode("Ha")
    size = traitlets.Enum(("half", "full"), "half")
    region = Numbers(4, "(x0, x1, y0, y1) in sensor pixels")
    same_scale = traitlets.Bool(True)
    colour = traitlets.Enum(("R", "G", "B"), "R")

"""Settings of the panel that shows an image as the numbers that it is."""

from __future__ import annotations

import traitlets

from calibkit.state.view import ViewState


class NumbersState(ViewState):
    """Settings of a picture beside the table of its pixel values.

    Attributes
    ----------
    centre : tuple of int or None
        Sensor pixel (y, x) in the middle of the table; None: that of the frame.
    rows, columns : int
        Size of the table, in pixels.
    shades : bool
        Whether the numbers have the shades of the picture behind them.
    counting : {"in bins", "every value"}
        What a step of the histogram is.
    """

    call = "NumbersPanel"
    centre = traitlets.Tuple(traitlets.Int(), traitlets.Int(), allow_none=True, default_value=None)
    rows = traitlets.Int(39, min=5, max=60)
    columns = traitlets.Int(30, min=5, max=40)
    shades = traitlets.Bool(True)
    counting = traitlets.Enum(("in bins", "every value"), "in bins")

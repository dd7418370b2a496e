"""Settings of the panel that prepares a flat frame step by step."""

from __future__ import annotations

import traitlets

from calibkit.flat.steps import STEPS
from calibkit.state.view import ViewState


class FlatState(ViewState):
    """Settings of a flat on its way.

    Attributes
    ----------
    step : str
        Which of `calibkit.flat.steps.STEPS` is shown.
    method, dark_method : {"mean", "median"}
        How flats and flat darks are combined.
    whole_numbers : int
        The flat is also kept in whole numbers, of which this one stands for a response of 1.
    """

    call = "FlatPanel"
    step = traitlets.Enum(STEPS, "flat")
    method = traitlets.Enum(("mean", "median"), "mean")
    dark_method = traitlets.Enum(("median", "mean"), "median")
    whole_numbers = traitlets.Enum((1, 10, 100, 1000, 10_000), 1)

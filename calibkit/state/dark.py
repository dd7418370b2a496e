"""Settings of the panel that looks into dark frames."""

from __future__ import annotations

import traitlets

from calibkit.state.view import CompareState


class DarkState(CompareState):
    """Settings of one dark beside the master of many.

    Attributes
    ----------
    frame : int
        Which one frame is shown, counted from 0.
    frames : int or None
        How many frames, from the first on, the master is made of; None: all.
    method : {"median", "mean"}
        How the master is combined.
    hot_sigma : float
        Hot are pixels that stand out from their surroundings by so many sigma.
    shared : bool
        One stretch for both.
    """

    call = "DarkPanel"
    frame = traitlets.Int(0, min=0)
    frames = traitlets.Int(None, allow_none=True, min=2)
    method = traitlets.Enum(("median", "mean"), "median")
    hot_sigma = traitlets.Float(5.0, min=2.0, max=50.0)
    shared = traitlets.Bool(True)

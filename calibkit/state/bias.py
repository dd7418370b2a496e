"""Settings of the panel that looks into bias frames."""

from __future__ import annotations

import traitlets

from calibkit.state.view import ViewState


class BiasState(ViewState):
    """Settings of a look at bias frames.

    Attributes
    ----------
    picture : {"one frame", "master"}
        What is shown, and whose histogram.
    frame : int
        Which one frame, counted from 0.
    frames : int or None
        How many frames, from the first on, the master is made of and the spectrum averages; None: all.
    method : {"mean", "median"}
        How the master is combined.
    """

    call = "BiasPanel"
    picture = traitlets.Enum(("one frame", "master"), "master")
    frame = traitlets.Int(0, min=0)
    frames = traitlets.Int(None, allow_none=True, min=2)
    method = traitlets.Enum(("mean", "median"), "mean")

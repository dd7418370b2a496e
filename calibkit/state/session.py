"""Settings of the panel that looks into a folder and calibrates what is there."""

from __future__ import annotations

import traitlets

from calibkit.state.base import State

#: Names of the sample sessions, as `calibkit.sample_session` has them.
SAMPLE_NAMES = ("ccd", "dslr", "dslr warming")


class SessionState(State):
    """Settings of a session that is scanned and run.

    Attributes
    ----------
    folder : str
        The folder of the frames; "": none yet.
    out : str
        The folder of the results; "": ``calibrated`` inside *folder*.
    repair : bool
        Replace hot and other bad pixels.
    method : {"mean", "median"}
        How the frames of a master are combined.
    """

    call = "SessionPanel"
    folder = traitlets.Unicode("")
    out = traitlets.Unicode("")
    repair = traitlets.Bool(True)
    method = traitlets.Enum(("mean", "median"), "mean")

"""Settings of the noise budget and of a night's plan."""

from __future__ import annotations

import traitlets

from calibkit.state.base import State


class NoiseState(State):
    """Settings of the noise budget and of a night's plan.

    Attributes
    ----------
    channel : str
        Whose noise is shown; "": the first one that has light.
    unit : {"adu", "electron"}
        Of the budget.
    step : str
        After which step the sum of squares is drawn.
    hours : float
        Of the night that is planned.
    overhead : float
        Seconds between two exposures.
    dithered : bool
    sky, read_noise, dark_current : float or None
        In e⁻/s per pixel and e⁻; None: as the frames, or the sensor's profile, have it.
    """

    call = "NoisePanel"
    channel = traitlets.Unicode("")
    unit = traitlets.Enum(("adu", "electron"), "adu")
    step = traitlets.Enum(("raw", "bias", "dark", "flat", "combined"), "raw")
    hours = traitlets.Float(4.0, min=0.1, max=12.0)
    overhead = traitlets.Float(10.0, min=0.0, max=120.0)
    dithered = traitlets.Bool(False)
    sky = traitlets.Float(None, allow_none=True, min=0.0)
    read_noise = traitlets.Float(None, allow_none=True, min=0.0)
    dark_current = traitlets.Float(None, allow_none=True, min=0.0)

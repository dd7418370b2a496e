"""Settings of a calibration that is switched on and off step by step."""

from __future__ import annotations

from typing import ClassVar

import traitlets

from calibkit.state.view import CompareState


class CalibrateState(CompareState):
    """Settings of a calibration, and of how it is looked at.

    Attributes
    ----------
    subtract_bias, subtract_dark, divide_flat, repair : bool
        Which steps are done, as far as there is a master for them.
    dark_scale : {None, "exposure"}
        Scale a dark without bias to the light's exposure.
    """

    call = "CalibratePanel"
    subtract_bias = traitlets.Bool(True)
    subtract_dark = traitlets.Bool(True)
    divide_flat = traitlets.Bool(True)
    repair = traitlets.Bool(True)
    dark_scale = traitlets.Enum((None, "exposure"), None, allow_none=True)

    #: Setting → the master that it is about.
    SWITCHES: ClassVar[dict[str, str]] = {
        "subtract_bias": "bias",
        "subtract_dark": "dark",
        "divide_flat": "flat",
    }

    def used(self, given: list[str]) -> list[str]:
        """Names of the masters that are used, of those that are *given*."""
        return [name for switch, name in self.SWITCHES.items() if name in given and getattr(self, switch)]

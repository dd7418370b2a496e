"""Settings of the panel in which the artifacts of a camera are switched on and off."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import traitlets

from calibkit.simulate.effects import EFFECTS
from calibkit.state.base import State


class Effects(traitlets.TraitType):
    """Names of effects, each once, in their order along the way of the light."""

    default_value = tuple(EFFECTS)
    info_text = f"names out of {', '.join(EFFECTS)}"

    def validate(self, obj: Any, value: Any) -> tuple[str, ...]:
        names = (value,) if isinstance(value, str) else value
        if not isinstance(names, Iterable) or not set(names) <= set(EFFECTS):
            self.error(obj, value)
        return tuple(name for name in EFFECTS if name in set(names))


class SignalChainState(State):
    """Settings of a simulated camera whose artifacts can be switched.

    Attributes
    ----------
    effects : tuple of str
        Names of `calibkit.simulate.EFFECTS` that are on.
    exposure : float
        Of the light and its darks, in seconds.
    temperature : float
        Of the detector, in °C.
    frames : int
        Bias, dark and flat frames in each master.
    """

    call = "SignalChainPanel"
    effects = Effects()
    exposure = traitlets.Float(120.0, min=1.0, max=600.0)
    temperature = traitlets.Float(-10.0, min=-40.0, max=30.0)
    frames = traitlets.Int(9, min=1, max=25)

"""Settings of the panel that scales the brightness of a finished picture."""

from __future__ import annotations

from typing import Any

import traitlets

from calibkit.brightness.scaling import PICTURE_CURVES
from calibkit.display.stretch import BACKGROUND
from calibkit.state.view import ViewState


class BrightnessState(ViewState):
    """Settings of a picture's brightness.

    Attributes
    ----------
    curve : {"linear", "asinh", "mtf", "ghs"}
    levels : tuple of float or None
        (black, white, midtone) in the image's unit, for all channels; None: automatic.
    brightness : float
        Of the background, where the curve is found automatically.
    linked : bool
        One scaling for all channels; otherwise each its own, automatic.
    intensity : float
        Of "ghs": how much the contrast is gathered around the background.
    allow_clipping : bool
        Make the picture although its background clips.
    plane : str
        The channel of a picture in colour that is looked at; "": the first.
    block : int
        Pixels on a side of the blocks over which the background is averaged.
    """

    call = "BrightnessPanel"
    curve = traitlets.Enum(PICTURE_CURVES, "mtf")
    mark_clipped = traitlets.Bool(True)
    brightness = traitlets.Float(BACKGROUND, min=0.05, max=0.6)
    linked = traitlets.Bool(True)
    intensity = traitlets.Float(0.0, min=-5.0, max=15.0)
    allow_clipping = traitlets.Bool(False)
    plane = traitlets.Unicode("")
    block = traitlets.Int(8, min=2, max=32)

    def options(self) -> dict[str, Any]:
        """What `calibkit.stretch_picture` is called with."""
        given: dict[str, Any] = {"curve": self.curve}
        if self.linked and self.levels is not None:
            given |= {"black": self.levels[0], "white": self.levels[1]}
            if self.curve in ("asinh", "mtf"):
                given["midtone"] = self.levels[2]
        given |= {name: getattr(self, name) for name in ("brightness", "linked", "allow_clipping")}
        if self.curve == "ghs":
            given["intensity"] = self.intensity
        return {name: value for name, value in given.items() if name == "curve" or value != self._usual(name)}

    def _usual(self, name: str) -> Any:
        return self._default_of(name) if name in self.setting_names() else None

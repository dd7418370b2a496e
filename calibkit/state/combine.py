"""Settings of a combination, and of how it is looked at."""

from __future__ import annotations

import traitlets

from calibkit.combining.normalise import NORMALISATIONS
from calibkit.combining.plan import METHODS
from calibkit.combining.rejections import REJECTIONS
from calibkit.combining.trial import MAPS
from calibkit.state.view import ViewState

#: Rejection → smallest and largest limit, and the step, that a slider offers below and above.
LIMITS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "percentile": ((0.01, 1.0, 0.01), (0.01, 1.0, 0.01)),
    "gesd": ((0.01, 0.9, 0.01), (0.001, 0.5, 0.001)),
    "minmax": ((0, 10, 1), (0, 10, 1)),
    "linear_fit": ((1.0, 10.0, 0.1), (1.0, 10.0, 0.1)),
}
USUAL_LIMITS = ((1.0, 6.0, 0.05), (1.0, 6.0, 0.05))


class CombineState(ViewState):
    """Settings of a combination, and of how it is looked at.

    Attributes
    ----------
    method : {"mean", "median", "sum", "minimum", "maximum"}
    reject : str
        ``"auto"`` or one of `calibkit.combining.REJECTIONS`.
    low, high : float or None
        Limits in the unit of the rejection, σ with ``"auto"``; None: its defaults.
    frames : int or None
        Only the first so many frames; None: all of them.
    normalise : str
        As for `combine`.
    weights : {"exposure", "noise"} or None
    shown : {"result", "noise", "rejected low", "rejected high", "kept"}
        What the picture is of.
    """

    call = "CombinePanel"
    method = traitlets.Enum(METHODS, "mean")
    reject = traitlets.Enum(("auto", *REJECTIONS), "auto")
    low = traitlets.Float(None, min=0.0, allow_none=True)
    high = traitlets.Float(None, min=0.0, allow_none=True)
    frames = traitlets.Int(None, min=1, allow_none=True)
    normalise = traitlets.Enum(("auto", *NORMALISATIONS), "auto")
    weights = traitlets.Enum((None, "exposure", "noise"), None, allow_none=True)
    shown = traitlets.Enum(MAPS, "result")

    def options(self) -> dict[str, object]:
        """Those settings that `calibkit.combine` takes, without those at their defaults."""
        names = ("method", "reject", "low", "high", "normalise", "weights")
        return {name: value for name, value in self.settings().items() if name in names}

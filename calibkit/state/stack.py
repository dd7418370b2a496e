"""Settings of the panel that aligns and combines calibrated lights."""

from __future__ import annotations

import traitlets

from calibkit.combining.rejections import REJECTIONS
from calibkit.state.view import CompareState


class StackState(CompareState):
    """Settings of the stack of a set of lights.

    Attributes
    ----------
    model : {"translation", "euclidean", "similarity", "affine"}
        What may differ between frames, see `calibkit.align.register`.
    left_out : tuple of int
        Numbers of the frames, from 0, that are left out by hand.
    judge : bool
        Leave out the frames that `calibkit.align.measure_quality` calls not usable, too.
    method : {"mean", "median"}
    reject : str
        ``"auto"`` or one of `calibkit.combining.REJECTIONS`.
    interpolation : {"lanczos3", "bicubic", "linear"}
    frame : int
        The frame that is shown beside the stack.
    """

    call = "StackPanel"
    model = traitlets.Enum(("translation", "euclidean", "similarity", "affine"), "similarity")
    left_out = traitlets.Tuple(default_value=())
    judge = traitlets.Bool(True)
    method = traitlets.Enum(("mean", "median"), "mean")
    reject = traitlets.Enum(("auto", *REJECTIONS), "auto")
    interpolation = traitlets.Enum(("lanczos3", "bicubic", "linear"), "lanczos3")
    frame = traitlets.Int(0, min=0)
    shared = traitlets.Bool(True)

    @traitlets.validate("left_out")
    def _frame_numbers(self, proposal: traitlets.Bunch) -> tuple[int, ...]:
        numbers = proposal["value"]
        if not all(isinstance(number, int) and number >= 0 for number in numbers):
            msg = f"left_out={numbers!r}: numbers of frames, from 0"
            raise traitlets.TraitError(msg)
        return tuple(sorted(set(numbers)))

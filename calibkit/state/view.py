"""Settings of an image viewer, and of two images compared in it."""

from __future__ import annotations

import math
from typing import Any

import traitlets

from calibkit.display.stretch import CURVES, PALETTES
from calibkit.display.view import MOSAIC
from calibkit.state.base import State

MODES = ("before", "after", "split", "side by side", "difference")


class Numbers(traitlets.TraitType):
    """A fixed count of finite numbers as a tuple of floats, or None."""

    def __init__(self, count: int, meaning: str, **metadata: Any) -> None:
        self.count = count
        super().__init__(None, allow_none=True, help=meaning, **metadata)
        self.info_text = f"None or {meaning}"

    def validate(self, obj: Any, value: Any) -> tuple[float, ...]:
        try:
            numbers = tuple(float(number) for number in value)
        except (TypeError, ValueError):
            numbers = ()
        if len(numbers) != self.count or not all(map(math.isfinite, numbers)):
            self.error(obj, value)
        return numbers


class LevelNumbers(Numbers):
    """A stretch: (black, white, midtone); None stands for the automatic one."""

    def __init__(self, **metadata: Any) -> None:
        super().__init__(3, "(black, white, midtone) with black < white and 0 < midtone < 1", **metadata)

    def validate(self, obj: Any, value: Any) -> tuple[float, ...]:
        numbers = super().validate(obj, value)
        if not (numbers[0] < numbers[1] and 0.0 < numbers[2] < 1.0):
            self.error(obj, value)
        return numbers


class ViewState(State):
    """Settings of an image viewer: what is shown, and how bright.

    Attributes
    ----------
    region : tuple of float or None
        Edges in sensor pixels, (x0, x1, y0, y1); None: the whole frame.
    channel : str
        ``"mosaic"``, ``"colour"`` or the name of a channel.
    reduce : {"mean", "max"}
        What a block of pixels is shown by.
    curve : {"linear", "asinh", "mtf"}
    palette : str
        One of `calibkit.display.stretch.PALETTES`.
    levels : tuple of float or None
        (black, white, midtone) in the image's unit; None: automatic.
    mark_clipped : bool
        Show what is cut off at black in blue and at white in orange.
    pixel : tuple of int or None
        The sensor pixel (y, x) that was last clicked.
    """

    call = "ImageView"
    region = Numbers(4, "(x0, x1, y0, y1) in sensor pixels")
    channel = traitlets.Unicode(MOSAIC)
    reduce = traitlets.Enum(("mean", "max"), "mean")
    curve = traitlets.Enum(CURVES, "mtf")
    palette = traitlets.Enum(PALETTES[:-1], "grey")
    levels = LevelNumbers()
    mark_clipped = traitlets.Bool(False)
    pixel = traitlets.Tuple(traitlets.Int(), traitlets.Int(), allow_none=True, default_value=None).tag(
        setting=False
    )


class CompareState(ViewState):
    """Settings of two images that are compared.

    Attributes
    ----------
    mode : {"before", "after", "split", "side by side", "difference"}
    split : float
        Where the divider is, as a fraction of the picture's width: left of it is *before*.
    shared : bool
        One stretch for both images.
    after_levels, difference_levels : tuple of float or None
        The stretch of the second image (when not shared; `levels` is that of the first) and of the
        difference after − before; None: automatic.
    """

    call = "ComparePanel"
    mode = traitlets.Enum(MODES, "split")
    split = traitlets.Float(0.5, min=0.0, max=1.0)
    shared = traitlets.Bool(False)
    after_levels = LevelNumbers()
    difference_levels = LevelNumbers()

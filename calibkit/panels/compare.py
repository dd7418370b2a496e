"""Any two images, before and after."""

from __future__ import annotations

from typing import Any

import traitlets
import xarray as xr

from calibkit.display.comparing import difference
from calibkit.display.images import Image
from calibkit.display.view import FrameView
from calibkit.errors import SettingError
from calibkit.panels.base import Panel
from calibkit.panels.errors import ErrorArea
from calibkit.panels.image_view import ImageView
from calibkit.panels.inputs import load_lines, with_imports
from calibkit.state import CompareState


class ComparePanel(Panel):
    """Two images with one zoom: divided, blinking, side by side, or their difference.

    Parameters
    ----------
    before, after : xarray.DataArray, xarray.Dataset, numpy.ndarray or path
        One frame each, with dims (y, x); of a Dataset its ``signal`` is shown, and a click tells its noise and
        flags too. Sensor coordinates put a cropped frame where it belongs.
    names : tuple of str
        What the two are called.
    height : int, optional
        Height of the picture in screen pixels; by default as the page allows.
    **settings
        Settings of `calibkit.state.CompareState`, e.g. ``mode="difference"``, ``channel="R"``.

    Raises
    ------
    SettingError
        The images cannot be shown, or a setting does not fit them.
    TypeError
        A setting that does not exist.

    Notes
    -----
    A frame of 24 megapixels is never sent: the page gets what its screen can show of the visible region, and
    sharp data after each zoom. Stretch, divider and blink move pixels on the page itself.

    Keys, with the pointer's focus on the panel: 1–5 what is shown, b swap, [ ] divider, + − zoom, arrows pan,
    0 whole frame, p pixel for pixel, a automatic stretch, c mark what is clipped.

    Examples
    --------
    >>> import numpy as np
    >>> panel = ComparePanel(np.zeros((40, 60)), np.ones((40, 60)), mode="difference")
    >>> panel
    ComparePanel(before 40 × 60 and after 40 × 60)
    >>> float(panel.result.mean())
    1.0
    """

    def __init__(
        self,
        before: Image | FrameView,
        after: Image | FrameView,
        *,
        names: tuple[str, str] = ("before", "after"),
        height: int | None = None,
        **settings: Any,
    ) -> None:
        state = CompareState(**settings)
        errors = ErrorArea()
        frames = [image if isinstance(image, FrameView) else FrameView(image) for image in (before, after)]
        if state.mode == "difference":
            self._check_difference(frames)
        super().__init__(state, errors)
        self._loads = load_lines(before=before, after=after)
        self.view = ImageView(*frames, names=names, state=state, errors=errors, height=height)
        state.observe(self._refuse_difference, "mode")
        self.assemble(self.view)

    def code_lines(self) -> list[str]:
        region = "" if self.state.region is None else f", region={self.state.region!r}"
        return with_imports(
            [
                "from calibkit import difference",
                "from calibkit.panels import ComparePanel",
                *self._loads,
                f"result = difference(before, after{region}).load()",
                self.state.code("before", "after"),
            ]
        )

    def compute(self) -> xr.DataArray:
        """After − before in the region that is seen, float32; see `calibkit.display.comparing.difference`."""
        return difference(*(frame.image for frame in self.view.frames), region=self.state.region).load()

    def describe(self) -> str:
        return self.view.label

    def png(self) -> bytes:
        return self.view.png()

    def _refuse_difference(self, change: traitlets.Bunch) -> None:
        if change["new"] == "difference":
            try:
                self._check_difference(self.view.frames)
            except SettingError:
                self.state.mode = change["old"]
                raise

    @staticmethod
    def _check_difference(frames: list[FrameView]) -> None:
        units = [frame.units or "no unit" for frame in frames]
        if units[0] != units[1]:
            msg = f"mode='difference': {units[0]} and {units[1]} have no difference; use another mode"
            raise SettingError(msg)

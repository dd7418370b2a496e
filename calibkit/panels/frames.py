"""What the panels of bias and dark frames have in common: a stack, one frame of it, a master of the first so many."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets
import traitlets
import xarray as xr

from calibkit.errors import SettingError
from calibkit.panels.base import Panel
from calibkit.panels.image_view import ImageView
from calibkit.state.base import State


class FramesPanel(Panel):
    """Base of panels whose state has ``frame``, the one that is shown, and ``frames``, how many are combined."""

    view: ImageView
    _stack: xr.DataArray

    def describe(self) -> str:
        count, height, width = self._stack.shape
        return f"{count} frames of {height} × {width}"

    def png(self) -> bytes:
        return self.view.png()

    def _take(self, stack: xr.DataArray, state: State, what: str) -> None:
        """Check and keep *stack*, and that *state* fits it; before the widgets are made."""
        if stack.dims != ("frame", "y", "x") or stack.sizes["frame"] < 2:
            msg = f"{type(self).__name__}: two or more {what} frames (frame, y, x) are wanted, found {dict(stack.sizes)}"
            raise SettingError(msg)
        self._stack = stack
        self._check(state)

    def _check(self, state: State) -> None:
        count = self._stack.sizes["frame"]
        if state.frame >= count or (state.frames or 0) > count:
            msg = f"frame={state.frame}, frames={state.frames}: there are {count} frames, counted from 0"
            raise SettingError(msg)

    def _check_change(self, change: traitlets.Bunch) -> None:
        """Put a setting that does not fit the frames back, and say so."""
        try:
            self._check(self.state)
        except SettingError:
            setattr(self.state, change["name"], change["old"])
            raise

    def _count(self) -> int:
        return self.state.frames or self._stack.sizes["frame"]

    def _whole_button(self, combine: Callable[[], None]) -> ipywidgets.Button:
        """The button for the master of the whole frames."""
        made = ipywidgets.Button(
            description="whole master",
            tooltip="Combine the whole frames and show them",
            layout={"width": "auto"},
        )
        made.on_click(lambda _button: combine())
        return made

"""The flat frame, prepared step by step; its histogram; what whole numbers lose of it."""

from __future__ import annotations

import math
from typing import Any

import ipywidgets
import traitlets
import xarray as xr
from bokeh.layouts import row as beside

from calibkit.cfa import pattern_of
from calibkit.display.central import central_part
from calibkit.errors import SettingError
from calibkit.flat.integers import RoundedFlat, round_flat
from calibkit.flat.steps import STEPS, FlatSteps, prepare_flat, response_histograms
from calibkit.masters import master_dark, master_flat
from calibkit.panels.base import Panel
from calibkit.panels.errors import ErrorArea
from calibkit.panels.figure import FigureWidget
from calibkit.panels.image_view import ImageView
from calibkit.panels.inputs import load_lines, with_imports
from calibkit.panels.notes import Note
from calibkit.panels.plots import DASHES, GREY, ORANGE, bars, colour_of, fill, legend_below, plot, source
from calibkit.panels.settings import choice, modes, row
from calibkit.progress import Progress
from calibkit.state.flat import FlatState

#: A sentence to each step.
_SAYS = {
    "one flat": "Step 1: one picture of a uniform source of light. Vignetting and dust are there, and noise.",
    "flats combined": "Step 2: the {flats} flats combined ({method}): less noise, the same shadows.",
    "one flat dark": "Step 3: one flat dark: as long as the flats, without light.",
    "flat darks combined": "Step 4: the {darks} flat darks combined ({dark_method}).",
    "subtract": "Step 5: from the combined flats the combined flat darks are to be subtracted: offset and thermal charge are no "
    "response to light.",
    "difference": "Step 6: the difference: light alone.",
    "flat": "Final step: every pixel divided by the average{of}. This is no image, it is a map of the relative response to "
    "light.",
}


class FlatPanel(Panel):
    """A flat frame prepared step by step.

    Parameters
    ----------
    flats : xarray.DataArray
        Bright flats ``(frame, y, x)`` of one filter, as from `calibkit.open_stack`.
    flat_darks : xarray.DataArray, optional
        Frames of the same exposure without light.
    **settings
        Settings of `calibkit.state.FlatState`, e.g. ``step="difference"``, ``whole_numbers=100``.

    Raises
    ------
    SettingError
        No stack of flats, or a step that needs flat darks without any.
    TypeError
        A setting that does not exist.

    Notes
    -----
    Of large frames the pictures and numbers are those of the middle until the whole flat is asked for.
    ``panel.result`` is the master flat of whole frames.

    Examples
    --------
    >>> from calibkit import Camera, simulate_stack
    >>> flats, darks = (simulate_stack(Camera(shape=(48, 64)), 3, kind=k, exposure=1.0) for k in ("flat", "flat dark"))
    >>> panel = FlatPanel(flats, darks)
    >>> panel, round(float(panel.result.signal.mean()), 3)
    (FlatPanel(3 flats and 3 flat darks of 48 × 64), 1.0)
    """

    def __init__(self, flats: xr.DataArray, flat_darks: xr.DataArray | None = None, **settings: Any) -> None:
        state = FlatState(**settings)
        for name, stack in (("flats", flats), ("flat_darks", flat_darks)):
            if stack is not None and stack.dims != ("frame", "y", "x"):
                msg = f"FlatPanel: {name} (frame, y, x) are wanted, found {dict(stack.sizes)}"
                raise SettingError(msg)
        self._flats, self._darks = flats, flat_darks
        self._check(state)
        super().__init__(state, ErrorArea())
        self._parts: tuple[xr.DataArray, xr.DataArray | None] | None = None
        self.steps: FlatSteps | None = None
        self.view = ImageView(
            flats.isel(frame=0), names=("flat",), state=state, errors=self.errors, height=380
        )
        self._make_plots()
        self._note, self._spread_note, self._rounding_note, self._warning = Note(), Note(), Note(), Note()
        self._whole = ipywidgets.Button(
            description="whole flat",
            tooltip="Prepare the whole frames and show them",
            layout={"width": "auto"},
        )
        self._whole.on_click(lambda _button: self._prepare(whole=True))
        back = ipywidgets.Button(description="◀", tooltip="The step before", layout={"width": "3em"})
        on = ipywidgets.Button(description="▶", tooltip="The next step", layout={"width": "3em"})
        back.on_click(lambda _button: self._step(-1))
        on.on_click(lambda _button: self._step(1))
        controls = [
            choice(state, self.errors, "method", "flats combined by"),
            choice(state, self.errors, "dark_method", "flat darks by"),
            choice(state, self.errors, "whole_numbers", "in whole numbers 1 is"),
            self._whole,
        ]
        state.observe(self._changed, ["step", "method", "dark_method", "whole_numbers"])
        self.assemble(
            row(back, modes(state, self.errors, "step"), on), row(*controls), self._note, self.view, self._warning,
            self.figure, self._spread_note, self._rounding_note,
        )  # fmt: skip
        self.run(self._read, self._loaded, "read the frames")

    def code_lines(self) -> list[str]:
        state = self.state
        given = {} if self._darks is None else {"flat_darks": self._darks}
        dark = (
            ""
            if self._darks is None
            else f"master_dark(flat_darks, method={state.dark_method!r}, hot_sigma=None)"
        )
        return with_imports(
            [
                f"from calibkit import {'master_dark, ' if dark else ''}master_flat",
                "from calibkit.panels import FlatPanel",
                *load_lines(flats=self._flats, **given),
                f"result = master_flat(flats, {f'dark={dark}, ' if dark else ''}method={state.method!r})",
                state.code("flats", *given),
            ]
        )

    def compute(self) -> xr.Dataset:
        """The master flat of the whole frames; see `calibkit.master_flat`."""
        state = self.state
        dark = None
        if self._darks is not None:
            dark = master_dark(self._darks, method=state.dark_method, hot_sigma=None)
        return master_flat(self._flats, dark=dark, method=state.method)

    def describe(self) -> str:
        count, height, width = self._flats.shape
        darks = "" if self._darks is None else f" and {self._darks.sizes['frame']} flat darks"
        return f"{count} flats{darks} of {height} × {width}"

    def png(self) -> bytes:
        return self.view.png()

    # ---- settings -------------------------------------------------------------------------------------------

    def _check(self, state: FlatState) -> None:
        if self._darks is None and state.step in ("one flat dark", "flat darks combined", "subtract"):
            msg = (
                f"step={state.step!r}: no flat darks are given; without them the offset stays in the flat, and it corrects "
                "too little"
            )
            raise SettingError(msg)

    def _step(self, by: int) -> None:
        able = [
            s
            for s in STEPS
            if self._darks is not None or s in ("one flat", "flats combined", "difference", "flat")
        ]
        at = able.index(self.state.step) + by
        self.state.step = able[min(max(at, 0), len(able) - 1)]

    def _changed(self, change: traitlets.Bunch) -> None:
        with self.errors.guard("flat"):
            try:
                self._check(self.state)
            except SettingError:
                setattr(self.state, change["name"], change["old"])
                raise
            if self._parts is not None and change["name"] in ("method", "dark_method"):
                self._prepare()
            elif self.steps is not None and change["name"] == "step":
                self._show()
            elif self.steps is not None:
                self._round()

    # ---- work -----------------------------------------------------------------------------------------------

    def _read(self, progress: Progress) -> tuple[xr.DataArray, xr.DataArray | None]:
        flats = central_part(self._flats, progress=progress)
        if self._darks is None:
            return flats, None
        darks = self._darks.sel(y=flats["y"], x=flats["x"])
        return flats, darks.compute()

    def _loaded(self, parts: tuple[xr.DataArray, xr.DataArray | None]) -> None:
        self._parts = parts
        self._whole.layout.display = "none" if parts[0].shape == self._flats.shape else ""
        self._prepare()

    def _prepare(self, *, whole: bool = False) -> None:
        flats, darks = (self._flats, self._darks) if whole else self._parts
        methods = {"method": self.state.method, "dark_method": self.state.dark_method}
        self.run(lambda _progress: prepare_flat(flats, darks, **methods), self._prepared, "prepare the flat")

    def _prepared(self, steps: FlatSteps) -> None:
        self.steps = steps
        self._show()
        self._round()
        texts = [
            f"{name} {level.median:.0f} ADU ({level.saturated} saturated pixels)".removeprefix("L ")
            for name, level in steps.levels.items()
        ]
        if steps.notes:
            self._warning.warn(
                " ".join(f"{note}." for note in steps.notes),
                f"Median of one flat: {'; '.join(texts)}, of {self._saturation()}.",
            )
        else:
            self._warning.say(
                f"Median of one flat: {'; '.join(texts)}, of {self._saturation()}. Neither saturated nor too weak."
            )

    def _saturation(self) -> str:
        level = self._flats.attrs.get("saturation", float("nan"))
        return f"{level:.0f} ADU at saturation" if math.isfinite(level) else "an unknown saturation level"

    # ---- pictures and plots ---------------------------------------------------------------------------------

    def _show(self) -> None:
        state = self.state
        self.view.show(self.steps.picture(state.step))
        channels = len(self.steps.levels)
        darks = 0 if self._darks is None else self._darks.sizes["frame"]
        said = _SAYS[state.step].format(
            flats=self._flats.sizes["frame"], darks=darks, method=state.method, dark_method=state.dark_method,
            of=" of its channel" if channels > 1 else "",
        )  # fmt: skip
        shape = self.steps.one_flat.shape
        middle = (
            "" if shape == self._flats.shape[1:] else f" Shown is the middle {shape[1]} × {shape[0]} pixels."
        )
        self._note.say(said + middle)

    def _make_plots(self) -> None:
        self._responses = plot(
            "Histogram of the relative response", "relative response (average = 1)", "pixels in a bin", name="responses",
            x_range=(0.9, 1.1),
        )  # fmt: skip
        self._responses.y_range.start = 0
        self._sources = {}
        for channel in pattern_of(self._flats).channels:
            data = self._sources[channel] = source(x=[], y=[])
            self._responses.line(
                "x", "y", source=data, line_color=colour_of(channel), line_width=1.5, line_dash=DASHES.get(channel, "solid"),
                legend_label=channel,
            )  # fmt: skip
        legend_below(self._responses)
        rounded = plot(
            "The same flat in whole numbers", "relative response (average = 1)", "pixels in a bin", name="rounded",
            x_range=self._responses.x_range,
        )  # fmt: skip
        rounded.y_range.start = 0
        self._float, self._integers = source(x=[], y=[]), source(x=[], y=[])
        rounded.varea(
            "x", 0, "y", source=self._float, fill_color=GREY, fill_alpha=0.5, legend_label="fractions kept"
        )
        rounded.segment(
            "x",
            0,
            "x",
            "y",
            source=self._integers,
            line_color=ORANGE,
            line_width=3,
            legend_label="whole numbers",
        )
        rounded.scatter("x", "y", source=self._integers, color=ORANGE, size=6, legend_label="whole numbers")
        legend_below(rounded)
        self.figure = FigureWidget(
            beside(self._responses, rounded, sizing_mode="stretch_width"),
            label="histograms of the relative response",
            errors=self.errors,
        )

    def _round(self) -> None:
        """Draw the histograms, with the flat in whole numbers beside that of fractions."""
        steps = self.steps
        rounded = round_flat(steps.flat, self.state.whole_numbers)
        drawn = response_histograms(steps.flat)
        every, edges = drawn.pop("")
        with self.figure.batch():
            for channel, (counts, places) in drawn.items():
                bars(self._sources[channel], counts, places)
            bars(self._float, every, edges)
            self._responses.x_range.update(start=float(edges[0]), end=float(edges[-1]))
            fill(self._integers, {"x": rounded.values, "y": rounded.counts})
        self._spread_note.say(self._said_of_spread())
        self._tell_rounding(rounded)

    def _said_of_spread(self) -> str:
        spread = self.steps.spread
        if len(spread) > 1:
            each = ", ".join(f"{name} {low:.3f} to {high:.3f}" for name, (low, high) in spread.items())
            return f"Relative response but for 0.1 % of the pixels at either end: {each}."
        ((low, high),) = spread.values()
        return (
            f"Relative response but for 0.1 % of the pixels at either end: {low:.3f} to {high:.3f}. Black is "
            f"{100 * (1 - low):.1f} % less response than the average, white {100 * (high - 1):.1f} % more."
        )

    def _tell_rounding(self, rounded: RoundedFlat) -> None:
        said = (
            f"Whole numbers with 1 as {self.state.whole_numbers}: {_values(rounded.different)} left of the flat: "
            f"{100 * rounded.corrected:.4g} % of its structure is corrected, with an error of {100 * rounded.error:.2g} % in "
            f"every pixel (at most {100 * rounded.largest:.2g} %)."
        )
        if rounded.corrected < 0.99:
            self._rounding_note.warn(said, "Fractions have to be preserved.")
        else:
            self._rounding_note.say(said)


def _values(count: int) -> str:
    return "1 value is" if count == 1 else f"{count} different values are"

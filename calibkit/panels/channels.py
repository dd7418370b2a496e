"""The channels of a colour sensor apart, what each is worth behind a filter, and why the grid is kept."""

from __future__ import annotations

import math
from typing import Any

import ipywidgets
import numpy as np
import xarray as xr
from bokeh.events import RangesUpdate
from bokeh.layouts import column, gridplot
from bokeh.models import FactorRange, Range1d
from bokeh.plotting import figure

from calibkit.calibration import calibrate
from calibkit.cfa import pattern_of
from calibkit.colour import channel_worth, convert_too_early, debayer, extract_line
from calibkit.colour.narrowband import LINES, channels_of_line
from calibkit.display.central import central_part
from calibkit.display.stretch import auto_levels, picture
from calibkit.display.view import FrameView
from calibkit.errors import SettingError
from calibkit.panels.base import Panel, caption
from calibkit.panels.errors import ErrorArea
from calibkit.panels.figure import FigureWidget
from calibkit.panels.image_plots import unit
from calibkit.panels.image_view import ImageView
from calibkit.panels.inputs import calibrated_lines, with_imports
from calibkit.panels.plots import GREY, colour_of, fill, plot, source
from calibkit.panels.settings import choice, modes, row, tick
from calibkit.progress import Progress
from calibkit.state.channels import ChannelsState
from calibkit.statistics import measure_noise
from calibkit.warned import collected

#: Of each of the four pictures, in screen pixels.
_WIDTH, _HEIGHT = 310, 300
#: Of the part of a frame that is calibrated in both orders of work.
_PART_BYTES = 2**20


class ChannelsPanel(Panel):
    """R, G1, G2 and B beside each other; keep or drop them; the grid kept against converted too early.

    Parameters
    ----------
    light : xarray.DataArray or xarray.Dataset
        One frame (y, x) of a colour sensor: raw, to be calibrated with the masters, or a result of `calibrate`.
    bias, dark, flat : xarray.Dataset, optional
        Masters, as for `calibkit.calibrate`. The flat, through the filter in use, says what each channel is worth.
    **settings
        Settings of `calibkit.state.ChannelsState`, e.g. ``line="OIII"``, ``line="G1+G2"``.

    Raises
    ------
    SettingError
        A sensor without colour filters, or channels that it does not have.
    TypeError
        A setting that does not exist.

    Notes
    -----
    `result` is the picture of the line, from `calibkit.extract_line`.

    Examples
    --------
    >>> panel = ChannelsPanel(light, dark=dark, flat=flat, line="Ha")  # doctest: +SKIP
    >>> h_alpha = panel.result  # doctest: +SKIP
    """

    def __init__(
        self,
        light: xr.DataArray | xr.Dataset,
        *,
        bias: xr.Dataset | None = None,
        dark: xr.Dataset | None = None,
        flat: xr.Dataset | None = None,
        **settings: Any,
    ) -> None:
        state = ChannelsState(**settings)
        self._masters = {"bias": bias, "dark": dark, "flat": flat}
        self._raw = isinstance(light, xr.DataArray)
        self._light = light
        pattern = pattern_of(light)
        if pattern.is_mono:
            msg = "this frame has no colour filters (mono): there are no channels to take apart"
            raise SettingError(msg)
        self.channels = pattern.channels
        channels_of_line(light, state.line)
        super().__init__(state, ErrorArea())
        self._done = self._calibrated(light)
        self._frame = FrameView(self._done)
        self._noise: dict[str, float] | None = None  # as measured, where gain and read noise are not known
        self.worth = self._measure_worth()
        self._make_pictures()
        self._make_bars()
        self.note, self.early_note = ipywidgets.HTML(), ipywidgets.HTML()
        self.figure = FigureWidget(
            column(self._grid, self._bars, sizing_mode="stretch_width"),
            label=f"channels {', '.join(self.channels)}",
            errors=self.errors,
        )
        self.early = ipywidgets.VBox()
        self._compare = ipywidgets.Button(
            description="convert too early", tooltip="Do the middle of the frame in both orders, and compare."
        )
        self._compare.on_click(lambda _button: self.compare())
        self._compare.disabled = not self._raw
        self.assemble(*self._controls(), self.figure, self.note, self.early_note, self.early)
        state.observe(self._line_changed, "line")
        state.observe(lambda _change: self._draw(), ["region", "same_scale"])
        state.observe(lambda _change: self.compare() if self.early.children else None, "colour")
        self._draw()
        self._judge()
        self._explain_early()

    # ---- code and result ----------------------------------------------------------------------------------------

    def code_lines(self) -> list[str]:
        loads, made, given = calibrated_lines("light", self._light, self._masters)
        lines = ["from calibkit import extract_line", "from calibkit.panels import ChannelsPanel", *loads]
        worth = ""
        noise = f"light={made}" if self._noise is None else f"noise={self._noise!r}"
        if self.worth is not None:
            lines += ["from calibkit import channel_worth", f"worth = channel_worth(flat, {noise})"]
            worth = ", worth=worth"
        size = "" if self.state.size == "half" else f", size={self.state.size!r}"
        lines.append(f"result = extract_line({made}, {self.state.line!r}{worth}{size}).compute()")
        return with_imports([*lines, self.state.code("light", *given)])

    def compute(self) -> xr.Dataset:
        """The picture of the line; see `calibkit.extract_line`."""
        return extract_line(self._done, self.state.line, worth=self.worth, size=self.state.size).compute()

    def describe(self) -> str:
        return f"{self._frame.shape[0]} × {self._frame.shape[1]}, {'+'.join(self.kept)} of {', '.join(self.channels)}"

    def png(self) -> bytes:
        """The channel that is kept first as a PNG file."""
        return ImageView(self._frame, channel=self.kept[0]).png()

    @property
    def kept(self) -> tuple[str, ...]:
        """The channels that are kept."""
        return channels_of_line(self._light, self.state.line)

    def _calibrated(self, light: xr.DataArray | xr.Dataset) -> xr.DataArray | xr.Dataset:
        return calibrate(light, **self._masters) if self._raw else light

    def _measure_worth(self) -> xr.Dataset | None:
        if self._masters["flat"] is None:
            return None
        found = measure_noise(self._done)
        if all(np.isfinite(each.predicted) for each in found.values()):
            return channel_worth(self._masters["flat"], light=self._done)
        self._noise = {name: round(each.measured, 4) for name, each in found.items()}
        return channel_worth(self._masters["flat"], noise=self._noise)

    # ---- pictures ------------------------------------------------------------------------------------------------

    def _controls(self) -> list[ipywidgets.Widget]:
        state, errors = self.state, self.errors
        lines = [line for line in LINES if self._has(line)]
        self._line = ipywidgets.ToggleButtons(
            options=[*lines, "channels ticked"], description="keep for", style={"button_width": "auto"}
        )
        self._ticks = {
            name: ipywidgets.Checkbox(description=f"keep {name}", indent=False, layout={"width": "auto"})
            for name in self.channels
        }
        self._show_line()
        self._line.observe(lambda change: self._line_chosen(change["new"]), "value")
        for box in self._ticks.values():
            box.observe(lambda _change: self._ticked(), "value")
        return [
            row(self._line, *self._ticks.values()),
            row(
                tick(state, errors, "same_scale", "one black and white for all channels"),
                modes(state, errors, "size", "size of the result"),
                choice(state, errors, "colour", "compare in"),
                self._compare,
            ),
        ]

    def _has(self, line: str) -> bool:
        letters = {name[0] for name in self.channels}
        return set(LINES[line]) <= letters

    def _make_pictures(self) -> None:
        x0, x1, y0, y1 = self._frame.extent
        upward = self._frame.rows_upward
        xs = Range1d(x0, x1, min_interval=8)
        ys = Range1d(*((y0, y1) if upward else (y1, y0)), min_interval=8)
        width = round(min(_WIDTH, _HEIGHT * (x1 - x0) / (y1 - y0)))
        height = round(width * (y1 - y0) / (x1 - x0))
        self._pixels, self._plots = {}, {}
        for name in self.channels:
            each = plot(
                name, "x (sensor pixel)", "y (sensor pixel)", x_range=xs, y_range=ys, name=f"channel {name}"
            )
            # The frame's size alone is given, so that its pixels are square.
            each.update(
                sizing_mode="fixed", width=None, height=None, frame_width=width, frame_height=height,
                min_border_left=64,
            )  # fmt: skip
            each.toolbar.active_scroll = each.toolbar.tools[1]
            each.grid.visible = False
            pixels = source(image=[], x=[], y=[], w=[], h=[])
            each.image_rgba("image", "x", "y", "w", "h", source=pixels)
            self._pixels[name], self._plots[name] = pixels, each
        first = self._plots[self.channels[0]]
        first.lod_timeout = 100
        for each in self._plots.values():
            each.on_event(RangesUpdate, self._zoomed)
        self._grid = gridplot(list(self._plots.values()), ncols=2, toolbar_location="right")
        self._levels = {
            name: auto_levels(np.concatenate([np.ravel(part) for part in self._frame.sample(name)]))
            for name in self.channels
        }

    def _zoomed(self, event: RangesUpdate) -> None:
        with self.errors.guard("zoom"):
            found = (event.x0, event.x1, *sorted((event.y0, event.y1)))
            whole = self._frame.extent
            inside = all(abs(found[i] - whole[i]) < 1e-6 * max(1.0, abs(whole[1])) for i in range(4))
            self.state.region = None if inside else tuple(float(edge) for edge in found)

    def _draw(self) -> None:
        region = self.state.region
        best = max(self._levels.values(), key=lambda levels: levels.white - levels.black)
        with self.figure.batch():
            for name in self.channels:
                view = self._frame.view(region, _WIDTH, _HEIGHT, channel=name)
                levels = best if self.state.same_scale else self._levels[name]
                shown = picture(view.values, levels, curve="mtf")
                packed = np.ascontiguousarray(shown).view(np.uint32)[..., 0]
                x0, x1, y0, y1 = view.extent
                fill(
                    self._pixels[name],
                    {"image": [packed], "x": [x0], "y": [y0], "w": [x1 - x0], "h": [y1 - y0]},
                )
                self._title(name)

    def _title(self, name: str) -> None:
        share = (
            ""
            if self.worth is None
            else f": {_percent(float(self.worth['worth'].sel(channel=name)))} of the information"
        )
        kept = "kept" if name in self.kept else "dropped"
        self._plots[name].title.text = f"{name}, {kept}{share}"

    # ---- worth ---------------------------------------------------------------------------------------------------

    def _make_bars(self) -> None:
        self._worth = source(channel=[], worth=[], colour=[], text=[])
        bars = figure(
            title="What each channel is worth behind this filter: its share of the squared signal-to-noise ratio",
            x_range=FactorRange(factors=list(self.channels)), y_range=Range1d(0, 130), height=190,
            sizing_mode="stretch_width", tools=[], toolbar_location=None,
            x_axis_label="channel", y_axis_label="worth (%)", name="worth",
        )  # fmt: skip
        bars.grid.visible = False  # the numbers stand where its lines would be
        bars.vbar("channel", top="worth", width=0.6, source=self._worth, fill_color="colour", line_color=None)
        text = bars.text(
            "channel", "worth", text="text", source=self._worth, text_align="center", y_offset=-2
        )
        text.glyph.text_color, text.glyph.text_font_size = GREY, "12px"
        bars.visible = self.worth is not None
        self._bars = bars

    def _judge(self) -> None:
        """Say what is kept and what that costs."""
        kept = self.kept
        for name in self.channels:
            self._title(name)
        if self.worth is None:
            self.note.value = caption(
                "What the channels are worth is known from a master flat through the same filter: pass flat=. "
                "Without it one channel alone can be kept."
            ).value
            return
        table = self.worth
        shares = {name: float(table["worth"].sel(channel=name)) for name in self.channels}
        gains = {name: float(table["noise_gain"].sel(channel=name)) for name in self.channels}
        fill(
            self._worth,
            {
                "channel": list(self.channels),
                "worth": [100 * shares[name] for name in self.channels],
                "colour": [colour_of(name) if name in kept else "#b0b0b0" for name in self.channels],
                "text": [
                    f"{_percent(shares[name])}, noise × {math.sqrt(gains[name]):.3g}"
                    for name in self.channels
                ],
            },
        )
        held = sum(shares[name] for name in kept)
        dropped = [name for name in self.channels if name not in kept]
        text = f"Kept: {', '.join(kept)}, with {_percent(math.sqrt(held))} of the signal-to-noise ratio that all channels have. "
        if dropped:
            worst = max(math.sqrt(gains[name]) for name in dropped)
            verdict = (
                "they hold next to nothing"
                if held > 0.9
                else "they hold light, too: think about keeping them"
            )
            text += (
                f"Dropped: {', '.join(dropped)}; brought to the level of the best channel their noise is up to "
                f"{worst:.3g} times as large: {verdict}."
            )
        self.note.value = caption(text).value

    def _line_changed(self, change: dict[str, Any]) -> None:
        with self.errors.guard("line"):
            try:
                channels_of_line(self._light, change["new"])
            except SettingError:
                self.state.line = change["old"]
                raise
            self._show_line()
            self._judge()

    def _show_line(self) -> None:
        self._quiet = True
        named = self.state.line in self._line.options
        self._line.value = self.state.line if named else "channels ticked"
        for name, box in self._ticks.items():
            box.value = name in self.kept
        self._quiet = False

    def _line_chosen(self, line: str) -> None:
        if not self._quiet:
            self.state.line = line if line in LINES else "+".join(self.kept)

    def _ticked(self) -> None:
        if self._quiet:
            return
        ticked = [name for name, box in self._ticks.items() if box.value]
        with self.errors.guard("keep"):
            if not ticked:
                self._show_line()
                msg = "one channel at least has to be kept"
                raise SettingError(msg)
            self.state.line = "+".join(ticked)

    # ---- the order of work ---------------------------------------------------------------------------------------

    def _explain_early(self) -> None:
        text = (
            "“Convert too early” makes colours of light and masters first, and subtracts and divides then, as a camera’s "
            "own pictures force one to: hot pixels become crosses of several pixels, in every colour."
            if self._raw
            else "Pass the raw light and its masters to compare with colours that are made too early."
        )
        self.early_note.value = caption(text).value

    def compare(self) -> None:
        """Do the middle of the frame in both orders of work, and show them divided."""
        if not self._raw:
            return
        colour, light, masters = self.state.colour, self._light, dict(self._masters)

        def work(progress: Progress) -> tuple[xr.Dataset, xr.Dataset]:
            progress(0, 2, "converting too early")
            part = central_part(light.expand_dims("frame"), most_bytes=_PART_BYTES)[0]
            method = "edge" if pattern_of(part).period == (2, 2) else "bilinear"
            with collected():  # it is shown because it is wrong
                early = convert_too_early(part, method=method, **masters)
            progress(1, 2, "keeping the grid")
            kept = debayer(calibrate(part, **masters), method=method)
            return early.sel(channel=colour, drop=True), kept.sel(channel=colour, drop=True)

        self.run(work, self._show_both, "comparing the orders of work")

    def _show_both(self, both: tuple[xr.Dataset, xr.Dataset]) -> None:
        from calibkit.state import CompareState

        for old in self.early.children:
            old.close()
        state = CompareState(mode="side by side", shared=True)
        view = ImageView(*both, names=("too early", "grid kept"), state=state, errors=self.errors, height=320)
        self.early.children = [view]
        early, kept = (measure_noise(frame)["L"] for frame in both)
        apart = abs(both[0]["signal"] - both[1]["signal"]) > 10 * kept.measured
        self.early_note.value = caption(
            f"{self.state.colour} in the middle of the frame: converted too early, the noise is {early.measured:.3g} "
            f"{unit(self._frame.units)} in place of {kept.measured:.3g}, and {int(apart.sum())} of {apart.size} pixels are wrong "
            "by more than 10 σ: hot pixels that were spread over their neighbours."
        ).value


def _percent(part: float) -> str:
    return f"{100 * part:.3g} %"

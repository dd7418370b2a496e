"""The Bokeh models of the image viewer: pictures with sensor-pixel axes, histograms with levels to drag.

Whatever the page alone changes (ranges, painted pixels, the levels' handles) is not synchronised with Python:
what Python has to know comes back as a setting.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bokeh.layouts import row
from bokeh.models import (
    BasicTickFormatter,
    BoxAnnotation,
    BoxZoomTool,
    ColumnDataSource,
    LayoutDOM,
    PanTool,
    Range1d,
    ResetTool,
    SaveTool,
    WheelZoomTool,
)
from bokeh.plotting import figure

_UNITS = {"adu": "ADU", "electron": "e⁻", "1": ""}


def unit(name: str) -> str:
    """A unit as one writes it."""
    return _UNITS.get(name, name)


def number(value: float) -> str:
    """A value as one reads it: whole, or to six figures."""
    if not np.isfinite(value):
        return "no data"
    text = str(int(value)) if float(value).is_integer() else f"{value:.6g}"
    return text.replace("-", "−")


def pictures(
    extent: tuple[float, float, float, float],
    sources: dict[str, ColumnDataSource],
    *,
    count: int,
    upward: bool,
    height: int,
) -> tuple[figure, LayoutDOM]:
    """The picture, and for two images a second one beside it with the same ranges.

    *sources* are what Python fills: ``views``, ``numbers``, ``picked``.
    """
    x0, x1, y0, y1 = extent
    xs = Range1d(x0, x1, min_interval=4, syncable=False)
    ys = Range1d(*((y0, y1) if upward else (y1, y0)), min_interval=2, syncable=False)
    plots = []
    for n in range(count):
        suffix = "" if n == 0 else "2"
        plot = figure(
            name=f"picture{suffix}",
            x_range=xs,
            y_range=ys,
            height=height,
            sizing_mode="stretch_width",
            tools=[],
            toolbar_location="right" if n == 0 else None,
            title=" ",
            x_axis_label="x (sensor pixel)",
            y_axis_label="y (sensor pixel)" if n == 0 else "",
            min_border_right=8,
            visible=n == 0,
        )
        plot.toolbar.logo = None
        pan, wheel = PanTool(), WheelZoomTool()
        plot.add_tools(pan, wheel, BoxZoomTool(match_aspect=True), ResetTool(), SaveTool())
        plot.toolbar.active_drag, plot.toolbar.active_scroll = pan, wheel
        plot.axis.formatter = BasicTickFormatter(use_scientific=False)
        plot.grid.visible = False
        pixels = ColumnDataSource(
            {"image": [], "x": [], "y": [], "dw": [], "dh": []}, name=f"pixels{suffix}", syncable=False
        )
        plot.image_rgba("image", "x", "y", "dw", "dh", source=pixels)
        labels = ColumnDataSource(
            {"x": [], "y": [], "size": [], "text": []}, name=f"labels{suffix}", syncable=False
        )
        plot.rect(
            "x", "y", "size", "size", source=labels, fill_color=None, line_color="#808080", line_alpha=0.5
        )
        plot.text(
            *("x", "y", "text"),
            source=labels,
            text_align="center",
            text_baseline="middle",
            text_font_size="11px",
            text_color="white",
            background_fill_color="black",
            background_fill_alpha=0.5,
            padding=2,
        )
        mark = plot.rect("x", "y", 1, 1, source=sources["picked"], fill_color=None)
        mark.glyph.line_color, mark.glyph.line_width = "#ff3b30", 2
        cross = plot.scatter("x", "y", source=sources["picked"], marker="cross", size=18)
        cross.glyph.line_color, cross.name = "#ff3b30", f"cross{suffix}"
        plots.append(plot)
    layout = row(*plots, sizing_mode="stretch_width", tags=list(sources.values()))
    return plots[0], layout


@dataclass(frozen=True)
class LevelsPlot:
    """A histogram with its levels: one for each image, and one for the difference."""

    plot: figure
    bars: ColumnDataSource
    other: ColumnDataSource

    def window(self, low: float, high: float) -> None:
        """Show the values from *low* to *high*."""
        self.plot.x_range.update(start=low, end=high)

    def draw(self, counts: np.ndarray, edges: np.ndarray, *, scale: float, other: bool = False) -> None:
        """Draw a histogram whose counts stand for *scale* pixels each."""
        top = np.where(counts > 0, counts * scale, 0.1)
        (self.other if other else self.bars).data = {"left": edges[:-1], "right": edges[1:], "top": top}
        if not other:
            self.plot.y_range.end = float(max(10.0, 2.0 * top.max(initial=1.0)))


def value_label(units: str) -> str:
    """What stands below the values of an image."""
    return f"value ({units})" if units else "value"


def levels_plots(units: list[str]) -> tuple[list[LevelsPlot], LayoutDOM]:
    """A histogram for every unit, side by side; the page shows those that matter."""
    made = []
    for n, name in enumerate(units):
        plot = figure(
            name=f"levels{n}",
            height=150,
            sizing_mode="stretch_width",
            x_range=Range1d(0.0, 1.0),
            y_range=Range1d(0.5, 10.0),
            y_axis_type="log",
            tools=[],
            toolbar_location=None,
            x_axis_label=value_label(name),
            y_axis_label="pixels",
            visible=n == 0,
        )
        wheel = WheelZoomTool(dimensions="width")
        plot.add_tools(wheel, PanTool(dimensions="width"))
        plot.toolbar.active_scroll = wheel
        plot.xaxis.formatter = BasicTickFormatter(use_scientific=False)
        if len(units) > 1:
            plot.xaxis.ticker.desired_num_ticks = 4  # two stand side by side
        empty = {"left": [], "right": [], "top": []}
        bars, other = ColumnDataSource(dict(empty)), ColumnDataSource(dict(empty))
        plot.quad(source=bars, bottom=0.1, fill_color="#8a8a8a", line_color="#8a8a8a")
        second = plot.quad(source=other, bottom=0.1, fill_color="#e69f00", fill_alpha=0.4, line_color=None)
        second.name, second.visible = f"other{n}", False
        box = BoxAnnotation(
            name=f"box{n}", syncable=False, fill_color="#56b4e9", fill_alpha=0.15, line_color=None
        )
        plot.add_layout(box)
        made.append(LevelsPlot(plot, bars, other))
    return made, row(*(item.plot for item in made), sizing_mode="stretch_width")

"""Bokeh plots as the panels draw them: labelled axes, colours that everybody can tell apart, whole numbers written out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from bokeh.models import (
    Axis,
    BasicTickFormatter,
    ColumnDataSource,
    HoverTool,
    Legend,
    PanTool,
    ResetTool,
    WheelZoomTool,
)
from bokeh.plotting import figure

#: Told apart by everybody (Okabe and Ito): what is measured, what is expected, what is marked, what is beside it.
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#808080"
#: Colours of the channels, with a dash of their own in `DASHES`, since colour alone is not for everybody.
CHANNELS = {"R": "#d55e00", "G1": "#009e73", "G2": "#56b4e9", "G": "#009e73", "B": "#0072b2", "L": "#0072b2"}
DASHES = {"R": "solid", "G1": "dashed", "G2": "dotted", "B": "dotdash"}


def colour_of(channel: str) -> str:
    """The colour that lines of *channel* have."""
    return CHANNELS.get(channel, GREY)


def plot(
    title: str,
    x: str,
    y: str,
    *,
    height: int = 260,
    tips: list[tuple[str, str]] | None = None,
    **options: Any,
) -> figure:
    """An empty plot with its axes labelled; the wheel zooms, dragging pans."""
    made = figure(
        title=title, x_axis_label=x, y_axis_label=y, height=height, sizing_mode="stretch_width", tools=[],
        toolbar_location="right", min_width=200, **options,
    )  # fmt: skip
    made.toolbar.logo = None
    made.title.text_font_size = "12px"
    pan, wheel = PanTool(), WheelZoomTool()
    made.add_tools(pan, wheel, ResetTool())
    made.toolbar.active_drag = pan
    made.toolbar.active_scroll = None  # a page that is scrolled must not zoom
    if tips:
        made.add_tools(HoverTool(tooltips=tips))
    for axis, kind in ((made.xaxis, options.get("x_axis_type")), (made.yaxis, options.get("y_axis_type"))):
        if kind is None:
            axis.formatter = BasicTickFormatter(use_scientific=False)
        else:
            axis.ticker.desired_num_ticks = 5  # within one decade they would touch
    return made


def counted(axis: Axis) -> None:
    """Ticks of a logarithmic axis for counts, over one decade or several: 1, 2, 5, 10, 20, …, which never touch."""
    axis.ticker = [each * 10**power for power in range(9) for each in (1, 2, 5)]
    axis.formatter = BasicTickFormatter(use_scientific=False)


def source(**columns: Any) -> ColumnDataSource:
    """A data source with these columns, empty where nothing is given."""
    return ColumnDataSource(
        {name: np.empty(0) if values is None else values for name, values in columns.items()}
    )


def fill(target: ColumnDataSource, columns: Mapping[str, Any]) -> None:
    """Give *target* new columns, all at once."""
    target.data = {
        name: values if isinstance(values, list) else np.asarray(values) for name, values in columns.items()
    }


def bars(target: ColumnDataSource, counts: np.ndarray, edges: np.ndarray) -> None:
    """Give *target* a histogram as an outline of steps."""
    fill(target, {"x": np.repeat(edges, 2)[1:-1], "y": np.repeat(counts, 2)})


def legend_below(made: figure, *, columns: int | None = None) -> None:
    """Put the legend under the plot, where it hides nothing; in so many columns where one line is too long."""
    made.legend.orientation = "horizontal"
    if columns is not None:
        made.legend[0].ncols = columns
    made.legend.click_policy = "hide"
    made.legend.margin = made.legend.padding = 0
    legend: Legend = made.legend[0]
    made.center.remove(legend)
    made.add_layout(legend, "below")

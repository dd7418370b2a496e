"""Figures of the report: frames as pictures, histograms per channel, noise predicted against measured."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from bokeh.models import (
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    Legend,
    LegendItem,
    NumeralTickFormatter,
    Range1d,
    Span,
    WheelZoomTool,
)
from bokeh.plotting import figure
from PIL import Image

from calibkit.display.stretch import Levels, auto_levels, picture
from calibkit.display.view import COLOUR, MOSAIC, FrameView
from calibkit.pipeline.result import LightRow

#: Okabe & Ito (2008): told apart with any kind of colour vision, and by their dashes without any.
CHANNEL_COLOURS = {
    "R": "#D55E00",
    "G": "#009E73",
    "G1": "#009E73",
    "G2": "#56B4E9",
    "B": "#0072B2",
    "C": "#56B4E9",
    "M": "#CC79A7",
    "Y": "#E69F00",
    "L": "#8A8A8A",
}
_DASHES = {"G2": "dashed", "B": "dotdash", "M": "dotted"}
_MARKERS = {"R": "circle", "G1": "triangle", "G2": "inverted_triangle", "B": "square"}
_BINS = 120


@dataclass(frozen=True)
class Shown:
    """A picture with its levels."""

    plot: figure
    channel: str
    levels: Levels
    units: str

    @property
    def caption(self) -> str:
        """What black and white stand for."""
        what = {MOSAIC: "", COLOUR: "red, green and blue as they are; "}.get(
            self.channel, f"channel {self.channel}; "
        )
        levels = f"black {self.levels.black:.5g}, white {self.levels.white:.5g}".replace("-", "−")
        return f"{what}{levels} {unit_text(self.units)}".rstrip()


def unit_text(units: str) -> str:
    """A unit as it is written on an axis."""
    return {"adu": "ADU", "electron": "e⁻", "1": ""}.get(units, units)


def frame_picture(
    view: FrameView, title: str, *, width: int = 470, ranges: tuple[Range1d, Range1d] | None = None
) -> Shown:
    """One frame, scaled down by block means of each colour, on axes of sensor pixels.

    Parameters
    ----------
    view : FrameView
        The frame.
    title : str
        Above the picture.
    width : int
        Screen pixels.
    ranges : tuple of Range1d, optional
        Of another picture, which then moves along.
    """
    channel = COLOUR if COLOUR in view.channels else view.channels[0 if len(view.channels) == 1 else 1]
    height = max(90, min(round(width * view.shape[0] / view.shape[1]), 2 * width))
    found = view.view(width=width, height=height, channel=channel)
    levels = auto_levels(np.concatenate([np.ravel(plane) for plane in view.sample(channel)]))
    rgba = picture(found.values, levels, curve="mtf")
    x0, x1, y0, y1 = found.extent
    if ranges is None:
        ex0, ex1, ey0, ey1 = view.extent
        vertical = Range1d(ey0, ey1) if view.rows_upward else Range1d(ey1, ey0)
        ranges = (Range1d(ex0, ex1), vertical)
    plot = figure(
        title=title,
        x_range=ranges[0],
        y_range=ranges[1],
        frame_width=width,
        frame_height=height,
        tools="pan,box_zoom,reset",
        x_axis_label="x (sensor pixel)",
        y_axis_label="y (sensor pixel)",
        output_backend="canvas",
    )
    wheel = WheelZoomTool(zoom_on_axis=False)
    plot.add_tools(wheel)
    _dress(plot)
    plot.grid.visible = False
    source = _data_url(rgba[::-1] if view.rows_upward else rgba)
    plot.image_url(url=[source], x=x0, y=y1 if view.rows_upward else y0, w=x1 - x0, h=y1 - y0)
    return Shown(plot, channel, levels, view.units)


def _data_url(rgba: np.ndarray) -> str:
    """The picture as JPEG inside a URL; noise does not compress well as PNG."""
    image = Image.fromarray(np.ascontiguousarray(rgba[..., :3]))
    if (rgba[..., 0] == rgba[..., 1]).all() and (rgba[..., 0] == rgba[..., 2]).all():
        image = image.convert("L")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def histogram(view: FrameView, title: str, *, width: int = 420, height: int = 260) -> figure:
    """How often each level occurs, per channel, on a logarithmic scale."""
    samples = {name: view.sample(None if name == "L" else name)[0] for name in view.pattern.channels}
    everything = np.concatenate(list(samples.values()))
    edges = _edges(everything) if everything.size else np.array([0.0, 1.0])
    beyond = 1.0 - np.count_nonzero((everything >= edges[0]) & (everything <= edges[-1])) / max(
        everything.size, 1
    )
    unit = unit_text(view.units)
    axis = f"level ({unit})" if unit else "response (mean of a channel = 1)"
    plot = figure(
        title=title,
        frame_width=width,
        frame_height=height,
        y_axis_type="log",
        tools="pan,box_zoom,wheel_zoom,reset",
        x_axis_label=axis + (f"; {100 * beyond:.2g} % of the pixels lie beyond" if beyond else ""),
        y_axis_label="pixels of the sample",
    )
    _dress(plot)
    items = []
    for name, values in samples.items():
        counts = np.histogram(values, edges)[0].astype(float)
        counts[counts == 0] = 0.1  # below the axis: a logarithm has no zero
        line = plot.step(
            (edges[:-1] + edges[1:]) / 2,
            counts,
            mode="center",
            line_width=1.6,
            line_color=channel_colour(name),
            line_dash=_DASHES.get(name, "solid"),
        )
        items.append(LegendItem(label=name, renderers=[line]))
    plot.y_range.start = 0.7
    if len(items) > 1:
        plot.add_layout(Legend(items=items, orientation="horizontal", border_line_color=None), "above")
    return plot


def _edges(values: np.ndarray) -> np.ndarray:
    """Bins over nearly all values and some way beyond, as far as there are any.

    Their width is 1, 2 or 5 times a power of ten and they are shifted by a quarter of it, so that values on a
    grid (whole numbers, means of ten) fall into them evenly.
    """
    low, high = (float(q) for q in np.percentile(values, (0.2, 99.0)))
    reach = max(1.5 * (high - low), 1e-6 * max(abs(high), 1.0))
    low, high = max(float(values.min()), low - reach), min(float(values.max()), high + reach)
    rough = max(high - low, reach) / _BINS
    power = 10.0 ** np.floor(np.log10(rough))
    width = power * next(step for step in (1, 2, 5, 10) if step * power >= rough)
    return (np.arange(np.floor(low / width), np.ceil(high / width) + 2) - 0.25) * width


def _dress(plot: figure) -> None:
    """No paper of its own: the page's shows through, whichever it is."""
    plot.background_fill_color = plot.border_fill_color = None
    plot.toolbar.logo = None
    plot.toolbar.autohide = True


def channel_colour(name: str) -> str:
    """The line colour of a channel."""
    return CHANNEL_COLOURS.get(name, CHANNEL_COLOURS.get(name[:1], CHANNEL_COLOURS["L"]))


def noise_figure(lights: Sequence[LightRow], *, width: int = 900, height: int = 280) -> figure | None:
    """Measured ÷ predicted noise of every light and channel; None when nothing was predicted."""
    points: dict[str, dict[str, list]] = {}
    for number, row in enumerate(lights, start=1):
        for name, found in row.after.items():
            measured, predicted = found["measured"], found["predicted"]
            if predicted and np.isfinite(predicted) and np.isfinite(measured):
                column = points.setdefault(
                    name, {"light": [], "ratio": [], "file": [], "measured": [], "predicted": []}
                )
                values: Mapping[str, object] = {
                    "light": number,
                    "ratio": measured / predicted,
                    "file": row.file,
                    "measured": measured,
                    "predicted": predicted,
                }
                for key, value in values.items():
                    column[key].append(value)
    if not points:
        return None
    plot = figure(
        frame_width=width,
        frame_height=height,
        tools="pan,box_zoom,wheel_zoom,reset",
        x_axis_label="light, in the order of the table",
        y_axis_label="measured ÷ predicted noise",
    )
    _dress(plot)
    plot.add_layout(Span(location=1.0, dimension="width", line_color="#8A8A8A", line_dash="dashed"))
    items, dots = [], []
    for name, column in points.items():
        dot = plot.scatter(
            "light",
            "ratio",
            source=ColumnDataSource(column),
            size=8,
            marker=_MARKERS.get(name, "circle"),
            line_color=channel_colour(name),
            fill_color=channel_colour(name),
            fill_alpha=0.5,
        )
        dots.append(dot)
        items.append(LegendItem(label=name, renderers=[dot]))
    tips = [("light", "@file"), ("measured", "@measured{0.000}"), ("predicted", "@predicted{0.000}")]
    plot.add_tools(HoverTool(renderers=dots, tooltips=tips))
    if len(items) > 1:
        plot.add_layout(Legend(items=items, orientation="horizontal", border_line_color=None), "above")
    ratios = [ratio for column in points.values() for ratio in column["ratio"]]
    plot.y_range = Range1d(min(0.8, *ratios) - 0.05, max(1.2, *ratios) + 0.05)
    if len(lights) <= 20:
        plot.xaxis.ticker = FixedTicker(ticks=list(range(1, len(lights) + 1)))
    plot.xaxis.formatter = NumeralTickFormatter(format="0")
    return plot


def view_of_result(frame: xr.DataArray | xr.Dataset) -> FrameView:
    """A view of one frame that is read by bands, never kept whole."""
    return FrameView(frame, cache_bytes=0)

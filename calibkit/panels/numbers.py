"""An image is a set of numbers: a picture and its pixel values beside each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import traitlets
import xarray as xr
from bokeh.layouts import row as beside
from bokeh.models import LinearColorMapper, Range1d

from calibkit.display.images import Image
from calibkit.display.numbers import numbers_around, shades, value_counts
from calibkit.display.stretch import histogram
from calibkit.display.view import FrameView
from calibkit.panels.base import Panel, caption
from calibkit.panels.errors import ErrorArea
from calibkit.panels.figure import FigureWidget
from calibkit.panels.image_plots import number, unit
from calibkit.panels.image_view import ImageView
from calibkit.panels.inputs import load_lines, with_imports
from calibkit.panels.plots import BLUE, ORANGE, bars, fill, plot, source
from calibkit.panels.settings import choice, row, slider, tick
from calibkit.simulate.deck import deck_pixels
from calibkit.state.numbers import NumbersState

#: Width of the picture in screen pixels, with and without its axis.
_WIDTH, _INNER_WIDTH = 230, 162


class NumbersPanel(Panel):
    """A picture beside the table of its pixel values: what is pointed at in one is marked in the other.

    Parameters
    ----------
    image : xarray.DataArray, xarray.Dataset, numpy.ndarray or path, optional
        One frame with dims (y, x); the lecture's table of 39 × 30 numbers when not given. Of a larger frame the table
        shows the surroundings of the pixel that is clicked.
    **settings
        Settings of `calibkit.state.NumbersState`, e.g. ``centre=(120, 340)``, ``counting="every value"``.

    Raises
    ------
    SettingError
        The image cannot be shown, or *centre* lies outside of it.
    TypeError
        A setting that does not exist.

    Examples
    --------
    >>> panel = NumbersPanel(rows=5, columns=6, centre=(39, 23))
    >>> panel.result.values[-1].tolist()
    [7967, 18761, 44718, 56797, 51400, 29298]
    """

    def __init__(self, image: Image | FrameView | None = None, **settings: Any) -> None:
        state = NumbersState(**settings)
        errors = ErrorArea()
        self._own = image is None
        self._image = deck_pixels() if image is None else image
        self.frame = self._image if isinstance(self._image, FrameView) else FrameView(self._image)
        self._table = self._around(state)
        super().__init__(state, errors)
        self._make_plots()
        self.figure = FigureWidget(
            beside(self._picture, self._cells_plot, sizing_mode="stretch_width"),
            self._counts_plot,
            scripts=("numbers.js",),
            state=state,
            facts={},
            label="pixel values as a table and as a picture",
            errors=errors,
        )
        self.figure.on_message("point", self._point)
        self.note = caption("")
        self.view: ImageView | None = None
        top = []
        if any(size > most for size, most in zip(self.frame.shape, (state.rows, state.columns), strict=True)):
            self.view = ImageView(self.frame, state=state, errors=errors, height=320)
            self.view.on_pick(self._pick)
            top = [
                caption("Click into the picture: the table below shows the pixels around that place."),
                self.view,
            ]
        state.observe(self._again, ["centre", "rows", "columns"])
        state.observe(lambda _change: self._count(), "counting")
        self._show()
        controls = [
            tick(state, errors, "shades", "shades behind the numbers"),
            choice(state, errors, "counting", "histogram"),
        ]
        if self.view is not None:
            controls += [slider(state, errors, n, n, tip="Size of the table.") for n in ("rows", "columns")]
        self.assemble(*top, row(*controls), self.figure, self.note)

    def code_lines(self) -> list[str]:
        loads = (
            ["from calibkit import deck_pixels", "image = deck_pixels()"]
            if self._own
            else load_lines(image=self._image)
        )
        state = self.state
        where = f"{state.centre!r}, rows={state.rows}, columns={state.columns}"
        return with_imports(
            [
                "from calibkit.display.numbers import numbers_around",
                "from calibkit.panels import NumbersPanel",
                *loads,
                f"result = numbers_around(image, {where})",
                state.code(*([] if self._own else ["image"])),
            ]
        )

    def compute(self) -> xr.DataArray:
        """The numbers of the table; see `calibkit.display.numbers.numbers_around`."""
        return self._around(self.state)

    def describe(self) -> str:
        return f"{self._table.sizes['y']} × {self._table.sizes['x']} of {self.frame.shape[0]} × {self.frame.shape[1]} pixels"

    def png(self) -> bytes:
        view = self.view or ImageView(self.frame, levels=None)
        return view.png()

    # ---- the plots ------------------------------------------------------------------------------------------

    def _make_plots(self) -> None:
        empty = {"x": [], "y": [], "text": []}
        self._cells = source(**empty, shade=[])
        self._cells.name = "cells"
        look = source(**empty, fill=[], ink=[], size=[])
        look.name, look.syncable = "look", False
        mark = source(x=[], y=[])
        mark.name, mark.syncable = "mark", False
        self._pixels = source(image=[], x=[], y=[], w=[], h=[])
        xs, ys = Range1d(0, 1), Range1d(1, 0)
        made = []
        for name, title in (("picture", "the picture"), ("table", "its numbers")):
            each = plot(
                title,
                "column (x)",
                "row (y)",
                height=640,
                x_range=xs,
                y_range=ys,
                name=name,
                tags=[self._cells],
            )
            each.toolbar_location = None
            each.tools = []
            each.grid.visible = False
            each.min_border_right = 4
            made.append(each)
        self._picture, self._cells_plot = made
        self._picture.sizing_mode, self._picture.width = "fixed", _WIDTH
        self._colours = LinearColorMapper(
            palette=[f"#{g:02x}{g:02x}{g:02x}" for g in range(256)], low=0, high=255
        )
        self._picture.image("image", "x", "y", "w", "h", source=self._pixels, color_mapper=self._colours)
        self._cells_plot.rect(
            "x", "y", 1, 1, source=look, fill_color="fill", line_color="#999999", line_width=0.5
        )
        text = self._cells_plot.text(
            "x", "y", text="text", source=look, text_color="ink", text_align="center", text_baseline="middle",
            text_font_size="size",
        )  # fmt: skip
        text.name = "text"
        for each in made:
            each.rect("x", "y", 1, 1, source=mark, fill_color=None, line_color=ORANGE, line_width=3)
        self._steps = source(x=[], y=[])
        self._stems = source(x=[], y=[])
        self._counts_plot = plot(
            "How often each value occurs in the table", f"value ({unit(self.frame.units) or 'no unit'})", "pixels",
            height=200, name="counts",
        )  # fmt: skip
        self._counts_plot.y_range.start = 0
        self._counts_plot.varea("x", 0, "y", source=self._steps, fill_color=BLUE)
        self._counts_plot.segment("x", 0, "x", "y", source=self._stems, line_color=BLUE, line_width=1.5)

    def _show(self) -> None:
        """Draw the table's part of the frame anew."""
        values = self._table.values.astype(float)
        ys, xs = (self._table.coords[dim].values for dim in ("y", "x"))
        shade = shades(values)
        grid_y, grid_x = np.meshgrid(ys, xs, indexing="ij")
        with self.figure.batch():
            fill(
                self._cells,
                {
                    "x": grid_x.ravel(), "y": grid_y.ravel(), "shade": shade.ravel(),
                    "text": [number(value) for value in self._table.values.ravel().tolist()],
                },
            )  # fmt: skip
            edges = (float(xs[0]) - 0.5, float(ys[0]) - 0.5, float(xs.size), float(ys.size))
            fill(
                self._pixels,
                {
                    "image": [shade],
                    **{
                        name: [value]
                        for name, value in zip("xywh", (edges[0], edges[1], edges[2], edges[3]), strict=True)
                    },
                },
            )
            self._picture.x_range.update(start=edges[0], end=edges[0] + edges[2])
            self._picture.y_range.update(start=edges[1] + edges[3], end=edges[1])
            self._picture.height = round(min(640, 80 + _INNER_WIDTH * edges[3] / edges[2]))  # square pixels
            self._count()
        self.figure.tell_facts(
            top=int(ys[0]), left=int(xs[0]), rows=ys.size, columns=xs.size, unit=unit(self.frame.units)
        )

    def _count(self) -> None:
        values, counts = value_counts(self._table.values)
        every = self.state.counting == "every value"
        with self.figure.batch():
            fill(self._stems, {"x": values, "y": counts} if every else {"x": [], "y": []})
            if every or not values.size:
                fill(self._steps, {"x": [], "y": []})
            else:
                bars(
                    self._steps, *histogram(self._table.values, float(values[0]), float(values[-1]), bins=40)
                )
        self.note.value = caption(
            f"{int(counts.sum())} pixels with {values.size} different values, from {number(float(values[0]))} to "
            f"{number(float(values[-1]))} {unit(self.frame.units)}. The picture is nothing but these numbers as shades."
            if values.size
            else "No pixel of this table has a value."
        ).value

    # ---- gestures -------------------------------------------------------------------------------------------

    def _around(self, state: NumbersState) -> xr.DataArray:
        return numbers_around(self.frame.image, state.centre, rows=state.rows, columns=state.columns)

    def _again(self, change: traitlets.Bunch) -> None:
        with self.errors.guard("table"):
            self._table = self._around(self.state)
            self._show()

    def _pick(self, y: int, x: int) -> None:
        self.state.centre = (y, x)

    def _point(self, message: dict[str, Any]) -> None:
        self.state.pixel = (int(message["y"]), int(message["x"]))
        if self.view is not None:
            self.view.pick(*self.state.pixel)

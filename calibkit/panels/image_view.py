"""The image viewer of every panel: one frame, or two compared, at any size, never more than the screen shows.

Python sends a view of what is visible (`calibkit.display.view`) as 16-bit codes (`calibkit.display.codes`), again after each
zoom. Everything else happens on the page (``image_view.js``): stretch, split, blink, difference and read-out
move pixels without asking the kernel. Exact values, with their noise and flags, come from Python on a click.

Orientation: rows of cameras and pictures run downward (``roworder`` TOP-DOWN, and bare arrays). Rows of FITS
run upward unless the file says otherwise, as in other programs for astronomy. The axes count sensor pixels
in the file's row order in either case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource

from calibkit.display.codes import encode
from calibkit.display.images import Image
from calibkit.display.sheet import png_bytes
from calibkit.display.stretch import PALETTES, Levels, colours, picture
from calibkit.display.view import MOSAIC, FrameView, View
from calibkit.errors import SettingError
from calibkit.panels.errors import ErrorArea
from calibkit.panels.figure import FigureWidget
from calibkit.panels.image_layers import Layer
from calibkit.panels.image_plots import levels_plots, number, pictures, unit, value_label
from calibkit.state import ViewState

#: A value is written into its pixel once this many screen pixels are there for it.
NUMBERS_FROM = 40
_MOST_NUMBERS = 1500
#: Size of the static picture that a saved notebook keeps.
_PICTURE = (800, 520)


class ImageView(FigureWidget):
    """One frame, or two to be compared, with zoom, stretch and values.

    Parameters
    ----------
    *images : xarray.DataArray, xarray.Dataset, numpy.ndarray, path or FrameView
        One or two frames with dims (y, x).
    names : sequence of str, optional
        What each is called.
    state : ViewState or CompareState, optional
        The settings; a panel passes its own. Two images need a CompareState.
    errors : ErrorArea, optional
        Where errors are shown: the panel's.
    height : int, optional
        Height of the picture in screen pixels; by default as the page's width and the window allow. Its
        width is that of the page.
    **settings
        Settings of `ViewState`, when no *state* is given.

    Attributes
    ----------
    state : ViewState
    frames : tuple of FrameView
    figure : bokeh.plotting.figure
        For marks over the picture, in sensor pixels: ``view.figure.scatter(…)``.

    Examples
    --------
    >>> import numpy as np
    >>> view = ImageView(np.ones((400, 600)), palette="viridis")
    >>> view.state.curve = "asinh"
    >>> view
    ImageView('image 400 × 600')
    """

    def __init__(
        self,
        *images: Image | FrameView,
        names: Sequence[str] = ("image", "other"),
        state: ViewState | None = None,
        errors: ErrorArea | None = None,
        height: int | None = None,
        **settings: Any,
    ) -> None:
        if len(images) not in (1, 2):
            msg = f"{len(images)} images given: one is shown, or two are compared"
            raise SettingError(msg)
        self.frames = tuple(image if isinstance(image, FrameView) else FrameView(image) for image in images)
        self.names = tuple(names)[: len(images)]
        self.state = state if state is not None else ViewState(**settings)
        self._size = (1000, 650)
        self._screen = 0.0
        self._shown: tuple | None = None
        self._listeners: list[Callable[[int, int], None]] = []
        self._layers = self._make_layers()
        texts = {f"text{n}": [] for n in range(2 * len(images) - 1)}
        self._sources = {
            "views": ColumnDataSource(data={}, name="views"),
            "numbers": ColumnDataSource(data={"x": [], "y": [], "size": [], **texts}, name="numbers"),
            "picked": ColumnDataSource(data={"x": [], "y": []}, name="picked"),
        }
        first = self.frames[0]
        self.figure, top = pictures(
            first.extent, self._sources, count=len(images), upward=first.rows_upward, height=height or 480
        )
        self._plots, bottom = levels_plots([layer.units for layer in self._layers])
        self._draw_histograms()
        super().__init__(
            top,
            bottom,
            scripts=("pixels.js", "controls.js", "image_region.js", "image_levels.js", "image_view.js"),
            state=self.state,
            facts={**self._layer_facts(), **self._lasting_facts(), "height": height},
            label=" and ".join(
                f"{name} {frame.shape[0]} × {frame.shape[1]}"
                for name, frame in zip(self.names, self.frames, strict=True)
            ),
            errors=errors,
        )
        self.on_message("viewport", self._viewport)
        self.on_message("pick", lambda message: self.pick(message["y"], message["x"]))
        for n in range(len(self._plots)):
            self.on_message(f"histogram{n}", lambda message, n=n: self._draw_histogram(n, **message))
        self.state.observe(lambda _change: self._channel_changed(), ["channel"])
        self.state.observe(lambda _change: self.refresh(), ["reduce"])
        self.refresh()

    # ---- for panels --------------------------------------------------------------------------------------

    def show(self, image: Image | FrameView, *, layer: int = 0) -> None:
        """Show another image in place of one, with the same zoom and settings."""
        frame = image if isinstance(image, FrameView) else FrameView(image)
        self.frames = tuple(frame if n == layer else old for n, old in enumerate(self.frames))
        self._channel_changed()

    def on_pick(self, listener: Callable[[int, int], None]) -> None:
        """Call ``listener(y, x)`` with the sensor pixel that is clicked."""
        self._listeners.append(listener)

    def pick(self, y: float, x: float) -> None:
        """Show the exact values of the pixel at sensor position (y, x), as a click does."""
        found = [frame.pixel(y, x) for frame in self.frames]
        first = next((pixel for pixel in found if pixel is not None), None)
        if first is None:
            return
        self._sources["picked"].data = {"x": [first["x"]], "y": [first["y"]]}
        self.tell_facts(picked=self._described(found))
        self.state.pixel = (round(first["y"]), round(first["x"]))
        for listener in self._listeners:
            listener(*self.state.pixel)

    def levels(self, layer: int = 0) -> Levels:
        """The stretch of an image as it is now; 2: of the difference."""
        shared = layer != 2 and getattr(self.state, "shared", False)
        name = ("levels", "levels" if shared else "after_levels", "difference_levels")[layer]
        given = getattr(self.state, name)
        if given is not None:
            return Levels(*given)
        autos = [each.auto[self.state.curve] for each in self._layers]
        if not shared:
            return autos[layer]
        black, white, midtone = zip(*autos[:2], strict=True)
        return Levels(min(black), max(white), min(midtone))

    def set_automatic(self, levels: Levels, *, curve_table: np.ndarray | None = None) -> None:
        """Use *levels* as the automatic stretch of the first image, until another image or channel is shown.

        *curve_table* is the brightness at even steps of the square root of the fraction, for a curve that the page
        has no formula of.
        """
        first = self._layers[0]
        self._layers[0] = replace(first, auto={**first.auto, self.state.curve: levels})
        table = None if curve_table is None else curve_table.tolist()
        self.tell_facts(**self._layer_facts(), curve_table=table)

    def refresh(self) -> None:
        """Make the view of the visible region anew where it has changed."""
        state = self.state
        with self.batch():
            block = self._block(*self._size)
            key = (state.region, block, state.channel, state.reduce)
            if key != self._shown:
                views = self._current_views(block)
                self._send_views(views)
                self._write_numbers(views)
                self._shown = key

    def picture(self, width: int, height: int) -> np.ndarray:
        """The picture as it is now, uint8 of shape (rows, columns, 4), at most *width* × *height*."""
        mode = getattr(self.state, "mode", "before")
        width = width // 2 if mode == "side by side" else width
        views = self._current_views(self._block(width, height))
        if mode == "difference":
            planes = (views[1].values - views[0].values).mean(axis=0, keepdims=True)
            shown = picture(planes, self.levels(2), palette=PALETTES[-1])
        else:
            curve, palette = self.state.curve, self.state.palette
            each = [
                picture(v.values, self.levels(n), curve=curve, palette=palette) for n, v in enumerate(views)
            ]
            shown = each[1] if mode == "after" else each[0]
            if mode == "split":
                column = round(self.state.split * shown.shape[1])
                shown = np.concatenate([each[0][:, :column], each[1][:, column:]], axis=1)
            elif mode == "side by side":
                shown = np.concatenate([each[0], np.zeros((len(shown), 4, 4), np.uint8), each[1]], axis=1)
        rows, columns = views[0].shape
        enlarge = max(1, min(width // max(1, columns), height // max(1, rows)))
        shown = shown.repeat(enlarge, axis=0).repeat(enlarge, axis=1)
        return shown[::-1] if self.frames[0].rows_upward else shown

    def png(self) -> bytes:
        """The picture as it is now, without its axes, as a PNG file."""
        return png_bytes(self.picture(*_PICTURE))

    def views_gone(self) -> None:
        """Give back the memory of lazy frames until somebody looks again."""
        for frame in self.frames:
            frame.release()

    # ---- what the page asks for --------------------------------------------------------------------------

    def _viewport(self, message: dict[str, Any]) -> None:
        self._size = (int(message["width"]), int(message["height"]))
        self._screen = float(message["screen"])
        region = message["region"]
        with self.from_caller():
            self.state.region = None if region is None else tuple(region)
        self.refresh()

    def _write_numbers(self, views: list[View]) -> None:
        """Write the values into the pixels once they are large enough on the screen."""
        source = self._sources["numbers"]
        x0, x1, y0, _ = views[0].extent
        rows, columns = views[0].shape
        size = (x1 - x0) / max(1, columns)
        data: dict[str, list] = {name: [] for name in source.data}
        if self._screen * size >= NUMBERS_FROM and rows * columns <= _MOST_NUMBERS:
            planes = [view.values for view in views]
            if len(views) == 2:
                planes.append(views[1].values - views[0].values)
            ys, xs = np.mgrid[0:rows, 0:columns]
            data |= {"x": x0 + size * (xs.ravel() + 0.5), "y": y0 + size * (ys.ravel() + 0.5)}
            data["size"] = [size] * (rows * columns)
            for n, values in enumerate(planes):
                flat = values.reshape(len(values), -1).T
                data[f"text{n}"] = ["\n".join(map(number, pixel)) for pixel in flat.tolist()]
        if len(data["x"]) or len(source.data["x"]):
            source.data = data

    def _described(self, found: list[dict[str, Any] | None]) -> str:
        first = next(pixel for pixel in found if pixel is not None)
        channel = f" ({first['channel']})" if first["channel"] else ""
        parts = [f"x {first['x']:g}  y {first['y']:g}{channel}"]
        for name, pixel in zip(self.names, found, strict=True):
            label = f"{name} " if len(found) == 2 else ""
            if pixel is None:
                parts.append(f"{label}no such pixel")
                continue
            sigma = "" if pixel["sigma"] is None else f" ± {pixel['sigma']:.3g}"
            flags = f" [{', '.join(pixel['flags'])}]" if pixel["flags"] else ""
            parts.append(f"{label}{number(pixel['value'])}{sigma} {unit(pixel['units'])}".rstrip() + flags)
        if self._layers[-1].name == "difference" and None not in found:
            difference = found[1]["value"] - found[0]["value"]
            parts.append(f"difference {number(difference)} {self._layers[-1].units}".rstrip())
        return "   ".join(parts)

    # ---- views and what goes with them ---------------------------------------------------------------------

    def _channel_of(self, frame: FrameView) -> str:
        return self.state.channel if self.state.channel in frame.channels else MOSAIC

    def _block(self, width: int, height: int) -> int:
        return max(
            frame.block_for(self.state.region, width, height, channel=self._channel_of(frame))
            for frame in self.frames
        )

    def _current_views(self, block: int) -> list[View]:
        """A view of every frame, all on the grid of the first."""
        views = [
            frame.view(
                self.state.region, reduce=self.state.reduce, channel=self._channel_of(frame), block=block
            )
            for frame in self.frames
        ]
        return [views[0], *(view.onto(views[0]) for view in views[1:])]

    def _send_views(self, views: list[View]) -> None:
        pairs = [[encode(plane) for plane in view.values] for view in views]
        x0, x1, y0, y1 = views[0].extent
        edges = {"x0": x0, "x1": x1, "y0": y0, "y1": y1, "block": views[0].block}
        self._sources["views"].data = {
            "codes": [np.stack([codes for codes, _ in pair]) for pair in pairs],
            "scales": [[[s.offset, s.scale, s.start, s.step] for _, s in pair] for pair in pairs],
            **{name: [value] * len(views) for name, value in edges.items()},
        }

    def _make_layers(self) -> list[Layer]:
        offered = dict.fromkeys(channel for frame in self.frames for channel in frame.channels)
        if self.state.channel not in offered:
            msg = f"channel {self.state.channel!r}: there are {', '.join(offered)}"
            raise SettingError(msg)
        layers = [
            Layer.of_frame(frame, name, self._channel_of(frame))
            for frame, name in zip(self.frames, self.names, strict=True)
        ]
        if len(self.frames) == 2 and self.frames[0].units == self.frames[1].units:
            layers.append(Layer.of_difference(*self.frames))
        return layers

    def _channel_changed(self) -> None:
        with self.batch():
            self._layers = self._make_layers()
            self._shown = None
            self._draw_histograms()
            self.refresh()
        self.tell_facts(**self._layer_facts())

    def _layer_facts(self) -> dict[str, Any]:
        facts = [layer.facts() for layer in self._layers]
        count = len(self.frames)
        missing = ""
        if count == 2 and len(facts) == 2:
            units = " and ".join(layer.units or "no unit" for layer in self._layers)
            missing = f"there is no difference of images in different units ({units})"
        return {
            "layers": facts[:count],
            "difference": facts[2] if len(facts) > 2 else None,
            "no_difference": missing,
        }

    def _lasting_facts(self) -> dict[str, Any]:
        # Colours as one number each, the way they lie in memory: red lowest.
        packed = {name: (colours(name).astype(np.int64) @ [1, 256, 65536]).tolist() for name in PALETTES}
        return {
            "channels": list(dict.fromkeys(channel for frame in self.frames for channel in frame.channels)),
            "curves": list(self.state.traits()["curve"].values),
            "maps": list(PALETTES[:-1]),
            "diverging": PALETTES[-1],
            "palettes": packed,
            "extent": list(self.frames[0].extent),
            "rows_upward": self.frames[0].rows_upward,
            "picked": "",
        }

    def _draw_histograms(self) -> None:
        for n, (plot, layer) in enumerate(zip(self._plots, self._layers, strict=True)):
            plot.plot.xaxis.axis_label = value_label(layer.units)  # another image may have another unit
            low, high = layer.window()
            plot.window(low, high)
            self._draw_histogram(n, low, high)

    def _draw_histogram(self, n: int, low: float, high: float) -> None:
        self._layers[n].draw(self._plots[n], low, high)
        if n == 0 and len(self.frames) == 2:
            self._layers[1].draw(self._plots[0], low, high, other=True)

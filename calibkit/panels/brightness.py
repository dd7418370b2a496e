"""From measured values to a picture, with what a black point that is too high throws away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import xarray as xr
from bokeh.layouts import row as beside
from bokeh.models import ColorBar, LinearColorMapper, Range1d

from calibkit.background import CLIPPING_LIMIT, planes_of_picture
from calibkit.brightness import hyperbolic_curve, save_picture, stretch_picture
from calibkit.brightness.faint import FaintStructure, faint_structure
from calibkit.brightness.scaling import Sampled, Scaling
from calibkit.display.central import central_part
from calibkit.display.images import Image, open_image
from calibkit.display.sheet import png_bytes
from calibkit.display.stretch import Levels, picture
from calibkit.display.view import FrameView
from calibkit.errors import SettingError
from calibkit.panels.base import Panel, caption
from calibkit.panels.errors import ErrorArea
from calibkit.panels.figure import FigureWidget
from calibkit.panels.image_plots import number, unit
from calibkit.panels.image_view import ImageView
from calibkit.panels.inputs import load_lines, with_imports
from calibkit.panels.plots import fill, plot, source
from calibkit.panels.settings import choice, row, slider, tick
from calibkit.progress import Progress
from calibkit.state.brightness import BrightnessState

#: Of the part of the frame whose background is averaged, so that a slider is followed at once.
_PART_BYTES = 2 * 2**20
#: Largest width and height of a picture of blocks on the screen: two fit beside each other at 1280 pixels.
_FRAME = 290
_TABLE = np.linspace(0.0, 1.0, 2049) ** 2


class BrightnessPanel(Panel):
    """Scale the brightness of a result, and see why its background cannot turn black.

    Parameters
    ----------
    image : xarray.Dataset, xarray.DataArray, numpy.ndarray or path
        A result with the dims (y, x), or (channel, y, x) in colour.
    height : int, optional
        Height of the picture in screen pixels.
    **settings
        Settings of `calibkit.state.BrightnessState`, e.g. ``curve="asinh"``, ``levels=(480.0, 9000.0, 0.1)``.

    Raises
    ------
    SettingError
        It is not one picture.
    TypeError
        A setting that does not exist.

    Notes
    -----
    `result` is the picture with values 0 … 1, from `calibkit.stretch_picture`; it is refused while more than 1 % of the
    background's pixels would be cut off, unless ``allow_clipping=True``.

    Examples
    --------
    >>> sky = np.random.default_rng(1).normal(500.0, 10.0, (120, 160))
    >>> panel = BrightnessPanel(sky, curve="asinh")
    >>> panel
    BrightnessPanel(120 × 160, asinh)
    >>> float(panel.result.max())
    1.0
    """

    def __init__(self, image: Image, *, height: int | None = None, **settings: Any) -> None:
        state = BrightnessState(**settings)
        errors = ErrorArea()
        self._input = image
        self._image = _opened(image)
        self._planes = planes_of_picture(self._image)
        if state.plane and state.plane not in self._planes:
            msg = f"plane={state.plane!r}: this picture has {', '.join(self._planes)}"
            raise SettingError(msg)
        self._sampled = Sampled(self._image)
        super().__init__(state, errors)
        self.view = ImageView(self._plane, names=("picture",), state=state, errors=errors, height=height)
        self._part: tuple[Any, xr.DataArray] | None = None
        self._make_plots()
        self.verdict = ipywidgets.HTML()
        self.below = ipywidgets.HTML()
        self._intensity = slider(
            state, errors, "intensity", "GHS intensity b",
            tip="How much the contrast is gathered around the background: −1 logarithmic, 0 exponential, 1 as mtf.",
        )  # fmt: skip
        self.assemble(*self._controls(), self.view, self.verdict, self.figure, self.below, self._saving())
        state.observe(lambda _change: self._plane_changed(), "plane")
        state.observe(lambda _change: self._scale(), ["curve", "brightness", "linked", "intensity"])
        state.observe(lambda _change: self._judge(), ["levels", "region", "block", "allow_clipping"])
        self._scale()

    def code_lines(self) -> list[str]:
        options = "".join(f", {name}={value!r}" for name, value in self.state.options().items())
        return with_imports(
            [
                "from calibkit import stretch_picture",
                "from calibkit.panels import BrightnessPanel",
                *load_lines(image=self._input),
                f"result = stretch_picture(image{options})",
                self.state.code("image"),
            ]
        )

    def compute(self) -> xr.DataArray:
        """The picture, float32 between 0 and 1; see `calibkit.stretch_picture`."""
        return stretch_picture(self._image, **self.state.options()).compute()

    def describe(self) -> str:
        shape = " × ".join(str(size) for size in self.view.frames[0].shape)
        return f"{shape}, {self.state.curve}"

    def png(self) -> bytes:
        """The channel that is looked at, as it is scaled, as a PNG file."""
        shown = self.view.frames[0].view(self.state.region, 800, 520).values[0]
        rows = self.scaling.shades(shown)[:: -1 if self.view.frames[0].rows_upward else 1]
        return png_bytes(picture(rows[None], Levels(0.0, 1.0), palette=self.state.palette))

    # ---- parts ----------------------------------------------------------------------------------------------

    @property
    def _channel(self) -> str:
        return self.state.plane or next(iter(self._planes))

    @property
    def _plane(self) -> FrameView:
        return FrameView(self._planes[self._channel])

    def _controls(self) -> list[ipywidgets.Widget]:
        state, errors = self.state, self.errors
        parts = [
            slider(
                state, errors, "brightness", "sky brightness",
                tip="Where the curve is found automatically.",
            ),
            self._intensity,
            slider(state, errors, "block", "blocks below", tip="Pixels on a side of a block of the background."),
            tick(state, errors, "allow_clipping", "make the picture although it clips"),
        ]  # fmt: skip
        if len(self._planes) > 1:
            if not state.plane:
                state.plane = self._channel
            parts = [
                choice(state, errors, "plane", "channel", among=list(self._planes)),
                tick(state, errors, "linked", "one scaling for all channels", tip="Keeps the colours as they are."),
                *parts,
            ]  # fmt: skip
        return [
            caption(
                "Pull black to the right in the histogram: what is cut off turns blue. Below, the same background "
                "averaged over blocks shows what goes with it."
            ),
            row(*parts),
        ]

    def _make_plots(self) -> None:
        self._pixels, self._colours, plots = [], LinearColorMapper(palette="Cividis256"), []
        self._colours.nan_color = "#00000000"
        first = self.view.frames[0]
        xs, ys = Range1d(0, 1), Range1d(0, 1)
        for name in ("whole", "cut"):
            each = plot(
                " ", "x (sensor pixel)", "y (sensor pixel)", x_range=xs, y_range=ys, height=300, name=name
            )
            pixels = source(image=[], x=[], y=[], w=[], h=[])
            each.image("image", "x", "y", "w", "h", source=pixels, color_mapper=self._colours)
            each.grid.visible = False
            # The frame's size alone is given, so that its pixels are square.
            each.update(sizing_mode="fixed", width=None, height=None, frame_width=_FRAME, frame_height=_FRAME)
            each.xaxis.ticker.desired_num_ticks = 4
            self._pixels.append(pixels)
            plots.append(each)
        name = unit(first.units)
        bar = ColorBar(
            color_mapper=self._colours,
            title=f"mean ({name})" if name else "mean",
            width=12,
            background_fill_color=None,
        )
        plots[1].add_layout(bar, "right")
        self._plots = plots
        both = beside(*plots, styles={"flex-wrap": "wrap"})  # one below the other where the page is narrow
        self.figure = FigureWidget(both, label="the background in blocks", errors=self.errors)

    def _saving(self) -> ipywidgets.Widget:
        self._path = ipywidgets.Text(
            "picture.tif", description="file", layout={"width": "26em"}, tooltip="Ends with .tif or .png"
        )
        self._bits = ipywidgets.Dropdown(
            options=[16, 8],
            description="bits",
            style={"description_width": "initial"},
            layout={"width": "8em"},
        )
        self._save = ipywidgets.Button(
            description="save picture", tooltip="Scale the whole frame and write the file."
        )
        self._saved = ipywidgets.Label()
        self._save.on_click(lambda _button: self.save())
        return row(self._path, self._bits, self._save, self._saved)

    # ---- what follows the settings ------------------------------------------------------------------------------

    @property
    def scaling(self) -> Scaling:
        """How the channel that is looked at is scaled now."""
        options = {name: value for name, value in self.state.options().items() if name != "allow_clipping"}
        return self._sampled.scalings(**options)[self._channel]

    def _plane_changed(self) -> None:
        self._part = None
        self.view.show(self._plane)
        self._scale()

    def _scale(self) -> None:
        """Give the viewer the automatic scaling of these settings."""
        state = self.state
        options = {name: getattr(state, name) for name in ("curve", "brightness", "linked")}
        if state.curve == "ghs":
            options["intensity"] = state.intensity
        self._intensity.layout.display = "" if state.curve == "ghs" else "none"
        with self.errors.guard("brightness"):
            found = self._sampled.scalings(**options)[self._channel]
            self.view.set_automatic(found.levels, curve_table=_table(self.scaling))
            self._judge()

    def _judge(self) -> None:
        with self.errors.guard("black"):
            black = self.view.levels().black
            self._say_what_clips(black)
            self._show_blocks(black)

    def _say_what_clips(self, black: float) -> None:
        background = self._sampled.backgrounds[self._channel]
        name = unit(self.view.frames[0].units)
        part = background.clipped(black)
        where = f"The background lies at {number(background.level)} ± {background.sigma:.3g} {name}".rstrip()
        cut = f"black at {number(black)} cuts off {_percent(part)} of its pixels"
        if part <= CLIPPING_LIMIT:
            text = f"{where}; {cut}. Nothing of it is lost."
        else:
            refused = (
                "the picture is made all the same" if self.state.allow_clipping else "the picture is refused"
            )
            text = (
                f"{where}; {cut}: {refused}. The background cannot turn black: there is information in it, seen "
                f"below. Black may be {number(background.lowest_black)} or less."
            )
        if not self.state.linked and self.state.levels is not None:
            text += (
                " Channels that are not linked have levels of their own: those set here are for looking only."
            )
        self.verdict.value = _marked(text, warn=part > CLIPPING_LIMIT)

    def _show_blocks(self, black: float) -> None:
        found = faint_structure(self._visible_part(), black, block=self.state.block)
        size, name = found.block, unit(self.view.frames[0].units)
        name = f" {name}" if name else ""
        with self.figure.batch():
            self._fill_blocks(found)
            self._plots[0].title.text = f"The background in means of {size} × {size} pixels"
            self._plots[1].title.text = f"The same, cut off at black = {number(black)} first"
        structure = max(0.0, found.spread**2 - found.block_noise**2) ** 0.5
        seen = (
            f"structure of ± {structure:.2g}{name}, {structure / found.pixel_noise:.2g} times the noise of a pixel, shows"
            if structure > 0.5 * found.block_noise
            else "what remains here is little more than noise"
        )
        left = f"Cut off at black, {_percent(np.clip(found.kept, 0.0, 1.0))} of the contrast between blocks is left."
        self.below.value = caption(
            f"One pixel has a noise of {found.pixel_noise:.3g}{name}, the mean of {size} × {size} pixels "
            f"{found.block_noise:.2g}{name}: {seen}. {left} Gaps are sources."
        ).value

    def _fill_blocks(self, found: FaintStructure) -> None:
        values = found.whole.values
        good = values[np.isfinite(values)]
        low, high = (float(q) for q in np.percentile(good, (1.0, 99.0))) if good.size else (0.0, 1.0)
        self._colours.update(low=low, high=high if high > low else low + 1.0)
        ys, xs = (found.whole[dim].values for dim in ("y", "x"))
        half_y, half_x = (abs(float(axis[1] - axis[0])) / 2 for axis in (ys, xs))
        x0, x1, y0, y1 = xs[0] - half_x, xs[-1] + half_x, ys[0] - half_y, ys[-1] + half_y
        for pixels, image in zip(self._pixels, (found.whole, found.cut), strict=True):
            fill(pixels, {"image": [image.values], "x": [x0], "y": [y0], "w": [x1 - x0], "h": [y1 - y0]})
        upward = self.view.frames[0].rows_upward
        # Pixels are square, whatever region is looked at.
        width = round(min(float(_FRAME), _FRAME * (x1 - x0) / (y1 - y0)))
        for each in self._plots:
            each.update(frame_width=width, frame_height=round(width * (y1 - y0) / (x1 - x0)))
        self._plots[0].x_range.update(start=x0, end=x1)
        self._plots[0].y_range.update(start=y0 if upward else y1, end=y1 if upward else y0)

    def _visible_part(self) -> xr.DataArray:
        """Pixels of the visible region, few enough, kept until another region is looked at."""
        region = self.state.region
        if self._part is None or self._part[0] != region:
            plane = self.view.frames[0].image
            if region is not None:
                x0, x1, y0, y1 = region
                seen = plane.sel(x=slice(x0, x1), y=slice(y0, y1))
                plane = seen if min(seen.shape) >= 4 * self.state.block else plane
            self._part = (region, central_part(plane.expand_dims("frame"), most_bytes=_PART_BYTES)[0])
        return self._part[1]

    def save(self) -> None:
        """Scale the whole frame and write it to the file whose name stands in the panel."""
        path, bits = Path(self._path.value), self._bits.value
        options = self.state.options()

        def work(progress: Progress) -> Path:
            progress(0, 2, "scaling")
            shown = stretch_picture(self._image, **options)
            progress(1, 2, f"writing {path}")
            return save_picture(shown, path, bits=bits)

        self._saved.value = ""
        self.run(work, lambda made: setattr(self._saved, "value", f"saved: {made}"), "saving the picture")


def _opened(image: Image) -> xr.DataArray | xr.Dataset:
    if isinstance(image, xr.DataArray | xr.Dataset):
        return image
    return xr.DataArray(image, dims=("y", "x")) if isinstance(image, np.ndarray) else open_image(image)


def _table(scaling: Scaling) -> np.ndarray | None:
    shape = scaling.hyperbola
    if shape is None:
        return None
    return hyperbolic_curve(
        _TABLE, shape.factor, intensity=shape.intensity, symmetry=shape.symmetry, protect=shape.protect
    )


def _percent(part: float) -> str:
    percent = 100.0 * part
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def _marked(text: str, *, warn: bool) -> str:
    """A sentence with an orange bar where something is wrong, a teal one where all is well."""
    colour = "#d55e00" if warn else "#009e73"
    plain = caption(text).value
    return f'<div style="border-left: 4px solid {colour}; padding-left: 8px" role="status">{plain}</div>'

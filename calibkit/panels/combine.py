"""Combining frames: what a method and its limits do, seen on real pixels while the slider moves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import traitlets
import xarray as xr
from bokeh.layouts import column
from bokeh.models import Range1d

from calibkit.combining import can_reject, combine, measure_levels, noise_by_count, pixel_samples
from calibkit.combining.rejections import REJECTIONS
from calibkit.combining.trial import first_levels, map_of, telling_pixel
from calibkit.display.sampling import sample_region
from calibkit.errors import SettingError
from calibkit.panels.base import Panel
from calibkit.panels.errors import ErrorArea
from calibkit.panels.figure import FigureWidget
from calibkit.panels.image_plots import number, unit
from calibkit.panels.image_view import ImageView
from calibkit.panels.inputs import load_lines, with_imports
from calibkit.panels.notes import Note
from calibkit.panels.plots import BLUE, GREEN, GREY, ORANGE, fill, legend_below, plot, source
from calibkit.panels.settings import choice, row
from calibkit.progress import Progress
from calibkit.state.combine import LIMITS, USUAL_LIMITS, CombineState
from calibkit.warned import collected

#: Pixels of each frame in the sample, and samples of all frames together: what a slider's move goes through.
_PIXELS, _SAMPLES = 250_000, 5_000_000
#: A slider rests when it did not move for so long.
_REST_SECONDS = 0.25
#: A point that is not drawn, so that the legend has its mark.
_NOWHERE = {"frame": [np.nan], "value": [np.nan]}
#: What the limits of a rejection are called, where they do not count standard deviations.
_LIMIT_NAMES = {
    "minmax": ("lowest left out", "highest left out"),
    "percentile": ("low (part of the median)", "high (part of the median)"),
    "linear_fit": ("low (mean residuals)", "high (mean residuals)"),
    "gesd": ("outliers at most (part)", "significance"),
}
_USUAL_NAMES = ("low (σ)", "high (σ)")
#: Settings that change what `combine` does.
_WORK = ("method", "reject", "low", "high", "frames", "normalise", "weights")


class CombinePanel(Panel):
    """Combine the frames of a stack: method, rejection and its limits, and what they do to every pixel.

    Parameters
    ----------
    stack : xarray.DataArray or xarray.Dataset
        Frames with dims (frame, y, x): raw ones from `calibkit.open_stack`, or calibrated ones.
    height : int, optional
        Height of the picture in screen pixels; by default as the page allows.
    **settings
        Settings of `calibkit.state.CombineState`, e.g. ``reject="winsorized"``, ``low=2.5``, ``frames=10``.

    Raises
    ------
    SettingError
        There are less than two frames, or fewer than *frames* says.
    TypeError
        A setting that does not exist.

    Notes
    -----
    While a slider moves, the settings are tried on single pixels of the region that is seen, on a regular lattice:
    real pixels, not averages. All frames are brought to a common level as measured on the whole of them, so that the
    sample is a sample of the result. The button combines the whole frames.

    Examples
    --------
    >>> frames = xr.DataArray(np.random.default_rng(1).normal(100, 5, (8, 40, 60)), dims=("frame", "y", "x"))
    >>> panel = CombinePanel(frames, method="median")
    >>> panel
    CombinePanel(8 frames of 40 × 60, median)
    >>> panel.result.n_frames
    8
    """

    _later: asyncio.TimerHandle | None = None

    def __init__(
        self, stack: xr.DataArray | xr.Dataset, *, height: int | None = None, **settings: Any
    ) -> None:
        state = CombineState(**settings)
        errors = ErrorArea()
        self._stack = stack
        self._signal = stack["signal"] if isinstance(stack, xr.Dataset) else stack
        self._check(state)
        self._loads = load_lines(stack=stack)
        self._sample: xr.DataArray | xr.Dataset | None = None
        self._sampled_region: tuple[float, ...] | None = None
        self._whole_sample: xr.DataArray | xr.Dataset | None = None
        self._levels: Any = None
        self._full: tuple[dict[str, object], xr.Dataset, list[str]] | None = None
        self._tried: dict[str, object] = {}
        self._shown: xr.Dataset | None = None
        self._row: tuple[int, xr.DataArray | xr.Dataset] | None = None
        self._example: tuple[int, int] | None = None
        super().__init__(state, errors)
        first = sample_region(stack.isel(frame=slice(0, 1)), most=_PIXELS).isel(frame=0)
        name = "result"
        self.view = ImageView(first, names=(name,), state=state, errors=errors, height=height or 400)
        self.view.on_pick(self._pick)
        self._make_plots()
        self.note, self._noise_note = Note(), Note()
        self._describe_controls()
        state.observe(self._changed, _WORK)
        state.observe(lambda _change: self._show(), "shown")
        state.observe(self._region_changed, "region")
        state.observe(self._new_rejection, "reject")
        left = ipywidgets.VBox([self.view], layout={"flex": "3 1 0", "min_width": "0"})
        right = ipywidgets.VBox([self.figure, self._noise_note], layout={"flex": "2 1 0", "min_width": "0"})
        self.assemble(self._controls, self.note, ipywidgets.HBox([left, right]))
        self.run(self._first_sample, self._have_sample, "read a sample of the frames")

    # ---- code and result ------------------------------------------------------------------------------------

    def code_lines(self) -> list[str]:
        frames = f"stack.isel(frame=slice(0, {self.state.frames}))" if self.state.frames else "stack"
        options = "".join(f", {name}={value!r}" for name, value in self.state.options().items())
        return with_imports(
            [
                "from calibkit import combine",
                "from calibkit.panels import CombinePanel",
                *self._loads,
                "",
                f"result = combine({frames}{options})",
                self.state.code("stack"),
            ]
        )

    def compute(self) -> xr.Dataset:
        """The combination of the whole frames; see `calibkit.combine`."""
        if self._full is None or self._full[0] != self._task():
            self._full = (self._task(), combine(self._frames(self._stack), **self.state.options()), [])
        return self._full[1]

    def describe(self) -> str:
        n, rows, columns = self._signal.shape
        return f"{self.state.frames or n} frames of {rows} × {columns}, {self.state.method}"

    def png(self) -> bytes:
        return self.view.png()

    # ---- controls -------------------------------------------------------------------------------------------

    def _describe_controls(self) -> None:
        state, errors = self.state, self.errors
        total = self._signal.sizes["frame"]
        style = {"description_width": "initial"}
        self._low, self._high = (
            ipywidgets.FloatSlider(
                description=text, style=style, layout={"width": "19em"}, readout_format=".3g"
            )
            for text in _USUAL_NAMES
        )
        self._both = ipywidgets.Checkbox(
            value=state.low == state.high,
            description="same on both sides",
            indent=False,
            layout={"width": "auto"},
        )
        self._frame_count = ipywidgets.IntSlider(
            value=state.frames or total,
            min=1,
            max=total,
            description="frames",
            style=style,
            layout={"width": "19em"},
        )
        self._full_button = ipywidgets.Button(
            description="combine whole frames", tooltip="All pixels, with progress", layout={"width": "auto"}
        )
        self._low.observe(lambda change: self._limit_moved("low", change), "value")
        self._high.observe(lambda change: self._limit_moved("high", change), "value")
        self._frame_count.observe(self._count_moved, "value")
        self._full_button.on_click(lambda _button: self.combine_whole())
        state.observe(self._follow, ["low", "high", "frames", "reject"])
        self._follow()
        self._controls = row(
            choice(state, errors, "method", "method"),
            choice(state, errors, "reject", "reject"),
            self._low,
            self._high,
            self._both,
            self._frame_count,
            choice(state, errors, "normalise", "normalise"),
            choice(state, errors, "weights", "weights"),
            choice(state, errors, "shown", "picture"),
            self._full_button,
        )

    def _follow(self, _change: object = None) -> None:
        """Put the sliders where the settings are."""
        state = self.state
        has_limits = state.reject not in ("auto", "none")
        ranges = LIMITS.get(state.reject, USUAL_LIMITS)
        texts = _LIMIT_NAMES.get(state.reject, _USUAL_NAMES)
        for slider, name, text, (least, most, step) in zip(
            (self._low, self._high), ("low", "high"), texts, ranges, strict=True
        ):
            value = getattr(state, name)
            if value is None:
                value = getattr(REJECTIONS[state.reject], name) if has_limits else 3.0  # the usual one
            with slider.hold_trait_notifications():
                slider.min, slider.max = min(least, value), max(most, value)
                slider.step, slider.value = step, value
            slider.description = text
            slider.disabled = not has_limits
            slider.tooltip = getattr(REJECTIONS[state.reject], f"{name}_is") if has_limits else "no limits"
        self._frame_count.value = state.frames or self._frame_count.max

    def _limit_moved(self, name: str, change: traitlets.Bunch) -> None:
        state = self.state
        if state.reject in ("auto", "none"):
            return
        default = getattr(REJECTIONS[state.reject], name)
        now = getattr(state, name)
        if change["new"] == (default if now is None else now):
            return
        names = ("low", "high") if self._both.value and state.reject != "gesd" else (name,)
        with self.errors.guard(name), state.hold_trait_notifications():
            for each in names:
                setattr(state, each, change["new"])

    def _count_moved(self, change: traitlets.Bunch) -> None:
        with self.errors.guard("frames"):
            self.state.frames = None if change["new"] == self._frame_count.max else change["new"]

    def _new_rejection(self, _change: object) -> None:
        with self.state.hold_trait_notifications():  # the limits of one method mean nothing to another
            self.state.low = self.state.high = None

    # ---- the sample -----------------------------------------------------------------------------------------

    def _first_sample(self, progress: Progress) -> tuple[Any, Any]:
        most = max(1000, min(_PIXELS, _SAMPLES // self._signal.sizes["frame"]))
        return sample_region(self._stack, most=most, progress=progress), measure_levels(
            self._stack, progress=progress
        )

    def _have_sample(self, found: tuple[Any, Any]) -> None:
        self._whole_sample, self._levels = found
        self._sample = self._whole_sample
        self._region_changed()
        self._update()

    def _region_changed(self, _change: object = None) -> None:
        """Sample the region that is seen more finely, once one has zoomed in."""
        if self._whole_sample is None or self._is_full():
            return
        region = self.state.region
        if region == self._sampled_region:
            return
        if region is None:
            self._sampled_region, self._sample = None, self._whole_sample
            self._update()
            return
        most = max(1000, min(_PIXELS, _SAMPLES // self._signal.sizes["frame"]))

        def have(sample: Any) -> None:
            self._sample, self._sampled_region = sample, region
            self._update()

        self.run(lambda p: sample_region(self._stack, region, most=most, progress=p), have, "read the region")

    def _frames(self, stack: Any) -> Any:
        count = self.state.frames
        return stack if count is None else stack.isel(frame=slice(0, count))

    def _task(self) -> dict[str, object]:
        return {"frames": self.state.frames, **self.state.options()}

    def _is_full(self) -> bool:
        return self._full is not None and self._full[0] == self._task()

    # ---- trying the settings --------------------------------------------------------------------------------

    def _changed(self, _change: object) -> None:
        with self.errors.guard("combine") as checked:
            self._check(self.state)
        # Low and high change together: once is enough.
        if checked.error is None and self._sample is not None and self._task() != self._tried:
            self._update()

    def _update(self) -> None:
        """Combine the sample with the settings as they are."""
        task, self._tried = self._task(), None  # what is interrupted, or fails, has not been tried
        with self.errors.guard("combine"):
            if self._is_full():
                _, self._shown, messages = self._full
            else:
                levels = first_levels(self._levels, self.state.frames or self._signal.sizes["frame"])
                with collected() as messages:
                    self._shown = combine(self._frames(self._sample), levels=levels, **self.state.options())
            self._show()
            self._say(messages)
            self._draw_frames()
            self._draw_pixel()
            self._noise_later()
            self._tried = task

    def combine_whole(self) -> None:
        """Combine the whole frames, with progress, and show them."""
        work, options = self._task(), self.state.options()

        def combined(progress: Progress) -> tuple[xr.Dataset, list[str]]:
            with collected() as messages:
                return combine(self._frames(self._stack), progress=progress, **options), messages

        def done(made: tuple[xr.Dataset, list[str]]) -> None:
            self._full = (work, *made)
            self._update()

        self.run(combined, done, "combine whole frames")

    def _show(self) -> None:
        if self._shown is not None:
            self.view.show(map_of(self._shown, self.state.shown))

    def _say(self, messages: list[str]) -> None:
        """What the setting can do, and what it cost here."""
        result, state = self._shown, self.state
        n = state.frames or self._signal.sizes["frame"]
        step = result.attrs["provenance"][-1]
        lines = []
        if state.reject in ("auto", "none"):
            warning = None
            lines.append(result.attrs["rejection"] or "Nothing is rejected.")
        else:
            reach = can_reject(state.reject, n, step["low"], step["high"])
            warning = None if reach.can or state.reject == "none" else reach.message
            lines.append(reach.message)
        rejected = 100 * step["rejected_fraction"]
        what = "of the whole frames" if self._is_full() else "of a sample of real pixels"
        lines.append(f"Here {rejected:.2g} % of the samples were rejected ({what}).")
        extra = [text for text in messages if "can_reject" not in text and "cannot reject" not in text]
        if warning:
            self.note.warn(warning, *lines[1:], *extra)
        else:
            self.note.say(*lines, *extra)

    # ---- plots ----------------------------------------------------------------------------------------------

    def _make_plots(self) -> None:
        self._noise = {name: source(n=None, sigma=None) for name in ("ideal", "mean", "measured")}
        units = unit(self._stack.attrs.get("units", "adu"))
        made = plot(
            "Noise against the number of frames", "frames combined", f"noise ({units})",
            height=230, x_axis_type="log", y_axis_type="log",
        )  # fmt: skip
        made.line(
            "n",
            "sigma",
            source=self._noise["ideal"],
            color=GREY,
            line_dash="dashed",
            line_width=2,
            legend_label="1/√n",
        )
        made.scatter(
            "n",
            "sigma",
            source=self._noise["mean"],
            color=BLUE,
            marker="circle",
            size=9,
            fill_alpha=0,
            line_width=2,
            legend_label="plain mean",
        )
        made.line(
            "n",
            "sigma",
            source=self._noise["measured"],
            color=ORANGE,
            line_width=2,
            legend_label="this setting",
        )
        made.scatter(
            "n",
            "sigma",
            source=self._noise["measured"],
            color=ORANGE,
            marker="square",
            size=6,
            legend_label="this setting",
        )
        made.xaxis.ticker = [2, 4, 8, 16, 32, 64, 128]
        legend_below(made)
        self._noise_plot = made
        total = self._signal.sizes["frame"]
        self._rejected = source(frame=None, percent=None, file=None)
        frames = plot(
            "What was rejected of each frame", "frame", "samples rejected (%)", height=170,
            x_range=Range1d(-0.6, total - 0.4), tips=[("frame", "@frame @file"), ("rejected", "@percent{0.000} %")],
        )  # fmt: skip
        frames.vbar(
            x="frame", top="percent", width=0.8, source=self._rejected, fill_color=BLUE, line_color=None
        )
        frames.y_range.start = 0
        self._frames_plot = frames
        self._values = {name: source(frame=None, value=None) for name in ("kept", "low", "high")}
        self._mean_line = source(x=None, y=None)
        pixel = plot(
            "Click a pixel:\nall its values", "frame", f"value, normalised ({units})", height=230,
            x_range=Range1d(-0.6, total - 0.4), tips=[("frame", "@frame"), ("value", "@value")],
        )  # fmt: skip
        for name, mark, colour, text in (
            ("kept", "circle", BLUE, "kept"),
            ("low", "inverted_triangle", ORANGE, "rejected low"),
            ("high", "triangle", ORANGE, "rejected high"),
        ):
            pixel.scatter(
                "frame",
                "value",
                source=self._values[name],
                marker=mark,
                color=colour,
                size=9,
                legend_label=text,
            )
        pixel.line(
            "x",
            "y",
            source=self._mean_line,
            color=GREEN,
            line_width=2,
            line_dash="dashed",
            legend_label="result",
        )
        legend_below(pixel, columns=2)
        self._pixel_plot = pixel
        self.figure = FigureWidget(
            column(made, frames, pixel, sizing_mode="stretch_width"),
            label="noise, rejected samples by frame, values of a pixel",
            errors=self.errors,
        )

    def _draw_frames(self) -> None:
        fraction = self._shown["rejected_fraction"].values
        files = self._shown.coords["file"].values if "file" in self._shown.coords else [""] * fraction.size
        fill(
            self._rejected,
            {
                "frame": np.arange(fraction.size),
                "percent": 100 * fraction,
                "file": [Path(str(name)).name for name in np.atleast_1d(files)],
            },
        )

    def _noise_later(self) -> None:
        """Measure the noise once the slider rests: it takes several combinations."""
        if self._later is not None:
            self._later.cancel()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._draw_noise()
        else:
            self._later = loop.call_later(_REST_SECONDS, self._draw_noise)

    def close(self) -> None:
        if self._later is not None:
            self._later.cancel()
        super().close()

    def _draw_noise(self) -> None:
        count = self.state.frames or self._signal.sizes["frame"]
        counts = [n for n in (2, 4, 8, 16, 32, 64, 128) if n < count - count % 2]
        if count >= 2:
            counts.append(count - count % 2)
        if self.state.method in ("minimum", "maximum") or not counts:
            for each in self._noise.values():
                fill(each, {"n": [], "sigma": []})
            return
        with self.errors.guard("noise"):
            self._fill_noise(counts, first_levels(self._levels, count))

    def _fill_noise(self, counts: list[int], levels: Any) -> None:
        found = noise_by_count(
            self._frames(self._whole_sample), counts, levels=levels, **self.state.options()
        ).mean("channel")
        for name, each in self._noise.items():
            fill(each, {"n": found["count"].values, "sigma": found[name].values})
        last = found.isel(count=-1)
        self._noise_note.say(
            f"With {counts[-1]} frames the noise is {float(last.measured):.3g} {unit(self._stack.attrs.get('units', 'adu'))}; "
            f"that of their plain mean {float(last['mean']):.3g}, by 1/√n {float(last.ideal):.3g}."
        )

    def _pick(self, y: int, x: int) -> None:
        with self.errors.guard("pixel"):
            self._draw_pixel()

    def _an_example(self) -> tuple[tuple[int, int], xr.DataArray | xr.Dataset]:
        """A pixel of the sample that shows what is done, chosen once; and its row."""
        if self._example is None:
            result = self._shown if not self._is_full() else combine(self._frames(self._whole_sample))
            self._example = telling_pixel(self._frames(self._whole_sample), result)
        y, x = self._example
        row_of_it = self._whole_sample.isel(y=[y])
        return (int(self._whole_sample["y"][y]), int(self._whole_sample["x"][x])), row_of_it

    def _row_of(self, y: int) -> xr.DataArray | xr.Dataset:
        """The whole row *y* of all frames, read once."""
        if self._row is None or self._row[0] != y:
            part = self._stack.sel(y=[y]) if "y" in self._stack.coords else self._stack.isel(y=[y])
            self._row = (y, part.compute())
        return self._row[1]

    def _draw_pixel(self) -> None:
        if self._levels is None:
            return
        if self.state.pixel is None:
            which, (y, x), row_of_it = "Click a pixel. For example", *self._an_example()
        else:
            which, (y, x) = "Pixel", self.state.pixel
            row_of_it = self._row_of(y)
        count = self.state.frames or self._signal.sizes["frame"]
        options = self.state.options()
        found = pixel_samples(
            self._frames(row_of_it), y, x, levels=first_levels(self._levels, count), **options
        )
        for name, side in (("kept", 0), ("low", -1), ("high", 1)):
            here = np.flatnonzero(found.side.values == side)
            columns = {"frame": here, "value": found.normalised.values[here]}
            fill(self._values[name], columns if here.size else _NOWHERE)
        level = found.attrs["result"]
        fill(self._mean_line, {"x": [-0.5, count - 0.5], "y": [level, level]})
        out = int((found.side != 0).sum())
        told = f"{number(round(level, 2))} ± {found.attrs['sigma']:.3g}, {out} of {count} rejected"
        self._pixel_plot.title.text = f"{which} x {x}, y {y}\n{told}"

    # ---- checks ---------------------------------------------------------------------------------------------

    def _check(self, state: CombineState) -> None:
        if self._signal.dims != ("frame", "y", "x") or self._signal.sizes["frame"] < 2:
            msg = f"CombinePanel takes two frames or more, (frame, y, x); found {dict(self._signal.sizes)}"
            raise SettingError(msg)
        total = self._signal.sizes["frame"]
        if state.frames is not None and state.frames > total:
            msg = f"frames={state.frames}: this stack has {total}"
            raise SettingError(msg)

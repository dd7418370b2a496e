"""Calibrated lights as a list with their quality: chosen, aligned, combined, and compared with the stack."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets
import numpy as np
import traitlets
import xarray as xr
from bokeh.events import Tap
from bokeh.layouts import column
from bokeh.layouts import row as beside
from bokeh.models import Label, Range1d

from calibkit.align import find_stars, measure_quality, register, resample, stack_lights
from calibkit.calibration import calibrate
from calibkit.display.sheet import Line
from calibkit.errors import SettingError
from calibkit.panels.base import Panel, caption
from calibkit.panels.errors import ErrorArea
from calibkit.panels.figure import FigureWidget
from calibkit.panels.image_plots import unit
from calibkit.panels.image_view import ImageView
from calibkit.panels.inputs import calibrated_lines, with_imports
from calibkit.panels.plots import BLUE, ORANGE, fill, plot, source
from calibkit.panels.settings import choice, row, tick
from calibkit.progress import Progress, silent
from calibkit.state.stack import StackState
from calibkit.statistics import measure_noise

#: Column of the table of qualities → what it is called, and its unit; "{}" is that of the frames.
_MEASURES = {
    "fwhm": ("star width (FWHM)", "pixel"),
    "eccentricity": ("eccentricity", ""),
    "stars": ("stars found", ""),
    "sky": ("sky", "{}"),
    "noise": ("noise of a pixel", "{}"),
}


class StackPanel(Panel):
    """Choose lights by their quality, align them on their stars, combine them, and look at what is left over.

    Parameters
    ----------
    lights : xarray.DataArray or xarray.Dataset
        Frames (frame, y, x): raw from `open_stack`, to be calibrated with the masters, or calibrated, lazy or not.
    bias, dark, flat : xarray.Dataset, optional
        Masters, as for `calibkit.calibrate`.
    **settings
        Settings of `calibkit.state.StackState`, e.g. ``left_out=(3,)``, ``method="median"``.

    Raises
    ------
    SettingError
        Fewer than two frames.
    TypeError
        A setting that does not exist.

    Notes
    -----
    "measure" finds the stars of every frame, "stack" aligns and combines the chosen ones. `result` is the stack, a mosaic
    where the lights are one, from `calibkit.align.stack_lights`.

    Examples
    --------
    >>> panel = StackPanel(lights, dark=dark, flat=flat)  # doctest: +SKIP
    >>> panel.measure()  # doctest: +SKIP
    """

    def __init__(
        self,
        lights: xr.DataArray | xr.Dataset,
        *,
        bias: xr.Dataset | None = None,
        dark: xr.Dataset | None = None,
        flat: xr.Dataset | None = None,
        **settings: Any,
    ) -> None:
        state = StackState(**settings)
        if "frame" not in lights.dims or lights.sizes["frame"] < 2:
            msg = f"a stack is made of two frames or more; found the dims {dict(lights.sizes)}"
            raise SettingError(msg)
        self._input = lights
        self._masters = {"bias": bias, "dark": dark, "flat": flat}
        self._raw = isinstance(lights, xr.DataArray)
        self._lights = calibrate(lights, **self._masters) if self._raw else lights
        self.count = lights.sizes["frame"]
        if state.frame >= self.count or any(number >= self.count for number in state.left_out):
            msg = (
                f"frame={state.frame}, left_out={state.left_out}: there are the frames 0 to {self.count - 1}"
            )
            raise SettingError(msg)
        super().__init__(state, ErrorArea())
        self._stars: list | None = None
        self.quality: Any = None
        self._made: tuple[Any, xr.Dataset, Any] | None = None
        self._make_plots()
        self.figure = FigureWidget(
            column(
                beside(*self._plots[:3], sizing_mode="stretch_width"),
                beside(*self._plots[3:], sizing_mode="stretch_width"),
                sizing_mode="stretch_width",
            ),
            label="quality of the frames", errors=self.errors,
        )  # fmt: skip
        self.table = ipywidgets.HTML()
        self.note = ipywidgets.HTML()
        self.picture = ipywidgets.VBox()
        self.view: ImageView | None = None
        self.assemble(*self._controls(), self.figure, self.table, self.note, self.picture)
        state.observe(lambda _change: self._show_quality(), ["left_out", "judge"])
        state.observe(lambda _change: self._show_frame(), "frame")
        self._show_quality()
        self.measure()  # empty plots would tell nobody anything

    # ---- code and result ------------------------------------------------------------------------------------------

    def code_lines(self) -> list[str]:
        loads, made, given = calibrated_lines("lights", self._input, self._masters)
        lines = [
            "from calibkit.align import find_stars, measure_quality, register, stack_lights",
            "from calibkit.panels import StackPanel",
            *loads,
            f"stars = find_stars({made})",
        ]
        if self.state.judge:
            lines.append(f"usable = measure_quality({made}, stars=stars).usable")
        chosen = "usable[n]" if self.state.judge else "True"
        use = f"[bool({chosen}) and n not in {self.state.left_out!r} for n in range({self.count})]"
        lines += [
            f"transforms = register({made}, stars=stars, model={self.state.model!r}, use={use})",
            f"result = stack_lights({made}, transforms, {self._options_text()})",
        ]
        return with_imports([*lines, self.state.code("lights", *given)])

    def compute(self) -> xr.Dataset:
        """The stack; see `calibkit.align.stack_lights`. Made only once for the same settings."""
        if self._made is None or self._made[0] != self._key():
            self._made = self._combined(silent)
        return self._made[1]

    def describe(self) -> str:
        return f"{self.count} lights of {self._lights.sizes['y']} × {self._lights.sizes['x']}"

    def png(self) -> bytes:
        """The stack, once it is made, as a PNG file; until then the quality of the frames, once it is measured."""
        if self.view is not None:
            return self.view.png()
        if self.quality is None:
            return super().png()
        lines = [
            Line(
                f"frame {n}, {row.file}: stars {row.fwhm:.2f} pixel wide, {row.stars} found, sky {row.sky:.4g}"
            )
            for n, row in enumerate(self.quality.itertuples())
        ]
        return self.sheet_png(
            [*lines, Line(f"{sum(self.used)} of {self.count} frames are good enough to be stacked.")]
        )

    def _options(self) -> dict[str, Any]:
        state = self.state
        return {
            "channels": "mosaic", "method": state.method, "reject": state.reject, "interpolation": state.interpolation,
        }  # fmt: skip

    def _options_text(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self._options().items())

    def _key(self) -> tuple:
        state = self.state
        return (state.model, state.left_out, state.judge, *self._options().values())

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _controls(self) -> list[ipywidgets.Widget]:
        state, errors = self.state, self.errors
        self._measure = ipywidgets.Button(
            description="1 · measure", tooltip="Find the stars of every frame, and how good each frame is."
        )
        self._stack = ipywidgets.Button(description="2 · align and stack", tooltip="Of the frames in blue.")
        self._measure.on_click(lambda _button: self.measure())
        self._stack.on_click(lambda _button: self.stack())
        self._frame = ipywidgets.IntSlider(
            min=0, max=self.count - 1, description="frame shown", style={"description_width": "initial"}
        )
        traitlets.link((state, "frame"), (self._frame, "value"))
        return [
            caption(
                "Each point is a frame. Click one to leave it out (orange) or take it back; then stack, and move along the "
                "frames: “difference” shows what each has that the stack has not."
            ),
            row(
                self._measure,
                self._stack,
                tick(state, errors, "judge", "leave out what is not usable"),
                choice(state, errors, "model", "align by"),
                choice(state, errors, "method", "combine by"),
                choice(state, errors, "reject", "reject"),
                choice(state, errors, "interpolation", "interpolation"),
                self._frame,
            ),
        ]

    def _make_plots(self) -> None:
        units = unit(str(self._lights["signal"].attrs.get("units", "")))
        self._points = source(number=[], file=[], colour=[], **{key: [] for key in (*_MEASURES, "dx", "dy")})
        frames = Range1d(-0.6, self.count - 0.4)
        self._plots = []
        for name, (title, what) in _MEASURES.items():
            what = what.format(units)
            each = plot(
                title, "frame", f"{title} ({what})" if what else title, height=190, x_range=frames, name=name,
                tips=[("frame", "@number"), ("file", "@file"), (title, f"@{name}{{0.000}} {what}")],
            )  # fmt: skip
            each.yaxis.axis_label = what or title
            each.scatter(
                "number",
                name,
                source=self._points,
                size=10,
                fill_color="colour",
                line_color="colour",
                fill_alpha=0.8,
            )
            each.on_event(Tap, self._tapped)
            self._plots.append(each)
        track = plot(
            "shifts", "shift in x (pixel)", "shift in y (pixel)", height=190, name="track",
            tips=[("frame", "@number"), ("file", "@file")],
        )  # fmt: skip
        track.scatter(
            "dx", "dy", source=self._points, size=10, fill_color="colour", line_color="colour", fill_alpha=0.8
        )
        track.line("dx", "dy", source=self._points, line_color=BLUE, line_alpha=0.4)
        self._no_shifts = Label(
            x=12, y=60, x_units="screen", y_units="screen", text="Known after step 2, “align and stack”.",
            text_font_size="13px",
        )  # fmt: skip
        track.add_layout(self._no_shifts)
        self._plots.append(track)

    def _tapped(self, event: Tap) -> None:
        with self.errors.guard("frame"):
            number = round(event.x)
            if 0 <= number < self.count and self.quality is not None:
                self.toggle(number)

    def toggle(self, number: int) -> None:
        """Leave a frame out, or take it back."""
        left = set(self.state.left_out) ^ {number}
        self.state.left_out = tuple(sorted(left))

    # ---- work -------------------------------------------------------------------------------------------------------

    def measure(self) -> None:
        """Find the stars and the quality of every frame."""

        def work(progress: Progress) -> list:
            return find_stars(self._lights, progress=progress)

        self.run(work, self._measured, "measuring the frames")

    def _measured(self, stars: list) -> None:
        self._stars = stars
        self.quality = measure_quality(self._lights, stars=stars)
        self._show_quality()

    def stack(self) -> None:
        """Align and combine the frames that are chosen."""
        self._picture_waits_for_work()
        self.run(self._combined, self._stacked, "stacking")

    def _combined(self, progress: Progress) -> tuple[Any, xr.Dataset, Any]:
        key = self._key()
        stars = self._stars if self._stars is not None else find_stars(self._lights, progress=progress)
        self._stars = stars
        self.quality = measure_quality(self._lights, stars=stars)
        transforms = register(
            self._lights, stars=stars, model=self.state.model, use=self.used, progress=progress
        )
        return key, stack_lights(self._lights, transforms, progress=progress, **self._options()), transforms

    def _stacked(self, made: tuple[Any, xr.Dataset, Any]) -> None:
        self._made = made
        self._show_quality()
        self._show_frame()

    @property
    def used(self) -> list[bool]:
        """Which frames are chosen."""
        usable = [True] * self.count if self.quality is None or not self.state.judge else self.quality.usable
        return [bool(ok) and n not in self.state.left_out for n, ok in enumerate(usable)]

    # ---- what is shown -------------------------------------------------------------------------------------------------

    def _show_quality(self) -> None:
        if self.quality is None:
            self.note.value = caption(
                f"{self.count} lights. Press “measure” to see how sharp, bright and noisy each is."
            ).value
            return
        table, used = self.quality, self.used
        transforms = None if self._made is None else self._made[2]
        nothing = np.full(self.count, np.nan)
        fill(
            self._points,
            {
                "number": np.arange(self.count),
                "file": list(table.file),
                "colour": [BLUE if ok else ORANGE for ok in used],
                **{name: table[name].to_numpy(float) for name in _MEASURES},
                "dx": nothing if transforms is None else [t.shift[0] if t.ok else np.nan for t in transforms],
                "dy": nothing if transforms is None else [t.shift[1] if t.ok else np.nan for t in transforms],
            },
        )
        self._no_shifts.visible = transforms is None
        self.table.value = _table_html(table, used, transforms)
        done = self._made is not None and self._made[0] == self._key()
        self.note.value = caption(
            f"{sum(used)} of {self.count} frames are {'' if done else 'to be '}stacked."
        ).value

    def _show_frame(self) -> None:
        if self._made is None:
            return
        _, stacked, transforms = self._made
        number = self.state.frame
        with self.errors.guard("frame"):
            if not transforms[number].ok:
                reason = transforms[number].reason
                self.note.value = caption(f"Frame {number} is not in the stack: {reason}.").value
                return
            light = self._lights.isel(frame=number)
            moved = resample(light, transforms[number], interpolation=self.state.interpolation)
            if self.view is None:
                self.view = ImageView(
                    moved,
                    stacked,
                    names=("frame, aligned", "stack"),
                    state=self.state,
                    errors=self.errors,
                    height=420,
                )
                self.picture.children = [self.view]
            else:
                self.view.show(moved)
                self.view.show(stacked, layer=1)
            self._compare_noise(moved, stacked, sum(transforms.ok))

    def _compare_noise(self, one: xr.Dataset, stacked: xr.Dataset, count: int) -> None:
        single, together = (measure_noise(frame) for frame in (one, stacked[list(one)]))
        name = next(iter(single))
        before, after = single[name].measured, together[name].measured
        channel = "" if name == "L" else f" in {name}"
        units = unit(str(one["signal"].attrs.get("units", "")))
        self.note.value = caption(
            f"Frame {self.state.frame} beside the stack of {count}: noise{channel} {before:.3g} and {after:.3g} {units}, "
            f"{before / after:.2f} times less; √{count} = {count**0.5:.2f}."
        ).value


def _table_html(table: Any, used: list[bool], transforms: Any) -> str:
    names = [
        "frame",
        "file",
        "FWHM (pixel)",
        "eccentricity",
        "stars",
        "sky",
        "noise",
        "shift (pixel)",
        "rotation (°)",
        "",
    ]
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = []
    for n, found in enumerate(table.itertuples()):
        moved = ("", "")
        why = found.reason or ("" if used[n] else "left out by hand")
        if transforms is not None:
            at = transforms[n]
            if at.ok:
                moved = (f"{at.shift[0]:.2f}, {at.shift[1]:.2f}", f"{at.rotation:.3f}")
            why = why or at.reason
        cells = [
            str(n), found.file, f"{found.fwhm:.2f}", f"{found.eccentricity:.2f}", str(found.stars), f"{found.sky:.4g}",
            f"{found.noise:.3g}", *moved, why,
        ]  # fmt: skip
        style = "" if used[n] else f' style="color: {ORANGE}"'
        rows.append(f"<tr{style}>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
    body = "".join(rows)
    return (
        '<div style="max-height: 240px; overflow: auto"><table class="calibkit-table" style="border-spacing: 12px 2px">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )

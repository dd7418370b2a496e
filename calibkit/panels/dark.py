"""Dark frames: one beside the master of many, the noise by their number, hot pixels, dark current by temperature."""

from __future__ import annotations

import math
from typing import Any

import traitlets
import xarray as xr
from bokeh.layouts import row as beside
from bokeh.models import NumeralTickFormatter, Span
from bokeh.plotting import figure

from calibkit.cfa import pattern_of
from calibkit.dark.summary import fitted_rates, noise_by_frames
from calibkit.defects import DefectMap, find_defects
from calibkit.display.central import central_part
from calibkit.errors import MismatchError
from calibkit.masters import master_dark
from calibkit.panels.errors import ErrorArea
from calibkit.panels.figure import FigureWidget
from calibkit.panels.frames import FramesPanel
from calibkit.panels.image_view import ImageView
from calibkit.panels.inputs import load_lines, with_imports
from calibkit.panels.notes import Note
from calibkit.panels.plots import DASHES, GREY, ORANGE, colour_of, fill, legend_below, plot, source
from calibkit.panels.settings import choice, row, slider
from calibkit.progress import Progress
from calibkit.sensor import measure_dark_current
from calibkit.sensor.dark_rates import DarkRates
from calibkit.state.dark import DarkState

#: Numbers on logarithmic axes, without powers of ten.
_NUMBERS = "0.[0000]"

#: Nothing to be seen.
_NO_POINT = {"x": [math.nan], "y": [math.nan], "colour": [GREY]}
_NO_LINE = {"x": [[math.nan]], "y": [[math.nan]], "colour": [GREY], "dash": ["solid"]}


class DarkPanel(FramesPanel):
    """One dark frame beside the master of many, and what the master gains.

    Parameters
    ----------
    darks : xarray.DataArray
        Two or more darks ``(frame, y, x)`` of one exposure and temperature, as from `calibkit.open_stack`.
    temperatures : xarray.DataArray, optional
        Darks of several temperatures, for the dark current; by default *darks*.
    biases : xarray.DataArray, optional
        Bias frames: exposures of 0 s where all darks of a temperature have one exposure.
    **settings
        Settings of `calibkit.state.DarkState`, e.g. ``frames=5``, ``mode="split"``.

    Raises
    ------
    SettingError
        Fewer than two frames, or a number that there is not.
    TypeError
        A setting that does not exist.

    Notes
    -----
    Of large frames master, noise and hot pixels are those of the middle until the whole master is asked for.
    ``panel.result`` is the master dark of whole frames, ``panel.rates`` the dark current.

    Examples
    --------
    >>> from calibkit import Camera, simulate_stack
    >>> darks = simulate_stack(Camera(shape=(64, 96)), 5, kind="dark", exposure=60)
    >>> panel = DarkPanel(darks, frames=3)
    >>> panel, panel.result.attrs["n_frames"]
    (DarkPanel(5 frames of 64 × 96), 3)
    """

    def __init__(
        self,
        darks: xr.DataArray,
        *,
        temperatures: xr.DataArray | None = None,
        biases: xr.DataArray | None = None,
        **settings: Any,
    ) -> None:
        state = DarkState(**settings)
        self._take(darks, state, "dark")
        self._temperatures, self._biases = temperatures, biases
        super().__init__(state, ErrorArea())
        count = darks.sizes["frame"]
        self.rates: DarkRates | None = None
        self.defects: DefectMap | None = None
        self._part: xr.DataArray | None = None
        one = darks.isel(frame=state.frame)
        self.view = ImageView(
            one, one, names=("one frame", "master"), state=state, errors=self.errors, height=380
        )
        self._make_plots()
        self._note, self._noise_note, self._rate_note = Note(), Note(), Note()
        self._whole = self._whole_button(self._combine_whole)
        controls = [
            slider(state, self.errors, "frame", "one frame", top=count - 1),
            slider(state, self.errors, "frames", "frames in the master", top=count),
            choice(state, self.errors, "method", "combined by"),
            slider(state, self.errors, "hot_sigma", "hot from (σ)"),
            self._whole,
        ]
        state.observe(self._changed, ["frame", "frames", "method", "hot_sigma"])
        self.assemble(row(*controls), self.view, self._note, self.figure, self._noise_note, self._rate_note)
        self.run(lambda progress: central_part(darks, progress=progress), self._loaded, "read the frames")

    def code_lines(self) -> list[str]:
        state = self.state
        others = {"temperatures": self._temperatures, "biases": self._biases}
        given = {name: stack for name, stack in others.items() if stack is not None}
        part = "darks" if state.frames is None else f"darks.isel(frame=slice({state.frames}))"
        return with_imports(
            [
                "from calibkit import master_dark",
                "from calibkit.panels import DarkPanel",
                *load_lines(darks=self._stack, **given),
                f"result = master_dark({part}, method={state.method!r}, hot_sigma={state.hot_sigma!r})",
                state.code("darks", *(f"{name}={name}" for name in given)),
            ]
        )

    def compute(self) -> xr.Dataset:
        """The master dark of the whole frames; see `calibkit.master_dark`."""
        return self._master(self._stack, hot_sigma=self.state.hot_sigma)

    # ---- settings -------------------------------------------------------------------------------------------

    def _master(self, stack: xr.DataArray, **options: Any) -> xr.Dataset:
        return master_dark(stack.isel(frame=slice(self._count())), method=self.state.method, **options)

    def _changed(self, change: traitlets.Bunch) -> None:
        with self.errors.guard("dark"):
            self._check_change(change)
            if change["name"] == "frame":
                self.view.show(self._stack.isel(frame=self.state.frame), layer=0)
            elif self._part is not None:
                self._show(noise=change["name"] == "method")

    # ---- work -----------------------------------------------------------------------------------------------

    def _loaded(self, part: xr.DataArray) -> None:
        self._part = part
        whole = part.shape == self._stack.shape
        self._whole.layout.display = "none" if whole else ""
        self._show(noise=True, rates=True)

    def _show(self, *, noise: bool = False, rates: bool = False) -> None:
        """The new master at once, what takes longer beside it."""
        master = self._master(self._part, hot_sigma=None)
        self.view.show(master, layer=1)
        self._now.location = float(self._count())
        part, method, sigma = self._part, self.state.method, self.state.hot_sigma

        def work(progress: Progress) -> tuple[DefectMap, xr.Dataset | None, DarkRates | str | None]:
            progress(0, 3, "hot pixels")
            defects = find_defects(dark=master, sigma=sigma)
            progress(1, 3, "noise by number of frames")
            curve = noise_by_frames(part, method=method) if noise or self._waiting_noise else None
            progress(2, 3, "dark current")
            found = self._measure_rates(progress) if rates or self._waiting_rates else None
            return defects, curve, found

        self._waiting_noise = noise or self._waiting_noise
        self._waiting_rates = rates or self._waiting_rates
        self.run(work, self._draw, "hot pixels and noise")

    #: Work that was asked for, and not finished when the next setting came.
    _waiting_noise = _waiting_rates = False

    def _measure_rates(self, progress: Progress) -> DarkRates | str:
        frames = self._stack if self._temperatures is None else self._temperatures
        try:
            return measure_dark_current(frames, self._biases, progress=progress)
        except MismatchError as why:
            return str(why)

    def _combine_whole(self) -> None:
        sigma = self.state.hot_sigma
        self.run(
            lambda progress: self._master(self._stack, hot_sigma=sigma, progress=progress),
            lambda master: self.view.show(master, layer=1),
            "whole master",
        )

    # ---- plots ----------------------------------------------------------------------------------------------

    def _make_plots(self) -> None:
        self._sources = {
            "measured": source(**_NO_POINT, channel=[""]),
            "ideal": source(**_NO_LINE),
            "rates": source(**_NO_POINT, low=[math.nan], high=[math.nan], channel=[""]),
            "fits": source(**_NO_LINE),
        }
        noise = plot(
            "Noise of the master by number of frames", "frames in the master", "noise of a pixel (ADU)",
            name="noise", x_axis_type="log", y_axis_type="log",
            tips=[("channel", "@channel"), ("frames", "@x"), ("noise", "@y{0.00} ADU")],
        )  # fmt: skip
        noise.multi_line(
            "x", "y", source=self._sources["ideal"], line_color="colour", line_dash="dash", line_width=2,
        )  # fmt: skip
        noise.scatter("x", "y", source=self._sources["measured"], color="colour", size=9)
        noise.xaxis.ticker = [1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100]
        noise.xaxis.formatter = noise.yaxis.formatter = NumeralTickFormatter(format=_NUMBERS)
        self._now = Span(
            dimension="height", location=1.0, line_color=ORANGE, line_dash="dashed", line_width=2
        )
        noise.add_layout(self._now)
        self._name_lines(noise, "1/√N")
        rates = plot(
            "Dark current by temperature", "temperature (°C)", "dark current (ADU/s)", name="rates", y_axis_type="log",
            tips=[("channel", "@channel"), ("temperature", "@x{0.0} °C"), ("rate", "@y{0.0000} ADU/s")],
        )  # fmt: skip
        rates.multi_line(
            "x", "y", source=self._sources["fits"], line_color="colour", line_dash="dash", line_width=2,
        )  # fmt: skip
        rates.segment(
            "x", "low", "x", "high", source=self._sources["rates"], line_color="colour", line_width=2
        )
        rates.scatter("x", "y", source=self._sources["rates"], color="colour", size=9)
        rates.yaxis.formatter = NumeralTickFormatter(format=_NUMBERS)
        self._name_lines(rates, "fit")
        self._rates_plot = rates
        self.figure = FigureWidget(
            beside(noise, rates, sizing_mode="stretch_width"),
            label="noise by number of frames and dark current by temperature",
            errors=self.errors,
        )

    def _name_lines(self, made: figure, line: str) -> None:
        """A legend of the line and of the channels' points.

        It has glyphs of its own: drawn between two states of data that change their length, one that takes its colours
        from them would fail.
        """
        channels = pattern_of(self._stack).channels
        first = colour_of(channels[0])
        made.line([math.nan], [math.nan], color=first, line_width=2, legend_label=line)
        for channel in channels:
            called = channel if len(channels) > 1 else "measured"
            made.scatter([math.nan], [math.nan], color=colour_of(channel), size=9, legend_label=called)
        legend_below(made)

    def _draw(self, found: tuple[DefectMap, xr.Dataset | None, DarkRates | str | None]) -> None:
        self.defects, curve, rates = found
        with self.figure.batch():
            if curve is not None:
                self._waiting_noise = False
                self._draw_noise(curve)
            if rates is not None:
                self._waiting_rates = False
                self._draw_rates(rates)
        hot = {channel: kinds.get("hot", 0) for channel, kinds in self.defects.counts().items()}
        total = sum(hot.values())
        pixels = self._part.sizes["y"] * self._part.sizes["x"]
        each = f" ({', '.join(f'{name} {n}' for name, n in hot.items())})" if len(hot) > 1 else ""
        middle = (
            ""
            if self._part.shape == self._stack.shape
            else f" in the middle {self._part.sizes['x']} × {self._part.sizes['y']}"
        )
        self._note.say(
            f"Left of the divider frame {self.state.frame}, right the {self.state.method} of {self._count()} frames.",
            f"{total} hot pixels{each} above {self.state.hot_sigma:g} σ{middle}, {100 * total / pixels:.3g} % of all: they stay "
            "in the master, since a dark maps them.",
        )

    def _draw_noise(self, curve: xr.Dataset) -> None:
        counts = curve["count"].values
        ideal: dict[str, list] = {"x": [], "y": [], "colour": [], "dash": []}
        points: dict[str, list] = {"x": [], "y": [], "colour": [], "channel": []}
        for channel in curve["channel"].values.tolist():
            one = curve.sel(channel=channel)
            known = one.dropna("count")
            fill_one = {
                "x": counts,
                "y": one["ideal"].values,
                "colour": colour_of(channel),
                "dash": _dash(channel),
            }
            for name, value in fill_one.items():
                ideal[name].append(value)
            points["x"] += known["count"].values.tolist()
            points["y"] += known["measured"].values.tolist()
            points["colour"] += [colour_of(channel)] * known.sizes["count"]
            points["channel"] += [channel] * known.sizes["count"]
        fill(self._sources["ideal"], ideal)
        fill(self._sources["measured"], points)
        first, last = (float(curve["ideal"].isel(count=i).mean()) for i in (0, -1))
        self._noise_note.say(
            f"One frame has {first:.2f} ADU of noise, the mean of {counts[-1]} would have {last:.2f} ADU: the line 1/√N. "
            "A median has up to 1.25 times as much as a mean. Points are measured from two halves of the first N frames, so "
            "for even N."
        )

    def _draw_rates(self, found: DarkRates | str) -> None:
        self._rates_plot.visible = not isinstance(found, str) and bool(found.fits)
        if isinstance(found, str):
            self._rate_note.say(f"Dark current by temperature is not shown. {found}.")
            return
        self.rates = found
        points: dict[str, list] = {name: [] for name in ("x", "y", "low", "high", "colour", "channel")}
        for temperature, rate in found.rates:
            for channel, value in rate.values.items():
                error = rate.errors[channel]
                row_of = {
                    "x": temperature, "y": value, "low": max(value - error, 1e-9), "high": value + error,
                    "colour": colour_of(channel), "channel": channel,
                }  # fmt: skip
                for name, each in row_of.items():
                    points[name].append(each)
        measured = [temperature for temperature, _ in found.rates]
        lines = {channel: fitted_rates(fit, measured) for channel, fit in found.fits.items()}
        fill(self._sources["rates"], points)
        fill(
            self._sources["fits"],
            {
                "x": [x for x, _ in lines.values()],
                "y": [y for _, y in lines.values()],
                "colour": [colour_of(channel) for channel in lines],
                "dash": [_dash(channel) for channel in lines],
            }
            if lines
            else _NO_LINE,
        )
        told = [f"{channel}: {fit}" for channel, fit in found.fits.items()]
        refused = [f"{name[0].upper()}{name[1:]} is not shown: {why}" for name, why in found.refused.items()]
        values = "; ".join(
            f"{str(rate).replace('adu', 'ADU')} at {temperature:.1f} °C"
            for temperature, rate in found.rates[:3]
        )
        self._rate_note.say(". ".join([*(told or [f"Dark current {values}"]), *refused]) + ".")


def _dash(channel: str) -> str:
    """Lines of channels lie upon each other: each has to be seen through the next."""
    return DASHES.get(channel, "solid")

"""Noise: where it comes from, how it adds, which exposures are worth taking, and the camera's photon transfer."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets
import numpy as np
import xarray as xr
from bokeh.core.properties import value
from bokeh.layouts import row as beside
from bokeh.models import ColumnDataSource, Span

from calibkit.cfa import pattern_of
from calibkit.display.sheet import Line
from calibkit.errors import CalibkitError, SettingError
from calibkit.ledger import ExposurePlan, NoiseLedger, noise_ledger, plan_exposures
from calibkit.ledger.book import SOURCES
from calibkit.ledger.rates import light_rates, profile_rates, shown_channel
from calibkit.ledger.squares import root_sum_path
from calibkit.panels.base import Panel
from calibkit.panels.budget import COLOURS, SHORT, Budget
from calibkit.panels.errors import ErrorArea
from calibkit.panels.figure import FigureWidget
from calibkit.panels.inputs import load_lines, with_imports
from calibkit.panels.notes import Note
from calibkit.panels.plots import BLUE, GREEN, ORANGE, colour_of, fill, legend_below, plot, source
from calibkit.panels.settings import choice, row, slider, tick
from calibkit.progress import Progress
from calibkit.sensor import PhotonTransfer, SensorProfile, measure_photon_transfer
from calibkit.state.noise import NoiseState
from calibkit.warned import collected

#: Parts of the noise with less than this share of the variance are left out of the drawing.
_WORTH_DRAWING = 0.003


class NoisePanel(Panel):
    """The budget of a light's noise, the sum of squares as a picture, a plan of the night, the photon transfer curve.

    Parameters
    ----------
    lights : xarray.DataArray or SensorProfile
        Raw lights ``(frame, y, x)`` of one exposure; or the profile of a sensor, for a plan without frames.
    bias, dark, flat : xarray.Dataset, optional
        Masters, as for `calibkit.noise_ledger`.
    flats, biases : xarray.DataArray, optional
        Raw flats of several levels and biases, for the photon transfer curve.
    **settings
        Settings of `calibkit.state.NoiseState`, e.g. ``hours=3``, ``sky=0.4``.

    Raises
    ------
    SettingError
        Neither lights nor a profile, or flats without biases.
    TypeError
        A setting that does not exist.

    Examples
    --------
    >>> from calibkit import SensorProfile
    >>> from calibkit.noise import Measurement
    >>> noise = Measurement({"L": 8.0}, {"L": 0.1}, "electron", 5)
    >>> panel = NoisePanel(SensorProfile(quantities={"read_noise": noise}), sky=1.0)
    >>> round(panel.result.readout_limit)
    624
    """

    def __init__(
        self,
        lights: xr.DataArray | SensorProfile,
        *,
        bias: xr.Dataset | None = None,
        dark: xr.Dataset | None = None,
        flat: xr.Dataset | None = None,
        flats: xr.DataArray | None = None,
        biases: xr.DataArray | None = None,
        **settings: Any,
    ) -> None:
        if not isinstance(lights, xr.DataArray | SensorProfile):
            msg = (
                f"NoisePanel takes raw lights (frame, y, x) or a SensorProfile; found {type(lights).__name__}"
            )
            raise SettingError(msg)
        if (flats is None) != (biases is None):
            msg = "the photon transfer curve needs both: flats= of several levels, and biases="
            raise SettingError(msg)
        state = NoiseState(**settings)
        self._lights = lights
        self._masters = {n: m for n, m in (("bias", bias), ("dark", dark), ("flat", flat)) if m is not None}
        self._pairs = {n: s for n, s in (("flats", flats), ("biases", biases)) if s is not None}
        self._profile = lights if isinstance(lights, SensorProfile) else None
        given = {} if self._profile is not None else {"lights": lights}
        self._loads = load_lines(**given, **self._masters, **self._pairs)
        if self._profile is not None:
            self._loads.append("# profile: the sensor's, from measure_sensor or SensorProfile.load")
        self._problems: list[str] = []
        self.ledger: NoiseLedger | None = None
        self.transfer: PhotonTransfer | None = None
        super().__init__(state, ErrorArea())
        self._make_plots()
        self._make_controls()
        state.observe(lambda _change: self._draw(), state.setting_names())
        figures = [self.figure] + ([self.transfer_figure] if self._pairs else [])
        self.assemble(
            self._budget_controls,
            self.note,
            figures[0],
            self._plan_controls,
            self.advice,
            self.plan_figure,
            *figures[1:],
        )
        self.run(self._measure, self._have, "measure the noise")

    # ---- code and result ------------------------------------------------------------------------------------

    def code_lines(self) -> list[str]:
        state = self.state
        keywords = [f"{name}={name}" for name in self._masters]
        options = [f"overhead={state.overhead!r}", f"dithered={state.dithered!r}"]
        own = [
            f"{n}={getattr(state, n)!r}"
            for n in ("sky", "read_noise", "dark_current")
            if getattr(state, n) is not None
        ]
        rates = "**rates" if not own else f"**(rates | dict({', '.join(own)}))"
        lines = ["from calibkit import plan_exposures", "from calibkit.panels import NoisePanel"]
        if self._profile is not None:
            first = ["from calibkit.ledger.rates import profile_rates"]
            made = [f"rates = profile_rates(profile, {state.channel!r})"]
        else:
            first = ["from calibkit import noise_ledger", "from calibkit.ledger.rates import light_rates"]
            made = [
                f"ledger = noise_ledger({', '.join(['lights', *keywords])})",
                f"rates = light_rates(ledger, {state.channel!r})",
            ]
        pairs = [f"{name}={name}" for name in self._pairs]
        subject = "lights" if self._profile is None else "profile"
        return with_imports(
            [
                *lines,
                *first,
                *self._loads,
                "",
                *made,
                f"result = plan_exposures({state.hours * 3600!r}, {', '.join([rates, *options])})",
                state.code(subject, *keywords, *pairs),
            ]
        )

    def compute(self) -> ExposurePlan:
        """The plan of the night; see `calibkit.plan_exposures`."""
        if self._profile is None and self.ledger is None:
            self.ledger = noise_ledger(self._lights, **self._masters)
        state = self.state
        rates = (
            profile_rates(self._profile, state.channel)
            if self._profile is not None
            else light_rates(self.ledger, state.channel)
        )
        own = {
            n: getattr(state, n)
            for n in ("sky", "read_noise", "dark_current")
            if getattr(state, n) is not None
        }
        return plan_exposures(
            state.hours * 3600, **(rates | own), overhead=state.overhead, dithered=state.dithered
        )

    def describe(self) -> str:
        if self._profile is not None:
            return f"profile of {self._profile.camera or 'a sensor'}"
        return f"{self._lights.sizes.get('frame', 1)} lights, {', '.join(self._masters) or 'no masters'}"

    def png(self) -> bytes:
        """The noise by source as strips, and the plan in words."""
        if not self.note.text and not self.advice.text:
            return super().png()
        return self.sheet_png([Line(self.note.text), *self.budget.lines(), Line(self.advice.text)])

    # ---- measuring ------------------------------------------------------------------------------------------

    def _measure(self, progress: Progress) -> tuple[NoiseLedger | None, PhotonTransfer | None, list[str]]:
        ledger = transfer = None
        problems = []
        with collected() as messages:
            if self._profile is None:
                try:
                    ledger = noise_ledger(self._lights, **self._masters, progress=progress)
                except CalibkitError as error:
                    problems.append(
                        f"The noise of these lights cannot be taken apart: {str(error).rstrip('.')}."
                    )
            if self._pairs:
                try:
                    transfer = measure_photon_transfer(**self._transfer_inputs(), progress=progress)
                except CalibkitError as error:
                    problems.append(f"No photon transfer curve: {str(error).rstrip('.')}.")
        return ledger, transfer, problems + messages

    def _transfer_inputs(self) -> dict[str, xr.DataArray]:
        return {"flats": self._pairs["flats"], "darks": self._pairs["biases"]}

    def _have(self, found: tuple[NoiseLedger | None, PhotonTransfer | None, list[str]]) -> None:
        self.ledger, self.transfer, self._problems = found
        if self.ledger is not None:
            channels = [c for c in self.ledger.channels if not self.ledger.is_empty(c)]
            self._channel.options = [("first with light", ""), *((name, name) for name in channels)]
            self._step.options = list(self.ledger.steps)
        self._draw_transfer()
        self._show_what_there_is()
        self._draw()

    def _show_what_there_is(self) -> None:
        """Without lights, or where they tell nothing, there is nothing to draw: the note says why."""
        ledger = self.ledger is not None
        for part, wanted in (
            (self._budget_controls, ledger),
            (self.figure, ledger),
            (self._plan_controls, ledger or self._profile is not None),
            (self.plan_figure, ledger or self._profile is not None),
        ):
            part.layout.display = "" if wanted else "none"

    # ---- drawing --------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        with self.errors.guard("noise"):
            self._draw_budget()
            if self._profile is not None or self.ledger is not None:
                self._draw_plan()

    def _draw_budget(self) -> None:
        if self.ledger is None:
            if self._problems:
                self.note.warn(*self._problems)
            return
        state, ledger = self.state, self.ledger
        channel = shown_channel(ledger, state.channel)
        self.budget.show(ledger, channel, state.unit)
        step = state.step if state.step in ledger.steps else ledger.steps[0]
        factor = float(ledger.table["gain"].sel(channel=channel)) if state.unit == "electron" else 1.0
        variance = ledger.variance(channel, step)
        whole = sum(max(v, 0.0) for v in variance.values())
        parts = sorted(
            ((n, v) for n, v in variance.items() if v > _WORTH_DRAWING * whole), key=lambda part: -part[1]
        )
        units = "e⁻" if state.unit == "electron" else "ADU"
        sigmas = [factor * np.sqrt(v) for _, v in parts]
        corners = root_sum_path(sigmas)
        fill(
            self._legs,
            {
                "x0": corners[:-1, 0], "y0": corners[:-1, 1], "x1": corners[1:, 0], "y1": corners[1:, 1],
                "colour": [COLOURS[name] for name, _ in parts],
            },
        )  # fmt: skip
        for (name, _), sigma in zip(parts, sigmas, strict=True):
            self._keys[name].label = value(f"{SHORT[name]} {sigma:.3g} {units}")
        self._squares.legend[0].items = [*(self._keys[name] for name, _ in parts), self._whole_key]
        end = corners[-1]
        fill(self._root, {"x": [0.0, float(end[0])], "y": [0.0, float(end[1])]})
        total = float(np.hypot(*end))
        self._squares.title.text = f"√(A² + B² + C² + …) = {total:.4g} {units} in one pixel, {_AFTER[step]}"
        self._squares.xaxis.axis_label = self._squares.yaxis.axis_label = f"noise ({units})"
        limit = ledger.limits[channel]
        sentences = (
            f"After the last step most of the noise of channel {channel} is the {limit}.",
            "Noises add as the sides of right angles do: a small one hardly lengthens the way.",
        )
        if self._problems:
            self.note.warn(*self._problems, *sentences)
        else:
            self.note.say(*sentences)

    def _draw_plan(self) -> None:
        try:
            plan = self.compute()
        except SettingError as error:
            fill(self._plan, {name: [] for name in self._plan.data})
            self.advice.warn(str(error))
            return
        table = plan.table
        good = ~table["saturates"].to_numpy()
        fill(
            self._plan,
            {
                "exposure": table["exposure"].to_numpy()[good],
                "sigma": table["sigma"].to_numpy()[good],
                "frames": table["frames"].to_numpy()[good],
                "readout": 100 * table["readout"].to_numpy()[good],
                "loss": 100 * table["loss"].to_numpy()[good],
            },
        )
        chosen = plan.row(plan.recommended)
        fill(self._recommended, {"exposure": [plan.recommended], "sigma": [float(chosen["sigma"])]})
        limit = plan.readout_limit
        self._limit_line.visible = bool(np.isfinite(limit))
        if self._limit_line.visible:
            self._limit_line.location = float(limit)
        self.advice.say(*plan.summary())

    def _draw_transfer(self) -> None:
        if self.transfer is None:
            if self._pairs:
                self.transfer_figure.layout.display = "none"  # the warning says why there is none
            return
        curve, gain = self.transfer.curve, self.transfer.gain
        for channel, (points, line) in self._transfer.items():
            part = curve.sel(channel=channel)
            signal, variance = part["signal"].values, part["variance"].values
            good = np.isfinite(signal) & np.isfinite(variance) & (signal > 0) & (variance > 0)
            fill(points, {"signal": signal[good], "variance": variance[good]})
            top = np.array([signal[good].min(), signal[good].max()]) if good.any() else np.empty(0)
            fill(line, {"signal": top, "variance": top / gain[channel]})
        noise = self.transfer.read_noise
        texts = [f"{c} {gain[c]:.3g} e⁻/ADU, {noise[c]:.3g} e⁻" for c in gain.values]
        self._transfer_plot.title.text = "Photon transfer: slope 1/gain; gain and read noise: " + "; ".join(
            texts
        )

    def _make_plots(self) -> None:
        self.budget = Budget(height=400)
        legs = {name: [] for name in ("x0", "y0", "x1", "y1", "colour")}
        self._legs, self._root = ColumnDataSource(legs), source(x=None, y=None)
        # Ranges that follow the data keep one scale in both directions, so that right angles look right.
        self._squares = plot(
            "√(A² + B² + C² + …)", "noise (ADU)", "noise (ADU)", height=400, match_aspect=True
        )
        self._squares.segment("x0", "y0", "x1", "y1", source=self._legs, line_color="colour", line_width=6)
        # A legend that took its colours from data that change their length could fail while they change.
        for name in SOURCES:
            self._squares.line(
                [np.nan], [np.nan], color=COLOURS[name], line_width=6, legend_label=SHORT[name]
            )
        self._squares.line(
            "x",
            "y",
            source=self._root,
            line_color="#808080",
            line_width=3,
            line_dash="dashed",
            legend_label="all together",
        )
        legend_below(self._squares)
        self._squares.legend[0].ncols = 2
        *named, self._whole_key = self._squares.legend[0].items
        self._keys = dict(zip(SOURCES, named, strict=True))
        self._squares.legend[0].label_text_font_size = "11px"
        self.figure = FigureWidget(
            beside(self.budget.figure, self._squares, sizing_mode="stretch_width"),
            label="noise by source, and the sum of squares",
            errors=self.errors,
        )
        self._plan = source(exposure=None, sigma=None, frames=None, readout=None, loss=None)
        self._recommended = source(exposure=None, sigma=None)
        made = plot(
            "Noise of the whole night, split into exposures", "exposure of one frame (s)", "noise (e⁻/s per pixel)",
            height=260, x_axis_type="log", y_axis_type="log",
            tips=[
                ("exposure", "@exposure s × @frames"), ("noise", "@sigma e⁻/s"),
                ("readout adds", "@readout{0.0} %"), ("above the best", "@loss{0.0} %"),
            ],
        )  # fmt: skip
        made.line("exposure", "sigma", source=self._plan, color=BLUE, line_width=2)
        made.scatter(
            "exposure", "sigma", source=self._plan, color=BLUE, size=7, legend_label="possible splits"
        )
        made.scatter(
            "exposure",
            "sigma",
            source=self._recommended,
            color=ORANGE,
            marker="diamond",
            size=16,
            legend_label="recommended: the shortest within 2 % of the best",
        )
        self._limit_line = Span(
            location=1.0,
            dimension="height",
            line_color=GREEN,
            line_width=2,
            line_dash="dashed",
            visible=False,
        )
        made.add_layout(self._limit_line)
        made.line(
            [np.nan],
            [np.nan],
            color=GREEN,
            line_dash="dashed",
            line_width=2,
            legend_label="from here on readout adds less than 5 %",
        )
        legend_below(made)
        self.plan_figure = FigureWidget(made, label="noise of the night against exposure", errors=self.errors)
        self._transfer: dict[str, tuple[ColumnDataSource, ColumnDataSource]] = {}
        if self._pairs:
            curve = plot(
                "Photon transfer curve", "signal above the offset (ADU)", "variance above readout (ADU²)",
                height=300, x_axis_type="log", y_axis_type="log",
            )  # fmt: skip
            for channel in pattern_of(self._pairs["flats"]).channels:
                pair = (source(signal=None, variance=None), source(signal=None, variance=None))
                curve.scatter(
                    "signal",
                    "variance",
                    source=pair[0],
                    color=colour_of(channel),
                    size=6,
                    legend_label=f"{channel} measured",
                )
                curve.line(
                    "signal",
                    "variance",
                    source=pair[1],
                    color=colour_of(channel),
                    line_width=2,
                    legend_label=f"{channel} fit",
                )
                self._transfer[channel] = pair
            legend_below(curve)
            self._transfer_plot = curve
            self.transfer_figure = FigureWidget(curve, label="photon transfer curve", errors=self.errors)

    def _make_controls(self) -> None:
        state, errors = self.state, self.errors
        self.note, self.advice = Note(), Note()
        if self._profile is not None:
            channels = list(self._profile.read_noise)
        else:
            channels = [state.channel] if state.channel else []
        named = [("first with light", ""), *((name, name) for name in channels)]
        self._channel = choice(state, errors, "channel", "channel", among=named)
        self._step = choice(state, errors, "step", "drawn after")
        self._budget_controls = row(
            self._channel,
            choice(state, errors, "unit", "in", among=[("ADU", "adu"), ("e⁻", "electron")]),
            self._step,
        )
        self._numbers = [self._number(*each) for each in (
            ("sky", "sky (e⁻/s)"), ("read_noise", "read noise (e⁻)"), ("dark_current", "dark current (e⁻/s)"),
        )]  # fmt: skip
        self._plan_controls = row(
            slider(state, errors, "hours", "night (h)"),
            slider(state, errors, "overhead", "pause between frames (s)"),
            tick(state, errors, "dithered", "dithered"),
            *self._numbers,
        )

    def _number(self, name: str, text: str) -> ipywidgets.Text:
        """A number that may be left to what was measured."""
        value = getattr(self.state, name)
        made = ipywidgets.Text(
            value="" if value is None else f"{value:g}", placeholder="measured", description=html.escape(text),
            style={"description_width": "initial"}, layout={"width": "18em"}, continuous_update=False,
        )  # fmt: skip

        def typed(change: Any) -> None:
            with self.errors.guard(name):
                given = change["new"].strip().replace(",", ".")
                try:
                    setattr(self.state, name, float(given) if given else None)
                except ValueError as error:
                    msg = f"{text} = {given!r}: a number is wanted, or nothing for the measured one"
                    raise SettingError(msg) from error

        made.observe(typed, "value")
        return made


_AFTER = {
    "raw": "raw",
    "bias": "after the bias",
    "dark": "after the dark",
    "flat": "after the flat",
    "combined": "all lights combined",
}

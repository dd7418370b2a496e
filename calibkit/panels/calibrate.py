"""Calibrating a light, one step after the other, with the numbers and the noise of each."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets
import xarray as xr

from calibkit.calibration import calibrate
from calibkit.calibration.steps import Step, calibration_steps
from calibkit.display.central import central_part
from calibkit.errors import CalibkitError, MismatchError, SettingError
from calibkit.ledger import NoiseLedger, noise_ledger
from calibkit.panels.base import Panel
from calibkit.panels.budget import Budget
from calibkit.panels.errors import ErrorArea
from calibkit.panels.figure import FigureWidget
from calibkit.panels.image_plots import unit
from calibkit.panels.image_view import ImageView
from calibkit.panels.inputs import load_lines, with_imports
from calibkit.panels.notes import Note
from calibkit.panels.settings import choice, row, tick
from calibkit.progress import Progress
from calibkit.state.calibrate import CalibrateState
from calibkit.warned import collected

#: Bytes of the light that the numbers are measured on: the middle of a large frame.
_MOST_BYTES = 4_000_000
_TITLES = {
    "raw": "raw",
    "bias": "− bias",
    "dark": "− dark",
    "flat": "÷ flat",
    "repair": "repaired",
}


class CalibratePanel(Panel):
    """Switch bias, dark, flat and repair on and off; see the picture, the numbers and the noise of every step.

    Parameters
    ----------
    light : xarray.DataArray
        Raw light ``(y, x)``, or lights ``(frame, y, x)``, of which the first is shown and all serve the ledger.
    bias, dark, flat : xarray.Dataset, optional
        Masters.
    defects : DefectMap, optional
        More bad pixels.
    height : int, optional
        Height of the picture in screen pixels; by default as the page allows.
    **settings
        Settings of `calibkit.state.CalibrateState`, e.g. ``divide_flat=False``.

    Raises
    ------
    SettingError
        It is no light.
    TypeError
        A setting that does not exist.

    Notes
    -----
    A combination that cannot be, a dark that contains the bias and the bias besides for instance, is explained in the
    panel, and the picture stays raw. The numbers come from the middle of a large frame; the picture is the whole one.

    Examples
    --------
    >>> from calibkit import Camera, master_bias, simulate_stack
    >>> camera = Camera(shape=(64, 64), offset=300.0)
    >>> bias = master_bias(simulate_stack(camera, 4, kind="bias"))
    >>> panel = CalibratePanel(simulate_stack(camera, 2, exposure=30, frame_index=9), bias=bias)
    >>> panel
    CalibratePanel(64 × 64, bias, repair)
    >>> [step.name for step in panel.steps]
    ['raw', 'bias', 'repair']
    """

    def __init__(
        self,
        light: xr.DataArray,
        *,
        bias: xr.Dataset | None = None,
        dark: xr.Dataset | None = None,
        flat: xr.Dataset | None = None,
        defects: Any = None,
        height: int | None = None,
        **settings: Any,
    ) -> None:
        if not isinstance(light, xr.DataArray) or light.dims not in (("y", "x"), ("frame", "y", "x")):
            msg = f"CalibratePanel takes raw frames, (y, x) or (frame, y, x); found {getattr(light, 'dims', type(light))}"
            raise SettingError(msg)
        self._masters = {
            name: master
            for name, master in (("bias", bias), ("dark", dark), ("flat", flat))
            if master is not None
        }
        holds_bias = dark is not None and not dark.attrs.get("bias_subtracted", False)
        if bias is not None and holds_bias and "subtract_bias" not in settings:
            settings["subtract_bias"] = False  # it goes with the dark
        state = CalibrateState(**settings)
        errors = ErrorArea()
        self._light, self._defects = light, defects
        self._frame = light.isel(frame=0) if "frame" in light.dims else light
        inputs = {"light": light, **self._masters}
        self._loads = load_lines(**inputs)
        if defects is not None:
            self._loads.append("# defects: a map of bad pixels, from find_defects or DefectMap.load")
        self._part: xr.DataArray | None = None
        self.steps: list[Step] = []
        self.ledger: NoiseLedger | None = None
        super().__init__(state, errors)
        self.view = ImageView(
            self._frame,
            self._frame,
            names=("raw", "calibrated"),
            state=state,
            errors=errors,
            height=height or 400,
        )
        self.budget = Budget()
        self.figure = FigureWidget(self.budget.figure, label="noise by source after each step", errors=errors)
        self.note = Note()
        self.table = ipywidgets.HTML()
        switches = [
            tick(state, errors, name, text)
            for name, text in (
                ("subtract_bias", "subtract bias"),
                ("subtract_dark", "subtract dark"),
                ("divide_flat", "divide by flat"),
                ("repair", "replace bad pixels"),
            )
        ]
        for widget, name in zip(switches, state.SWITCHES.values(), strict=False):
            widget.disabled = name not in self._masters
            if widget.disabled:
                widget.description += " (not given)"
        controls = row(
            *switches,
            choice(
                state,
                errors,
                "dark_scale",
                "dark scaled by",
                among=[("nothing", None), ("exposure", "exposure")],
            ),
        )
        state.observe(
            lambda _change: self._again(),
            ["subtract_bias", "subtract_dark", "divide_flat", "repair", "dark_scale"],
        )
        state.observe(lambda _change: self._draw_budget(), "channel")
        left = ipywidgets.VBox([self.view], layout={"flex": "3 1 0", "min_width": "0"})
        right = ipywidgets.VBox([self.table, self.figure], layout={"flex": "2 1 0", "min_width": "0"})
        self.assemble(controls, self.note, ipywidgets.HBox([left, right]))
        self._again()

    # ---- code and result ------------------------------------------------------------------------------------

    def code_lines(self) -> list[str]:
        keywords = [f"{name}={name}" for name in self._masters]
        keywords += ["defects=defects"] if self._defects is not None else []
        options = "".join(f", {name}={name}" for name in self._options() if name in self._masters)
        options += ", defects=defects" if self._defects is not None else ""
        options += "" if self.state.repair else ", repair=False"
        options += f", dark_scale={self.state.dark_scale!r}" if self._scaled else ""
        return with_imports(
            [
                "from calibkit import calibrate",
                "from calibkit.panels import CalibratePanel",
                *self._loads,
                "",
                f"result = calibrate(light{options})",
                self.state.code("light", *keywords),
            ]
        )

    def compute(self) -> xr.Dataset:
        """The calibrated light, lazy where the light is; see `calibkit.calibrate`."""
        return calibrate(self._light, **self._options())

    def describe(self) -> str:
        done = [*self.state.used(list(self._masters)), *(["repair"] if self.state.repair else [])]
        rows, columns = self._frame.shape
        return f"{rows} × {columns}, {', '.join(done) or 'as it is'}"

    def png(self) -> bytes:
        return self.view.png()

    @property
    def _scaled(self) -> bool:
        return self.state.dark_scale is not None and "dark" in self.state.used(list(self._masters))

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {n: self._masters[n] for n in self.state.used(list(self._masters))}
        if self._defects is not None:
            options["defects"] = self._defects
        options["repair"] = self.state.repair
        if self._scaled:
            options["dark_scale"] = self.state.dark_scale
        return options

    # ---- the steps ------------------------------------------------------------------------------------------

    def _again(self) -> None:
        options = self._options()

        def work(progress: Progress) -> tuple[list[Step], xr.Dataset, NoiseLedger | str, list[str]]:
            progress(0, 3, "calibrate")
            with collected() as messages:
                steps = self._measured(options)
                progress(1, 3, "calibrate")
                whole = calibrate(self._frame, **options)
                progress(2, 3, "noise by source")
                ledger = self._ledger(options)
            progress(3, 3, "noise by source")
            return steps, whole, ledger, messages

        self.run(lambda p: self._refused(work, p), self._show, "calibrate")

    @staticmethod
    def _refused(work: Any, progress: Progress) -> Any:
        """What *work* gives, or the refusal: masters that do not go together are no accident but a lesson."""
        try:
            return work(progress)
        except MismatchError as error:
            return error

    def _measured(self, options: dict[str, Any]) -> list[Step]:
        if self._part is None:
            stack = self._frame.expand_dims("frame")
            self._part = central_part(stack, most_bytes=_MOST_BYTES).isel(frame=0)
        return calibration_steps(self._part, **options)

    def _ledger(self, options: dict[str, Any]) -> NoiseLedger | str:
        names = ("bias", "dark", "flat", "dark_scale", "defects")
        try:
            return noise_ledger(self._light, **{n: options[n] for n in names if n in options})
        except CalibkitError as error:
            return str(error)

    def _show(self, found: Any) -> None:
        if isinstance(found, MismatchError):
            self.steps, self.ledger = [], None
            self.view.show(self._frame, layer=1)
            self.table.value = ""
            self.budget.clear()
            self.note.warn("This cannot be done together.", str(found), "The picture is still the raw frame.")
            return
        self.steps, whole, ledger, messages = found
        self.ledger = None if isinstance(ledger, str) else ledger
        self.view.show(whole, layer=1)
        self.table.value = _table(self.steps, unit(self._frame.attrs.get("units", "adu")))
        self._draw_budget()
        first, last = self.steps[0], self.steps[-1]
        text = (
            f"Raw, the picture shows values from {first.shown[0]:.0f} to {first.shown[1]:.0f}; now from "
            f"{last.shown[0]:.0f} to {last.shown[1]:.0f}."
        )
        sentences = [text]
        if isinstance(ledger, str):
            sentences.append(f"No noise by source: {ledger}")
        if messages:
            self.note.warn(messages[0], *messages[1:], *sentences)
        else:
            self.note.say(*sentences)

    def _draw_budget(self) -> None:
        if self.ledger is None:
            self.budget.clear()
            return
        channels = [name for name in self.ledger.channels if not self.ledger.is_empty(name)]
        if channels:
            chosen = self.state.channel if self.state.channel in channels else channels[0]
            self.budget.show(self.ledger, chosen)


def _table(steps: list[Step], units: str) -> str:
    """The numbers of every step."""
    heads = ("after", "shown from", "to", "mean", "median", "noise")
    lines = ["".join(f"<th style='text-align:right;padding:1px 5px'>{text}</th>" for text in heads)]
    for step in steps:
        noise = ", ".join(f"{value:.3g}" for value in step.noise.values())
        cells = (
            _TITLES[step.name],
            f"{step.shown[0]:.0f}",
            f"{step.shown[1]:.0f}",
            f"{step.mean:.1f}",
            f"{step.median:.1f}",
            noise,
        )
        lines.append(
            "".join(
                f"<td style='text-align:right;padding:1px 5px'>{html.escape(text)}</td>" for text in cells
            )
        )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    channels = ", ".join(steps[0].noise)
    more = f"; noise of {channels}" if len(steps[0].noise) > 1 else ""
    return (
        "<table style='border-collapse:collapse;color:var(--jp-ui-font-color1,#212121);line-height:1.5'>"
        f"<caption style='text-align:left'>Numbers in {html.escape(units)}{html.escape(more)}</caption>{body}</table>"
    )

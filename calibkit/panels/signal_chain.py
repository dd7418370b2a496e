"""The way of the signal: every artifact of optics and detector to be switched on and off."""

from __future__ import annotations

from typing import Any

import ipywidgets
import numpy as np
import traitlets
import xarray as xr
from bokeh.layouts import gridplot
from bokeh.models import CrosshairTool, HoverTool, LinearColorMapper, Range1d, Span, WheelZoomTool

from calibkit.display.numbers import shades
from calibkit.display.sheet import png_bytes
from calibkit.panels.base import Panel, caption
from calibkit.panels.figure import FigureWidget
from calibkit.panels.image_plots import unit
from calibkit.panels.inputs import with_imports
from calibkit.panels.plots import GREY, fill, plot, source
from calibkit.panels.settings import row, slider
from calibkit.simulate.demonstration import PICTURES, demonstrate_chain
from calibkit.simulate.effects import EFFECTS
from calibkit.state.signal_chain import SignalChainState

#: Where effects come from, in the order of the light.
_ORIGINS = ("sky", "optics", "detector", "electronics", "noise")
#: Effects below each other; more of one origin stand in columns.
_ROWS = 5
_MARKS = {"bias": "→ bias", "dark": "→ dark", "flat": "→ flat", "": ""}


class SignalChainPanel(Panel):
    """What sky, optics and detector do to a picture, and what bias, dark and flat frames can map of it.

    Parameters
    ----------
    **settings
        Settings of `calibkit.state.SignalChainState`, e.g. ``effects=["dust", "hot pixels"]``.

    Raises
    ------
    TypeError
        A setting that does not exist.

    Examples
    --------
    >>> panel = SignalChainPanel(effects=["offset", "dust"], frames=1)
    >>> panel
    SignalChainPanel(2 of 25 effects on)
    >>> float(panel.result.bias.median())
    300.0
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(SignalChainState(**settings))
        state, errors = self.state, self.errors
        self._boxes = {name: self._box(name) for name in EFFECTS}
        self._make_plots()
        self._notes = caption("")
        self._says = caption("")
        groups = [self._group(origin) for origin in _ORIGINS]
        presets = [
            self._button("everything", "Switch every effect on.", tuple(EFFECTS)),
            self._button("nothing", "Switch every effect off: the sky as it is.", ()),
            *(
                self._button(
                    f"what a {frame} maps",
                    f"Only what a {frame} frame can map.",
                    tuple(name for name, effect in EFFECTS.items() if effect.mapped_by == frame),
                )
                for frame in ("bias", "dark", "flat")
            ),
            self._button(
                "what none maps",
                "Only what no calibration frame can map.",
                tuple(name for name, effect in EFFECTS.items() if not effect.mapped_by),
            ),
        ]
        sliders = [
            slider(state, errors, "exposure", "exposure (s)"),
            slider(state, errors, "temperature", "temperature (°C)"),
            slider(state, errors, "frames", "frames in each master"),
        ]
        state.observe(lambda _change: self._simulate(), state.setting_names())
        self._shown: xr.Dataset | None = None
        self._simulate()
        self.assemble(
            caption(
                "Switch an effect and see where it appears. The arrow says which calibration frame can map it; "
                "what has none stays in the calibrated picture."
            ),
            row(*presets),
            row(*groups),
            row(*sliders),
            self._says,
            self.figure,
            self._notes,
        )

    def code_lines(self) -> list[str]:
        given = ", ".join(f"{name}={value!r}" for name, value in self.state.settings().items())
        return with_imports(
            [
                "from calibkit.panels import SignalChainPanel",
                "from calibkit.simulate.demonstration import demonstrate_chain",
                f"result = demonstrate_chain({given})",
                self.state.code(),
            ]
        )

    def compute(self) -> xr.Dataset:
        """The pictures; see `calibkit.simulate.demonstration.demonstrate_chain`."""
        return demonstrate_chain(**self._values())

    def describe(self) -> str:
        return f"{len(self.state.effects)} of {len(EFFECTS)} effects on"

    def png(self) -> bytes:
        if self._shown is None:
            return super().png()
        grey = [shades(self._shown[name].values) for name in PICTURES]
        rows = [np.concatenate(grey[start : start + 3], axis=1) for start in (0, 3)]
        return png_bytes(np.concatenate(rows))

    # ---- controls -------------------------------------------------------------------------------------------

    def _box(self, name: str) -> ipywidgets.Checkbox:
        effect = EFFECTS[name]
        mapped = (
            f"mapped by the {effect.mapped_by} frame" if effect.mapped_by else "no calibration frame maps it"
        )
        made = ipywidgets.Checkbox(
            value=name in self.state.effects,
            description=f"{name}  {_MARKS[effect.mapped_by]}".rstrip(),
            tooltip=f"{effect.meaning}; {mapped}",
            indent=False,
            layout={"width": "auto", "margin": "0"},
        )

        def switched(change: traitlets.Bunch) -> None:
            others = [other for other in self.state.effects if other != name]
            self.state.effects = (*others, name) if change["new"] else others

        made.observe(switched, "value")
        return made

    def _group(self, origin: str) -> ipywidgets.Widget:
        boxes = [self._boxes[name] for name, effect in EFFECTS.items() if effect.origin == origin]
        columns = -(-len(boxes) // _ROWS)
        grid = ipywidgets.GridBox(
            boxes, layout={"grid_template_columns": f"repeat({columns}, auto)", "grid_gap": "0 10px"}
        )
        return ipywidgets.VBox(
            [ipywidgets.HTML(f"<b>{origin}</b>"), grid],
            layout={"margin": "0 12px 0 0", "align_self": "flex-start"},
        )

    def _button(self, text: str, tip: str, effects: tuple[str, ...]) -> ipywidgets.Button:
        made = ipywidgets.Button(description=text, tooltip=tip, layout={"width": "auto"})
        made.on_click(lambda _button: setattr(self.state, "effects", effects))
        return made

    # ---- pictures -------------------------------------------------------------------------------------------

    def _make_plots(self) -> None:
        rows, columns = 180, 270
        xs, ys = Range1d(0, columns), Range1d(rows, 0)
        mapper = LinearColorMapper(palette=[f"#{g:02x}{g:02x}{g:02x}" for g in range(256)], low=0, high=255)
        crosses = [Span(dimension=d, line_color=GREY, line_dash="dotted") for d in ("width", "height")]
        wheel = WheelZoomTool()
        self._sources, plots = {}, []
        for name, meaning in PICTURES.items():
            units = unit("1" if name == "flat" else "adu")
            data = source(image=[], value=[], x=[], y=[], w=[], h=[])
            made = plot(
                meaning.replace(": ", ":\n"), "", "", x_range=xs, y_range=ys, name=f"{name} picture",
            )  # fmt: skip
            # Pixels are square but for a few percent, since the title's height does not grow with the page.
            made.update(sizing_mode="scale_width", aspect_ratio=1.26, height=None)
            made.axis.visible = made.grid.visible = False
            made.tools = [*made.tools[:1], wheel]
            made.toolbar_location = None
            made.min_border = 6
            drawn = made.image("image", "x", "y", "w", "h", source=data, color_mapper=mapper)
            tip = HoverTool(
                renderers=[drawn], tooltips=[("row, column", "$y{0}, $x{0}"), (name, f"@value {units}")]
            )
            made.add_tools(tip, CrosshairTool(overlay=crosses))
            self._sources[name] = data
            plots.append(made)
        grid = gridplot([plots[:3], plots[3:]], sizing_mode="scale_width", toolbar_location=None)
        self.figure = FigureWidget(grid, label="raw, calibration and calibrated frames", errors=self.errors)

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self.state, name) for name in self.state.setting_names()}

    def _simulate(self) -> None:
        for name, box in self._boxes.items():
            box.value = name in self.state.effects
        values = self._values()
        self.run(lambda _progress: demonstrate_chain(**values), self._show, "simulate")

    def _show(self, found: xr.Dataset) -> None:
        self._shown = found
        with self.figure.batch():
            for name, data in self._sources.items():
                values = found[name].values.astype(np.float32)
                rows, columns = values.shape
                fill(
                    data,
                    {
                        "image": [shades(values)],
                        "value": [values],
                        "x": [-0.5],
                        "y": [-0.5],
                        "w": [columns],
                        "h": [rows],
                    },
                )
        self._says.value = caption(self._sentence(found)).value
        self._notes.value = caption(
            " ".join(f"calibkit warns: {note}." for note in found.attrs["notes"])
        ).value

    def _sentence(self, found: xr.Dataset) -> str:
        on = [EFFECTS[name] for name in self.state.effects]
        parts = [
            f"{frame or 'no frame'}: {', '.join(names)}"
            for frame in ("bias", "dark", "flat", "")
            if (names := [effect.name for effect in on if effect.mapped_by == frame])
        ]
        before, after = found.attrs["scatter_before"], found.attrs["scatter_after"]
        return (
            f"What maps it — {'; '.join(parts) or 'nothing is on'}. Typical distance from the true sky: {before:.1f} ADU in the "
            f"raw frame, {after:.1f} ADU in the calibrated one."
        )

"""A ledger's noise as bars: every source after every step, and what was measured beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import CategoricalTickFormatter, ColumnDataSource, FactorRange

from calibkit.display.sheet import Line
from calibkit.ledger import NoiseLedger
from calibkit.ledger.book import SOURCES
from calibkit.panels.plots import fill, plot

#: Colours of the sources: warm for what is new in every frame, cool for what is common, grey for the pattern.
COLOURS = dict(
    zip(
        SOURCES,
        ("#d55e00", "#7f3b08", "#cc79a7", "#0072b2", "#56b4e9", "#e69f00", "#f0e442", "#009e73", "#808080"),
        strict=True,
    )
)
#: What a source is called where there is little room.
SHORT = {name: name for name in SOURCES} | {
    "quantisation": "rounding",
    "sky": "photons of the sky",
    "object": "photons of the object",
    "pattern": "pattern of the sensor",
}
_STEPS = {
    "raw": "raw",
    "bias": "− bias",
    "dark": "− dark",
    "flat": "÷ flat",
    "combined": "combined",
}


class Budget:
    """Stacked bars of variance by source; `figure` is what is shown.

    Variances add, as the squares under the root of √(A² + B² + C²) do: so the bars are squares, and the
    height of a part is its share.
    """

    def __init__(self, *, height: int = 330) -> None:
        self._bars = ColumnDataSource({"step": [], **{name: [] for name in SOURCES}})
        self._points = ColumnDataSource({"step": [], "measured": [], "sigma": []})
        self.figure = plot(
            "Noise by source", "after the step", "variance (ADU²)", height=height,
            x_range=FactorRange(factors=list(_STEPS.values())),
        )  # fmt: skip
        self.figure.xaxis.formatter = CategoricalTickFormatter()
        self.figure.vbar_stack(
            list(SOURCES), x="step", width=0.75, source=self._bars, color=[COLOURS[name] for name in SOURCES],
            line_color=None, legend_label=[SHORT[name] for name in SOURCES],
        )  # fmt: skip
        self.figure.scatter(
            "step", "measured", source=self._points, marker="diamond", size=13, fill_color="#ffffff",
            line_color="#000000", line_width=2, legend_label="measured",
        )  # fmt: skip
        self.figure.y_range.start = 0
        legend = self.figure.legend[0]
        legend.orientation, legend.ncols, legend.padding, legend.margin = "horizontal", 2, 2, 0
        legend.label_text_font_size = "11px"
        self.figure.center.remove(legend)
        self.figure.add_layout(legend, "below")

    def show(self, ledger: NoiseLedger, channel: str, unit: str = "adu") -> None:
        """Draw one channel of a ledger, in ADU² or (e⁻)²."""
        steps = list(ledger.steps)
        factor = 1.0 if unit == "adu" else float(ledger.table["gain"].sel(channel=channel)) ** 2
        labels = [_STEPS[name] for name in steps]
        columns: dict[str, Any] = {"step": labels}
        for source in SOURCES:
            columns[source] = [factor * max(ledger.variance(channel, step)[source], 0.0) for step in steps]
        measured = (
            ledger.table["measured"].sel(channel=channel, comparison="pixels", step=steps).values * factor
        )
        self.figure.x_range.factors = labels
        self.figure.yaxis.axis_label = "variance (ADU²)" if unit == "adu" else "variance (e⁻²)"
        fill(self._bars, columns)
        there = np.isfinite(measured)
        fill(
            self._points,
            {
                "step": [label for label, ok in zip(labels, there, strict=True) if ok],
                "measured": measured[there],
                "sigma": np.sqrt(np.maximum(measured[there], 0)),
            },
        )
        self.figure.title.text = (
            f"Noise of {channel} by source: squares add"
            if len(ledger.channels) > 1
            else "Noise by source: squares add"
        )

    def lines(self, width: float = 480.0) -> list[Line]:
        """What is drawn, as strips for a static picture: one for each step, and one for each source to tell them apart."""
        parts = {name: self._bars.data[name] for name in SOURCES}
        steps = self._bars.data["step"]
        whole = [sum(parts[name][n] for name in SOURCES) for n in range(len(steps))]
        if not steps or not max(whole) > 0:
            return []
        scale = width / max(whole)
        bars = [
            Line(step, [(COLOURS[name], scale * parts[name][n]) for name in SOURCES])
            for n, step in enumerate(steps)
        ]
        keys = [Line(SHORT[name], [(COLOURS[name], 14.0)]) for name in SOURCES if max(parts[name]) > 0]
        return [
            Line(f"{self.figure.title.text}; {self.figure.yaxis.axis_label} up to {max(whole):.4g}"),
            *bars,
            *keys,
        ]

    def clear(self) -> None:
        """Show nothing."""
        fill(self._bars, {"step": [], **{name: [] for name in SOURCES}})
        fill(self._points, {"step": [], "measured": [], "sigma": []})

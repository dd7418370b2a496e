"""Hot pixels: where the threshold lies, what it finds, and what the repair makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import xarray as xr
from bokeh.layouts import column
from bokeh.models import Span

from calibkit.cfa import pattern_of
from calibkit.defects import DefectMap, find_defects, repair
from calibkit.defects.outstanding import HotThreshold, Outstanding, outstanding_pixels
from calibkit.display.sampling import sample_region
from calibkit.display.stretch import histogram
from calibkit.errors import SettingError
from calibkit.masters import master_dark
from calibkit.panels.base import Panel
from calibkit.panels.errors import ErrorArea
from calibkit.panels.figure import FigureWidget
from calibkit.panels.image_plots import unit
from calibkit.panels.image_view import ImageView
from calibkit.panels.inputs import load_lines, with_imports
from calibkit.panels.notes import Note
from calibkit.panels.plots import DASHES, ORANGE, bars, colour_of, counted, fill, legend_below, plot, source
from calibkit.panels.settings import row, slider
from calibkit.progress import Progress
from calibkit.state.hot_pixels import HotPixelsState

#: Marks that are drawn over the picture at most, the strongest first.
_MOST_MARKS = 3000
#: Frames with more pixels are repaired on the button only.
_AT_ONCE = 2_000_000
_SIGMAS = np.geomspace(3.0, 50.0, 60)


class HotPixelsPanel(Panel):
    """Find hot and cold pixels in a dark, correct the map by hand, see the repair, save the map.

    Parameters
    ----------
    darks : xarray.Dataset or xarray.DataArray
        Master dark, or the darks ``(frame, y, x)`` that it is made of.
    light : xarray.Dataset, optional
        A calibrated frame that is repaired; the dark itself when not given.
    flat : xarray.Dataset, optional
        Master flat, for dead and weak pixels.
    height : int, optional
        Height of the picture in screen pixels; by default as the page allows.
    **settings
        Settings of `calibkit.state.HotPixelsState`, e.g. ``sigma=8``, ``added=[(12, 40)]``.

    Raises
    ------
    SettingError
        It is no dark, or a setting does not fit it.
    TypeError
        A setting that does not exist.

    Notes
    -----
    Which pixels stand out is looked for once; moving a threshold only picks from that list.

    Examples
    --------
    >>> frame = np.random.default_rng(0).normal(100, 5, (64, 64)).astype("f4")
    >>> frame[10, 20] += 500
    >>> dark = xr.Dataset({"signal": (("y", "x"), frame)}, {"y": range(64), "x": range(64)}, {"cfa": ""})
    >>> HotPixelsPanel(dark).result
    <DefectMap 64 × 64: 1 hot>
    """

    def __init__(
        self,
        darks: xr.Dataset | xr.DataArray,
        *,
        light: xr.Dataset | None = None,
        flat: xr.Dataset | None = None,
        height: int | None = None,
        **settings: Any,
    ) -> None:
        state = HotPixelsState(**({"mode": "before"} | settings))
        errors = ErrorArea()
        self._darks, self._light, self._flat = darks, light, flat
        self._stacked = isinstance(darks, xr.DataArray)
        self._dark = (master_dark(darks) if self._stacked else darks).compute()
        self._image = self._dark if light is None else light
        self._found: Outstanding | None = None
        self._sample = sample_region(self._dark[["signal"]])["signal"].values
        self._loads = load_lines(**self._inputs())
        super().__init__(state, errors)
        self.view = ImageView(
            self._image,
            self._image,
            names=("as it is", "repaired"),
            state=state,
            errors=errors,
            height=height or 400,
        )
        self.view.on_pick(self._pick)
        self._marks = source(x=None, y=None)
        self.view.figure.scatter(
            "x",
            "y",
            source=self._marks,
            marker="circle",
            size=10,
            fill_alpha=0,
            line_color=ORANGE,
            line_width=1.5,
        )
        self._make_plots()
        self.note = Note()
        self._make_controls()
        state.observe(self._changed, ["sigma", "cold_sigma", "rate", "added", "removed"])
        state.observe(lambda _change: self._mark(), "region")
        left = ipywidgets.VBox([self.view], layout={"flex": "3 1 0", "min_width": "0"})
        right = ipywidgets.VBox([self.figure], layout={"flex": "2 1 0", "min_width": "0"})
        self.assemble(self._controls, self.note, ipywidgets.HBox([left, right]), self._saving)
        self.run(self._look, self._have, "look for pixels that stand out")

    # ---- code and result ------------------------------------------------------------------------------------

    def code_lines(self) -> list[str]:
        state = self.state
        flat = ", flat=flat" if self._flat is not None else ""
        options = "".join(f", {name}={value!r}" for name, value in state.options().items())
        edits = "".join(
            f".{verb}(points={list(pixels)!r})"
            for verb, pixels in (("add", state.added), ("remove", state.removed))
            if pixels
        )
        keywords = [f"{name}={name}" for name in ("light", "flat") if getattr(self, f"_{name}") is not None]
        return with_imports(
            [
                "from calibkit import find_defects" + (", master_dark" if self._stacked else ""),
                "from calibkit.panels import HotPixelsPanel",
                *self._loads,
                *(["dark = master_dark(darks)"] if self._stacked else []),
                f"result = find_defects(dark=dark{flat}{options}){edits}",
                state.code("darks" if self._stacked else "dark", *keywords),
            ]
        )

    def compute(self) -> DefectMap:
        """The map of bad pixels; see `calibkit.find_defects`."""
        found = find_defects(dark=self._dark, flat=self._flat, **self.state.options())
        if self.state.added:
            found = found.add(points=self.state.added)
        return found.remove(points=self.state.removed) if self.state.removed else found

    def describe(self) -> str:
        rows, columns = self._dark["signal"].shape
        return f"{rows} × {columns}, from {self.state.sigma:g} σ"

    def png(self) -> bytes:
        return self.view.png()

    def _inputs(self) -> dict[str, Any]:
        inputs: dict[str, Any] = {"darks" if self._stacked else "dark": self._darks}
        return inputs | {n: v for n, v in (("light", self._light), ("flat", self._flat)) if v is not None}

    # ---- finding --------------------------------------------------------------------------------------------

    def _look(self, progress: Progress) -> Outstanding:
        return outstanding_pixels(self._dark, least=3.0, progress=progress)

    def _have(self, found: Outstanding) -> None:
        self._found = found
        for number, name in enumerate(found.channels):
            fill(
                self._curves[name], {"sigma": _SIGMAS, "count": np.maximum(found.curve(_SIGMAS)[number], 0.5)}
            )
        self._changed()

    def _changed(self, _change: object = None) -> None:
        if self._found is None:
            return
        with self.errors.guard("threshold"):
            state = self.state
            if state.rate is not None:
                find_defects(
                    dark=self._dark.isel(y=slice(0, 64), x=slice(0, 64)), rate=state.rate
                )  # says what lacks
            self._mark()
            self._say()
            self._sigma_line.location = state.sigma
            self._value_line.location = self._threshold.value(state.sigma)

    @property
    def _threshold(self) -> HotThreshold:
        return self._found.threshold

    def _mark(self) -> None:
        """Mark what is bad in the region that is seen."""
        if self._found is None:
            return
        points = self._found.points(self.state.sigma, self.state.cold_sigma)
        x, y = points["x"].astype(float), points["y"].astype(float)
        if self.state.removed:
            gone = set(self.state.removed)
            keep = np.array([(int(a), int(b)) not in gone for a, b in zip(x, y, strict=True)], bool)
            x, y = x[keep], y[keep]
        if self.state.added:
            more = np.array(self.state.added, float)
            x, y = np.append(more[:, 0], x), np.append(more[:, 1], y)
        if self.state.region is not None:
            x0, x1, y0, y1 = self.state.region
            seen = (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
            x, y = x[seen], y[seen]
        fill(self._marks, {"x": x[:_MOST_MARKS], "y": y[:_MOST_MARKS]})

    def _say(self) -> None:
        state, dark = self.state, self._dark
        counts = self._found.counts(state.sigma, state.cold_sigma)
        pixels = self._dark["signal"].size
        hot, cold = (sum(each[kind] for each in counts.values()) for kind in ("hot", "cold"))
        by_channel = (
            ", ".join(f"{name} {each['hot']}" for name, each in counts.items()) if len(counts) > 1 else ""
        )
        units = unit(dark.attrs.get("units", "adu"))
        where = f"; {by_channel}" if by_channel else ""
        text = (
            f"{hot} hot pixels ({100 * hot / pixels:.3g} % of the sensor{where}) lie {state.sigma:.3g} σ above their "
            f"surroundings, which is {self._threshold.value(state.sigma):.5g} {units} in a typical place; {cold} are cold."
        )
        sentences = [text]
        if state.rate is not None:
            sentences.append(f"Besides, everything above {state.rate:g} e⁻/s is hot.")
        if state.added or state.removed:
            sentences.append(f"By hand: {len(state.added)} added, {len(state.removed)} taken off.")
        if hot > 0.01 * pixels:
            self.note.warn(
                "More than 1 % of the sensor would be replaced: most of it is noise; raise σ.", *sentences
            )
        else:
            self.note.say(*sentences)

    def _pick(self, y: int, x: int) -> None:
        """A click puts a good pixel on the map, and takes a bad one off it."""
        if not self._edit.value or self._found is None:
            return
        with self.errors.guard("edit"):
            state, pixel = self.state, (x, y)
            points = self._found.points(state.sigma, state.cold_sigma)
            found = bool(((points["x"] == x) & (points["y"] == y)).any())
            if pixel in state.added:
                state.added = [p for p in state.added if p != pixel]
            elif pixel in state.removed:
                state.removed = [p for p in state.removed if p != pixel]
            elif found:
                state.removed = [*state.removed, pixel]
            else:
                state.added = [*state.added, pixel]

    # ---- repair and files -----------------------------------------------------------------------------------

    def repair_whole(self) -> None:
        """Repair the whole frame with the map as it is, and show both."""

        def work(progress: Progress) -> xr.Dataset:
            progress(0, 2, "find bad pixels")
            defects = self.compute()
            progress(1, 2, "repair")
            image = self._image
            missing = {
                name: value
                for name, value in (
                    ("variance", xr.full_like(image["signal"], np.nan, dtype=np.float32)),
                    ("flags", xr.zeros_like(image["signal"], dtype=np.uint16)),
                )
                if name not in image
            }
            return repair(
                image.assign(missing)[["signal", "variance", "flags"]].assign_attrs(image.attrs), defects
            )

        def done(result: xr.Dataset) -> None:
            self.view.show(result, layer=1)
            self.state.mode = "split"

        self.run(work, done, "repair")

    def save(self, kind: str) -> None:
        """Write the map into the file that is named: ``"mask"``, ``"siril"`` or ``"iris"``."""
        with self.errors.guard("save"):
            if not self._path.value.strip():
                msg = "name a file to write the map into"
                raise SettingError(msg)
            path = Path(self._path.value.strip()).with_suffix(
                {"mask": ".fits", "siril": ".lst", "iris": ".lst"}[kind]
            )
            if kind == "mask":
                self.compute().save(path)
            else:
                first = "top" if self._dark.attrs.get("roworder") == "TOP-DOWN" else "bottom"
                self.compute().write_list(path, program=kind, first_row=first)
            self._saved.value = f"written: {path}"

    # ---- controls and plots ---------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        state, errors = self.state, self.errors
        self._rate = ipywidgets.Text(
            value="" if state.rate is None else f"{state.rate:g}", placeholder="not used",
            description="dark current above (e⁻/s)", style={"description_width": "initial"}, layout={"width": "19em"},
            continuous_update=False,
        )  # fmt: skip
        self._rate.observe(self._rate_typed, "value")
        self._edit = ipywidgets.Checkbox(
            value=False, description="click adds or removes", indent=False, layout={"width": "auto"}
        )
        button = ipywidgets.Button(
            description="repair", tooltip="Replace bad pixels by their neighbours of one colour"
        )
        button.on_click(lambda _button: self.repair_whole())
        self._controls = row(
            slider(state, errors, "sigma", "hot from (σ)"),
            slider(state, errors, "cold_sigma", "cold from (σ)"),
            self._rate,
            self._edit,
            button,
        )
        self._path = ipywidgets.Text(
            placeholder="file name", description="save map as", style={"description_width": "initial"}
        )
        self._saved = ipywidgets.Label()
        made = []
        for kind, text in (("mask", "FITS mask"), ("siril", "Siril list"), ("iris", "IRIS list")):
            each = ipywidgets.Button(description=text, layout={"width": "auto"})
            each.on_click(lambda _button, kind=kind: self.save(kind))
            made.append(each)
        self._saving = row(self._path, *made, self._saved)

    def _rate_typed(self, change: Any) -> None:
        with self.errors.guard("rate"):
            text = change["new"].strip().replace(",", ".")
            try:
                self.state.rate = float(text) if text else None
            except ValueError as error:
                msg = f"dark current {text!r}: a number of electrons per second is wanted, or nothing"
                raise SettingError(msg) from error

    def _make_plots(self) -> None:
        units = unit(self._dark.attrs.get("units", "adu"))
        steps = source(x=None, y=None)
        values = self._sample[np.isfinite(self._sample)]
        low, high = np.percentile(values, [0.01, 99.95]) if values.size else (0.0, 1.0)
        high = max(high, low + 1e-6)
        bars(steps, *histogram(values, float(low), float(high + 0.3 * (high - low)), bins=150))
        shown = plot(
            "Values of a sample of the pixels",
            f"value ({units})",
            "pixels",
            height=230,
            y_axis_type="log",
        )
        steps.data = {"x": steps.data["x"], "y": np.maximum(steps.data["y"], 0.5)}
        shown.varea("x", 0.5, "y", source=steps, fill_color="#0072b2", fill_alpha=0.8)
        self._value_line = Span(location=float(high), dimension="height", line_color=ORANGE, line_width=2)
        shown.add_layout(self._value_line)
        self._curves = {name: source(sigma=None, count=None) for name in pattern_of(self._dark).channels}
        counts = plot(
            "Hot pixels by threshold",
            "hot from (σ)",
            "pixels",
            height=230,
            x_axis_type="log",
            y_axis_type="log",
        )
        for name, each in self._curves.items():
            counts.line(
                "sigma", "count", source=each, line_color=colour_of(name), line_width=2,
                line_dash=DASHES.get(name, "solid"), legend_label="all pixels" if name == "L" else name,
            )  # fmt: skip
        self._sigma_line = Span(
            location=self.state.sigma, dimension="height", line_color=ORANGE, line_width=2
        )
        counts.add_layout(self._sigma_line)
        counted(counts.yaxis[0])
        legend_below(counts)
        self.figure = FigureWidget(
            column(shown, counts, sizing_mode="stretch_width"),
            label="histogram of the dark, hot pixels by threshold",
            errors=self.errors,
        )

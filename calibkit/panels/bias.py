"""What is in a bias frame: level, readout noise, and patterns that should not be there."""

from __future__ import annotations

from typing import Any

import traitlets
import xarray as xr
from bokeh.layouts import column
from bokeh.layouts import row as beside
from bokeh.models import LinearColorMapper

from calibkit.bias.interference import Wave, find_interference, power_spectrum
from calibkit.bias.summary import BiasSummary, summarise_bias
from calibkit.display.central import central_part
from calibkit.display.numbers import log_shades
from calibkit.masters import master_bias
from calibkit.panels.errors import ErrorArea
from calibkit.panels.figure import FigureWidget
from calibkit.panels.frames import FramesPanel
from calibkit.panels.image_view import ImageView
from calibkit.panels.inputs import load_lines, with_imports
from calibkit.panels.notes import Note
from calibkit.panels.plots import BLUE, ORANGE, bars, fill, legend_below, plot, source
from calibkit.panels.settings import choice, modes, row, slider
from calibkit.progress import Progress
from calibkit.state.bias import BiasState

#: The spectrum is that of the middle of so many bytes of all frames: some 256 × 256 pixels of ten.
_SPECTRUM_BYTES = 2**21


class BiasPanel(FramesPanel):
    """Bias frames: a picture, its histogram, rows and columns, and the spectrum in which interference shows.

    Parameters
    ----------
    biases : xarray.DataArray
        Two or more bias frames ``(frame, y, x)``, as from `calibkit.open_stack`.
    **settings
        Settings of `calibkit.state.BiasState`, e.g. ``frames=5``, ``picture="one frame"``.

    Raises
    ------
    SettingError
        Fewer than two frames, or a number that there is not.
    TypeError
        A setting that does not exist.

    Notes
    -----
    Of large frames the numbers come from the middle, see the line under the picture. ``panel.result`` is the
    master bias of whole frames, ``panel.waves`` the periodic patterns of the spectrum.

    Examples
    --------
    >>> from calibkit import Camera, simulate_stack
    >>> biases = simulate_stack(Camera(shape=(64, 96), interference=6.0), 4, kind="bias")
    >>> panel = BiasPanel(biases, frames=3)
    >>> panel, panel.result.attrs["n_frames"], round(panel.waves[0].period)
    (BiasPanel(4 frames of 64 × 96), 3, 12)
    """

    def __init__(self, biases: xr.DataArray, **settings: Any) -> None:
        state = BiasState(**settings)
        self._take(biases, state, "bias")
        super().__init__(state, ErrorArea())
        count = biases.sizes["frame"]
        self.waves: list[Wave] = []
        self._part: xr.DataArray | None = None
        self._summary: BiasSummary | None = None
        self.view = ImageView(
            biases.isel(frame=state.frame), names=("bias",), state=state, errors=self.errors, height=360
        )
        self._make_plots()
        self._picture_note, self._note, self._wave_note = Note(), Note(), Note()
        self._whole = self._whole_button(self._combine_whole)
        self._frame_slider = slider(state, self.errors, "frame", "frame", top=count - 1)
        controls = [
            modes(state, self.errors, "picture"),
            self._frame_slider,
            slider(state, self.errors, "frames", "frames combined", top=count),
            choice(state, self.errors, "method", "combined by"),
            self._whole,
        ]
        state.observe(self._changed, ["picture", "frame", "frames", "method"])
        self.assemble(row(*controls), self.view, self._picture_note, self.figure, self._note, self._wave_note)
        self.run(lambda progress: central_part(biases, progress=progress), self._loaded, "read the frames")

    def code_lines(self) -> list[str]:
        part = "biases" if self.state.frames is None else f"biases.isel(frame=slice({self.state.frames}))"
        return with_imports(
            [
                "from calibkit import master_bias",
                "from calibkit.panels import BiasPanel",
                *load_lines(biases=self._stack),
                f"result = master_bias({part}, method={self.state.method!r})",
                self.state.code("biases"),
            ]
        )

    def compute(self) -> xr.Dataset:
        """The master bias of the whole frames; see `calibkit.master_bias`."""
        return self._master(self._stack)

    # ---- settings -------------------------------------------------------------------------------------------

    def _master(self, stack: xr.DataArray, **options: Any) -> xr.Dataset:
        return master_bias(stack.isel(frame=slice(self._count())), method=self.state.method, **options)

    def _changed(self, change: traitlets.Bunch) -> None:
        with self.errors.guard("bias"):
            self._check_change(change)
            if self._part is not None:
                self._show()
                if change["name"] == "frames":
                    self._look_for_waves()

    # ---- work -----------------------------------------------------------------------------------------------

    def _loaded(self, part: xr.DataArray) -> None:
        self._part = part
        self._show()
        self._look_for_waves()

    def _show(self) -> None:
        state, part = self.state, self._part
        frames = part.isel(frame=slice(self._count()))
        one = state.picture == "one frame"
        self._frame_slider.disabled = not one
        if one:
            picture, shown = part.isel(frame=state.frame), self._stack.isel(frame=state.frame)
        else:
            shown = self._master(part)
            picture = shown["signal"]
        self.view.show(shown)
        self._summary = summarise_bias(picture, frames, combined=1 if one else self._count())
        self._draw(self._summary)
        self._tell(one)

    def _look_for_waves(self) -> None:
        few = central_part(self._part.isel(frame=slice(self._count())), most_bytes=_SPECTRUM_BYTES)

        def work(progress: Progress) -> tuple[xr.DataArray, list[Wave]]:
            progress(0, 2, "power spectrum")
            spectrum = power_spectrum(few)
            progress(1, 2, "look for interference")
            return spectrum, find_interference(few)

        self.run(work, self._draw_spectrum, "power spectrum")

    def _combine_whole(self) -> None:
        with self.errors.guard("whole master"):
            self.run(
                lambda progress: self._master(self._stack, progress=progress),
                self._show_whole,
                "whole master",
            )

    def _show_whole(self, master: xr.Dataset) -> None:
        self.view.show(master)
        self._picture_note.say(f"The master of {self._count()} whole frames.")

    # ---- plots ----------------------------------------------------------------------------------------------

    def _make_plots(self) -> None:
        self._sources = {
            "counts": source(x=[], y=[]),
            "noise": source(x=[], y=[]),
            "spectrum": source(image=[], x=[], y=[], w=[], h=[]),
            "waves": source(x=[], y=[], period=[], direction=[], amplitude=[]),
            "rows": source(x=[], y=[]),
            "columns": source(x=[], y=[]),
        }
        counts = plot("Histogram of the picture", "value (ADU)", "pixels", name="counts", x_range=(0.0, 1.0))
        counts.y_range.start = 0
        self._counts = counts
        counts.varea(
            "x",
            0,
            "y",
            source=self._sources["counts"],
            fill_color=BLUE,
            fill_alpha=0.5,
            legend_label="the picture",
        )
        counts.line(
            "x",
            "y",
            source=self._sources["noise"],
            line_color=ORANGE,
            line_width=2,
            legend_label="readout noise alone",
        )
        legend_below(counts)
        spectrum = plot(
            "Power spectrum (a pattern is a bright spot)", "frequency along x (1/pixel)", "along y (1/pixel)",
            name="spectrum", x_range=(0.0, 0.5), y_range=(-0.5, 0.5),
        )  # fmt: skip
        spectrum.grid.visible = False
        mapper = LinearColorMapper(palette="Cividis256", low=0, high=255)
        spectrum.image("image", "x", "y", "w", "h", source=self._sources["spectrum"], color_mapper=mapper)
        spectrum.scatter(
            "x",
            "y",
            source=self._sources["waves"],
            marker="circle",
            size=18,
            fill_color=None,
            line_color=ORANGE,
            line_width=3,
        )
        profiles = []
        for name, other in (("rows", "row (y)"), ("columns", "column (x)")):
            made = plot(
                f"Mean of each {name[:-1]}, less the mean of all", other, "ADU", height=200, name=name
            )
            made.line("x", "y", source=self._sources[name], line_color=BLUE)
            profiles.append(made)
        self.figure = FigureWidget(
            column(
                beside(counts, spectrum, sizing_mode="stretch_width"),
                beside(*profiles, sizing_mode="stretch_width"),
                sizing_mode="stretch_width",
            ),
            label="histogram, power spectrum and profiles of the bias",
            errors=self.errors,
        )

    def _draw(self, found: BiasSummary) -> None:
        middles = (found.edges[:-1] + found.edges[1:]) / 2
        with self.figure.batch():
            bars(self._sources["counts"], found.counts, found.edges)
            self._counts.x_range.update(start=float(found.edges[0]), end=float(found.edges[-1]))
            fill(self._sources["noise"], {"x": middles, "y": found.noise_counts})
            for line, dim in ((found.rows, "y"), (found.columns, "x")):
                fill(self._sources[line.axis], {"x": self._part[dim].values, "y": line.profile})

    def _draw_spectrum(self, found: tuple[xr.DataArray, list[Wave]]) -> None:
        spectrum, self.waves = found
        fy, fx = spectrum["fy"].values, spectrum["fx"].values
        with self.figure.batch():
            edges = {"x": [0.0], "y": [float(fy[0])], "w": [float(fx[-1])], "h": [float(fy[-1] - fy[0])]}
            fill(self._sources["spectrum"], {"image": [log_shades(spectrum.values)], **edges})
            fill(
                self._sources["waves"],
                {
                    "x": [wave.frequency[1] for wave in self.waves],
                    "y": [wave.frequency[0] for wave in self.waves],
                    "period": [wave.period for wave in self.waves],
                    "direction": [wave.direction for wave in self.waves],
                    "amplitude": [wave.amplitude for wave in self.waves],
                },
            )
        if not self.waves:
            self._wave_note.say("Spectrum: nothing but noise in it, no interference.")
            return
        told = [
            f"period {w.period:.2f} px, direction {w.direction:+.0f}° from the x axis, amplitude {w.amplitude:.2f} ± "
            f"{w.error:.2f} ADU, {w.significance:.0f} × the power of the noise"
            for w in self.waves
        ]
        self._wave_note.warn(
            "Interference (circled): a pattern in a bias means radio-frequency interference.",
            f"Found: {'; '.join(told)}.",
        )

    def _tell(self, one: bool) -> None:
        found, part = self._summary, self._part
        _, height, width = self._stack.shape
        whole = (part.sizes["y"], part.sizes["x"]) == (height, width)
        where = (
            ""
            if whole
            else f" Numbers come from the middle {part.sizes['x']} × {part.sizes['y']} of {width} × {height} pixels."
        )
        what = f"Frame {self.state.frame}." if one else f"The {self.state.method} of {self._count()} frames."
        self._picture_note.say(what + where)
        lines = [
            f"{line.axis} differ by {line.scatter:.2f} ADU (noise alone: {line.expected:.2f} ADU)"
            for line in (found.rows, found.columns)
        ]
        levels = ", ".join(f"{name} {level:.1f}".removeprefix("L ") for name, level in found.level.items())
        self._whole.layout.display = "none" if whole or one else ""
        self._note.say(
            f"Level {levels} ADU. Readout noise of one frame {found.read_noise.value:.2f} ± {found.read_noise.error:.2f} ADU, "
            f"expected in this picture {found.expected_noise:.2f} ADU; {'; '.join(lines)}.",
            f"{found.outside} pixels lie outside of the histogram." if found.outside else "",
        )

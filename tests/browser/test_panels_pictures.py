"""Panels of the final picture in JupyterLab: one gesture each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from tests.panel_makers import write_frames

SKY = """
import numpy as np, xarray as xr
from calibkit.panels import BrightnessPanel
values = np.random.default_rng(1).normal(500.0, 10.0, (300, 400)).astype("float32")
values[40:60, 40:60] += 9000.0
panel = BrightnessPanel(xr.DataArray(values, dims=("y", "x"), attrs={"units": "adu", "roworder": "TOP-DOWN"}))
"""

#: Colours that the middle of the picture has, as a list of [red, green, blue].
MIDDLE = """() => {
  const doc = Bokeh.documents.find((d) => d.roots().length && d.get_model_by_name('picture'));
  const plot = Bokeh.index.find_one(doc.get_model_by_name('picture'));
  const { left, top, width, height } = plot.frame.bbox;
  const canvas = plot.canvas_view.primary.canvas;
  const scale = canvas.width / plot.bbox.width;
  const data = canvas.getContext('2d').getImageData(
    Math.round((left + width / 2) * scale) - 20, Math.round((top + height / 2) * scale) - 20, 40, 40).data;
  return Array.from({ length: 1600 }, (_, i) => [...data.slice(4 * i, 4 * i + 3)]);
}"""


def test_black_that_is_too_high_turns_blue_and_is_refused(notebook: Callable) -> None:
    book = notebook(SKY, "panel")
    verdict = book.panel.get_by_role("status").filter(has_text="background")
    expect(verdict).to_contain_text("Nothing of it is lost")
    black = book.panel.get_by_label("black", exact=True).first
    black.fill("505")
    black.press("Enter")
    expect(verdict).to_contain_text("cannot turn black")
    assert book.ask("panel.state.levels[0]") == 505.0
    blue = [colour for colour in book.page.evaluate(MIDDLE) if colour[2] > 200 and colour[0] < 100]
    assert 0.3 < len(blue) / 1600 <= 1.0
    # The hyperbolic curve is drawn on the page from a table.
    before = book.page.evaluate(MIDDLE)
    book.panel.get_by_title("how brightness rises").select_option("ghs")
    book.wait_for("panel.state.curve", "ghs")
    expect(book.panel.get_by_text("GHS intensity b")).to_be_visible()
    book.page.wait_for_timeout(300)
    assert book.page.evaluate(MIDDLE) != before


def test_a_channel_is_dropped_by_a_tick(notebook: Callable, tmp_path: Path) -> None:
    book = notebook(
        f"from pathlib import Path; from tests.panel_makers import make_channels; panel = make_channels(Path({str(tmp_path)!r}))",
        "panel",
    )
    expect(book.panel.get_by_text("keep for")).to_be_visible()
    book.panel.get_by_role("checkbox", name="keep B").check()
    book.wait_for("panel.state.line", "R+B")
    book.panel.get_by_role("button", name="convert too early").click()
    expect(book.panel.get_by_text("wrong by more than 10 σ")).to_be_visible()
    assert book.ask("panel.errors.text") == ""


def test_a_frame_is_left_out_by_a_click(notebook: Callable, tmp_path: Path) -> None:
    book = notebook(
        f"from pathlib import Path; from tests.panel_makers import make_stack; panel = make_stack(Path({str(tmp_path)!r}))",
        "panel",
    )
    expect(book.panel.get_by_text("4 of 4 frames are to be stacked")).to_be_visible(timeout=20_000)
    book.page.wait_for_function("""() => window.Bokeh?.documents.some((d) => {
      const plot = d.get_model_by_name('fwhm');
      return plot && Bokeh.index.find_one(plot)?.el.getBoundingClientRect().width > 0;
    })""")
    place = book.page.evaluate("""() => {
      const doc = Bokeh.documents.find((d) => d.roots().length && d.get_model_by_name('fwhm'));
      const view = Bokeh.index.find_one(doc.get_model_by_name('fwhm'));
      const { x, y } = view.el.getBoundingClientRect();
      const { left, top, width, height } = view.frame.bbox;
      return [x + view.frame.x_scale.compute(2), y + top + height / 2];
    }""")
    book.page.mouse.click(*place)
    book.wait_for("list(panel.state.left_out)", [2])
    expect(book.panel.get_by_text("left out by hand")).to_be_visible()
    book.panel.get_by_role("button", name="2 · align and stack").click()
    expect(book.panel.get_by_text("beside the stack of 3")).to_be_visible(timeout=30_000)
    assert book.ask("panel.errors.text") == ""


def test_a_folder_is_typed_and_run(notebook: Callable, tmp_path: Path) -> None:
    night = tmp_path / "night"
    write_frames(night / "bias", "bias", 3, EGAIN=1.5)
    write_frames(night / "darks", "dark", 3, EXPTIME=60.0, EGAIN=1.5)
    write_frames(night / "lights", "light", 2, level=1300.0, EXPTIME=60.0, EGAIN=1.5)
    book = notebook("from calibkit.panels import SessionPanel; panel = SessionPanel()", "panel")
    field = book.panel.get_by_placeholder("path of a folder")
    field.fill(str(night))
    field.press("Enter")
    expect(book.panel.get_by_text("8 frames in")).to_be_visible(timeout=15_000)
    book.panel.get_by_role("button", name="calibrate all").click()
    expect(book.panel.get_by_text("2 of 2 lights calibrated")).to_be_visible(timeout=40_000)
    assert (night / "calibrated" / "report.html").exists()

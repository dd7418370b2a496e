"""The figure widget in three front ends: drawn, changed from Python, changed on the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import FRONT_ENDS, write_notebook

FIGURE = """
import ipywidgets, numpy as np
from bokeh.events import RangesUpdate, Tap
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure
from calibkit.panels.figure import FigureWidget

source = ColumnDataSource({"image": [np.full((40, 60), 0.0, np.float32)], "x": [0], "y": [0], "dw": [60], "dh": [40]})
plot = figure(width=500, height=300, x_range=(0, 60), y_range=(0, 40), tools="pan,wheel_zoom,tap", lod_timeout=100,
              active_scroll="wheel_zoom")
glyph = plot.image("image", "x", "y", "dw", "dh", source=source, palette=["#ff0000", "#0000ff"])
glyph.glyph.color_mapper.update(low=0, high=1)
widget = FigureWidget(plot, label="a square")
heard = ipywidgets.Label("nothing").add_class("heard")
plot.on_event(RangesUpdate, lambda event: setattr(heard, "value", f"width {event.x1 - event.x0:.1f}"))
plot.on_event(Tap, lambda event: 1 / 0)
button = ipywidgets.Button(description="blue")
button.on_click(lambda _: source.data.update(image=[np.full((40, 60), 1.0, np.float32)]))
# Changed after the widget was made and before it is shown.
plot.title.text = "still red"
"""

#: The colour in the middle of the largest canvas on the page, wherever its shadow root is.
PIXEL = """() => {
  const found = [];
  const walk = (node) => {
    for (const child of node.querySelectorAll('*')) {
      if (child.tagName === 'CANVAS' && child.width > 200) found.push(child);
      if (child.shadowRoot) walk(child.shadowRoot);
    }
  };
  walk(document);
  return found.map((canvas) => {
    const { data } = canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2, 1, 1);
    return [data[0], data[1], data[2]].join();
  });
}"""


def wait_for_pixel(page: Page, colour: str, count: int = 1) -> None:
    page.wait_for_function(
        f"([want, n]) => ({PIXEL})().filter((c) => c === want).length === n", arg=[colour, count]
    )


def test_drawn_changed_and_heard(any_front_end: Callable[..., Page]) -> None:
    page = any_front_end(FIGURE, "ipywidgets.VBox([widget, heard, button])")
    expect(page.locator(".bk-Figure").first).to_be_visible(timeout=40_000)
    wait_for_pixel(page, "255,0,0")
    page.get_by_role("button", name="blue").click()
    wait_for_pixel(page, "0,0,255")
    page.locator(".bk-Figure .bk-events").first.hover()
    page.mouse.wheel(0, -300)
    expect(page.locator(".heard")).to_contain_text("width ")
    # Errors of callbacks are seen.
    page.locator(".bk-Figure .bk-events").first.click()
    expect(page.get_by_role("alert").filter(has_text="ZeroDivisionError")).to_be_visible()


def test_two_views_and_a_late_one(notebook: Callable) -> None:
    book = notebook(FIGURE, "widget", "widget")
    page = book.page
    wait_for_pixel(page, "255,0,0", 2)
    assert book.run("source.data.update(image=[np.full((40, 60), 1.0, np.float32)])") == ""
    wait_for_pixel(page, "0,0,255", 2)
    # What is done in one view is seen in the other.
    book.panel.locator(".bk-Figure .bk-events").first.hover()
    page.mouse.wheel(0, -300)
    starts = "() => Bokeh.documents.map((d) => d.roots()[0]?.x_range?.start).filter((s) => s !== undefined)"
    page.wait_for_function(
        f"() => {{ const s = ({starts})(); return s.length === 2 && s[0] > 1 && s[0] === s[1] }}"
    )
    assert book.ask("plot.x_range.start") > 1
    assert book.ask("len(widget._views)") == 2
    book.run("widget.close()")
    expect(book.panel.locator(".bk-Figure")).to_have_count(0)


def test_arrays_are_not_sent_back_nor_stored(notebook: Callable) -> None:
    book = notebook(
        FIGURE,
        """
received = []
widget.on_msg(lambda w, message, buffers: received.append(len(str(message))))
widget""",
    )
    wait_for_pixel(book.page, "255,0,0")
    book.run("source.data = {**source.data, 'image': [np.ones((1000, 1500), np.float32)]}")
    wait_for_pixel(book.page, "0,0,255")
    book.page.wait_for_timeout(300)
    assert book.ask("sum(received)") < 10_000
    text = book.page.evaluate(
        "() => JSON.stringify(window.jupyterapp.shell.currentWidget.context.model.toJSON())"
    )
    assert len(text) < 10_000


def test_another_bokehjs_on_the_page_is_left_alone(server: tuple[str, Path], browser: Browser) -> None:
    page = browser.new_page()
    page.add_init_script("window.Bokeh = { __bokeh__: true, version: '0.0.1', documents: [] }")
    name = write_notebook(server[1], "another_bokehjs", (FIGURE, "widget"))
    page.goto(server[0] + FRONT_ENDS["voila"].format(name))
    wait_for_pixel(page, "255,0,0")
    assert page.evaluate("() => window.Bokeh.version") == "0.0.1"
    page.close()

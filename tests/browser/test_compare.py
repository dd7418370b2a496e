"""ComparePanel in JupyterLab: what its gestures do to the pixels on the screen and to its settings in Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from calibkit.display.stretch import Levels, picture
from tests.browser.conftest import FRONT_ENDS, RUN_ALL, Notebook, write_notebook

ROWS, COLUMNS = 1200, 1800
#: Two frames whose every pixel tells where it is, with one hot pixel in the middle.
FRAMES = f"""
import numpy as np, xarray as xr
from calibkit.panels import ComparePanel
rows, columns = np.arange({ROWS}, dtype=np.uint16)[:, None], np.arange({COLUMNS}, dtype=np.uint16)
before = xr.DataArray(1000 + 2 * columns + rows // 2, dims=("y", "x"),
                      attrs={{"units": "adu", "roworder": "TOP-DOWN"}})
before.values[{ROWS // 2}, {COLUMNS // 2}] = 60000
after = (before.astype("float32") * 0.5).assign_attrs(before.attrs)
panel = ComparePanel(before, after, curve="linear", levels=(1000, 5000, 0.5), after_levels=(1000, 5000, 0.5))
"""

#: Colours at fractions (x, y) of the frame of the first picture, from its canvas.
COLOURS = """(places) => {
  const doc = Bokeh.documents.find((d) => d.roots().length && d.get_model_by_name('picture'));
  const plot = Bokeh.index.find_one(doc.get_model_by_name('picture'));
  const { left, top, width, height } = plot.frame.bbox;
  const canvas = plot.canvas_view.primary.canvas;
  const scale = canvas.width / plot.bbox.width;
  return places.map(([x, y]) => {
    const at = [Math.round((left + x * width) * scale), Math.round((top + y * height) * scale)];
    return [...canvas.getContext('2d').getImageData(...at, 1, 1).data].slice(0, 3);
  });
}"""


class Panel:
    """The panel on the page."""

    def __init__(self, book: Notebook) -> None:
        self.book, self.page = book, book.page
        self.root: Locator = book.panel.locator(".calibkit-figure").last
        expect(self.root.get_by_role("toolbar", name="View")).to_be_visible(timeout=30_000)
        self.page.wait_for_function(f"() => ({COLOURS})([[0.5, 0.5]])[0].join() !== '255,255,255'")

    def colours(self, *places: tuple[float, float]) -> list[list[int]]:
        return self.page.evaluate(COLOURS, places)

    def wait_for_colour(self, place: tuple[float, float], wanted: list[int]) -> None:
        """Wait until that place is shown in that colour, within what a block's mean may differ."""
        close = "(p, w) => p.every((c, i) => Math.abs(c - w[i]) <= 3)"
        script = f"([place, wanted]) => ({close})(({COLOURS})([place])[0], wanted)"
        self.page.wait_for_function(script, arg=[place, wanted])

    def box(self) -> tuple[float, float, float, float]:
        """The frame of the picture on the page: left, top, width, height."""
        script = """() => {
          const doc = Bokeh.documents.find((d) => d.roots().length && d.get_model_by_name('picture'));
          const plot = Bokeh.index.find_one(doc.get_model_by_name('picture'));
          const outer = plot.el.getBoundingClientRect(), { left, top, width, height } = plot.frame.bbox;
          return [outer.left + left, outer.top + top, width, height];
        }"""
        return tuple(self.page.evaluate(script))

    def point(self, x: float, y: float) -> tuple[float, float]:
        left, top, width, height = self.box()
        return left + x * width, top + y * height

    def zoom_at(self, x: float, y: float, ticks: int) -> None:
        self.page.mouse.move(*self.point(x, y))
        for _ in range(ticks):
            self.page.mouse.wheel(0, -400)
            self.page.wait_for_timeout(120)

    def state(self, name: str) -> object:
        return self.book.ask(f"panel.state.{name}")


@pytest.fixture
def panel(notebook: Callable[..., Notebook]) -> Panel:
    return Panel(notebook(FRAMES, "panel"))


def test_handles_stay_on_their_histogram_while_a_cell_is_off_the_page(panel: Panel) -> None:
    # JupyterLab takes cells off the page and puts them back between two pictures of the browser.
    panel.page.evaluate("""() => {
      const view = [...document.querySelectorAll('.calibkit-figure')].at(-1);
      view.dispatchEvent(new KeyboardEvent('keydown', { key: 'c' }));
      view.style.display = 'none';
      requestAnimationFrame(() => { view.style.display = ''; });
    }""")
    panel.book.wait_for("panel.state.mark_clipped")
    panel.page.wait_for_function("""() => {
      const doc = Bokeh.documents.find((d) => d.roots().length && d.get_model_by_name('levels0'));
      const plot = Bokeh.index.find_one(doc.get_model_by_name('levels0')).el.getBoundingClientRect();
      const lines = [...document.querySelectorAll('.ck-handle.ck-level')].filter((line) => line.getClientRects().length);
      const inside = (line, { top, height } = line.getBoundingClientRect()) =>
        top >= plot.top - 1 && top + height <= plot.bottom + 1;
      return lines.length > 1 && lines.every((line) => inside(line));
    }""")


def grey(value: float, levels: tuple[float, float] = (1000, 5000)) -> list[int]:
    """What a value looks like, from the functions that say so in Python."""
    rgba = picture(np.array([[[value]]], np.float32), Levels(*levels))
    return rgba[0, 0, :3].tolist()


def near(found: list[int], wanted: list[int], tolerance: int = 3) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(found, wanted, strict=True))


def sensor_of(panel: Panel, x: float, y: float) -> tuple[float, float]:
    """Sensor position at fractions of the picture."""
    script = """([fx, fy]) => {
      const doc = Bokeh.documents.find((d) => d.roots().length && d.get_model_by_name('picture'));
      const { x_range: xr, y_range: yr } = doc.get_model_by_name('picture');
      return [xr.start + fx * (xr.end - xr.start), yr.end + fy * (yr.start - yr.end)];
    }"""
    return tuple(panel.page.evaluate(script, [x, y]))


def expected(x: float, y: float) -> float:
    return 1000 + 2 * x + y / 2


def test_the_picture_is_the_data_the_right_way_up(panel: Panel) -> None:
    for x, y in ((0.3, 0.2), (0.4, 0.9)):
        wanted = grey(expected(*sensor_of(panel, x, y)))
        assert near(panel.colours((x, y))[0], wanted)
    for x, y in ((0.6, 0.2), (0.7, 0.9)):
        assert near(panel.colours((x, y))[0], grey(expected(*sensor_of(panel, x, y)) / 2))
    # Rows of a camera run downward.
    assert sensor_of(panel, 0.5, 0.1)[1] < sensor_of(panel, 0.5, 0.9)[1]


def test_in_every_front_end(any_front_end: Callable[..., Page]) -> None:
    page = any_front_end(FRAMES, "panel")
    root = page.locator(".calibkit-figure")
    expect(root.get_by_role("toolbar", name="View")).to_be_visible(timeout=60_000)
    page.wait_for_function(f"() => ({COLOURS})([[0.6, 0.5]])[0].join() !== '255,255,255'")
    split = page.evaluate(COLOURS, [[0.6, 0.5]])
    root.press("1")
    page.wait_for_function(f"(was) => ({COLOURS})([[0.6, 0.5]])[0][0] > was[0][0] + 10", arg=split)
    root.press("b")
    page.wait_for_function(f"(was) => ({COLOURS})([[0.6, 0.5]])[0][0] === was[0][0]", arg=split)
    # The kernel answers: a click tells the values, the zoom brings another view.
    page.locator(".bk-Figure .bk-events").first.click()
    expect(page.locator(".ck-readout").last).to_contain_text("difference")


def test_a_reloaded_page_shows_the_panel_as_it_was(server: tuple[str, Path], browser: Browser) -> None:
    page = browser.new_page()
    name = write_notebook(server[1], "reloaded", (FRAMES, "panel"))
    page.goto(server[0] + FRONT_ENDS["lab"].format(name))
    page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext")
    page.evaluate(RUN_ALL)
    root = page.locator(".calibkit-figure")
    expect(root.get_by_role("toolbar", name="View")).to_be_visible(timeout=60_000)
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    root.press("2")
    pressed = root.get_by_role("button", name="after", exact=True, pressed=True)
    expect(pressed).to_be_visible()
    # The page shows its own state at once; what a reload brings back is what has arrived in the kernel.
    Notebook(page).wait_for("panel.state.mode", "after")
    page.reload()
    expect(pressed).to_be_visible(timeout=60_000)
    page.wait_for_function(f"() => ({COLOURS})([[0.5, 0.5]])[0].join() !== '255,255,255'")
    page.close()


def test_zoom_brings_sharp_data(panel: Panel) -> None:
    assert panel.book.ask("panel.view._shown[1]") > 1
    x, y = 0.5, 0.5
    panel.zoom_at(x, y, 3)
    panel.book.wait_for("panel.view._shown[1]", 1)
    region = panel.state("region")
    assert 0 < region[1] - region[0] < 120
    assert region[0] < COLUMNS / 2 < region[1]
    assert region[2] < ROWS / 2 < region[3]
    # One hot pixel, which the whole frame's blocks had averaged away, is white at its place and only there.
    left, top, width, height = region[0], region[2], region[1] - region[0], region[3] - region[2]
    panel.root.press("1")
    panel.book.wait_for("panel.state.mode", "before")
    at = ((COLUMNS / 2 - left) / width, (ROWS / 2 - top) / height)
    panel.wait_for_colour(at, [255, 255, 255])
    beside = panel.colours(((COLUMNS / 2 + 2 - left) / width, (ROWS / 2 - top) / height))[0]
    assert near(beside, grey(expected(COLUMNS / 2 + 2, ROWS / 2)))
    # And back to the whole frame by its key; pressing it did not reach the notebook.
    panel.root.press("0")
    panel.book.wait_for("panel.state.region", None)
    assert panel.book.panel.locator(".jp-CodeCell").count() == 2


def test_blink_and_keys(panel: Panel) -> None:
    place = (0.5, 0.5)
    value = expected(*sensor_of(panel, *place))
    panel.root.press("1")
    panel.wait_for_colour(place, grey(value))
    panel.root.press("b")
    panel.wait_for_colour(place, grey(value / 2))
    panel.book.wait_for("panel.state.mode", "after")
    panel.root.get_by_role("button", name="blink").click()
    for wanted in (value, value / 2, value):
        panel.wait_for_colour(place, grey(wanted))
    panel.root.get_by_role("button", name="blink").click()
    assert panel.state("mode") == "after"
    # A letter is not an edit of the notebook.
    assert panel.book.panel.locator(".jp-CodeCell").count() == 2


def test_divider(panel: Panel) -> None:
    divider = panel.root.get_by_role("slider", name="Divider between before and after")
    place = (0.4, 0.3)
    value = expected(*sensor_of(panel, *place))
    assert near(panel.colours(place)[0], grey(value))
    box = divider.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 3
    panel.page.mouse.move(x, y)
    panel.page.mouse.down()
    panel.page.mouse.move(panel.point(0.25, 0)[0], y, steps=8)
    panel.page.mouse.up()
    panel.wait_for_colour(place, grey(value / 2))
    panel.book.wait_for("abs(panel.state.split - 0.25) < 0.01")
    split = panel.state("split")
    divider.press("ArrowRight")
    panel.book.wait_for(f"panel.state.split > {split}")
    # From Python, too.
    panel.book.run("panel.state.split = 0.6")
    panel.wait_for_colour(place, grey(value))


def test_levels_by_handle_by_number_and_from_python(panel: Panel) -> None:
    panel.root.press("1")
    panel.book.wait_for("panel.state.mode", "before")
    place = (0.5, 0.5)
    value = expected(*sensor_of(panel, *place))
    white = panel.root.get_by_label("white").first
    white.fill("4000")
    white.press("Enter")
    wanted = grey(value, (1000, 4000))
    panel.wait_for_colour(place, wanted)
    panel.book.wait_for("panel.state.levels", [1000, 4000, 0.5])
    # White below black is not taken.
    white.fill("900")
    white.press("Enter")
    expect(white).to_have_value("4000")
    # The handle of white on the histogram, dragged to where the axis says 3000.
    handle = panel.root.get_by_role("slider", name="before: white")
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] - 4
    script = """() => {
      const doc = Bokeh.documents.find((d) => d.roots().length && d.get_model_by_name('levels0'));
      const { x_range: range, inner_width: width } = doc.get_model_by_name('levels0');
      return width / (range.end - range.start);
    }"""
    pixels = panel.page.evaluate(script)
    panel.page.mouse.move(x, y)
    panel.page.mouse.down()
    panel.page.wait_for_timeout(500)  # held still for a while: still a drag
    panel.page.mouse.move(x - 1000 * pixels, y, steps=10)
    panel.page.mouse.up()
    panel.book.wait_for("abs(panel.state.levels[1] - 3000) < 30")
    assert panel.state("levels")[0] == 1000
    handle.press("ArrowLeft")
    panel.book.wait_for("panel.state.levels[1] < 2990")
    panel.book.run("panel.state.levels = (1000, 2000, 0.5)")
    panel.wait_for_colour(place, [255, 255, 255])
    panel.root.press("a")
    panel.book.wait_for("panel.state.levels", None)


def test_click_shows_exact_values(panel: Panel) -> None:
    panel.zoom_at(0.5, 0.5, 3)
    panel.book.wait_for("panel.view._shown[1]", 1)
    panel.root.press("1")
    panel.page.wait_for_timeout(400)  # a click after a wheel's end, not a part of it
    panel.page.mouse.click(*panel.point(0.5, 0.5))
    panel.book.wait_for("panel.state.pixel is not None")
    y, x = panel.state("pixel")
    value = panel.book.ask(f"int(before.values[{y}, {x}])")
    line = panel.root.locator(".ck-readout").last
    expect(line).to_contain_text(f"x {x}  y {y}   before {value} ADU   after {value / 2:g} ADU")
    # Under the pointer the same values, without the kernel.
    panel.page.mouse.move(*panel.point(0.5001, 0.5))
    expect(panel.root.locator(".ck-readout").first).to_contain_text(f"before {value} ADU")


def test_side_by_side_and_difference(panel: Panel) -> None:
    panel.root.get_by_role("button", name="side by side").click()
    panel.book.wait_for("panel.state.mode", "side by side")
    visible = """() => {
      const doc = Bokeh.documents.find((d) => d.roots().length && d.get_model_by_name('picture2'));
      const [a, b] = ['picture', 'picture2'].map((name) => Bokeh.index.find_one(doc.get_model_by_name(name)).frame.bbox);
      return doc.get_model_by_name('picture2').visible && b.width > 100 && Math.abs(a.width - b.width) < 80;
    }"""
    panel.page.wait_for_function(visible)
    panel.root.get_by_role("button", name="difference", exact=True).click()
    panel.book.wait_for("panel.state.mode", "difference")
    panel.page.wait_for_function(
        f"() => {{ const [r, g, b] = ({COLOURS})([[0.7, 0.8]])[0]; return b > r + 60; }}"
    )
    assert panel.book.ask("float(panel.result.values[600, 900])") == -30000.0


def test_a_large_frame_is_not_sent(notebook: Callable[..., Notebook]) -> None:
    """A frame of 24 megapixels is 48 MB; what goes to the page is what its screen shows."""
    book = notebook(
        "import numpy as np\nfrom calibkit.panels import ComparePanel\n"
        "frame = np.random.default_rng(0).integers(900, 1100, (4000, 6000), dtype=np.uint16)\n"
        "panel = ComparePanel(frame, frame)\nsizes = []\nsend = panel.view.comm.send\n"
        "panel.view.comm.send = lambda *a, buffers=None, **k:"
        " (sizes.extend(memoryview(b).nbytes for b in buffers or []), send(*a, buffers=buffers, **k))",
        "panel",
    )
    panel = Panel(book)
    panel.zoom_at(0.4, 0.5, 2)
    book.wait_for("panel.state.region is not None")
    panel.page.wait_for_timeout(500)
    # The largest is BokehJS itself, once for each page.
    assert 200_000 < max(book.ask("sizes")) < 2_000_000
    assert sum(book.ask("sizes")) < 12_000_000

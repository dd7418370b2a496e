"""NumbersPanel in JupyterLab: what is pointed at in the table is marked in the picture, and the other way round."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Notebook

#: Where a sensor pixel of a plot lies on the page, and what is marked.
PLACE = """([name, y, x]) => {
  const doc = Bokeh.documents.find((d) => d.roots().length && d.get_model_by_name('table'));
  const plot = Bokeh.index.find_one(doc.get_model_by_name(name));
  const box = plot.el.getBoundingClientRect(), { left, top } = plot.frame.bbox;
  return [box.left + left + plot.frame.x_scale.compute(x) - left, box.top + plot.frame.y_scale.compute(y)];
}"""
MARK = """() => {
  const doc = Bokeh.documents.find((d) => d.roots().length && d.get_model_by_name('mark'));
  const { data } = doc.get_model_by_name('mark');
  return [...data.get('y'), ...data.get('x')];
}"""


def test_pointing_in_one_marks_in_both(notebook: Callable[..., Notebook]) -> None:
    book = notebook("from calibkit.panels import NumbersPanel\npanel = NumbersPanel()", "panel")
    page = book.page
    line = book.panel.locator(".ck-readout").first
    expect(line).to_have_text("Point at a number or at a pixel.", timeout=30_000)
    page.wait_for_function(
        "() => Bokeh.documents.some((d) => d.roots().length && d.get_model_by_name('look')?.data.get('x')?.length)"
    )
    for name, y, x, value in (("table", 12, 19, 54741), ("picture", 37, 23, 23901)):
        page.mouse.move(*page.evaluate(PLACE, [name, y, x]))
        expect(line).to_have_text(f"row {y}, column {x}: {value} ADU")
        assert page.evaluate(MARK) == [y, x]
    page.mouse.click(*page.evaluate(PLACE, ["table", 2, 5]))
    book.wait_for("panel.state.pixel", [2, 5])


def test_a_click_in_a_large_frame_moves_the_table(notebook: Callable[..., Notebook]) -> None:
    book = notebook(
        "import numpy as np\nfrom calibkit.panels import NumbersPanel\n"
        "panel = NumbersPanel(np.arange(120_000).reshape(300, 400), rows=9, columns=9)",
        "panel",
    )
    view = book.panel.locator(".calibkit-figure").filter(has=book.page.get_by_role("toolbar", name="View"))
    expect(view.get_by_text("Click a pixel for its exact values.")).to_be_visible(timeout=30_000)
    view.locator(".bk-Figure .bk-events").first.click()
    book.wait_for("panel.state.centre is not None")
    y, x = book.ask("panel.state.centre")
    assert book.ask("panel._cells.data['text'][40]") == str(400 * y + x)

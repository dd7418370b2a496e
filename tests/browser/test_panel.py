"""The base of all panels in JupyterLab: long work leaves the notebook free, is cancelled, and says what went wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

PANEL = """
import time
import ipywidgets, traitlets
from calibkit.panels.base import Panel
from calibkit.state import State

class Counting(State):
    call = "count"
    steps = traitlets.Int(2000, min=1)

class CountPanel(Panel):
    def __init__(self):
        super().__init__(Counting())
        self.total = ipywidgets.Label("nothing").add_class("total")
        start = ipywidgets.Button(description="count")
        start.on_click(lambda _: self.run(self.work, self.show, "counting"))
        self.assemble(start, self.total)

    def work(self, progress):
        for step in range(self.state.steps):
            progress(step, self.state.steps, "counting")
            time.sleep(0.005)
        if self.state.steps == 3:
            raise ValueError("three is not a number of steps")
        return self.state.steps

    def show(self, steps):
        self.total.value = f"{steps} steps"

    def code_lines(self):
        return [self.state.code()]

panel = CountPanel()
"""


def test_work(notebook: Callable) -> None:
    book = notebook(PANEL, "panel")
    page = book.panel
    page.get_by_role("button", name="count").click()
    cancel = page.get_by_role("button", name="cancel")
    expect(cancel).to_be_visible()
    expect(page.get_by_role("progressbar")).to_be_visible()
    # Cells run meanwhile.
    assert book.ask("panel.busy") is True
    cancel.click()
    expect(cancel).to_be_hidden()
    assert book.ask("panel.busy") is False
    expect(page.locator(".total")).to_have_text("nothing")
    book.run("panel.state.steps = 5")
    page.get_by_role("button", name="count").click()
    expect(page.locator(".total")).to_have_text("5 steps")
    expect(cancel).to_be_hidden()
    book.run("panel.state.steps = 3")
    page.get_by_role("button", name="count").click()
    expect(page.get_by_role("alert")).to_have_text("three is not a number of steps")
    book.run("panel.state.steps = 4")
    page.get_by_role("button", name="count").click()
    expect(page.locator(".total")).to_have_text("4 steps")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_code_is_shown_and_copied(notebook: Callable) -> None:
    book = notebook(PANEL, "panel")
    book.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    book.run("panel.state.steps = 7")
    book.panel.get_by_text("Python for this").click()
    expect(book.panel.locator(".calibkit-code pre")).to_have_text("count(steps=7)")
    book.panel.get_by_role("button", name="copy", exact=True).click()
    expect(book.panel.get_by_role("button", name="copied")).to_be_visible()
    assert book.page.evaluate("() => navigator.clipboard.readText()") == "count(steps=7)"


CELLS = (
    "() => window.jupyterapp.shell.currentWidget.context.model.sharedModel.cells.map((cell) => cell.source)"
)


def test_code_goes_into_a_new_cell(any_front_end: Callable, request: pytest.FixtureRequest) -> None:
    page = any_front_end(PANEL, "panel", "'the last'")
    page.get_by_text("Python for this").click(timeout=60_000)
    expect(page.get_by_role("button", name="copy", exact=True)).to_be_visible()
    button = page.get_by_role("button", name="new cell")
    if "voila" in request.node.name:  # where nobody sees cells
        expect(button).to_have_count(0)
        return
    button.click()
    expect(page.get_by_role("button", name="added below")).to_be_visible()
    cells = page.evaluate(CELLS)
    assert [cell.strip() for cell in cells] == [PANEL.strip(), "panel", "count()", "'the last'"]


COMPARE = """
import numpy as np
from calibkit.panels import ComparePanel
ComparePanel(np.zeros((40, 60)), np.ones((40, 60)))
"""
#: Saves the notebook, ends its kernel, and opens it again; the new kernel knows nothing of the panel.
SAVE_AND_OPEN_AGAIN = """async () => {
  const app = window.jupyterapp;
  const old = app.shell.currentWidget;
  await old.context.save();
  const path = old.context.path;
  await old.sessionContext.shutdown();
  old.close();
  old.dispose();
  const panel = await app.commands.execute('docmanager:open', { path, factory: 'Notebook' });
  await panel.context.ready;
  await panel.sessionContext.ready;
  app.shell.activateById(panel.id);
}"""


#: Has nothing to show when it is shown: what its work finds comes into the picture later, without a cell being run.
LATER = """
from calibkit.panels import SignalChainPanel
panel = SignalChainPanel(frames=1)
panel
"""


def test_what_is_worked_on_comes_into_the_picture(notebook: Callable) -> None:
    book = notebook(LATER)
    book.wait_for("panel.busy", False)
    expect(book.panel.locator(".calibkit-panel canvas").first).to_be_visible(timeout=20_000)
    expect(book.panel.locator(".jp-RenderedImage img")).to_have_count(1)
    expect(book.panel.locator(".jp-RenderedImage img")).to_be_hidden()
    rows, columns = book.ask("panel.result.light.shape")
    book.page.evaluate(SAVE_AND_OPEN_AGAIN)
    picture = book.panel.locator(".jp-RenderedImage img")
    expect(picture).to_be_visible(timeout=20_000)
    size = picture.evaluate("(image) => [image.naturalHeight, image.naturalWidth]")
    assert size == [2 * rows, 3 * columns]


def test_without_its_kernel_a_panel_is_a_picture(notebook: Callable) -> None:
    book = notebook(COMPARE)
    expect(book.panel.locator(".calibkit-panel canvas").first).to_be_visible(timeout=20_000)
    expect(book.panel.locator(".jp-RenderedImage img")).to_be_hidden()
    book.page.evaluate(SAVE_AND_OPEN_AGAIN)
    picture = book.panel.locator(".jp-RenderedImage img")
    expect(picture).to_be_visible(timeout=20_000)
    assert picture.evaluate("(image) => image.naturalWidth") >= 400

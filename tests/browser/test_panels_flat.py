"""FlatPanel in JupyterLab: one step after the other."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Notebook

CELL = """
from calibkit import Camera, simulate_stack
from calibkit.panels import FlatPanel
flats, darks = (simulate_stack(Camera(shape=(96, 128)), 3, kind=k, exposure=1.0) for k in ("flat", "flat dark"))
panel = FlatPanel(flats, darks)
"""


def test_steps(notebook: Callable[..., Notebook]) -> None:
    book = notebook(CELL, "panel")
    expect(book.panel.get_by_text("Final step:")).to_be_visible(timeout=60_000)
    assert book.ask("panel.settings()") == {}
    book.panel.get_by_role("button", name="◀").click()
    expect(book.panel.get_by_text("Step 6:")).to_be_visible()
    assert book.ask("panel.state.step") == "difference"
    book.panel.get_by_role("button", name="one flat dark").click()
    expect(book.panel.get_by_text("Step 3:")).to_be_visible()
    assert book.ask("panel.errors.text") == ""

"""BiasPanel in JupyterLab: its sliders and what it names."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Notebook

CELL = """
from calibkit import Camera, simulate_stack
from calibkit.panels import BiasPanel
panel = BiasPanel(simulate_stack(Camera(shape=(96, 128), interference=4.0, interference_period=10.0), 5, kind="bias"))
"""


def test_number_of_frames_and_interference(notebook: Callable[..., Notebook]) -> None:
    book = notebook(CELL, "panel")
    expect(book.panel.get_by_text("direction +20°")).to_be_visible(timeout=60_000)
    assert book.ask("panel.settings()") == {}
    handle = book.panel.get_by_role("slider").nth(1)
    handle.focus()
    handle.press("ArrowLeft")
    book.wait_for("panel.state.frames", 4)
    expect(book.panel.get_by_text("The mean of 4 frames.")).to_be_visible()
    book.panel.get_by_role("button", name="one frame").click()
    expect(book.panel.get_by_text("Frame 0.")).to_be_visible()
    assert book.ask("panel.errors.text") == ""

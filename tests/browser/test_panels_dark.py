"""DarkPanel in JupyterLab: the number of frames on its slider."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Notebook

CELL = """
from calibkit import Camera, simulate_stack
from calibkit.panels import DarkPanel
panel = DarkPanel(simulate_stack(Camera(shape=(96, 128)), 5, kind="dark", exposure=60.0))
"""


def test_number_of_frames(notebook: Callable[..., Notebook]) -> None:
    book = notebook(CELL, "panel")
    expect(book.panel.get_by_text("right the median of 5 frames")).to_be_visible(timeout=60_000)
    assert book.ask("panel.settings()") == {}
    handle = book.panel.get_by_role("slider").nth(1)
    handle.focus()
    handle.press("ArrowLeft")
    book.wait_for("panel.state.frames", 4)
    expect(book.panel.get_by_text("right the median of 4 frames")).to_be_visible(timeout=20_000)
    assert book.ask("panel._now.location") == 4.0
    assert book.ask("panel.errors.text") == ""


def test_dark_current_at_one_temperature(notebook: Callable[..., Notebook]) -> None:
    # No line can be drawn through it, and the legend of what is not there must not fail.
    biases = 'biases=simulate_stack(Camera(shape=(96, 128)), 5, kind="bias", frame_index=20)'
    book = notebook(CELL.replace("exposure=60.0))", f"exposure=60.0), {biases})"), "panel")
    expect(book.panel.get_by_text("Doubling is not shown")).to_be_visible(timeout=60_000)
    book.page.wait_for_timeout(1000)  # until it is drawn
    assert book.panel.locator(".calibkit-error").all_inner_texts() == []

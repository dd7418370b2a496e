"""SignalChainPanel in JupyterLab: a switch changes the pictures and the setting in Python."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Notebook


def test_a_switch_and_a_preset(notebook: Callable[..., Notebook]) -> None:
    book = notebook(
        "from calibkit.panels import SignalChainPanel\npanel = SignalChainPanel(effects=['offset'], frames=2)",
        "panel",
    )
    box = book.panel.get_by_role("checkbox", name="vignetting → flat")
    expect(box).not_to_be_checked(timeout=30_000)
    expect(book.panel.locator(".bk-Figure")).to_have_count(6, timeout=30_000)
    # Sliders leave what was written in Python as it is.
    assert book.ask("panel.settings()") == {"effects": ["offset"], "frames": 2}
    box.check()
    book.wait_for("panel.state.effects", ["vignetting", "offset"])
    book.wait_for("panel._shown is not None and bool(panel._shown['flat'].values[0, 0] < 0.9)", seconds=60)
    assert book.ask("panel.errors.text") == ""
    book.panel.get_by_role("button", name="nothing").click()
    book.wait_for("panel.state.effects", [])
    expect(box).not_to_be_checked()
    expect(book.panel.get_by_text("0.0 ADU in the calibrated one")).to_be_visible()

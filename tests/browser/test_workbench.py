"""The workbench in three front ends: steps by clicking, what one step makes is there in the next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from tests.panel_makers import write_frames


def test_from_step_to_step(any_front_end: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "night"
    for kind, level, exposure in (
        ("bias", 300.0, 0.0),
        ("dark", 340.0, 60.0),
        ("flat", 20000.0, 2.0),
        ("light", 900.0, 60.0),
    ):
        write_frames(folder, kind, level=level, EXPTIME=exposure, EGAIN=2.0, RDNOISE=6.0)
    page = any_front_end(
        f"from calibkit.panels import Workbench\nbench = Workbench({str(folder)!r})", "bench"
    )
    expect(page.get_by_role("button", name="1 session")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="4 bias").click()
    expect(page.locator(".calibkit-panel .calibkit-panel canvas").first).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="compare", exact=False).first.click()
    expect(page.get_by_role("button", name="side by side")).to_be_visible(timeout=60_000)
    assert list((folder / "calibrated" / "lights").glob("*.fits"))
    page.get_by_role("button", name="write notebook").click()
    expect(page.get_by_text("calibkit process")).to_be_visible()
    assert (folder / "calibrated" / "session.ipynb").is_file()
    assert page.locator(".calibkit-error").all_inner_texts() == []

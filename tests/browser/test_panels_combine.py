"""CombinePanel, HotPixelsPanel, CalibratePanel and NoisePanel on a page: their main gestures."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Notebook

START = """
import numpy as np, xarray as xr, calibkit
from calibkit import Camera, Lamp, Sky, master_bias, master_dark, master_flat, simulate_stack
from calibkit.panels import *
camera = Camera(shape=(192, 240), offset=300.0, gain=1.5, read_noise=6.0, dark_current=0.5, hot_fraction=0.002)
take = lambda count, kind, first, **more: simulate_stack(camera, count, kind=kind, frame_index=first, **more)
lights = take(8, "light", 60, exposure=60.0, sky=Sky(background=20.0))
"""


def toolbar(book: Notebook) -> Locator:
    root = book.panel.locator(".calibkit-figure").first
    expect(root.get_by_role("toolbar", name="View")).to_be_visible(timeout=60_000)
    return root


def nudge(book: Notebook, label: str, key: str = "ArrowLeft", times: int = 3) -> None:
    """Move a slider by its keys."""
    handle = book.panel.locator(".widget-slider", has_text=label).first.locator(".noUi-handle")
    handle.focus()
    for _ in range(times):
        handle.press(key)


@pytest.fixture
def combine(notebook: Callable[..., Notebook]) -> Notebook:
    book = notebook(START + "panel = CombinePanel(lights, reject='winsorized')", "panel")
    toolbar(book)
    book.wait_for("panel._shown is not None", seconds=60)
    return book


def test_a_slider_of_sigma_moves_the_picture(combine: Notebook) -> None:
    before = combine.ask("float(panel._shown.rejected_fraction.mean())")
    nudge(combine, "low")
    combine.wait_for(
        "panel.state.low is not None and panel.state.low < 3 and panel.state.high == panel.state.low"
    )
    combine.wait_for(f"float(panel._shown.rejected_fraction.mean()) > {before}")
    expect(combine.panel.locator(".calibkit-note").first).to_contain_text("of good samples it loses")
    combine.run("panel.state.frames = 6; panel.state.reject = 'mean_sigma'")
    expect(combine.panel.locator(".calibkit-note").first).to_contain_text("cannot reject a stray sample")
    combine.panel.get_by_role("button", name="combine whole frames").click()
    combine.wait_for("panel._is_full()", seconds=60)
    assert combine.ask("panel.errors.text") == ""


def test_hot_pixels_by_slider_and_click(notebook: Callable[..., Notebook]) -> None:
    book = notebook(
        START + "panel = HotPixelsPanel(master_dark(take(6, 'dark', 20, exposure=60.0)), sigma=10.0)", "panel"
    )
    root = toolbar(book)
    book.wait_for("panel._found is not None", seconds=60)
    marks = book.ask("int(panel._marks.data['x'].size)")
    nudge(book, "hot from", times=5)
    book.wait_for("panel.state.sigma < 10")
    book.wait_for(f"panel._marks.data['x'].size >= {marks}")
    book.panel.get_by_label("click adds or removes").check()
    book.wait_for("panel._edit.value")
    root.locator(".bk-Figure .bk-events").first.click()
    book.wait_for("len(panel.state.added) + len(panel.state.removed) == 1")
    book.panel.get_by_role("button", name="repair", exact=True).click()
    book.wait_for("panel.state.mode", "split", seconds=60)
    assert book.ask("panel.errors.text") == ""


def test_a_step_is_switched_off(notebook: Callable[..., Notebook]) -> None:
    masters = (
        "bias = master_bias(take(6, 'bias', 0)); dark = master_dark(take(6, 'dark', 20, exposure=60.0))\n"
        "panel = CalibratePanel(lights, bias=bias, dark=dark)"
    )
    book = notebook(START + masters, "panel")
    toolbar(book)
    book.wait_for("[step.name for step in panel.steps]", ["raw", "dark", "repair"], seconds=60)
    expect(book.panel.locator("table caption")).to_contain_text("Numbers in ADU")
    book.panel.get_by_label("subtract bias").check()
    expect(book.panel.locator(".calibkit-note").first).to_contain_text(
        "bias subtracted twice", timeout=30_000
    )
    book.panel.get_by_label("subtract dark").uncheck()
    book.wait_for("[step.name for step in panel.steps]", ["raw", "bias", "repair"], seconds=60)


def test_a_night_is_planned(notebook: Callable[..., Notebook]) -> None:
    book = notebook(START + "panel = NoisePanel(lights, bias=master_bias(take(6, 'bias', 0)))", "panel")
    book.wait_for("panel.ledger is not None", seconds=60)
    expect(book.panel.locator(".bk-Figure").first).to_be_visible(timeout=30_000)
    expect(book.panel.locator(".calibkit-note").nth(1)).to_contain_text("Take ")
    sky = book.panel.get_by_label("sky (e⁻/s)")
    sky.fill("0.01")
    sky.press("Enter")
    book.wait_for("panel.state.sky", 0.01)
    book.wait_for("panel.result.recommended > 600", seconds=30)
    assert book.ask("panel.errors.text") == ""

"""Pictures for readers of a saved notebook: every panel has one, and what is worked on goes into it when it is there."""

from __future__ import annotations

import asyncio
import base64
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from calibkit.display.sheet import _PLAIN, Line, draw_sheet, png_bytes
from calibkit.panels import SessionPanel, Workbench
from calibkit.panels.base import Panel
from calibkit.panels.budget import COLOURS
from calibkit.progress import Progress
from calibkit.state import State
from tests.panel_makers import PANELS, make_noise, make_session, make_stack


def pixels(png: bytes) -> np.ndarray:
    """The file as another program reads it, (rows, columns, 3)."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def count_colour(picture: np.ndarray, colour: str) -> int:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((picture == wanted).all(axis=-1).sum())


# ---- the sheet -------------------------------------------------------------------------------------------------


def test_strips_are_as_wide_as_told() -> None:
    sheet = draw_sheet([Line("a", [("#d55e00", 30.0), ("#0072b2", 60.0)]), Line("b", [("#009e73", 45.0)])])
    widths = {colour: count_colour(sheet, colour) for colour in ("#d55e00", "#0072b2", "#009e73")}
    height = widths["#d55e00"] // 30
    assert height > 10
    assert widths == {"#d55e00": 30 * height, "#0072b2": 60 * height, "#009e73": 45 * height}
    first = np.flatnonzero((sheet == (0xD5, 0x5E, 0x00)).all(axis=-1).any(axis=0))
    second = np.flatnonzero((sheet == (0x00, 0x72, 0xB2)).all(axis=-1).any(axis=0))
    assert first[-1] + 1 == second[0]


def test_a_long_line_is_wrapped_and_a_long_strip_ends_at_the_edge() -> None:
    one, many = draw_sheet([Line("word")]), draw_sheet([Line("word " * 100)])
    assert many.shape[0] > 3 * one.shape[0]
    ink = np.flatnonzero((many < 200).all(axis=-1).any(axis=0))
    assert ink[0] >= 8
    assert ink[-1] < many.shape[1] - 8
    wide = draw_sheet([Line("", [("#d55e00", 5000.0)])])
    assert (wide[:, -1] == 255).all()


def test_every_sign_that_is_put_in_place_of_another_can_be_drawn() -> None:
    """The font has no sign for a private character: what looks like that is a box."""
    font = ImageFont.load_default(14)

    def drawn(sign: str) -> bytes:
        image = Image.new("L", (40, 30))
        ImageDraw.Draw(image).text((5, 5), sign, font=font, fill=255)
        return image.tobytes()

    box = drawn("\ue123")
    for sign, plain in _PLAIN.items():
        assert drawn(chr(sign)) == box or not chr(sign).isprintable() or chr(sign).isspace(), chr(sign)
        for each in plain:
            assert each == " " or drawn(each) != box, plain


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 3), (2, 3, 4)])
def test_png(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png_bytes(values)))), values)


# ---- panels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(PANELS))
def test_every_panel_has_a_picture_of_its_own(name: str, tmp_path: Path) -> None:
    panel = PANELS[name][0](tmp_path)
    assert panel.errors.text == ""
    picture = panel.png()
    assert len(np.unique(pixels(picture).reshape(-1, 3), axis=0)) > 1
    assert picture != Panel.png(panel)  # which only says that nothing is there yet
    panel.close()


def test_the_workbench_shows_its_step(tmp_path: Path) -> None:
    make_session(tmp_path)
    bench = Workbench(tmp_path / "night", step="bias", out=str(tmp_path / "out"))
    assert bench.png() == bench.panel.png() != Panel.png(bench)
    bench.close()


def test_noise_by_source_as_strips(tmp_path: Path) -> None:
    panel = make_noise(tmp_path)
    picture, steps = pixels(panel.png()), panel.ledger.steps
    share = {
        name: sum(panel.ledger.variance("L", step)[name] for step in steps) for name in ("readout", "sky")
    }
    key = count_colour(pixels(png_bytes(draw_sheet([Line("", [("#d55e00", 14.0)])]))), "#d55e00")
    drawn = {name: count_colour(picture, COLOURS[name]) - key for name in share}
    assert drawn["readout"] / drawn["sky"] == pytest.approx(share["readout"] / share["sky"], rel=0.03)


def test_a_session_has_a_cell_for_each_frame(tmp_path: Path) -> None:
    panel = make_session(tmp_path)
    before = panel.png()
    picture = pixels(before)
    cell = count_colour(draw_sheet([Line("", [("#0072b2", 7.0)])]), "#0072b2")
    assert count_colour(picture, "#0072b2") == 3 * cell  # biases
    assert count_colour(picture, "#444444") == pytest.approx(
        3 * cell, rel=0.05
    )  # darks, and edges of letters
    assert count_colour(picture, "#d55e00") == 2 * cell  # lights
    panel.start()
    assert pixels(panel.png()).shape[0] > picture.shape[0]  # what was done
    panel.state.repair = False
    assert panel.png() == before  # which is not what is set now


def test_a_stack_shows_the_frames_and_then_itself(tmp_path: Path) -> None:
    panel = make_stack(tmp_path)
    measured = panel.png()
    panel.stack()
    assert panel.png() == panel.view.png() != measured


def test_without_anything_it_says_so() -> None:
    assert SessionPanel().png() == Panel.png(SessionPanel())


# ---- when it is shown ------------------------------------------------------------------------------------------


class Slow(State):
    call = "slow"


class SlowPanel(Panel):
    """Draws a strip once its work is done."""

    def __init__(self) -> None:
        super().__init__(Slow())
        self.found = 0.0
        self.assemble()
        self.again(100.0)

    def again(self, width: float) -> None:
        def work(progress: Progress) -> float:
            time.sleep(0.05)
            return width

        self.run(work, lambda found: setattr(self, "found", found), "drawing")

    def png(self) -> bytes:
        return self.sheet_png([Line("", [("#d55e00", self.found)])]) if self.found else super().png()

    def code_lines(self) -> list[str]:
        return []


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """What is shown in the notebook: the outputs and how they are sent."""
    sent: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def publish(data: dict[str, Any], **how: Any) -> None:
        sent.append((data, how))

    monkeypatch.setattr("IPython.display.publish_display_data", publish)
    return sent


def test_what_is_worked_on_goes_into_the_picture(published: list) -> None:
    async def notebook() -> None:
        panel = SlowPanel()
        panel._ipython_display_()
        assert len(published) == 2  # the widget, and a picture that says that nothing is there yet
        while panel.busy:
            await asyncio.sleep(0.01)
        assert len(published) == 3
        panel.again(200.0)  # a slider that is moved sends no more pictures
        while panel.busy:
            await asyncio.sleep(0.01)
        assert len(published) == 3
        panel._picture_waits_for_work()
        panel.again(300.0)
        while panel.busy:
            await asyncio.sleep(0.01)

    asyncio.run(notebook())
    _, first, second, third = published
    assert [how["update"] for _, how in (first, second, third)] == [False, True, True]
    names = {how["transient"]["display_id"] for _, how in (first, second, third)}
    assert len(names) == 1
    strips = [
        count_colour(pixels(base64.b64decode(data["image/png"])), "#d55e00") for data, _ in published[1:]
    ]
    assert strips[0] == 0
    assert strips[2] == 3 * strips[1] > 0


def test_a_panel_that_is_not_shown_sends_nothing(published: list) -> None:
    async def notebook() -> None:
        panel = SlowPanel()
        panel._picture_waits_for_work()
        panel.again(100.0)
        while panel.busy:
            await asyncio.sleep(0.01)

    asyncio.run(notebook())
    assert published == []

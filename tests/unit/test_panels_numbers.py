"""NumbersPanel, its state and the functions behind it, without a page."""

from __future__ import annotations

import numpy as np
import pytest
import traitlets

from calibkit import deck_pixels
from calibkit.display.numbers import numbers_around, shades, value_counts
from calibkit.errors import SettingError
from calibkit.panels import NumbersPanel
from calibkit.state import NumbersState
from tests.unit.test_panels_figure import Page


@pytest.fixture
def frame() -> np.ndarray:
    return np.arange(200 * 300, dtype=np.int32).reshape(200, 300)


def column(source: object, name: str) -> list:
    return list(source.data[name])


def test_the_deck_is_the_lectures_table() -> None:
    table = deck_pixels()
    # Cells read off the lecture's slide, by hand.
    for (y, x), value in {
        (1, 1): 7453,
        (1, 30): 5654,
        (2, 5): 8224,
        (39, 23): 56797,
        (37, 23): 23901,
        (39, 1): 6682,
    }.items():
        assert int(table.sel(y=y, x=x)) == value
    assert not (table.values % 257).any()


def test_state_refuses_what_cannot_be() -> None:
    state = NumbersState(rows=10)
    assert state.settings() == {"rows": 10}
    for name, value in {"rows": 2, "counting": "by feel", "centre": (1, 2, 3)}.items():
        with pytest.raises(traitlets.TraitError):
            setattr(state, name, value)


@pytest.mark.parametrize(
    ("centre", "first"), [((0, 0), (0, 0)), ((100, 150), (95, 144)), ((199, 299), (189, 288))]
)
def test_numbers_around_a_place(frame: np.ndarray, centre: tuple[int, int], first: tuple[int, int]) -> None:
    table = numbers_around(frame, centre, rows=11, columns=12)
    assert table.shape == (11, 12)
    assert (int(table.y[0]), int(table.x[0])) == first
    for y, x in ((0, 0), (10, 11)):
        assert int(table[y, x]) == int(table.y[y]) * 300 + int(table.x[x])


def test_a_place_outside_is_refused(frame: np.ndarray) -> None:
    with pytest.raises(SettingError, match="from 0 to 199"):
        numbers_around(frame, (200, 10))


def test_value_counts_and_shades() -> None:
    values, counts = value_counts(np.array([3.0, np.nan, 3.0, 1.0]))
    assert values.tolist() == [1.0, 3.0]
    assert counts.tolist() == [1, 2]
    grey = shades(np.array([[1.0, 2.0, np.nan, 50.0]]))
    assert grey[0, 0] <= grey[0, 1] < grey[0, 3]
    assert grey[0, 2] == 0


def test_table_and_picture_hold_every_number() -> None:
    panel = NumbersPanel()
    table = deck_pixels()
    assert column(panel._cells, "text") == [str(v) for v in table.values.ravel()]
    assert column(panel._cells, "x")[:3] == [1, 2, 3]
    assert column(panel._cells, "y")[30] == 2
    image = panel._pixels.data["image"][0]
    np.testing.assert_array_equal(image.ravel(), column(panel._cells, "shade"))
    # Row 1 is on top.
    assert panel._cells_plot.y_range.start > panel._cells_plot.y_range.end
    assert panel.view is None


def test_every_value_shows_the_steps() -> None:
    panel = NumbersPanel(counting="every value")
    steps = np.diff(column(panel._stems, "x"))
    assert steps.min() == 257
    assert not (steps % 257).any()
    assert sum(column(panel._stems, "y")) == 39 * 30
    # Students find it out themselves.
    assert "257" not in panel.note.value
    panel.state.counting = "in bins"
    assert column(panel._stems, "x") == []
    assert len(column(panel._steps, "x")) > 0


def test_a_click_in_the_picture_moves_the_table(frame: np.ndarray) -> None:
    panel = NumbersPanel(frame, rows=9, columns=9)
    Page(panel.figure).open()
    panel.view.pick(50, 60)
    assert panel.state.centre == (50, 60)
    assert column(panel._cells, "text")[4 * 9 + 4] == str(50 * 300 + 60)
    assert panel.result.sel(y=50, x=60) == 50 * 300 + 60
    assert "(50, 60)" in panel.code


def test_a_click_in_the_table_marks_the_pixel(frame: np.ndarray) -> None:
    panel = NumbersPanel(frame, rows=9, columns=9)
    page = Page(panel.figure)
    page.open()
    page.changes(calls=[["point", {"y": 101, "x": 149}]])
    assert panel.errors.text == ""
    assert panel.state.pixel == (101, 149)
    assert panel.view._sources["picked"].data == {"x": [149], "y": [101]}


def test_a_centre_outside_is_shown_as_an_error(frame: np.ndarray) -> None:
    panel = NumbersPanel(frame, rows=9, columns=9)
    panel.state.centre = (500, 2)
    assert "from 0 to 199" in panel.errors.text
    panel.state.centre = (5, 2)
    assert panel.errors.text == ""


def test_static_picture_and_name() -> None:
    panel = NumbersPanel()
    assert panel.png().startswith(b"\x89PNG")
    assert repr(panel) == "NumbersPanel(39 × 30 of 39 × 30 pixels)"
    names: dict = {}
    exec(panel.code, names)  # noqa: S102 (the very thing that is tested)
    assert names["result"].identical(panel.result)

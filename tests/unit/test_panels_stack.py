"""StackPanel without a page: frames measured, chosen, stacked and compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import traitlets

from calibkit.align import find_stars, measure_quality
from calibkit.errors import SettingError
from calibkit.panels import StackPanel
from tests.panel_makers import make_stack


@pytest.fixture
def panel(tmp_path: Path) -> StackPanel:
    return make_stack(tmp_path)


def test_measure_choose_stack_compare(panel: StackPanel) -> None:
    panel._measure.click()
    assert panel.errors.text == ""
    quality = measure_quality(panel._lights, stars=find_stars(panel._lights))
    np.testing.assert_array_equal(panel._points.data["fwhm"], quality["fwhm"])
    assert panel.table.value.count("<tr") == 5
    panel.toggle(2)
    assert panel.used == [True, True, False, True]
    assert panel._points.data["colour"][2] != panel._points.data["colour"][1]
    assert "left out by hand" in panel.table.value
    panel._stack.click()
    assert panel.errors.text == ""
    assert int(panel.result["n_kept"].max()) == 3
    assert panel.view is not None
    shift = np.array(panel._points.data["dx"], float)
    np.testing.assert_allclose(np.diff(shift)[[0]], -0.3, atol=0.1)
    assert np.isnan(shift[2])
    assert "Frame 0 beside the stack of 3" in panel.note.value
    panel.state.frame = 2
    assert "not in the stack" in panel.note.value
    panel.state.frame = 3
    assert panel._frame.value == 3
    assert "Frame 3 beside" in panel.note.value
    panel.state.mode = "difference"
    assert panel.png().startswith(b"\x89PNG")
    panel.toggle(2)
    assert panel.used == [True] * 4
    panel.close()


def test_the_same_settings_are_stacked_once(panel: StackPanel) -> None:
    first = panel.result
    panel.state.frame = 1
    assert panel.result is first
    panel.state.method = "median"
    assert panel.result is not first


def test_refusals(panel: StackPanel) -> None:
    lights = panel._input
    with pytest.raises(SettingError, match="two frames or more"):
        StackPanel(lights.isel(frame=0))
    with pytest.raises(SettingError, match="frames 0 to 3"):
        StackPanel(lights, left_out=(7,), **panel._masters)
    with pytest.raises(traitlets.TraitError, match="numbers of frames"):
        panel.state.left_out = (-1,)

"""ChannelsPanel without a page: pictures, worth, keeping and dropping, the order of work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from calibkit import calibrate, channel_worth
from calibkit.display.view import FrameView
from calibkit.errors import SettingError
from calibkit.panels import ChannelsPanel
from tests.panel_makers import make_channels
from tests.unit.test_panels_figure import Page


@pytest.fixture
def panel(tmp_path: Path) -> ChannelsPanel:
    return make_channels(tmp_path)


def test_four_pictures_of_four_channels(panel: ChannelsPanel) -> None:
    Page(panel.figure).open()
    assert list(panel._pixels) == ["R", "G1", "G2", "B"]
    done = calibrate(panel._light, **panel._masters)
    for name, pixels in panel._pixels.items():
        shown = pixels.data["image"][0]
        assert shown.shape == (12, 16)
        grey = (shown & 0xFF).astype(float)
        own = FrameView(done).view(channel=name).values[0]
        assert np.corrcoef(grey.ravel(), own.ravel())[0, 1] > 0.9
    panel.state.region = (4.0, 12.0, 4.0, 12.0)
    assert panel._pixels["R"].data["image"][0].shape[0] < 12
    assert panel.errors.text == ""


def test_worth_and_what_is_kept(panel: ChannelsPanel) -> None:
    worth = channel_worth(panel._masters["flat"], light=calibrate(panel._light, **panel._masters))
    np.testing.assert_allclose(panel._worth.data["worth"], 100 * worth["worth"].values)
    assert panel.kept == ("R",)
    assert panel._plots["G1"].title.text.startswith("G1, dropped")
    assert [box.value for box in panel._ticks.values()] == [True, False, False, False]
    panel._line.value = "OIII"
    assert panel.state.line == "OIII"
    assert panel.kept == ("G1", "G2", "B")
    assert panel._plots["G1"].title.text.startswith("G1, kept")
    panel._ticks["B"].value = False
    assert panel.state.line == "G1+G2"
    assert panel._line.value == "channels ticked"
    held = float(worth["worth"].sel(channel=["G1", "G2"]).sum())
    assert f"{100 * held**0.5:.3g} % of the signal-to-noise" in panel.note.value
    for name in ("G1", "G2"):
        panel._ticks[name].value = False
    assert "one channel at least" in panel.errors.text
    assert panel.kept == ("G2",)
    panel.state.line = "R"
    assert panel.result["signal"].shape == (12, 16)


def test_a_line_that_cannot_be(panel: ChannelsPanel) -> None:
    panel.state.line = "X+Y"
    assert "line 'X+Y'" in panel.errors.text
    assert panel.state.line == "Ha"


def test_the_order_of_work(panel: ChannelsPanel) -> None:
    panel._compare.click()
    assert panel.errors.text == ""
    view = panel.early.children[0]
    assert view.names == ("too early", "grid kept")
    assert "wrong by more than 10 σ" in panel.early_note.value
    panel.state.colour = "B"
    assert panel.early.children[0] is not view
    panel.close()


def test_without_masters(panel: ChannelsPanel) -> None:
    done = calibrate(panel._light, **panel._masters).compute()
    bare = ChannelsPanel(done)
    assert bare._compare.disabled
    assert "pass flat=" in bare.note.value
    assert bare.result["signal"].shape == (12, 16)
    bare.state.line = "OIII"
    with pytest.raises(SettingError, match="worth"):
        _ = bare.result


def test_refusals(panel: ChannelsPanel) -> None:
    with pytest.raises(SettingError, match="no colour filters"):
        ChannelsPanel(xr.DataArray(np.zeros((8, 8)), dims=("y", "x")))
    with pytest.raises(SettingError, match="line 'Q'"):
        ChannelsPanel(panel._light, line="Q", **panel._masters)
    with pytest.raises(TypeError, match="no setting 'lines'"):
        ChannelsPanel(panel._light, lines="Ha")

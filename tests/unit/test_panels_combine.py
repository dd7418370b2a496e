"""CombinePanel without a page: what it tries is what `combine` does, and what cannot work is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from traitlets import TraitError

from calibkit import combine
from calibkit.errors import SettingError
from calibkit.panels import CombinePanel
from calibkit.panels import combine as module
from calibkit.state import CombineState

COUNT = 12


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    rng = np.random.default_rng(7)
    data = rng.normal(500, 8, (COUNT, 120, 160)).round().astype(np.uint16)
    data[3, 40, 50] = 9000
    coords = {"y": np.arange(100, 220), "x": np.arange(40, 200), "kind": ("frame", ["dark"] * COUNT)}
    return xr.DataArray(data, coords, ("frame", "y", "x"), attrs={"cfa": "RGGB", "units": "adu"})


@pytest.fixture
def panel(stack: xr.DataArray) -> CombinePanel:
    return CombinePanel(stack, reject="winsorized", method="mean")


def test_settings_are_checked(stack: xr.DataArray) -> None:
    assert CombineState(reject="sigma", low=2.5, shown="noise").options() == {"reject": "sigma", "low": 2.5}
    with pytest.raises(TraitError):
        CombineState(reject="sgima")
    with pytest.raises(TypeError, match="no setting 'sigma'"):
        CombinePanel(stack, sigma=3)
    with pytest.raises(SettingError, match="frames=50: this stack has 12"):
        CombinePanel(stack, frames=50)
    with pytest.raises(SettingError, match="two frames or more"):
        CombinePanel(stack[:1])


def test_small_frames_are_tried_whole(panel: CombinePanel, stack: xr.DataArray) -> None:
    whole = combine(stack, reject="winsorized")
    assert np.array_equal(panel.view.frames[0].image.values, whole.signal.values)
    panel.state.shown = "rejected high"
    assert panel.view.frames[0].units == "samples"
    assert np.array_equal(panel.view.frames[0].image.values, whole.rejected_high.values)
    assert panel.errors.text == ""


def test_a_pixel_is_shown_before_one_is_clicked(panel: CombinePanel, stack: xr.DataArray) -> None:
    title = panel._pixel_plot.title.text
    assert title.startswith("Click a pixel. For example x 90, y 140\n")  # where the stray value is
    assert "1 of 12 rejected" in title
    drawn = {name: each.data["value"] for name, each in panel._values.items()}
    values = np.concatenate([np.asarray(v)[np.isfinite(v)] for v in drawn.values()])
    assert values.size == COUNT
    assert panel.state.pixel is None  # it is no setting of anybody's
    panel.view.pick(150, 95)
    assert panel._pixel_plot.title.text.startswith("Pixel x 95, y 150\n")


def test_limits_say_what_they_count(stack: xr.DataArray) -> None:
    panel = CombinePanel(stack)
    for reject, low, high in (
        ("winsorized", "low (σ)", "high (σ)"),
        ("percentile", "low (part of the median)", "high (part of the median)"),
        ("gesd", "outliers at most (part)", "significance"),
        ("minmax", "lowest left out", "highest left out"),
    ):
        panel.state.reject = reject
        assert (panel._low.description, panel._high.description) == (low, high)


def test_a_sample_is_that_of_the_result(stack: xr.DataArray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIXELS", 2000)
    panel = CombinePanel(stack, reject="sigma", normalise="additive_scaling")
    shown = panel.view.frames[0].image
    assert 500 < shown.size <= 2000
    whole = combine(stack, reject="sigma", normalise="additive_scaling").signal
    assert np.array_equal(shown.values, whole.sel(y=shown.y, x=shown.x).values)
    panel.state.region = (60.0, 80.0, 120.0, 140.0)  # few enough to be taken whole
    near = panel.view.frames[0].image
    assert near.x.values.tolist() == list(range(60, 81))
    assert np.array_equal(near.values, whole.sel(y=near.y, x=near.x).values)
    panel.state.region = None
    assert panel.view.frames[0].image.identical(shown)


def test_sliders_move_settings(panel: CombinePanel) -> None:
    assert (panel._low.value, panel._high.value) == (3, 3)
    panel._low.value = 2.0
    assert (panel.state.low, panel.state.high, panel._high.value) == (2, 2, 2)
    panel._both.value = False
    panel._high.value = 4.0
    assert (panel.state.low, panel.state.high) == (2, 4)
    panel._frame_count.value = 6
    assert panel.state.frames == 6
    panel.state.reject = "minmax"
    assert (panel.state.low, panel._low.value, panel._low.step) == (None, 1, 1)
    panel.state.reject = "none"
    assert panel._low.disabled
    assert panel.errors.text == ""


def test_one_move_is_one_combination(panel: CombinePanel, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(module, "combine", lambda *a, **k: calls.append(k) or combine(*a, **k))
    panel._low.value = 2.0
    assert len(calls) == 1


def test_what_cannot_reject_is_said(panel: CombinePanel) -> None:
    assert not panel.note.warning
    assert "of good samples it loses" in panel.note.text
    panel.state.frames = 8
    panel.state.reject = "mean_sigma"
    assert panel.note.warning
    assert "never beyond 2.47" in panel.note.text
    assert "11 frames" in panel.note.text
    panel.state.frames = None
    assert not panel.note.warning


def test_a_click_shows_all_values_of_the_pixel(panel: CombinePanel, stack: xr.DataArray) -> None:
    panel.view.pick(140, 90)
    assert panel._values["high"].data["frame"].tolist() == [3]
    assert panel._values["high"].data["value"].tolist() == [9000]
    assert panel._values["kept"].data["frame"].size == COUNT - 1
    assert "1 of 12 rejected" in panel._pixel_plot.title.text
    panel.state.reject = "none"
    assert panel._values["kept"].data["frame"].size == COUNT
    assert panel.errors.text == ""


def test_noise_and_fractions(panel: CombinePanel) -> None:
    assert panel._noise["measured"].data["n"].tolist() == [2, 4, 8, 12]
    assert np.allclose(panel._noise["measured"].data["sigma"][-1], 8 / np.sqrt(12), rtol=0.1)
    assert panel._rejected.data["percent"].size == COUNT
    panel.state.method = "maximum"
    assert len(panel._noise["measured"].data["n"]) == 0


def test_the_whole_frames(stack: xr.DataArray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIXELS", 2000)
    panel = CombinePanel(stack, reject="sigma")
    panel.combine_whole()
    assert panel.view.frames[0].image.shape == (120, 160)
    assert "of the whole frames" in panel.note.text
    assert panel.result.identical(combine(stack, reject="sigma"))
    panel.state.method = "median"
    assert panel.view.frames[0].image.size <= 2000
    assert panel.result.identical(combine(stack, reject="sigma", method="median"))


def test_code_makes_the_same_bytes(tmp_path: Path, stack: xr.DataArray) -> None:
    from astropy.io import fits

    from calibkit import open_stack

    for i, frame in enumerate(stack.values):
        fits.PrimaryHDU(frame).writeto(tmp_path / f"{i:02}.fits")
    panel = CombinePanel(open_stack(tmp_path / "*.fits"), frames=7, reject="mad", low=2.0, shown="kept")
    space: dict = {}
    exec(panel.code, space)  # noqa: S102 - the panel's own text
    assert space["result"].signal.values.tobytes() == panel.result.signal.values.tobytes()
    assert "shown='kept'" in panel.code
    assert repr(panel) == "CombinePanel(7 frames of 120 × 160, mean)"
    assert panel.png().startswith(b"\x89PNG")
    panel.close()


@pytest.mark.parametrize("frames", [2, 3, 4, 5, 6, 8, 10, 12])
def test_auto_with_limits_and_any_number_of_frames_is_tried(stack: xr.DataArray, frames: int) -> None:
    """The panel also combines halves of the frames, for the noise over their number."""
    panel = CombinePanel(stack, low=2.0, frames=frames)
    assert panel.errors.text == ""
    assert panel._low.disabled  # auto has no slider, and a limit of another method means nothing to it
    reject = panel.result.attrs["provenance"][-1]["reject"]
    assert reject in ("none", "mad", "winsorized")
    assert ("not used" in panel.note.text) == (reject == "none")

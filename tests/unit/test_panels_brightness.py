"""BrightnessPanel without a page: what is said of a black point, what is shown below it, the picture, the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import traitlets
import xarray as xr

from calibkit import stretch_picture
from calibkit.brightness import hyperbolic_curve
from calibkit.brightness.faint import faint_structure
from calibkit.errors import SettingError
from calibkit.panels import BrightnessPanel
from calibkit.state import BrightnessState
from tests.unit.test_brightness import colour
from tests.unit.test_panels_figure import Page


@pytest.fixture(scope="module")
def sky() -> xr.DataArray:
    rng = np.random.default_rng(1)
    values = rng.normal(500.0, 10.0, (240, 320))
    y, x = np.mgrid[:240, :320]
    values += 5.0 * np.exp(-((x - 160) ** 2 + (y - 120) ** 2) / 2 / 40**2)  # half the noise of a pixel
    values[10:20, 10:20] += 9000.0
    return xr.DataArray(
        values.astype(np.float32), dims=("y", "x"), attrs={"units": "adu", "roworder": "TOP-DOWN"}
    )


def test_what_black_cuts_off_is_said(sky: xr.DataArray) -> None:
    panel = BrightnessPanel(sky)
    assert "Nothing of it is lost" in panel.verdict.value
    assert "#009e73" in panel.verdict.value
    panel.state.levels = (503.0, 9000.0, 0.1)
    share = np.mean(sky.values[sky.values < 531] < 503.0)
    assert f"cuts off {100 * share:.0f} % of its pixels: the picture is refused" in panel.verdict.value
    assert "cannot turn black" in panel.verdict.value
    assert "#d55e00" in panel.verdict.value
    with pytest.raises(SettingError, match="cannot turn black"):
        _ = panel.result
    panel.state.allow_clipping = True
    assert "made all the same" in panel.verdict.value
    assert float(panel.result.min()) == 0.0
    assert panel.errors.text == ""


def test_the_background_in_blocks(sky: xr.DataArray) -> None:
    panel = BrightnessPanel(sky)
    whole, cut = (pixels.data["image"][0] for pixels in panel._pixels)
    assert whole.shape == (30, 40)
    assert whole[15, 20] - whole[2, 35] == pytest.approx(5.0, abs=3.5)
    np.testing.assert_allclose(whole[5:], cut[5:], atol=0.3)
    assert np.isnan(whole[1, 1])  # a source
    panel.state.levels = (520.0, 9000.0, 0.1)
    cut = panel._pixels[1].data["image"][0]
    assert np.nanmax(cut) - np.nanmin(cut) < 0.2 * (np.nanmax(whole) - np.nanmin(whole))
    assert "8 × 8" in panel.below.value
    panel.state.block = 16
    assert "16 × 16" in panel.below.value
    assert panel._pixels[0].data["image"][0].shape == (15, 20)
    panel.state.region = (100.0, 220.0, 60.0, 180.0)
    assert panel._plots[0].x_range.start >= 99
    assert panel.errors.text == ""


def test_the_page_gets_the_automatic_stretch_of_the_result(sky: xr.DataArray) -> None:
    panel = BrightnessPanel(sky, brightness=0.5)
    facts = Page(panel.view).open()["facts"]
    made = panel.result.attrs["scaling"]["L"]
    assert facts["layers"][0]["auto"]["mtf"] == pytest.approx([made["black"], made["white"], made["midtone"]])
    assert facts["curves"] == ["linear", "asinh", "mtf", "ghs"]
    panel.state.curve = "ghs"
    panel.state.intensity = 2.0
    made = panel.result.attrs["scaling"]["L"]
    table = panel.view._facts["curve_table"]
    x = (np.arange(len(table)) / (len(table) - 1)) ** 2
    shape = {name: made[name] for name in ("intensity", "symmetry", "protect")}
    np.testing.assert_allclose(table, hyperbolic_curve(x, made["factor"], **shape), atol=1e-12)


def test_a_picture_in_colour() -> None:
    image = colour()
    panel = BrightnessPanel(image, plane="G")
    assert panel.result.dims == ("channel", "y", "x")
    assert "lies at 499" in panel.verdict.value or "lies at 500" in panel.verdict.value
    panel.state.plane = "B"
    assert panel.errors.text == ""
    assert "lies at 200" in panel.verdict.value or "lies at 199" in panel.verdict.value
    panel.state.linked = False
    xr.testing.assert_identical(panel.result, stretch_picture(image, linked=False))
    panel.state.levels = (100.0, 900.0, 0.2)
    assert "levels of their own" in panel.verdict.value
    with pytest.raises(SettingError, match="has R, G, B"):
        BrightnessPanel(image, plane="L")


def test_saving(sky: xr.DataArray, tmp_path: Path) -> None:
    panel = BrightnessPanel(sky)
    panel._path.value = str(tmp_path / "a.tif")
    panel._save.click()
    assert "saved" in panel._saved.value
    steps = np.rint(panel.result.values.astype(np.float64) * 65535)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), steps)
    panel._save.click()
    assert "exists already" in panel.errors.text
    assert panel.png().startswith(b"\x89PNG")
    panel.close()


def test_state() -> None:
    state = BrightnessState(levels=(1.0, 5.0, 0.2))
    assert state.options() == {"curve": "mtf", "black": 1.0, "white": 5.0, "midtone": 0.2}
    state.curve = "ghs"
    assert state.options() == {"curve": "ghs", "black": 1.0, "white": 5.0}
    state.linked, state.intensity = False, 3.0
    assert state.options() == {"curve": "ghs", "linked": False, "intensity": 3.0}
    with pytest.raises(traitlets.TraitError):
        state.brightness = 1.0


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.zeros((2, 20, 20)), {}, "dims"),
        (np.ones((9, 9)), {}, "fewer than 2 × 2 blocks"),
        (np.ones((90, 90)), {"block": 1}, "block=1"),
        (np.full((90, 90), np.nan), {}, "no background"),
    ],
)
def test_frames_without_blocks(image: np.ndarray, options: dict, message: str) -> None:
    dims = ("y", "x") if image.ndim == 2 else ("frame", "y", "x")
    with pytest.raises(SettingError, match=message):
        faint_structure(xr.DataArray(image, dims=dims), 0.0, **options)


def test_blocks_hold_whole_cells() -> None:
    mosaic = np.tile([[100.0, 300.0], [300.0, 50.0]], (40, 40)).astype(np.float32)
    frame = xr.DataArray(mosaic, dims=("y", "x"), attrs={"cfa": "RGGB"})
    found = faint_structure(frame, 0.0, block=7)
    assert found.block == 8
    assert found.spread == 0.0

"""HotPixelsPanel without a page: its numbers are those of `find_defects`, its edits and files those of the map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from traitlets import TraitError

from calibkit import DefectMap, find_defects
from calibkit.defects.outstanding import outstanding_pixels
from calibkit.errors import SettingError
from calibkit.panels import HotPixelsPanel
from calibkit.state import HotPixelsState


@pytest.fixture(scope="module")
def dark() -> xr.Dataset:
    rng = np.random.default_rng(5)
    pixels = rng.normal(100, 5, (120, 160)).astype(np.float32)
    pixels.ravel()[rng.integers(0, pixels.size, 90)] += rng.exponential(80, 90).astype(np.float32)
    pixels.ravel()[rng.integers(0, pixels.size, 12)] -= 60
    pixels[30, 40] = 900.0
    coords = {"y": np.arange(120) + 10, "x": np.arange(160) + 20}
    attrs = {"units": "adu", "cfa": "RGGB", "bias_subtracted": True, "exposure": 60.0, "gain": 1.5}
    return xr.Dataset({"signal": (("y", "x"), pixels)}, coords=coords, attrs=attrs)


@pytest.fixture
def panel(dark: xr.Dataset) -> HotPixelsPanel:
    return HotPixelsPanel(dark)


@pytest.mark.parametrize("sigma", [3.0, 4.2, 8.0, 30.0])
def test_the_list_gives_what_the_search_finds(dark: xr.Dataset, sigma: float) -> None:
    listed = outstanding_pixels(dark)
    found = find_defects(dark=dark, sigma=sigma, cold_sigma=sigma)
    for name, counts in found.counts().items():
        assert listed.counts(sigma, sigma)[name] == {"hot": 0, "cold": 0} | counts
    assert len(listed.points(sigma, sigma)) == int(found.mask.sum())
    assert listed.curve(np.array([sigma])).sum() == sum(
        each.get("hot", 0) for each in found.counts().values()
    )
    with pytest.raises(SettingError, match="from 3 on"):
        listed.points(2.0, 5.0)


def test_state() -> None:
    state = HotPixelsState(added=[(3, 4), [3, 4]], sigma=8)
    assert state.added == [(3, 4)]
    assert state.options() == {"sigma": 8.0}
    for wrong in ({"sigma": 1}, {"rate": -1}, {"added": [(1, 2, 3)]}):
        with pytest.raises(TraitError):
            HotPixelsState(**wrong)


def test_moving_the_threshold(panel: HotPixelsPanel, dark: xr.Dataset) -> None:
    for sigma in (5.0, 12.0):
        panel.state.sigma = sigma
        hot = sum(each.get("hot", 0) for each in find_defects(dark=dark, sigma=sigma).counts().values())
        assert panel.note.text.startswith(f"{hot} hot pixels")
        assert panel._marks.data["x"].size == int(find_defects(dark=dark, sigma=sigma).mask.sum())
        assert panel._sigma_line.location == sigma
    panel.state.region = (55.0, 65.0, 35.0, 45.0)
    assert (60, 40) in set(zip(panel._marks.data["x"], panel._marks.data["y"], strict=True))
    assert panel._marks.data["x"].size < 10
    panel.state.sigma = 3.0
    assert panel.note.warning
    assert panel.errors.text == ""


def test_clicks_edit_the_map(panel: HotPixelsPanel) -> None:
    panel.view.pick(40, 60)  # shows the value, and nothing more
    assert panel.state.removed == []
    panel._edit.value = True
    panel.view.pick(40, 60)
    assert panel.state.removed == [(60, 40)]
    assert not panel.result.mask[30, 40]
    panel.view.pick(40, 60)
    assert panel.state.removed == []
    panel.view.pick(50, 70)
    assert panel.state.added == [(70, 50)]
    assert panel.result.mask[40, 50]
    assert (70, 50) in set(zip(panel._marks.data["x"], panel._marks.data["y"], strict=True))


def test_repair(panel: HotPixelsPanel) -> None:
    panel.repair_whole()
    assert panel.errors.text == ""
    assert panel.state.mode == "split"
    repaired = panel.view.frames[1].image.values
    assert 80 < repaired[30, 40] < 120
    good = ~panel.result.mask
    assert np.array_equal(repaired[good], panel.view.frames[0].image.values[good])


def test_files(panel: HotPixelsPanel, tmp_path: Path, dark: xr.Dataset) -> None:
    panel.save("mask")
    assert "name a file" in panel.errors.text
    panel._path.value = str(tmp_path / "map")
    panel.save("mask")
    assert np.array_equal(DefectMap.load(tmp_path / "map.fits").flags, panel.result.flags)
    panel.save("siril")
    read = DefectMap.read_list(tmp_path / "map.lst", dark)
    assert np.array_equal(read.mask, panel.result.mask)
    panel.save("iris")  # the file is there
    assert "exists already" in panel.errors.text


def test_rate(panel: HotPixelsPanel, dark: xr.Dataset) -> None:
    panel._rate.value = "5"
    assert panel.state.rate == 5
    assert np.array_equal(panel.result.mask, find_defects(dark=dark, rate=5.0).mask)
    panel._rate.value = "many"
    assert "a number of electrons" in panel.errors.text
    bare = HotPixelsPanel(dark.assign_attrs(gain=np.nan))
    bare.state.rate = 5.0
    assert "needs the gain" in bare.errors.text


def test_code(panel: HotPixelsPanel, dark: xr.Dataset) -> None:
    panel.state.sigma, panel.state.added, panel.state.removed = 7.0, [(70, 50)], [(60, 40)]
    space = {"dark": dark}
    exec(panel.code, space)  # noqa: S102 - the panel's own text
    assert space["result"].flags.identical(panel.result.flags)
    assert repr(panel) == "HotPixelsPanel(120 × 160, from 7 σ)"

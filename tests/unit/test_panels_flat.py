"""FlatPanel, its state and what it draws from, without a page."""

from __future__ import annotations

import numpy as np
import pytest
import traitlets
import xarray as xr

from calibkit import Camera, Optics, master_dark, master_flat, simulate_stack
from calibkit.errors import SettingError
from calibkit.flat.integers import round_flat
from calibkit.flat.steps import STEPS, prepare_flat, response_histograms
from calibkit.panels import FlatPanel
from calibkit.simulate import Lamp
from calibkit.state import FlatState

CAMERA = Camera(shape=(96, 128), pattern="RGGB", gain=1.5, offset=200.0, sensitivity_spread=0.01)
OPTICS = Optics(vignetting=0.3)


def frames(camera: Camera = CAMERA, rate: float = 40_000.0) -> tuple[xr.DataArray, xr.DataArray]:
    flats = simulate_stack(camera, 4, kind="flat", exposure=1.0, optics=OPTICS, lamp=Lamp(rate))
    return flats, simulate_stack(camera, 4, kind="flat dark", exposure=1.0, frame_index=4)


@pytest.fixture(scope="module")
def stacks() -> tuple[xr.DataArray, xr.DataArray]:
    return frames()


@pytest.fixture(scope="module")
def panel(stacks: tuple[xr.DataArray, xr.DataArray]) -> FlatPanel:
    return FlatPanel(*stacks)


def test_state_refuses() -> None:
    for name, value in {"step": "seventh", "method": "sum", "whole_numbers": 7}.items():
        with pytest.raises(traitlets.TraitError):
            FlatState(**{name: value})


def test_steps_are_what_they_say(stacks: tuple[xr.DataArray, xr.DataArray]) -> None:
    flats, darks = stacks
    done = prepare_flat(flats, darks)
    values = {step: getattr(p := done.picture(step), "signal", p) for step in STEPS}
    np.testing.assert_array_equal(values["one flat"], flats[0])
    np.testing.assert_array_equal(values["one flat dark"], darks[0])
    np.testing.assert_allclose(values["flats combined"], flats.values.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(values["flat darks combined"], np.median(darks.values, axis=0), rtol=1e-6)
    np.testing.assert_allclose(
        values["difference"], flats.values.mean(axis=0) - np.median(darks.values, axis=0), rtol=1e-5
    )
    expected = master_flat(flats, dark=master_dark(darks, method="median", hot_sigma=None))
    np.testing.assert_array_equal(values["flat"], expected.signal)


def test_spread_is_that_of_each_channel(stacks: tuple[xr.DataArray, xr.DataArray]) -> None:
    done = prepare_flat(*stacks)
    assert list(done.spread) == ["R", "G1", "G2", "B"]
    red = done.flat.signal.values[::2, ::2]
    assert done.spread["R"] == pytest.approx(tuple(np.percentile(red, (0.1, 99.9))))
    histograms = response_histograms(done.flat)
    parts = sum(histograms[name][0] for name in done.spread)
    np.testing.assert_array_equal(parts, histograms[""][0])
    assert parts.sum() > 0.99 * red.size * 4


def test_bins_are_wider_than_the_steps_of_a_weak_flat() -> None:
    # Ten frames of whole ADU around 150: means lie on steps of 0.1 ADU, which finer bins would show as a comb.
    frames = np.random.default_rng(3).poisson(150.0 * np.linspace(0.8, 1.2, 400), (10, 300, 400)).mean(axis=0)
    flat = xr.Dataset({"signal": (("y", "x"), frames / frames.mean())}, attrs={"cfa": ""})
    counts, edges = response_histograms(flat)["L"]
    assert edges[1] - edges[0] > 3 * 0.1 / 150.0
    middle = counts[counts > counts.max() / 2].astype(float)
    smooth = (middle[:-2] + middle[2:]) / 2
    assert np.abs(middle[1:-1] / smooth - 1).max() < 0.4
    # A strong flat keeps its 300 bins from 0.94 to 1.06.
    strong = flat.assign(signal=1.0 + 0.05 * (flat.signal - 1.0))
    _, edges = response_histograms(strong)["L"]
    assert edges[1] - edges[0] == pytest.approx(0.0004)


@pytest.mark.parametrize(("scale", "corrected"), [(1, 0.0), (10, None), (1000, 1.0)])
def test_whole_numbers_lose_what_lies_between(stacks: tuple, scale: int, corrected: float | None) -> None:
    flat = prepare_flat(*stacks).flat
    found = round_flat(flat, scale)
    np.testing.assert_allclose(found.flat.values * scale, np.rint(found.flat.values * scale), atol=1e-3)
    assert np.abs(found.flat.values - flat.signal.values).max() <= 0.5 / scale + 1e-6
    assert found.counts.sum() == flat.signal.size
    # Rounding to steps of 1/scale errs by 1/scale/√12 where the steps are fine against the structure.
    if scale == 1000:
        assert found.error == pytest.approx(1e-3 / np.sqrt(12), rel=0.05)
    if corrected is not None:
        assert found.corrected == pytest.approx(corrected, abs=0.01)
    with pytest.raises(SettingError):
        round_flat(flat, 0)


def test_every_step_is_shown(panel: FlatPanel, stacks: tuple[xr.DataArray, xr.DataArray]) -> None:
    said = set()
    panel.state.step = STEPS[0]
    for step in STEPS:
        assert panel.state.step == step
        picture = panel.steps.picture(step)
        values = picture["signal"] if isinstance(picture, xr.Dataset) else picture
        assert panel.view.frames[0].pixel(10, 12)["value"] == values.values[10, 12]
        said.add(panel._note.text)
        panel._step(1)
    assert len(said) == len(STEPS)
    assert panel.state.step == STEPS[-1]
    assert panel.errors.text == ""


def test_whole_numbers_are_drawn_and_warned_of(panel: FlatPanel) -> None:
    panel.state.whole_numbers = 1
    assert panel._rounding_note.warning
    assert list(panel._integers.data["x"]) == [1.0]
    panel.state.whole_numbers = 1000
    assert not panel._rounding_note.warning
    assert len(panel._integers.data["x"]) > 100


def test_saturation_and_weak_light_are_said(panel: FlatPanel) -> None:
    assert not panel._warning.warning
    weak = FlatPanel(*frames(rate=300.0))
    assert weak._warning.warning
    assert "weakly exposed" in weak._warning.text
    small = Camera(shape=(64, 64), full_well=40_000.0)
    near = FlatPanel(*frames(small, rate=62_000.0))
    assert near._warning.warning
    assert "satura" in near._warning.text
    full = FlatPanel(*frames(small, rate=75_000.0))
    assert "saturated" in full.errors.text


def test_without_flat_darks(stacks: tuple[xr.DataArray, xr.DataArray]) -> None:
    panel = FlatPanel(stacks[0])
    assert "offset stays" in panel._warning.text
    panel.state.step = "subtract"
    assert "no flat darks" in panel.errors.text
    assert panel.state.step == "flat"
    panel._step(-1)
    assert panel.state.step == "difference"
    panel._step(-1)
    assert panel.state.step == "flats combined"
    with pytest.raises(SettingError, match="no flat darks"):
        FlatPanel(stacks[0], step="one flat dark")


def test_what_cannot_be_is_refused(stacks: tuple[xr.DataArray, xr.DataArray]) -> None:
    with pytest.raises(SettingError, match="flats"):
        FlatPanel(stacks[0].isel(frame=0))

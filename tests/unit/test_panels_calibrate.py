"""CalibratePanel without a page: every step's numbers, refusals in words, the ledger's bars, the code."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from calibkit import (
    Camera,
    Lamp,
    Optics,
    Sky,
    calibrate,
    master_bias,
    master_dark,
    master_flat,
    simulate_stack,
)
from calibkit.calibration.steps import calibration_steps
from calibkit.errors import MismatchError, SettingError
from calibkit.ledger.book import SOURCES
from calibkit.panels import CalibratePanel

CAMERA = Camera(
    shape=(128, 160), offset=300.0, gain=1.5, read_noise=6.0, dark_current=0.5, hot_fraction=0.002
)


@pytest.fixture(scope="module")
def frames() -> dict[str, xr.DataArray | xr.Dataset]:
    optics = Optics(vignetting=0.3)
    biases = simulate_stack(CAMERA, 8, kind="bias")
    darks = simulate_stack(CAMERA, 8, kind="dark", exposure=60.0, frame_index=20)
    flats = simulate_stack(
        CAMERA, 8, kind="flat", exposure=1.0, frame_index=40, lamp=Lamp(rate=20_000.0), optics=optics
    )
    lights = simulate_stack(CAMERA, 3, exposure=60.0, frame_index=60, sky=Sky(background=20.0), optics=optics)
    bias = master_bias(biases)
    return {
        "lights": lights,
        "bias": bias,
        "dark": master_dark(darks),
        "reduced dark": master_dark(darks, bias=bias),
        "flat": master_flat(flats, bias=bias),
    }


@pytest.fixture
def panel(frames: dict) -> CalibratePanel:
    return CalibratePanel(
        frames["lights"], bias=frames["bias"], dark=frames["reduced dark"], flat=frames["flat"]
    )


def test_each_step_does_its_own(panel: CalibratePanel, frames: dict) -> None:
    assert [step.name for step in panel.steps] == ["raw", "bias", "dark", "flat", "repair"]
    mean = {step.name: step.mean for step in panel.steps}
    assert mean["raw"] - mean["bias"] == pytest.approx(300.0, abs=1.0)
    # 0.5 e⁻/s for 60 s at 1.5 e⁻/ADU, and the hot pixels.
    assert mean["bias"] - mean["dark"] == pytest.approx(float(frames["reduced dark"].signal.mean()), abs=0.2)
    assert panel.steps[-1].mean == pytest.approx(mean["flat"], rel=0.01)
    raw = frames["lights"][0].values
    assert panel.steps[0].mean == pytest.approx(raw.mean())
    assert panel.steps[0].median == np.median(raw)
    assert panel.errors.text == ""
    assert "Raw, the picture shows" in panel.note.text
    assert panel.table.value.count("<tr>") == 6


def test_the_last_step_is_the_calibration(panel: CalibratePanel, frames: dict) -> None:
    expected = calibrate(
        frames["lights"][0], bias=frames["bias"], dark=frames["reduced dark"], flat=frames["flat"]
    )
    assert np.array_equal(panel.steps[-1].frame.signal, expected.signal)
    assert np.array_equal(panel.view.frames[1].image.values, expected.signal.values)
    assert np.array_equal(panel.result.signal[0], expected.signal)


def test_switches(panel: CalibratePanel, frames: dict) -> None:
    panel.state.divide_flat = False
    panel.state.repair = False
    assert [step.name for step in panel.steps] == ["raw", "bias", "dark"]
    alone = calibrate(frames["lights"][0], bias=frames["bias"], dark=frames["reduced dark"], repair=False)
    assert np.array_equal(panel.view.frames[1].image.values, alone.signal.values)
    assert "÷ flat" not in panel.table.value
    assert repr(panel) == "CalibratePanel(128 × 160, bias, dark)"


def test_ledger_bars(panel: CalibratePanel) -> None:
    bars = panel.budget._bars.data
    assert bars["step"] == ["raw", "− bias", "− dark", "÷ flat", "combined"]
    total = np.sum([bars[name] for name in SOURCES], axis=0)
    measured = panel.budget._points.data["measured"]
    assert np.allclose(total, measured, rtol=0.15)


def test_what_cannot_go_together_is_explained(frames: dict) -> None:
    panel = CalibratePanel(frames["lights"], bias=frames["bias"], dark=frames["dark"])
    assert panel.state.subtract_bias is False  # it goes with the dark
    assert [step.name for step in panel.steps] == ["raw", "dark", "repair"]
    panel.state.subtract_bias = True
    assert panel.note.warning
    assert "bias subtracted twice" in panel.note.text
    assert np.array_equal(panel.view.frames[1].image.values, frames["lights"][0].values)
    assert panel.steps == []
    with pytest.raises(MismatchError):
        panel.compute()
    panel.state.subtract_bias = False
    assert not panel.note.warning
    with pytest.raises(MismatchError, match="twice"):
        calibration_steps(frames["lights"][0], bias=frames["bias"], dark=frames["dark"])
    with pytest.raises(SettingError, match="takes raw frames"):
        CalibratePanel(frames["bias"])


def test_what_is_only_warned_of(frames: dict) -> None:
    panel = CalibratePanel(frames["lights"][0], flat=frames["flat"])
    assert panel.note.warning
    assert "divided by the flat as if it were light" in panel.note.text


@pytest.mark.parametrize("repair", [True, False])
def test_a_step_is_the_calibration_with_what_is_done_so_far(frames: dict, repair: bool) -> None:
    light = frames["lights"][0]
    given = {"bias": frames["bias"], "dark": frames["reduced dark"], "flat": frames["flat"]}
    raw, *steps = calibration_steps(light, **given, repair=repair)
    np.testing.assert_array_equal(raw.frame.values, light.values)
    so_far = {}
    for step, (name, master) in zip(steps, given.items(), strict=not repair):
        so_far[name] = master
        assert step.name == name
        expected = calibrate(light, **so_far, repair=False).signal
        np.testing.assert_array_equal(step.frame.signal.values, expected.values)


def test_code(panel: CalibratePanel, frames: dict) -> None:
    panel.state.repair = False
    space = {
        "light": frames["lights"],
        "bias": frames["bias"],
        "dark": frames["reduced dark"],
        "flat": frames["flat"],
    }
    exec(panel.code, space)  # noqa: S102 - the panel's own text
    assert space["result"].signal.values.tobytes() == panel.result.signal.values.tobytes()
    assert "repair=False" in panel.code

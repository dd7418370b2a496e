"""NoisePanel without a page: the budget is the ledger's, the sum of squares is right, the plan is `plan_exposures`'."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from calibkit import (
    Camera,
    Lamp,
    SensorProfile,
    Sky,
    master_bias,
    noise_ledger,
    plan_exposures,
    simulate_stack,
)
from calibkit.errors import SettingError
from calibkit.ledger.book import SOURCES
from calibkit.ledger.squares import root_sum_path
from calibkit.noise import Measurement
from calibkit.panels import NoisePanel

CAMERA = Camera(shape=(192, 192), gain=1.6, read_noise=7.0, hot_fraction=0.0, full_well=60_000)


@pytest.fixture(scope="module")
def lights() -> xr.DataArray:
    return simulate_stack(CAMERA, 3, exposure=60.0, sky=Sky(background=8.0))


@pytest.fixture(scope="module")
def bias() -> xr.Dataset:
    return master_bias(simulate_stack(CAMERA, 8, kind="bias", frame_index=20))


@pytest.fixture(scope="module")
def profile() -> SensorProfile:
    noise = Measurement({"L": 8.0}, {"L": 0.1}, "electron", 5)
    return SensorProfile(camera="test", quantities={"read_noise": noise})


def test_the_way_is_the_root_of_the_squares() -> None:
    sigmas = [3.0, 4.0, 12.0, 0.0, 5.0]
    path = root_sum_path(sigmas)
    assert np.allclose(np.hypot(*path.T), np.sqrt(np.cumsum(np.square([0.0, *sigmas]))))
    legs = np.diff(path, axis=0)
    assert np.allclose(np.hypot(*legs.T), sigmas)
    assert np.allclose((legs[1:] * path[1:-1]).sum(axis=1), 0)  # at right angles to the way so far


def test_budget(lights: xr.DataArray, bias: xr.Dataset) -> None:
    panel = NoisePanel(lights, bias=bias)
    ledger = noise_ledger(lights, bias=bias)
    bars = panel.budget._bars.data
    for i, step in enumerate(ledger.steps):
        for name in SOURCES:
            assert bars[name][i] == pytest.approx(max(ledger.variance("L", step)[name], 0.0))
    panel.state.unit = "electron"
    assert panel.budget._bars.data["sky"][0] == pytest.approx(ledger.variance("L", "raw")["sky"] * 1.6**2)
    total = ledger.sigma("L", "raw") * 1.6
    assert f"{total:.3g}" in panel._squares.title.text
    assert np.hypot(panel._root.data["x"][-1], panel._root.data["y"][-1]) == pytest.approx(total, rel=0.01)
    assert panel.errors.text == ""
    assert "sky" in panel.note.text


def test_plan(lights: xr.DataArray, bias: xr.Dataset) -> None:
    panel = NoisePanel(lights, bias=bias, hours=2.0)
    rates = noise_ledger(lights, bias=bias).rates("L")
    expected = plan_exposures(7200.0, **rates, overhead=10.0)
    assert panel.result.table.equals(expected.table)
    assert panel.advice.text == " ".join(expected.summary())
    panel._numbers[0].value = "0.02"
    assert panel.state.sky == 0.02
    assert panel._recommended.data["exposure"][0] > expected.recommended
    panel._numbers[0].value = "dark"
    assert "a number is wanted" in panel.errors.text
    space = {"lights": lights, "bias": bias}
    exec(panel.code, space)  # noqa: S102 - the panel's own text
    assert space["result"].table.equals(panel.result.table)


def test_nothing_is_drawn_where_there_is_nothing_to_draw(
    lights: xr.DataArray, bias: xr.Dataset, profile: SensorProfile
) -> None:
    def shown(panel: NoisePanel) -> list[bool]:
        parts = (panel._budget_controls, panel.figure, panel._plan_controls, panel.plan_figure)
        return [part.layout.display != "none" for part in parts]

    assert shown(NoisePanel(lights, bias=bias)) == [True, True, True, True]
    assert shown(NoisePanel(profile, sky=1.0)) == [False, False, True, True]
    full = Camera(shape=(192, 192), gain=1.6, read_noise=7.0, full_well=1000)
    saturated = NoisePanel(simulate_stack(full, 3, exposure=6000.0, sky=Sky(background=800.0)))
    assert saturated.note.warning
    assert shown(saturated) == [False, False, False, False]


def test_profile(profile: SensorProfile) -> None:
    panel = NoisePanel(profile, sky=2.0)
    assert panel.result.table.equals(plan_exposures(14400.0, sky=2.0, read_noise=8.0, overhead=10.0).table)
    space = {"profile": profile}
    exec(panel.code, space)  # noqa: S102 - the panel's own text
    assert space["result"].table.equals(panel.result.table)
    assert repr(panel) == "NoisePanel(profile of test)"


def test_photon_transfer(lights: xr.DataArray) -> None:
    flats = xr.concat(
        [
            simulate_stack(CAMERA, 2, kind="flat", exposure=t, lamp=Lamp(rate=10_000), frame_index=30 + 2 * i)
            for i, t in enumerate([0.3, 1.0, 3.0, 5.0])
        ],
        "frame",
    )
    panel = NoisePanel(lights, flats=flats, biases=simulate_stack(CAMERA, 4, kind="bias", frame_index=60))
    assert panel.note.warning  # no bias is given, so the offset counts as light
    assert "neither bias nor dark" in panel.note.text
    points, line = panel._transfer["L"]
    assert points.data["signal"].size >= 4
    slope = line.data["signal"][-1] / line.data["variance"][-1]
    assert slope == pytest.approx(1.6, rel=0.1)
    assert "e⁻/ADU" in panel._transfer_plot.title.text


def test_what_is_missing_is_said(lights: xr.DataArray) -> None:
    unknown = lights.drop_vars("gain").assign_attrs(read_noise=np.nan)
    panel = NoisePanel(unknown)
    assert panel.note.warning
    assert "cannot be taken apart" in panel.note.text
    with pytest.raises(SettingError, match="needs both"):
        NoisePanel(lights, flats=lights)
    with pytest.raises(SettingError, match="takes raw lights"):
        NoisePanel("lights")

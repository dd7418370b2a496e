"""BiasPanel, its state and what it draws from, without a page."""

from __future__ import annotations

import math

import numpy as np
import pytest
import traitlets
import xarray as xr

from calibkit import Camera, simulate_stack
from calibkit.bias.interference import power_spectrum
from calibkit.bias.summary import summarise_bias
from calibkit.errors import SettingError
from calibkit.panels import BiasPanel
from calibkit.state import BiasState

CAMERA = Camera(shape=(96, 128), gain=2.0, read_noise=10.0, offset=200.0, interference=2.0, interference_period=8.0,
                interference_angle=30.0)  # fmt: skip


@pytest.fixture(scope="module")
def biases() -> xr.DataArray:
    return simulate_stack(CAMERA, 6, kind="bias")


@pytest.fixture(scope="module")
def panel(biases: xr.DataArray) -> BiasPanel:
    return BiasPanel(biases)


def test_state_refuses() -> None:
    for name, value in {"frames": 1, "frame": -1, "method": "mode", "picture": "both"}.items():
        with pytest.raises(traitlets.TraitError):
            BiasState(**{name: value})


def test_the_spectrum_of_noise_is_flat_and_of_a_wave_is_a_spot() -> None:
    rng = np.random.default_rng(3)
    noise = xr.DataArray(rng.normal(100, 4, (5, 64, 64)), dims=("frame", "y", "x"))
    spectrum = power_spectrum(noise)
    # Rows' and columns' means are taken out; all the rest is noise of mean 1.
    assert float(spectrum.values[np.abs(spectrum.fy) > 0][:, 1:].mean()) == pytest.approx(1.0, abs=0.05)
    wave = 3 * np.cos(2 * np.pi * (np.arange(64)[:, None] * 6 / 64 + np.arange(64) * 12 / 64))
    spot = power_spectrum(noise + wave)
    fy, fx = (float(each[0]) for each in np.where(spot == spot.max()))
    assert (float(spot.fy[int(fy)]), float(spot.fx[int(fx)])) == pytest.approx((6 / 64, 12 / 64))
    assert float(spot.max()) == pytest.approx((3 / 4) ** 2 * 64 * 64 / 4, rel=0.15)


def test_the_spectrum_keeps_lines_when_it_is_made_smaller() -> None:
    noise = xr.DataArray(np.random.default_rng(3).normal(0, 4, (128, 128)), dims=("y", "x"))
    assert power_spectrum(noise, most=20).max() == power_spectrum(noise).max()


def test_summary_against_the_camera() -> None:
    calm = simulate_stack(
        Camera(shape=(128, 128), gain=2.0, read_noise=10.0, offset=200.0, pattern="RGGB"), 6, kind="bias"
    )
    found = summarise_bias(calm.isel(frame=0), calm)
    assert found.read_noise.value == pytest.approx(math.hypot(5.0, math.sqrt(1 / 12)), rel=0.02)
    assert set(found.level) == {"R", "G1", "G2", "B"}
    assert found.counts.sum() + found.outside == calm[0].size
    # Nothing but noise is in it: the histogram is that of noise.
    assert np.abs(found.counts - found.noise_counts).max() < 5 * math.sqrt(found.noise_counts.max())
    mean = summarise_bias(calm.mean("frame"), calm, combined=6)
    assert mean.expected_noise == pytest.approx(found.expected_noise / math.sqrt(6), rel=1e-6)
    assert np.abs(mean.counts - mean.noise_counts).max() < 6 * math.sqrt(mean.noise_counts.max())


def test_interference_is_named(panel: BiasPanel, biases: xr.DataArray) -> None:
    (wave,) = panel.waves
    assert wave.period == pytest.approx(8.0, abs=0.05)
    assert panel._wave_note.warning
    assert "period 8.0" in panel._wave_note.text
    assert panel._sources["waves"].data["x"][0] == pytest.approx(math.cos(math.radians(30)) / 8, abs=0.001)
    quiet = BiasPanel(simulate_stack(Camera(shape=(64, 64)), 3, kind="bias"))
    assert not quiet.waves
    assert not quiet._wave_note.warning


def test_settings_change_what_is_drawn(biases: xr.DataArray) -> None:
    panel = BiasPanel(biases)
    whole = panel._sources["counts"].data["y"].copy()
    panel.state.frames = 2
    assert panel.errors.text == ""
    assert (
        panel._sources["counts"].data["y"].size != whole.size
        or (panel._sources["counts"].data["y"] != whole).any()
    )
    assert "mean of 2 frames" in panel._picture_note.text
    panel.state.picture = "one frame"
    panel.state.frame = 5
    assert "Frame 5" in panel._picture_note.text
    pixel = panel.view.frames[0].pixel(3, 4)
    assert pixel["value"] == biases.values[5, 3, 4]
    assert panel.result.attrs["n_frames"] == 2


def test_what_cannot_be_is_refused_and_put_back(biases: xr.DataArray) -> None:
    with pytest.raises(SettingError, match="6 frames"):
        BiasPanel(biases, frames=7)
    with pytest.raises(SettingError, match="two or more"):
        BiasPanel(biases.isel(frame=slice(1)))
    panel = BiasPanel(biases)
    panel.state.frame = 6
    assert "6 frames" in panel.errors.text
    assert panel.state.frame == 0

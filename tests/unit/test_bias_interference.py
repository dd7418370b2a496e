"""Known waves and steps are found with the right numbers, and noise alone is left in peace."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit.errors import SettingError


def biases(seed: int, *, n: int = 5, shape: tuple[int, int] = (120, 150), cfa: str = "") -> xr.DataArray:
    noise = np.random.default_rng(seed).normal(1000, 6, (n, *shape))
    coords = {"y": np.arange(shape[0]), "x": np.arange(shape[1])}
    return xr.DataArray(noise, coords, ("frame", "y", "x"), attrs={"cfa": cfa, "units": "adu"})


def with_wave(frames: xr.DataArray, period: float, degrees: float, amplitude: float) -> xr.DataArray:
    fy, fx = np.sin(np.radians(degrees)) / period, np.cos(np.radians(degrees)) / period
    phases = np.random.default_rng(1).uniform(0, 2 * np.pi, frames.sizes["frame"])
    y, x = np.mgrid[: frames.sizes["y"], : frames.sizes["x"]]
    return frames + amplitude * np.cos(2 * np.pi * (fy * y + fx * x) + phases[:, None, None])


@pytest.mark.parametrize(("period", "degrees"), [(7.3, 20.0), (31.0, -65.0), (2.6, 85.0), (12.0, 3.0)])
@pytest.mark.parametrize("cfa", ["", "RGGB"])
def test_a_wave_is_found_with_its_numbers(period: float, degrees: float, cfa: str) -> None:
    frames = with_wave(biases(4, cfa=cfa), period, degrees, 0.8)
    found = calibkit.find_interference(frames)
    assert len(found) == 1
    wave = found[0]
    assert wave.period == pytest.approx(period, rel=0.01)
    assert wave.direction == pytest.approx(degrees, abs=1.0)
    assert abs(wave.amplitude - 0.8) < max(4 * wave.error, 0.05)
    assert f"{wave.period:.2f} pixels" in str(wave)


def test_averaged_frames_would_hide_what_averaged_spectra_show() -> None:
    frames = with_wave(biases(5, n=10), 9.0, 40.0, 0.5)
    assert len(calibkit.find_interference(frames)) == 1
    alone = calibkit.find_interference(frames.isel(frame=0))
    assert len(alone) <= 1


def test_two_waves_come_strongest_first() -> None:
    frames = with_wave(with_wave(biases(6), 8.0, 30.0, 1.0), 15.0, -40.0, 2.0)
    found = calibkit.find_interference(frames)
    assert [round(wave.period) for wave in found] == [15, 8]


def test_noise_hot_pixels_rows_and_colours_are_no_interference() -> None:
    alarms = 0
    for seed in range(40):
        frames = biases(seed, n=1 + seed % 3, shape=(64, 70), cfa="RGGB" if seed % 2 else "")
        rng = np.random.default_rng(seed + 1000)
        frames = frames + rng.normal(0, 3, (64, 1)) + rng.normal(0, 3, (1, 70))
        frames[:, 10, 11] += 40_000
        frames[:, 0::2, 1::2] += 25 * (seed % 2)  # another offset in one colour
        alarms += bool(calibkit.find_interference(frames))
    assert alarms == 0  # 0.1 % each: one in forty would happen 4 % of the time


def test_row_and_column_scatter_is_told_from_noise() -> None:
    rng = np.random.default_rng(8)
    clean = biases(7, n=4, shape=(300, 400), cfa="GRBG")
    rows, columns = calibkit.line_structure(clean)
    assert max(rows.sigma, columns.sigma) < 4
    banded = clean + rng.normal(0, 1.5, (300, 1))
    rows, columns = calibkit.line_structure(banded)
    assert rows.sigma > 10
    assert rows.scatter == pytest.approx(1.5, rel=0.15)
    assert columns.sigma < 4
    assert rows.profile.shape == (300,)


def test_refusals() -> None:
    with pytest.raises(SettingError, match="at least 32 × 32"):
        calibkit.find_interference(biases(0, shape=(20, 50)))
    with pytest.raises(SettingError, match="most=0"):
        calibkit.find_interference(biases(0), most=0)
    with pytest.raises(SettingError, match="at least 32 × 32"):
        calibkit.line_structure(biases(0, shape=(20, 50)))

"""The half-master scale of a dark over many simulated cases, beside the least-noise scale."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit.errors import MismatchError, SettingError


def frame(signal: np.ndarray, exposure: float, **attrs: object) -> xr.Dataset:
    coords = {"y": np.arange(signal.shape[0]), "x": np.arange(signal.shape[1])}
    data = xr.DataArray(signal.astype(np.float32), coords, ("y", "x"))
    return xr.Dataset(
        {"signal": data, "variance": data * 0 + 1, "flags": data.astype(np.uint16) * np.uint16(0)},
        attrs={"cfa": "", "exposure": exposure, "bias_subtracted": True, **attrs},
    )


def case(
    seed: int, true: float, cfa: str = "", current: float = 20
) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """A sensor with hot pixels seen by a light with stars, and two half masters of five darks each."""
    rng = np.random.default_rng(seed)
    shape = (128, 128)
    dark = current * rng.lognormal(-1, 1.2, shape)
    y, x = np.mgrid[: shape[0], : shape[1]]
    sky = 200.0 + 0.3 * x
    for _ in range(12):
        cy, cx, height = rng.uniform(0, 128), rng.uniform(0, 128), rng.uniform(50, 5000)
        sky = sky + height * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * 1.8**2))
    if cfa:
        sky[0::2, 0::2] *= 3.0  # red sky: colours must not look like structure
    light = rng.normal(sky + true * dark, np.sqrt(sky + true * dark + 100))
    halves = [rng.normal(dark, np.sqrt((dark + 100) / 5)) for _ in range(2)]
    return frame(light, 300 * true, cfa=cfa), frame(halves[0], 300, cfa=cfa), frame(halves[1], 300, cfa=cfa)


@pytest.mark.parametrize("current", [20.0, 4.0])
def test_unbiased_within_its_error_over_200_cases(current: float) -> None:
    pulls, least = [], []
    for seed in range(200):
        true = 0.4 + 0.006 * seed
        found = calibkit.measure_dark_scale(*case(seed, true, current=current))
        pulls.append((found.scale - true) / found.error)
        least.append(found.least_noise / true)
    # 200 pulls: their mean has an error of 0.07, their scatter one of 5 %
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15
    # what others take leaves a part of the dark behind, the more the weaker the dark is against its noise
    assert np.mean(least) + 5 * np.std(least) / np.sqrt(200) < 1


def test_temperature_follows_from_the_scale() -> None:
    light, a, b = case(1, 0.7)
    found = calibkit.measure_dark_scale(light.assign_attrs(exposure=300.0), a, b, doubling=7.0)
    assert found.exposure_ratio == 1.0
    assert found.temperature_difference == pytest.approx(7 * np.log2(found.scale))
    assert abs(found.temperature_difference - 7 * np.log2(0.7)) < 4 * found.temperature_error
    assert "°C" in str(found)


def test_colours_are_kept_apart() -> None:
    found = calibkit.measure_dark_scale(*case(3, 0.9, cfa="RGGB"))
    assert abs(found.scale - 0.9) < 4 * found.error < 0.2


def test_refusals() -> None:
    light, a, b = case(2, 1.0)
    rng = np.random.default_rng(0)
    with pytest.raises(SettingError, match="still holds its bias"):
        calibkit.measure_dark_scale(light.assign_attrs(bias_subtracted=False), a, b)
    with pytest.raises(SettingError, match="calibrated already"):
        calibkit.measure_dark_scale(light.assign_attrs(flat_divided=True), a, b)
    with pytest.raises(SettingError, match="doubling=0"):
        calibkit.measure_dark_scale(light, a, b, doubling=0)
    with pytest.raises(MismatchError, match="dark_a covers sensor pixels y 0…99"):
        calibkit.measure_dark_scale(light, a.isel(y=slice(100)), b)
    flat = [frame(rng.normal(size=(128, 128)), 300) for _ in range(2)]
    with pytest.raises(SettingError, match="cannot be measured"):
        calibkit.measure_dark_scale(light, *flat)

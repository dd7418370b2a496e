"""The half-master scale of a dark over many simulated cases, beside the least-noise scale."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit.errors import MismatchError, SettingError
from calibkit.flags import HOT, REPAIRED


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


#: Darks that tell a scale in different ways: electrons per ADU 1.4, noise of a single read 7 ADU, level and hot pixels in
#: ADU at scale 1, sky in ADU by place in the pattern.
NIGHTS = {
    "warm DSLR behind Hα": {"cfa": "GBRG", "sky": (8, 8, 120, 8), "level": 130, "hot": 0.009, "hot_level": 430},
    "cooled CCD, few hot pixels": {"sky": (1400,), "level": 12, "hot": 0.001, "hot_level": 700},
    "one dark in each half, three biases": {
        "sky": (300,), "level": 12, "hot": 0.003, "hot_level": 200, "darks": 1, "biases": 3,
    },
    "telegraph pixels": {
        "cfa": "RGGB", "sky": (60, 150, 150, 40), "level": 60, "hot": 0.005, "hot_level": 300, "telegraph": 0.003,
    },
}  # fmt: skip


def of_night(
    seed: int, true: float, *, sky: tuple[float, ...], level: float, hot: float, hot_level: float, cfa: str = "",
    darks: int = 5, biases: int = 10, telegraph: float = 0.0,
) -> list[xr.Dataset]:  # fmt: skip
    """A light and two half masters with whole numbers, photon noise, stars and one master bias taken from all three."""
    rng = np.random.default_rng(seed)
    shape = (144, 192)
    dark = level * (1 + 0.1 * rng.standard_normal(shape))
    dark += (rng.random(shape) < hot) * rng.lognormal(np.log(hot_level), 1.1, shape)
    jumps = rng.random(shape) < telegraph
    light = np.full(shape, sky[0], float)
    for number, value in enumerate(sky[1:], 1):
        light[number // 2 :: 2, number % 2 :: 2] = value
    relative = light / light.max()
    y, x = np.mgrid[: shape[0], : shape[1]]
    light *= 1 + 0.2 * x / shape[1]
    for cy, cx, height in zip(*rng.uniform((0, 0, 3), (*shape, 9), (20, 3)).T, strict=True):
        light += relative * np.exp(height - ((y - cy) ** 2 + (x - cx) ** 2) / (2 * 1.3**2))
    of_bias = rng.normal(0, 7 / np.sqrt(biases), shape)

    def mean(frames: int, scale: float, lit: np.ndarray | float) -> xr.Dataset:
        high = 600 * jumps * rng.binomial(frames, 0.3, shape) / frames
        level = scale * (dark + high) + lit
        noisy = rng.normal(level, np.sqrt((level / 1.4 + 49 + 1 / 12) / frames))
        return frame(noisy - of_bias, 300, cfa=cfa)

    return [mean(1, true, light), mean(darks, 1.0, 0.0), mean(darks, 1.0, 0.0)]


@pytest.mark.parametrize("night", NIGHTS)
def test_unbiased_whatever_the_dark_is_made_of(night: str) -> None:
    true = 0.5 * 4 ** np.linspace(0, 1, 200)  # 0.5 to 2
    pulls, errors = [], []
    for seed, scale in enumerate(true):
        found = calibkit.measure_dark_scale(*of_night(seed, scale, **NIGHTS[night]))
        pulls.append((found.scale - scale) / found.error)
        errors.append(found.error / scale)
        assert found.pixels > 0.6 * 144 * 192  # a colour brighter than the others is no star
    assert abs(np.mean(pulls)) < 0.25
    assert 0.85 < np.std(pulls) < 1.15
    assert np.max(np.abs(pulls)) < 4.5
    # noise of the bias that all three share would pull every scale towards one
    assert abs(np.polyfit(np.log(true), pulls, 1)[0]) < 0.55  # its error is 0.18
    assert np.median(errors) < 0.02


@pytest.mark.parametrize("name", ["ccd", "dslr"])
def test_every_light_of_a_sample_session(name: str) -> None:
    night = calibkit.sample_session(name)
    bias = calibkit.master_bias(calibkit.open_stack(night / "bias/*"))
    darks = calibkit.open_stack(night / "darks/*")
    halves = [calibkit.master_dark(darks[first::2], bias=bias) for first in (0, 1)]
    found = [
        calibkit.measure_dark_scale(calibkit.calibrate(light, bias=bias, repair=False), *halves)
        for light in calibkit.open_stack(night / "lights/*")
    ]
    errors = np.array([each.error for each in found])
    assert np.all(np.abs([each.scale - 1 for each in found]) < 3.5 * errors)
    assert errors.max() < 0.005
    assert errors.max() < 2.5 * errors.min()


def test_repaired_pixels_tell_nothing_and_hot_ones_the_most() -> None:
    light, *halves = of_night(5, 0.7, **NIGHTS["cooled CCD, few hot pixels"])
    plain = calibkit.measure_dark_scale(light, *halves)
    hot = np.nonzero(halves[0].signal.values > 150)
    for half in halves:
        half["flags"].values[hot] |= HOT
    assert calibkit.measure_dark_scale(light, *halves) == plain
    light["signal"].values[hot] = 1400.0
    light["flags"].values[hot] |= HOT | REPAIRED
    found = calibkit.measure_dark_scale(light, halves[0], halves[1])
    assert found.pixels < plain.pixels
    assert abs(found.scale - 0.7) < 4 * found.error


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

"""Fixed pattern, dark current and unstable pixels against simulated sensors whose figures are known."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit import Camera, Lamp, Optics, simulate_stack
from calibkit.dark.current import BOLTZMANN
from calibkit.errors import CalibkitError, MismatchError, SettingError
from calibkit.flags import UNSTABLE
from calibkit.simulate.detector import Detector
from calibkit.simulate.effects import EFFECTS

CAMERA = Camera(
    shape=(144, 192),
    pattern="RGGB",
    gain=1.6,
    read_noise=5.0,
    dark_current=2.0,
    dark_spread=0.2,
    hot_fraction=0.002,
    hot_rate=20.0,
)
ENERGY = 0.6
TEMPERATURES = (-10.0, -4.0, 0.0, 8.0)


def rate_at(temperature: float) -> float:
    """Electrons per second: 1 at 0 °C."""
    return math.exp(-ENERGY / BOLTZMANN * (1 / (temperature + 273.15) - 1 / 273.15))


def darks_of(
    camera: Camera, times=(10.0, 30.0, 60.0, 120.0, 240.0), *, seed: int = 0, count: int = 1
) -> xr.DataArray:
    temperature = camera.reference_temperature
    sets = [
        simulate_stack(
            camera, count, kind="dark", exposure=t, temperature=temperature, seed=seed,
            frame_index=int(100_000 + 1000 * temperature + 10 * i),
        )
        for i, t in enumerate(times)
    ]  # fmt: skip
    return xr.concat(sets, "frame")


def session_of(camera: Camera, seed: int = 0) -> xr.DataArray:
    """Darks at four temperatures of a sensor that follows Arrhenius' law."""
    cameras = [replace(camera, dark_current=rate_at(t), reference_temperature=t) for t in TEMPERATURES]
    return xr.concat([darks_of(each, seed=seed) for each in cameras], "frame")


def mean_of_normal_pixels(camera: Camera) -> dict[str, float]:
    """The sensor's own dark current without hot pixels, over the mean that it was drawn from."""
    detector = Detector(camera, effects=[name for name in EFFECTS if name != "hot pixels"])
    height, width = camera.shape
    coords = {"y": range(height), "x": range(width)}
    frame = xr.DataArray(
        detector.thermal / camera.dark_current, dims=("y", "x"), coords=coords, attrs={"cfa": camera.pattern}
    )
    return {c: float(frame.cfa[c].mean()) for c in camera.cfa.channels}


@pytest.fixture(scope="module")
def rates() -> dict[str, np.ndarray]:
    """Deviation and stated error, (sample, 2), of each quantity over sensors and channels."""
    found = defaultdict(list)
    for seed in range(14):
        # Warm pixels below the limit of hot ones would count for the sensor's mean and not for the measured one.
        camera = replace(CAMERA, seed=seed, hot_fraction=0.0, dark_spread=0.1)
        result = calibkit.measure_dark_current(session_of(camera, seed), gain=1.6)
        own = mean_of_normal_pixels(camera)
        for temperature, rate in result.rates:
            assert rate.unit == "electron/s"
            for c in rate.values:
                found[f"{temperature:.0f} °C"].append(
                    (rate[c] - rate_at(temperature) * own[c], rate.errors[c])
                )
        for fit in result.fits.values():
            found["energy"].append((fit.energy - ENERGY, fit.energy_error))
            expected = math.log(2) * BOLTZMANN * (fit.temperature + 273.15) ** 2 / ENERGY
            found["doubling"].append((fit.doubling - expected, fit.doubling_error))
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.parametrize("name", ["-10 °C", "-4 °C", "0 °C", "8 °C", "energy", "doubling"])
def test_errors_of_dark_current_are_right(rates: dict[str, np.ndarray], name: str) -> None:
    deviation, error = rates[name].T
    assert deviation.size == 56
    stated = np.sqrt(np.mean(error**2))
    assert 0.8 < deviation.std() / stated < 1.2
    assert abs(deviation.mean()) < 3.5 * stated / np.sqrt(deviation.size)


def test_hot_pixels_do_not_count() -> None:
    few = calibkit.measure_dark_current(darks_of(replace(CAMERA, hot_fraction=0.0)))
    many = calibkit.measure_dark_current(darks_of(replace(CAMERA, hot_fraction=0.02)))
    for c in CAMERA.cfa.channels:
        assert many.rates[0][1][c] == pytest.approx(few.rates[0][1][c], rel=5e-3)


def test_offset_that_drifts_makes_the_error_larger() -> None:
    darks = darks_of(CAMERA)
    shift = np.array([0.0, 6.0, -5.0, 7.0, -4.0])
    moved = darks.astype("f4") + xr.DataArray(shift.astype("f4"), dims="frame")
    still, drifting = (calibkit.measure_dark_current(stack).rates[0][1] for stack in (darks, moved))
    assert drifting.errors["R"] > 5 * still.errors["R"]
    assert abs(drifting["R"] - still["R"]) < 3 * drifting.errors["R"]


def test_tables_for_plots() -> None:
    result = calibkit.measure_dark_current(session_of(CAMERA))
    assert result.curve["rate"].dims == ("channel", "temperature")
    np.testing.assert_allclose(result.curve["temperature"], TEMPERATURES)
    np.testing.assert_allclose(result.curve["fit"], result.curve["rate"], rtol=0.02)
    assert result.levels.sizes == {"channel": 4, "frame": 20}
    assert float(abs(result.levels["residual"]).max()) < 1.0
    assert result.at(-9.0) is result.rates[0][1]
    assert "doubles every" in str(result)


def test_biases_stand_in_for_a_second_exposure() -> None:
    darks, biases = darks_of(CAMERA, (120.0,), count=2), simulate_stack(CAMERA, 3, kind="bias", frame_index=7)
    with pytest.raises(MismatchError, match="add another exposure, or biases"):
        calibkit.measure_dark_current(darks)
    found = calibkit.measure_dark_current(darks, biases, gain={"R": 1.6, "G1": 1.6, "G2": 1.6, "B": 1.6})
    assert found.rates[0][1].value == pytest.approx(2.0, rel=0.01)
    assert found.fits == {}
    assert "two temperatures" in found.refused["doubling"]
    # They are left out where the darks themselves tell the slope: their offset may differ by a little.
    shifted = biases + np.uint16(50)
    several = darks_of(CAMERA)
    with_bias, without = (calibkit.measure_dark_current(several, b).rates[0][1] for b in (shifted, None))
    assert with_bias.values == without.values


def test_dark_current_that_cannot_be_told() -> None:
    darks = darks_of(CAMERA)
    with pytest.raises(MismatchError, match="exposures of the darks are not known"):
        calibkit.measure_dark_current(darks.assign_coords(exposure=("frame", [np.nan] * 5)))
    with pytest.raises(SettingError, match="gain="):
        calibkit.measure_dark_current(darks, gain=-1.0)
    cold = replace(CAMERA, dark_current=0.0, hot_fraction=0.0)
    both = [darks_of(replace(cold, reference_temperature=t)) for t in (-20.0, -10.0)]
    result = calibkit.measure_dark_current(xr.concat(both, "frame"))
    assert result.fits == {}
    assert "no dark current" in result.refused["doubling of R"]


@pytest.fixture(scope="module")
def patterns() -> dict[str, np.ndarray]:
    found = defaultdict(list)
    for seed in range(14):
        camera = replace(CAMERA, seed=seed)
        optics = Optics(vignetting=0.3) if seed % 2 else None
        flats = simulate_stack(
            camera, 6, kind="flat", exposure=2.0, lamp=Lamp(30_000), seed=seed, optics=optics
        )
        biases = simulate_stack(camera, 6, kind="bias", frame_index=200, seed=seed)
        darks = simulate_stack(camera, 6, kind="dark", exposure=60.0, frame_index=300, seed=seed)
        prnu = calibkit.measure_fixed_pattern(flats, biases).prnu
        dsnu = calibkit.measure_fixed_pattern(darks=darks).dsnu
        for c in camera.cfa.channels:
            found["prnu"].append((prnu[c] - 0.01, prnu.errors[c]))
            found["dsnu"].append((dsnu[c] - 2.0 * 60 * 0.2 / 1.6, dsnu.errors[c]))
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.parametrize("name", ["prnu", "dsnu"])
def test_errors_of_fixed_pattern_are_right(patterns: dict[str, np.ndarray], name: str) -> None:
    deviation, error = patterns[name].T
    stated = np.sqrt(np.mean(error**2))
    assert 0.8 < deviation.std() / stated < 1.2
    assert abs(deviation.mean()) < 3.5 * stated / np.sqrt(deviation.size)


def test_noise_is_no_pattern() -> None:
    camera = replace(CAMERA, sensitivity_spread=0.0, dark_current=0.0, hot_fraction=0.0)
    flats = simulate_stack(camera, 4, kind="flat", exposure=2.0)
    biases = simulate_stack(camera, 4, kind="bias", frame_index=50)
    result = calibkit.measure_fixed_pattern(flats, biases)
    for c in camera.cfa.channels:
        assert result.prnu[c] < 2.5 * result.prnu.errors[c] < 0.005
        assert result.dsnu[c] < 2.5 * result.dsnu.errors[c] < 1.0
    assert "PRNU" in str(result)


def test_defects_are_counted_and_left_out() -> None:
    camera = replace(CAMERA, pattern="", hot_fraction=0.0, dark_current=0.0, weak_fraction=0.004)
    flats = simulate_stack(camera, 4, kind="flat", exposure=2.0)
    biases = simulate_stack(camera, 4, kind="bias", frame_index=50)
    result = calibkit.measure_fixed_pattern(flats, biases)
    assert result.defects["L"] == pytest.approx(0.004, rel=0.1)
    assert result.prnu["L"] == pytest.approx(0.01, rel=0.05)


def test_fixed_pattern_that_cannot_be_told() -> None:
    flats = simulate_stack(CAMERA, 2, kind="flat", exposure=1.0)
    biases = simulate_stack(CAMERA, 2, kind="bias")
    with pytest.raises(SettingError, match="give darks"):
        calibkit.measure_fixed_pattern()
    with pytest.raises(MismatchError, match="flats need darks"):
        calibkit.measure_fixed_pattern(flats)
    with pytest.raises(MismatchError, match="two flats at least"):
        calibkit.measure_fixed_pattern(flats[:1], biases)
    with pytest.raises(MismatchError, match="exposed for 10, 30"):
        calibkit.measure_fixed_pattern(darks=darks_of(CAMERA, (10.0, 30.0)))
    with pytest.raises(CalibkitError, match="no brighter than the darks"):
        calibkit.measure_fixed_pattern(biases - np.uint16(20), biases)


def telegraph_map(camera: Camera) -> np.ndarray:
    out = np.zeros(camera.shape, bool)
    out.flat[Detector(camera).telegraph_index] = True
    return out


@pytest.mark.parametrize("pattern", ["", "RGGB"])
def test_telegraph_pixels_are_found(pattern: str) -> None:
    camera = replace(CAMERA, pattern=pattern, telegraph_fraction=0.01, telegraph_rate=2.0)
    darks = simulate_stack(camera, 16, kind="dark", exposure=60.0)
    found = calibkit.find_unstable_pixels(darks)
    there, truth = found.flags.values == UNSTABLE, telegraph_map(camera)
    # Two states of 75 ADU, at a noise of 12 ADU: but for those that show one of them once or never.
    assert (there & truth).sum() > 0.97 * truth.sum()
    assert (there & ~truth).sum() <= 4
    assert found.share.value == pytest.approx(0.01, rel=0.05)
    table = found.table.where(found.table["telegraph"], drop=True)
    assert table.sizes["pixel"] > 0.9 * truth.sum()
    assert float((table["high"] - table["low"]).median()) == pytest.approx(2.0 * 60 / 1.6, rel=0.05)
    assert float(table["upper"].mean()) == pytest.approx(0.5, abs=0.05)
    assert truth[found.table["y"].values.astype(int), found.table["x"].values.astype(int)].mean() > 0.98
    assert "jump between two levels" in str(found)


def test_stable_sensor_has_none() -> None:
    """Ten sensors with hot pixels, 27 648 pixels each, one false alarm allowed in each."""
    count = 0
    for seed in range(10):
        camera = replace(CAMERA, pattern="", seed=seed, hot_fraction=0.01)
        darks = simulate_stack(camera, 8, kind="dark", exposure=60.0, seed=seed)
        count += int((calibkit.find_unstable_pixels(darks).flags != 0).sum())
    assert count <= 10 + 3 * math.sqrt(10)


def test_cosmic_rays_are_not_unstable() -> None:
    camera = replace(CAMERA, pattern="", hot_fraction=0.0, cosmic_rays=0.3)
    struck = simulate_stack(camera, 12, kind="dark", exposure=120.0)
    middle = np.median(struck, axis=0)
    hit = (struck.values > middle + 200).sum(axis=0)
    assert (hit == 1).sum() > 20
    found = calibkit.find_unstable_pixels(struck)
    assert (found.flags.values[hit == 1] == UNSTABLE).mean() < 0.1


def test_temperature_that_drifts_is_no_jump() -> None:
    """1 °C makes hot pixels 10 % hotter, many times their noise."""
    camera = replace(CAMERA, pattern="", hot_fraction=0.01, hot_rate=60.0)
    frames = [
        simulate_stack(camera, 1, kind="dark", exposure=60.0, temperature=-20.0 + drift, frame_index=i)
        for i, drift in enumerate((-1.0, 0.6, 0.0, 0.9, -0.5, 0.3, -0.8, 1.0))
    ]
    found = calibkit.find_unstable_pixels(xr.concat(frames, "frame"))
    assert int((found.flags != 0).sum()) < 0.1 * 0.01 * found.flags.size


def test_unstable_pixels_that_cannot_be_told() -> None:
    darks = simulate_stack(CAMERA, 6, kind="dark", exposure=60.0)
    with pytest.raises(MismatchError, match="5 at least"):
        calibkit.find_unstable_pixels(darks[:4])
    with pytest.raises(MismatchError, match="take one exposure"):
        calibkit.find_unstable_pixels(xr.concat([darks[:5], darks_of(CAMERA, (10.0,))], "frame"))
    with pytest.raises(SettingError, match="gain of these frames is not known"):
        calibkit.find_unstable_pixels(darks.assign_coords(gain=("frame", [np.nan] * 6)))
    with pytest.raises(SettingError, match="false_alarms=0"):
        calibkit.find_unstable_pixels(darks, false_alarms=0)


def test_unstable_pixels_by_bands_and_lazily(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = replace(CAMERA, telegraph_fraction=0.01, telegraph_rate=2.0)
    darks = simulate_stack(camera, 8, kind="dark", exposure=60.0)[:, 3:, 1:]
    whole = calibkit.find_unstable_pixels(darks)
    monkeypatch.setattr("calibkit.memory.BAND_BYTES", 192 * 8 * 10)
    banded = calibkit.find_unstable_pixels(darks.chunk({"frame": 1, "y": 40}))
    xr.testing.assert_identical(whole.flags, banded.flags)
    xr.testing.assert_identical(whole.table, banded.table)
    assert int(whole.table["y"].min()) >= 3
    repaired = calibkit.calibrate(darks[0], bias=calibkit.constant_bias(darks, 100.0), defects=whole)
    bad = whole.flags.values != 0
    assert (repaired["flags"].values[bad] & UNSTABLE).all()

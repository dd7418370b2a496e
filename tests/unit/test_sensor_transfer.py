"""Photon transfer and linearity against simulated sensors whose figures are known."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import calibkit
from calibkit import Camera, Lamp, simulate_stack
from calibkit.errors import CalibkitError, Cancelled, MismatchError

TIMES = (0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 9.0)
LAMP = Lamp(rate=22_000)
CAMERA = Camera(
    shape=(144, 192),
    pattern="RGGB",
    gain=1.6,
    read_noise=5.0,
    full_well=60_000,
    dark_current=0.0,
    sensitivity_spread=0.01,
)
SEEDS = 18


def flats_of(
    camera: Camera, times=TIMES, *, seed: int = 0, count: int = 2, lamp: Lamp = LAMP
) -> xr.DataArray:
    sets = [
        simulate_stack(camera, count, kind="flat", exposure=t, lamp=lamp, frame_index=100 * i, seed=seed)
        for i, t in enumerate(times)
    ]
    return xr.concat(sets, "frame")


def biases_of(camera: Camera, count: int = 6, *, seed: int = 0) -> xr.DataArray:
    return simulate_stack(camera, count, kind="bias", frame_index=9000, seed=seed)


@pytest.fixture(scope="module")
def many() -> dict[str, np.ndarray]:
    """Deviation from the truth and stated error, (sample, 2), for each quantity over sensors and channels."""
    found = defaultdict(list)
    for seed in range(SEEDS):
        camera = replace(CAMERA, seed=seed)
        result = calibkit.measure_photon_transfer(flats_of(camera, seed=seed), biases_of(camera, seed=seed))
        for name, truth in (("gain", 1.6), ("read_noise", 5.0), ("curvature", 0.0)):
            measured = getattr(result, name)
            found[name] += [(measured[c] - truth, measured.errors[c]) for c in measured.values]
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.parametrize("name", ["gain", "read_noise", "curvature"])
def test_errors_are_right(many: dict[str, np.ndarray], name: str) -> None:
    deviation, error = many[name].T
    assert deviation.size == 4 * SEEDS
    stated = np.sqrt(np.mean(error**2))
    assert 0.8 < deviation.std() / stated < 1.2  # 72 samples: 8 % by chance
    assert abs(deviation.mean()) < 3.5 * stated / np.sqrt(deviation.size)


def test_figures_are_close() -> None:
    result = calibkit.measure_photon_transfer(flats_of(CAMERA, count=4), biases_of(CAMERA, 20))
    for c in CAMERA.cfa.channels:
        assert result.gain[c] == pytest.approx(1.6, rel=0.02)
        assert result.read_noise[c] == pytest.approx(5.0, rel=0.02)
        assert result.dark_noise[c] == pytest.approx(np.sqrt((5 / 1.6) ** 2 + 1 / 12), rel=0.02)
    assert result.gain.unit == "electron/adu"
    assert str(result).startswith("gain: R 1.")


def peak_of_variance(full: float, spread: float) -> float:
    """Mean charge at which the variance of pixels that hold *full* electrons and differ by *spread* is largest."""
    response = 1 + spread * np.linspace(-4, 4, 401)
    weight = np.exp(-0.5 * np.linspace(-4, 4, 401) ** 2)
    best = (0.0, 0.0)
    for light in np.linspace(0.9, 1.05, 301) * full:
        mean, sigma = light * response, np.sqrt(light * response)
        z = (full - mean) / sigma
        cut, density = stats.norm.sf(z), stats.norm.pdf(z)
        first = mean * (1 - cut) - sigma * density + full * cut
        second = (mean**2 + sigma**2) * (1 - cut) - sigma * (mean + full) * density + full**2 * cut
        variance = np.average(second - first**2, weights=weight)
        best = max(best, (float(variance), float(np.average(first, weights=weight))))
    return best[1]


def test_full_well_is_where_the_variance_peaks() -> None:
    camera = replace(CAMERA, pattern="")
    full = 60_000 / (22_000 * camera.share("L", "white led"))
    times = [round(full * part, 3) for part in (0.1, 0.3, 0.6, 0.8, 0.9, 0.94, 0.98, 1.02, 1.06, 1.1, 1.5)]
    result = calibkit.measure_photon_transfer(flats_of(camera, times), biases_of(camera))
    assert abs(result.full_well["L"] - peak_of_variance(60_000, 0.01)) < 2 * result.full_well.errors["L"]
    assert result.full_well.errors["L"] < 1300
    assert result.saturation["L"] == pytest.approx(100 + result.full_well["L"] / 1.6, rel=0.01)
    assert result.dynamic_range["L"] == pytest.approx(result.full_well["L"] / (1.6 * 3.14 + 0.5), rel=0.05)
    assert "full_well" not in result.refused


def test_full_well_of_few_flats_is_the_level_of_full_pixels() -> None:
    camera = replace(CAMERA, pattern="")
    result = calibkit.measure_photon_transfer(flats_of(camera, (1.0, 2.0, 3.0, 9.0)), biases_of(camera))
    assert abs(result.full_well["L"] - 60_000) < 2 * result.full_well.errors["L"] < 3000


def test_saturation_that_is_not_reached_is_not_told() -> None:
    times = (0.1, 0.2, 0.4, 0.8)
    result = calibkit.measure_photon_transfer(flats_of(CAMERA, times), biases_of(CAMERA))
    assert result.full_well is None
    assert "still grows" in result.refused["full_well"]
    assert result.dynamic_range == {}


def test_channels_saturate_one_by_one() -> None:
    """White light fills the green pixels first; what red and blue do not show is said of them alone."""
    times = (1.0, 4.0, 8.0, 12.0, 16.0, 20.0)
    result = calibkit.measure_photon_transfer(flats_of(CAMERA, times), biases_of(CAMERA))
    told = set(result.full_well.values)
    assert told == {"R", "G1", "G2"}
    assert "channel B;" in result.refused["full_well"]


def test_linearity_error_is_that_of_the_noiseless_sensor() -> None:
    times = np.array([0.4, 0.8, 1.4, 2.0, 2.6, 3.2, 3.8, 4.4, 5.0])
    camera = replace(CAMERA, pattern="", non_linearity=0.04, full_well=80_000, sensitivity_spread=0.0)
    deviations = []
    for seed in range(12):
        flats = flats_of(replace(camera, seed=seed), [*times, 12.0], seed=seed)
        result = calibkit.measure_photon_transfer(flats, biases_of(camera, seed=seed))
        curve = result.linearity.curve.sel(channel="L", exposure=times)
        charge = 22_000 * camera.share("L", "white led") * times
        level = (charge - 0.04 / 80_000 * (charge**2 + charge)) / 1.6
        used = np.isfinite(curve["level"].values)
        assert used.sum() >= 6
        t, y = times[used], level[used]
        slope, start = np.polyfit(t, y, 1, w=1 / y)
        expected = np.mean(np.abs(y / (start + slope * t) - 1))
        deviations.append(
            (result.linearity.error["L"] - expected, result.linearity.error.errors["L"], expected)
        )
        np.testing.assert_allclose(curve["deviation"].values[used], y / (start + slope * t) - 1, atol=3e-4)
    off, error, expected = np.array(deviations).T
    assert expected.min() > 0.003
    assert np.abs(off / error).max() < 4.5
    assert 0.5 < off.std() / np.sqrt(np.mean(error**2)) < 1.5


def test_bent_curve_is_told() -> None:
    """Charge that is missing when a pixel is full bends variance against level by 3 b n at first order."""
    camera = replace(CAMERA, pattern="", non_linearity=0.05)
    flats = flats_of(camera, (0.3, 0.6, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 9.0), count=6)
    result = calibkit.measure_photon_transfer(flats, biases_of(camera, 20))
    end = float(result.curve["signal"].where(result.curve["fitted"] == 1).max()) * 1.6
    expected = -3 * 0.05 / 60_000 * end
    assert abs(result.curvature["L"] - expected) < 3.5 * result.curvature.errors["L"] + 0.1 * abs(expected)
    assert result.curvature["L"] < -4 * result.curvature.errors["L"]
    assert any("the variance differs by" in note for note in result.notes)
    assert any("the variance differs by" in line for line in str(result).splitlines())


def test_uneven_light_of_one_exposure_is_enough() -> None:
    """Tiles of different brightness make the curve, whatever the exposures are."""
    rng = np.random.default_rng(4)
    light = np.linspace(500, 20_000, 480)[None, :] * np.ones((240, 1))
    coords = {"frame": np.arange(4), "y": np.arange(240), "x": np.arange(480)}
    flats = xr.DataArray(
        np.rint(300 + (rng.poisson(light, (4, 240, 480)) + rng.normal(0, 6, (4, 240, 480))) / 2.5).astype(
            "u2"
        ),
        dims=("frame", "y", "x"),
        coords=coords,
    )
    darks = xr.DataArray(
        np.rint(300 + rng.normal(0, 2.4, (4, 240, 480))).astype("u2"), dims=flats.dims, coords=coords
    )
    result = calibkit.measure_photon_transfer(flats, darks)
    assert abs(result.gain["L"] - 2.5) < 3.5 * result.gain.errors["L"]
    assert result.gain.errors["L"] < 0.02
    assert "exposures of the flats are not known" in result.refused["linearity"]


def test_lamp_that_flickers_does_no_harm() -> None:
    """The second frame of a pair is 10 % brighter: brought to one level before it is compared."""
    camera = replace(CAMERA, pattern="")
    parts = []
    for i, t in enumerate((0.5, 1.0, 2.0, 3.0)):
        for k, factor in enumerate((1.0, 1.1)):
            parts.append(
                simulate_stack(
                    camera, 1, kind="flat", exposure=t, lamp=Lamp(22_000 * factor), frame_index=10 * i + k
                )
            )
    result = calibkit.measure_photon_transfer(xr.concat(parts, "frame"), biases_of(camera))
    assert abs(result.gain["L"] - 1.6) < 3.5 * result.gain.errors["L"]


def test_unequal_frames_are_no_pair() -> None:
    camera = replace(CAMERA, pattern="")
    flats = flats_of(camera, (0.5, 1.0, 2.0))
    odd = simulate_stack(camera, 1, kind="flat", exposure=2.0, lamp=Lamp(6_000), frame_index=77)
    stack = xr.concat([flats, odd, flats.isel(frame=[5])], "frame")
    result = calibkit.measure_photon_transfer(stack, biases_of(camera))
    assert sum("differ by more than a fifth" in note for note in result.notes) == 1


def test_lazy_stack_gives_the_same() -> None:
    flats, biases = flats_of(CAMERA, (0.5, 1.0, 3.0)), biases_of(CAMERA, 4)
    lazy = [stack.chunk({"frame": 1, "y": 50}) for stack in (flats, biases)]
    here, there = calibkit.measure_photon_transfer(flats, biases), calibkit.measure_photon_transfer(*lazy)
    assert here.gain.values == there.gain.values
    xr.testing.assert_identical(here.curve, there.curve)


def test_whole_level_with_rounding_only_is_an_upper_limit() -> None:
    camera = replace(CAMERA, pattern="", gain=20.0, read_noise=3.0)
    result = calibkit.measure_photon_transfer(flats_of(camera, (0.5, 1.0, 2.0, 3.0)), biases_of(camera))
    assert np.isnan(result.read_noise.errors["L"])
    assert result.read_noise["L"] == pytest.approx(result.gain["L"] * np.sqrt(0.24 - 1 / 12))
    assert any("at most" in note for note in result.notes)


def test_one_level_is_refused() -> None:
    with pytest.raises(CalibkitError, match=r"one level only.*measure_gain"):
        calibkit.measure_photon_transfer(flats_of(CAMERA, (1.0,), count=4), biases_of(CAMERA))


def test_frames_without_light_or_noise_are_refused() -> None:
    biases = biases_of(CAMERA)
    with pytest.raises(CalibkitError, match="no brighter than the darks"):
        calibkit.measure_photon_transfer(biases[:2] * 0 + np.uint16(90), biases)
    copies = flats_of(CAMERA, (0.5, 1.0, 2.0))
    copies = copies.isel(frame=[0, 0, 2, 2, 4, 4])
    with pytest.raises(CalibkitError, match="copies of each other"):
        calibkit.measure_photon_transfer(copies, biases)


def test_frames_that_do_not_belong_together_are_refused() -> None:
    flats, biases = flats_of(CAMERA, (0.5, 2.0)), biases_of(CAMERA)
    with pytest.raises(MismatchError, match="no two flats have one exposure"):
        calibkit.measure_photon_transfer(flats.isel(frame=[0, 2]), biases)
    with pytest.raises(MismatchError, match="two bias frames, or two darks"):
        calibkit.measure_photon_transfer(flats, biases.assign_coords(exposure=("frame", np.arange(6.0))))
    with pytest.raises(MismatchError, match="two frames of each exposure"):
        calibkit.measure_photon_transfer(flats, biases[:1])
    with pytest.raises(MismatchError, match="darks measure"):
        calibkit.measure_photon_transfer(flats, biases[:, :96])
    with pytest.raises(MismatchError, match="colour pattern"):
        calibkit.measure_photon_transfer(flats, biases.assign_attrs(cfa="GRBG"))


def test_it_can_be_stopped() -> None:
    seen = []

    def stop(done: int, total: int, what: str) -> None:
        seen.append((done, total, what))
        if done == 2:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        calibkit.measure_photon_transfer(flats_of(CAMERA), biases_of(CAMERA, 2), progress=stop)
    assert seen[-1] == (2, 7, "compare 14 flats")

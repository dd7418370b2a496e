"""Read noise, gain and dark rate from frames drawn with known numbers."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from calibkit import CalibkitError, MismatchError, SettingError, calibrate, master_bias
from calibkit.calibration import pairs
from calibkit.noise import Measurement, measure_gain, measure_read_noise

SIZE = (150, 194)  # no whole number of tiles
CHANNELS = ("R", "G1", "G2", "B")
XTRANS = "GGRGGB/GGBGGR/BRGRBG/GGBGGR/GGRGGB/RBGBRG"


def stack(values: Any, cfa: str = "", **coords: Any) -> xr.DataArray:
    values = np.asarray(values)
    numbers = {"y": 3 + np.arange(values.shape[1]), "x": 5 + np.arange(values.shape[2])}
    return xr.DataArray(values, dims=("frame", "y", "x"), coords=numbers | coords, attrs={"cfa": cfa})


def channel_map(cfa: str, values: dict[str, float]) -> np.ndarray:
    """A number on every pixel, by channel, found from the sensor's pattern pixel by pixel."""
    from calibkit import Pattern

    pattern = Pattern(cfa)
    return np.array([[values[pattern.label(y + 3, x + 5)] for x in range(SIZE[1])] for y in range(SIZE[0])])


@pytest.mark.parametrize(
    ("cfa", "noise"),
    [
        ("", {"L": 6.0}),
        ("GRBG", dict(zip(CHANNELS, (3.0, 4.0, 5.0, 6.0), strict=True))),
        (XTRANS, {"R": 3.0, "G": 4.0, "B": 5.0}),
    ],
)
def test_read_noise_per_channel(cfa: str, noise: dict[str, float]) -> None:
    rng = np.random.default_rng(1)
    pattern_noise = rng.normal(0, 30, SIZE)  # the same in every frame: it must not count
    frames = 500 + pattern_noise + channel_map(cfa, noise) * rng.normal(0, 1, (7, *SIZE))
    found = measure_read_noise(stack(frames, cfa))
    assert found.unit == "adu"
    assert found.samples == 3
    for name, sigma in noise.items():
        assert found[name] == pytest.approx(sigma, rel=0.03)
        assert abs(found[name] - sigma) < 4 * found.errors[name]
        assert found.errors[name] < 0.03 * sigma


def test_a_measurement_is_of_all_pixels_and_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample, which is enough for pictures of the noise, would be of one band and one pair here."""
    rng = np.random.default_rng(13)
    biases = stack(rng.normal(100, 3, (4, *SIZE)))
    flats = stack(100 + rng.poisson(8000, (4, *SIZE)) / 2.0)
    read_noise, gain = measure_read_noise(biases), measure_gain(flats, biases)
    for name in ("_SAMPLE_BANDS", "_SAMPLE_TILES", "_SAMPLE_PAIRS"):
        monkeypatch.setattr(pairs, name, 1)
    assert pairs.pair_noise(biases, sample=True).noise != pairs.pair_noise(biases, sample=False).noise
    assert measure_read_noise(biases) == read_noise
    assert measure_gain(flats, biases) == gain
    with pytest.raises(FrozenInstanceError):
        gain.unit = "adu"


def test_what_is_cut_off_is_made_up_for() -> None:
    assert pytest.approx(stats.truncnorm(-pairs.CLIP, pairs.CLIP).var(), rel=1e-9) == pairs._KEPT


def test_error_is_that_of_repeated_measurements() -> None:
    rng = np.random.default_rng(2)
    found = [measure_read_noise(stack(rng.normal(0, 5, (2, *SIZE)))) for _ in range(60)]
    scatter = np.std([f.value for f in found], ddof=1)
    assert np.mean([f.error for f in found]) == pytest.approx(scatter, rel=0.35)


def test_gain_makes_electrons() -> None:
    rng = np.random.default_rng(3)
    frames = stack(rng.normal(500, 4, (4, *SIZE)), "RGGB")
    gain = dict(zip(CHANNELS, (1.0, 2.0, 2.0, 3.0), strict=True))
    adu, electrons = measure_read_noise(frames), measure_read_noise(frames, gain=gain)
    assert electrons.unit == "electron"
    for name in CHANNELS:
        assert electrons[name] == pytest.approx(adu[name] * gain[name])
        assert electrons.errors[name] == pytest.approx(adu.errors[name] * gain[name])


def test_error_of_the_mean_over_channels() -> None:
    found = Measurement({"R": 1.0, "G": 2.0, "B": 6.0}, {"R": 0.3, "G": 0.4, "B": 1.2}, "adu", 1)
    assert found.value == pytest.approx(3.0)
    assert found.error == pytest.approx(1.3 / 3)  # 0.3² + 0.4² + 1.2² = 1.3²


def test_cosmic_rays_and_changing_levels_do_not_count() -> None:
    rng = np.random.default_rng(4)
    frames = rng.normal(500, 5, (4, *SIZE)) + np.array([0, 3, -4, 8])[:, None, None]
    struck = rng.random(frames.shape) < 1e-3
    frames[struck] += rng.exponential(3000, np.count_nonzero(struck))
    assert measure_read_noise(stack(frames)).value == pytest.approx(5, rel=0.01)


def test_coarse_whole_numbers() -> None:
    """Noise below one ADU, where most differences are 0."""
    rng = np.random.default_rng(5)
    frames = np.rint(60.3 + rng.normal(0, 0.4, (8, *SIZE))).astype("u2")
    number = np.arange(55, 66)
    chance = np.diff(stats.norm.cdf(np.append(number - 0.5, 65.5), 60.3, 0.4))
    expected = np.sqrt(chance @ number**2 - (chance @ number) ** 2)
    assert measure_read_noise(stack(frames)).value == pytest.approx(expected, rel=0.01)


def test_lazy_stacks_give_the_same() -> None:
    rng = np.random.default_rng(6)
    frames = stack(rng.integers(490, 510, (4, *SIZE)).astype("u2"), "RGGB")
    assert measure_read_noise(frames.chunk(frame=1, y=40)) == measure_read_noise(frames)


class TestGain:
    @pytest.mark.parametrize("cfa", ["", "BGGR"])
    def test_vignetted_flats_of_changing_lamps(self, cfa: str) -> None:
        rng = np.random.default_rng(7)
        gains = {"L": 1.9} if not cfa else dict(zip(CHANNELS, (1.5, 1.6, 1.7, 2.4), strict=True))
        gain = channel_map(cfa, gains)
        response = 1 - 0.4 * np.hypot(
            *np.meshgrid(np.linspace(-1, 1, SIZE[0]), np.linspace(-1, 1, SIZE[1]), indexing="ij")
        )
        lamp = np.array([1.0, 1.03, 0.97, 1.01, 0.99, 1.0])[:, None, None]
        bias = rng.normal(0, 8, SIZE)
        level = 15_000 * lamp * response * rng.normal(1, 0.02, SIZE)
        flats = 700 + bias + rng.poisson(level) / gain + rng.normal(0, 4, (6, *SIZE))
        biases = 700 + bias + rng.normal(0, 4, (4, *SIZE))
        found = measure_gain(stack(flats, cfa), stack(biases, cfa))
        for name, value in gains.items():
            assert found[name] == pytest.approx(value, rel=0.02)
            assert abs(found[name] - value) < 4 * found.errors[name]
            assert found.errors[name] < 0.02 * value

    @pytest.mark.parametrize(("gain", "read_noise"), [(2.0, 10.0), (40.0, 0.3)])
    def test_dim_flats_of_which_most_noise_is_of_reading(self, gain: float, read_noise: float) -> None:
        rng = np.random.default_rng(11)
        lamp = np.array([130.0, 200.0, 200.0, 130.0, 500.0])[:, None, None]
        flats = 50 + rng.poisson(lamp, (5, *SIZE)) / gain + rng.normal(0, read_noise, (5, *SIZE))
        biases = 50 + rng.normal(0, read_noise, (8, *SIZE))
        found = measure_gain(stack(flats), stack(biases))
        assert found.samples == 2
        assert found.value == pytest.approx(gain, rel=0.06)
        assert abs(found.value - gain) < 4 * found.error
        two = measure_gain(stack(flats[:2]), stack(biases))
        assert two.samples == 1
        assert measure_gain(stack(flats), stack(biases[:2])).samples == 2
        assert two.error == pytest.approx(found.error * np.sqrt(2), rel=0.3)

    @pytest.mark.parametrize("axis", [0, 1])
    def test_tiles_where_saturation_begins_tell_no_gain(self, axis: int) -> None:
        rng = np.random.default_rng(12)
        level = np.linspace(2000, 16_000, SIZE[axis]).reshape((-1, 1) if axis == 0 else (1, -1))
        flats = np.minimum(100 + rng.poisson(np.broadcast_to(level, (6, *SIZE))) / 2.0, 5000.0)
        biases = stack(rng.normal(100, 3, (4, *SIZE)))
        told = measure_gain(stack(flats).assign_attrs(saturation=5000.0), biases)
        assert abs(told.value - 2.0) < 4 * told.error
        assert told.value == pytest.approx(2.0, rel=0.02)
        assert measure_gain(stack(flats), biases).value > 2.3  # what the clipped tiles would have added

    def test_saturated_samples_are_left_out(self) -> None:
        rng = np.random.default_rng(8)
        electrons = np.where(np.arange(SIZE[1]) < 100, 8000, 40_000)
        flats = np.minimum(100 + np.rint(rng.poisson(electrons, (4, *SIZE)) / 2.0), 5000)
        biases = stack(rng.normal(100, 3, (4, *SIZE)))
        found = measure_gain(stack(flats).assign_attrs(saturation=5000.0), biases)
        assert found.value == pytest.approx(2.0, rel=0.03)

    def test_measurement_is_taken_by_calibrate(self) -> None:
        rng = np.random.default_rng(9)
        biases = stack(np.rint(rng.normal(100, 3, (6, *SIZE))))
        flats = stack(100 + np.rint(rng.poisson(8000, (4, *SIZE)) / 2.0))
        light = stack(np.full((1, *SIZE), 1000.0))[0]
        gain = measure_gain(flats, biases)
        result = calibrate(
            light, bias=master_bias(biases), gain=gain, read_noise=measure_read_noise(biases, gain=gain)
        )
        assert float(result["variance"].median()) == pytest.approx(900 / 2 + 9, rel=0.03)

    def test_frames_that_show_nothing_are_refused(self) -> None:
        rng = np.random.default_rng(10)
        biases = stack(rng.normal(100, 3, (4, *SIZE)))
        with pytest.raises(CalibkitError, match="no photon noise in channel L"):
            measure_gain(biases, biases)
        with pytest.raises(MismatchError, match="2 frames at least are needed"):
            measure_gain(biases[:1], biases)
        with pytest.raises(MismatchError, match="biases measure"):
            measure_gain(biases[:, 2:], biases)
        with pytest.raises(MismatchError, match="2 frames at least are needed"):
            measure_read_noise(biases[0])
        other = stack(rng.normal(100, 3, (4, *SIZE))).assign_attrs(camera="B")
        with pytest.raises(MismatchError, match="camera"):
            measure_gain(biases.assign_attrs(camera="A"), other)
        with pytest.raises(SettingError, match="gain=0"):
            measure_read_noise(biases, gain=0)


def clipped_with_numpy(row: np.ndarray) -> float:
    """Variance of one row without what is further than 4 sigma from its mean, written out with numpy."""
    row = row[np.isfinite(row)].astype(np.float64)
    for _ in range(6):
        inside = np.abs(row - row.mean()) <= 4 * row.std()
        if inside.all():
            break
        row = row[inside]
    return row.var(ddof=1) / (1 - 8 * stats.norm.pdf(4) / (1 - 2 * stats.norm.sf(4)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_clipped_variance_is_that_of_the_rows_one_by_one(dtype: type) -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(20, 3, (40, 301)).astype(dtype)
    rows[::2, 5:9] += rng.normal(0, 300, (20, 4))
    rows[3, :100], rows[4, 7], rows[5, :] = np.nan, np.inf, np.nan
    rows[6, 149:] = np.nan
    found, good = pairs.clipped_variance(rows)
    assert np.flatnonzero(~good).tolist() == [5, 6]
    assert np.isnan(found[~good]).all()
    np.testing.assert_allclose(found[good], [clipped_with_numpy(row) for row in rows[good]], rtol=1e-9)
    np.testing.assert_array_equal(pairs.clipped_variance(rows[:, ::-1])[1], good)


def test_noise_of_pairs_is_taken_of_pixels_that_are_good_in_all_frames() -> None:
    """Against numpy, tile by tile, with a hot pixel, a missing sample and an outlier in a difference."""
    rng = np.random.default_rng(4)
    frames = rng.normal(100, 2, (5, 2, 200))
    frames[:, 0, 3] += 500
    frames[1, 1, 7], frames[2, 1, 9] = np.nan, 400
    level, variances = pairs._noise_of_tiles(frames)
    for tile in range(2):
        mean = np.nanmean(frames[:, tile], axis=0)
        kept = np.abs(mean - np.median(mean)) < 20
        assert kept.sum() == (199, 199)[tile]
        assert level[tile] == pytest.approx(mean[kept].mean(), rel=1e-9)
        for pair in range(2):
            difference = (frames[2 * pair, tile] - frames[2 * pair + 1, tile])[kept]
            assert variances[pair][tile] == pytest.approx(clipped_with_numpy(difference) / 2, rel=1e-9)


@pytest.mark.parametrize("dtype", [np.uint16, np.float64])
def test_tiles_with_some_saturated_samples_as_numpy_has_them(dtype: type) -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(4000, 40, (3, 7, 200)).astype(dtype)
    values[:, 2, :150] = 5000
    values[1, 4, 5:20] = 6000
    if dtype is np.float64:
        values[0, 1, ::3] = np.nan
    sums, kept = pairs.TileSums.of(values, 5000.0), np.where(values >= 5000.0, np.nan, values)
    np.testing.assert_allclose(sums.total, np.nansum(kept, axis=2))
    np.testing.assert_array_equal(sums.count, np.isfinite(kept).sum(axis=2))
    np.testing.assert_array_equal(sums.above, (values >= 5000.0).sum(axis=2))
    for found, expected in zip(
        pairs.ratio_variance(values[0], values[1], 1.01, 5000.0),
        pairs.clipped_variance(kept[0] - 1.01 * kept[1]),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected)
    assert not pairs.ratio_variance(values[0], values[1], 1.0, 5000.0)[1][2]
    np.testing.assert_allclose(  # no level is known at which they saturate
        pairs.ratio_variance(values[1], values[2], 1.0, np.nan)[0],
        pairs.clipped_variance(values[1].astype(float) - values[2])[0],
    )

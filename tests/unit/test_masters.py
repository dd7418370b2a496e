"""Master frames against what they were drawn from."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit import (
    CalibkitWarning,
    MismatchError,
    SettingError,
    constant_bias,
    master_bias,
    master_dark,
    master_flat,
)
from calibkit import flags as fl
from calibkit.calibration import flat_level, levels
from calibkit.cfa import channel_index

SIZE = (64, 80)
CHANNELS = ("R", "G1", "G2", "B")


def stack(values: Any, kind: str, *, exposure: Any = 1.0, cfa: str = "RGGB", **attrs: Any) -> xr.DataArray:
    values = np.asarray(values)
    n = len(values)
    coords = {
        "y": 1 + np.arange(values.shape[1]),
        "x": np.arange(values.shape[2]),
        "kind": ("frame", [kind] * n),
        "exposure": ("frame", np.broadcast_to(float(exposure) if np.ndim(exposure) == 0 else exposure, n)),
        "temperature": ("frame", np.full(n, -10.0)),
        "file": ("frame", [f"{kind}{i}.fits" for i in range(n)]),
    }
    known = {"units": "adu", "cfa": cfa, "saturation": 60_000.0, "pedestal": 0.0, "camera": "Cam"}
    return xr.DataArray(values, dims=("frame", "y", "x"), coords=coords, attrs=known | attrs)


def noisy(level: Any, sigma: float, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (np.asarray(level) + rng.normal(0, sigma, (count, *SIZE))).astype("f4")


@pytest.fixture
def bias() -> xr.Dataset:
    return master_bias(stack(noisy(500, 4, 10), "bias", exposure=0.0))


class TestBias:
    def test_mean_noise_and_level(self, bias: xr.Dataset) -> None:
        frames = noisy(500, 4, 10)
        none = master_bias(stack(frames, "bias"), reject="none")
        np.testing.assert_allclose(none["signal"], frames.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(none["variance"], frames.var(axis=0, ddof=1) / 10, rtol=1e-4)
        assert bias.attrs["kind"] == "bias"
        assert bias.attrs["n_frames"] == 10
        for name in CHANNELS:
            assert bias.attrs["frame_noise"][name] == pytest.approx(4, rel=0.05)
            assert bias.attrs["channel_level"][name] == pytest.approx(500, abs=0.3)
        assert bias.attrs["provenance"][0]["inputs"][:2] == ["bias0.fits", "bias1.fits"]

    def test_one_frame_does_not_know_its_noise(self) -> None:
        with pytest.warns(CalibkitWarning, match="variance of the result is not known"):
            one = master_bias(stack(noisy(500, 4, 1), "bias"))
        assert np.isnan(one["variance"]).all()
        assert "frame_noise" not in one.attrs

    def test_other_kinds_are_refused(self) -> None:
        with pytest.raises(MismatchError, match=r"kind 'light', wanted are biass?"):
            master_bias(stack(noisy(500, 4, 3), "light"))
        with pytest.raises(SettingError, match="not a result"):
            master_bias(xr.Dataset())


class TestDark:
    def test_bias_is_subtracted_with_its_variance(self, bias: xr.Dataset) -> None:
        darks = stack(noisy(540, 4, 8, seed=1), "dark", exposure=60.0)
        raw, free = master_dark(darks), master_dark(darks, bias=bias)
        np.testing.assert_allclose(free["signal"], raw["signal"] - bias["signal"], atol=1e-4)
        np.testing.assert_allclose(free["variance"], raw["variance"] + bias["variance"], rtol=1e-6)
        assert not raw.attrs["bias_subtracted"]
        assert free.attrs["bias_subtracted"]
        assert free.attrs["channel_level"]["R"] == pytest.approx(40, abs=0.5)
        assert free.attrs["exposure"] == 60.0
        (step,) = [s for s in free.attrs["provenance"] if s["step"] == "subtract bias"]
        assert step["frames"] == 10
        assert step["inputs"][0] == "bias0.fits"

    def test_calibrate_knows_the_bias_again(self, bias: xr.Dataset) -> None:
        dark = master_dark(stack(noisy(540, 4, 8), "dark", exposure=60.0), bias=bias)
        other = master_bias(stack(noisy(500, 4, 10, seed=9), "bias", exposure=0.0))
        same_bias = calibkit.calibration.dark.same_bias
        assert same_bias(bias, dark)
        assert not same_bias(other, dark)

    def test_hot_and_saturated_pixels_are_flagged(self) -> None:
        level = np.full(SIZE, 540.0)
        level[20, 30], level[40, 41] = 900.0, 70_000.0
        frames = np.minimum(noisy(level, 4, 8, seed=3), 60_000)
        flags = master_dark(stack(frames, "dark"))["flags"].values
        assert flags[20, 30] == fl.HOT
        assert flags[40, 41] & (fl.HOT | fl.SATURATED) == fl.HOT | fl.SATURATED
        assert np.count_nonzero(flags) <= 3
        assert np.count_nonzero(master_dark(stack(frames, "dark"), hot_sigma=None)["flags"]) == 1

    def test_mixed_darks_are_refused(self) -> None:
        frames = noisy(540, 4, 4)
        with pytest.raises(MismatchError, match="darks differ in exposure: 30, 60 s"):
            master_dark(stack(frames, "dark", exposure=[60, 60, 30, 60]))
        warm = stack(frames, "dark").assign_coords(temperature=("frame", [-10.0, -10.0, -10.0, -6.0]))
        with pytest.raises(MismatchError, match="darks differ in temperature"):
            master_dark(warm)
        assert master_dark(warm, temperature_tolerance=5.0).attrs["temperature"] == -8.0


LAMP = dict(zip(CHANNELS, (9000.0, 16000.0, 15900.0, 11000.0), strict=True))


class TestFlat:
    def response(self) -> np.ndarray:
        y, x = np.meshgrid(np.linspace(-1, 1, SIZE[0]), np.linspace(-1, 1, SIZE[1]), indexing="ij")
        return 1 - 0.15 * (y**2 + x**2) + np.random.default_rng(4).normal(0, 0.01, SIZE)

    def mosaic(self) -> np.ndarray:
        """The lamp's colours on the grid of a sensor whose crop begins at row 1: G2 B / R G1."""
        lamp = np.empty(SIZE)
        lamp[0::2, 0::2], lamp[0::2, 1::2] = LAMP["G2"], LAMP["B"]
        lamp[1::2, 0::2], lamp[1::2, 1::2] = LAMP["R"], LAMP["G1"]
        return lamp * self.response()

    def frames(self, lamp: tuple[float, ...] = (1.0, 1.1, 0.9, 1.0, 1.05, 0.95)) -> np.ndarray:
        rng = np.random.default_rng(6)
        return np.array([500 + rng.poisson(self.mosaic() * f) for f in lamp]).astype("f4")

    def test_mean_is_one_in_every_channel(self, bias: xr.Dataset) -> None:
        flat = master_flat(stack(self.frames(), "flat"), bias=bias)
        assert flat.attrs["units"] == "1"
        for name in CHANNELS:
            assert float(flat.cfa[name]["signal"].mean()) == pytest.approx(1, abs=1e-3)
        ratios = {n: flat.attrs["channel_level"][n] / flat.attrs["channel_level"]["R"] for n in CHANNELS}
        for name in CHANNELS:
            assert ratios[name] == pytest.approx(LAMP[name] / LAMP["R"], rel=2e-3)

    def test_shape_and_variance_are_those_of_the_response(self, bias: xr.Dataset) -> None:
        flat = master_flat(stack(self.frames(), "flat"), bias=bias, reject="none")
        response = xr.DataArray(
            self.response(), coords=flat["signal"].coords, dims=("y", "x"), attrs={"cfa": "RGGB"}
        )
        for name in CHANNELS:
            truth = response.cfa[name] / response.cfa[name].mean()
            plane = flat.cfa[name]
            pull = (plane["signal"] - truth) / np.sqrt(plane["variance"])
            # variance from six frames: Student's t with five degrees of freedom, whose sigma is sqrt(5/3)
            assert float(pull.std()) == pytest.approx(np.sqrt(5 / 3), rel=0.12)
            assert abs(float(pull.mean())) < 0.15

    def test_lazy_stacks_and_masters_give_the_same(self, bias: xr.Dataset) -> None:
        frames = stack(self.frames(), "flat")
        now = master_flat(frames, bias=bias)
        lazy = master_flat(frames.chunk(frame=1, y=16), bias=bias.chunk(y=20))
        np.testing.assert_allclose(lazy["signal"], now["signal"], rtol=1e-6)
        np.testing.assert_array_equal(lazy["flags"], now["flags"])

    def test_flat_dark_is_subtracted(self) -> None:
        dark = master_dark(stack(noisy(500, 4, 10, seed=2), "flat dark"))
        flat = master_flat(stack(self.frames(), "flat"), dark=dark)
        assert flat.attrs["channel_level"]["R"] == pytest.approx(LAMP["R"] * 0.9, rel=0.02)
        assert flat.attrs["dark_subtracted"]

    def test_bias_free_dark_is_scaled(self, bias: xr.Dataset) -> None:
        dark = master_dark(stack(noisy(620, 4, 10, seed=2), "dark", exposure=4.0), bias=bias)
        frames = stack(self.frames() + 30, "flat", exposure=1.0)
        flat = master_flat(frames, bias=bias, dark=dark, dark_scale="exposure", reject="none")
        plain = master_flat(stack(self.frames(), "flat"), bias=bias, reject="none")
        # nothing is rejected: a sample on the very limit may be kept in one of them and not in the other
        np.testing.assert_allclose(flat["signal"], plain["signal"], rtol=2e-3)
        (step,) = [s for s in flat.attrs["provenance"] if s["step"] == "subtract dark"]
        assert step["scale"] == 0.25

    def test_already_combined_flat_is_only_normalised(self, bias: xr.Dataset) -> None:
        frames = self.frames((1.0,) * 6)
        combined = calibkit.combine(stack(frames, "flat"), normalise="none", reject="none")
        flat = master_flat(combined, bias=bias)
        expected = frames.mean(axis=0) - bias["signal"].values
        np.testing.assert_allclose(
            flat.cfa["R"]["signal"] * flat.attrs["channel_level"]["R"], expected[1::2, 0::2], rtol=1e-5
        )

    def test_zero_negative_and_saturated_pixels_are_bad(self, bias: xr.Dataset) -> None:
        frames = self.frames()
        frames[:, 10, 10], frames[:, 11, 11], frames[:, 12, 12] = 300, 60_000, np.nan
        flat = master_flat(stack(frames, "flat"), bias=bias)
        bad = (flat["flags"].values & fl.BAD_FLAT) != 0
        assert bad[10, 10]
        assert bad[11, 11]
        assert bad[12, 12]
        assert np.count_nonzero(bad) == 3

    def test_saturated_in_one_frame_only(self, bias: xr.Dataset) -> None:
        frames = self.frames()
        frames[2, 11, 11] = 60_000
        flat = master_flat(stack(frames, "flat"), bias=bias, reject="none")
        expected = np.delete(frames[:, 11, 11], 2)
        level = frames[:, :, :].mean(axis=(1, 2)) - 500
        ratio = np.median(level) / np.delete(level, 2)
        value = ((expected - 500) * ratio).mean()
        assert float(flat["signal"][11, 11]) * flat.attrs["channel_level"]["G1"] == pytest.approx(
            value, rel=5e-3
        )
        assert flat["flags"].values[11, 11] == 0

    @pytest.mark.parametrize(
        ("change", "options", "match"),
        [
            ({"exposure": 1.0}, {"exposure": 2.0}, "flat dark is longer than the flat"),
            ({"exposure": 2.0}, {"exposure": 1.0}, "exposed for 1 s and the flat for 2 s"),
        ],
    )
    def test_flat_dark_of_another_exposure(self, change: dict, options: dict, match: str) -> None:
        dark = master_dark(stack(noisy(500, 4, 6), "flat dark", **options))
        with pytest.raises(MismatchError, match=match):
            master_flat(stack(self.frames(), "flat", **change), dark=dark)

    def test_bias_twice(self, bias: xr.Dataset) -> None:
        dark = master_dark(stack(noisy(500, 4, 6), "flat dark"))
        with pytest.raises(MismatchError, match="bias subtracted twice"):
            master_flat(stack(self.frames(), "flat"), bias=bias, dark=dark)
        with pytest.raises(MismatchError, match="bias subtracted twice"):
            master_flat(stack(self.frames(), "flat", bias_subtracted=True), bias=bias)

    def test_offset_that_stays_is_told(self) -> None:
        with pytest.warns(CalibkitWarning, match="offset stays in it"):
            master_flat(stack(self.frames(), "flat"))

    def test_mixed_filters(self, bias: xr.Dataset) -> None:
        frames = stack(self.frames(), "flat").assign_coords(filter=("frame", ["V"] * 5 + ["B"]))
        with pytest.raises(MismatchError, match="several filters: B, V"):
            master_flat(frames, bias=bias)


class TestExposureOfFlats:
    @staticmethod
    def flat(levels: tuple[float, float, float, float], gain: float = 1.0, **attrs: Any) -> xr.Dataset:
        rng = np.random.default_rng(8)
        lamp = np.empty(SIZE)
        lamp[1::2, 0::2], lamp[1::2, 1::2], lamp[0::2, 0::2], lamp[0::2, 1::2] = levels
        frames = 500 + rng.poisson(lamp * gain, (10, *SIZE)) / gain + rng.normal(0, 5, (10, *SIZE))
        bias = constant_bias(stack(np.zeros((1, *SIZE), "f4"), "bias"), 500.0)
        return master_flat(stack(np.minimum(frames, 60_000).astype("f4"), "flat", **attrs), bias=bias)

    def test_good_flats_are_silent(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.flat((15_000, 30_000, 30_000, 20_000))

    def test_weak_channel(self) -> None:
        with pytest.warns(
            CalibkitWarning, match=r"channel B is weakly exposed \(300.* ADU above the offset\)"
        ) as found:
            self.flat((15_000, 30_000, 30_000, 300))
        assert len(found) == 1
        assert "adds 1.8" in str(found[0].message) or "adds 1.9" in str(found[0].message)

    def test_channel_near_saturation(self) -> None:
        with pytest.warns(
            CalibkitWarning, match="channel G1 lies at 5.... ADU above the offset, 93 % of saturation"
        ):
            self.flat((15_000, 56_000, 30_000, 20_000))

    def test_saturated_channel_is_refused(self) -> None:
        with pytest.raises(MismatchError, match="% of the pixels of channel G1 are saturated"):
            self.flat((15_000, 61_000, 30_000, 20_000))

    def test_empty_channel_is_flagged_whole(self) -> None:
        """As behind a narrowband filter: the other channels are usable."""
        with pytest.warns(CalibkitWarning, match="no light in channel B"):
            flat = self.flat((15_000, 3000, 3000, 0.0), gain=2.0)
        assert (flat.cfa["B"]["flags"] == fl.BAD_FLAT).all()
        assert np.isnan(flat.cfa["B"]["signal"]).all()
        assert float(flat.cfa["R"]["signal"].mean()) == pytest.approx(1, abs=1e-3)

    def test_no_light_at_all(self) -> None:
        with pytest.raises(MismatchError, match="no light above its noise in any channel"):
            self.flat((0, 0, 0, 0))


class TestConstantBias:
    def test_levels_lie_on_their_channels(self) -> None:
        level = dict(zip(CHANNELS, (60.0, 61.0, 62.0, 63.0), strict=True))
        frames = stack(np.zeros((2, 7, 9), "u2"), "light", cfa="GBRG", black=level)
        bias = constant_bias(frames)
        for name, value in level.items():
            assert (bias.cfa[name]["signal"] == value).all()
        assert (bias["variance"] == 0).all()

    def test_pedestal_and_number(self) -> None:
        frames = stack(np.zeros((2, 7, 9), "u2"), "light", pedestal=100.0)
        assert (constant_bias(frames)["signal"] == 100).all()
        known = constant_bias(frames, 512.5, error=0.5)
        assert (known["signal"] == 512.5).all()
        assert (known["variance"] == 0.25).all()

    def test_unknown_level_is_refused(self) -> None:
        with pytest.raises(SettingError, match="neither black level nor pedestal"):
            constant_bias(stack(np.zeros((2, 7, 9), "u2"), "light"))


@pytest.mark.parametrize("sample", [10**6, 300])
@pytest.mark.parametrize("cfa", ["", "GRBG", "GGRGGB/GGBGGR/BRGRBG/GGBGGR/GGRGGB/RBGBRG"])
def test_level_of_a_channel_is_the_clipped_mean_of_its_good_pixels(
    monkeypatch: pytest.MonkeyPatch, cfa: str, sample: int
) -> None:
    """Against numpy, channel by channel, with flagged, missing and outlying pixels and bands of a few rows."""
    for module in (levels, flat_level):
        monkeypatch.setattr(module, "MEDIAN_SAMPLE", sample)
    monkeypatch.setattr(flat_level, "_ROWS", 13)
    rng = np.random.default_rng(8)
    shape = (61, 74)
    signal = rng.normal(9000, 60, shape).astype("f4")
    variance = rng.uniform(300, 900, shape).astype("f4")
    flags = np.where(rng.random(shape) < 0.1, rng.choice([1, 2, 4, 64, 128, 129, 132, 512], shape), 0)
    signal[5, 6:40], signal[7, 8], signal[9, 1:30] = 20_000, np.nan, -5
    arrays = {"signal": signal.copy(), "variance": variance.copy(), "flags": flags.astype("u2")}
    flat = xr.Dataset(
        {name: (("y", "x"), array) for name, array in arrays.items()},
        coords={"y": 3 + np.arange(shape[0]), "x": 1 + np.arange(shape[1])},
        attrs={"cfa": cfa, "provenance": []},
    )
    cell, channels = channel_index(flat)
    result, found = flat_level.divide_by_level(flat)
    index = np.tile(cell, shape)[: shape[0], : shape[1]]
    for number, name in enumerate(channels):
        own = levels.channel_values(signal, flags, cell, number)
        level = levels.clipped_mean(own)
        assert found[name].level == pytest.approx(level, rel=1e-7)
        good = levels.channel_values(np.where(np.isnan(signal), np.nan, variance), flags, cell, number)
        spread = np.sqrt(levels.median_of_some(good))
        assert found[name].noise == pytest.approx(spread / level, rel=1e-6 if sample > 300 else 0.05)
        assert found[name].saturated == pytest.approx(np.mean((flags[index == number] & 2) != 0))
        here = index == number
        np.testing.assert_allclose(result["signal"].values[here], signal[here] / level, rtol=1e-6)
        np.testing.assert_allclose(result["variance"].values[here], variance[here] / level**2, rtol=1e-6)
    bad = ~(signal > 0) | ((flags & (fl.SATURATED | fl.NO_DATA | fl.REJECTED_ALL)) != 0)
    np.testing.assert_array_equal(result["flags"], flags | np.where(bad, fl.BAD_FLAT, 0))


def test_a_channel_without_a_good_pixel_is_flagged_as_a_whole() -> None:
    from calibkit.calibration.flat_level import divide_by_level

    flags = np.zeros((6, 8), "u2")
    flags[1::2, 1::2] = fl.REJECTED_ALL
    arrays = {"signal": np.full((6, 8), 9000, "f4"), "variance": np.full((6, 8), 400, "f4"), "flags": flags}
    flat = xr.Dataset(
        {name: (("y", "x"), array) for name, array in arrays.items()},
        coords={"y": np.arange(6), "x": np.arange(8)},
        attrs={"cfa": "RGGB", "provenance": []},
    )
    with pytest.warns(CalibkitWarning, match=r"no light in channel B \(no good pixel\)"):
        result, found = divide_by_level(flat)
    blue = flags != 0
    assert (result["signal"].values[~blue] == 1).all()
    assert np.isnan(result["signal"].values[blue]).all()
    np.testing.assert_array_equal((result["flags"].values & fl.BAD_FLAT) != 0, blue)
    assert math.isnan(found["B"].level)
    assert found["B"].saturated == 0


def test_saturation_of_whole_numbers_is_compared_as_numpy_does() -> None:
    from calibkit.calibration.flat import _full

    for dtype in ("u1", "u2", "i2", "i4", "f4"):
        data = np.array([0, 1, 99, 100, 101, 120], dtype)
        for limit in (99.5, 100.0, 0.0, -3.0, 121.0, 255.0, 1e9, np.nan, np.inf):
            expected = data >= np.float64(limit)
            found = _full(data, limit)
            assert np.array_equal(expected, np.zeros(6, bool) if found is None else found)

"""`combine`: what goes in, what comes out, and what is refused."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from calibkit import CalibkitWarning, Cancelled, MismatchError, SettingError, combine, flags
from calibkit.combining import REJECTIONS


def make_stack(
    n: int = 12,
    shape: tuple[int, int] = (24, 30),
    *,
    level: float = 1000.0,
    sigma: float = 10.0,
    **attrs: object,
) -> xr.DataArray:
    """Normal noise about a level, with the coordinates and attributes of opened frames."""
    values = np.random.default_rng(n).normal(level, sigma, (n, *shape)).astype("f4")
    coords = {
        "file": ("frame", [f"frame{i}.fits" for i in range(n)]),
        "kind": ("frame", np.array([attrs.pop("kind", "dark")] * n)),
        "exposure": ("frame", np.full(n, 60.0)),
        "y": np.arange(shape[0]) + 3,
        "x": np.arange(shape[1]) + 5,
    }
    attrs = {"units": "adu", "cfa": "", "camera": "Test", "saturation": float("nan")} | attrs
    return xr.DataArray(values, dims=("frame", "y", "x"), coords=coords, attrs=attrs)


def as_result(stack: xr.DataArray, variance: float | np.ndarray = 100.0) -> xr.Dataset:
    """The stack as calibrated frames, with variances and no flags set."""
    return xr.Dataset(
        {
            "signal": stack,
            "variance": (stack.dims, np.broadcast_to(np.float32(variance), stack.shape).copy()),
            "flags": (stack.dims, np.zeros(stack.shape, np.uint16)),
        },
        attrs=stack.attrs,
    )


class TestResult:
    def test_has_the_agreed_variables_types_and_labels(self) -> None:
        stack = make_stack()
        result = combine(stack, reject="sigma")
        types = {name: result[name].dtype for name in result.data_vars}
        assert types == {
            "signal": np.float32,
            "variance": np.float32,
            "flags": np.uint16,
            "n_kept": np.uint16,
            "rejected_low": np.uint16,
            "rejected_high": np.uint16,
            "rejected_fraction": np.float64,
        }
        assert result.signal.dims == ("y", "x")
        assert result.rejected_fraction.dims == ("frame",)
        np.testing.assert_array_equal(result.y, stack.y)
        np.testing.assert_array_equal(result.x, stack.x)
        assert result.attrs["kind"] == "dark"
        assert result.attrs["exposure"] == 60.0
        assert result.attrs["n_frames"] == 12
        assert result.attrs["units"] == result.signal.attrs["units"] == "adu"
        assert not result.attrs["bias_subtracted"]

    def test_input_is_left_alone(self) -> None:
        stack = make_stack()
        before = stack.copy(deep=True)
        combine(stack, normalise="additive_scaling")
        xr.testing.assert_identical(stack, before)

    def test_provenance_says_what_was_done_and_adds_to_what_there_is(self) -> None:
        stack = make_stack(provenance=[{"step": "subtract bias"}])
        first, second = combine(stack, reject="winsorized", low=4, high=2.5).attrs["provenance"]
        assert first == {"step": "subtract bias"}
        assert (second["step"], second["method"], second["reject"]) == ("combine", "mean", "winsorized")
        assert (second["low"], second["high"]) == (4.0, 2.5)
        assert second["inputs"] == [f"frame{i}.fits" for i in range(12)]

    def test_per_frame_fractions_find_the_odd_frame(self) -> None:
        stack = make_stack(n=15)
        stack[4] += np.float32(200)
        fraction = combine(stack, reject="winsorized", normalise="none").rejected_fraction.values
        assert fraction[4] > 0.99
        assert np.delete(fraction, 4).max() < 0.02

    def test_sum_keeps_the_level_where_a_sample_was_lost(self) -> None:
        stack = make_stack()
        stack[3, 2, 2] = np.nan
        result = combine(stack, method="sum", reject="none")
        assert float(result.signal[2, 2]) == pytest.approx(12 * float(stack[:, 2, 2].mean()), rel=1e-6)
        assert float(result.signal[0, 0]) == pytest.approx(float(stack[:, 0, 0].sum()), rel=1e-6)
        assert result.attrs["exposure"] == 720.0
        mean = combine(stack, reject="none")
        np.testing.assert_allclose(result.variance, 144 * mean.variance, rtol=1e-5)


class TestMissing:
    def test_nan_and_flagged_samples_never_enter(self) -> None:
        stack = make_stack()
        data = as_result(stack)
        data.signal[2, 5, 5] = np.nan
        data.signal[3, 6, 6] = np.inf
        data.signal[4, 7, 7] = 1e6
        data.flags[4, 7, 7] = flags.COSMIC_RAY
        result = combine(data, reject="none")
        for y, x, gone in ((5, 5, 2), (6, 6, 3), (7, 7, 4)):
            rest = np.delete(stack.values[:, y, x], gone)
            assert float(result.signal[y, x]) == pytest.approx(rest.mean(dtype=float), rel=1e-6)
            assert int(result.n_kept[y, x]) == 11
            assert int(result.flags[y, x]) == 0
        assert int(result.n_kept.sum()) == 12 * stack[0].size - 3

    def test_repaired_samples_enter_and_say_so(self) -> None:
        data = as_result(make_stack())
        data.flags[:, 4, 4] = flags.HOT | flags.REPAIRED
        data.flags[0, 5, 5] = flags.HOT | flags.REPAIRED
        result = combine(data, reject="none")
        assert int(result.flags[4, 4]) == flags.HOT | flags.REPAIRED
        assert int(result.flags[5, 5]) == 0  # the other frames are clean there
        assert int(result.n_kept[4, 4]) == int(result.n_kept[5, 5]) == 12

    def test_pixels_without_a_usable_sample(self) -> None:
        data = as_result(make_stack())
        data.signal[:, 1, 1] = np.nan
        data.flags[:, 2, 2] = flags.SATURATED
        result = combine(data)
        assert np.isnan(result.signal[1, 1])
        assert int(result.flags[1, 1]) & flags.NO_DATA
        assert float(result.signal[2, 2]) == pytest.approx(float(np.median(data.signal[:, 2, 2])))
        assert int(result.flags[2, 2]) == flags.SATURATED, "a lower limit, which a star in a picture may have"
        assert np.isnan(result.variance.values[[1, 2], [1, 2]]).all()

    @pytest.mark.parametrize("lost", [2, 6, 12])
    @pytest.mark.parametrize("method", ["mean", "median", "maximum"])
    def test_saturated_where_at_least_half_of_the_samples_are(self, lost: int, method: str) -> None:
        stack = make_stack(saturation=4000.0)
        stack[:lost, 3, 3] = 4095.0
        result = combine(stack, reject="none", method=method)
        assert bool(int(result.flags[3, 3]) & flags.SATURATED) == (lost >= 6)
        assert int((result.flags != 0).sum()) == (lost >= 6)


class TestVariance:
    def test_input_variances_are_used_where_there_are_any(self) -> None:
        stack = make_stack()
        variance = np.random.default_rng(0).uniform(50, 200, stack.shape).astype("f4")
        result = combine(as_result(stack, variance), reject="none")
        np.testing.assert_allclose(result.variance, variance.mean(axis=0) / 12, rtol=1e-5)

    @pytest.mark.parametrize("dtype", ["f4", "u2", "f8"])
    @pytest.mark.parametrize("n", [2, 3, 6, 33, 64, 100])
    def test_an_outlier_in_any_frame_costs_no_digits(self, n: int, dtype: str) -> None:
        values = np.random.default_rng(n).normal(30_000, 3, (n, 1, n)).round(0 if dtype == "u2" else 9)
        values[np.arange(n), 0, np.arange(n)] += 20_000
        values = values.astype(dtype)
        found = combine(xr.DataArray(values, dims=("frame", "y", "x")), reject="none")
        expected = values.var(axis=0, ddof=1, dtype=float) / n
        np.testing.assert_allclose(found.variance, expected, rtol=3e-6)
        np.testing.assert_array_equal(found.signal, values.mean(axis=0, dtype=float).astype("f4"))

    def test_rejected_samples_do_not_count(self) -> None:
        stack = make_stack(n=20)
        stack[7, 4, 4] = 9000.0
        variance = np.full(stack.shape, 100.0, "f4")
        variance[7] = 1e6
        result = combine(as_result(stack, variance), reject="minmax", low=0, high=1)
        plain = combine(as_result(stack), reject="minmax", low=0, high=1)
        assert float(result.variance[4, 4]) == pytest.approx(float(plain.variance[4, 4]))

    def test_weighted_mean_by_noise_has_the_least_variance(self) -> None:
        rng = np.random.default_rng(3)
        sigma = np.repeat([5.0, 5.0, 10.0, 40.0], 3)
        values = (500 + sigma[:, None, None] * rng.normal(size=(12, 150, 160))).astype("f4")
        stack = xr.DataArray(values, dims=("frame", "y", "x"))
        result = combine(stack, reject="none", weights="noise")
        best = 1 / (1 / sigma**2).sum()
        assert float(result.signal.var()) == pytest.approx(best, rel=0.03)
        assert float(result.variance.mean()) == pytest.approx(best, rel=0.03)

    def test_given_weights(self) -> None:
        stack = make_stack(n=4, shape=(80, 90))
        weights = [1.0, 2.0, 0.0, 5.0]
        result = combine(stack, reject="none", weights=weights)
        expected = np.average(stack.values.astype(float), axis=0, weights=weights)
        np.testing.assert_allclose(result.signal, expected, rtol=1e-6)
        assert float(result.variance.mean()) == pytest.approx(100 * 30 / 64, rel=0.03)
        xr.testing.assert_identical(
            combine(stack, reject="none", weights=np.array(weights)).signal, result.signal
        )
        carried = combine(as_result(stack), reject="none", weights=weights)
        np.testing.assert_allclose(carried.variance, 100 * 30 / 64, rtol=1e-5)

    def test_exposure_weights(self) -> None:
        stack = make_stack(n=3)
        stack = stack.assign_coords(exposure=("frame", [10.0, 20.0, 30.0]))
        result = combine(stack, reject="none", weights="exposure")
        np.testing.assert_allclose(
            result.signal, np.average(stack.values.astype(float), axis=0, weights=[1, 2, 3]), rtol=1e-6
        )

    def test_a_single_frame_has_the_variance_of_its_model_or_none(self) -> None:
        stack = make_stack(n=1, bias_subtracted=True)
        with pytest.warns(CalibkitWarning, match="variance of the result is not known"):
            unknown = combine(stack)
        assert np.isnan(unknown.variance).all()
        np.testing.assert_array_equal(unknown.signal, stack[0])
        known = combine(stack, gain=2.0, read_noise=6.0)
        np.testing.assert_allclose(known.variance, 9 + stack[0] / 2, rtol=1e-5)


class TestChoice:
    @pytest.mark.parametrize(
        ("n", "options", "chosen"),
        [
            (1, {"gain": 1.0, "read_noise": 5.0}, "none"),
            (3, {}, "none"),
            (3, {"gain": 1.0, "read_noise": 5.0}, "noise_model"),
            (4, {}, "gesd"),
            (6, {}, "gesd"),
            (12, {}, "winsorized"),
            (40, {}, "sigma"),
            (12, {"method": "median"}, "none"),
            (12, {"method": "maximum"}, "none"),
            (4, {"low": 2.5}, "mad"),
            (5, {"low": 2.0, "high": 3.0}, "winsorized"),
            (6, {"high": 2.5}, "winsorized"),
            (7, {"high": 2.5}, "winsorized"),
            (40, {"low": 2.0}, "sigma"),
            (5, {"low": 2.0, "gain": 1.0, "read_noise": 5.0}, "noise_model"),
        ],
    )
    def test_auto_chooses_by_number_and_knowledge_and_says_why(
        self, n: int, options: dict[str, object], chosen: str
    ) -> None:
        result = combine(make_stack(n=n, shape=(4, 5), bias_subtracted=True), **options)
        step = result.attrs["provenance"][-1]
        assert step["reject"] == chosen
        assert len(step["chosen_because"]) > 20
        assert step["chosen_because"] in result.attrs["rejection"]

    @pytest.mark.parametrize(("n", "method"), [(3, "mean"), (9, "median"), (9, "maximum")])
    def test_auto_says_that_limits_are_not_used(self, n: int, method: str) -> None:
        stack = make_stack(n=n, shape=(4, 5))
        assert "low and high are not used" in combine(stack, method=method, low=2.0).attrs["rejection"]
        assert "not used" not in combine(stack, method=method).attrs["rejection"]

    @pytest.mark.parametrize("n", [4, 5, 6])
    def test_limits_of_auto_are_standard_deviations_of_few_frames_too(self, n: int) -> None:
        values = np.random.default_rng(n).normal(1000.0, 8.0, (n, 300, 300)).astype("f4")
        values[1, ::10, ::10] += 400.0
        stack = xr.DataArray(values, dims=("frame", "y", "x"))
        lost = [combine(stack, low=limit, high=limit).rejected_fraction.values for limit in (2.0, 3.0, 4.0)]
        assert lost[0].sum() > lost[1].sum() > lost[2].sum()  # the tighter the more, unlike a significance
        assert all(each[1] >= 0.0099 for each in lost)  # all that stand out, one pixel in a hundred

    @pytest.mark.parametrize("n", [4, 5, 6, 7, 10, 20, 30])
    def test_auto_costs_little_and_finds_what_stands_out(self, n: int) -> None:
        rng = np.random.default_rng(n)
        values = rng.normal(1000.0, 8.0, (n, 250, 250)).astype(np.float32)
        values[n // 2, ::10, ::10] += 400.0  # 50 σ
        stack = xr.DataArray(values, dims=("frame", "y", "x"), attrs={"units": "adu", "kind": "dark"})
        signal = combine(stack).signal.values
        struck = np.zeros((250, 250), bool)
        struck[::10, ::10] = True
        assert signal[~struck].std() < 1.06 * 8.0 / np.sqrt(n)
        assert signal[struck].max() < 1000.0 + 6.0 * 8.0 / np.sqrt(n - 1)

    def test_unknown_offset_level_keeps_auto_from_the_noise_model(self) -> None:
        known = {"gain": 1.0, "read_noise": 5.0}
        assert combine(make_stack(n=12), **known).attrs["provenance"][-1]["reject"] == "winsorized"
        for attrs in (
            {"pedestal": 500.0},
            {"black": {"L": 500.0}},
            {"dark_subtracted": True},
            {"kind": "bias"},
        ):
            result = combine(make_stack(n=12, **attrs), **known)
            assert result.attrs["provenance"][-1]["reject"] == "noise_model", attrs

    def test_noise_of_each_channel(self) -> None:
        rng = np.random.default_rng(8)
        sigma = np.where((np.arange(40) % 2 == 0)[:, None] & (np.arange(40) % 2 == 0), 2.0, 20.0)
        stack = make_stack(n=6, shape=(40, 40), cfa="RGGB", bias_subtracted=True)
        stack = stack.assign_coords(y=np.arange(40), x=np.arange(40))
        stack[:] = rng.normal(0, sigma, stack.shape)
        stack[2, 4, 4] = 30.0  # a red pixel, 15 σ
        stack[2, 5, 5] = 30.0  # a blue pixel, 1.5 σ
        read_noise = {"R": 2.0, "G1": 20.0, "G2": 20.0, "B": 20.0}
        result = combine(stack, gain=1.0, read_noise=read_noise)
        assert result.attrs["provenance"][-1]["reject"] == "noise_model"
        assert int(result.rejected_high[4, 4]) == 1
        assert int(result.rejected_high[5, 5]) == 0
        with pytest.raises(SettingError, match="G1"):
            combine(stack, gain={"R": 1.0}, read_noise=3.0)

    def test_a_setting_that_can_reject_nothing_is_warned_of(self) -> None:
        with pytest.warns(
            CalibkitWarning, match=r"cannot reject a stray sample.*never beyond 2\.85.*takes 11 frames"
        ):
            combine(make_stack(n=10), reject="mean_sigma")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            combine(make_stack(n=11), reject="mean_sigma")

    def test_normalisation_follows_the_kind(self) -> None:
        found = {
            kind: combine(make_stack(kind=kind)).attrs["provenance"][-1]["normalise"]
            for kind in ("bias", "dark", "flat", "flat dark", "light", "")
        }
        assert found == {
            "bias": "none",
            "dark": "none",
            "flat": "multiplicative",
            "flat dark": "none",
            "light": "additive_scaling",
            "": "none",
        }


class TestNormalisation:
    def test_flats_of_falling_light_in_each_colour(self) -> None:
        rng = np.random.default_rng(1)
        light = np.linspace(1.0, 0.4, 11)
        colour = np.tile([[20000.0, 30000.0], [28000.0, 9000.0]], (20, 20))
        tint = np.where(colour == 9000.0, light[:, None, None] ** 1.5, light[:, None, None])
        values = (colour * tint * rng.normal(1, 0.004, (11, 40, 40))).astype("f4")
        coords = {"y": np.arange(40), "x": np.arange(40), "kind": ("frame", ["flat"] * 11)}
        stack = xr.DataArray(values, dims=("frame", "y", "x"), coords=coords, attrs={"cfa": "RGGB"})
        result = combine(stack, reject="winsorized")
        assert float(result.rejected_fraction.max()) < 0.03
        middle = np.where(colour == 9000.0, np.median(light**1.5), np.median(light)) * colour
        np.testing.assert_allclose(result.signal, middle, rtol=0.01)

    @pytest.mark.parametrize("normalise", ["additive", "additive_scaling", "multiplicative"])
    def test_frames_come_to_the_median_level(self, normalise: str) -> None:
        stack = make_stack(n=9, shape=(60, 60), kind="light")
        levels = np.array([900, 950, 980, 990, 1000, 1010, 1020, 1100, 1300], "f4") - 1000
        shifted = stack + xr.DataArray(levels, dims="frame")
        plain = combine(stack, normalise="none", reject="none")
        result = combine(shifted, normalise=normalise, reject="none")
        assert float((result.signal - plain.signal).mean()) == pytest.approx(0, abs=1.0)
        assert float((result.signal - plain.signal).std()) < 0.6
        assert (
            float(combine(shifted, normalise=normalise, reject="winsorized").rejected_fraction.max()) < 0.04
        )

    @pytest.mark.parametrize("kind", [list, np.array])
    def test_weights_as_numbers_go_with_it(self, kind: type) -> None:
        stack = make_stack(n=4, kind="light") + xr.DataArray([0.0, 100.0, 200.0, 300.0], dims="frame").astype(
            "f4"
        )
        result = combine(stack, weights=kind([1.0, 0.0, 0.0, 1.0]), normalise="additive", reject="none")
        first, last = stack[0] - np.median(stack[0]), stack[3] - np.median(stack[3])
        difference = result.signal - result.signal.median() - (first + last) / 2
        assert float(np.abs(difference - difference.median()).max()) < 1e-3

    def test_flagged_pixels_do_not_move_the_level(self) -> None:
        data = as_result(make_stack(n=6, shape=(40, 40)))
        spoilt = data.copy(deep=True)
        spoilt.signal[2, :, :18] = 60000.0
        spoilt.flags[2, :, :18] = flags.SATURATED
        clean = combine(data, normalise="additive", reject="none")
        result = combine(spoilt, normalise="additive", reject="none")
        np.testing.assert_allclose(result.signal[:, 18:], clean.signal[:, 18:], atol=0.2)

    def test_what_cannot_be_normalised_is_refused(self) -> None:
        with pytest.raises(SettingError, match=r"level is .*only frames with a level above zero"):
            combine(make_stack(level=-5.0), normalise="multiplicative")
        flat = make_stack()
        flat[3] = 7.0
        with pytest.raises(SettingError, match=r"frame3\.fits: most of its pixels are equal"):
            combine(flat, normalise="additive_scaling")
        empty = make_stack()
        empty[2] = np.nan
        with pytest.raises(MismatchError, match=r"frame2\.fits: no usable pixel"):
            combine(empty, normalise="additive")

    def test_lights_of_coarse_numbers_are_only_shifted_and_that_is_said(self) -> None:
        sky = np.random.default_rng(2).random((12, 24, 30)) < 0.1  # a step more in a tenth of the pixels
        levels = 11 + np.arange(12)[:, None, None]
        stack = make_stack(kind="light").copy(data=(sky + levels).astype("f4"))
        with pytest.warns(
            CalibkitWarning, match=r"'auto' became 'additive'.* in 12 of 12 most pixels are equal"
        ):
            result = combine(stack, reject="none")
        assert result.attrs["provenance"][-1]["normalise"] == "additive"
        np.testing.assert_allclose(result.signal, 16.5 + sky.mean(axis=0), atol=1e-5)


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"method": "average"}, r"method='average'.*allowed are 'mean'"),
            ({"reject": "sigmas"}, r"reject='sigmas'.*allowed are 'none'"),
            ({"normalise": "scale"}, r"normalise='scale'.*allowed are 'auto'"),
            ({"weights": "size"}, r"weights='size'.*allowed are 'exposure'"),
            ({"weights": [1, 2]}, r"weights must be 12 numbers"),
            ({"weights": "noise", "method": "median"}, r"weights go with method='mean'"),
            ({"reject": "sigma", "low": -1}, r"low=-1.*standard deviations below"),
            ({"reject": "minmax", "low": 1.5}, r"low=1\.5.*samples dropped"),
            ({"reject": "gesd", "high": 5}, r"significance of the test"),
            ({"reject": "sigma", "keep": 0}, r"keep=0"),
            ({"reject": "sigma", "max_iterations": 0}, r"max_iterations=0"),
            ({"reject": "noise_model"}, r"needs gain and read_noise"),
            ({"reject": "noise_model", "gain": 1.0}, r"needs read_noise"),
            ({"gain": -1.0}, r"gain=-1"),
            ({"read_noise": -1.0}, r"read_noise=-1"),
        ],
    )
    def test_settings(self, options: dict[str, object], says: str) -> None:
        with pytest.raises(SettingError, match=says):
            combine(make_stack(), **options)

    def test_exposure_weights_without_exposure(self) -> None:
        with pytest.raises(SettingError, match="needs the exposure of every frame"):
            combine(make_stack().drop_vars("exposure"), weights="exposure")

    @pytest.mark.parametrize(
        "stack",
        [
            make_stack()[0],
            make_stack().rename(frame="time"),
            make_stack().to_dataset(name="data"),
            make_stack().astype("c8"),
            make_stack()[:0],
        ],
        ids=["one frame", "other name", "no signal", "complex", "empty"],
    )
    def test_what_is_no_stack(self, stack: xr.DataArray | xr.Dataset) -> None:
        with pytest.raises(MismatchError, match="combine"):
            combine(stack)


class TestStopping:
    """Progress is told from the calling thread, and stopping leaves no thread behind."""

    @staticmethod
    def threads() -> int:
        return sum("calibkit-combine" in thread.name for thread in threading.enumerate())

    def test_progress_counts_up_to_the_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("calibkit.combining.reading.DIRECT_BYTES", 5000)
        told: list[tuple[int, int, str]] = []
        here = threading.get_ident()

        def progress(done: int, total: int, what: str) -> None:
            assert threading.get_ident() == here
            told.append((done, total, what))

        combine(make_stack(), progress=progress)
        assert told[0][0] == 0
        assert told[-1][0] == told[-1][1] > 3
        assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
        assert "12 frames" in told[0][2]

    @pytest.mark.parametrize("error", [Cancelled, KeyboardInterrupt])
    def test_stops_at_the_next_band(
        self, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("calibkit.combining.reading.DIRECT_BYTES", 2000)
        calls: list[int] = []

        def progress(done: int, total: int, what: str) -> None:
            calls.append(done)
            if done >= 2:
                raise error

        with pytest.raises(error):
            combine(make_stack(shape=(200, 100)), progress=progress)
        assert len(calls) <= 3
        assert self.threads() == 0

    def test_an_error_in_a_thread_reaches_the_caller(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("calibkit.combining.reading.DIRECT_BYTES", 2000)
        monkeypatch.setattr("calibkit.combining.bands.BandCombiner.combine", _raise(OSError("disk gone")))
        with pytest.raises(OSError, match="disk gone"):
            combine(make_stack(shape=(100, 100)))
        assert self.threads() == 0


def _raise(error: Exception) -> Callable[..., None]:
    def function(*args: object, **kwargs: object) -> None:
        raise error

    return function


def test_every_method_states_its_source_and_the_docstring_names_it() -> None:
    for name, rejection in REJECTIONS.items():
        assert name == "none" or rejection.source
        assert f"``{name}``" in combine.__doc__


@pytest.mark.parametrize(("period", "width"), [(1, 37), (2, 2101), (6, 2101), (6, 37)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_samples_are_scaled_by_the_numbers_of_their_channel(period: int, width: int, dtype: type) -> None:
    """Wherever a chunk begins and ends."""
    from calibkit.kernels.samples import load_scaled

    rng = np.random.default_rng(5)
    rows, n = 6, 3
    values = rng.normal(1000, 50, (n, rows * width)).astype("f4")
    values[1, 40], values[2, 3] = np.nan, np.inf
    cell = rng.integers(0, 4, (2, period)).astype(np.uint8)
    channel = cell[np.arange(rows)[:, None] % 2, np.arange(width) % period].reshape(-1)
    scale, zero = rng.uniform(0.5, 2, (n, 4)), rng.normal(0, 30, (n, 4))
    whole = (values * scale[:, channel] + zero[:, channel]).astype(dtype)
    whole[~np.isfinite(whole)] = np.inf
    for offset, size in [(0, 30), (5, rows * width - 5), (width + 3, 2 * width + 1), (17, 20)]:
        x, missing = np.zeros((n, rows * width), dtype), np.zeros(n, np.int64)
        lost = load_scaled(values, offset, size, width, period, scale, zero, channel, x, missing)
        expected = whole[:, offset : offset + size]
        np.testing.assert_array_equal(x[:, :size], expected)
        np.testing.assert_array_equal(missing, np.isinf(expected).sum(axis=1))
        assert lost == missing.sum()
        assert not x[:, size:].any()


def test_frames_without_weight_neither_lower_the_variance_nor_leave_holes_without_a_flag() -> None:
    values = np.random.default_rng(2).normal(1000.0, 10.0, (2, 40, 50)).astype(np.float32)
    values[0, 3, 4] = np.nan
    stack = xr.DataArray(
        values, dims=("frame", "y", "x"), attrs={"kind": "light", "bias_subtracted": True, "units": "adu"}
    )
    made = combine(stack, weights=[1, 0], normalise="none", reject="none", gain=10.0, read_noise=1.0)
    alone = combine(stack[:1], normalise="none", reject="none", gain=10.0, read_noise=1.0)
    np.testing.assert_allclose(made.variance, alone.variance, rtol=1e-5)
    assert np.isnan(made.signal[3, 4])
    assert made.flags[3, 4] == flags.NO_DATA

"""`calibrate` against the formulas written out in plain numpy, and against frames drawn from known numbers."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit import flags as fl
from calibkit.errors import CalibkitWarning, Cancelled, MismatchError, SettingError

H, W = 26, 34
DIMS = ("y", "x")
XTRANS = "GGRGGB/GGBGGR/BRGRBG/GGBGGR/GGRGGB/RBGBRG"
COORDS = {"y": np.arange(H) + 4, "x": np.arange(W) + 10}


def frame(values: Any, *, exposure: float = 60.0, **attrs: Any) -> xr.DataArray:
    """A light with everything known about it."""
    dims = ("frame", *DIMS) if np.ndim(values) == 3 else DIMS
    known = {"units": "adu", "cfa": "RGGB", "saturation": 60000.0, "read_noise": 6.0, "camera": "Cam"}
    coords = COORDS | {"exposure": exposure, "gain": 2.0, "temperature": -10.0, "filter": "V"}
    return xr.DataArray(values, dims=dims, coords=coords, attrs=known | {"binning": (1, 1)} | attrs)


def master(
    signal: Any, variance: Any = 0.0, flags: Any = None, *, exposure: float = 60.0, **attrs: Any
) -> xr.Dataset:
    data = {
        "signal": (DIMS, np.broadcast_to(np.float32(signal), (H, W)).copy()),
        "variance": (DIMS, np.broadcast_to(np.float32(variance), (H, W)).copy()),
        "flags": (DIMS, np.zeros((H, W), np.uint16) if flags is None else flags),
    }
    known = {
        "units": "adu",
        "cfa": "RGGB",
        "camera": "Cam",
        "binning": (1, 1),
        "exposure": exposure,
        "gain": 2.0,
        "temperature": -10.0,
        "n_frames": 9,
        "bias_subtracted": False,
        "provenance": [{"step": "combine", "inputs": ["a.fits", "b.fits"]}],
    }
    return xr.Dataset(data, coords=COORDS, attrs=known | attrs)


def raw_dark(signal: Any, flags: Any = None, **attrs: Any) -> xr.Dataset:
    """A dark with its bias in it, as master_dark makes it."""
    channels = ("R", "G1", "G2", "B")
    measured = {"frame_noise": dict.fromkeys(channels, 5.0)}
    measured["channel_level"] = dict.fromkeys(channels, float(np.median(signal)))
    return master(signal, 0.3, flags, **measured | attrs)


def flat_master(signal: Any, variance: Any = 0.0, flags: Any = None, **attrs: Any) -> xr.Dataset:
    return master(signal, variance, flags, exposure=2.0, **({"units": "1", "filter": "V"} | attrs))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def random_light(rng: np.random.Generator, count: int | None = None) -> np.ndarray:
    return rng.integers(900, 1100, (H, W) if count is None else (count, H, W)).astype(np.uint16)


class TestFormula:
    def test_signal_is_the_formula(self, rng: np.random.Generator) -> None:
        light = random_light(rng, 2)
        b, d, f = (rng.normal(m, s, (H, W)).astype("f4") for m, s in ((500, 5), (40, 9), (1, 0.05)))
        result = calibkit.calibrate(
            frame(light),
            bias=master(b),
            dark=master(d, bias_subtracted=True, exposure=120.0),
            flat=flat_master(f),
            dark_scale="exposure",
            repair=False,
        )
        expected = (light.astype(float) - b - 0.5 * d.astype(float)) / f
        assert result["signal"].dtype == np.float32
        np.testing.assert_allclose(result["signal"], expected, rtol=2e-6, atol=1e-4)

    def test_negative_values_stay(self) -> None:
        result = calibkit.calibrate(frame(np.full((H, W), 480, "u2")), bias=master(500.0))
        assert (result["signal"] == -20).all()

    @pytest.mark.parametrize("k", [0.0, 0.5, 1.0, 2.0])
    @pytest.mark.parametrize("same", [True, False])
    def test_variance_is_the_formula(self, k: float, same: bool) -> None:
        """Constant frames: the expected electrons are known exactly."""
        level, var_b, var_raw_dark, f, var_f, g, r = 1000.0, 0.5, 0.3, 0.8, 1e-4, 2.0, 6.0
        bias = master(500.0, var_b, exposure=0.0)
        # what master_dark makes of a dark with its bias in it: both variances
        fingerprint = calibkit.calibration.dark.fingerprint(bias) if same else "another"
        steps = [{"step": "subtract bias", "fingerprint": fingerprint, "inputs": []}]
        dark = master(20.0, var_raw_dark + var_b, bias_subtracted=True, provenance=steps)
        result = calibkit.calibrate(
            frame(np.full((H, W), level, "u2")),
            bias=bias,
            dark=dark,
            flat=flat_master(f, var_f),
            dark_scale=k,
        )
        c = (level - 500 - 20 * k) / f
        share = (1 - k) ** 2 * var_b + k**2 * var_raw_dark if same else var_b + k**2 * (var_b + var_raw_dark)
        expected = ((level - 500) / g + (r / g) ** 2 + 1 / 12 + share) / f**2 + c**2 * var_f / f**2
        np.testing.assert_allclose(result["variance"], expected, rtol=1e-5)

    def test_no_rounding_noise_in_floating_point_frames(self) -> None:
        whole, real = (
            calibkit.calibrate(frame(np.full((H, W), 500, kind)), bias=master(500.0)) for kind in ("u2", "f4")
        )
        np.testing.assert_allclose(whole["variance"] - real["variance"], 1 / 12, rtol=1e-5)

    def test_raw_dark_brings_the_noise_of_its_frames(self) -> None:
        """Readout and dark current come from the dark's frames; a warmer pixel has its own on top."""
        signal = np.full((H, W), 540.0)
        signal[10, 10] = 740.0  # 200 ADU of dark current more than the others: 100 ADU² at 2 e⁻/ADU
        dark = raw_dark(signal)
        light = np.full((H, W), 640, "u2")
        light[10, 10] = 840
        variance = calibkit.calibrate(frame(light), dark=dark)["variance"].values
        assert variance[0, 0] == pytest.approx(25 + 100 / 2 + 0.3, rel=1e-5)
        assert variance[10, 10] == pytest.approx(25 + 100 / 2 + 200 / 2 + 0.3, rel=1e-5)

    def test_read_noise_from_the_bias_frames(self) -> None:
        noise = {"R": 3.0, "G1": 4.0, "G2": 4.0, "B": 5.0}
        light = frame(np.full((H, W), 500, "u2"), read_noise=math.nan)
        result = calibkit.calibrate(light, bias=master(500.0, frame_noise=noise))
        for name, sigma in noise.items():
            np.testing.assert_allclose(result.cfa[name]["variance"], sigma**2, rtol=1e-5)

    def test_gain_per_channel_and_per_frame(self) -> None:
        light = frame(np.full((2, H, W), 1000, "u2"))
        gains = {"R": 1.0, "G1": 2.0, "G2": 2.0, "B": 4.0}
        by_channel = calibkit.calibrate(light, bias=master(500.0), gain=gains, read_noise=0.0)
        for name, g in gains.items():
            np.testing.assert_allclose(by_channel.cfa[name]["variance"], 500 / g + 1 / 12, rtol=1e-5)
        light = light.assign_coords(gain=("frame", [1.0, 4.0]))
        by_frame = calibkit.calibrate(light, bias=master(500.0, gain=math.nan), read_noise=0.0)
        np.testing.assert_allclose(by_frame["variance"][:, 0, 0], [500 + 1 / 12, 125 + 1 / 12], rtol=1e-5)

    def test_pedestals_of_light_and_bias_are_taken_off_each_from_its_own(self) -> None:
        light = frame(np.full((H, W), 1100, "u2"), pedestal=100.0)
        result = calibkit.calibrate(light, bias=master(500.0, pedestal=0.0))
        assert (result["signal"] == 500).all()
        assert result.attrs["pedestal"] == 0.0

    def test_a_light_whose_bias_is_gone_has_no_pedestal_left(self) -> None:
        light = frame(np.full((H, W), 100, "f4"), bias_subtracted=True)
        assert (calibkit.calibrate(light)["signal"] == 100).all()
        assert (calibkit.calibrate(light.assign_attrs(pedestal=None))["signal"] == 100).all()


class TestNoise:
    """Frames drawn at random: the variance has to be that of the result."""

    @pytest.mark.parametrize(
        ("sky", "cfa"),
        [(0.0, ""), (6.0, "GBRG"), (60.0, XTRANS), (60.0, "RGGB"), (3000.0, "BGGR"), (3000.0, "GRBG")],
    )
    def test_pulls(self, sky: float, cfa: str) -> None:
        """Per channel, on a crop at an odd place, with masters of the whole sensor, of both kinds of dark."""
        rng = np.random.default_rng(int(sky))
        size, g, r = (140, 150), 1.5, 4.0
        coords = {"y": np.arange(size[0]), "x": np.arange(size[1]), "exposure": 60.0, "gain": g}
        attrs = {"units": "adu", "cfa": cfa, "read_noise": r, "saturation": 65535.0}
        thermal = rng.gamma(2.0, 4.0, size)
        pattern = calibkit.Pattern(cfa)
        lamp = {name: 1 + 0.4 * i for i, name in enumerate(pattern.channels)}
        y, x = np.indices(size)
        shade = 1 - 0.2 * np.hypot(y / 70 - 1, x / 75 - 1)
        colour = np.vectorize(lambda v, u: lamp[pattern.label(v, u)])(y, x)

        def take(count: int, electrons: Any) -> xr.DataArray:
            e = rng.poisson(np.broadcast_to(electrons, (count, *size))) + rng.normal(0, r, (count, *size))
            data = np.rint(300 + e / g).astype("u2")
            return xr.DataArray(data, dims=("frame", *DIMS), coords=coords, attrs=attrs)

        bias = calibkit.master_bias(take(16, 0.0))
        flat = calibkit.master_flat(take(12, 20_000 * shade * colour), bias=bias)
        crop = {"y": slice(3, None), "x": slice(5, 146)}
        lights = take(4, sky * shade * colour + thermal).isel(crop)
        raw = calibkit.master_dark(take(12, thermal), hot_sigma=None)
        free = calibkit.master_dark(take(12, thermal), bias=bias, hot_sigma=None)
        for masters in ({"dark": raw}, {"bias": bias, "dark": free}):
            result = calibkit.calibrate(lights, flat=flat, **masters)
            for name in pattern.channels:
                own = np.vectorize(lambda v, u, name=name: pattern.label(v, u) == name)(y, x)
                level = sky / g * lamp[name] * shade[own].mean()  # the flat is divided by its channel's mean
                part = own[crop["y"], crop["x"]]
                signal, variance = (result[n].values[:, part] for n in ("signal", "variance"))
                pull = (signal - level) / np.sqrt(variance)
                assert pull.std() == pytest.approx(1.0, abs=0.03)
                assert abs(signal.mean() - level) < 0.01 * level + 0.05

    def test_variance_is_right_on_average_without_light(self) -> None:
        """From a pixel's own value, cut at zero, it would come out 10 % too large here."""
        rng = np.random.default_rng(3)
        light = frame(np.rint(500 + rng.normal(0, 4.0, (40, H, W))).astype("u2"), cfa="", read_noise=4.0)
        result = calibkit.calibrate(light, bias=master(500.0, cfa=""), gain=1.0)
        assert float(result["variance"].mean()) == pytest.approx(16 + 1 / 12, rel=0.02)

    def test_a_star_keeps_its_own_noise(self) -> None:
        """Neighbours that are brighter or fainter do not enter the expected electrons."""
        light = np.full((H, W), 600, "u2")
        light[12, 12] = 20_500
        variance = calibkit.calibrate(frame(light, cfa=""), bias=master(500.0, cfa=""))["variance"]
        assert float(variance[12, 12]) == pytest.approx(20_000 / 2 + 9 + 1 / 12, rel=1e-4)
        assert float(variance[12, 13]) == pytest.approx(100 / 2 + 9 + 1 / 12, rel=1e-4)


class TestFlags:
    def test_saturation_is_that_of_the_raw_value(self) -> None:
        light = np.full((H, W), 1000, "u2")
        light[3, 4], light[5, 6] = 60000, 59999
        flags = calibkit.calibrate(frame(light), bias=master(500.0))["flags"].values
        assert flags[3, 4] == fl.SATURATED
        assert np.count_nonzero(flags) == 1

    def test_full_16_bits_are_saturated_whatever_the_frame_says(self) -> None:
        light = np.full((H, W), 1000, "u2")
        light[3, 4] = 65535
        flags = calibkit.calibrate(frame(light, saturation=math.nan), bias=master(500.0))["flags"].values
        assert flags[3, 4] == fl.SATURATED
        assert np.count_nonzero(flags) == 1

    def test_nan_is_no_data_and_never_repaired(self) -> None:
        light = np.full((H, W), 1000, "f4")
        light[3, 4] = np.nan
        hot = np.zeros((H, W), "u2")
        hot[3, 4] = fl.HOT
        result = calibkit.calibrate(frame(light), dark=raw_dark(500.0, flags=hot))
        assert result["flags"].values[3, 4] == fl.NO_DATA | fl.HOT
        assert np.isnan(result["signal"].values[3, 4])
        assert np.isnan(result["variance"].values[3, 4])

    @pytest.mark.parametrize(("value", "flag"), [(0.0, 0), (-0.1, 0), (np.nan, 0), (1.0, fl.SATURATED)])
    def test_unusable_flat(self, value: float, flag: int) -> None:
        signal, flags = np.ones((H, W)), np.zeros((H, W), "u2")
        signal[7, 8], flags[7, 8] = value, flag
        options = {"bias": master(500.0), "flat": flat_master(signal, flags=flags)}
        light = frame(np.full((H, W), 1000, "u2"))
        left = calibkit.calibrate(light, repair=False, **options)
        assert np.isnan(left["signal"].values[7, 8])
        assert left["flags"].values[7, 8] & fl.BAD_FLAT
        mended = calibkit.calibrate(light, **options)
        assert mended["signal"].values[7, 8] == 500
        assert mended["flags"].values[7, 8] & (fl.BAD_FLAT | fl.REPAIRED) == fl.BAD_FLAT | fl.REPAIRED

    def test_flags_of_the_dark_and_of_the_map_arrive(self) -> None:
        flags = np.zeros((H, W), "u2")
        flags[2, 2], flags[9, 9] = fl.COLD, fl.SATURATED
        light = frame(np.full((H, W), 1000, "u2"))
        more = calibkit.defects.DefectMap.empty(light).add(points=[(15, 9)], kind="unstable")
        result = calibkit.calibrate(light, dark=raw_dark(500.0, flags=flags), defects=more, repair=False)
        found = result["flags"].values
        assert found[2, 2] == fl.COLD
        assert found[9, 9] == fl.HOT | fl.SATURATED
        assert found[5, 5] == fl.UNSTABLE
        assert np.count_nonzero(found) == 3

    def test_hot_pixel_is_replaced_by_its_own_colour(self) -> None:
        light = np.empty((H, W), "u2")
        for a in (0, 1):
            for b in (0, 1):
                light[a::2, b::2] = 1000 * (1 + a + 2 * b)
        flags = np.zeros((H, W), "u2")
        flags[10:12, 10:12] = fl.HOT
        spoilt = light.copy()
        spoilt[10:12, 10:12] = 50_000
        result = calibkit.calibrate(frame(spoilt), dark=raw_dark(500.0, flags=flags))
        np.testing.assert_array_equal(result["signal"], light - 500.0)


class TestRefusals:
    light = frame(np.full((H, W), 1000, "u2"))

    @pytest.mark.parametrize(
        ("masters", "match"),
        [
            ({"bias": master(500.0), "dark": master(520.0)}, "bias subtracted twice"),
            ({"dark": master(20.0, bias_subtracted=True)}, "not from the light"),
            ({"dark": master(520.0, exposure=120.0)}, r"exposed for 120 s and the light for 60 s"),
            ({"dark": master(520.0), "dark_scale": "exposure"}, "still holds its bias"),
            ({"dark": master(520.0), "dark_scale": 0.5}, "still holds its bias"),
            ({"dark": master(520.0, temperature=-6.9)}, r"-6.9 °C and the light at -10 °C"),
            ({"dark": master(520.0, gain=2.1)}, "gain 2.1 e⁻/ADU"),
            ({"dark": master(520.0, camera="Other")}, "camera 'Other'"),
            ({"dark": master(520.0, binning=(2, 2))}, "binning 2 × 2"),
            ({"bias": master(500.0, cfa="BGGR")}, "colour pattern BGGR"),
            ({"bias": master(500.0).isel(y=slice(1, None))}, "does not cover the light"),
            ({"bias": master(500.0).assign_coords(x=COORDS["x"] + 1)}, "does not cover the light"),
            (
                {"bias": master(500.0), "flat": flat_master(1.0, filter="R")},
                "filter R and the light through V",
            ),
            ({"bias": master(500.0), "flat": flat_master(1.0, units="adu")}, "not normalised"),
        ],
    )
    def test_masters_that_do_not_belong(self, masters: dict, match: str) -> None:
        with pytest.raises(MismatchError, match=match):
            calibkit.calibrate(self.light, **masters)

    @pytest.mark.parametrize("attr", ["bias", "dark", "flat"])
    def test_nothing_is_done_twice(self, attr: str) -> None:
        done = {"bias": "bias_subtracted", "dark": "dark_subtracted", "flat": "flat_divided"}[attr]
        masters = {"bias": master(500.0), "dark": master(500.0), "flat": flat_master(1.0)}
        with pytest.raises(MismatchError, match="twice"):
            calibkit.calibrate(self.light.assign_attrs({done: True}), **{attr: masters[attr]})

    def test_gain_settings_differ(self) -> None:
        light = self.light.assign_coords(gain_setting=800.0)
        with pytest.raises(MismatchError, match=r"gain setting \(ISO\) 1600, the light has 800"):
            calibkit.calibrate(light, bias=master(500.0, gain_setting=1600.0))

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"dark_scale": 0.5}, "but no dark"),
            ({"dark": master(500.0), "dark_scale": "temperature"}, "allowed are a number"),
            ({"dark": master(500.0), "dark_scale": -1.0}, "allowed are a number"),
            ({"bias": master(500.0), "gain": {"R": 1.0}}, "nothing for channel G1, G2, B"),
            ({"bias": master(500.0), "gain": -1.0}, "gain=-1.0"),
            ({"bias": master(500.0), "gain": "high"}, "gain='high'"),
            ({"bias": master(500.0), "defects": np.zeros((H, W))}, "defects= takes"),
            ({"bias": 500.0}, "bias= takes a master"),
            ({"bias": master(500.0), "temperature_tolerance": math.nan}, "temperature_tolerance"),
        ],
    )
    def test_settings_that_cannot_work(self, options: dict, match: str) -> None:
        with pytest.raises(SettingError, match=match):
            calibkit.calibrate(self.light, **options)

    def test_a_result_is_no_raw_frame(self) -> None:
        with pytest.raises(SettingError, match="takes a raw frame"):
            calibkit.calibrate(master(500.0), bias=master(500.0))
        with pytest.raises(MismatchError, match="found \\('x', 'y'\\)"):
            calibkit.calibrate(self.light.T, bias=master(500.0))

    def test_a_measured_scale_takes_care_of_temperature(self) -> None:
        dark = master(20.0, bias_subtracted=True, temperature=-3.0, exposure=300.0)
        result = calibkit.calibrate(self.light, bias=master(500.0), dark=dark, dark_scale=0.25)
        assert (result["signal"] == 495).all()


class TestWhatIsNotKnown:
    def test_gain(self) -> None:
        light = frame(np.full((H, W), 1000, "u2")).drop_vars("gain")
        with pytest.warns(
            CalibkitWarning, match="not known of this camera: the gain .electrons per ADU.; so"
        ):
            result = calibkit.calibrate(light, bias=master(500.0))
        assert np.isnan(result["variance"]).all()
        assert (result["signal"] == 500).all()

    def test_read_noise(self) -> None:
        light = frame(np.full((H, W), 1000, "u2"), read_noise=math.nan)
        with pytest.warns(CalibkitWarning, match="not known of this camera: the read noise .electrons.; so"):
            result = calibkit.calibrate(light, bias=master(500.0))
        assert np.isnan(result["variance"]).all()

    def test_noise_of_a_master(self) -> None:
        with pytest.warns(CalibkitWarning, match="variance of the master bias is not known"):
            result = calibkit.calibrate(frame(np.full((H, W), 1000, "u2")), bias=master(500.0, np.nan))
        assert np.isnan(result["variance"]).all()

    def test_offset_divided_by_the_flat(self) -> None:
        light = frame(np.full((H, W), 1000, "u2"))
        with pytest.warns(CalibkitWarning) as found:
            calibkit.calibrate(light, flat=flat_master(1.0))
        assert any("offset is divided by the flat" in str(w.message) for w in found)

    @pytest.mark.parametrize(
        ("told", "lost", "masters"),
        [
            ("the gain (electrons", ["gain"], {"bias": master(500.0)}),
            ("variance of the master", [], {"bias": master(500.0, np.nan)}),
            ("holds its bias", [], {"dark": master(520.0)}),
            ("divided by the flat", [], {"flat": flat_master(1.0)}),
            ("says no pedestal", [], {}),
        ],
    )
    def test_a_warning_names_the_line_that_asked(self, told: str, lost: list[str], masters: dict) -> None:
        light = frame(np.full((H, W), 1000, "u2")).drop_vars(lost)
        with pytest.warns(CalibkitWarning) as found:
            calibkit.calibrate(light, **masters)
        assert any(told in str(each.message) for each in found)
        assert {each.filename for each in found} == {__file__}

    def test_what_one_side_does_not_say_is_noted(self) -> None:
        dark = master(520.0, temperature=math.nan, camera="", exposure=math.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CalibkitWarning)
            result = calibkit.calibrate(frame(np.full((H, W), 1000, "u2")), dark=dark)
        (step,) = [s for s in result.attrs["provenance"] if s["step"] == "subtract dark"]
        assert set(step["not compared"]) == {"temperature", "camera", "exposure"}


class TestShapes:
    def test_lazy_in_lazy_out_and_the_same(self, rng: np.random.Generator) -> None:
        light = frame(random_light(rng, 3))
        flags = np.where(rng.random((H, W)) < 0.05, fl.HOT, 0).astype("u2")
        options = {"dark": raw_dark(rng.normal(500, 5, (H, W)), flags), "flat": flat_master(1.0, 1e-4)}
        now = calibkit.calibrate(light, **options)
        lazy_masters = {name: m.chunk(y=7) for name, m in options.items()}
        for masters in (options, lazy_masters):
            lazy = calibkit.calibrate(light.chunk(frame=1, y=5, x=20), **masters)
            assert all(lazy[name].chunks for name in ("signal", "variance", "flags"))
            xr.testing.assert_identical(lazy.compute(), now)
        assert calibkit.calibrate(light, **lazy_masters)["signal"].chunks is None

    def test_one_frame_is_a_stack_of_one(self, rng: np.random.Generator) -> None:
        light = frame(random_light(rng, 2))
        stack = calibkit.calibrate(light, bias=master(500.0))
        one = calibkit.calibrate(light.isel(frame=1), bias=master(500.0))
        for name in ("signal", "variance", "flags"):
            np.testing.assert_array_equal(one[name], stack[name][1])

    def test_inputs_are_left_alone(self, rng: np.random.Generator) -> None:
        light = frame(random_light(rng))
        masters = {
            "bias": master(500.0),
            "dark": master(20.0, bias_subtracted=True),
            "flat": flat_master(0.9),
        }
        before = {name: m.copy(deep=True) for name, m in masters.items()}, light.copy(deep=True)
        calibkit.calibrate(light, **masters)
        for name, m in masters.items():
            xr.testing.assert_identical(m, before[0][name])
        xr.testing.assert_identical(light, before[1])

    def test_other_byte_order(self, rng: np.random.Generator) -> None:
        light = frame(random_light(rng))
        swapped = light.astype(">u2")
        expected = calibkit.calibrate(light, bias=master(500.0))
        np.testing.assert_array_equal(
            calibkit.calibrate(swapped, bias=master(500.0))["signal"], expected["signal"]
        )

    def test_progress_and_cancel(self, rng: np.random.Generator) -> None:
        seen = []
        calibkit.calibrate(frame(random_light(rng)), bias=master(500.0), progress=lambda *a: seen.append(a))
        assert seen[0][0] == 0
        assert seen[-1][0] == seen[-1][1]

        def stop(done: int, total: int, what: str) -> None:
            raise Cancelled(what)

        with pytest.raises(Cancelled):
            calibkit.calibrate(frame(random_light(rng)), bias=master(500.0), progress=stop)


def test_result_says_what_it_is() -> None:
    light = frame(np.full((2, H, W), 1000, "u2")).assign_coords(file=("frame", ["l1.fits", "l2.fits"]))
    dark = master(20.0, bias_subtracted=True, exposure=120.0)
    result = calibkit.calibrate(
        light, bias=master(500.0), dark=dark, flat=flat_master(1.0), dark_scale="exposure"
    )
    attrs = result.attrs
    assert (attrs["units"], attrs["cfa"], attrs["exposure"], attrs["filter"]) == ("adu", "RGGB", 60.0, "V")
    assert all(attrs[name] for name in ("bias_subtracted", "dark_subtracted", "flat_divided"))
    assert result["signal"].attrs["units"] == "adu"
    steps = attrs["provenance"]
    assert [s["step"] for s in steps] == [
        "calibrate",
        "subtract bias",
        "subtract dark",
        "divide flat",
        "repair",
    ]
    assert steps[0]["inputs"] == ["l1.fits", "l2.fits"]
    assert steps[2]["scale"] == 0.5
    assert steps[2]["inputs"] == ["a.fits", "b.fits"]
    assert result["file"].values.tolist() == ["l1.fits", "l2.fits"]

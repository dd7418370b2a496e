"""The sensor lab in one call, and the profile as a file."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit import Camera, Lamp, SensorProfile, simulate_stack
from calibkit.errors import Cancelled, FrameFileError, MismatchError, OutputError, SettingError
from calibkit.noise import Measurement
from calibkit.sensor import SensorReport

CAMERA = Camera(
    name="Test 1", shape=(144, 192), pattern="GRBG", gain=1.6, gain_setting=800.0, read_noise=5.0, full_well=60_000,
    dark_current=1.5, doubling=6.0, reference_temperature=-10.0, hot_fraction=0.001, sensitivity_spread=0.01, bit_depth=14,
    telegraph_fraction=0.01, telegraph_rate=3.0, offset=512.0,
)  # fmt: skip


def frames_of(camera: Camera) -> dict[str, xr.DataArray]:
    times = (1.0, 2.0, 3.0, 4.0, 5.0, 8.0, 12.0, 16.0)
    flats = [
        simulate_stack(
            camera, 2, kind="flat", exposure=t, lamp=Lamp(22_000), frame_index=10 * i, temperature=-10.0
        )
        for i, t in enumerate(times)
    ]
    darks = [
        simulate_stack(
            camera, n, kind="dark", exposure=t, temperature=temperature, frame_index=1000 + 100 * i
        )
        for i, (t, temperature, n) in enumerate(
            [(60.0, -10.0, 8), (20.0, -10.0, 1), (180.0, -10.0, 1), (30.0, 2.0, 1), (120.0, 2.0, 1)]
        )
    ]
    biases = simulate_stack(camera, 8, kind="bias", frame_index=5000)
    return {"flats": xr.concat(flats, "frame"), "darks": xr.concat(darks, "frame"), "biases": biases}


@pytest.fixture(scope="module")
def report() -> SensorReport:
    return calibkit.measure_sensor(**frames_of(CAMERA))


def test_everything_in_one_call(report: SensorReport) -> None:
    profile = report.profile
    assert set(profile.quantities) == {
        "gain", "read_noise", "dark_noise", "offset", "saturation", "full_well", "linearity", "prnu", "dsnu", "unstable",
    }  # fmt: skip
    for name, truth, tolerance in (
        ("gain", 1.6, 0.02), ("read_noise", 5.0, 0.02), ("offset", 512.0, 1e-3), ("prnu", 0.01, 0.06), ("unstable", 0.01, 0.1),
    ):  # fmt: skip
        assert profile.quantities[name].value == pytest.approx(truth, rel=tolerance), name
    cold = next(rate for t, rate in profile.dark_rates if t == pytest.approx(-10.0))
    assert cold.value == pytest.approx(1.5, rel=0.05)
    assert np.mean([fit.doubling for fit in profile.dark_fits.values()]) == pytest.approx(6.0, rel=0.03)
    assert (profile.camera, profile.gain_setting, profile.pattern, profile.shape) == (
        "Test 1",
        800.0,
        "GRBG",
        (144, 192),
    )
    assert report.refused == {}
    full = profile.quantities["full_well"]  # 14 bits end before the charge does
    for c, value in full.values.items():
        assert abs(value - (16383 - 512) * 1.6) < 2 * full.errors[c]
    assert report.transfer.curve["signal"].dims == ("channel", "point")
    assert "gain: R 1." in str(report)


def test_profile_goes_into_calibration_rejection_and_simulator(report: SensorReport) -> None:
    profile = report.profile
    light = simulate_stack(CAMERA, 6, exposure=30.0)
    bias = calibkit.constant_bias(light, 512.0)
    bare = light.assign_attrs(read_noise=math.nan).assign_coords(gain=("frame", [math.nan] * 6))
    told = calibkit.calibrate(bare, bias=bias, gain=profile.gain, read_noise=profile.read_noise)
    known = calibkit.calibrate(light, bias=bias)
    ratio = told["variance"] / known["variance"]
    assert float(ratio.median()) == pytest.approx(1.0, rel=0.02)
    combined = calibkit.combine(
        bare.assign_attrs(pedestal=512.0),
        reject="noise_model",
        gain=profile.gain,
        read_noise=profile.read_noise,
    )
    assert combined.attrs["provenance"][-1]["gain"] == profile.gain
    camera = profile.camera_model(shape=(64, 64), seed=3)
    assert camera.gain == pytest.approx(1.6, rel=0.02)
    assert (camera.pattern, camera.bit_depth, camera.shape) == ("GRBG", 14, (64, 64))
    assert camera.dark_rate(-10.0) == pytest.approx(1.5, rel=0.05)
    assert calibkit.simulate_frame(camera, kind="dark", exposure=10.0).shape == (64, 64)


def test_profile_refuses_frames_of_another_camera(report: SensorReport) -> None:
    light = simulate_stack(CAMERA, 1)
    report.profile.check(light)
    report.profile.check(light.assign_attrs(camera=""))
    for wrong in (
        replace(CAMERA, name="Test 2"),
        replace(CAMERA, gain_setting=1600.0),
        replace(CAMERA, pattern="RGGB"),
    ):
        with pytest.raises(MismatchError, match="measure a profile"):
            report.profile.check(simulate_stack(wrong, 1))
    with pytest.raises(MismatchError, match="binning"):
        report.profile.check(light.assign_attrs(binning=(2, 2)))


def test_file_gives_the_same_profile(report: SensorReport, tmp_path: Path) -> None:
    path = report.profile.save(tmp_path / "sensor.json")
    again = SensorProfile.load(path)
    assert again == report.profile
    chances = [[fit.chi_squared for fit in made.dark_fits.values()] for made in (again, report.profile)]
    assert chances[0] == pytest.approx(chances[1], nan_ok=True)
    assert SensorProfile() == SensorProfile(white=float("nan")) != SensorProfile(white=1000.0)
    assert str(again) == str(report.profile)
    assert path.stat().st_size < 20_000
    with pytest.raises(OutputError, match="exists already"):
        report.profile.save(path)
    report.profile.save(path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["sensor.json"]


def test_what_is_not_known_survives_the_file(tmp_path: Path) -> None:
    limit = Measurement({"L": 4.2}, {"L": math.nan}, "electron", 3)
    profile = SensorProfile(quantities={"read_noise": limit}, notes=("only an upper limit: ≤ 4.2 e⁻",))
    path = profile.save(tmp_path / "ß μ.json")
    json.loads(
        path.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON")
    )
    again = SensorProfile.load(path)
    assert math.isnan(again.quantities["read_noise"].errors["L"])
    assert math.isnan(again.gain_setting)
    assert math.isnan(again.white)
    assert again.notes == profile.notes
    assert again.read_noise == {"L": 4.2}
    with pytest.raises(SettingError, match=r"no gain; it holds read_noise"):
        again.gain  # noqa: B018


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2, "calibkit": "9.9"}, r"written by calibkit 9\.9 as version 2.*update calibkit"),
        ({"version": "1"}, "version '1'"),
        ({"version": True}, "version True"),
        ({"format": "other"}, "no sensor profile"),
        ({"quantities": None}, "damaged"),
        ({"quantities": {"speed": {}}}, "damaged"),
        ({"quantities": {"gain": {"unit": "adu", "samples": 1, "values": {"L": 1}, "errors": {"L": 1}}}}, "'adu'"),
        ({"quantities": {"gain": {"unit": "electron/adu", "samples": 1, "values": {"L": 0}, "errors": {"L": 0}}}}, "no sensor"),
        ({"quantities": {"gain": {"unit": "electron/adu", "samples": 1, "values": {"L": "2"}, "errors": {"L": 0}}}}, "no number"),
        ({"quantities": {"gain": {"unit": "electron/adu", "samples": 1, "values": {"R": 2}, "errors": {"R": 0}}}}, "channel R"),
        ({"quantities": {"gain": {"unit": "electron/adu", "samples": 1, "values": {"L": 2}, "errors": {}}}}, "errors of none"),
        ({"binning": [1]}, "damaged"),
        ({"binning": [1, -1]}, "no two whole numbers"),
        ({"pattern": "RGGQ"}, "damaged"),
        ({"dark_fits": {"L": {"doubling": 5}}}, "'doubling_error' is missing"),
        ({"dark_fits": {"B": dict.fromkeys(("doubling", "doubling_error", "energy", "energy_error", "temperature", "rate",
                                            "chi_squared"), 1.0)}}, "channel B"),
    ],
)  # fmt: skip
def test_damaged_files_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    gain = Measurement({"L": 1.9}, {"L": 0.1}, "electron/adu", 4)
    path = SensorProfile(quantities={"gain": gain}).save(tmp_path / "sensor.json")
    data = json.loads(path.read_text()) | change
    path.write_text(json.dumps(data))
    with pytest.raises(FrameFileError, match=message) as caught:
        SensorProfile.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"SIMPLE  = T", b"\xff\xfe\x00", b'{"format": 3}'])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sensor.json"
    path.write_bytes(content)
    with pytest.raises(FrameFileError, match="no sensor profile"):
        SensorProfile.load(path)
    with pytest.raises(FrameFileError, match="No such file"):
        SensorProfile.load(tmp_path / "nothing.json")


def test_dark_rate_at_a_temperature(report: SensorReport) -> None:
    assert report.profile.dark_rate(-4.0)["R"] == pytest.approx(3.0, rel=0.06)
    single = replace(report.profile, dark_fits={}, dark_rates=report.profile.dark_rates[:1])
    assert single.dark_rate(-10.4)["R"] == pytest.approx(1.5, rel=0.06)
    with pytest.raises(SettingError, match=r"measured at -10\.0 °C"):
        single.dark_rate(0.0)


def test_frames_that_tell_less_are_used_as_far_as_they_go() -> None:
    frames = frames_of(CAMERA)
    few = calibkit.measure_sensor(flats=frames["flats"].isel(frame=[6, 7]), biases=frames["biases"])
    assert few.transfer is None
    assert few.gain.value == pytest.approx(1.6, rel=0.03)
    assert few.read_noise.value == pytest.approx(5.0, rel=0.03)
    assert "one level only" in few.refused["photon transfer"]
    alone = calibkit.measure_sensor(biases=frames["biases"])
    assert set(alone.profile.quantities) == {"dark_noise", "offset", "dsnu"}
    assert "no flats" in alone.refused["gain"]
    dark = calibkit.measure_sensor(darks=frames["darks"][:3])
    assert "5 darks of one exposure" in dark.refused["unstable pixels"]
    assert dark.profile.dark_rates == ()
    flats = calibkit.measure_sensor(flats=frames["flats"])
    assert flats.profile.quantities == {}
    assert "need biases" in flats.refused["gain"]
    with pytest.raises(SettingError, match="give flats, biases or darks"):
        calibkit.measure_sensor()


def test_stopping_is_not_swallowed() -> None:
    def stop(done: int, total: int, what: str) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        calibkit.measure_sensor(**frames_of(CAMERA), progress=stop)

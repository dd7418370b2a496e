"""Every fault is found and named at a clear strength, with the right number; clean sessions stay silent.

How detection grows with strength, and how rare false alarms are: ``tests/benchmarks/diagnosis.py``.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import calibkit


def _benchmark() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "diagnosis.py"
    spec = importlib.util.spec_from_file_location("diagnosis_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


faults = _benchmark()
SEED = 101


@pytest.mark.parametrize("name", faults.FAULTS)
def test_fault_is_named(name: str) -> None:
    fault = faults.FAULTS[name]
    camera = list(faults.SETUPS)[list(faults.FAULTS).index(name) % 2]  # mono and Bayer take turns
    frames = fault.make(faults.SETUPS[camera], SEED, fault.clear)
    found = calibkit.diagnose(**frames, checks=[fault.test])
    bad = [finding for finding in found if finding.verdict in ("suspect", "fault")]
    assert bad, found
    assert {finding.name for finding in bad} == {fault.test}
    for finding in bad:
        assert finding.cause
        assert finding.advice
        assert finding.significance > 4


@pytest.mark.parametrize("seed", [73, 80, 164])
def test_no_alarm_where_few_pixels_tell(seed: int) -> None:
    """X-Trans cells hold one pixel of a site each, and a faint flat's pattern is hardly seen: alarms once, by chance."""
    found = calibkit.diagnose(**faults.CLEAN["any"](seed))
    assert not faults.alarms(found), found


@pytest.mark.parametrize("name", faults.CLEAN)
def test_clean_session_is_silent(name: str) -> None:
    found = calibkit.diagnose(**faults.CLEAN[name](SEED))
    assert not faults.alarms(found), found
    assert {finding.name for finding in found} == set(faults_of_table())
    for finding in found.unclear:
        assert finding.cause.endswith(".")


def faults_of_table() -> list[str]:
    from calibkit.diagnosis.checks import CHECKS

    return list(CHECKS)


def test_every_test_is_proved_by_a_fault() -> None:
    assert {fault.test for fault in faults.FAULTS.values()} == set(faults_of_table())


# the numbers: they are what was put in


def one(found: calibkit.Diagnosis) -> calibkit.Finding:
    return one_of(list(found))


def one_of(findings: list[calibkit.Finding]) -> calibkit.Finding:
    assert len(findings) == 1, findings
    return findings[0]


@pytest.mark.parametrize("colder", [-2.0, 3.0])
def test_temperature_of_the_dark_is_measured(colder: float) -> None:
    frames = faults.FAULTS["dark colder than it says"].make(faults.SETUPS["mono"], SEED, colder)
    finding = one(calibkit.diagnose(**frames, checks=["dark temperature"]))
    assert finding.error < 0.2
    assert abs(finding.number - colder) < 4 * finding.error
    assert ("warmer" if colder > 0 else "colder") in finding.cause
    assert "headers: lights −20.0 °C, dark −20.0 °C" in finding.cause


def test_strength_of_the_dark_is_measured_without_the_bias_of_its_noise() -> None:
    """Four darks: a fit to them would find too weak a dark, the halves do not."""
    setup = faults.replace(faults.SETUPS["mono"], count=4)
    for factor in (0.5, 1.0, 1.6):
        frames = faults.frames_of(setup, SEED) | {"dark_scale": factor}
        finding = one(calibkit.diagnose(**frames, checks=["dark strength"]))
        assert finding.error < 2
        assert abs(finding.number - 100 / factor) < 4 * finding.error
    assert "too strong" in finding.cause


@pytest.mark.parametrize(
    ("name", "factor"), [("offset left in the light", 1.0), ("offset left in the flat", -1.0)]
)
@pytest.mark.parametrize("camera", ["mono", "bayer", "x-trans"])
def test_offset_is_measured(name: str, factor: float, camera: str) -> None:
    """What is left in the flat by q per cent of its level makes it correct too little by as much."""
    setup, strength = faults.SETUPS[camera], 20.0
    frames = faults.FAULTS[name].make(setup, SEED, strength)
    found = calibkit.diagnose(**frames, checks=["flat correction", "flat shading"])
    bias = setup.camera.offset
    light, flat = (float(frames[kind].median()) for kind in ("light", "flat"))
    if "flat" in name:  # q of the raw level was added, which holds the bias
        added = flat - flat / (1 + strength / 100)
        expected = 100 * added / (flat - added - bias)
    else:
        dark = float(frames["dark"].median())
        added = (light - dark) - (light - dark) / (1 + strength / 100)
        expected = 100 * added / (light - dark - added)
    for finding in found:
        assert finding.verdict == "fault"
        # The faintest channel and the mean channel have other levels: ten per cent of the offset is enough here.
        assert abs(finding.number - factor * expected) < 4 * finding.error + 0.25 * expected
        assert f"corrects too {'much' if factor > 0 else 'little'}" in finding.cause


def test_drift_is_measured() -> None:
    frames = faults.FAULTS["lights warming up"].make(faults.SETUPS["mono"], SEED, 4.0)
    found = calibkit.diagnose(**frames, checks=["temperature drift"])
    by_pixels = next(f for f in found if f.where == "light (dark current)")
    by_headers = next(f for f in found if f.where == "light (headers)")
    assert by_headers.verdict == "ok"  # they lie
    assert by_pixels.verdict == "fault"
    assert abs(by_pixels.number - 4.0) < 0.3


def test_share_of_glow_and_flat_dark_are_measured() -> None:
    setup = faults.SETUPS["mono"]
    glow = one(
        calibkit.diagnose(
            **faults.FAULTS["glow missing in the dark"].make(setup, SEED, 0.4), checks=["amp glow"]
        )
    )
    assert abs(glow.number - 100 * 0.4 / 0.6) < 8
    longer = faults.FAULTS["flat dark longer than it says"].make(setup, SEED, 5.0)
    finding = one(calibkit.diagnose(**longer, checks=["flat dark"]))
    assert abs(finding.number - 5.0) < 4 * finding.error
    assert "whatever its header says" in finding.cause


def test_gain_of_flats_stands_in_for_one_that_is_not_stated() -> None:
    frames = faults.frames_of(faults.SETUPS["mono"], SEED)
    frames = {kind: stack.drop_vars("gain") for kind, stack in frames.items()}
    calm = frames["light"].astype("f4")
    frames["light"] = calm.mean("frame") + 0.3 * (calm - calm.mean("frame"))
    frames["light"] = frames["light"].transpose("frame", "y", "x").assign_attrs(calm.attrs)
    found = calibkit.diagnose(**frames, checks=["noise"])
    light = next(f for f in found if f.where == "light")
    assert light.verdict == "fault"
    assert light.number == pytest.approx(0.3, abs=0.03)
    assert "measured in the flats" in light.cause


# what the cause says


@pytest.mark.parametrize("claims", [True, False])
def test_bias_subtracted_twice_is_said(claims: bool) -> None:
    frames = faults.frames_of(faults.SETUPS["mono"], SEED)
    bias = calibkit.master_bias(frames["bias"])
    dark = calibkit.master_dark(frames["dark"], bias=bias)
    if claims:
        dark = dark.assign(signal=dark.signal - bias.signal)
    else:
        dark.attrs["bias_subtracted"] = False
    found = calibkit.diagnose(bias=bias, dark=dark, checks=["bias level"])
    (fault,) = found.faults
    assert fault.where == "dark"
    assert "bias subtracted twice" in fault.cause


@pytest.mark.parametrize("lights", [1, 2, 3])
@pytest.mark.parametrize("camera", ["mono", "bayer"])
def test_bias_that_is_gone_from_few_lights_already(camera: str, lights: int) -> None:
    setup = faults.SETUPS[camera]
    frames = faults.FAULTS["bias gone from the lights already"].make(setup, SEED, lights)
    found = calibkit.diagnose(**frames, checks=["flat correction", "noise"])
    by_pattern = one_of(found["flat correction"])
    assert "that is the bias: it was subtracted twice" in by_pattern.cause
    assert by_pattern.verdict == "fault"
    light = next(f for f in found["noise"] if f.where == "light")
    if lights == 1:
        assert "a single frame" in light.cause
        return
    # Noise tells it without flats as well, and its number is the bias.
    without = calibkit.diagnose(
        light=frames["light"], bias=frames["bias"], dark=frames["dark"], checks=["noise"]
    )
    assert "bias subtracted twice" in light.cause
    assert "bias subtracted twice" in next(f for f in without if f.where == "light").cause
    assert float(light.cause.split(" ADU")[0].rsplit(maxsplit=1)[-1]) == pytest.approx(
        setup.camera.offset, rel=0.1
    )


def test_wrong_gain_is_not_taken_for_the_bias() -> None:
    frames = faults.FAULTS["gain stated wrongly"].make(faults.SETUPS["mono"], SEED, 2.0)
    light = next(f for f in calibkit.diagnose(**frames, checks=["noise"]) if f.where == "light")
    assert light.verdict == "fault"
    assert "gain or read noise is another one" in light.cause


def test_result_whose_bias_was_subtracted_twice_or_never() -> None:
    setup = faults.SETUPS["mono"]
    frames = faults.frames_of(setup, SEED)
    result = faults.calibrated(frames)
    frames["light"] = frames["light"][:1]
    for sign, words in ((-1, "bias subtracted twice"), (1, "the bias was not subtracted")):
        wrong = result.assign(signal=result.signal + sign * setup.camera.offset)
        found = calibkit.diagnose(**frames, result=wrong, checks=["bias level"])
        assert any(words in fault.cause for fault in found.faults), found
    # without the raw light the flat's pattern still tells, and by how much
    response = frames["flat"].mean("frame") - frames["flat_dark"].mean("frame")
    share, sky = 0.5 * setup.camera.offset, float(result.signal.median())
    wrong = result.assign(signal=(result.signal - share * response.mean() / response).astype("f4"))
    few = {kind: frames[kind] for kind in ("bias", "flat", "flat_dark")}
    for finding in calibkit.diagnose(wrong, **few, checks=["flat correction", "flat shading"]):
        assert finding.verdict == "fault"
        assert "too little" in finding.cause
        assert abs(finding.number + 100 * share / sky) < 4 * finding.error


def test_dark_that_the_camera_subtracted_already() -> None:
    frames = faults.frames_of(faults.SETUPS["mono"], SEED)
    light = frames["light"].astype("i4") - (frames["dark"] - float(frames["bias"].mean())).mean(
        "frame"
    ).astype("i4")
    frames["light"] = light.transpose("frame", "y", "x").assign_attrs(frames["light"].attrs)
    finding = one(calibkit.diagnose(**frames, checks=["dark strength"]))
    assert finding.verdict == "fault"
    assert "subtracted from them already" in finding.cause


def test_flat_without_any_fraction_left() -> None:
    frames = faults.frames_of(faults.SETUPS["mono"], SEED)
    flat = calibkit.master_flat(frames["flat"], dark=calibkit.master_dark(frames["flat_dark"]))
    whole = flat.assign(signal=np.floor(flat.signal + 0.9))
    (fault,) = calibkit.diagnose(flat=whole, checks=["fractions"]).faults
    assert "fractions" in fault.cause

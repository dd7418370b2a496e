"""The diagnosis on frames of real cameras, whose faults are known or were found by other means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import calibkit
from calibkit import open_stack

Shared = Callable[[str], Path]


def stack(folder: Path, pattern: str, kind: str) -> object:
    return open_stack(sorted(folder.glob(pattern)), kind=kind)


@pytest.fixture
def sbig(shared_data: Shared) -> dict[str, object]:
    folder = shared_data("stl1001e")
    cold = folder / "neg5"
    return {
        "folder": folder,
        "bias": stack(cold, "bias*", "bias"),
        "dark": stack(cold, "darks-expos1-*", "dark"),
        "flat": stack(cold, "flat*", "flat"),
    }


@pytest.mark.parametrize(
    ("frame", "low", "high"),
    [
        ("neg5/darks-expos60s*", -0.3, 0.3),
        ("neg5/darks-expos300s*", -0.6, 0.3),  # its header says 0.4 °C colder
        ("neg5/darks-expos30s*", -0.3, 0.3),
        (
            "neg10/darks-expos60s*",
            -6.0,
            -3.5,
        ),  # 5.4 °C colder; it doubles faster than the 7 °C that are assumed
        ("neg10/darks-expos300s*", -6.0, -3.5),
        ("zero/dark_series_0c_1m*", 3.0, 6.0),
        ("plus10/dark_1series*", 9.0, 16.0),
    ],
)
def test_temperature_of_a_real_dark(sbig: dict[str, object], frame: str, low: float, high: float) -> None:
    """A dark of another temperature and exposure in the place of a light, beside eleven darks at −5 °C."""
    light = stack(sbig["folder"], frame, "light")
    parts = {"light": light, "dark": sbig["dark"], "bias": sbig["bias"]}
    (found,) = calibkit.diagnose(**parts, checks=["dark temperature"])
    assert low < found.number < high
    assert found.verdict == ("ok" if abs(found.number) < 0.8 else "fault")


def test_flats_in_the_place_of_lights_are_corrected_by_other_flats(sbig: dict[str, object]) -> None:
    flats = sbig["flat"]
    checks = ["flat correction", "flat shading", "flat shadows", "flat night", "gradient", "flat exposure"]
    parts = {"flat": flats[5:], "bias": sbig["bias"]}
    found = calibkit.diagnose(light=flats[:5], **parts, checks=checks)
    assert [f.verdict for f in found] == ["ok"] * len(checks), found
    # a tenth more subtracted from the lights than there is
    offset = 0.1 * float(flats[0].mean())
    wrong = calibkit.diagnose(light=flats[:5] - offset, **parts, checks=checks[:2])
    for fault in wrong:
        assert fault.verdict == "fault"
        assert fault.number == pytest.approx(-10.5, abs=1.5)


def test_flats_that_hold_no_dark_current(sbig: dict[str, object]) -> None:
    """Hot pixels of 1900 ADU in the dark are at −40 ADU in the 23 s flats: the camera subtracted a dark."""
    parts = {"light": sbig["flat"], "dark": sbig["dark"], "bias": sbig["bias"]}
    (found,) = calibkit.diagnose(**parts, checks=["dark strength"])
    assert found.verdict == "fault"
    assert "subtracted from them already" in found.cause


def test_noise_of_real_frames(sbig: dict[str, object]) -> None:
    parts = {"flat": sbig["flat"], "dark": sbig["dark"], "bias": sbig["bias"]}
    found = calibkit.diagnose(
        **parts, checks=["noise", "temperature drift", "odd frames", "fractions", "bias level"]
    )
    assert not found.faults
    assert not found.suspects
    flat = next(f for f in found["noise"] if f.where == "flat")
    assert flat.number == pytest.approx((2.06 / 1.94) ** 0.5, abs=0.02)  # the header's gain over the true one
    wrong = calibkit.diagnose(**parts, gain=8.0, checks=["noise"])
    assert "flat" in {f.where for f in wrong.faults}


def test_solar_frames_with_less_noise_than_the_flats_predict(shared_data: Shared) -> None:
    kinds = {"dark": "*_x1*", "flat": "*_y1*", "light": "*_b1*"}
    found = calibkit.diagnose(calibkit.scan(shared_data("msdp"), kinds=kinds), checks=["noise"])
    light = next(f for f in found if f.where == "light")
    assert light.verdict == "fault"
    assert light.number < 0.6
    assert "measured in the flats" in light.cause


def test_eight_bit_frames_are_not_judged(shared_data: Shared) -> None:
    """Binned and scaled to 8 bits: nothing is at fault, and what they cannot tell is said."""
    found = calibkit.diagnose(shared_data("feder"))
    assert not found.faults
    assert any("coarse" in f.cause for f in found.unclear)
    assert {f.where for f in found["flat night"]} == {"flat B", "flat V", "flat R", "flat I"}


def test_a_single_raw_frame_and_foreign_masters(shared_data: Shared) -> None:
    folder = shared_data("ccd_workshop")
    with pytest.warns(calibkit.CalibkitWarning, match="noise"):
        masters = {
            kind: calibkit.open_result(next(folder.glob(f"combined_{kind}*")))
            for kind in ("bias", "dark", "flat")
        }
    light = open_stack(sorted(folder.glob("kelt*")), kind="light")
    assert not calibkit.diagnose(light=light, **masters).faults

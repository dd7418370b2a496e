"""The colours of the grid against the pattern that is stated, rejections that a result tells of, and interference by name."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import xarray as xr

import calibkit
from calibkit.errors import CalibkitWarning
from calibkit.simulate import X_TRANS, Camera, Lamp, Sky, simulate_stack

PHASES = ("RGGB", "GRBG", "GBRG", "BGGR")


def frames(pattern: str, filter: str, *, stated: str | None = None) -> dict[str, xr.DataArray]:
    """Flats and lights behind a filter, of a sensor with that pattern; *stated* is what the header says."""
    camera = Camera(shape=(204, 300), pattern=pattern, offset=300.0, dark_current=0.01)
    common = {"camera": camera, "count": 4, "filter": filter}
    lamp = Lamp(rate=300_000.0 if filter else 30_000.0, spectrum="white led")
    sky = Sky(background=150.0, h_alpha=20.0, o_iii=20.0, n_stars=40)
    found = {
        "bias": simulate_stack(camera, 4, kind="bias"),
        "flat": simulate_stack(kind="flat", exposure=1.0, lamp=lamp, **common),
        "light": simulate_stack(kind="light", exposure=120.0, sky=sky, frame_index=20, **common),
    }
    return {kind: stack.assign_attrs(cfa=stated or pattern) for kind, stack in found.items()}


def verdicts(given: dict[str, xr.DataArray]) -> list[calibkit.Finding]:
    return list(calibkit.diagnose(**given, checks=["colour pattern"]))


@pytest.mark.parametrize("filter", ["Ha", "OIII", "SII"])
@pytest.mark.parametrize("pattern", PHASES)
def test_behind_a_filter_of_one_line_the_pattern_is_named(pattern: str, filter: str) -> None:
    assert {found.verdict for found in verdicts(frames(pattern, filter))} == {"ok"}
    for stated in set(PHASES) - {pattern}:
        (flat, light) = verdicts(frames(pattern, filter, stated=stated))
        for found in (flat, light):
            assert found.verdict == "fault", (stated, found)
            assert f"the pattern is not {stated}" in found.cause
            assert f"cfa={pattern!r}" in found.advice


@pytest.mark.parametrize("pattern", PHASES)
def test_without_a_filter_a_row_or_a_column_too_far_shows(pattern: str) -> None:
    assert {found.verdict for found in verdicts(frames(pattern, ""))} == {"ok"}
    for by in ((0, 1), (1, 0)):
        stated = calibkit.Pattern(pattern).shifted(*by).text
        for found in verdicts(frames(pattern, "", stated=stated)):
            # a lamp or sky in which red and blue are alike hides it
            assert found.verdict in ("fault", "ok"), found
        assert any(found.verdict == "fault" for found in verdicts(frames(pattern, "CLS", stated=stated)))


def test_where_nothing_tells_it_is_said() -> None:
    (x_trans, _) = verdicts(frames(X_TRANS, ""))
    assert x_trans.verdict == "cannot tell"
    assert {found.verdict for found in verdicts(frames(X_TRANS, "Ha"))} == {"ok"}
    (other, *_) = verdicts(frames("GMCY", ""))
    assert other.verdict == "cannot tell"
    (mono,) = verdicts(frames("", "Ha"))
    assert mono.verdict == "ok"
    (dark,) = verdicts({"bias": frames("RGGB", "")["bias"]})
    assert dark.verdict == "cannot tell"


def test_a_filter_that_is_not_what_it_is_called_is_no_wrong_pattern() -> None:
    given = frames("RGGB", "")
    named = {kind: stack.assign_attrs(filter="Ha") for kind, stack in given.items() if kind != "light"}
    named["flat"] = named["flat"].drop_vars("filter", errors="ignore")
    (found,) = verdicts(named)
    assert found.verdict == "suspect"
    assert "is it this filter?" in found.cause


def test_a_result_tells_how_its_masters_were_combined() -> None:
    camera = Camera(shape=(120, 160))
    light = simulate_stack(camera, 1, exposure=60.0, sky=Sky(background=5.0)).isel(frame=0)
    darks = simulate_stack(camera, 4, kind="dark", exposure=60.0, frame_index=5)
    for reject, verdict in (("mean_sigma", "fault"), ("auto", "ok")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CalibkitWarning)  # it is said there, too
            result = calibkit.calibrate(light, dark=calibkit.master_dark(darks, reject=reject)).compute()
        (step,) = [s for s in result.attrs["provenance"] if s["step"] == "subtract dark"]
        assert step["combine"]["reject"] == (reject if reject != "auto" else "gesd")
        (found,) = calibkit.diagnose(result, dark=darks, checks=["rejection"])
        assert found.where == "dark in the result"
        assert found.verdict == verdict


@pytest.mark.parametrize("pattern", ["", "RGGB"])
def test_noise_that_is_a_wave_is_called_interference(pattern: str) -> None:
    camera = Camera(shape=(204, 300), pattern=pattern, read_noise=8.0, gain=1.0)
    for interference, named in ((12.0, True), (0.0, False)):
        biases = simulate_stack(replace(camera, interference=interference), 6, kind="bias")
        # without a wave the surplus comes from a read noise that is stated too low
        (found,) = calibkit.diagnose(bias=biases, read_noise=8.0 if named else 4.0, checks=["noise"])
        assert found.verdict in ("suspect", "fault")
        assert ("radio-frequency interference" in found.cause) is named
        assert ("cables" in found.advice) is named


def test_limits_for_masters_that_are_to_be_made_are_those_of_auto() -> None:
    darks = simulate_stack(Camera(shape=(120, 160)), 5, kind="dark", exposure=60.0, frame_index=5)
    darks = darks.drop_vars("gain")  # where it is known the noise model takes them
    (found,) = calibkit.diagnose(dark=darks, combine={"low": 2.0, "high": 2.5}, checks=["rejection"])
    assert found.verdict == "ok"

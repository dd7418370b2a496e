"""Exercises can be passed and failed, scores follow the truth, and each hidden fault shows where it is said to."""

from __future__ import annotations

import inspect
import math
import warnings

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit import CalibkitWarning, SettingError, teach
from calibkit.teach import exercise
from calibkit.teach.checking import _exercises
from calibkit.teach.faulty import _open, _properly


@pytest.fixture(scope="module")
def nights() -> dict[str, tuple]:
    """Night and a proper calibration of its first light, by the name of the sample."""
    done = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibkitWarning)  # the sample's blue flat is weak, and it is said
        for name in ("ccd", "dslr"):
            night = calibkit.sample_session(name)
            done[name] = (night, _properly(night))
    return done


def test_number_tells_mistakes_apart() -> None:
    judge = exercise.number(4.0, within=0.05, unit="e⁻", mistakes={16.0: "take the root"}, hint="Think.")
    assert judge(4.1) is None
    assert judge(np.float32(4.0)) is None
    assert judge(xr.DataArray(4.0)) is None
    assert judge(16) == "take the root"
    assert judge(3) == "3 e⁻ is too small. Think."
    assert "text" in judge("4")
    assert "2 × 3 numbers" in judge(np.zeros((2, 3)))
    assert "single number" in judge(True)
    assert exercise.number(0.0, within=0.1)(0.05) is None
    assert exercise.number(0.0, within=0.1)(math.nan) is not None


def test_choice_and_several() -> None:
    one = exercise.choice("larger", {"smaller": "no"})
    assert one(" Larger ") is None
    assert one("smaller") == "no"
    assert "'larger', 'smaller'" in one(3)
    some = exercise.several({"a", "b"}, of={"a", "b", "c"}, missing="more", extra="less")
    assert some(["b", "A"]) is None
    assert some({"a"}) == "more"
    assert some("a") == "more"
    assert some({"a", "b", "c"}) == "less"
    assert "none of" in some({"x"})
    assert "set of words" in some(5)


@pytest.mark.parametrize("name", teach.exercise_names())
def test_every_exercise_asks_and_refuses_nonsense(name: str) -> None:
    asked = teach.check(name)
    assert asked.passed is None
    assert len(asked.text) > 20
    assert name.split("/")[0] == _exercises()[name].chapter
    for nonsense in ("a word that fits nothing", -1e9, object(), [], math.nan):
        verdict = teach.check(name, nonsense)
        assert verdict.passed is False
        assert verdict.text


@pytest.mark.parametrize("name", teach.exercise_names())
def test_every_foreseen_mistake_gets_its_own_hint(name: str) -> None:
    judge = _exercises()[name].judge
    known = inspect.getclosurevars(judge).nonlocals
    hints = {**(known.get("mistakes") or {}), **(known.get("why_not") or {})}
    assert {wrong: judge(wrong) for wrong in hints} == hints


def test_unknown_exercise_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingError, match="did you mean 'noise/eleven darks'"):
        teach.check("noise/eleven dark")


def test_verdict_is_shown_without_trusting_the_answer() -> None:
    verdict = teach.check("noise/eleven darks", "<script>")
    assert "<script>" not in verdict._repr_html_()
    assert not verdict


def test_proper_calibration_scores_well(nights: dict) -> None:
    for night, result in nights.values():
        found = teach.score(result, night)
        assert found.good, str(found)
        assert str(found).count("✓") == len(found.rows)


@pytest.mark.parametrize("offset", [-20.0, 20.0])
def test_score_finds_a_wrong_level(nights: dict, offset: float) -> None:
    night, result = nights["ccd"]
    wrong = result.assign(signal=result.signal + offset)
    truth = calibkit.session_truth(night)
    found = teach.score(wrong, night)
    assert found.level_error["L"] == pytest.approx(offset / float(truth.signal.median()), rel=0.05)
    assert not found.good


def test_score_finds_hot_pixels_and_noise(nights: dict) -> None:
    night, result = nights["ccd"]
    truth = calibkit.session_truth(night)
    hot = truth.hot_rate.values > 0
    wrong = result.copy(deep=True)
    wrong.signal.values[hot] += 1e4
    wrong.flags.values[hot] = 0
    good = hot & ~(truth.saturated | truth.weak | truth.unstable).values
    assert teach.score(wrong, night).hot_left == pytest.approx(1.0)
    assert good.any()
    noisy = result.assign(signal=result.signal + np.random.default_rng(0).normal(0, 40, result.signal.shape))
    assert teach.score(noisy, night).noise_ratio > 1.2
    assert teach.score(noisy, night).noise_cost > 1.2


def test_score_refuses_what_is_no_frame_of_the_night(nights: dict) -> None:
    night, result = nights["ccd"]
    with pytest.raises(SettingError, match="one calibrated frame"):
        teach.score(result.signal, night)
    with pytest.raises(SettingError, match="in adu"):
        teach.score(result.assign_attrs(units="electron"), night)
    with pytest.raises(SettingError, match="480 × 640"):
        teach.score(result.assign_coords(y=result.y + 100), night)


@pytest.mark.parametrize("number", range(1, len(teach.FAULTS) + 1))
def test_each_hidden_fault_can_be_found(number: int) -> None:
    case = teach.hidden_fault(number)
    name = teach.reveal_fault(number)
    assert case.guess(name).passed
    other = next(each for each in teach.FAULTS if each != name)
    assert case.guess(other).passed is False
    assert name not in repr(case)
    frames = _open(case.night)
    step = next(s for s in case.result.attrs["provenance"] if s["step"] == "subtract dark")
    assert step
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibkitWarning)
        found = calibkit.diagnose(
            case.result,
            **{kind.replace(" ", "_"): stack for kind, stack in frames.items()},
        )
    named = {finding.name for finding in (*found.faults, *found.suspects)}
    assert teach.FAULTS[name].diagnosis in named
    if name == "swapped pattern":
        assert teach.score(case.result, case.night).colour_error > 0.5


def test_cases_are_those_that_there_are() -> None:
    assert sorted(map(teach.reveal_fault, range(1, len(teach.FAULTS) + 1))) == sorted(teach.FAULTS)
    for wrong in (0, len(teach.FAULTS) + 1, "1"):
        with pytest.raises(SettingError, match="there are cases 1 to"):
            teach.hidden_fault(wrong)
    with pytest.raises(SettingError, match="the faults are"):
        teach.hidden_fault(1).guess("gremlins")

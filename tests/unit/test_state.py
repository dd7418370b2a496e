"""Settings of panels: refused when they cannot be, listed when they differ, written out as Python."""

from __future__ import annotations

import pytest
import traitlets
from hypothesis import given
from hypothesis import strategies as st

from calibkit.display.blocks import MOSAIC
from calibkit.display.stretch import CURVES, PALETTES
from calibkit.state import (
    BiasState,
    BrightnessState,
    CalibrateState,
    ChannelsState,
    CombineState,
    CompareState,
    DarkState,
    FlatState,
    HotPixelsState,
    NoiseState,
    NumbersState,
    SessionState,
    SignalChainState,
    StackState,
    State,
    ViewState,
    WorkbenchState,
)
from calibkit.state.view import MODES

#: The state of every panel → settings that differ from its defaults.
STATES: dict[type[State], dict[str, object]] = {
    NumbersState: {"centre": (5, 7), "rows": 9},
    SignalChainState: {"effects": ("offset",), "frames": 2},
    BiasState: {"frame": 1, "method": "median"},
    DarkState: {"frames": 3, "hot_sigma": 8.0},
    FlatState: {"step": "difference", "whole_numbers": 100},
    CombineState: {"reject": "winsorized", "low": 2.5, "frames": 7},
    HotPixelsState: {"sigma": 7.0, "added": [(3, 4)]},
    CalibrateState: {"subtract_dark": False, "dark_scale": "exposure"},
    NoiseState: {"hours": 2.0, "sky": 0.5, "dithered": True},
    CompareState: {"mode": "difference", "shared": True},
    BrightnessState: {"curve": "asinh", "block": 4},
    ChannelsState: {"line": "OIII", "region": (1.0, 9.0, 2.0, 8.0)},
    StackState: {"left_out": (1, 3), "judge": False},
    SessionState: {"folder": "night", "repair": False},
    WorkbenchState: {"step": "dark", "light": 2},
}


@pytest.mark.parametrize("make", [State, ViewState, CompareState])
def test_unknown_settings_are_refused(make: type[State]) -> None:
    with pytest.raises(TypeError, match=r"no setting 'sgima'; its settings are"):
        make(sgima=3)
    state = make()
    with pytest.raises(AttributeError, match="no setting 'sgima'"):
        state.sgima = 3
    # What a panel only shows is not something to set again.
    with pytest.raises(TypeError, match="no setting 'pixel'"):
        make(pixel=(1, 2))


@pytest.mark.parametrize("make", list(STATES), ids=lambda make: make.__name__)
def test_every_panel_has_settings_without_a_widget(make: type[State]) -> None:
    given_settings = STATES[make]
    state = make(**given_settings)
    assert state.settings() == given_settings
    assert repr(eval(state.code(), {make.call: make})) == repr(state)
    with pytest.raises(TypeError, match="no setting 'sgima'"):
        make(sgima=3)
    with pytest.raises(AttributeError, match="no setting 'sgima'"):
        state.sgima = 3
    state.restore()
    assert state.settings() == {}


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (CalibrateState, "dark_scale", "temperature"),
        (CalibrateState, "repair", "yes"),
        (NoiseState, "hours", 0.0),
        (NoiseState, "sky", -1.0),
        (NoiseState, "unit", "photon"),
        (NoiseState, "step", "masters"),
        (ChannelsState, "size", "double"),
        (ChannelsState, "region", (1, 2)),
        (ChannelsState, "colour", "L"),
        (StackState, "left_out", (1, -2)),
        (StackState, "left_out", ("first",)),
        (StackState, "model", "rotation"),
        (StackState, "reject", "sgima"),
        (StackState, "frame", -1),
        (SessionState, "method", "sum"),
        (SessionState, "folder", 7),
    ],
)
def test_settings_of_a_panel_that_cannot_be(make: type[State], name: str, value: object) -> None:
    state = make()
    with pytest.raises(traitlets.TraitError, match=name):
        setattr(state, name, value)
    assert state.settings() == {}


def test_masters_that_are_switched_on() -> None:
    state = CalibrateState(subtract_dark=False)
    assert state.used(["flat", "dark"]) == ["flat"]
    assert state.used(["bias", "dark", "flat"]) == ["bias", "flat"]
    assert state.used([]) == []


def test_a_frame_is_left_out_once() -> None:
    assert StackState(left_out=(3, 1, 3)).left_out == (1, 3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "spilt"),
        ("split", 1.1),
        ("split", "left"),
        ("curve", "log"),
        ("palette", "jet"),
        ("reduce", "median"),
        ("region", (1, 2, 3)),
        ("region", (1, 2, 3, float("nan"))),
        ("levels", (5, 5, 0.5)),
        ("levels", (1, 2, 1.0)),
        ("levels", (1, 2)),
        ("levels", "automatic"),
        ("shared", "yes"),
    ],
)
def test_settings_that_cannot_be_are_refused_and_change_nothing(name: str, value: object) -> None:
    state = CompareState()
    with pytest.raises(traitlets.TraitError, match=name):
        setattr(state, name, value)
    assert state.settings() == {}
    with pytest.raises(traitlets.TraitError, match=name):
        CompareState(**{name: value})


LEVELS = st.none() | st.tuples(st.floats(-1e5, 1e5), st.floats(0.001, 1e5), st.floats(0.001, 0.999)).map(
    lambda t: (t[0], t[0] + t[1], t[2])
).filter(lambda t: t[0] < t[1])
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "mode": st.sampled_from(MODES),
        "split": st.floats(0, 1),
        "shared": st.booleans(),
        "region": st.none() | st.tuples(*[st.floats(-1e4, 1e4)] * 4),
        "curve": st.sampled_from(CURVES),
        "palette": st.sampled_from(PALETTES[:-1]),
        "mark_clipped": st.booleans(),
        "levels": LEVELS,
        "after_levels": LEVELS,
        "difference_levels": LEVELS,
    },
)


@given(SETTINGS)
def test_settings_and_code_make_the_same_state_again(given_settings: dict) -> None:
    state = CompareState(**given_settings)
    defaults = {n: getattr(CompareState(), n) for n in CompareState.setting_names()}
    expected = {n: v for n, v in given_settings.items() if v != defaults[n]}
    assert state.settings() == expected
    assert CompareState(**state.settings()).settings() == expected
    again = eval(state.code(), {"ComparePanel": CompareState})
    assert again.settings() == expected
    state.restore()
    assert state.settings() == {}


def test_code_of_a_call() -> None:
    state = ViewState(channel="R", levels=[10, 20, 0.25])
    assert state.code("frame") == "ImageView(frame, channel='R', levels=(10.0, 20.0, 0.25))"
    assert repr(state) == "ViewState(channel='R', levels=(10.0, 20.0, 0.25))"
    state.pixel = (3, 4)
    assert state.code("frame").count("pixel") == 0
    assert ViewState().channel == MOSAIC

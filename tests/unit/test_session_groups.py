"""Clusters, nights and groups of frames."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibkit.errors import SettingError
from calibkit.io.source import FrameInfo
from calibkit.session.clusters import by_gap, by_tolerance
from calibkit.session.facts import applied_steps, clock_offset, longitude_of
from calibkit.session.frame import Frame, make_frame
from calibkit.session.grouping import filter_key, group_frames
from calibkit.session.nights import nights_of
from calibkit.session.tolerances import Tolerances

NAN = math.nan


def frame(name: str, kind: str, *, night: str = "2024-01-01", master: str = "", **facts: Any) -> Frame:
    plain = {
        "path": Path(name),
        "shape": (4, 6),
        "dtype": np.dtype("u2"),
        "full_shape": (4, 6),
        "active": (0, 4, 0, 6),
        "time": np.datetime64("2024-01-01T22:00:00", "ns"),
        "camera": "C",
    }
    return make_frame(
        FrameInfo(**{**plain, **facts}), name, kind=kind, reason="test", night=night, master=master
    )


def parts(frames: list[Frame], **limits: Any) -> list[list[str]]:
    groups = group_frames(frames, Tolerances(**limits) if limits else None)
    return [[member.relative for member in group.frames] for group in groups]


def test_exposures_cluster_within_their_tolerance() -> None:
    assert by_tolerance([60.0, 30.0, 30.04, NAN, 30.06], lambda _: 0.05) == [[1, 2], [4], [0], [3]]
    assert by_tolerance([], lambda _: 1.0) == []


def test_a_drift_stays_together_and_a_jump_does_not() -> None:
    drift = list(np.linspace(-22.5, -18.4, 20))
    assert by_gap(drift, jump=3.0) == [list(range(20))]
    assert by_gap([*drift, -10.0], jump=3.0) == [list(range(20)), [20]]


def test_a_wide_cluster_is_parted_at_the_gap_that_stands_out() -> None:
    assert by_gap([20.0, 20.5, 20.6, 23.1, 24.0], jump=3.0, span=3.0) == [[0, 1, 2], [3, 4]]


@pytest.mark.parametrize("step", [0.9, 1.0, 1.08])
def test_a_long_drift_without_a_gap_is_parted_in_the_middle(step: float) -> None:
    """A camera without cooling: 20 to 26 °C in steps of a degree."""
    drift = [20.0 + step * i for i in range(7)]
    assert by_gap(drift, jump=3.0, gap=1.0, span=3.3) == [[0, 1, 2], [3, 4, 5, 6]]
    assert by_gap(drift, jump=3.0, gap=1.0) == [list(range(7))]


def test_two_settings_of_the_cooler_are_told_apart_when_both_are_sets() -> None:
    assert by_gap([-10.0, -12.0], jump=3.0, gap=1.0, span=3.0) == [[1, 0]]
    assert by_gap([-10.0] * 3 + [-12.0] * 3, jump=3.0, gap=1.0, span=3.0) == [[3, 4, 5], [0, 1, 2]]


def test_lights_that_drift_are_parted_only_where_there_are_darks_to_choose_from() -> None:
    lights = [frame(f"l{i}.fit", "light", exposure=9.0, temperature=20.0 + 1.1 * i) for i in range(7)]
    warm = [frame(f"w{i}.fit", "dark", exposure=9.0, temperature=26.0) for i in range(3)]
    cold = [frame(f"c{i}.fit", "dark", exposure=9.0, temperature=21.0) for i in range(3)]
    flat_darks = [frame(f"f{i}.fit", "flat dark", exposure=1.0, temperature=20.0) for i in range(3)]
    assert [len(part) for part in parts([*lights, *warm, *flat_darks])] == [3, 3, 7]
    assert [part for part in parts([*lights, *warm, *cold]) if part[0][0] == "l"] == [
        ["l0.fit", "l1.fit", "l2.fit", "l3.fit"],
        ["l4.fit", "l5.fit", "l6.fit"],
    ]


@pytest.mark.parametrize(
    ("header", "degrees"),
    [
        ({"SITELONG": "-96:27:11.80"}, -96.453278),
        ({"SITELONG": "-79 45 45"}, -79.7625),
        ({"SITELONG": -79.7625}, -79.7625),
        ({"LONG-OBS": "204.42"}, -155.58),
        ({"SITELONG": "unknown", "LONGITUD": "11:00:00"}, 11.0),
        ({"SITELONG": "-00:30:00"}, -0.5),
        ({}, NAN),
    ],
)
def test_longitude(header: dict[str, Any], degrees: float) -> None:
    assert longitude_of(header) == pytest.approx(degrees, abs=1e-5, nan_ok=True)


def test_local_time_of_the_capture_program_goes_before_longitude() -> None:
    time = np.datetime64("2024-01-01T22:00:00", "ns")
    header = {"DATE-LOC": "2024-01-02T08:00:00.123", "SITELONG": 0.0}
    assert clock_offset(header, time) == 10.0
    assert clock_offset({"DATE-LOC": "0000-00-00T00:00:00", "SITELONG": 15.0}, time) == 1.0


def test_nights_run_from_noon_to_noon_where_the_telescope_is() -> None:
    # Minnesota, −96.45°: 2013-07-04 04:16 and 08:57 UTC are both in the night of the 3rd.
    times = [
        np.datetime64(t, "ns") for t in ("2013-07-04T04:16:00", "2013-07-04T08:57:00", "2013-07-05T03:00:00")
    ]
    assert nights_of(times, [-96.45 / 15] * 3) == ["2013-07-03", "2013-07-03", "2013-07-04"]
    assert nights_of([*times, np.datetime64("NaT", "ns")], [-96.45 / 15, NAN, NAN, NAN])[1:] == [
        "2013-07-03",
        "2013-07-04",
        "",
    ]


@pytest.mark.parametrize("zone", [-9, 0, 9.5, 12])
def test_without_longitude_no_night_is_cut_in_two(zone: float) -> None:
    """Two nights of observing from 19 h to 5 h local time, anywhere on Earth, are two nights."""
    start = np.datetime64("2024-03-10T19:00:00", "ns") - np.timedelta64(round(zone * 3600), "s")
    first = [start + np.timedelta64(hours, "h") for hours in range(0, 11, 2)]
    second = [time + np.timedelta64(24, "h") for time in first]
    nights = nights_of(first + second, [NAN] * 12)
    assert len(set(nights[:6])) == 1
    assert len(set(nights[6:])) == 1
    assert nights[0] < nights[6]


def test_steps_already_applied() -> None:
    assert applied_steps({"SUBBIAS": "ccd=<CCDData>", "CALSTAT": "BD"}) == {
        "bias": "CALSTAT = 'BD'",
        "dark": "CALSTAT = 'BD'",
    }
    assert applied_steps({"BIASSUB": True, "DARKSUB": False, "FLATCOR": ""}) == {"bias": "BIASSUB"}


def test_frames_that_differ_in_what_matters_are_not_grouped() -> None:
    plain = {"exposure": 30.0, "temperature": -10.0, "gain_setting": 100.0}
    others: list[dict[str, Any]] = [
        {"shape": (4, 8)},
        {"origin": (2, 0)},
        {"binning": (2, 2)},
        {"cfa": "RGGB"},
        {"camera": "D"},
        {"gain_setting": 200.0},
        {"gain_setting": NAN},
        {"exposure": 60.0},
        {"temperature": -20.0},
        {"dtype": np.dtype("f4")},
        {"header": {"OFFSET": 50}},
        {"header": {"READOUTM": "fast"}},
    ]
    frames = [frame("0.fit", "dark", **plain), frame("00.fit", "dark", **plain)]
    frames += [frame(f"{i + 1}.fit", "dark", **{**plain, **other}) for i, other in enumerate(others)]
    groups = parts(frames)
    assert sorted(groups) == sorted([["0.fit", "00.fit"], *[[f"{i + 1}.fit"] for i in range(len(others))]])


def test_filter_and_night_part_flats_and_lights_only() -> None:
    for kind, count in (("bias", 1), ("dark", 1), ("flat", 3), ("light", 3)):
        frames = [
            frame("a.fit", kind, filter="B", exposure=1.0),
            frame("b.fit", kind, filter="V", exposure=1.0),
            frame("c.fit", kind, filter="V", exposure=1.0, night="2024-01-02"),
        ]
        assert len(parts(frames)) == count, kind


def test_filters_of_the_same_name() -> None:
    assert filter_key("H-alpha") == filter_key("h alpha")
    assert filter_key("HA") == filter_key("Ha")
    assert filter_key("r") != filter_key("R")  # Sloan and Cousins
    assert filter_key("r'") != filter_key("r")


def test_masters_stand_alone() -> None:
    frames = [frame(f"{i}.fit", "dark", exposure=30.0, master="MASTER") for i in range(2)]
    assert parts([*frames, frame("raw.fit", "dark", exposure=30.0)]) == [["0.fit"], ["1.fit"], ["raw.fit"]]


def test_sky_flats_of_ever_longer_exposures_are_one_set() -> None:
    frames = [frame(f"{i}.fit", "flat", exposure=1.3**i) for i in range(8)]
    (group,) = group_frames(frames)
    assert len(group) == 8
    assert "sky flats" in group.notes[0]
    two_sets = [frame(f"{i}{j}.fit", "flat", exposure=float(i)) for i in (1, 5) for j in range(4)]
    assert len(group_frames(two_sets)) == 2


def test_a_drift_is_told() -> None:
    frames = [frame(f"{i}.fit", "flat", exposure=5.0, temperature=-22.5 + 0.5 * i) for i in range(9)]
    (group,) = group_frames(frames)
    assert group.notes == ("the temperature drifts between −22.5 °C and −18.5 °C; kept together",)
    assert group.temperature == pytest.approx(-20.5)
    assert group.temperature_range == (-22.5, -18.5)


def test_names_tell_groups_apart_even_as_file_names() -> None:
    frames = [
        frame("1.fit", "light", exposure=30.0, filter="r"),
        frame("2.fit", "light", exposure=30.0, filter="R"),
        frame("3.fit", "light", exposure=60.0, filter="V"),
        frame("4.fit", "dark", exposure=30.0, temperature=-10.0),
        frame("5.fit", "dark", exposure=30.0, temperature=-20.0),
        frame("6.fit", "dark", exposure=1 / 4000),
        frame("7.fit", "bias", exposure=0.0),
    ]
    groups = group_frames(frames)
    assert [group.name for group in groups] == [
        "bias",
        "dark 1/4000 s",
        "dark 30 s −20.0 °C",
        "dark 30 s −10.0 °C",
        "light R 30 s",
        "light V 60 s",
        "light r 30 s no. 2",
    ]
    slugs = [group.slug for group in groups]
    assert slugs[1:3] == ["dark_1_4000s", "dark_30s_-20.0C"]
    assert len({slug.casefold() for slug in slugs}) == len(slugs)
    assert all(
        set(slug) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-")
        for slug in slugs
    )


def test_unknown_kinds_are_in_no_group() -> None:
    assert parts([frame("x.fit", "")]) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"exposure": -1.0},
        {"dark_temperature": NAN},
        {"unknown": "maybe"},
        {"ignore": ("size",)},
        {"ignore": "gain"},
    ],
)
def test_tolerances_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="Tolerances"):
        Tolerances(**wrong)

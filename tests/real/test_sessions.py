"""Real folders come out right unaided, or with the few words that only their owner knows."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import calibkit
from calibkit.errors import CalibkitError
from calibkit.session import Match, Session

SharedData = Callable[[str], Path]


def used(match: Match) -> dict[str, str | None]:
    """Role → name of the group used."""
    roles = ("bias", "dark", "flat", "flat dark", "flat bias")
    return {role: group.name if (group := match[role]) else None for role in roles}


def sizes(session: Session) -> dict[str, int]:
    """Group → number of frames."""
    return {group.name: len(group) for group in session.groups}


def test_feder_is_a_whole_night(shared_data: SharedData) -> None:
    session = calibkit.scan(shared_data("feder"))
    lights = {"light B 60 s": 10, "light I 30 s": 10, "light R 30 s": 10, "light V 30 s": 10}
    assert sizes(session) == {
        "bias": 10,
        **{f"dark {t} s": 10 for t in (5, 15, 30, 60, 120)},
        "flat B": 20,
        "flat I": 10,
        "flat R": 10,
        "flat V": 10,
        **lights,
    }
    assert {match.light.name: used(match) for match in session.matches} == {
        f"light {f} {t} s": {
            "bias": "bias",
            "dark": f"dark {t} s",
            "flat": f"flat {f}",
            "flat dark": f"dark {flat_t} s",
            "flat bias": "bias",
        }
        for f, t, flat_t in (("B", 60, 120), ("I", 30, 5), ("R", 30, 15), ("V", 30, 30))
    }
    assert all(match.dark_scale is match.flat_dark_scale is None for match in session.matches)
    assert session.warnings == [
        "flat B (20): the temperature drifts between −22.5 °C and −18.4 °C; kept together"
    ]
    assert {frame.night for frame in session.frames} == {"2013-07-03"}  # 04:16 to 08:57 UTC at 96° west
    assert session.table["group"].ne("").all()


@pytest.fixture
def stl1001e(shared_data: SharedData) -> Path:
    return shared_data("stl1001e")


def test_stl1001e_whole(stl1001e: Path) -> None:
    """Four temperatures in one folder; flats whose headers say that they are lights."""
    session = calibkit.scan(stl1001e)
    kinds = Counter(frame.kind for frame in session.frames)
    assert kinds == {"bias": 21, "dark": 29, "light": 10}
    biases = {round(group.temperature): len(group) for group in session.groups if group.kind == "bias"}
    assert biases == {-10: 5, -5: 10, 0: 5, 10: 1}
    assert len([group for group in session.groups if group.kind == "dark"]) == 6 + 6 + 6 + 1
    assert len(session.group("dark 60 s −4.8 °C")) == 11
    (warning,) = session.warnings
    assert warning.startswith(
        "10 files (neg5/flat-expos23s-Neg5-Vis.00000000.FIT and 9 more): header says light"
    )
    assert "kinds={'flat': 'neg5/flat-expos23s-Neg5-Vis.*'}" in warning


def test_stl1001e_with_the_user_s_kinds(stl1001e: Path) -> None:
    kinds = {"flat": "neg5/flat-*", "light": "neg5/darks-expos150s*"}
    session = calibkit.scan(stl1001e, kinds=kinds)
    assert not session.warnings
    (match,) = session.matches
    assert used(match) == {
        "bias": "bias −4.8 °C",
        "dark": "dark 300 s −5.2 °C",  # the 11 of 60 s would have to be scaled up
        "flat": "flat Visible",
        "flat dark": "dark 60 s −4.8 °C",
        "flat bias": "bias −4.8 °C",
    }
    assert match.dark_scale == pytest.approx(150 / 300)
    assert match.flat_dark_scale == pytest.approx(23 / 60)


@pytest.mark.parametrize(("folder", "groups"), [("neg10", 7), ("neg5", 8), ("zero", 7), ("plus10", 2)])
def test_stl1001e_by_temperature(stl1001e: Path, folder: str, groups: int) -> None:
    session = calibkit.scan(stl1001e / folder)
    assert len(session.groups) == groups
    assert not session.unknown
    assert all(high - low < 1 for low, high in (group.temperature_range for group in session.groups))


def test_darks_of_another_temperature_are_refused(stl1001e: Path, tmp_path: Path) -> None:
    for path in [*(stl1001e / "neg5").glob("flat-*"), *(stl1001e / "neg10").glob("dark*")]:
        (tmp_path / path.name).symlink_to(path)
    (match,) = calibkit.scan(tmp_path).matches
    assert match.dark is None
    assert "temperature −10.2 °C, wanted −5.2 °C (± 3)" in match.missing["dark"]


def test_imx296_unaided_has_darks_and_unknown_frames(shared_data: SharedData) -> None:
    session = calibkit.scan(shared_data("imx296"))
    assert Counter(frame.kind for frame in session.frames) == {"dark": 4, "": 13}
    assert {frame.reason.split(" '")[0] for frame in session.frames if frame.kind} == {"file name"}
    assert "kinds={'light': 'level*'}" in session.warnings[0]
    assert not session.matches


def test_imx296_told(shared_data: SharedData) -> None:
    session = calibkit.scan(shared_data("imx296"), kinds={"flat": "level77*", "light": "level73*"})
    (match,) = session.matches
    assert (len(match.light), len(match.flat or ())) == (3, 10)
    assert match.dark is match.flat_dark is not None
    assert match.light.info.cfa == "BGGR"


def test_msdp_says_nothing_and_can_be_told(shared_data: SharedData) -> None:
    session = calibkit.scan(shared_data("msdp"))
    assert {frame.kind for frame in session.frames} == {"light"}
    assert "18 frames taken as lights" in session.warnings[0]
    session = calibkit.scan(shared_data("msdp"), kinds={"light": "*_b1*", "flat": "*_y1*", "dark": "*_x1*"})
    assert sizes(session) == {"dark": 5, "flat": 10, "light": 3}
    (match,) = session.matches
    assert used(match) == {
        "bias": None,
        "dark": "dark",
        "flat": "flat",
        "flat dark": "dark",
        "flat bias": None,
    }
    assert match.doubts["dark"] == ("neither says its exposure",)


def test_raw_files_of_six_cameras(shared_data: SharedData, tmp_path: Path) -> None:
    folder = shared_data("raw")
    session = calibkit.scan(folder)
    assert sorted(len(group) for group in session.groups) == [1] * 6
    assert len({group.info.camera for group in session.groups}) == 6
    assert len({match.light.slug for match in session.matches}) == 6
    black = {match.light.info.camera: match.light.black for match in session.matches}
    assert black["Canon EOS Kiss X4"] == pytest.approx(dict.fromkeys(("R", "G1", "G2", "B"), 2056), abs=2)
    assert set(black["Canon PowerShot G1"]) == set("GMYC")
    for path in sorted(folder.iterdir()):
        alone = tmp_path / path.stem
        alone.mkdir()
        (alone / path.name).symlink_to(path)
        (match,) = calibkit.scan(alone).matches
        assert match.missing["dark"] == "there are no darks in the session"


def test_seestar(shared_data: SharedData) -> None:
    session = calibkit.scan(shared_data("seestar"))
    assert sizes(session) == {"light IRCUT 10 s": 9}
    assert session.groups[0].info.cfa == "GRBG"
    assert session.groups[0].night == "2025-03-26"  # 01:20 UTC, west of Greenwich


def test_panoptes(shared_data: SharedData) -> None:
    session = calibkit.scan(shared_data("panoptes"))
    assert sorted(len(group) for group in session.groups) == [1, 2]
    assert {group.filter for group in session.groups} == {""}  # FILTER = 'RGGB' is the pattern
    assert sorted(group.info.cfa for group in session.groups) == ["", "RGGB"]


def test_ccd_workshop_brings_ready_masters(shared_data: SharedData) -> None:
    session = calibkit.scan(shared_data("ccd_workshop"))
    assert sizes(session) == {"master bias": 1, "master dark 90 s": 1, "master flat r": 1, "light r 90 s": 1}
    (match,) = session.matches
    assert used(match) == {
        "bias": "master bias",
        "dark": "master dark 90 s",
        "flat": "master flat r",
        "flat dark": None,
        "flat bias": None,
    }
    assert match.missing["flat dark"] == "not needed: it was subtracted from the flat already (SUBDARK)"
    assert "bias" in match.dark.applied  # type: ignore[union-attr]
    assert not session.warnings


def test_broken_raws_are_listed_beside_good_frames(shared_data: SharedData, tmp_path: Path) -> None:
    broken = shared_data("robust")
    with pytest.raises(CalibkitError, match="none of its 7 frame files can be read"):
        calibkit.scan(broken)
    for path in [*broken.iterdir(), shared_data("panoptes") / "unsolved.fits"]:
        shutil.copy(path, tmp_path)
    session = calibkit.scan(tmp_path)
    assert [frame.relative for frame in session.frames] == ["unsolved.fits"]
    assert {path.name for path in session.unreadable} == {path.name for path in broken.iterdir()}


def test_everything_at_once_stays_apart(shared_data: SharedData) -> None:
    """All real frames in one folder: no match crosses from one camera to another."""
    session = calibkit.scan(shared_data("feder").parent)
    assert len(session.frames) > 250
    for match in session.matches:
        for role in ("bias", "dark", "flat", "flat dark"):
            group = match[role]
            if group is not None:
                assert group.frames[0].relative.split("/")[0] == match.light.frames[0].relative.split("/")[0]

"""Folders on disk into sessions."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

import calibkit
from calibkit.errors import CalibkitError, Cancelled, SettingError
from calibkit.session.doubts import common_pattern


def write(path: Path, *, size: tuple[int, int] = (4, 6), **cards: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    hdu = fits.PrimaryHDU(np.full(size, 100, np.uint16))
    hdu.header.update({name.replace("_", "-"): value for name, value in cards.items()})
    hdu.writeto(path)
    return path


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """Two of everything, told in different ways."""
    folder = tmp_path / "night"
    for i in range(2):
        write(folder / "darks" / f"IMG_{i}.fit", EXPTIME=60.0, CCD_TEMP=-10.0)
        write(folder / f"flat-{i}.fit", EXPTIME=2.0, CCD_TEMP=-10.0, FILTER="V")
        write(folder / "M42" / f"a{i}.fits", EXPTIME=60.0, CCD_TEMP=-10.1, FILTER="V", IMAGETYP="Light Frame")
        write(folder / f"b{i}.fit", EXPTIME=0.0)
    return folder


def test_kinds_and_reasons(night: Path) -> None:
    session = calibkit.scan(night)
    table = session.table.set_index("file")
    assert table["kind"].to_dict() == {
        "M42/a0.fits": "light",
        "M42/a1.fits": "light",
        "b0.fit": "bias",
        "b1.fit": "bias",
        "darks/IMG_0.fit": "dark",
        "darks/IMG_1.fit": "dark",
        "flat-0.fit": "flat",
        "flat-1.fit": "flat",
    }
    assert table.loc["M42/a0.fits", "reason"] == "IMAGETYP = 'Light Frame'"
    assert table.loc["darks/IMG_0.fit", "reason"] == "folder 'darks'"
    assert table.loc["flat-0.fit", "reason"] == "file name 'flat-0.fit'"
    assert table.loc["b0.fit", "reason"] == "exposure 0 s"
    assert table.loc[
        "flat-0.fit", ["exposure", "filter", "width", "height", "binning", "group"]
    ].to_list() == [
        2.0,
        "V",
        6,
        4,
        "1×1",
        "flat V",
    ]
    assert [group.name for group in session.groups] == ["bias", "dark 60 s", "flat V", "light V 60 s"]
    (match,) = session.matches
    assert match.dark is session.group("dark 60 s")
    assert not session.warnings
    assert not session.unreadable


def test_what_does_not_count(night: Path) -> None:
    write(night / ".hidden" / "dark.fit", EXPTIME=1.0)
    write(night / "._dark.fit", EXPTIME=1.0)
    write(night / "out" / "light-cal.fit", EXPTIME=60.0, CALIBKIT="0.1.0")
    (night / "notes.txt").write_text("clouds after two")
    (night / "preview.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a frame")
    session = calibkit.scan(night)
    assert len(session.frames) == 8
    assert not session.unreadable
    assert [path.name for path in session.ignored] == ["light-cal.fit"]


def test_unreadable_frames_are_listed_and_stop_nothing(night: Path) -> None:
    (night / "cut.fit").write_bytes((night / "flat-0.fit").read_bytes()[:2900])
    (night / "cut.fit.gz").write_bytes(gzip.compress((night / "flat-0.fit").read_bytes())[:60])
    (night / "empty.fit").touch()
    (night / "picture.RAF").write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 100)
    session = calibkit.scan(night)
    assert len(session.frames) == 8
    assert sorted(path.name for path in session.unreadable) == [
        "cut.fit",
        "cut.fit.gz",
        "empty.fit",
        "picture.RAF",
    ]
    assert all(str(path) in reason for path, reason in session.unreadable.items())
    assert "JPEG" in session.unreadable[night / "picture.RAF"]
    assert "picture.RAF" in session.summary()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_frame_without_permission_is_listed(night: Path) -> None:
    (night / "flat-0.fit").chmod(0)
    assert "permission" in calibkit.scan(night).unreadable[night / "flat-0.fit"]


def test_folders_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(CalibkitError, match="no_such: this folder does not exist"):
        calibkit.scan(tmp_path / "no_such")
    with pytest.raises(CalibkitError, match="this folder is empty; put FITS"):
        calibkit.scan(tmp_path)
    (tmp_path / "notes.txt").write_text("clouds")
    with pytest.raises(CalibkitError, match="no frames among its 1 file; wanted are FITS"):
        calibkit.scan(tmp_path)
    with pytest.raises(CalibkitError, match=r"notes.txt: this is a file, not a folder"):
        calibkit.scan(tmp_path / "notes.txt")
    (tmp_path / "a.fit").write_bytes(b"SIMPLE  =                    T")
    with pytest.raises(CalibkitError, match=r"none of its 1 frame file can be read: .*a\.fit"):
        calibkit.scan(tmp_path)


def test_links_are_followed_once_and_dead_ones_told(night: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    write(library / "bias" / "b.fit", EXPTIME=0.0, IMAGETYP="Bias")
    (night / "calibration").symlink_to(library)
    (night / "again").symlink_to(night)
    (night / "gone.fit").symlink_to(night / "nowhere.fit")
    (night / "loop.fit").symlink_to(night / "loop.fit")
    session = calibkit.scan(night)
    assert night / "loop.fit" in session.unreadable
    assert [frame.relative for frame in session.frames if "bias" in frame.relative] == [
        "calibration/bias/b.fit"
    ]
    assert len(session.frames) == 9
    assert "no such file" in session.unreadable[night / "gone.fit"]


def test_a_closed_folder_is_listed_and_stops_nothing(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def closed(path: Path) -> object:
        if Path(path).name == "darks":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    session = calibkit.scan(night)
    assert len(session.frames) == 6
    assert session.unreadable[night / "darks"].endswith("the folder cannot be read (Permission denied)")


def test_names_that_are_no_text_can_be_shown(tmp_path: Path) -> None:
    frame = write(tmp_path / "dark.fit", IMAGETYP="Dark", EXPTIME=1.0)
    frame.rename(os.fsdecode(os.fsencode(tmp_path) + b"/flat\xff.fit"))
    session = calibkit.scan(tmp_path)
    session.summary().encode("utf-8")
    assert "flat?.fit" in session._repr_html_()


def test_only_the_folder_itself(night: Path) -> None:
    assert {frame.relative for frame in calibkit.scan(night, recursive=False).frames} == {
        "b0.fit",
        "b1.fit",
        "flat-0.fit",
        "flat-1.fit",
    }


def test_the_user_has_the_last_word(night: Path) -> None:
    session = calibkit.scan(night, kinds={"flat dark": "darks/*", "bias": "M42/a0*"})
    kinds = session.table.set_index("file")["kind"]
    assert kinds["darks/IMG_1.fit"] == "flat dark"
    assert kinds["M42/a0.fits"] == "bias"
    assert {frame.reason for frame in session.frames if frame.kind == "flat dark"} == {"told by the user"}
    with pytest.raises(SettingError, match="no file fits"):
        calibkit.scan(night, kinds={"dark": "dork*"})


def test_header_against_name_is_warned_with_the_way_out(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"flat-{i}.fit", IMAGETYP="Light Frame", EXPTIME=2.0)
        write(tmp_path / f"dark-{i}.fit", IMAGETYP="Dark Frame", EXPTIME=2.0)
    session = calibkit.scan(tmp_path)
    (warning,) = session.warnings
    assert warning == (
        "3 files (flat-0.fit and 2 more): header says light (IMAGETYP = 'Light Frame'), but file name 'flat-0.fit' "
        "says flat: taken as light. If the name is right: kinds={'flat': 'flat-*'}, or --flat 'flat-*' on the command line"
    )
    told = calibkit.scan(tmp_path, kinds={"flat": "flat-*"})
    assert told.warnings == ["there are no lights here: masters can be made, nothing can be calibrated"]


def test_frames_that_nothing_says_anything_about(tmp_path: Path) -> None:
    write(tmp_path / "m1.fit", EXPTIME=2.0)
    session = calibkit.scan(tmp_path)
    assert [(frame.kind, frame.reason) for frame in session.frames] == [
        ("light", "no frame here says what it is: taken as a light")
    ]
    assert "1 frame taken as lights" in session.warnings[0]
    write(tmp_path / "dark.fit", EXPTIME=2.0)
    session = calibkit.scan(tmp_path)
    assert [frame.relative for frame in session.unknown] == ["m1.fit"]
    assert session.warnings[0].startswith("1 frame of unknown kind (m1.fit)")
    assert not session.matches


def test_a_combined_light_is_not_calibrated_again(tmp_path: Path) -> None:
    write(tmp_path / "Stacked_M94.fit", IMAGETYP="Light", STACKCNT=30, EXPTIME=10.0)
    session = calibkit.scan(tmp_path)
    assert not session.matches
    assert any("a light that is combined already is not calibrated" in text for text in session.warnings)


def test_stack_opens_a_group_with_its_kind(night: Path) -> None:
    session = calibkit.scan(night)
    stack = session.stack("dark 60 s")
    assert stack.dims == ("frame", "y", "x")
    assert stack.kind.values.tolist() == ["dark", "dark"]
    with pytest.raises(SettingError, match="no group is called 'dork'; there are 'bias', 'dark 60 s'"):
        session.stack("dork")


def test_a_master_has_the_temperature_of_its_group(tmp_path: Path) -> None:
    for i in range(5):
        write(tmp_path / f"dark-{i}.fit", IMAGETYP="Dark", EXPTIME=60.0, CCD_TEMP=-10.0 + 0.1 * i)
    session = calibkit.scan(tmp_path)
    master = calibkit.combine(session.stack("dark 60 s"), reject="none")
    assert master.attrs["temperature"] == pytest.approx(-9.8)
    assert master.attrs["exposure"] == 60.0
    assert set(master.coords) == {"y", "x", "file"}  # what frames differ in says nothing of a master


def test_text_from_files_is_escaped(tmp_path: Path) -> None:
    write(
        tmp_path / "light.fit",
        IMAGETYP="Light",
        OBJECT="M42",
        FILTER="<b>V</b>",
        INSTRUME="<script>x</script>",
    )
    html = calibkit.scan(tmp_path)._repr_html_()
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    assert "<b>V" not in html


def test_progress_is_told_and_can_stop(night: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    calibkit.scan(night, progress=lambda *state: seen.append(state))
    assert seen[-1] == (8, 8, "reading headers")
    assert [done for done, _, _ in seen] == list(range(1, 9))

    def stop(done: int, total: int, what: str) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        calibkit.scan(night, progress=stop)


def test_patterns_suggested_fit_their_files_alone() -> None:
    names = ["a/flat1.fit", "a/flat2.fit", "b/dark.fit"]
    assert common_pattern(names[:2], names) == "a/flat*"
    assert common_pattern(names[2:], names) == "b/dark.fit"
    assert common_pattern(["x1.fit", "y1.fit"], ["x1.fit", "y1.fit", "z.fit"]) == "PATTERN"


def test_copies_of_a_frame_are_warned_of(tmp_path: Path) -> None:
    cards = {"IMAGETYP": "Light", "EXPTIME": 2.0, "DATE_OBS": "2024-01-01T20:00:00"}
    write(tmp_path / "a" / "M42_001.fit", **cards)
    write(tmp_path / "a" / "M42_002.fit", **cards)
    assert not calibkit.scan(tmp_path).warnings
    (tmp_path / "M42_001.fit.gz").write_bytes(gzip.compress((tmp_path / "a" / "M42_001.fit").read_bytes()))
    (warning,) = calibkit.scan(tmp_path).warnings
    assert warning.startswith("1 frame there more than once (a/M42_001.fit = M42_001.fit.gz)")


@pytest.mark.parametrize(
    ("name", "lights", "used"),
    [
        ("ccd", 10, {"bias": 10, "dark": 11, "flat": 10, "flat dark": 10, "flat bias": 10}),
        ("dslr", 7, {"bias": 10, "dark": 11, "flat": 10, "flat dark": 10, "flat bias": 10}),
    ],
)
def test_the_sample_sessions_match_unaided(name: str, lights: int, used: dict[str, int]) -> None:
    session = calibkit.scan(calibkit.sample_session(name))
    (match,) = session.matches
    assert len(match.light) == lights
    assert {role: len(match[role] or ()) for role in used} == used
    assert match.dark_scale is match.flat_dark_scale is None
    assert not session.warnings
    assert not session.unused

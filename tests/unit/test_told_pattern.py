"""Colour filters that the user tells: filters removed from a sensor, files without a pattern, files with a wrong one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import calibkit
from calibkit.cli import main
from calibkit.errors import MismatchError, SettingError
from calibkit.io.source import told_pattern
from calibkit.simulate import X_TRANS, Camera, FrameSet, Lamp, Sky, write_session
from tests.dng_files import coloured

CAMERA = Camera(shape=(64, 96), offset=200.0, hot_fraction=0.01)
NIGHT = [("flat", 4, 1.0), ("flat dark", 4, 1.0), ("dark", 4, 30.0), ("light", 2, 30.0)]


def converted(folder: Path) -> Path:
    """A session of a camera without filters whose files still state the ones that were taken off."""
    sets = [
        FrameSet(kind=kind, count=count, exposure=exposure, stated={"BAYERPAT": "RGGB", "XBAYROFF": 0})
        for kind, count, exposure in NIGHT
    ]
    return write_session(folder, CAMERA, sets, sky=Sky(background=60.0), lamp=Lamp(rate=20_000))


def test_filters_that_were_removed(tmp_path: Path) -> None:
    folder = converted(tmp_path / "s")
    files = sorted((folder / "lights").glob("*"))
    stated, told = calibkit.open_stack(files), calibkit.open_stack(files, cfa="")
    assert (stated.attrs["cfa"], told.attrs["cfa"]) == ("RGGB", "")
    assert told.cfa.pattern.channels == ("L",)
    np.testing.assert_array_equal(told, stated)
    assert calibkit.open_stack(files, cfa="mono").attrs["cfa"] == ""


def test_files_without_a_pattern(tmp_path: Path) -> None:
    path = tmp_path / "plain.fits"
    fits.writeto(path, np.arange(400, dtype=np.uint16).reshape(20, 20))
    assert calibkit.open_stack(path).attrs["cfa"] == ""
    for pattern in ("GBRG", "GMYC", X_TRANS):
        told = calibkit.open_stack(path, cfa=pattern)
        assert told.attrs["cfa"] == pattern
        assert told[:, 3:, 5:].cfa.pattern.label(3, 5) == calibkit.Pattern(pattern).label(3, 5)
    with pytest.raises(SettingError, match="colour filter pattern 'RGBX'"):
        calibkit.open_stack(path, cfa="RGBX")


def test_frames_are_compared_by_what_is_told(tmp_path: Path) -> None:
    for name, pattern in (("a", "RGGB"), ("b", "BGGR")):
        fits.writeto(
            tmp_path / f"{name}.fits", np.zeros((8, 8), np.uint16), fits.Header({"BAYERPAT": pattern})
        )
    with pytest.raises(MismatchError, match="colour pattern"):
        calibkit.open_stack(str(tmp_path / "*.fits"))
    assert calibkit.open_stack(str(tmp_path / "*.fits"), cfa="").sizes["frame"] == 2


def test_camera_raw_keeps_what_still_holds(tmp_path: Path) -> None:
    path = coloured(tmp_path / "a.dng", matrix=True, active=(4, 6, 60, 90))
    stated = calibkit.open_stack(path)
    assert stated.attrs["black"] == {"R": 64, "G1": 64, "G2": 64, "B": 64}
    bare = calibkit.open_stack(path, cfa="")
    assert bare.attrs["black"] == {"L": 64}
    assert "white_balance" not in bare.attrs
    assert "camera_matrix" not in bare.attrs
    np.testing.assert_array_equal(bare, stated)
    assert calibkit.constant_bias(bare).signal.values.max() == 64
    other = calibkit.open_stack(path, cfa="GRBG", area="full")
    assert other.attrs["black"] == {"R": 64, "G1": 64, "G2": 64, "B": 64}
    assert other.attrs["white_balance"] == stated.attrs["white_balance"]
    assert other.cfa.pattern.label(int(other.y[0]), int(other.x[0])) == "G1"


def test_black_levels_that_differ_inside_a_new_channel_are_not_stated(tmp_path: Path) -> None:
    path = coloured(tmp_path / "a.dng", matrix=True, black=(60, 61, 62, 63))
    info = calibkit.io.open_frame(path).complete_info()
    assert info.black == {"R": 60, "G1": 61, "G2": 62, "B": 63}
    assert told_pattern(info, "BGGR").black == {"B": 60, "G2": 61, "G1": 62, "R": 63}
    assert told_pattern(info, "").black is None
    assert told_pattern(info, None) is info
    assert told_pattern(info, "RGGB") is info


def test_a_session_and_its_calibration(tmp_path: Path) -> None:
    folder = converted(tmp_path / "s")
    session = calibkit.scan(folder, cfa="")
    assert set(session.table.pattern) == {""}
    result = calibkit.calibrate_session(session, tmp_path / "out")
    assert result.ok
    light = calibkit.open_result(min((tmp_path / "out" / "lights").rglob("*.fits")))
    assert light.attrs["cfa"] == ""
    again = calibkit.calibrate_session(
        calibkit.scan(folder), tmp_path / "out"
    )  # nothing of that is taken over
    assert again.ok
    light = calibkit.open_result(min((tmp_path / "out" / "lights").rglob("*.fits")))
    assert light.attrs["cfa"] == "RGGB"
    with pytest.raises(SettingError, match="colour filter pattern"):
        calibkit.scan(folder, cfa="XXXX")


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(converted(tmp_path / "s"))
    assert main(["scan", folder]) == 0
    assert "RGGB" in capsys.readouterr().out
    assert main(["scan", folder, "--pattern", "mono"]) == 0
    assert "RGGB" not in capsys.readouterr().out

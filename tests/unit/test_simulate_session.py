"""Sessions on disk: what other programs read from them, and what happens when they cannot be written."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import calibkit
from calibkit import io
from calibkit.cfa import Pattern
from calibkit.errors import CalibkitError, Cancelled, FrameFileError, OutputError, SettingError
from calibkit.simulate import (
    X_TRANS,
    Camera,
    FrameSet,
    Lamp,
    Optics,
    Sky,
    random_dust,
    session_truth,
    simulate_frame,
    truth,
    write_session,
)
from calibkit.simulate.parameters import from_json, to_json

CAMERA = Camera(
    name="Test camera", shape=(41, 60), pattern="GBRG", gain_setting=400.0, bit_depth=14, dark_current=0.5
)
SKY = Sky(n_stars=5, h_alpha=5.0, dither=1.0)
OPTICS = Optics(vignetting=0.3, dust=random_dust(2, CAMERA.shape, radius=4))
NIGHT = (
    FrameSet(kind="bias", count=2),
    FrameSet(kind="flat", count=2, exposure=0.5, filter="Ha"),
    FrameSet(kind="flat dark", count=2, exposure=0.5),
    FrameSet(kind="dark", count=2, exposure=60.0, temperature=-15.0),
    FrameSet(kind="light", count=3, exposure=60.0, filter="Ha", temperature=(-16.0, -14.0)),
)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_session(
        tmp_path_factory.mktemp("night") / "one", CAMERA, NIGHT, optics=OPTICS, sky=SKY, seed=3
    )


def test_frames_are_read_back_as_they_were_simulated(night: Path) -> None:
    lights = calibkit.open_stack(sorted((night / "lights").iterdir()))
    for i, temperature in enumerate((-16.0, -15.0, -14.0)):
        frame = simulate_frame(
            CAMERA, exposure=60.0, filter="Ha", temperature=temperature, sky=SKY, optics=OPTICS, seed=3, frame_index=8 + i
        )  # fmt: skip
        assert np.array_equal(lights[i].values, frame.values)
        for name in ("kind", "exposure", "gain", "gain_setting", "temperature", "filter"):
            assert lights[i][name].item() == frame[name].item(), name
    for name in ("units", "camera", "cfa", "saturation", "pedestal", "binning", "read_noise", "roworder"):
        assert lights.attrs[name] == frame.attrs[name], name
    assert lights.attrs["header"]["OBJECT"] == "simulated field"


def test_time_goes_on_through_the_night(night: Path) -> None:
    infos = [io.read_info(path) for path in night.rglob("*.fits")]
    infos.sort(key=lambda info: info.time)
    assert [info.kind for info in infos] == [group.kind for group in NIGHT for _ in range(group.count)]
    for earlier, later in pairwise(infos):
        assert (later.time - earlier.time) / np.timedelta64(1, "s") >= earlier.exposure


def test_the_session_is_matched_unaided(night: Path) -> None:
    session = calibkit.scan(night)
    assert {group.kind: len(group) for group in session.groups} == {
        group.kind: group.count for group in NIGHT
    }  # fmt: skip
    assert len(session.matches) == 1


def test_headers_are_standard_fits(night: Path) -> None:
    for path in night.rglob("*.fits"):
        with fits.open(path) as file:
            file.verify("exception")
            assert file[0].header["BZERO"] == 32768
            assert file[0].data.dtype.newbyteorder("=") == np.uint16


@pytest.mark.parametrize("pattern", ["RGGB", "GBRG", "GMCY", X_TRANS])
@pytest.mark.parametrize("roworder", ["TOP-DOWN", "BOTTOM-UP"])
@pytest.mark.parametrize("height", [12, 13])
def test_pattern_in_the_header_is_that_of_the_pixels(
    tmp_path: Path, pattern: str, roworder: str, height: int
) -> None:
    camera = replace(CAMERA, pattern=pattern, roworder=roworder, shape=(height, 14))
    write_session(tmp_path / "s", camera, [FrameSet(kind="dark", count=1)])
    (path,) = (tmp_path / "s").rglob("*.fits")
    assert Pattern(io.read_info(path).cfa) == Pattern(pattern)


def test_truth_of_each_frame_is_found_again(night: Path) -> None:
    perfect = session_truth(night, "lights/light_Ha_60s_002.fits")
    wanted = truth(
        CAMERA, exposure=60.0, filter="Ha", temperature=-15.0, sky=SKY, optics=OPTICS, frame_index=9
    )
    assert perfect.equals(wanted)
    assert session_truth(night).equals(session_truth(night, night / "lights" / "light_Ha_60s_001.fits"))
    assert not session_truth(night).signal.equals(perfect.signal)  # the sky has moved
    dark = session_truth(night, "darks/dark_60s_001.fits")
    assert dark.attrs["kind"] == "dark"
    assert float(dark.light.max()) == 0


def test_truth_of_what_is_not_there(night: Path, tmp_path: Path) -> None:
    with pytest.raises(FrameFileError, match="not one of the 11 frames"):
        session_truth(night, "lights/other.fits")
    with pytest.raises(FrameFileError, match="no simulated session"):
        session_truth(tmp_path)
    for data in (b"{", b"\xff\xfe\xfa", b"[" * 100_000):
        (tmp_path / "simulation.json").write_bytes(data)
        with pytest.raises(FrameFileError, match="no simulated session"):
            session_truth(tmp_path)


@pytest.mark.parametrize("gone", ["camera", "sets", "frames", "fingerprint", "optics"])
@pytest.mark.parametrize("left", [None, "x", [], 3])
def test_settings_that_are_damaged_are_refused(night: Path, tmp_path: Path, gone: str, left: object) -> None:
    settings = json.loads((night / "simulation.json").read_text(encoding="utf-8"))
    (tmp_path / "simulation.json").write_text(json.dumps(settings | {gone: left}), encoding="utf-8")
    with pytest.raises(CalibkitError):
        session_truth(tmp_path)


def test_a_camera_of_a_thousand_million_pixels_takes_no_memory(night: Path, tmp_path: Path) -> None:
    settings = json.loads((night / "simulation.json").read_text(encoding="utf-8"))
    settings["camera"]["shape"] = [32_000, 32_000]
    (tmp_path / "simulation.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(FrameFileError, match="nothing that can be simulated"):
        session_truth(tmp_path)


def test_truth_refuses_other_random_numbers(night: Path, tmp_path: Path) -> None:
    settings = json.loads((night / "simulation.json").read_text())
    settings["fingerprint"][3] *= 1.1
    (tmp_path / "simulation.json").write_text(json.dumps(settings))
    with pytest.raises(SettingError, match="other random numbers"):
        session_truth(tmp_path)


def test_settings_survive_json() -> None:
    for thing in (CAMERA, OPTICS, SKY, Lamp(), Camera(), Sky(stars=[(1, 2, 3)])):
        again = from_json(json.loads(json.dumps(to_json(thing))))
        assert to_json(again) == to_json(thing)
        assert type(again) is type(thing)
    with pytest.raises(SettingError, match="another version"):
        from_json({"type": "Camera", "colour": "blue"})
    with pytest.raises(SettingError, match="another version"):
        from_json({"type": "Telescope"})


def test_a_header_can_lie_for_a_lesson(tmp_path: Path) -> None:
    group = FrameSet(
        kind="dark", count=1, exposure=5.0, temperature=-5.0, stated={"CCD-TEMP": -20.0, "GAIN": None}
    )
    write_session(tmp_path / "s", CAMERA, [group])
    info = io.read_info(tmp_path / "s" / "darks" / "dark_5s_001.fits")
    assert info.temperature == -20.0
    assert np.isnan(info.gain_setting)
    assert session_truth(tmp_path / "s").attrs["temperature"] == -5.0


def test_sets_of_the_same_kind_do_not_overwrite_each_other(tmp_path: Path) -> None:
    write_session(tmp_path / "s", CAMERA, [FrameSet(kind="bias", count=2), FrameSet(kind="bias", count=1)])
    assert len(list((tmp_path / "s" / "bias").iterdir())) == 3


def test_a_cancelled_session_leaves_nothing(tmp_path: Path) -> None:
    def cancel(done: int, total: int, what: str) -> None:
        assert total == 11
        if done == 5:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        write_session(tmp_path / "s", CAMERA, NIGHT, progress=cancel)
    assert list((tmp_path / "s").iterdir()) == []
    assert write_session(tmp_path / "s", CAMERA, NIGHT[:1]).is_dir()


def test_what_a_killed_run_left_is_in_nobodys_way(tmp_path: Path) -> None:
    left = tmp_path / "s" / ".partial-dead" / "bias"
    left.mkdir(parents=True)
    old = time.time() - 7200
    os.utime(left.parent, (old, old))
    write_session(tmp_path / "s", CAMERA, NIGHT[:1])
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["bias", "simulation.json"]


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(SettingError, match="new or an empty folder"):
        write_session(tmp_path, CAMERA, NIGHT)
    with pytest.raises(SettingError, match="new or an empty folder"):
        write_session(tmp_path / "mine.txt", CAMERA, NIGHT)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_names_that_no_header_can_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="ASCII"):
        write_session(tmp_path / "s", CAMERA, NIGHT, target="Hα nebula")
    with pytest.raises(SettingError, match="ASCII"):
        write_session(tmp_path / "s", replace(CAMERA, name="two\nlines"), NIGHT)
    write_session(tmp_path / "s", replace(CAMERA, name="x" * 67), NIGHT[-1:], target="y" * 90)
    (path, *_) = (tmp_path / "s").rglob("*.fits")
    assert io.read_info(path).camera == "x" * 67


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_session(tmp_path / "file" / "s", CAMERA, NIGHT)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fits.PrimaryHDU, "writeto", full)
    with pytest.raises(OutputError, match="No space left"):
        write_session(tmp_path / "s", CAMERA, NIGHT)
    assert list((tmp_path / "s").iterdir()) == []


@pytest.mark.parametrize("field", [{"kind": "dome", "count": 1}, {"kind": "bias", "count": 0}])
def test_frame_sets_that_cannot_be_are_refused(field: dict) -> None:
    with pytest.raises(SettingError, match="allowed"):
        FrameSet(**field)
    with pytest.raises(SettingError, match="at least one"):
        write_session("nowhere", CAMERA, [])

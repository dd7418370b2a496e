"""Camera RAW: patterns, margins, levels, and what LibRaw must not get away with. The files are DNGs made here."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import calibkit
from calibkit import io
from calibkit.cfa.pattern import Pattern
from calibkit.errors import FrameFileError, OutputError
from calibkit.io import raw_process, raw_worker, spool
from calibkit.io.raw import RawSource
from tests.dng_files import TO_CAMERA, coloured, dng, noise

XTRANS = "GBGGRG/RGRBGB/GBGGRG/GRGGBG/BGBRGR/GRGGBG"


def test_whole_frame_levels_and_camera(tmp_path: Path) -> None:
    pixels = noise()
    source = io.open_frame(dng(tmp_path / "a.dng", pixels, black=(60, 61, 62, 63), white=4000))
    np.testing.assert_array_equal(source.read(0, 64), pixels)
    np.testing.assert_array_equal(source.read(13, 29), pixels[13:29])
    info = source.complete_info()
    assert info.camera == "Maker Seven"
    assert info.cfa == "RGGB"
    assert info.saturation == 4000
    assert info.black == {"R": 60, "G1": 61, "G2": 62, "B": 63}
    assert info.dtype == np.uint16
    assert info.exposure == 2.5
    assert np.isnan(info.gain_setting)
    assert np.isnat(info.time)


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
@pytest.mark.parametrize("margins", [(0, 0), (3, 4), (4, 5), (7, 9)])
def test_pattern_is_anchored_at_the_first_sensor_pixel(
    tmp_path: Path, pattern: str, margins: tuple[int, int]
) -> None:
    top, left = margins
    pixels = noise()
    source = io.open_frame(
        dng(tmp_path / "m.dng", pixels, pattern=pattern, active=(top, left, 60, 90), black=(60, 61, 62, 63))
    )
    info = source.info
    y0, x0 = top + top % 2, left + left % 2  # LibRaw makes margins even
    assert info.active == (y0, 60, x0, 90)
    assert info.origin == (y0, x0)
    np.testing.assert_array_equal(source.read(0, info.shape[0]), pixels[y0:60, x0:90])
    np.testing.assert_array_equal(source.read(0, 64, area="full"), pixels)
    # the DNG states pattern and black levels from the active area's own corner
    black = source.complete_info().black
    assert black is not None
    anchored = Pattern(info.cfa)
    for y in range(2):
        for x in range(2):
            channel = anchored.label(top + y, left + x)
            assert channel[0] == pattern[2 * y + x]
            assert black[channel] == 60 + 2 * y + x


@pytest.mark.parametrize("margins", [(0, 0), (7, 13), (26, 152)])
def test_xtrans_with_margins(tmp_path: Path, margins: tuple[int, int]) -> None:
    top, left = margins
    pixels = noise(120, 240)
    path = dng(tmp_path / "x.dng", pixels, pattern=XTRANS, active=(top, left, 120, 240))
    source = io.open_frame(path)
    anchored = Pattern(source.info.cfa)
    rows = XTRANS.split("/")
    assert anchored.period == (6, 6)
    found = ["".join(anchored.label(top + y, left + x) for x in range(6)) for y in range(6)]
    assert found == rows
    assert source.complete_info().black == {"R": 64, "G": 64, "B": 64}


def test_header_and_decoder_agree(tmp_path: Path) -> None:
    """The quick look at the header finds what LibRaw knows after decoding."""
    path = dng(tmp_path / "a.dng", noise(), pattern="GBRG", active=(5, 3, 60, 90))
    headers, decoded = raw_process.ask_libraw(path), raw_process.ask_libraw(path, tmp_path / "out")
    same = ("shape", "active", "letters", "colours", "cell", "iso", "exposure", "time", "white")
    assert {key: headers[key] for key in same} == {key: decoded[key] for key in same}


def test_header_without_libraw_s_c_functions(tmp_path: Path) -> None:
    """Where they are not found the file is decoded instead, with the same outcome but for the camera's name."""
    path = dng(tmp_path / "a.dng", noise(), pattern="BGGR", active=(4, 6, 60, 90))
    quick, slow = (
        raw_worker.identify(str(path), raw_worker._c_interface()),
        raw_worker.identify(str(path), None),
    )
    assert raw_worker._c_interface() is not None
    assert {"make", "model"} == set(quick) - set(slow)
    assert {key: slow[key] for key in quick if key in slow} == {
        key: quick[key] for key in quick if key in slow
    }


@pytest.mark.parametrize("pattern", ["RGGB", "GBRG", XTRANS])
def test_white_balance_and_matrix_make_daylight_white(tmp_path: Path, pattern: str) -> None:
    """What the camera sees of D65 white becomes 1, 1, 1, and sRGB's primaries become themselves."""
    path = coloured(tmp_path / "c.dng", matrix=True, pattern=pattern)
    info = io.read_info(path)
    srgb_to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )  # IEC 61966-2-1
    seen = TO_CAMERA @ srgb_to_xyz
    white = seen.sum(axis=1)
    assert info.white_balance == {
        "R": pytest.approx(white[1] / white[0], rel=2e-3),
        "G": 1.0,
        "B": pytest.approx(white[1] / white[2], rel=2e-3),
    }
    balanced = seen * np.array([info.white_balance[c] for c in "RGB"])[:, None]
    np.testing.assert_allclose(np.array(info.camera_matrix) @ balanced / white[1], np.eye(3), atol=3e-3)
    np.testing.assert_allclose(np.sum(info.camera_matrix, axis=1), 1, atol=1e-5)
    quick, slow = (raw_worker.identify(str(path), lib) for lib in (raw_worker._c_interface(), None))
    for key in ("daylight", "as_shot", "matrix"):
        np.testing.assert_allclose(quick[key], slow[key], atol=1e-5, err_msg=key)
    stack = calibkit.open_stack([path])
    assert stack.attrs["white_balance"] == info.white_balance
    assert stack.attrs["camera_matrix"] == [list(row) for row in info.camera_matrix]


def test_camera_that_libraw_has_no_colours_for(tmp_path: Path) -> None:
    """Then what the camera chose for this picture is better than nothing; without it nothing is said."""
    info = io.read_info(coloured(tmp_path / "a.dng", matrix=False))
    assert info.camera_matrix is None
    assert info.white_balance == {"R": pytest.approx(2.0), "G": 1.0, "B": pytest.approx(1.25)}
    for options in ({"neutral": False}, {"pattern": ""}):
        info = io.read_info(coloured(tmp_path / "b.dng", matrix=False, **options))
        assert info.white_balance is None
        assert info.camera_matrix is None
    assert "white_balance" not in calibkit.open_stack([tmp_path / "b.dng"]).attrs


def test_monochrome_sensor(tmp_path: Path) -> None:
    source = io.open_frame(dng(tmp_path / "mono.dng", noise(), pattern=""))
    assert source.info.cfa == ""
    assert source.complete_info().black == {"L": 64}


def test_converted_raw_is_refused(tmp_path: Path) -> None:
    path = dng(tmp_path / "linear.dng", np.dstack([noise()] * 3), pattern="")
    with pytest.raises(FrameFileError, match=r"linear\.dng: every pixel has 3 colours already"):
        io.read_info(path)


@pytest.mark.parametrize(
    ("pixels", "options", "cause"),
    [
        (np.full((64, 96), 500), {}, "every pixel has the same value, 500"),
        (noise() * (np.arange(64) < 40)[:, None], {}, "the last 24 of 64 rows are empty"),
        (noise(), {"black": (4095,)}, "the black level, 4095, is not below the white level, 4095"),
    ],
)
def test_impossible_pixels_are_refused(
    tmp_path: Path, pixels: np.ndarray, options: dict[str, Any], cause: str
) -> None:
    path = dng(tmp_path / "odd.dng", pixels, **options)
    with pytest.raises(FrameFileError, match=f"odd.dng: .*{cause}"):
        io.open_frame(path).read(0, 1)


@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.9999])
def test_cut_off_file_is_refused_with_its_sizes(tmp_path: Path, fraction: float) -> None:
    path = dng(tmp_path / "cut.dng", noise())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(FrameFileError, match=r"cut\.dng: the camera RAW file is cut off or damaged: .*\d+"):
        io.read_info(path)


def test_strip_too_small_for_the_frame_is_refused(tmp_path: Path) -> None:
    path = dng(tmp_path / "small.dng", noise(), extra={279: (4, (22,))})
    with pytest.raises(FrameFileError, match=r"22 bytes .*cannot hold the 96 × 64 pixels"):
        io.read_info(path)


def test_missing_strips_are_refused(tmp_path: Path) -> None:
    path = dng(tmp_path / "strips.dng", noise(), extra={278: (4, (16,))})
    with pytest.raises(FrameFileError, match="1 of the 4 parts of its image are there"):
        io.read_info(path)


def test_name_in_another_encoding(tmp_path: Path) -> None:
    name = os.fsdecode(b"gl\xfchlampe.dng")  # Latin-1, which is not UTF-8
    try:
        path = dng(tmp_path / name, noise())
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    source = io.open_frame(path)
    np.testing.assert_array_equal(source.read(0, 64), noise())


@pytest.fixture
def worker_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the process with LibRaw; the idle ones are left alone."""
    script = tmp_path / "worker.py"
    monkeypatch.setattr(raw_process, "_SCRIPT", script)
    monkeypatch.setattr(raw_process, "_idle", type(raw_process._idle)())
    return script


def test_what_libraw_says_on_standard_error_is_an_error(tmp_path: Path, worker_script: Path) -> None:
    """LibRaw decodes damaged data as well as it can and only prints that they are."""
    path = dng(tmp_path / "bad.dng", noise())
    answer = '{"facts": {}, "said": "%s: data corrupted at 77\\n"}'
    worker_script.write_text(f"import sys\nfor line in sys.stdin: print({answer!r}, flush=True)")
    with pytest.raises(FrameFileError, match=r"bad\.dng: LibRaw reports damaged data .*data corrupted at 77"):
        io.read_info(path)


def test_a_crash_in_libraw_is_an_error_and_the_next_file_is_fine(
    tmp_path: Path, worker_script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dng(tmp_path / "crash.dng", noise())
    worker_script.write_text("import os, sys; sys.stdin.readline(); os.abort()")
    with pytest.raises(FrameFileError, match=r"crash\.dng: LibRaw crashed on this file"):
        io.read_info(path)
    monkeypatch.undo()
    assert io.read_info(path).shape == (64, 96)


def test_a_decoder_that_never_ends_is_stopped(
    tmp_path: Path, worker_script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dng(tmp_path / "endless.dng", noise())
    worker_script.write_text("import sys, time; sys.stdin.readline(); time.sleep(60)")
    monkeypatch.setattr(raw_process, "_PATIENCE", 0.3)
    with pytest.raises(FrameFileError, match="LibRaw crashed"):
        io.read_info(path)


def test_full_temporary_folder(tmp_path: Path, worker_script: Path) -> None:
    path = dng(tmp_path / "full.dng", noise())
    answer = '{"error": "OSError", "cause": "No space left on device", "errno": 28, "said": ""}'
    worker_script.write_text(f"import sys\nfor line in sys.stdin: print({answer!r}, flush=True)")
    with pytest.raises(OutputError, match=r"No space left.*temporary folder"):
        raw_process.ask_libraw(path, tmp_path / "out")


def test_decoded_once_shared_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dng(tmp_path / "a.dng", noise())
    first, second = io.open_frame(path), io.open_frame(path)
    asked = []
    real = raw_process.ask_libraw
    monkeypatch.setattr("calibkit.io.raw.ask_libraw", lambda *args: asked.append(args) or real(*args))
    threads = [threading.Thread(target=first.read, args=(0, 64)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    second.read(0, 64)
    assert len(asked) == 1
    assert second.complete_info().black == {"R": 64, "G1": 64, "G2": 64, "B": 64}
    kept = first._file.path
    assert kept.stat().st_size == 64 * 96 * 2
    del first
    assert kept.exists()
    del second
    assert not kept.exists()


def test_spool_gives_up_the_longest_unused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [io.open_frame(dng(tmp_path / f"{i}.dng", noise(seed=i))) for i in range(3)]
    for source in sources[:2]:
        source.read(0, 1)
    usage = spool.shutil.disk_usage(tmp_path)
    free = [100, 10**12]  # no room at first, room after one file went
    monkeypatch.setattr(
        spool.shutil, "disk_usage", lambda _: usage._replace(free=free.pop(0) if free else 10**12)
    )
    sources[2].read(0, 1)
    assert [source._file.size for source in sources] == [0, 64 * 96 * 2, 64 * 96 * 2]
    np.testing.assert_array_equal(sources[0].read(0, 64), noise(seed=0))


def test_spool_that_somebody_cut_off_gives_no_numbers(tmp_path: Path) -> None:
    source = io.open_frame(dng(tmp_path / "a.dng", noise()))
    source.read(0, 1)
    source._file.path.write_bytes(b"")
    with pytest.raises(OutputError, match=r"a\.dng: its decoded copy .* was cut off"):
        source.read(0, 1)


def test_spool_without_room_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = io.open_frame(dng(tmp_path / "a.dng", noise()))
    usage = spool.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(spool.shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(OutputError, match="TMPDIR"):
        source.read(0, 1)


def test_nothing_is_left_when_the_process_ends(tmp_path: Path) -> None:
    path = dng(tmp_path / "a.dng", noise())
    code = (
        "from calibkit import io\n"
        f"source = io.open_frame({str(path)!r}); source.read(0, 1)\n"
        "print(source._file.path.exists())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert [p.name for p in tmp_path.iterdir()] == ["a.dng"]


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    path = dng(tmp_path / "a.dng", noise())
    code = (
        "import os, signal\n"
        "from calibkit import io\n"
        f"source = io.open_frame({str(path)!r}); source.read(0, 1)\n"
        "print(source._file.path.parent.name, flush=True)\n"
    )
    ends = {"killed": "os.kill(os.getpid(), signal.SIGKILL)", "alive": "input()", "next": ""}

    def start(end: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code + ends[end]]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    with start("alive") as alive:
        assert alive.stdout is not None
        kept = alive.stdout.readline().strip()
        with start("killed") as killed:
            left = killed.communicate()[0].strip()
        assert {kept, left} == {p.name for p in tmp_path.iterdir() if p.is_dir()}
        with start("next") as following:
            following.communicate()
        assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == [kept]
        alive.communicate("\n")


def test_a_run_decodes_each_frame_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masters, gain, lights and report all open the frames."""
    decoded: list[str] = []
    decode = RawSource.decode

    def counted(self: RawSource, target: Path) -> io.FrameInfo:
        decoded.append(self.info.path.name)
        return decode(self, target)

    monkeypatch.setattr(RawSource, "decode", counted)
    (tmp_path / "night").mkdir()
    for number in range(9):
        level = (0, 2000, 500)[number // 3]
        pixels = noise(seed=number) + np.uint16(level)
        dng(tmp_path / "night" / f"{('dark', 'flat', 'light')[number // 3]}_{number}.dng", pixels)
    done = calibkit.process(tmp_path / "night", calibkit.Recipe(until="lights"), tmp_path / "out")
    assert done.ok
    assert len(decoded) == len(set(decoded)) == 9
    assert not list(spool._folder().glob("*.raw")), "they go when the run has ended"

"""A whole session in one call: the arithmetic, what is done twice and what is not, and what goes wrong."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

import calibkit
from calibkit.errors import CalibkitError, Cancelled, OutputError, SettingError
from calibkit.pipeline import RunResult
from calibkit.pipeline.store import Store, light_names
from calibkit.session.frame import make_frame

SHAPE = (36, 48)
#: Plain arithmetic, so that numpy can be the oracle.
PLAIN = {"method": "mean", "reject": "none"}
SETS = (
    # kind, count, exposure, level over the offset, filter
    ("Bias Frame", "bias", 4, 0.0, 0.0, ""),
    ("Dark Frame", "dark", 3, 60.0, 12.0, ""),
    ("Flat Field", "flat", 3, 2.0, 9000.0, "V"),
    ("Dark Flat", "flatdark", 3, 2.0, 0.4, ""),
    ("Light Frame", "light", 3, 60.0, 500.0, "V"),
)


def write_frame(path: Path, data: np.ndarray, **cards: Any) -> None:
    """A frame as a capture program writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = fits.Header(
        {"INSTRUME": "Test", "CCD-TEMP": -10.0, "EGAIN": 2.0, "DATE-OBS": "2024-01-01T22:00:00"}
    )
    header.update({name.replace("_", "-"): value for name, value in cards.items()})
    fits.PrimaryHDU(data.astype(np.uint16), header).writeto(path, overwrite=True)


def write_night(folder: Path, *, without: tuple[str, ...] = (), dark_exposure: float = 60.0) -> Path:
    """A small night with noise, a hot pixel and a vignetting flat."""
    rng = np.random.default_rng(5)
    shade = np.linspace(0.8, 1.2, SHAPE[1])[None, :] * np.ones(SHAPE)
    for imagetyp, name, count, exposure, level, band in SETS:
        for i in range(count):
            lit = level * (shade if name in ("flat", "light") else 1.0)
            data = rng.normal(300.0 + lit, np.sqrt(25.0 + level / 2.0), SHAPE)
            if name in ("dark", "light"):
                data[10, 20] += 3000.0
            if name not in without:
                cards = {"IMAGETYP": imagetyp, "EXPTIME": dark_exposure if name == "dark" else exposure}
                write_frame(folder / name / f"{name}_{i}.fits", data, **cards, FILTER=band)
    return folder


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """A folder of frames that may be changed."""
    return write_night(tmp_path / "night")


def run(folder: Path, out: Path, **options: Any) -> RunResult:
    """A run without report, with plain means."""
    return calibkit.calibrate_session(folder, out, **{"combine": PLAIN, "report": False, **options})


def mean(folder: Path, name: str) -> np.ndarray:
    """Mean of the frames of one kind, in float64."""
    return np.mean(
        [fits.getdata(path).astype(float) for path in sorted(folder.glob(f"{name}/*.fits"))], axis=0
    )


def digests(folder: Path) -> dict[str, str]:
    """Every file below a folder → SHA-256."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def results(out: Path) -> dict[str, str]:
    """Every FITS file of a run → SHA-256."""
    return {name: digest for name, digest in digests(out).items() if name.endswith(".fits")}


def statuses(result: RunResult) -> dict[str, str]:
    """Master or light → how it came out."""
    return {row.name: row.status for row in result.masters} | {row.file: row.status for row in result.lights}


def test_the_arithmetic_is_that_of_numpy(night: Path, tmp_path: Path) -> None:
    before = digests(night)
    done = run(night, tmp_path / "out", repair=False)
    assert done.ok
    assert done.warnings == []
    flat = mean(night, "flat") - mean(night, "flatdark")
    dark = mean(night, "dark")
    for i, row in enumerate(done.lights):
        light = fits.getdata(night / f"light/light_{i}.fits").astype(float)
        found = calibkit.open_result(done.out / row.path)
        ratio = found.signal.values * (flat / flat.mean()) / (light - dark)
        np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-4)
        assert abs(ratio.mean() - 1.0) < 2e-3  # the flat's mean is a clipped one
        assert found.attrs["dark_subtracted"]
        assert found.attrs["flat_divided"]
    assert digests(night) == before


def test_every_result_says_what_was_done_to_which_files(night: Path, tmp_path: Path) -> None:
    done = run(night, tmp_path / "out")
    steps = calibkit.open_result(done.out / done.lights[0].path).attrs["provenance"]
    assert [step["step"] for step in steps] == ["calibrate", "subtract dark", "divide flat", "repair"]
    (light,) = steps[0]["inputs"]
    assert steps[0]["sha256"] == {
        light: hashlib.sha256((night / "light/light_0.fits").read_bytes()).hexdigest()
    }
    assert {Path(name).name for name in steps[1]["inputs"]} == {f"dark_{i}.fits" for i in range(3)}
    assert {Path(name).name.split("_")[0] for name in steps[2]["inputs"]} == {"flat", "flatdark"}


def test_rows_tell_levels_noise_and_flags(night: Path, tmp_path: Path) -> None:
    done = run(night, tmp_path / "out")
    row = done.lights[0]
    raw = fits.getdata(night / "light/light_0.fits").astype(float)
    assert row.before["L"]["level"] == np.median(raw)
    assert row.after["L"]["level"] == pytest.approx(
        488.0, abs=5.0
    )  # 500 less the 12 that the dark takes away
    assert row.after["L"]["measured"] == pytest.approx(row.after["L"]["predicted"], rel=0.15)
    assert row.flags["hot"] == row.flags["repaired"] == 1
    assert done.table["status"].tolist() == ["made"] * 3
    assert "after level L" in done.table


def test_a_second_run_does_nothing_again(night: Path, tmp_path: Path) -> None:
    first = run(night, tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.fits")}
    again = run(night, tmp_path / "out")
    assert set(statuses(first).values()) == {"made"}
    assert set(statuses(again).values()) == {"reused"}
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert again.table.drop(columns="status").equals(first.table.drop(columns="status"))
    assert again.warnings == first.warnings
    forced = run(night, tmp_path / "out", overwrite=True)
    assert set(statuses(forced).values()) == {"made"}


def test_a_changed_input_redoes_only_what_depends_on_it(night: Path, tmp_path: Path) -> None:
    run(night, tmp_path / "out")
    path = night / "light/light_1.fits"
    with fits.open(path, mode="update") as hdus:
        hdus[0].data[0, 0] += 1
    changed = {name for name, status in statuses(run(night, tmp_path / "out")).items() if status == "made"}
    assert changed == {"light/light_1.fits"}
    (night / "flatdark/flatdark_2.fits").unlink()
    changed = {name for name, status in statuses(run(night, tmp_path / "out")).items() if status == "made"}
    assert changed == {"flat dark 2 s", "flat V", *(f"light/light_{i}.fits" for i in range(3))}


def test_changed_settings_redo_what_depends_on_them(night: Path, tmp_path: Path) -> None:
    run(night, tmp_path / "out")
    assert set(statuses(run(night, tmp_path / "out", combine={"method": "median"})).values()) == {"made"}
    run(night, tmp_path / "out")
    gained = run(night, tmp_path / "out", gain=1.5)
    assert {row.status for row in gained.lights} == {"made"}
    assert {row.status for row in gained.masters} == {"reused"}


@pytest.mark.parametrize("harm", ["cut", "touched", "removed", "record lost", "record garbled"])
def test_a_result_that_was_harmed_is_made_again(night: Path, tmp_path: Path, harm: str) -> None:
    out = tmp_path / "out"
    run(night, out)
    whole = results(out)
    path = out / "lights/light_1.fits"
    record = out / ".calibkit/lights/light_1.fits.json"
    if harm == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif harm == "touched":
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    elif harm == "removed":
        path.unlink()
    elif harm == "record lost":
        record.unlink()
    else:
        record.write_text('["not", "a", "record"]')
    again = run(night, out)
    made = [name for name, status in statuses(again).items() if status == "made"]
    assert made == ["light/light_1.fits"]
    assert results(out) == whole


def test_a_damaged_dark_is_left_out_and_said(night: Path, tmp_path: Path) -> None:
    path = night / "dark/dark_1.fits"
    os.truncate(path, 2880 + 500)
    assert calibkit.scan(night).unreadable.keys() == {path}
    done = run(night, tmp_path / "out")
    assert not done.ok
    assert [row.status for row in done.lights] == ["made"] * 3
    assert next(row for row in done.masters if row.name == "dark 60 s").frames == 2


def test_a_dark_damaged_inside_is_left_out_and_said(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from calibkit.errors import FrameFileError
    from calibkit.io.fits import FitsSource

    fill = FitsSource._fill_rows

    def broken(self: FitsSource, y0: int, raw: np.ndarray) -> None:
        if self.info.path.name == "dark_1.fits":
            msg = f"{self.info.path}: damaged inside"
            raise FrameFileError(msg)
        fill(self, y0, raw)

    monkeypatch.setattr(FitsSource, "_fill_rows", broken)
    done = run(night, tmp_path / "out")
    row = next(row for row in done.masters if row.name == "dark 60 s")
    assert row.status == "made"
    assert row.frames == 2
    assert "damaged inside" in row.warnings[0]
    assert any("damaged inside" in text for text in done.warnings)


def test_a_light_that_fails_stops_no_other(night: Path, tmp_path: Path) -> None:
    write_frame(
        night / "light/light_7.fits", np.full((10, 10), 500), IMAGETYP="Light Frame", EXPTIME=60.0, FILTER="V"
    )
    done = run(night, tmp_path / "out")
    assert [row.file for row in done.failed] == ["light/light_7.fits"]
    assert "48 × 36, wanted 10 × 10" in done.failed[0].error
    assert sum(row.status == "made" for row in done.lights) == 3
    assert not done.ok
    assert sorted(path.name for path in (tmp_path / "out/lights").iterdir()) == [
        f"light_{i}.fits" for i in range(3)
    ]


def test_without_a_dark_the_bias_alone_is_subtracted(tmp_path: Path) -> None:
    folder = write_night(tmp_path / "night", without=("dark", "flat", "flatdark"))
    done = run(folder, tmp_path / "out")
    found = calibkit.open_result(done.out / done.lights[0].path)
    light = fits.getdata(folder / "light/light_0.fits").astype(float)
    np.testing.assert_allclose(found.signal.values, light - mean(folder, "bias"), atol=1e-3)
    assert done.lights[0].steps == ["− bias"]
    said = " ".join(done.warnings)
    assert "no dark, only bias subtracted: thermal signal and hot pixels stay" in said
    assert "not divided by a flat" in said


def test_a_longer_dark_is_scaled_after_its_bias_is_subtracted(tmp_path: Path) -> None:
    folder = write_night(tmp_path / "night", without=("flat", "flatdark"), dark_exposure=240.0)
    done = run(folder, tmp_path / "out", repair=False)
    bias = mean(folder, "bias")
    light = fits.getdata(folder / "light/light_0.fits").astype(float)
    found = calibkit.open_result(done.out / done.lights[0].path)
    expected = light - bias - 0.25 * (mean(folder, "dark") - bias)
    np.testing.assert_allclose(found.signal.values, expected, atol=2e-3)
    assert done.lights[0].steps == ["− bias", "− dark 240 s without bias × 0.25"]
    assert any("dark 240 s without bias is scaled by 0.25" in text for text in done.warnings)


def test_a_light_with_neither_bias_nor_dark_fails_and_leaves_no_image(tmp_path: Path) -> None:
    folder = write_night(tmp_path / "night", without=("bias", "dark"))
    done = run(folder, tmp_path / "out")
    assert len(done.failed) == 3
    assert "neither a bias nor a dark" in done.failed[0].error
    assert not list((tmp_path / "out").rglob("light*.fits"))


def test_a_flat_with_its_pedestal_is_not_used(tmp_path: Path) -> None:
    folder = write_night(tmp_path / "night", without=("bias", "flatdark"))
    done = run(folder, tmp_path / "out")
    assert done.lights[0].steps == ["− dark 60 s (bias in it)"]
    assert any("has neither flat darks nor a bias" in text for text in done.warnings)


def test_a_folder_without_lights_gives_masters(tmp_path: Path) -> None:
    folder = write_night(tmp_path / "night", without=("light",))
    done = run(folder, tmp_path / "out")
    assert done.ok
    assert {row.name for row in done.masters} == {"bias", "dark 60 s", "flat dark 2 s", "flat V"}
    assert {row.status for row in done.masters} == {"made"}


def test_unknown_gain_is_measured_and_said(tmp_path: Path) -> None:
    folder = tmp_path / "night"
    rng = np.random.default_rng(2)
    for imagetyp, name, count, exposure, level, band in SETS:
        for i in range(count):
            data = rng.normal(300.0, 5.0, (96, 144)) + rng.poisson(level * 2.0, (96, 144)) / 2.0
            write_frame(
                folder / name / f"{name}_{i}.fits",
                data,
                IMAGETYP=imagetyp,
                EXPTIME=exposure,
                FILTER=band,
                EGAIN=None,
            )
    done = run(folder, tmp_path / "out")
    assert done.lights[0].gain["L"] == pytest.approx(2.0, rel=0.05)
    assert any("do not say their gain: measured from flat V and bias" in text for text in done.warnings)
    assert done.lights[0].after["L"]["predicted"] == pytest.approx(np.sqrt(25 + 250 + 25 / 3), rel=0.05)


def test_masters_that_are_ready_are_used_as_they_are(night: Path, tmp_path: Path) -> None:
    first = run(night, tmp_path / "out")
    master = calibkit.open_result(first.out / "masters/dark_60s.fits").signal.values
    shutil.rmtree(night / "dark")
    write_frame(night / "library/master_dark_60s.fits", master, IMAGETYP="Master Dark", EXPTIME=60.0)
    done = run(night, tmp_path / "out2", repair=False)
    row = next(row for row in done.masters if row.kind == "dark")
    assert row.status == "given"
    assert [light.status for light in done.lights] == ["made"] * 3


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"CCD_TEMP": 5.0}, "temperature 5.0 °C, wanted −10.0 °C"),
        ({"EGAIN": 0.5}, "gain 0.5 e⁻/ADU, wanted 2 e⁻/ADU"),
        ({"INSTRUME": "Other"}, "camera 'Other', wanted 'Test'"),
        ({"XBINNING": 2, "YBINNING": 2}, "binning 2×2, wanted 1×1"),
        ({"BAYERPAT": "RGGB"}, "colour pattern RGGB, wanted none"),
        ({"shape": (36, 40)}, "size 40 × 36, wanted 48 × 36"),
    ],
)
def test_a_dark_that_does_not_belong_gives_no_image(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    folder = write_night(tmp_path / "night", without=("bias", "dark"))
    shape = change.pop("shape", SHAPE)
    for i in range(3):
        path = folder / f"dark/dark_{i}.fits"
        write_frame(path, np.full(shape, 310), IMAGETYP="Dark Frame", EXPTIME=60.0, **change)
    before = digests(folder)
    done = run(folder, tmp_path / "out")
    assert len(done.failed) == 3
    assert why in done.failed[0].error
    assert not list((tmp_path / "out").rglob("light*.fits"))
    assert digests(folder) == before


@pytest.mark.parametrize("pattern", ["", "GRBG"])
def test_small_memory_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    folder = write_night(tmp_path / "night")
    if pattern:
        for path in folder.rglob("*.fits"):
            fits.setval(path, "BAYERPAT", value=pattern)
    plenty = run(folder, tmp_path / "plenty")
    monkeypatch.setattr("calibkit.memory.memory_limit", lambda: 2**20)  # bands of few rows
    little = run(folder, tmp_path / "little")
    assert results(little.out) == results(plenty.out)
    assert [row.after for row in little.lights] == [row.after for row in plenty.lights]
    assert [row.flags for row in little.lights] == [row.flags for row in plenty.lights]


def test_results_never_go_where_the_frames_are(night: Path) -> None:
    with pytest.raises(SettingError, match="folder of the frames"):
        run(night, night)
    assert not (night / ".calibkit").exists()


def test_results_may_lie_below_the_frames(night: Path) -> None:
    first = run(night, night / "calibrated")
    again = run(night, night / "calibrated")
    assert len(again.lights) == len(first.lights) == 3
    assert set(statuses(again).values()) == {"reused"}


def test_a_file_of_other_origin_is_not_replaced(night: Path, tmp_path: Path) -> None:
    path = tmp_path / "out/lights/light_1.fits"
    path.parent.mkdir(parents=True)
    path.write_text("a poem")
    with pytest.raises(OutputError, match="not written by calibkit"):
        run(night, tmp_path / "out")
    assert path.read_text() == "a poem"
    assert run(night, tmp_path / "out", overwrite=True).ok


def test_two_runs_in_one_folder(night: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "out", inputs=[])
    with store.locked(), pytest.raises(OutputError, match="another run of calibkit is writing there"):
        run(night, tmp_path / "out")
    assert run(night, tmp_path / "out").ok


@pytest.mark.parametrize("stop", [Cancelled, KeyboardInterrupt])
@pytest.mark.parametrize("at", ["master flat V", "lights"])
def test_a_stopped_run_goes_on_where_it_was(
    night: Path, tmp_path: Path, stop: type[BaseException], at: str
) -> None:
    undisturbed = run(night, tmp_path / "other")

    def progress(done: int, total: int, what: str) -> None:
        if what == at and (done or at == "lights"):
            raise stop

    with pytest.raises(stop):
        run(night, tmp_path / "out", progress=progress)
    assert not list((tmp_path / "out").rglob("*.calibkit-part"))
    assert results(tmp_path / "out").items() < results(undisturbed.out).items()
    again = run(night, tmp_path / "out")
    assert "reused" in statuses(again).values()
    assert results(tmp_path / "out") == results(undisturbed.out)


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(night: Path, tmp_path: Path) -> None:
    undisturbed = run(night, tmp_path / "other", combine=None)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "calibkit", "calibrate", str(night), "-o", str(out), "--no-report"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not (out / "lights/light_0.fits").exists() and time.monotonic() < until:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    left = results(out)
    assert {name: digest for name, digest in results(undisturbed.out).items() if name in left} == left
    again = run(night, out, combine=None)
    assert again.ok
    assert "reused" in statuses(again).values()
    assert results(out) == results(undisturbed.out)
    assert not list(out.rglob("*.part"))


def test_a_full_disk_ends_the_run_and_keeps_what_is_finished(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def progress(done: int, total: int, what: str) -> None:
        if what == "lights" and done == 0:
            monkeypatch.setattr(os, "posix_fallocate", full)

    with pytest.raises(OutputError, match="disk is full"):
        run(night, tmp_path / "out", progress=progress)
    assert list((tmp_path / "out/masters").glob("*.fits"))
    # two may have been under way when the disk was full
    assert len([path.name for path in (tmp_path / "out/lights").iterdir()]) < 3
    monkeypatch.undo()
    assert run(night, tmp_path / "out").ok


def test_a_folder_that_cannot_be_written(night: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(SettingError, match="is a file"):
        run(night, tmp_path / "out")
    with pytest.raises(OutputError, match="cannot be written"):
        run(night, tmp_path / "out" / "below")


def test_settings_that_cannot_work_make_nothing(night: Path, tmp_path: Path) -> None:
    for combine in ({"method": "nonsense"}, {"nonsense": 1}):
        with pytest.raises(SettingError, match="nonsense"):
            run(night, tmp_path / "out", combine=combine)
    with pytest.raises(SettingError, match=r"calibkit\.scan"):
        run(calibkit.scan(night), tmp_path / "out", kinds={"dark": "*"})
    with pytest.raises(CalibkitError, match="does not exist"):
        run(night / "nowhere", tmp_path / "out3")
    assert not (tmp_path / "out3").exists()


@pytest.fixture
def frames() -> Iterator[Callable[[str], Any]]:
    from calibkit.io.source import FrameInfo

    def frame(relative: str) -> Any:
        info = FrameInfo(Path(relative), (4, 4), np.dtype("u2"), (4, 4), (0, 4, 0, 4))
        return make_frame(info, relative, kind="light", reason="")

    return frame


def test_names_of_results_are_short_and_never_alike(frames: Callable[[str], Any]) -> None:
    names = [
        "a/M 42.fit.gz",
        "a/M 42.fits.fz",
        "lights/b.fit",
        "Lights/c.fit",
        "b.cr2",
        "d.fit",
        "light.fit",
        "é.nef",
    ]
    found = light_names([frames(name) for name in names])
    assert list(found.values()) == [
        "a/M 42.fit.gz",
        "a/M 42.fits.fz",
        "lights/b.fit",
        "c",
        "b.cr2",
        "d",
        "light",
        "é",
    ]
    odd = light_names([frames(name) for name in ("x.fit", "x.fits", "x.fit.fits")])
    assert len({name.casefold() for name in odd.values()}) == 3


def test_the_frame_of_an_earlier_run_is_not_given_for_a_light_that_fails(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from calibkit.errors import FrameFileError
    from calibkit.pipeline import lights

    run(night, tmp_path / "out")
    path = night / "light/light_1.fits"
    with fits.open(path, mode="update") as file:
        file[0].data[0, 0] += 1
    save = lights.save

    def failing(result: Any, target: Path, **options: Any) -> Path:
        if target.name == path.name:
            msg = f"{path}: damaged inside"
            raise FrameFileError(msg)
        return save(result, target, **options)

    monkeypatch.setattr(lights, "save", failing)
    done = run(night, tmp_path / "out")
    assert [row.file for row in done.failed] == ["light/light_1.fits"]
    assert (tmp_path / "out/lights/light_1.fits").exists()
    assert done.files["light/light_1.fits"] == ""


def test_a_step_of_a_session_does_what_the_recipe_says_of_the_camera(tmp_path: Path) -> None:
    from calibkit.pipeline.material import Material
    from calibkit.recipe import CameraSettings, Recipe

    folder = write_night(tmp_path / "night", without=("bias", "dark", "flat", "flatdark"))
    recipe = Recipe(until="lights", camera=CameraSettings(pedestal=300.0))
    material = Material(calibkit.scan(folder), tmp_path / "out", recipe=recipe)
    light = material.calibrated(0)
    raw = fits.getdata(folder / "light/light_0.fits").astype(float)
    good = light.flags.values == 0
    np.testing.assert_allclose(light.signal.values[good], (raw - 300.0)[good], atol=1e-3)
    assert calibkit.process(folder, recipe, tmp_path / "out", report=False).lights[0].status == "reused"

"""`process`: from frames to the picture by a recipe, what is done twice and what is not, and what goes wrong on the way."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

import calibkit
from calibkit import Recipe, write_recipe
from calibkit.errors import Cancelled, FrameFileError, OutputError, SettingError
from calibkit.io.provenance import sha256_of
from calibkit.pipeline import RunResult
from calibkit.pipeline import lights as lights_of_runs
from calibkit.pipeline.making import MasterMaker
from calibkit.pipeline.stacks import StackMaker
from calibkit.recipe import AlignSettings, FrameSettings, LightSettings, PictureSettings, StackSettings

SHAPE = (120, 160)
#: Times that a run is killed; raise it for a longer look: ``CALIBKIT_KILLS=50 pytest -k killed``.
KILLS = int(os.environ.get("CALIBKIT_KILLS", "3"))
SHIFTS = ((0.0, 0.0), (2.3, -1.6), (-1.2, 3.4), (4.1, 2.2))


def write_night(folder: Path) -> Path:
    """A night of a mono camera: four lights of one field, shifted, with darks and flats."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    shade = 1.1 - 0.2 * np.hypot(y - 60, x - 80) / 100
    stars = [(*rng.uniform((12, 12), (108, 148)), rng.uniform(2e4, 9e4)) for _ in range(24)]
    sets = (("Dark Frame", "dark", 60.0, 7), ("Flat Field", "flat", 2.0, 7), ("Dark Flat", "fdark", 2.0, 7))
    frames = [(*entry[:3], i) for entry in sets for i in range(entry[3])]
    frames += [("Light Frame", "light", 60.0, i) for i in range(len(SHIFTS))]
    for imagetyp, name, exposure, number in frames:
        level = np.full(SHAPE, {"dark": 20.0, "light": 20.0}.get(name, 0.0))
        if name == "flat":
            level += 20000.0 * shade
        if name == "light":
            dy, dx = SHIFTS[number]
            field = sum(
                flux * np.exp(-((y - b - dy) ** 2 + (x - a - dx) ** 2) / 3.4) / 10.7 for b, a, flux in stars
            )
            level += (200.0 + field) * shade
        data = 500.0 + rng.poisson(level) + rng.normal(0, 5, SHAPE)
        if name in ("dark", "light"):
            data[30, 40] += 5000.0
        header = fits.Header(
            {"INSTRUME": "Test", "CCD-TEMP": -10.0, "EGAIN": 1.0, "IMAGETYP": imagetyp, "EXPTIME": exposure}
        )
        path = folder / name / f"{name}_{number}.fits"
        path.parent.mkdir(parents=True, exist_ok=True)
        fits.PrimaryHDU(np.clip(data, 0, 65535).astype(np.uint16), header).writeto(path)
    return folder


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_night(tmp_path_factory.mktemp("process") / "Nächte mit Öl & 夜" / " 1. Nacht <b>")


@pytest.fixture(scope="module")
def undisturbed(night: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return run(night, tmp_path_factory.mktemp("undisturbed") / "out")


def run(night: Path, out: Path, recipe: Recipe | Path | None = None, **options: Any) -> RunResult:
    return calibkit.process(night, recipe, out, **{"report": False, **options})


def results(out: Path) -> dict[str, str]:
    """Every result of a run → SHA-256; records, which hold the time that was taken, are left out."""
    files = (path for path in sorted(out.rglob("*")) if path.is_file() and ".calibkit" not in path.parts)
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_night_becomes_a_picture(night: Path, undisturbed: RunResult) -> None:
    done = undisturbed
    assert done.ok
    assert done.warnings == []
    (row,) = done.stacks
    assert row.files == [f"light/light_{i}.fits" for i in range(4)]
    first = row.frames[0]
    for (dy, dx), found in zip(SHIFTS, row.frames, strict=True):  # how each came to lie on the reference
        assert found["shift x"] - first["shift x"] == pytest.approx(-dx, abs=0.3)
        assert found["shift y"] - first["shift y"] == pytest.approx(-dy, abs=0.3)
    stack = calibkit.open_result(done.out / row.path)
    single = done.lights[0].after["L"]["measured"]
    assert row.noise["L"]["measured"] < 0.65 * single
    assert np.nanmedian(stack["signal"].values) == pytest.approx(200.0, abs=5.0)
    inputs = {Path(name).name for step in stack.attrs["provenance"] for name in step.get("inputs", ())}
    assert {f"light_{i}.fits" for i in range(4)} <= inputs
    assert (done.out / row.picture).read_bytes().startswith(b"\x89PNG")
    assert not (done.out / "lights").exists()
    assert not (done.out / ".calibkit/passing").exists()


def test_lights_are_read_again_or_kept_in_files_with_the_same_bytes(
    night: Path, undisturbed: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = (undisturbed.out / undisturbed.stacks[0].path).read_bytes()
    written: list[Path] = []
    save = lights_of_runs.save
    monkeypatch.setattr(lights_of_runs, "save", lambda *a, **o: written.append(a[1]) or save(*a, **o))
    again = run(night, tmp_path / "again")
    assert written == [], "no light is written for nothing"
    assert (again.out / again.stacks[0].path).read_bytes() == stack
    # what was found out about the lights is not found out twice
    (again.out / again.stacks[0].path).unlink()
    with monkeypatch.context() as patch:
        patch.setattr("calibkit.align.stars.survey_light", None)
        patch.setattr("calibkit.align.find_stars", None)
        once_more = run(night, tmp_path / "again")
    assert [row.status for row in once_more.lights] == ["reused"] * 4
    assert (again.out / again.stacks[0].path).read_bytes() == stack
    assert once_more.stacks[0].frames == undisturbed.stacks[0].frames
    # lights that turn much are written before they are stacked
    with monkeypatch.context() as patch:
        patch.setattr("calibkit.align.stacking.rows_again", lambda _: 9.0)
        turned = run(night, tmp_path / "turned")
    assert len(written) == 4
    assert (turned.out / turned.stacks[0].path).read_bytes() == stack
    assert not (turned.out / ".calibkit/passing").exists()
    kept = run(night, tmp_path / "kept", Recipe(lights=LightSettings(keep=True)))
    assert (kept.out / kept.stacks[0].path).read_bytes() == stack
    assert [row.after for row in kept.lights] == [row.after for row in undisturbed.lights]
    assert [row.flags for row in kept.lights] == [row.flags for row in undisturbed.lights]


@pytest.mark.parametrize("at_once", [1, 2])
def test_masters_made_side_by_side_or_one_by_one_are_the_same(
    night: Path, undisturbed: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    making = {"now": 0, "most": 0}
    combined = MasterMaker._combined

    def counted(maker: MasterMaker, *args: Any) -> Any:
        making["now"] += 1
        making["most"] = max(making.values())
        time.sleep(0.2)  # long enough for another thread to begin, if there is one
        try:
            return combined(maker, *args)
        finally:
            making["now"] -= 1

    monkeypatch.setattr(MasterMaker, "_combined", counted)
    monkeypatch.setattr("calibkit.pipeline.making.worker_count", lambda: at_once)
    done = run(night, tmp_path / "out")
    assert making["most"] == at_once
    assert results(done.out) == results(undisturbed.out)
    assert [row.title for row in done.masters] == [row.title for row in undisturbed.masters]


def test_a_master_that_cannot_be_made_stops_no_other(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(path: Path) -> str:
        if path.parent.name == "fdark":
            msg = f"{path}: cannot be read"
            raise FrameFileError(msg)
        return sha256_of(path)

    monkeypatch.setattr("calibkit.pipeline.making.sha256_of", unreadable)
    done = run(night, tmp_path / "out")
    assert {row.kind: row.status for row in done.masters} == {
        "dark": "made",
        "flat dark": "failed",
        "flat": "failed",
    }
    assert any("not divided by a flat" in text for text in done.warnings)


def test_a_cancel_while_masters_are_made_is_heard_and_keeps_what_is_finished(
    night: Path, undisturbed: RunResult, tmp_path: Path
) -> None:
    def stop(done: int, _total: int, what: str) -> None:
        if what == "masters" and done >= 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        run(night, tmp_path / "out", progress=stop)
    again = run(night, tmp_path / "out")
    assert "reused" in {row.status for row in again.masters}
    assert results(again.out) == results(undisturbed.out)


def test_a_run_without_a_cluster_does_not_take_up_what_a_cluster_needs(night: Path, tmp_path: Path) -> None:
    code = (
        "import sys, calibkit; calibkit.process(sys.argv[1], None, sys.argv[2]); "
        "assert 'distributed' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(night), str(tmp_path / "out")], check=True)


def test_a_light_that_changes_before_it_is_stacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_night(tmp_path / "night")
    path = sorted(folder.rglob("light_*.fits"))[2]
    combined = StackMaker._combined

    def change(*args: Any) -> Any:
        data = combined(*args)
        content = bytearray(path.read_bytes())
        content[4000] ^= 1
        path.write_bytes(bytes(content))
        return data

    monkeypatch.setattr(StackMaker, "_combined", change)
    done = run(folder, tmp_path / "out")
    assert f"{path}: changed while it was being read" in done.stacks[0].error
    assert not list((tmp_path / "out/stacks").glob("*.fits"))


def test_a_recipe_may_ask_for_drizzle(night: Path, undisturbed: RunResult, tmp_path: Path) -> None:
    done = run(night, tmp_path / "out", Recipe(stack=StackSettings(channels="drizzle")))
    assert done.ok
    drizzled, aligned = (
        calibkit.open_result(result.out / result.stacks[0].path).signal.values
        for result in (done, undisturbed)
    )
    middle = np.s_[..., 15:-15, 15:-15]
    assert np.nanmedian(drizzled[middle]) == pytest.approx(np.nanmedian(aligned[middle]), abs=2.0)
    assert np.nansum(drizzled[middle]) == pytest.approx(np.nansum(aligned[middle]), rel=0.02)


def test_a_recipe_leaves_lights_out_and_says_how_stack_and_picture_are_made(
    night: Path, undisturbed: RunResult, tmp_path: Path
) -> None:
    recipe = Recipe(
        align=AlignSettings(leave_out=("light_1.fits", "light/*_2.fits")),
        lights=LightSettings(keep=True),
        stack=StackSettings(interpolation="linear", scale=0.5),
        picture=PictureSettings(curve="asinh", black=100.0, white=5000.0, midtone=0.1, linked=True),
    )
    done = run(night, tmp_path / "out", recipe)
    assert done.ok
    (row,) = done.stacks
    assert row.files == ["light/light_0.fits", "light/light_3.fits"]
    assert row.left_out == {f"light/light_{i}.fits": "the recipe leaves it out" for i in (1, 2)}
    lights = [calibkit.open_result(done.out / light.path) for light in done.lights]
    moved = calibkit.register(lights, use=[True, False, False, True])
    by_hand = calibkit.stack_lights(lights, moved, interpolation="linear", scale=0.5)
    stack = calibkit.open_result(done.out / row.path)
    np.testing.assert_array_equal(stack.signal.values, by_hand.signal.values)
    shown = calibkit.stretch_picture(by_hand, curve="asinh", black=100.0, white=5000.0, midtone=0.1)
    with Image.open(done.out / row.picture) as picture:
        wanted = np.nan_to_num(shown.values[::-1]) * 255
        assert np.abs(np.asarray(picture) - wanted).max() <= 0.51


@pytest.mark.parametrize(("width", "told"), [(2.3, True), (3.4, False)])
def test_stars_too_narrow_for_the_grid_of_a_colour_are_warned_of(
    tmp_path: Path, width: float, told: bool
) -> None:
    camera = calibkit.Camera(shape=(240, 320), pattern="RGGB", offset=100.0, seed=4)
    sky = calibkit.Sky(n_stars=90, star_flux=40_000.0, fwhm=width, drift=(2.3, -3.1))
    sets = [
        calibkit.FrameSet(kind="bias", count=5),
        calibkit.FrameSet(kind="light", count=3, exposure=30.0, scene=sky),
    ]
    folder = calibkit.write_session(tmp_path / "night", camera, sets, seed=4)
    done = run(folder, tmp_path / "out", Recipe(until="stack"))
    assert any("leaves dark rings" in text for text in done.warnings) is told
    drizzled = run(folder, tmp_path / "out", Recipe(until="stack", stack=StackSettings(channels="drizzle")))
    assert not any("leaves dark rings" in text for text in drizzled.warnings)


def test_what_is_finished_is_not_done_again(night: Path, tmp_path: Path) -> None:
    first = run(night, tmp_path / "out")
    times = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.suffix != ".json"
    }
    again = run(night, tmp_path / "out")
    assert {row.status for row in (*again.masters, *again.lights, *again.stacks)} == {"reused"}
    assert [row.frames for row in again.stacks] == [row.frames for row in first.stacks]
    files = {path: path.stat().st_mtime_ns for path in times if path.is_file() and path.name != "lock"}
    assert files == {path: times[path] for path in files}
    shown = run(night, tmp_path / "out", Recipe(picture=PictureSettings(curve="asinh")))
    assert [row.status for row in shown.stacks] == ["reused"]
    assert (tmp_path / "out" / shown.stacks[0].picture).stat().st_mtime_ns not in times.values()
    median = run(night, tmp_path / "out", Recipe(stack=StackSettings(method="median")))
    assert [row.status for row in median.stacks] == ["made"]
    assert {row.status for row in median.masters} == {"reused"}


def test_a_recipe_gives_the_same_bytes_from_its_file(night: Path, tmp_path: Path) -> None:
    recipe = Recipe(lights=LightSettings(keep=True), stack=StackSettings(reject="none"), until="stack")
    here = run(night, tmp_path / "a", recipe)
    assert here.stacks[0].picture == ""
    assert len(list((tmp_path / "a/lights").rglob("*.fits"))) == 4
    run(night, tmp_path / "b", write_recipe(recipe, tmp_path / "recipe.yaml"))
    assert results(tmp_path / "a") == results(tmp_path / "b")


def test_settings_that_cannot_be_followed(night: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="scanned with other limits"):
        run(calibkit.scan(night), tmp_path, Recipe(frames=FrameSettings(ignore="night")))
    with pytest.raises(SettingError, match="cannot be read"):
        run(night, tmp_path / "out", tmp_path / "none.yaml")


def test_lights_warmer_than_their_dark_are_calibrated_with_its_measured_strength(tmp_path: Path) -> None:
    folder = calibkit.sample_session("dslr warming")
    told = calibkit.process(folder, Recipe(until="lights"), tmp_path / "out", report=False)
    assert not told.failed
    for number, row in enumerate(told.lights):
        (step,) = (step for step in row.steps if "±" in step)
        scale, error = map(float, step.partition(" × ")[2].split(" (")[0].split(" ± "))
        warmth = 22.0 + 8.0 * number / 6.0 - 28.0  # °C above the darks, as the sample is made
        assert scale == pytest.approx(
            2.0 ** (warmth / 7.0), rel=0.03
        )  # 0.3 °C; unscaled it would be up to 80 %
        assert 0 < error < 0.1


@pytest.mark.slow
def test_a_killed_run_ends_as_an_undisturbed_one(night: Path, undisturbed: RunResult, tmp_path: Path) -> None:
    whole = results(undisturbed.out)
    command = [sys.executable, "-m", "calibkit", "process", str(night), "-o"]
    start = time.monotonic()
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    first = tmp_path / "aus 'gabe' ü"
    subprocess.run([*command, str(first)], check=True, env=os.environ | ascii_only, stdout=subprocess.DEVNULL)
    lasts = time.monotonic() - start
    page = (first / "report.html").read_text(encoding="utf-8")
    assert "1. Nacht &lt;b&gt;" in page
    assert "1. Nacht <b>" not in page
    assert set(results(first)) == {*whole, "report.html"}
    stacks = (calibkit.open_result(out / undisturbed.stacks[0].path) for out in (first, undisturbed.out))
    np.testing.assert_array_equal(*(stack.signal.values for stack in stacks))
    command.insert(-1, "--no-report")
    before = {path: path.read_bytes() for path in night.rglob("*.fits")}
    luck = random.Random(9)
    for number in range(KILLS):
        out = tmp_path / f"out{number}"
        process = subprocess.Popen([*command, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(luck.uniform(0.2, 1.0) * lasts)
        process.send_signal(signal.SIGKILL)
        process.wait()
        left = results(out)
        finished = {name: digest for name, digest in left.items() if not name.split("/")[-1].startswith(".")}
        assert finished.items() <= whole.items(), "what has its final name is whole"
        assert run(night, out).ok
        assert results(out) == whole
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_a_full_disk_ends_in_a_message_and_a_second_run_goes_on(
    night: Path, undisturbed: RunResult, tmp_path: Path
) -> None:
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000));"
        "from calibkit.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "process", str(night), "-o", str(tmp_path / "out"), "--no-report"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "disk is full" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").rglob("*.calibkit-part"))
    run(night, tmp_path / "out")
    assert results(tmp_path / "out") == results(undisturbed.out)


@pytest.mark.parametrize("harm", ["changes", "vanishes"])
def test_a_light_that_changes_or_vanishes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    night = write_night(tmp_path / "night")
    path = night / "light/light_1.fits"
    whole = path.read_bytes()
    calibrate = lights_of_runs.calibrate

    def disturbed(light: Any, **options: Any) -> Any:
        if str(light.coords["file"].values[0]).endswith("light_1.fits"):
            if harm == "changes":
                path.write_bytes(whole[:-3] + b"\1\2\3")
            else:
                path.unlink()
        return calibrate(light, **options)

    monkeypatch.setattr(lights_of_runs, "calibrate", disturbed)
    done = run(night, tmp_path / "out", Recipe(until="lights"))
    assert [row.file for row in done.failed] == ["light/light_1.fits"]
    assert ("changed while it was being read" if harm == "changes" else "light_1.fits") in done.failed[
        0
    ].error
    assert not (tmp_path / "out/lights/light_1.fits").exists()
    monkeypatch.undo()
    path.write_bytes(whole)
    assert run(night, tmp_path / "out", Recipe(until="lights")).ok
    run(night, tmp_path / "other", Recipe(until="lights"))
    assert results(tmp_path / "out") == results(tmp_path / "other")


def test_two_processes_in_one_folder(night: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from calibkit.pipeline.store import Store\n"
        "with Store(Path(sys.argv[1]), inputs=[]).locked():\n    print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "held"
        with pytest.raises(OutputError, match="another run of calibkit is writing there"):
            run(night, tmp_path / "out")
        other.kill()
    assert run(night, tmp_path / "out").ok


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_folder_that_may_not_be_written(night: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        run(night, tmp_path / "out")


CLUSTER = """
import sys
from pathlib import Path
from distributed import Client, LocalCluster
import calibkit
from calibkit.align import stacking
from calibkit.io import provenance
from calibkit.recipe import LightSettings, Recipe

def everything(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.fits")}

if __name__ == "__main__":
    night, here, there = map(Path, sys.argv[1:])
    stacking._BAND_BYTES = 2**18  # several bands, of which a worker gets some at a time
    recipe = Recipe(lights=LightSettings(keep=True))
    calibkit.process(night, recipe, here, report=False)
    told = set()
    provenance._hashes.clear()
    digest, provenance.hashlib.file_digest = provenance.hashlib.file_digest, None  # workers tell what they have found
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with LocalCluster(silence_logs=50, **options) as cluster, Client(cluster, timeout=120) as client:
        done = calibkit.process(
            night, recipe, there, report=False, client=client, progress=lambda d, t, what: told.add((what, d, t))
        )
        assert {row.status for row in done.lights} == {"made"}
        assert ("lights", 4, 4) in told
        provenance.hashlib.file_digest = digest
        again = calibkit.process(night, recipe, there, report=False, client=client)
        assert {row.status for row in [*again.lights, *again.masters, *again.stacks]} == {"reused"}
        # lights that are not kept are made again in the bands of the stack, on the workers
        calibkit.process(night, Recipe(), there / "again", report=False, client=client)
    again = everything(there / "again")
    assert len(again) == 4
    kept, made = everything(here), everything(there)
    assert all(kept[name] == data for name, data in again.items())
    assert kept == {name: data for name, data in made.items() if not name.startswith("again/")}
    print("same", len(kept))
"""


@pytest.mark.slow
def test_a_cluster_of_two_processes_gives_the_same_bytes(night: Path, tmp_path: Path) -> None:
    """In a process of its own: what a busy machine makes a cluster warn of is not this test's business."""
    pytest.importorskip("distributed")
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    command = [sys.executable, str(script), str(night), str(tmp_path / "here"), str(tmp_path / "there")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.split() == ["same", "8"], done.stderr[-3000:]


def test_a_recipe_that_leaves_every_light_out_makes_no_stack(
    night: Path, undisturbed: RunResult, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed.out, tmp_path / "out", copy_function=shutil.copy2)
    done = run(night, tmp_path / "out", Recipe(align=AlignSettings(leave_out=("*",))))
    (row,) = done.stacks
    assert not done.ok
    assert "leaves out every light" in row.error
    assert (row.path, row.picture) == ("", "")  # those of the earlier run lie there still


def test_a_stack_that_is_taken_up_says_which_lights_fail_now(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "night"
    shutil.copytree(night, folder)
    recipe = Recipe(align=AlignSettings(leave_out=("light_3.fits",)))
    run(folder, tmp_path / "out", recipe)
    shutil.copy(folder / "light/light_0.fits", folder / "light/light_9.fits")
    make = lights_of_runs.LightMaker._make

    def failing(maker: Any, frame: Any, *args: Any, **options: Any) -> None:
        if frame.path.name == "light_9.fits":
            msg = "damaged inside"
            raise FrameFileError(msg)
        make(maker, frame, *args, **options)

    monkeypatch.setattr(lights_of_runs.LightMaker, "_make", failing)
    (row,) = run(folder, tmp_path / "out", recipe).stacks
    assert row.status == "reused"
    assert row.left_out == {
        "light/light_9.fits": "damaged inside",
        "light/light_3.fits": "the recipe leaves it out",
    }


@pytest.mark.parametrize("kind", ["dark", "flat"])
def test_a_master_that_fails_has_no_path(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    combined = MasterMaker._combined

    def failing(maker: MasterMaker, spec: Any, *args: Any) -> Any:
        if spec.kind == kind:
            msg = "no"
            raise SettingError(msg)
        return combined(maker, spec, *args)

    monkeypatch.setattr(MasterMaker, "_combined", failing)
    done = run(night, tmp_path / "out", Recipe(until="lights"))
    assert {row.path == "" for row in done.masters if row.kind == kind} == {True}

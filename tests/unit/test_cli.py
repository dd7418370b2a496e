"""The command line: what it prints, where, with which exit code, and never a traceback."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

import calibkit
from calibkit import cli
from calibkit.cli import lab
from calibkit.errors import CalibkitError, OutputError
from calibkit.session import scan
from calibkit.simulate import sample_session

CONTROL = [chr(code) for code in (*range(9), *range(11, 32), 127, *range(128, 160))]


def frame(path: Path, level: float = 300.0, **cards: Any) -> Path:
    """A small frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(len(path.name)).normal(level, 5.0, (24, 32)).astype(np.uint16)
    fits.PrimaryHDU(data, fits.Header(cards)).writeto(path)
    return path


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """Three biases, three darks and two lights."""
    for kind, count, exposure in (("Bias", 3, 0.0), ("Dark", 3, 10.0), ("Light", 2, 10.0)):
        for i in range(count):
            path = tmp_path / "night" / f"{kind}{i}.fit"
            frame(path, IMAGETYP=f"{kind} Frame", EXPTIME=exposure, EGAIN=1.5, OBJECT="M 42")
    return tmp_path / "night"


def call(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    """Exit code, standard output and error stream of a command."""
    code = cli.main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    assert not any(c in out + err for c in CONTROL), "a control code in a pipe"
    assert "Traceback" not in err
    return code, out, err


def process(*args: object, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "calibkit", *map(str, args)]
    return subprocess.run(command, capture_output=True, env={**os.environ, **environment}, check=False)


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"calibkit {calibkit.__version__}\n"
    for command in ("lab", "calibrate", "scan", "info", "simulate"):
        with pytest.raises(SystemExit) as left:
            cli.main([command, "--help"])
        assert left.value.code == 0
        assert f"usage: calibkit {command}" in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        cli.main([])
    assert left.value.code == 2
    with pytest.raises(SystemExit) as left:
        cli.main(["calibrate", "somewhere"])
    assert left.value.code == 2
    assert "-o/--out" in capsys.readouterr().err


def test_help_loads_nothing_heavy() -> None:
    heavy = ["numpy", "xarray", "numba", "dask", "scipy", "astropy", "bokeh", "jupyterlab", "pandas"]
    heavy += ["rich", "socket", "logging", "webbrowser"]
    code = (
        "import sys\nfrom calibkit.cli import main\n"
        f"try: main(['--version'])\nexcept SystemExit: print([m for m in {heavy!r} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[1] == "[]"


def test_calibrate_ends_with_a_summary_and_a_report(
    capsys: pytest.CaptureFixture[str], night: Path, tmp_path: Path
) -> None:
    code, out, err = call(capsys, "calibrate", night, "-o", tmp_path / "out")
    assert code == 0
    assert "2 of 2 lights calibrated, with 2 masters" in out
    assert "− dark 10 s (bias in it)" in out
    assert "report.html" in out
    assert "warning: light 10 s: not divided by a flat" in err
    assert {path.name for path in (tmp_path / "out/lights").iterdir()} == {"Light0.fits", "Light1.fits"}
    assert (tmp_path / "out/report.html").stat().st_size > 100_000
    code, out, _ = call(capsys, "calibrate", night, "-o", tmp_path / "out", "--no-report")
    assert code == 0
    assert "2 of them in an earlier run" in out
    assert "report.html" not in out


def test_dry_run_says_what_would_be_done_and_does_nothing(
    capsys: pytest.CaptureFixture[str], night: Path, tmp_path: Path
) -> None:
    code, out, _ = call(capsys, "calibrate", night, "-o", tmp_path / "out", "--dry-run")
    assert code == 0
    assert "2 lights would be calibrated" in out
    assert "dark 10 s" in out
    assert not (tmp_path / "out").exists()


def test_what_the_user_says_goes_before_what_files_say(
    capsys: pytest.CaptureFixture[str], night: Path, tmp_path: Path
) -> None:
    code, out, _ = call(capsys, "scan", night, "--flat", "Light1*", "--flat", "Bias2*", "--frames")
    assert code == 0
    assert "2 frames" in out
    kinds = {
        line.split()[0]: line.split()[1] for line in out.splitlines() if line.startswith(("Bias", "Light"))
    }
    assert kinds == {
        "Bias0.fit": "bias",
        "Bias1.fit": "bias",
        "Bias2.fit": "flat",
        "Light0.fit": "light",
        "Light1.fit": "flat",
    }
    code, _, err = call(capsys, "scan", night, "--dark", "nothing*")
    assert code == 1
    assert "nothing*" in err


def test_limits_and_what_is_ignored(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    frame(tmp_path / "d.fit", IMAGETYP="Dark Frame", EXPTIME=10.0, **{"CCD-TEMP": 5.0})
    frame(tmp_path / "l.fit", IMAGETYP="Light Frame", EXPTIME=10.0, **{"CCD-TEMP": -5.0})
    refused = "temperature 5.0 °C, wanted −5.0 °C (± 3)"
    assert refused in call(capsys, "scan", tmp_path)[1]
    for more in (("--ignore", "temperature"), ("--tolerance", "dark_temperature=11")):
        assert refused not in call(capsys, "scan", tmp_path, *more)[1]
        code, out, _ = call(
            capsys, "calibrate", tmp_path, "-o", tmp_path / f"out{more[0]}", "--no-report", *more
        )
        assert code == 0
        assert "1 of 1 lights calibrated" in out
    assert call(capsys, "scan", tmp_path, "--tolerance", "size=3")[0] == 1
    assert call(capsys, "scan", tmp_path, "--ignore", "size")[0] == 1
    with pytest.raises(SystemExit):
        cli.main(["scan", str(tmp_path), "--tolerance", "flat_hours"])


def test_info_tells_facts_and_exact_levels(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32)
    header = fits.Header({"IMAGETYP": "Light Frame", "EXPTIME": 12.5, "BAYERPAT": "GBRG", "CCD-TEMP": -3.25})
    fits.PrimaryHDU(data, header).writeto(tmp_path / "a [1].fit")
    code, out, _ = call(capsys, "info", tmp_path / "a [1].fit", "--header")
    assert code == 0
    assert "12.5 s" in out
    assert "GBRG" in out
    assert "32 × 24, uint16" in out
    assert "EXPTIME" in out
    line = next(line.split() for line in out.splitlines() if line.startswith("G1"))
    site = data[1::2, 1::2]  # the green in the red rows
    assert [float(number) for number in line[1:5]] == pytest.approx(
        [site.min(), np.median(site), site.mean(), site.max()]
    )


def test_info_of_a_result_tells_flags_and_steps(
    capsys: pytest.CaptureFixture[str], night: Path, tmp_path: Path
) -> None:
    calibkit.calibrate_session(night, tmp_path / "out", report=False)
    _, out, _ = call(capsys, "info", tmp_path / "out/lights/Light0.fits")
    assert "flags: " in out
    assert "subtract dark" in out
    assert "predicted" in out


def test_errors_are_one_message_and_code_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.fit").write_bytes(b"SIMPLE  =                    T" + bytes(50))
    out = tmp_path / "out"
    for args, said in (
        (("calibrate", tmp_path / "empty", "-o", out), "this folder is empty"),
        (("calibrate", tmp_path / "nowhere", "-o", out), "does not exist"),
        (("calibrate", tmp_path, "-o", out), "broken.fit"),
        (("info", tmp_path / "broken.fit"), "broken.fit"),
        (("info", tmp_path / "nothing.fit"), "no such file"),
        (("scan", tmp_path / "broken.fit"), "is a file, not a folder"),
        (("lab", tmp_path, "--port", "99999"), "port"),
    ):
        code, printed, err = call(capsys, *args)
        assert (code, printed) == (1, "")
        assert err.startswith("error: ")
        assert said in err
    assert not out.exists()


def test_a_light_that_fails_is_listed_and_the_code_says_so(
    capsys: pytest.CaptureFixture[str], night: Path, tmp_path: Path
) -> None:
    frame(night / "odd.fit", IMAGETYP="Light Frame", EXPTIME=10.0, EGAIN=9.0)
    (night / "torn.fit").write_bytes((night / "Light0.fit").read_bytes()[:3000])
    code, out, _ = call(capsys, "calibrate", night, "-o", tmp_path / "out", "--no-report")
    assert code == 1
    assert "2 of 3 lights calibrated" in out
    assert "odd.fit: its pedestal is not known" in out
    assert "torn.fit" in out


def test_lights_whose_dark_the_camera_has_subtracted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """There is neither bias nor dark: the user says what a pixel without light holds."""
    rng = np.random.default_rng(5)
    sky = rng.normal(120.0, 6.0, (5, 40, 48))
    sky[sky < 0] = 0
    for number, data in enumerate(sky):
        header = fits.Header({"IMAGETYP": "Light Frame", "EXPTIME": 10.0, "EGAIN": 1.0, "RDNOISE": 2.0})
        fits.PrimaryHDU(data.astype(np.uint16), header).writeto(tmp_path / f"sub_{number}.fits")
    code, out, _ = call(capsys, "calibrate", tmp_path, "-o", tmp_path / "out")
    assert code == 1
    assert " ".join(out.split()).count("its pedestal is not known") == 1, "one reason, told once for all five"
    assert "sub_0.fits, sub_1.fits, sub_2.fits and 2 more: its pedestal" in " ".join(out.split())
    assert "pedestal: 0" in out
    code, out, _ = call(capsys, "calibrate", tmp_path, "-o", tmp_path / "out", "--pedestal", 100)
    assert code == 0, out
    for number, data in enumerate(sky):
        done = calibkit.open_result(tmp_path / "out" / "lights" / f"sub_{number}.fits")
        np.testing.assert_array_equal(done["signal"].values, data.astype(np.uint16).astype(np.float32) - 100)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("calibkit recipe: 1\nuntil: lights\ncamera: {pedestal: 7, read_noise: 2}\n")
    told = ("--recipe", recipe, "--pedestal", 90, "--dark", "sub_4.fits", "--no-report")
    code, out, _ = call(capsys, "process", tmp_path, "-o", tmp_path / "told", *told)
    assert code == 0, out
    assert len(list((tmp_path / "told" / "lights").iterdir())) == 4, "the fifth was said to be a dark"
    assert (tmp_path / "told" / "masters" / "dark_10s.fits").exists()


def test_a_recipe_is_written_checked_and_followed(
    capsys: pytest.CaptureFixture[str], night: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "my recipe.yaml"
    code, out, _ = call(capsys, "recipe", recipe)
    assert code == 0
    assert "my recipe.yaml" in out
    recipe.write_text(
        recipe.read_text().replace("until: picture", "until: lights").replace("repair: true", "repair: false")
    )
    code, out, _ = call(capsys, "recipe", recipe)
    assert code == 0
    assert "until: lights" in out
    code, out, _ = call(capsys, "process", night, "-o", tmp_path / "a", "--recipe", recipe, "--no-report")
    assert code == 0
    call(capsys, "calibrate", night, "-o", tmp_path / "b", "--no-report", "--no-repair")
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.fits"))
    assert names == sorted(path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*.fits"))
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    recipe.write_text(recipe.read_text().replace("masters:", "mastres:"))
    code, _, err = call(capsys, "process", night, "-o", tmp_path / "a", "--recipe", recipe)
    assert code == 1
    assert "did you mean 'masters'" in err.replace("\n", " ")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OutputError("the disk is full")])
def test_a_full_disk_is_said(
    capsys: pytest.CaptureFixture[str], night: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("calibkit.pipeline.process", fail)
    code, _, err = call(capsys, "calibrate", night, "-o", "out")
    assert code == 1
    assert "the disk is full" in err


def test_ctrl_c_tells_what_is_finished(
    capsys: pytest.CaptureFixture[str], night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from calibkit.pipeline import lights

    make = lights.LightMaker.make
    finished = threading.Event()

    def stopped(self: Any, frame: Any, name: str, **options: Any) -> Any:
        if name == "Light1":
            assert finished.wait(60)
            time.sleep(0.5)  # it is told of, then
            raise KeyboardInterrupt
        made = make(self, frame, name, **options)
        finished.set()
        return made

    monkeypatch.setattr(lights.LightMaker, "make", stopped)
    code, _, err = call(capsys, "calibrate", night, "-o", tmp_path / "out")
    assert code == 130
    assert "1 of 2 lights are finished" in err
    monkeypatch.undo()
    _, out, _ = call(capsys, "calibrate", night, "-o", tmp_path / "out", "--no-report")
    assert "1 of them in an earlier run" in out


def test_names_from_files_cannot_steer_the_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    name = "a\x1b[31m[bold red]\x07.fit"
    frame(tmp_path / name, IMAGETYP="Light Frame")
    code, out, _ = call(capsys, "scan", tmp_path, "--frames")
    assert code == 0
    assert "[31m[bold red]" in out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_console_that_knows_few_letters(night: Path, tmp_path: Path, encoding: str) -> None:
    (night / "Light0.fit").rename(night / "Zwölf-日本.fit")
    done = process(
        "calibrate", night, "-o", tmp_path / "aus", "--no-report", PYTHONIOENCODING=encoding, PYTHONUTF8="0"
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding)
    assert "dark 10 s (bias in it)" in text
    assert "2 of 2 lights calibrated" in text
    assert (tmp_path / "aus/lights/Zwölf-日本.fits").exists()


def test_a_reader_that_leaves_early(night: Path) -> None:
    command = f"{sys.executable} -m calibkit scan {night} --frames | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_a_terminal_gets_bars(night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert cli.main(["calibrate", str(night), "-o", str(tmp_path / "out"), "--no-report"]) == 0
    assert "\x1b[" in screen.getvalue()
    assert "master dark 10 s" in screen.getvalue()


def test_simulate_makes_a_session_that_calibrates(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "a night"
    code, out, _ = call(capsys, "simulate", "ccd", "-o", folder, "--size", "80x60")
    assert code == 0
    assert f"calibkit calibrate '{folder}'" in out
    assert calibkit.scan(folder).frames[0].info.shape == (60, 80)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("x")
    assert call(capsys, "simulate", "dslr", "-o", tmp_path / "full")[0] == 1
    with pytest.raises(SystemExit):
        cli.main(["simulate", "ccd", "-o", str(tmp_path / "b"), "--size", "large"])


# ---- lab ---------------------------------------------------------------------------------------------------


def test_notebooks_are_copied_and_changed_ones_kept(tmp_path: Path) -> None:
    source, target = tmp_path / "shipped", tmp_path / "mine"
    for name in ("01_start.ipynb", "02_more.ipynb", "images/a.png", ".ipynb_checkpoints/01_start.ipynb"):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    assert lab.copy_notebooks(source, target) == []
    (target / "02_more.ipynb").write_text("my answers")
    (target / "images/a.png").unlink()
    (source / "left over.fits").write_text("")
    assert lab.copy_notebooks(source, target) == ["02_more.ipynb"]
    assert (target / "02_more.ipynb").read_text() == "my answers"
    assert (target / "images/a.png").read_text() == "images/a.png"
    assert not (target / ".ipynb_checkpoints").exists()
    assert not (target / "left over.fits").exists()
    assert lab.start_page(target) == "/lab/tree/01_start.ipynb"
    assert lab.start_page(tmp_path) == "/lab"


def test_lab_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibkit, "__file__", str(tmp_path / "calibkit/__init__.py"))
    with pytest.raises(CalibkitError, match="install calibkit again"):
        lab.notebooks_folder()
    (tmp_path / "file").write_text("")
    (tmp_path / "s").mkdir()
    (tmp_path / "s/a.ipynb").write_text("{}")
    with pytest.raises(OutputError, match="give another folder"):
        lab.copy_notebooks(tmp_path / "s", tmp_path / "file")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert cli.main(["lab", str(tmp_path)]) == 1


def test_a_run_into_a_folder_of_the_frames_can_be_repeated(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    night = sample_session("ccd", folder=tmp_path / "night", shape=(160, 200))
    frames = len(scan(night).frames)
    for status in ("made", "reused"):
        code, out, err = call(capsys, "process", night, "-o", night / "done", "--no-report")
        assert code == 0, err
        assert f"  {status}\n" in out.partition("Stacks")[2]
        assert (night / "done/stacks/light_240s.png").is_file()
        assert len(scan(night).frames) == frames  # the picture, which has no header, is not one of them


def test_a_stack_that_was_not_made_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for number in range(3):
        frame(tmp_path / f"lights/light_{number}.fits", IMAGETYP="light", EXPTIME=60.0)
    code, out, _ = call(capsys, "process", tmp_path / "lights", "-o", tmp_path / "done", "--no-report")
    assert code == 1
    assert any(
        line.startswith("light 60 s") and line.endswith("failed")
        for line in out.partition("Stacks")[2].splitlines()
    )


def test_info_says_the_steps_in_words_and_leaves_checksums_in_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    paths = [frame(tmp_path / f"dark_{number}.fits", 100.0 + number, EXPTIME=60.0) for number in range(3)]
    dark = calibkit.master_dark(calibkit.open_stack(paths), method="median")
    calibkit.save(dark, tmp_path / "dark.fits")
    code, out, _ = call(capsys, "info", tmp_path / "dark.fits")
    assert code == 0
    steps = out.partition("step ")[2]
    assert "method median" in steps
    assert "3 files" in steps
    assert not any(word in steps for word in ("sha256", "{", "None"))

"""The workbench without a page: steps, what is carried between them, and the session written as files."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import traitlets

import calibkit as ck
from calibkit.errors import SettingError
from calibkit.io.notebook import write_notebook
from calibkit.panels import SessionPanel, Workbench
from calibkit.panels.steps import STEPS
from calibkit.state import WorkbenchState
from calibkit.state import workbench as workbench_state
from tests.panel_makers import write_frames, write_star_frames

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five frames of each kind of a colour sensor, 24 × 32 pixels, two groups of lights."""
    folder = tmp_path_factory.mktemp("night")
    camera = {"BAYERPAT": "RGGB", "EGAIN": 2.0, "RDNOISE": 6.0}
    write_frames(folder, "bias", level=300.0, **camera)
    write_frames(folder, "dark", level=340.0, EXPTIME=60.0, seed=2, **camera)
    write_frames(folder, "flat", level=20000.0, noise=100.0, EXPTIME=2.0, seed=3, FILTER="L", **camera)
    write_frames(folder, "light", level=900.0, EXPTIME=60.0, seed=4, FILTER="L", **camera)
    write_frames(folder / "other", "light", 2, level=900.0, EXPTIME=60.0, seed=5, FILTER="Ha", **camera)
    return folder


@pytest.fixture
def bench(night: Path, tmp_path: Path) -> Iterator[Workbench]:
    made = Workbench(night, out=str(tmp_path / "out"))
    yield made
    made.close()


def test_steps_are_those_of_the_state() -> None:
    assert tuple(STEPS) == workbench_state.STEPS


@pytest.mark.parametrize("step", STEPS)
def test_every_step_opens(bench: Workbench, step: str) -> None:
    bench.state.step = step
    assert bench.errors.text == ""
    assert isinstance(bench.panel, STEPS[step].panel)  # type: ignore[arg-type]
    assert bench.describe().endswith(step)
    assert bench.panel.code.splitlines()[-1] in bench.code
    assert f"step={step!r}" in bench.code or step == "session"


def test_settings_come_back(bench: Workbench) -> None:
    bench.state.step = "combine"
    bench.panel.state.method = "median"
    bench._close_panels()
    bench.state.step = "bias"
    bench.state.step = "combine"
    assert bench.panel.state.method == "median"
    assert bench.recipe().masters.method == "median"
    bench.state.step = "compare"
    master = ck.open_result(next((bench.out / "masters").glob("dark*.fits")))
    assert master.attrs["provenance"][0]["method"] == "median"


def test_another_group_of_lights(bench: Workbench) -> None:
    bench.state.step = "numbers"
    assert bench._light.layout.display == ""
    first, other = bench._lights.options
    counts = {name: len(bench.session.group(name)) for name in (first, other)}
    bench.state.lights = max(counts, key=counts.get)
    bench.state.light = 4
    assert "isel(frame=4)" in bench.panel.code
    before = bench.panel
    bench.state.lights = min(counts, key=counts.get)
    assert bench.panel is not before
    assert bench.state.light == 1  # there are two of these
    assert "isel(frame=1)" in bench.panel.code
    bench.state.step = "bias"
    assert bench._light.layout.display == "none"


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    write_frames(tmp_path / "darks", "dark", EXPTIME=60.0)
    bench = Workbench(tmp_path / "darks", out=str(tmp_path / "out"))
    bench.state.step = "bias"
    assert bench.panel is None
    assert "needs single bias frames" in bench.errors.text
    with pytest.raises(SettingError, match="has no panel"):
        _ = bench.result
    bench.state.step = "combine"
    assert bench.errors.text == ""
    bench.state.step = "compare"
    assert "light" in bench.errors.text


def test_without_a_session(tmp_path: Path, night: Path) -> None:
    bench = Workbench()
    assert isinstance(bench.panel, SessionPanel)
    assert {name for name, button in bench._buttons.items() if not button.disabled} == {
        "session",
        "signal chain",
    }
    for work in (bench.cells, bench.write):
        with pytest.raises(SettingError, match="no session is chosen"):
            work()
    bench.panel.state.folder = str(night)
    bench.state.out = str(tmp_path)
    bench.state.step = "numbers"
    assert bench.session is not None
    assert bench.session.folder == night
    assert bench.errors.text == ""


def test_large_frames_keep_one_panel(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calibkit.panels.workbench.memory_limit", lambda: 1000)
    for step in ("numbers", "bias", "signal chain"):
        bench.state.step = step
        assert list(bench.panels) == [step]


def test_written_files(bench: Workbench, tmp_path: Path) -> None:
    bench.state.step = "combine"
    bench.panel.state.reject = "none"
    bench.state.step = "compare"
    recipe, path = bench.write()
    assert ck.read_recipe(recipe).masters.reject == "none"
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    texts = [cell.source for cell in notebook.cells]
    assert [text.split("\n")[0] for text in texts if text.startswith("#")] == [
        f"# {bench.session.folder.name}",
        "## Masters, calibrated lights and stacks",
        "## Combine",
        "## Compare",
    ]
    assert bench.panels["combine"].code in texts
    assert bench.write() == (recipe, path)
    assert bench.command() == f"calibkit process {bench.session.folder} -o {bench.out} --recipe {recipe}"


def test_written_notebook_and_command_make_the_same_files(tmp_path: Path) -> None:
    """Both run as they are written, each in a fresh process from nothing but the recipe, and agree in every byte."""
    folder, out = tmp_path / "night", tmp_path / "out"
    write_star_frames(folder)
    write_frames(folder, "dark", 4, shape=(90, 120), EXPTIME=60.0, EGAIN=1.5, RDNOISE=6.0)
    bench = Workbench(folder, out=str(out), step="stack")
    bench.panel.state.method = "median"
    recipe, notebook = bench.write()
    command = shlex.split(bench.command())
    bench.close()
    kept = {path: path.read_bytes() for path in (recipe, notebook)}
    cells = [cell.source for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"]
    made = []
    for run in (["-c", "\n".join(cells)], ["-m", *command]):
        shutil.rmtree(out)
        out.mkdir()
        for path, content in kept.items():
            path.write_bytes(content)
        ended = subprocess.run([sys.executable, *run], cwd=ROOT, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        made.append({path.relative_to(out): path.read_bytes() for path in out.rglob("*.fits")})
    assert {path.parts[0] for path in made[0]} == {"masters", "stacks"}
    assert made[0].keys() == made[1].keys()
    assert [str(path) for path in made[0] if made[0][path] != made[1][path]] == []


def test_settings_of_steps_are_checked() -> None:
    state = WorkbenchState(steps={"bias": {"frames": 3}})
    with pytest.raises(traitlets.TraitError):
        state.steps = {"bios": {}}
    state.remember("bias", {})
    assert state.settings() == {}
    assert state.recipe({}) == ck.Recipe()
    state.remember("stack", {"judge": False, "method": "median", "region": None})
    recipe = state.recipe({"kinds": {"flat": "f-*"}, "tolerances": ck.Tolerances(flat_hours=3.0)})
    assert (recipe.align.select, recipe.stack.method) == (False, "median")
    assert recipe.frames.kinds == {"flat": ("f-*",)}
    assert recipe.frames.tolerances == {"flat_hours": 3.0}
    state.remember("stack", {"left_out": (1, 7), "interpolation": "bicubic"})
    state.remember("calibrate", {"repair": False, "dark_scale": "exposure"})
    state.remember("hot pixels", {"sigma": 7.0})
    state.remember("brightness", {"curve": "asinh", "levels": (1.0, 9.0, 0.2)})
    recipe = state.recipe({}, ["a.fits", "b.fits", "c.fits"])
    assert (recipe.align.leave_out, recipe.stack.interpolation) == (("b.fits",), "bicubic")
    assert (recipe.defects.repair, recipe.defects.sigma, recipe.dark.scale) == (False, 7.0, "exposure")
    shown = {"curve": "asinh", "black": 1.0, "white": 9.0, "midtone": 0.2, "linked": True}
    assert recipe.picture == ck.recipe.PictureSettings(**shown)
    state.remember("brightness", {"curve": "ghs", "intensity": 2.0, "allow_clipping": True})
    assert state.recipe({}).picture == ck.recipe.PictureSettings(
        curve="ghs", intensity=2.0, allow_clipping=True
    )


def test_a_notebook_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = write_notebook([("markdown", "a\nb"), ("code", "")], tmp_path / "n.ipynb")
    before = path.read_bytes()
    nbformat.validate(nbformat.reads(before.decode(), 4))
    with pytest.raises(ck.OutputError):
        write_notebook([], path)
    assert path.read_bytes() == before

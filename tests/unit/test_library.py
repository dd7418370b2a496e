"""Masters that several nights share: what is taken, what is not, and that it makes no difference to the result."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import xarray as xr

import calibkit
from calibkit.pipeline import RunResult
from calibkit.recipe import MasterSettings, Recipe


@pytest.fixture(scope="module")
def night() -> Path:
    return calibkit.sample_session("ccd")


def run(night: Path, out: Path, library: Path | None, recipe: Recipe | None = None) -> RunResult:
    recipe = recipe or Recipe(until="lights")
    return calibkit.process(night, recipe, out, report=False, library=library)


def statuses(done: RunResult) -> set[str]:
    return {row.status for row in done.masters}


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.fits"))}


@pytest.fixture(scope="module")
def first(night: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    folder = tmp_path_factory.mktemp("first")
    return folder / "library", run(night, folder / "out", folder / "library")


def test_another_night_takes_the_same_masters(
    night: Path, tmp_path: Path, first: tuple[Path, RunResult]
) -> None:
    library, made = first
    assert statuses(made) == {"made"}
    other = tmp_path / "a night elsewhere"
    shutil.copytree(night, other)
    again = run(other, tmp_path / "out", library)
    assert statuses(again) == {"reused"}
    assert [(row.name, row.noise, row.flags) for row in again.masters] == [
        (row.name, row.noise, row.flags) for row in made.masters
    ]
    assert {row.status for row in again.lights} == {"made"}
    assert bytes_of(again.out / "masters") == bytes_of(made.out / "masters")
    for path in (made.out / "lights").glob("*.fits"):  # whose headers say where their frames lie
        one, other = calibkit.open_result(path), calibkit.open_result(again.out / "lights" / path.name)
        xr.testing.assert_equal(one.load(), other.load().assign_coords(file=one["file"]))


def test_other_settings_and_other_frames_are_other_masters(
    night: Path, tmp_path: Path, first: tuple[Path, RunResult]
) -> None:
    library = tmp_path / "library"
    shutil.copytree(first[0], library)
    median = Recipe(until="lights", masters=MasterSettings(method="median"))
    assert statuses(run(night, tmp_path / "median", library, median)) == {"made"}
    other = tmp_path / "night"
    shutil.copytree(night, other)
    next(iter(sorted((other / "darks").iterdir()))).unlink()
    done = {row.kind: row.status for row in run(other, tmp_path / "out", library).masters}
    assert done["dark"] == "made"
    assert "reused" in done.values()


@pytest.mark.parametrize("harm", ["cut off", "another byte", "no record", "no JSON"])
def test_a_master_that_is_not_what_it_was_is_made_again(
    night: Path, tmp_path: Path, first: tuple[Path, RunResult], harm: str
) -> None:
    library = tmp_path / "library"
    shutil.copytree(first[0], library)
    for path in library.glob("*.fits"):
        data = path.read_bytes()
        if harm == "cut off":
            path.write_bytes(data[:-2880])
        elif harm == "another byte":
            path.write_bytes(data[:9000] + bytes([data[9000] ^ 1]) + data[9001:])
        elif harm == "no record":
            path.with_suffix(".json").unlink()
        else:
            path.with_suffix(".json").write_text("a poem")
    done = run(night, tmp_path / "out", library)
    assert statuses(done) == {"made"}
    assert bytes_of(tmp_path / "out") == bytes_of(first[1].out)
    # and it is whole again
    assert bytes_of(library) == bytes_of(first[0])


def test_a_folder_that_cannot_be_made(night: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(calibkit.OutputError, match="library"):
        run(night, tmp_path / "out", tmp_path / "file" / "library")

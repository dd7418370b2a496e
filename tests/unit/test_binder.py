"""What Binder builds: everything pinned, all that calibkit asks for, and no test tools."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.benchmarks.binder import Limits

ROOT = Path(__file__).resolve().parents[2]
BINDER = ROOT / "binder"


def pins() -> dict[str, str]:
    lines = (BINDER / "requirements.txt").read_text(encoding="utf-8").splitlines()
    found = [
        re.fullmatch(r"([\w.-]+)==([\w.!+-]+)", line) for line in lines if line and not line.startswith("#")
    ]
    assert all(found), "every line pins one package: name==version"
    return {canonicalize_name(match[1]): match[2] for match in found}


def test_the_lock_holds_what_calibkit_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = pins()
    for text in (*project["dependencies"], *project["optional-dependencies"]["lab"]):
        wanted = Requirement(text)
        version = locked.get(canonicalize_name(wanted.name))
        assert version is not None, f"{wanted.name} is not locked"
        assert wanted.specifier.contains(version), f"{wanted} is locked as {version}"


def test_no_test_tools() -> None:
    assert not {"pytest", "playwright", "ccdproc", "nbval", "hypothesis", "ruff", "calibkit"} & set(pins())


def test_steps_can_be_run() -> None:
    for name in ("postBuild", "start"):
        assert os.access(BINDER / name, os.X_OK)
    # Kernels compiled in one step are looked for in the other under the same name of the processor.
    set_in = {
        name: re.findall(r"NUMBA_CPU_\w+=\S*", (BINDER / name).read_text(encoding="utf-8"))
        for name in ("postBuild", "start")
    }
    assert set_in["postBuild"] == set_in["start"] != []


@pytest.mark.parametrize("second", [False, True])
def test_the_benchmark_limits_memory_and_processors(tmp_path: Path, second: bool) -> None:
    """In folders that look like control groups of either version."""
    if second:
        (tmp_path / "cgroup.controllers").write_text("cpu memory\n", encoding="ascii")
    else:
        (tmp_path / "memory").mkdir()
        (tmp_path / "cpu").mkdir()
    limits = Limits(tmp_path)
    written = {
        path.relative_to(tmp_path).as_posix().replace(f"calibkit-binder-{os.getpid()}", "G"): path.read_text(
            encoding="ascii"
        )
        for path in tmp_path.rglob("*.*")
        if path.parent in limits.folders
    }
    assert written == (
        {"G/memory.max": str(2 * 2**30), "G/cpu.max": "100000 100000"}
        if second
        else {
            "memory/G/memory.limit_in_bytes": str(2 * 2**30),
            "cpu/G/cpu.cfs_period_us": "100000",
            "cpu/G/cpu.cfs_quota_us": "100000",
        }
    )
    memory = limits.folders[0]
    name = "memory.peak" if second else "memory.max_usage_in_bytes"
    (memory / name).write_text(f"{300 * 2**20}\n", encoding="ascii")
    events = "memory.events" if second else "memory.oom_control"
    (memory / events).write_text("oom 3\noom_kill 2\n", encoding="ascii")
    assert (limits.peak(), limits.killed()) == (300.0, 2)

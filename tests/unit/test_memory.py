"""How much memory and how many processors a container leaves: groups inside groups, both versions, seen from inside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from calibkit import memory

MACHINE = 16 * 2**30
GB = 2**30


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 GB and six processors."""
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": MACHINE // 4096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)


@pytest.fixture
def limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``limits(mounts, groups, files)`` puts the process there; mounts are (root, folder, kind, options)."""

    def put(mounts: list[tuple[str, str, str, str]], groups: str, files: dict[str, str]) -> tuple[int, int]:
        process = tmp_path / "proc"
        process.mkdir()
        lines = [
            f"{35 + i} 31 0:{32 + i} {root} {tmp_path / folder} rw,relatime shared:9 - {kind} {kind} {options}\n"
            for i, (root, folder, kind, options) in enumerate(mounts)
        ]
        lines.insert(0, "23 1 254:0 / / rw - ext4 /dev/vda rw\n")
        (process / "mountinfo").write_text("".join(lines), encoding="utf-8")
        (process / "cgroup").write_text(groups, encoding="utf-8")
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n", encoding="ascii")
        whole = memory.control_groups
        monkeypatch.setattr(memory, "control_groups", lambda controller: whole(controller, process))
        return memory.memory_limit(), memory.worker_count()

    return put


V2 = [("/", "cg", "cgroup2", "rw")]
V1 = [("/", "m", "cgroup", "rw,memory"), ("/", "c", "cgroup", "rw,cpu,cpuacct"), ("/", "u", "cgroup2", "rw")]


def test_version_2_from_inside_a_container(limits) -> None:
    files = {"cg/memory.max": str(2 * GB), "cg/memory.high": "max", "cg/cpu.max": "150000 100000"}
    assert limits(V2, "0::/\n", files) == (2 * GB, 2)


def test_the_smallest_of_the_groups_around_counts(limits) -> None:
    files = {
        "cg/a/memory.max": str(3 * GB),
        "cg/a/cpu.max": "100000 100000",
        "cg/a/b/memory.max": "max",
        "cg/a/b/c d/memory.max": str(4 * GB),
        "cg/a/b/c d/cpu.max": "max 100000",
        "cg/other/memory.max": "1000",
    }
    assert limits(V2, "0::/a/b/c d\n", files) == (3 * GB, 1)


def test_a_group_that_slows_down_before_it_ends(limits) -> None:
    assert limits(V2, "0::/a\n", {"cg/a/memory.max": str(3 * GB), "cg/a/memory.high": str(GB)})[0] == GB


def test_version_1_nested(limits) -> None:
    files = {
        "m/memory.limit_in_bytes": "9223372036854771712",
        "m/a/b/memory.limit_in_bytes": str(2 * GB),
        "c/x/cpu.cfs_quota_us": "200000",
        "c/x/cpu.cfs_period_us": "100000",
        "c/cpu.cfs_quota_us": "-1",
        "c/cpu.cfs_period_us": "100000",
    }
    assert limits(V1, "4:memory:/a/b\n2:cpu,cpuacct:/x\n0::/\n", files) == (2 * GB, 2)


def test_version_1_mounted_from_the_containers_own_group(limits) -> None:
    mounts = [("/docker/123", "m", "cgroup", "rw,memory")]
    files = {"m/memory.limit_in_bytes": str(2 * GB), "m/in/memory.limit_in_bytes": str(GB)}
    assert limits(mounts, "4:memory:/docker/123/in\n", files)[0] == GB


def test_a_path_outside_of_what_is_mounted(limits) -> None:
    assert limits(V2, "0::/../../elsewhere\n", {"cg/memory.max": str(2 * GB)})[0] == 2 * GB


def test_nothing_limits(limits) -> None:
    files = {"cg/a/memory.max": "max", "cg/a/cpu.max": "max 100000"}
    assert limits(V2, "0::/a\nnonsense\n", files) == (MACHINE, 6)


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert memory.control_groups("memory", tmp_path / "no such folder") == ()


def test_a_worker_of_a_cluster_starts_no_more_threads_than_it_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "_most_workers", memory._most_workers)
    memory.limit_workers(1)
    assert memory.worker_count() == 1

"""How much memory there is, and how many rows of it a band of work may take.

A container's limit (Binder: 2 GB) is not the host's memory, so the control group is asked first.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

#: Rows are read and worked on in bands of about this many bytes over all the arrays involved.
BAND_BYTES = 64 * 2**20
#: ``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD`` of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Threads that a process starts at most.
_most_workers = 8
#: Bytes that the processor's caches move at a time.
CACHE_LINE = 64


def memory_limit() -> int:
    """Bytes of memory that this process may use: the least of its control groups' limits and the machine's memory."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")] if hasattr(os, "sysconf") else [2**31]
    for folder in control_groups("memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            limits += [number for number in _numbers(folder / name) if number > 0]
    return min(limits)


def limit_workers(count: int) -> None:
    """Have `worker_count` be at most this, in a process that shares its processors with others of its kind."""
    global _most_workers
    _most_workers = max(1, count)


def worker_count() -> int:
    """Threads worth starting: the processors this process may run on, at most 8.

    A container's share of the processors counts as so many of them: with eight threads on one processor, each
    would only take memory and wait.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    for folder in control_groups("cpu"):
        share = _numbers(folder / "cpu.max")  # version 2: both in one file
        share = share or [*_numbers(folder / "cpu.cfs_quota_us"), *_numbers(folder / "cpu.cfs_period_us")]
        if len(share) == 2 and min(share) > 0:
            count = min(count, math.ceil(share[0] / share[1]))
    return max(1, min(count, _most_workers))


@lru_cache(maxsize=16)  # where a process belongs is settled before it begins; the limits there may change
def control_groups(controller: str, process: Path = Path("/proc/self")) -> tuple[Path, ...]:
    """Folders of the control groups that limit this process, its own first, then those around it; Linux only.

    Parameters
    ----------
    controller : str
        ``"memory"`` or ``"cpu"``.
    process : Path
        What the system says of the process: where groups are mounted, and which are its own (``cgroups(7)``).
    """
    try:
        mounts = (process / "mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        groups = (process / "cgroup").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ()
    own = {}  # by controller, and "" for version 2
    for _, names, path in (line.split(":", 2) for line in groups if line.count(":") >= 2):
        own |= dict.fromkeys(names.split(","), path)
    found = []
    for mount in mounts:
        place, _, system = (part.split() for part in mount.partition(" - "))
        if len(place) < 5 or not system or system[0] not in {"cgroup", "cgroup2"}:
            continue
        name = "" if system[0] == "cgroup2" else controller
        if name not in own or (name and name not in system[-1].split(",")):
            continue
        top, group = Path(place[4]), PurePosixPath(own[name])
        # In a container the mount often begins at the container's own group, or the path leads outside of it.
        inside = group.relative_to(place[3]) if group.is_relative_to(place[3]) else PurePosixPath()
        if ".." in inside.parts:
            inside = PurePosixPath()
        found += [top / inside, *(top / around for around in inside.parents)]
    return tuple(found)


def _numbers(path: Path) -> list[int]:
    """The whole numbers in a file of a control group; none where it is not there or sets no limit."""
    try:
        words = path.read_text(encoding="ascii").split()
        return [int(word) for word in words]
    except (OSError, ValueError):  # ValueError: "max"
        return []


def band_rows(height: int, width: int, *, bytes_per_pixel: float, multiple: int = 1) -> int:
    """Rows in a band so that ``rows × width × bytes_per_pixel`` stays near `BAND_BYTES`.

    Parameters
    ----------
    height, width : int
        Size of the frame in pixels.
    bytes_per_pixel : float
        Over everything held at once, e.g. ``2 * n_frames`` for a stack of 16-bit frames.
    multiple : int
        The count is a multiple of this (the period of a colour pattern), unless it is the whole height.
    """
    limit = min(BAND_BYTES, memory_limit() // 16)
    rows = int(limit // max(1.0, width * bytes_per_pixel))
    rows = max(multiple, rows // multiple * multiple)
    return min(height, rows)


def release_memory() -> None:
    """Give back what was freed: glibc keeps what its threads have let go of, for each of them, until it is asked."""
    _ask_glibc("malloc_trim", 0)


def return_memory_early() -> None:
    """Have freed arrays given back at once.

    glibc raises its own limits to 32 and 64 MB, and keeps as much of what each thread has freed: on long work in
    several threads that was a third of the peak, and keeping it saved no time.
    """
    for limit in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
        _ask_glibc("mallopt", limit, 8 * 2**20)


def _ask_glibc(name: str, *numbers: int) -> None:
    import ctypes

    if sys.platform == "linux" and (function := getattr(ctypes.CDLL(None), name, None)) is not None:
        function(*numbers)  # other C libraries have no such thing, and need none


class Scratch(threading.local):
    """Arrays that a thread uses again and again: fresh pages cost more than most work on them."""

    def __init__(self) -> None:
        self._held: dict[str, np.ndarray] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        """An array with any content, whose memory is that of the array last taken under this *name*."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if name not in self._held or self._held[name].nbytes < size:
            self._held.pop(name, None)
            self._held[name] = aligned_empty(size, np.uint8)
        return self._held[name][:size].view(dtype).reshape(shape)


def aligned_empty(shape: int | tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """`numpy.empty` whose first value begins a cache line, so that no vector of a row lies across two."""
    dtype = np.dtype(dtype)
    size = math.prod(np.atleast_1d(shape)) * dtype.itemsize
    raw = np.empty(size + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + size].view(dtype).reshape(shape)

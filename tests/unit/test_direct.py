"""Writing past the system's cache: the same bytes in the file, or the other way of writing is taken."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from calibkit.io import direct
from calibkit.io.direct import BLOCK, LEAST_BYTES, DirectWriter, placed_like

SIZE = LEAST_BYTES + 5 * BLOCK


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of zeros, on a disk that is fast and takes whole blocks like any other bytes."""
    monkeypatch.setattr(os, "O_DIRECT", 0, raising=False)
    monkeypatch.setattr(direct, "FAST", 0.0)
    path = tmp_path / "file"
    path.write_bytes(bytes(3 * SIZE))
    return path


def some_bytes(offset: int, size: int = SIZE) -> np.ndarray:
    """Bytes, none of them zero, in memory that lies as *offset* does in the file."""
    values = placed_like(np.empty(size + BLOCK, np.uint8), offset, size)
    values[:] = np.random.default_rng(offset).integers(1, 256, size)
    return values


def check_written(path: Path, values: np.ndarray, offset: int, done: slice) -> None:
    """Of *values* just the part *done* is in the file, and all else is as it was."""
    expected = np.zeros(3 * SIZE, np.uint8)
    expected[offset + done.start : offset + done.stop] = values[done]
    np.testing.assert_array_equal(np.fromfile(path, np.uint8), expected)


@pytest.mark.parametrize("offset", [0, 1, 2880, BLOCK - 1, BLOCK, BLOCK + 100])
@pytest.mark.parametrize("more", [0, 1, BLOCK - 1])
def test_all_whole_blocks_are_written(path: Path, offset: int, more: int) -> None:
    values = some_bytes(offset, SIZE + more)
    writer = DirectWriter(path)
    done = writer.write(offset, memoryview(values))
    writer.close()
    check_written(path, values, offset, done)
    first, end = -(-offset // BLOCK) * BLOCK, (offset + values.size) // BLOCK * BLOCK
    assert (offset + done.start, offset + done.stop) == (first, end)


def test_memory_that_lies_otherwise_is_left_to_the_other_way(path: Path) -> None:
    values = some_bytes(0)
    assert DirectWriter(path).write(100, memoryview(values)) == slice(0, 0)
    check_written(path, values, 100, slice(0, 0))


def test_few_bytes_are_left_to_the_other_way(path: Path) -> None:
    writer = DirectWriter(path)
    assert writer.write(0, memoryview(some_bytes(0, LEAST_BYTES - 1))) == slice(0, 0)
    assert writer.write(1, memoryview(some_bytes(1, LEAST_BYTES + 1))) == slice(0, 0)
    assert writer.write(0, memoryview(some_bytes(0, LEAST_BYTES))) == slice(0, LEAST_BYTES)


@pytest.mark.parametrize("amount", [BLOCK, 3 * BLOCK + 17])
def test_a_disk_may_take_less_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch, amount: int) -> None:
    """What is not a whole block of it is written again."""
    values, write = some_bytes(0), os.pwrite
    monkeypatch.setattr(
        os, "pwrite", lambda handle, data, offset: write(handle, memoryview(data)[:amount], offset)
    )
    done = DirectWriter(path).write(0, memoryview(values))
    assert done == slice(0, SIZE)
    check_written(path, values, 0, done)


def test_a_disk_of_larger_blocks_is_left_to_the_other_way(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so at once, or in the midst of it; what is written by then stays."""
    values, write, calls = some_bytes(0), os.pwrite, itertools.count()

    def refuse(handle: int, data: memoryview, offset: int) -> int:
        if next(calls) == 2:
            raise OSError(errno.EINVAL, "blocks are larger")
        return write(handle, memoryview(data)[:BLOCK], offset)

    monkeypatch.setattr(os, "pwrite", refuse)
    writer = DirectWriter(path)
    done = writer.write(0, memoryview(values))
    assert done == slice(0, 2 * BLOCK)
    check_written(path, values, 0, done)
    assert writer.write(0, memoryview(values)) == slice(0, 0)
    assert next(calls) == 3


def test_a_full_disk_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(OSError, match="no space left"):
        DirectWriter(path).write(0, memoryview(some_bytes(0)))


def test_a_slow_disk_is_written_to_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0.0, 1.0)
    monkeypatch.setattr(direct.time, "monotonic", lambda: next(clock))
    for fast, again in ((SIZE / 1.01, True), (SIZE * 1.01, False)):
        monkeypatch.setattr(direct, "FAST", fast)
        writer, values = DirectWriter(path), some_bytes(0)
        assert writer.write(0, memoryview(values)) == slice(0, SIZE)
        assert writer.write(0, memoryview(values)) == (slice(0, SIZE) if again else slice(0, 0))


@pytest.mark.parametrize("known", [True, False])
def test_a_system_that_cannot_leaves_it_to_the_other_way(
    path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    if known:
        writer = DirectWriter(path.with_name("nothing here"))
    else:
        monkeypatch.delattr(os, "O_DIRECT")
        writer = DirectWriter(path)
    assert writer.write(0, memoryview(some_bytes(0))) == slice(0, 0)
    writer.close()
    writer.close()


@pytest.mark.parametrize("offset", [0, 1, 2880, 10 * BLOCK + 7])
def test_memory_placed_as_in_the_file(offset: int) -> None:
    memory = np.zeros(1000 + BLOCK, np.uint8)
    values = placed_like(memory, offset, 1000)
    assert values.size == 1000
    assert values.base is memory
    assert (values.ctypes.data - offset) % BLOCK == 0

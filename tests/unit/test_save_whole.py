"""Results as files are there whole or not at all, whatever happens to the run."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit.errors import Cancelled, OutputError
from calibkit.io import atomic, direct


def make_result() -> xr.Dataset:
    one = np.ones((37, 30), "f4")
    variables = {
        "signal": (("y", "x"), one),
        "variance": (("y", "x"), one),
        "flags": (("y", "x"), one.astype("u2")),
    }
    return xr.Dataset(variables, attrs={"units": "adu", "kind": "light"})


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def leftovers(folder: Path) -> list[str]:
    return [name for name in files(folder) if name.endswith(atomic.PART)]


def test_a_file_in_the_way_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "r.fits"
    path.write_text("mine")
    with pytest.raises(OutputError, match=r"exists already.*overwrite=True"):
        calibkit.save(make_result(), path)
    assert path.read_text() == "mine"
    calibkit.save(make_result(), path, overwrite=True)
    assert calibkit.open_result(path).attrs["kind"] == "light"
    with pytest.raises(OutputError, match="it is a folder"):
        calibkit.save(make_result(), tmp_path, overwrite=True)
    with pytest.raises(OutputError, match=r"folder .*nowhere does not exist"):
        calibkit.save(make_result(), tmp_path / "nowhere" / "r.fits")
    with pytest.raises(OutputError, match=r"written uncompressed; use the name r\.fits"):
        calibkit.save(make_result(), tmp_path / "r.fits.gz")
    assert not leftovers(tmp_path)


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "r.fits"
    with pytest.raises(OutputError, match="exists already"):
        calibkit.save(make_result(), path, progress=lambda *_: path.write_text("other"))
    assert path.read_text() == "other"
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("overwrite", [False, True])
def test_work_that_fails_leaves_nothing(tmp_path: Path, overwrite: bool) -> None:
    path = tmp_path / "r.fits"
    if overwrite:
        path.write_text("old")

    def stop(done: int, total: int, what: str) -> None:
        assert leftovers(tmp_path), "the work goes into a hidden file"
        raise Cancelled(what)

    with pytest.raises(Cancelled):
        calibkit.save(make_result(), path, overwrite=overwrite, progress=stop)

    def broken(block: np.ndarray) -> np.ndarray:
        raise KeyboardInterrupt

    bad = make_result().chunk({"y": 10})
    bad["variance"] = bad["variance"].copy(
        data=bad["variance"].data.map_blocks(broken, meta=np.empty((0, 0), "f4"))
    )
    with pytest.raises(KeyboardInterrupt):
        calibkit.save(bad, path, overwrite=overwrite)
    assert files(tmp_path) == (["r.fits"] if overwrite else [])
    assert not overwrite or path.read_text() == "old"


def test_a_killed_run_leaves_no_half_file_and_the_next_tidies_up(tmp_path: Path) -> None:
    code = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_save_whole import make_result
import calibkit
def wait(*_):
    print("writing", flush=True)
    time.sleep(60)
calibkit.save(make_result(), {str(tmp_path / "r.fits")!r}, progress=wait)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        part = leftovers(tmp_path)
        assert len(part) == 1
        calibkit.save(make_result(), tmp_path / "other.fits")
        assert leftovers(tmp_path) == part, "the hidden file of a run that is at work is left alone"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert leftovers(tmp_path) == part
    assert not (tmp_path / "r.fits").exists()
    calibkit.save(make_result(), tmp_path / "r.fits")
    assert not leftovers(tmp_path)
    assert calibkit.open_result(tmp_path / "r.fits").sizes == {"y": 37, "x": 30}


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs POSIX")
def test_a_full_disk_is_said_before_the_work(tmp_path: Path) -> None:
    """A limit on the size of files is refused by the system as a full disk is, without needing one."""
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_save_whole import make_result
import calibkit
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def never(*_):
    print("computed")
try:
    calibkit.save(make_result(), {str(tmp_path / "r.fits")!r}, progress=never)
except calibkit.OutputError as error:
    print(error)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.startswith(f"cannot write {tmp_path / 'r.fits'}: the disk is full (")
    assert not files(tmp_path)


@pytest.mark.parametrize(
    ("number", "text"),
    [("ENOSPC", "the disk is full"), ("EDQUOT", "the disk is full"), ("EIO", "Input/output error")],
)
@pytest.mark.parametrize("where", ["write_at", "finish"])
def test_a_disk_that_fills_while_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str, text: str, where: str
) -> None:
    def fail(*_: object) -> None:
        code = getattr(errno, number)
        raise OSError(code, os.strerror(code))

    if where == "finish":
        monkeypatch.setattr(atomic.os, "fsync", fail)
    else:
        original = atomic.PartFile.write_at

        def write_at(self: atomic.PartFile, offset: int, data: memoryview) -> None:
            if offset > 10000:
                try:
                    fail()
                except OSError as error:
                    raise self._failed(error) from error
            original(self, offset, data)

        monkeypatch.setattr(atomic.PartFile, "write_at", write_at)
    with pytest.raises(OutputError, match=f"cannot write .*r.fits: {text}"):
        calibkit.save(make_result(), tmp_path / "r.fits")
    assert not files(tmp_path)


def test_no_permission_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(OutputError, match="no permission to write into"):
            calibkit.save(make_result(), tmp_path / "r.fits")


def test_bytes_past_the_cache_are_those_that_go_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images at odd places, in several planes and types, of which only the whole blocks go past it."""
    monkeypatch.setattr(direct, "LEAST_BYTES", 2 * direct.BLOCK)
    monkeypatch.setattr(direct, "FAST", 0.0)
    rng = np.random.default_rng(1)
    shape = (3, 131, 217)
    kinds = {"signal": "f4", "variance": "f4", "flags": "u2", "small": "u1", "wide": "f8"}
    result = xr.Dataset(
        {
            name: (("channel", "y", "x"), rng.integers(0, 200, shape).astype(kind))
            for name, kind in kinds.items()
        },
        attrs={"units": "adu", "kind": "light"},
    )
    sizes: list[int] = []
    write = direct.DirectWriter.write

    def noting(self: direct.DirectWriter, offset: int, data: memoryview) -> slice:
        done = write(self, offset, data)
        sizes.append(done.stop - done.start)
        assert (offset + done.start) % direct.BLOCK == 0 or not sizes[-1]
        return done

    monkeypatch.setattr(direct.DirectWriter, "write", noting)
    paths = [calibkit.save(result, tmp_path / f"{cached}.fits", cached=cached) for cached in (True, False)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    handle = direct.DirectWriter(paths[0])
    if handle._handle is not None:  # the file system can
        handle.close()
        assert len([size for size in sizes if size]) == 3 * len(kinds)
    lazy = result.chunk(y=40)
    assert calibkit.save(lazy, tmp_path / "lazy.fits", cached=False).read_bytes() == paths[0].read_bytes()
    assert not leftovers(tmp_path)


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="no such way of writing here")
@pytest.mark.parametrize("trouble", ["slow", "blocks", "short"])
def test_what_does_not_go_past_the_cache_goes_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    path = tmp_path / "file"
    data = np.random.default_rng(2).integers(0, 256, 10 * direct.BLOCK).astype(np.uint8)
    memory = direct.placed_like(np.empty(data.size + direct.BLOCK, np.uint8), 100, data.size)
    memory[:] = data
    monkeypatch.setattr(direct, "LEAST_BYTES", 1)
    monkeypatch.setattr(direct, "FAST", 1e30 if trouble == "slow" else 0.0)
    put, tried = os.pwrite, []

    def pwrite(handle: int, part: memoryview, offset: int) -> int:
        if handle == part_handle:
            tried.append(offset)
            if trouble == "blocks":
                raise OSError(errno.EINVAL, "blocks of 64 kB")
            if trouble == "short":
                part = part[: direct.BLOCK]
        return put(handle, part, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with atomic.part_file(path, overwrite=False) as part:
        part.pass_cache()
        part_handle = part._direct._handle
        part.write_at(100, memory)
        part.write_at(100 + data.size, memory[:7])
        part.write_at(0, bytes(range(100)))
        if part_handle is not None:
            assert len(tried) == (9 if trouble == "short" else 1)
            part.write_at(100, memory)
            assert len(tried) == (18 if trouble == "short" else 1), (
                "it is not tried again where it does no good"
            )
        part.finish(overwrite=False)
    assert path.read_bytes() == bytes(range(100)) + data.tobytes() + data[:7].tobytes()


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="no such way of writing here")
def test_a_disk_that_fills_past_the_cache_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "LEAST_BYTES", 1)

    def full(*_: object) -> slice:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(direct.DirectWriter, "write", full)
    with pytest.raises(OutputError, match="the disk is full"):
        calibkit.save(make_result(), tmp_path / "r.fits", cached=False)
    assert files(tmp_path) == []

"""The output folder of a run: where things go, what is finished already, and one run at a time in it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from calibkit import __version__
from calibkit.errors import FrameFileError, OutputError, SettingError
from calibkit.io.atomic import flush_file, part_file
from calibkit.io.json_file import read_json
from calibkit.session import Frame
from calibkit.session.facts import RECORDS

MASTERS, LIGHTS, STACKS, HIDDEN = "masters", "lights", "stacks", RECORDS
#: Calibrated lights that are not to be kept, until their stack is made.
PASSING = f"{HIDDEN}/passing"
REPORT = "report.html"
_PACKING = (".gz", ".fz")


class Store:
    """The folder that results are written to.

    Everything in it is written under another name first and renamed when it is whole. Beside each result a
    small record keeps what it was made from, as a digest, so that a later run knows what is finished.

    Parameters
    ----------
    out : Path
        Made if it is not there.
    inputs : sequence of Path
        The frames, none of which may ever be written over.
    overwrite : bool
        Do everything again, and replace files that a run has not made.

    Raises
    ------
    SettingError
        *out* is the folder that the frames are in.
    OutputError
        It cannot be made or written.
    """

    def __init__(self, out: Path, *, inputs: Sequence[Path], overwrite: bool = False) -> None:
        self.out = out
        self.overwrite = overwrite
        self._written: set[Path] = set()
        self._pool: ThreadPoolExecutor | None = None
        self._flushing: list[Future[None]] = []
        self._inputs = {os.path.realpath(path) for path in inputs}
        try:
            (out / HIDDEN).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(out, error) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Refuse to work where another run works; the lock ends with the process, however it ends."""
        path = self.out / HIDDEN / "lock"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise unwritable(path, error) from error
        try:
            if not _lock(handle):
                msg = f"{self.out}: another run of calibkit is writing there: wait for it, or give another folder"
                raise OutputError(msg)
            with ThreadPoolExecutor(1, thread_name_prefix="calibkit-flush") as self._pool:
                yield
            for done in self._flushing:
                done.result()
        finally:
            self._pool, self._flushing = None, []
            os.close(handle)

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which brings its files to the disk itself."""
        return self.__dict__ | {"_pool": None, "_flushing": []}

    def place(self, folder: str, name: str, ending: str = ".fits") -> Path:
        """Path of the result *name* (with ``/``, no ending) in *folder*, its own folder made."""
        path = self.out / folder / f"{name}{ending}"
        if os.path.realpath(path) in self._inputs:
            msg = f"{path} is one of the frames: a result would replace it. Give another output folder"
            raise SettingError(msg)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(path.parent, error) from error
        return path

    def finished(self, path: Path, key: str, *, passing: bool = False) -> dict[str, Any] | None:
        """The record of *path* when it is there, whole, and made from just this; else None.

        With *passing* the file may be gone again, as it is when what was to be made of it is finished.
        """
        if self.overwrite and path not in self._written:
            return None
        record = read_record(self._record(path), key, "stamp")
        if record is None:
            return None
        if record.get("boot", boot_id()) != boot_id():
            if not passing:
                return None
            self.discard(path)  # its bytes may not have come to the disk; it is made again if it is needed
        try:
            stat = path.stat()
        except OSError:
            if not passing:
                return None
        else:
            if [stat.st_size, stat.st_mtime_ns] != record["stamp"]:
                return None
        return record["row"]

    def refuse_foreign(self, path: Path) -> None:
        """Raise OutputError when *path* is a file that calibkit did not write."""
        if self.overwrite or not path.exists() or self._record(path).exists():
            return
        from calibkit.io import read_info
        from calibkit.session.facts import written_by_calibkit

        try:
            if written_by_calibkit(read_info(path).header):
                return
        except FrameFileError:
            pass  # whatever it is, it is not a result of calibkit
        msg = f"{path} is in the way and was not written by calibkit: move it, or allow it to be overwritten"
        raise OutputError(msg)

    def clear(self, folder: str) -> None:
        """Remove the results that were only passing; their records stay."""
        shutil.rmtree(self.out / folder, ignore_errors=True)

    def forget(self, path: Path) -> None:
        """Before *path* is written again: its record goes first, so that a stop in between leaves no false one."""
        _remove(self._record(path))

    @property
    def defers(self) -> bool:
        """Whether results may be written first and brought to the disk later, see `remember`."""
        return bool(boot_id())

    def remember(self, path: Path, key: str, row: Mapping[str, Any], *, flushed: bool = True) -> None:
        """After *path* is written: keep what it was made from.

        A file that is not *flushed* is lost if the power fails: its record holds until the system is started again.
        """
        try:
            stat = path.stat()
        except OSError as error:
            raise unwritable(path, error) from error
        more = {} if flushed else {"boot": boot_id()}
        self._note(path, {"key": key, "stamp": [stat.st_size, stat.st_mtime_ns], "row": dict(row)} | more)

    def remember_seen(self, path: Path, key: str, row: Mapping[str, Any]) -> None:
        """Keep what was found out about a result of which no file is made: `finished` tells it as one that was passing."""
        self.discard(path)
        self._note(path, {"key": key, "stamp": None, "row": dict(row)})

    def _note(self, path: Path, record: dict[str, Any]) -> None:
        target = self._record(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(target, error) from error
        write_record(target, record)
        self._written.add(path)

    def remember_later(self, path: Path, key: str, row: Mapping[str, Any]) -> None:
        """`remember` a file that is not on the disk yet, and have it brought there while other work goes on."""
        self.remember(path, key, row, flushed=False)

        def settle() -> None:
            try:
                flush_file(path)
            except OutputError:
                self.forget(path)
                raise
            self.remember(path, key, row)

        self._flushing.append(self._pool.submit(settle)) if self._pool is not None else settle()

    def discard(self, path: Path) -> None:
        """Remove a result that was only passing, or that must not be trusted."""
        _remove(path)

    def _record(self, path: Path) -> Path:
        relative = path.relative_to(self.out)
        if relative.parts[0] == HIDDEN:
            relative = Path("records", *relative.parts[1:])  # beside what is cleared, not in it
        return self.out / HIDDEN / relative.with_name(f"{relative.name}.json")


@cache
def boot_id() -> str:
    """What tells this start of the system from others; "" where nothing does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def key_of(**facts: Any) -> str:
    """A digest of everything that decides what a result will be, and of calibkit's version."""
    text = json.dumps({"calibkit": __version__, **facts}, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def light_names(frames: Sequence[Frame]) -> dict[Path, str]:
    """Path of each light → name of its result below the folder of lights, no two alike.

    Examples
    --------
    ``night1/M42_001.fit.gz`` becomes ``night1/M42_001``; where two would be alike the endings stay.
    """
    short = {frame.path: _short_name(frame.relative) for frame in frames}
    counts = Counter(name.casefold() for name in short.values())
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for frame in frames:
        name = short[frame.path] if counts[short[frame.path].casefold()] == 1 else frame.relative
        while name.casefold() in taken:
            name += "_"
        taken.add(name.casefold())
        names[frame.path] = name
    return names


def _short_name(relative: str) -> str:
    path = PurePosixPath(relative)
    if path.suffix.lower() in _PACKING:
        path = path.with_suffix("")
    path = path.with_suffix("")
    if len(path.parts) > 1 and path.parts[0].casefold() in ("light", "lights"):
        path = path.relative_to(path.parts[0])  # the folder of the results is called so already
    return str(path)


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record with a digest of itself, so that `read_record` knows it again.

    Nobody waits until it is on the disk: if the power fails before, it is missing or torn, and `read_record` tells nothing.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    plain = json.loads(json.dumps(record))
    text = json.dumps(plain | {"digest": key_of(record=plain)}, ensure_ascii=False)
    write_whole(path, text.encode("utf-8", "surrogatepass"), flush=False)


def read_record(path: Path, key: str, *names: str) -> dict[str, Any] | None:
    """What `write_record` wrote of a result with that *key*; None when there is nothing, or anything else than that.

    Something or somebody may have changed it, or put it there; *names* are what it must tell besides its row.
    """
    try:
        record = read_json(path, "record of a result")
    except FrameFileError:
        return None
    digest = record.pop("digest", None)
    whole = digest == key_of(record=record) and {"key", "row", *names} <= set(record)
    return record if whole and record["key"] == key else None


def write_whole(path: Path, data: bytes, *, flush: bool = True) -> None:
    """Write *data* so that *path* is there either whole or not at all; without *flush* unless the power fails.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    with part_file(path, overwrite=True) as part:
        part.write_at(0, data)
        part.finish(overwrite=True, flush=flush)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> OutputError:
    """The error for a place that cannot be written, with the reason."""
    if error.errno == errno.ENOSPC:
        return OutputError(
            f"{path}: the disk is full; free some space and run it again, finished results are kept"
        )
    return OutputError(f"{path}: cannot be written ({error.strerror or error})")


def _lock(handle: int) -> bool:
    """Take the lock of an open file; True too where the file system knows no locks."""
    if os.name == "nt":
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True

"""A file that is there whole or not at all.

The bytes go into a hidden file in the same folder, which takes the final name only when everything is on the
disk. A run that is killed leaves only the hidden file, which the next run into the folder removes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from calibkit.errors import OutputError
from calibkit.io.direct import DirectWriter

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed in any case
    fcntl = None  # type: ignore[assignment]

#: What the hidden files end with.
PART = ".calibkit-part"
#: Of ``sync_file_range(2)``: begin to write, and do not wait for it.
_SYNC_FILE_RANGE_WRITE = 2
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class PartFile:
    """The open hidden file; `write_at` puts bytes at their place, from any thread."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path, self._target = path, target
        self._file = path.open("x+b", buffering=0)
        self._direct: DirectWriter | None = None
        self._lock = threading.Lock()
        if fcntl is not None:
            with contextlib.suppress(
                OSError
            ):  # a file system without locks: then nobody looks for one either
                fcntl.flock(self._file.fileno(), fcntl.LOCK_EX)

    @property
    def there(self) -> bool:
        """Whether the file still has its name: another run may have taken it for a stale one before the lock."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False

    def reserve(self, size: int) -> None:
        """Claim *size* bytes of the disk now, so that a full disk shows before the work and not after it."""
        if not hasattr(os, "posix_fallocate") or not size:
            return
        try:
            os.posix_fallocate(self._file.fileno(), 0, size)
        except OSError as error:
            if error.errno in _FULL:
                raise self._failed(error) from error

    def pass_cache(self) -> None:
        """Have `write_at` go past the system's cache where that is quicker: nobody reads the file soon, or all of it."""
        self._direct = DirectWriter(self.path)

    def write_at(self, offset: int, data: memoryview | bytes) -> None:
        """Write all of *data* at *offset*."""
        data = memoryview(data).cast("B")
        try:
            done = slice(0, 0) if self._direct is None else self._direct.write(offset, data)
            self._put_all(offset, data[: done.start])
            self._put_all(offset + done.stop, data[done.stop :])
        except OSError as error:
            raise self._failed(error) from error

    def _put_all(self, offset: int, data: memoryview) -> None:
        while data:
            count = self._put(offset, data)
            offset, data = offset + count, data[count:]

    def _put(self, offset: int, data: memoryview) -> int:
        """Write what can be written at once; threads may write at different places at the same time."""
        if hasattr(os, "pwrite"):
            return os.pwrite(self._file.fileno(), data, offset)
        with self._lock:  # Windows
            self._file.seek(offset)
            return self._file.write(data)

    def begin_flush(self, offset: int, size: int) -> None:
        """Have the system begin to bring these bytes to the disk, so that little is left to wait for at the end."""
        _begin_flush(self._file.fileno(), offset, size)

    def finish(self, *, overwrite: bool, flush: bool = True) -> None:
        """Bring everything to the disk (with *flush*) and give the file its name."""
        try:
            if flush:
                os.fsync(self._file.fileno())
            if fcntl is None:
                self._file.close()  # elsewhere it stays open, because the lock keeps other runs from tidying it up
            if overwrite:
                self.path.replace(self._target)
            else:
                _name_once(self.path, self._target)
            if flush:
                _sync_folder(self._target.parent)
        except FileExistsError as error:
            raise OutputError(exists(self._target)) from error
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close and remove the hidden file, when it is still there."""
        self._file.close()
        if self._direct is not None:
            self._direct.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(_message(self._target, error))


@contextlib.contextmanager
def part_file(target: Path, *, overwrite: bool) -> Iterator[PartFile]:
    """Open the hidden file for *target*; it is removed however the work ends.

    Raises
    ------
    OutputError
        *target* exists and *overwrite* is not set, or its folder cannot be written to.
    """
    if target.is_dir():
        msg = f"cannot write {target}: it is a folder; give the name of a file"
        raise OutputError(msg)
    if target.exists() and not overwrite:
        raise OutputError(exists(target))
    try:
        remove_stale(target.parent)
        part = _open_part(target)
    except OSError as error:
        raise OutputError(_message(target, error)) from error
    try:
        yield part
    finally:
        part.close()


def flush_file(path: Path) -> None:
    """Bring a file that was written without that, and its name, to the disk.

    Raises
    ------
    OutputError
        The disk does not take it.
    """
    try:
        handle = os.open(path, os.O_RDONLY if fcntl is not None else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise OutputError(_message(path, error)) from error
    _sync_folder(path.parent)


def _begin_flush(handle: int, offset: int, size: int) -> None:
    """sync_file_range(2) of Linux; elsewhere nothing."""
    if sys.platform != "linux" or (function := _sync_file_range()) is None:
        return
    function(handle, offset, size, _SYNC_FILE_RANGE_WRITE)


@cache
def _sync_file_range() -> Callable[..., int] | None:
    import ctypes

    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint
    return function


def _open_part(target: Path) -> PartFile:
    while True:
        part = PartFile(target.parent / f".{target.name[:40]}.{secrets.token_hex(4)}{PART}", target)
        if part.there:
            return part
        part.close()


def remove_stale(folder: Path) -> None:
    """Remove hidden files that no running process holds."""
    for path in folder.glob(f".*{PART}"):
        with contextlib.suppress(OSError):  # another process writes it, or was quicker
            if fcntl is not None:
                with path.open("r+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
            else:
                path.unlink()


def exists(target: Path) -> str:
    """What to say of a file in the way."""
    return f"{target} exists already, and overwrite=False; choose another name or pass overwrite=True"


def _name_once(part: Path, target: Path) -> None:
    """Give *part* the name *target* unless that is taken, at once where the file system can."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:  # no hard links here (FAT, some network disks)
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        part.replace(target)


def _sync_folder(folder: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):
        with contextlib.suppress(OSError):  # not every file system can, and not every folder may be read
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _message(target: Path, error: OSError) -> str:
    if error.errno in _FULL:
        return (
            f"cannot write {target}: the disk is full ({error.strerror}). Nothing was left behind; "
            "free some space or choose another folder, and run again"
        )
    if isinstance(error, FileNotFoundError):
        return f"cannot write {target}: the folder {target.parent} does not exist; make it first"
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return f"cannot write {target}: no permission to write into {target.parent}; choose another folder"
    return f"cannot write {target}: {error.strerror or error}"

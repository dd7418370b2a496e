"""Decoded frames on disk, so that they can be read by rows without being kept in memory.

Camera RAW and pictures can only be decoded whole. Each is decoded once into an uncompressed file in a
temporary folder; the file goes when nothing uses it any more, and the folder when the process ends.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from calibkit.errors import FrameFileError, OutputError
from calibkit.io.source import FrameInfo, check_rows, fill

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PREFIX = "calibkit-frames-"
_LOCK = "lock"
_lock = threading.Lock()
_files: weakref.WeakValueDictionary[Hashable, SpoolFile] = weakref.WeakValueDictionary()
_folders: dict[int, Path] = {}  # by process, so that a fork makes its own
_keepers: list[set[SpoolFile]] = []  # what holds decoded frames, the latest last
_clock = itertools.count()


class SpoolFile:
    """A file that is made when it is first opened, and again when it had to make room in between."""

    def __init__(self) -> None:
        try:
            handle, name = tempfile.mkstemp(dir=_folder(), suffix=".raw")
        except OSError as error:
            msg = f"no temporary file can be made ({error}): set TMPDIR to a folder that can be written"
            raise OutputError(msg) from error
        os.close(handle)
        self.path = Path(name)
        self.size = 0  # bytes on disk, 0 while there is nothing in it
        self.info: FrameInfo | None = None  # what was known after decoding
        self.used = 0
        self._lock = threading.Lock()
        weakref.finalize(self, _remove, self.path)

    def open(self, size: int, write: Callable[[Path], FrameInfo]) -> BinaryIO:
        """Open for reading; *write* fills the file with *size* bytes if that has not been done."""
        with self._lock:
            if not self.size:
                _make_room(size, self.path)
                try:
                    self.info = write(self.path)
                except OSError as error:
                    _empty(self.path)
                    msg = f"the temporary folder {self.path.parent} cannot be written ({error.strerror or error})"
                    raise OutputError(msg) from error
                except BaseException:
                    _empty(self.path)
                    raise
                self.size = size
                _keep(self)
            self.used = next(_clock)
            return self.path.open("rb", buffering=0)

    def give_up(self) -> int:
        """Empty the file unless it is being used; returns the bytes that were freed."""
        if not self._lock.acquire(blocking=False):
            return 0
        try:
            freed, self.size = self.size, 0
            replacement = self.path.with_suffix(".empty")
            replacement.write_bytes(b"")
            replacement.replace(self.path)  # readers that have it open keep what they opened
        except OSError:
            self.size = freed  # some systems do not replace what is open
            return 0
        else:
            return freed
        finally:
            self._lock.release()


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """While this lasts decoded frames stay, so that each is decoded once however many steps open it.

    A quarter of the free disk is taken for it at most; frames beyond that go as soon as nothing uses them.
    """
    own: set[SpoolFile] = set()
    with _lock:
        _keepers.append(own)
    try:
        yield
    finally:
        with _lock:
            _keepers[:] = [keeper for keeper in _keepers if keeper is not own]


def _keep(file: SpoolFile) -> None:
    with _lock:
        if _keepers and file not in _keepers[-1]:
            held = sum(other.size for other in _keepers[-1])
            if held + file.size <= shutil.disk_usage(file.path.parent).free // 4:
                _keepers[-1].add(file)


def spool_file(key: Hashable) -> SpoolFile:
    """The spool file for what *key* names; the same one as long as anybody holds it."""
    with _lock:
        found = _files.get((os.getpid(), key))
        if found is None:
            found = _files[os.getpid(), key] = SpoolFile()
        return found


def _folder() -> Path:
    pid = os.getpid()
    if pid not in _folders:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_parent()))
        _claim(folder)
        _sweep(folder.parent)
        _folders[pid] = folder
        atexit.register(_remove_folder, pid)
    return _folders[pid]


def _parent() -> str:
    """Where large temporary files belong: /tmp may be kept in memory, /var/tmp is not (file-hierarchy(7))."""
    chosen = any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return "/var/tmp" if not chosen and os.access("/var/tmp", os.W_OK) else tempfile.gettempdir()


def _remove_folder(pid: int) -> None:
    if os.getpid() == pid:  # not in a process that was forked from this one
        shutil.rmtree(_folders[pid], ignore_errors=True)


def _claim(folder: Path) -> None:
    """Hold a lock in *folder* until this process ends, however it ends."""
    if fcntl is None:
        return
    handle = os.open(folder / "claim", os.O_CREAT | os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    (folder / "claim").rename(folder / _LOCK)  # under this name it is locked from the beginning


def _sweep(parent: Path) -> None:
    """Remove the folders of processes that were killed: nobody holds their lock any more."""
    if fcntl is None:
        return
    for lock in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError):
            handle = os.open(lock, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
            finally:
                os.close(handle)


def _make_room(size: int, path: Path) -> None:
    """Give up the files that were unused longest until *size* bytes and a reserve fit on the disk."""
    reserve = 64 * 2**20
    with _lock:
        others = sorted((file for file in _files.values() if file.size), key=lambda file: file.used)
    for file in others:
        if shutil.disk_usage(path.parent).free >= size + reserve:
            return
        file.give_up()
    free = shutil.disk_usage(path.parent).free
    if free < size:
        msg = (
            f"the temporary folder {path.parent} has {free / 2**20:.0f} MB left, and decoding a frame needs "
            f"{size / 2**20:.0f} MB: make room there, or set TMPDIR to a folder on a larger disk"
        )
        raise OutputError(msg)


def _empty(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.write_bytes(b"")


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


class SpooledSource:
    """A frame that is decoded whole into a spool file; subclasses say how in `decode`."""

    def __init__(self, info: FrameInfo) -> None:
        self.info = info
        self._file = self._spool_file()

    def __getstate__(self) -> dict[str, object]:
        return {"info": self.info}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._file = self._spool_file()

    def _spool_file(self) -> SpoolFile:
        try:
            status = self.info.path.stat()
        except OSError as error:
            msg = f"{self.info.path}: cannot be read any more ({error.strerror or error})"
            raise FrameFileError(msg) from error
        return spool_file((str(self.info.path.absolute()), status.st_mtime_ns, status.st_size))

    def decode(self, target: Path) -> FrameInfo:
        """Write all rows of the full frame into *target*, in native byte order; returns what is known then."""
        raise NotImplementedError

    def complete_info(self) -> FrameInfo:
        """The info with what is only known after decoding, such as black and white level of camera RAW."""
        with self.open_spool():
            return self._file.info or self.info

    def open_spool(self) -> BinaryIO:
        """The decoded frame, open for reading."""
        rows, columns = self.info.full_shape
        return self._file.open(rows * columns * self.info.dtype.itemsize, self.decode)

    def read(self, y0: int, y1: int, *, area: str = "active") -> np.ndarray:
        """Rows ``y0:y1`` of the active area (or of the ``"full"`` frame), native byte order."""
        rows, columns = self.info.full_shape
        top, bottom, left, right = self.info.active if area == "active" else (0, rows, 0, columns)
        check_rows(y0, y1, bottom - top)
        values = np.empty((y1 - y0, columns), self.info.dtype)
        with self.open_spool() as file:
            file.seek((top + y0) * columns * values.itemsize)
            if fill(file, values) < values.nbytes:
                msg = f"{self.info.path}: its decoded copy {self._file.path} was cut off by another program; open it again"
                raise OutputError(msg)
        return values if right - left == columns else np.ascontiguousarray(values[:, left:right])

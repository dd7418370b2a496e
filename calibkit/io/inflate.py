"""Gzipped files read from front to back, without a file held open between reads.

Only zlib's state (some 50 kB) stays, for as many files as memory allows; a file whose state was dropped is
read again from its beginning.
"""

from __future__ import annotations

import threading
import weakref
import zlib
from collections import OrderedDict
from pathlib import Path

from calibkit.errors import FrameFileError
from calibkit.memory import memory_limit

_STATE_BYTES = 64 * 1024
_CHUNK = 128 * 1024


class InflateStream:
    """Sequential reader of one gzip file; members that follow each other are joined, checksums are checked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0  # in the uncompressed data
        self._offset = 0  # in the file
        self._pending = b""  # read from the file, not yet inflated
        self._inflater = zlib.decompressobj(31)
        self._started = False  # whether the present member has begun
        self._ended = False

    def read(self, size: int) -> bytearray:
        """Up to *size* bytes; fewer only at the end of the file."""
        buffer = bytearray(size)
        return buffer[: self.readinto(memoryview(buffer))]

    def skip(self, size: int) -> int:
        """Pass over *size* bytes; returns how many there were."""
        done = 0
        scratch = memoryview(bytearray(min(size, 1 << 20)))
        while done < size:
            count = self.readinto(scratch[: min(len(scratch), size - done)])
            if not count:
                break
            done += count
        return done

    def readinto(self, out: memoryview) -> int:
        """Fill *out*; returns how many bytes there were."""
        filled = 0
        if self._ended or not len(out):
            return 0
        with self.path.open("rb") as file:
            file.seek(self._offset)
            while filled < len(out) and not self._ended:
                if not self._pending:
                    self._pending = file.read(_CHUNK)
                    self._offset = file.tell()
                    if not self._pending:
                        self._finish()
                        break
                data = self._inflate(len(out) - filled)
                out[filled : filled + len(data)] = data
                filled += len(data)
        self.position += filled
        return filled

    def _inflate(self, size: int) -> bytes:
        if self._inflater.eof:
            # zeros or another magic after a member are padding, as gzip itself has it
            if not self._pending.lstrip(b"\0").startswith(b"\x1f"):
                self._ended = True
                return b""
            self._pending = self._pending.lstrip(b"\0")
            self._inflater = zlib.decompressobj(31)
            self._started = False
        try:
            data = self._inflater.decompress(self._pending, size)
        except zlib.error as error:
            msg = f"{self.path}: the gzip data are damaged after {self.position} bytes ({error})"
            raise FrameFileError(msg) from error
        self._started = True
        self._pending = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
        return data

    def _finish(self) -> None:
        self._ended = True
        if self._started and not self._inflater.eof:
            msg = (
                f"{self.path}: the gzip file is cut off: it ends in the middle of its data. "
                "Copy it again from where it came from."
            )
            raise FrameFileError(msg)


class StreamPool:
    """Keeps one stream per owner between its reads, and drops the longest unused when there are too many."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a collection may end an owner while this thread holds it
        self._streams: OrderedDict[int, InflateStream] = OrderedDict()
        self._owners: set[int] = set()
        self.limit = max(64, memory_limit() // 16 // _STATE_BYTES)

    def take(self, owner: object) -> InflateStream | None:
        """The owner's stream, which is its alone until it is put back."""
        with self._lock:
            return self._streams.pop(id(owner), None)

    def put(self, owner: object, stream: InflateStream) -> None:
        """Keep *stream* for *owner*."""
        key = id(owner)
        with self._lock:
            new = key not in self._owners
            self._owners.add(key)
            self._streams[key] = stream
            while len(self._streams) > self.limit:
                self._streams.popitem(last=False)
        if new:
            weakref.finalize(owner, self._drop, key).atexit = False

    def _drop(self, key: int) -> None:
        with self._lock:
            self._owners.discard(key)
            self._streams.pop(key, None)

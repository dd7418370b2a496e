"""Writing past the system's cache: a fast disk takes the bytes sooner than the system finds memory for them.

``O_DIRECT`` of open(2), which Linux has: the place in the file, the place in memory and the size are whole blocks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path

import numpy as np

#: Bytes of a block: a page, which is a sector of a disk or several.
BLOCK = 4096
#: With fewer bytes at a time nothing is gained.
LEAST_BYTES = 2**20
#: A disk that takes fewer bytes a second is better served by the cache, which has them brought there meanwhile.
FAST = 150e6


class DirectWriter:
    """Writes to a file that may be written otherwise, too, from any thread and as long as the disk proves to be fast.

    Parameters
    ----------
    path : Path
        The file. Where it cannot be written so everything is left to the other way.
    """

    def __init__(self, path: Path) -> None:
        self._handle: int | None = None
        self._useful = False
        if hasattr(os, "O_DIRECT"):
            with contextlib.suppress(OSError):  # some file systems cannot
                self._handle = os.open(path, os.O_WRONLY | os.O_DIRECT)
                self._useful = True

    def write(self, offset: int, data: memoryview) -> slice:
        """Write the whole blocks of *data*, bytes for the place *offset*; returns what of them was written.

        Raises
        ------
        OSError
            The disk is full, or fails.
        """
        first = -offset % BLOCK
        size = (len(data) - first) // BLOCK * BLOCK
        if not self._useful or self._handle is None or size < LEAST_BYTES or _address(data, first) % BLOCK:
            return slice(0, 0)
        done, start = 0, time.monotonic()
        while done < size and self._useful:
            try:
                count = os.pwrite(self._handle, data[first + done : first + size], offset + first + done)
            except OSError as error:
                if error.errno != errno.EINVAL:  # as where blocks are larger
                    raise
                count = 0
            done += count // BLOCK * BLOCK
            self._useful = count > 0
        self._useful = self._useful and done >= FAST * (time.monotonic() - start)
        return slice(first, first + done)

    def close(self) -> None:
        """End it; the file stays open elsewhere."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _address(data: memoryview, first: int) -> int:
    """Where in memory the byte *first* of *data* lies."""
    return np.frombuffer(data, np.uint8).ctypes.data + first


def placed_like(memory: np.ndarray, offset: int, size: int) -> np.ndarray:
    """The *size* bytes of *memory*, which has a block more, that lie in their block as those at *offset* in a file do."""
    first = (offset - memory.ctypes.data) % BLOCK
    return memory[first : first + size]

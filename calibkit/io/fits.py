"""Rows of FITS frames: straight into numpy arrays from plain and gzipped files, through astropy from ``.fz``."""

from __future__ import annotations

import threading
from io import FileIO
from pathlib import Path

import numpy as np

from calibkit.errors import FrameFileError
from calibkit.io.damage import fits_damage
from calibkit.io.inflate import InflateStream, StreamPool
from calibkit.io.layout import cut_off, read_layout
from calibkit.io.source import FrameInfo, check_rows, fill
from calibkit.io.tiles import check_tiles, decompressing

_pool = StreamPool()


class FitsSource:
    """Rows of one FITS image, plain, gzipped or tile-compressed."""

    def __init__(self, path: Path, *, gzipped: bool) -> None:
        self._layout, self.info = read_layout(path, gzipped=gzipped)
        self._checked = self._layout.dtype.kind != "f"
        self._methods: frozenset[str] | None = None  # of compressing its tiles, once they are checked
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def read(self, y0: int, y1: int, *, area: str = "active") -> np.ndarray:
        """Rows ``y0:y1`` of the active area (or of the ``"full"`` frame), native byte order."""
        top, bottom, left, right = self.info.active
        if area == "full":
            top, bottom, left, right = 0, self._layout.shape[0], 0, self._layout.shape[1]
        check_rows(y0, y1, bottom - top)
        if not self._checked:
            self._check_finite()
        rows = self._rows(top + y0, top + y1)
        return rows if right - left == rows.shape[1] else np.ascontiguousarray(rows[:, left:right])

    def complete_info(self) -> FrameInfo:
        """The info; a FITS header leaves nothing open."""
        return self.info

    @property
    def random_access(self) -> bool:
        """Whether rows anywhere in the file cost the same to read."""
        return not (self._layout.gzipped or self._layout.tiled)

    @property
    def stored_flip(self) -> int | None:
        """What the byte-swapped numbers of the file are xor-ed with to be the frame's, None if that is not all."""
        layout = self._layout
        if not self.random_access or layout.bitpix not in (16, -32):
            return None
        if layout.bitpix == 16:
            return 0x8000 if layout.unsigned_offset else None
        return 0 if (layout.bzero, layout.bscale) == (0, 1) else None

    def read_stored(self, y0: int, y1: int, out: np.ndarray, *, area: str = "active") -> bool:
        """Read rows into *out* as the file stores them, big-endian; False where a row is not read whole.

        Only for files with a `stored_flip`; *out* is contiguous and of the frame's own type.
        """
        top, bottom, left, right = self.info.active
        if area == "active" and right - left != self._layout.shape[1]:
            return False
        top, bottom = (top, bottom) if area == "active" else (0, self._layout.shape[0])
        check_rows(y0, y1, bottom - top)
        if not self._checked:
            self._check_finite()
        self._fill_rows(top + y0, out)
        return True

    def _rows(self, y0: int, y1: int) -> np.ndarray:
        layout = self._layout
        if layout.tiled:
            return self._read_tiled(y0, y1)
        raw = np.empty((y1 - y0, layout.shape[1]), layout.stored)
        self._fill_rows(y0, raw)
        return layout.decode(raw)

    def _fill_rows(self, y0: int, raw: np.ndarray) -> None:
        layout = self._layout
        start = layout.offset + y0 * layout.shape[1] * layout.stored.itemsize
        try:
            count = self._read_gzip(start, raw) if layout.gzipped else self._read_plain(start, raw)
        except OSError as error:
            msg = f"{layout.path}: cannot be read any more ({error.strerror or error})"
            raise FrameFileError(msg) from error
        if count < raw.nbytes:
            raise FrameFileError(cut_off(layout, start + count))

    def _read_plain(self, start: int, out: np.ndarray) -> int:
        with FileIO(self._layout.path) as file:  # half the time of Path.open
            file.seek(start)
            return fill(file, out)

    def _read_gzip(self, start: int, out: np.ndarray) -> int:
        with self._lock:
            stream = _pool.take(self)
            if stream is None or stream.position > start:
                stream = InflateStream(self._layout.path)
            gap = start - stream.position
            if stream.skip(gap) < gap:
                return 0
            count = stream.readinto(memoryview(out.reshape(-1).view(np.uint8)))
            if start + count >= self._layout.offset + self._layout.size:
                stream.skip(2**62)  # to the end, where the checksum is
            else:
                _pool.put(self, stream)
        return count

    def _read_tiled(self, y0: int, y1: int) -> np.ndarray:
        from astropy.io import fits

        layout = self._layout
        with (
            fits_damage(layout.path, "the compressed image is damaged or cut off"),
            self._lock,
        ):
            if self._methods is None:
                self._methods = check_tiles(layout.path, layout.hdu)
            with (
                decompressing(self._methods),
                fits.open(layout.path, memmap=False, lazy_load_hdus=True) as hdus,
            ):
                rows = np.asarray(hdus[layout.hdu].section[y0:y1])
        if rows.shape != (y1 - y0, layout.shape[1]):
            found = " × ".join(map(str, rows.shape))
            msg = f"{layout.path}: the compressed image is damaged: {found} pixels instead of {y1 - y0} × {layout.shape[1]}"
            raise FrameFileError(msg)
        return rows.astype(layout.dtype, copy=False)

    def _check_finite(self) -> None:
        height = self._layout.shape[0]
        for y0 in range(0, height, 256):
            if np.isfinite(self._rows(y0, min(y0 + 256, height))).any():
                self._checked = True
                return
        msg = f"{self._layout.path}: no pixel holds a number (all are NaN or infinite)"
        raise FrameFileError(msg)

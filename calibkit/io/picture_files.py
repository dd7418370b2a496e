"""TIFF and PNG files written by bands of rows, grey or red, green and blue, with 8 or 16 bits.

Pillow writes no 16-bit colours, and wants the whole picture at once.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibkit.errors import SettingError
from calibkit.io.atomic import part_file

#: A TIFF file counts its bytes with 32 bits.
_MOST_BYTES = 2**32 - 2**16
_STRIP_BYTES = 2**18
_SHORT, _LONG, _ASCII = 3, 4, 2


@dataclass(frozen=True)
class PictureLayout:
    """Size of a picture, number of planes (1 or 3), bits of a value, and a text that goes with it."""

    height: int
    width: int
    planes: int
    bits: int
    text: str = ""

    @property
    def row_bytes(self) -> int:
        """Bytes in a row."""
        return self.width * self.planes * self.bits // 8


def write_tiff(path: Path, layout: PictureLayout, rows: Iterable[np.ndarray], overwrite: bool) -> None:
    """Write a plain TIFF 6.0 file, not compressed; *rows* are bands (rows, columns · planes)."""
    size = layout.row_bytes * layout.height
    if size > _MOST_BYTES:
        msg = f"{path}: {size / 2**30:.1f} GB do not fit into a TIFF file, which ends at 4 GB; save as PNG, or with bits=8"
        raise SettingError(msg)
    head = _tiff_head(layout)
    with part_file(path, overwrite=overwrite) as part:
        part.reserve(len(head) + size)
        part.write_at(0, head)
        place = len(head)
        for band in rows:
            data = np.ascontiguousarray(band, dtype=f"<u{layout.bits // 8}").tobytes()
            part.write_at(place, data)
            place += len(data)
        part.finish(overwrite=overwrite)


def _tiff_head(layout: PictureLayout) -> bytes:
    """Everything before the pixels: header, directory, and the values that do not fit into it."""
    per_strip = max(1, _STRIP_BYTES // layout.row_bytes)
    counts = [
        layout.row_bytes * min(per_strip, layout.height - top) for top in range(0, layout.height, per_strip)
    ]
    entries = [
        (256, _LONG, [layout.width]),
        (257, _LONG, [layout.height]),
        (258, _SHORT, [layout.bits] * layout.planes),
        (259, _SHORT, [1]),  # not compressed
        (262, _SHORT, [2 if layout.planes == 3 else 1]),  # colours, or 0 is black
        *([(270, _ASCII, layout.text.encode("ascii", "replace") + b"\0")] if layout.text else []),
        (273, _LONG, [0] * len(counts)),
        (274, _SHORT, [1]),  # first row at the top
        (277, _SHORT, [layout.planes]),
        (278, _LONG, [per_strip]),
        (279, _LONG, counts),
        (284, _SHORT, [1]),  # planes interleaved
        (305, _ASCII, b"calibkit\0"),
        (339, _SHORT, [1] * layout.planes),  # whole numbers
    ]
    # The length of the head does not depend on where the strips begin, so that two rounds settle it.
    length = len(_directory(entries))
    starts = (length + np.cumsum([0, *counts[:-1]])).tolist()
    return _directory([(tag, kind, starts if tag == 273 else values) for tag, kind, values in entries])


def _directory(entries: list[tuple[int, int, list[int] | bytes]]) -> bytes:
    after = 8 + 2 + 12 * len(entries) + 4
    fixed, extra = [struct.pack("<2sHLH", b"II", 42, 8, len(entries))], b""
    for tag, kind, values in entries:
        data = (
            values
            if isinstance(values, bytes)
            else struct.pack(f"<{len(values)}{'H' if kind == _SHORT else 'L'}", *values)
        )
        if len(data) <= 4:
            place = data.ljust(4, b"\0")
        else:
            place = struct.pack("<L", after + len(extra))
            extra += data + b"\0" * (len(data) % 2)
        fixed.append(struct.pack("<HHL", tag, kind, len(values)) + place)
    return b"".join([*fixed, struct.pack("<L", 0), extra])


def write_png(path: Path, layout: PictureLayout, rows: Iterable[np.ndarray], overwrite: bool) -> None:
    """Write a PNG file; *rows* are bands (rows, columns · planes)."""
    head = struct.pack(
        ">LLBBBBB", layout.width, layout.height, layout.bits, 2 if layout.planes == 3 else 0, 0, 0, 0
    )
    packer = zlib.compressobj(4)
    above = np.zeros((1, layout.row_bytes), np.uint8)
    with part_file(path, overwrite=overwrite) as part:
        place = 0

        def put(data: bytes) -> None:
            nonlocal place
            part.write_at(place, data)
            place += len(data)

        put(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head))
        put(_chunk(b"tEXt", b"Software\0calibkit"))
        if layout.text:
            put(_chunk(b"tEXt", b"Description\0" + layout.text.encode("latin-1", "replace")))
        for band in rows:
            data = np.ascontiguousarray(band, dtype=f">u{layout.bits // 8}").view(np.uint8)
            # Filter 2, the difference to the row above, in front of every row.
            lines = np.empty((len(data), layout.row_bytes + 1), np.uint8)
            lines[:, 0] = 2
            lines[:, 1:] = data - np.concatenate([above, data[:-1]])
            above = data[-1:].copy()
            packed = packer.compress(lines)
            if packed:
                put(_chunk(b"IDAT", packed))
        put(_chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b""))
        part.finish(overwrite=overwrite)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))

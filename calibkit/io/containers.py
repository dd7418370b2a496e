"""Whether a camera RAW file is whole, from the tables in its own container.

LibRaw opens many cut-off files without an error and fills what is missing with zeros or with whatever was
in memory. The containers say where the raw data should lie and how long they are: TIFF 6.0 and its relatives
(DNG, CR2, NEF, ARW, ORF, RW2), Fuji's RAF, Canon's CIFF (CRW) and ISO base media (CR3), Sigma's X3F.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from calibkit.errors import FrameFileError

_MAX_DIRECTORIES = 64
_TYPE_SIZE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_INTEGER = {1: "B", 3: "H", 4: "I", 13: "I"}
_SUBFILE, _WIDTH, _LENGTH, _PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION = 254, 256, 257, 262, 330, 50706
_STRIPS, _STRIP_SIZES, _ROWS_PER_STRIP = 273, 279, 278
_TILE_WIDTH, _TILE_LENGTH, _TILES, _TILE_SIZES = 322, 323, 324, 325
_RW2_DATA = 0x118
_ACTIVE_AREA = 50829
_SENSOR_PHOTOMETRIC = (32803, 34892)  # colour filter array, linear raw
#: No coding of a camera frame takes fewer bits for a pixel: noise cannot be compressed away.
LEAST_BITS = 0.25
_LEAST_BYTES = 4096

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"IIU\0", b"IIRO", b"IIRS", b"MMOR")


@dataclass(frozen=True)
class Directory:
    """One image file directory: tag → its whole numbers."""

    tags: dict[int, tuple[int, ...]]

    def one(self, tag: int, default: int = 0) -> int:
        """The first number of *tag*."""
        values = self.tags.get(tag)
        return values[0] if values else default

    @property
    def is_preview(self) -> bool:
        """Whether it is marked as a reduced copy of another image."""
        return bool(self.one(_SUBFILE) & 1)

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """(offset, size) of its strips or tiles."""
        for offsets, sizes in ((_TILES, _TILE_SIZES), (_STRIPS, _STRIP_SIZES)):
            if offsets in self.tags and sizes in self.tags:
                return list(zip(self.tags[offsets], self.tags[sizes], strict=False))
        return []

    @property
    def expected_blocks(self) -> int:
        """How many strips or tiles its size needs, 0 when it does not say."""
        width, length = self.one(_WIDTH), self.one(_LENGTH)
        if not width or not length:
            return 0
        if _TILES in self.tags:
            tile = self.one(_TILE_WIDTH), self.one(_TILE_LENGTH)
            return math.ceil(width / tile[0]) * math.ceil(length / tile[1]) if all(tile) else 0
        rows = self.one(_ROWS_PER_STRIP)
        return math.ceil(length / rows) if 0 < rows < 2**31 else 1


def tiff_directories(path: Path) -> list[Directory]:
    """Every directory of a TIFF-like file, sub-directories included."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        order = "<" if head.startswith(b"II") else ">"
        if len(head) < 8:
            raise FrameFileError(_cut(path, "it ends within its header"))
        return list(_walk(path, file, order, struct.unpack(order + "I", head[4:8])[0], size))


def _walk(path: Path, file: BinaryIO, order: str, first: int, size: int) -> Iterator[Directory]:
    todo, seen = [first], set()
    while todo and len(seen) < _MAX_DIRECTORIES:
        offset = todo.pop(0)
        if offset in seen:
            continue
        seen.add(offset)
        if not 0 < offset <= size - 2:
            raise FrameFileError(_cut(path, f"a directory should begin at byte {offset} of {size}"))
        file.seek(offset)
        (count,) = struct.unpack(order + "H", file.read(2))
        table = file.read(12 * count + 4)
        if len(table) < 12 * count:
            raise FrameFileError(_cut(path, f"the directory at byte {offset} goes beyond the end"))
        tags = {}
        for i in range(count):
            tag, kind, number, inline = struct.unpack(order + "HHI4s", table[12 * i : 12 * i + 12])
            length = _TYPE_SIZE.get(kind, 0) * number
            if kind not in _INTEGER or not 0 < length <= 2**20:
                continue
            data = inline[:length]
            if length > 4:
                file.seek(struct.unpack(order + "I", inline)[0])
                data = file.read(length)
            if len(data) == length:
                tags[tag] = struct.unpack(f"{order}{number}{_INTEGER[kind]}", data)
        directory = Directory(tags)
        yield directory
        todo += [at for at in tags.get(_SUB_IFDS, ()) if at]
        following = table[12 * count :]
        if len(following) == 4:
            at = struct.unpack(order + "I", following)[0]
            if 0 < at <= size - 2:  # cameras leave rubbish here
                todo.append(at)


def looks_raw(directories: list[Directory]) -> bool:
    """Whether a TIFF holds what a sensor read rather than a picture."""
    return any(
        d.one(_PHOTOMETRIC, -1) in _SENSOR_PHOTOMETRIC or _DNG_VERSION in d.tags or _RW2_DATA in d.tags
        for d in directories
    )


def dng_active_corner(path: Path) -> tuple[int, int] | None:
    """First row and column of the ActiveArea that a DNG states; None when it is another format."""
    with path.open("rb") as file:
        if file.read(4) not in TIFF_MAGIC:
            return None
    for directory in tiff_directories(path):
        area = directory.tags.get(_ACTIVE_AREA, ())
        if len(area) == 4 and not directory.is_preview:
            return area[0], area[1]
    return None


def check_container(path: Path, magic: bytes) -> int:
    """Refuse a RAW file whose container promises more than the file has.

    Returns
    -------
    int
        The most bytes that the raw data can have, for comparison with the size of the sensor.
    """
    size = path.stat().st_size
    if magic[:4] in TIFF_MAGIC:
        return _check_tiff(path, size)
    if magic.startswith(b"FUJIFILMCCD-RAW "):
        return _check_raf(path, size)
    if magic[4:12] == b"ftypcrx ":
        return _check_boxes(path, size)
    if magic[6:14] == b"HEAPCCDR":
        return _check_heap(path, size, "<" if magic.startswith(b"II") else ">")
    if magic.startswith(b"FOVb"):
        return _check_x3f(path, size)
    return size


def check_payload(path: Path, payload: int, shape: tuple[int, int]) -> None:
    """Refuse *payload* bytes of raw data that cannot hold a frame of *shape* (rows, columns)."""
    if payload * 8 < shape[0] * shape[1] * LEAST_BITS:
        promised = (
            f"{payload} bytes of raw data cannot hold the {shape[1]} × {shape[0]} pixels that it promises"
        )
        raise FrameFileError(_cut(path, promised))


def _check_tiff(path: Path, size: int) -> int:
    payload = 0
    for directory in tiff_directories(path):
        if directory.is_preview:
            continue
        blocks = directory.blocks
        if _RW2_DATA in directory.tags:
            blocks = [(directory.one(_RW2_DATA), directory.one(_STRIP_SIZES))]
        for offset, length in blocks:
            if offset + length > size:
                end = f"its image data should end at byte {offset + length}, and the file has {size}"
                raise FrameFileError(_cut(path, end))
        if directory.one(_PHOTOMETRIC, -1) in _SENSOR_PHOTOMETRIC:
            if len(blocks) < directory.expected_blocks:
                found = f"{len(blocks)} of the {directory.expected_blocks} parts of its image are there"
                raise FrameFileError(_cut(path, found))
            total = sum(length for _, length in blocks)
            check_payload(path, total, (directory.one(_LENGTH), directory.one(_WIDTH)))
        payload = max(payload, sum(length for _, length in blocks))
    if 0 < payload < _LEAST_BYTES:
        raise FrameFileError(_cut(path, f"its image data take only {payload} bytes"))
    return payload or size


def _check_raf(path: Path, size: int) -> int:
    head = _head(path, 108)
    jpeg, jpeg_size, meta, meta_size, data, data_size = struct.unpack(">6I", head[84:108])
    for name, at, length in (
        ("preview", jpeg, jpeg_size),
        ("settings", meta, meta_size),
        ("raw data", data, data_size),
    ):
        if at + length > size:
            end = f"its {name} should end at byte {at + length}, and the file has {size}"
            raise FrameFileError(_cut(path, end))
    return data_size


def _check_boxes(path: Path, size: int) -> int:
    largest, at = 0, 0
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1 and len(head) == 16:
                length = int.from_bytes(head[8:], "big")
            length = length or size - at
            if length < 8 or at + length > size:
                name = head[4:8].decode("latin-1")
                raise FrameFileError(
                    _cut(path, f"its part {name!r} should end at byte {at + length} of {size}")
                )
            largest, at = max(largest, length), at + length
    return largest


def _check_heap(path: Path, size: int, order: str) -> int:
    start = struct.unpack(order + "I", _head(path, 14)[2:6])[0]
    with path.open("rb") as file:
        file.seek(-4, 2)
        table = start + struct.unpack(order + "I", file.read(4))[0]
        file.seek(min(table, size))
        head = file.read(2)
        count = struct.unpack(order + "H", head)[0] if len(head) == 2 else 0
    if not count or table + 2 + 10 * count + 4 > size:
        raise FrameFileError(_cut(path, "the table of contents at its end is missing"))
    return size


def _check_x3f(path: Path, size: int) -> int:
    with path.open("rb") as file:
        file.seek(-4, 2)
        at = int.from_bytes(file.read(4), "little")
        file.seek(min(at, size))
        if file.read(4) != b"SECd":
            raise FrameFileError(_cut(path, "the table of contents at its end is missing"))
    return size


def _head(path: Path, length: int) -> bytes:
    with path.open("rb") as file:
        head = file.read(length)
    if len(head) < length:
        raise FrameFileError(_cut(path, "it ends within its header"))
    return head


def _cut(path: Path, found: str) -> str:
    return f"{path}: the camera RAW file is cut off or damaged: {found}. Copy it again from the camera."

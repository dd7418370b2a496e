"""The temperature that a camera writes into its maker notes: Canon's, in CR2 and CR3 files.

LibRaw reads it but neither rawpy nor LibRaw's C functions pass it on.
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path

#: The header of a camera RAW file with all its notes lies within so many bytes.
_HEAD = 256 * 1024
_MAKE, _EXIF, _MAKER_NOTE = 0x010F, 0x8769, 0x927C
#: Canon's table of the shot, and the number in it that is the temperature: 128 more than °C, 0 when it is not told.
_SHOT, _TEMPERATURE, _ZERO = 0x0004, 12, 128
_SIZE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 13: 4}
#: Canon's boxes in CR3 on the way to the maker notes, which are a TIFF of their own.
_UUID = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")


def camera_temperature(path: str | os.PathLike[str]) -> float:
    """Temperature in °C that the camera noted in a RAW file, NaN where there is none.

    It is that of a sensor somewhere in the camera, in whole degrees, and read at a time of the camera's choice: the
    detector may be ten degrees warmer or colder. Use it to sort frames, not to calibrate them.

    Parameters
    ----------
    path : path
        Any file; only Canon's CR2 and CR3 tell something.

    Returns
    -------
    float

    References
    ----------
    P. Harvey, "Canon tags: ShotInfo", https://exiftool.org/TagNames/Canon.html; L. Clévy, "Describing the Canon RAW v3
    file format", https://github.com/lclevy/canon_cr3

    Examples
    --------
    >>> camera_temperature("IMG_0001.CR2")  # doctest: +SKIP
    27.0
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return math.nan
    try:
        if head[4:12] == b"ftypcrx ":
            notes = _cr3_notes(head)
            return _shot_temperature(notes, _first(notes), _order(notes)) if notes else math.nan
        if head[:4] in (b"II*\0", b"MM\0*"):
            return _from_tiff(head)
    except (struct.error, IndexError):  # cut off, or other notes than Canon's
        return math.nan
    return math.nan


def _order(data: bytes) -> str:
    return "<" if data[:2] == b"II" else ">"


def _first(data: bytes) -> int:
    return struct.unpack_from(_order(data) + "I", data, 4)[0]


def _from_tiff(data: bytes) -> float:
    order = _order(data)
    tags = _directory(data, _first(data), order)
    if not _bytes(data, tags, _MAKE, order).startswith(b"Canon") or _EXIF not in tags:
        return math.nan
    inside = _directory(data, struct.unpack(order + "I", tags[_EXIF][2])[0], order)
    if _MAKER_NOTE not in inside:
        return math.nan
    return _shot_temperature(data, struct.unpack(order + "I", inside[_MAKER_NOTE][2])[0], order)


def _shot_temperature(data: bytes, at: int, order: str) -> float:
    """From Canon's maker notes, whose offsets count from the beginning of *data*."""
    shot = _bytes(data, _directory(data, at, order), _SHOT, order)
    if len(shot) < 2 * _TEMPERATURE + 2:
        return math.nan
    (value,) = struct.unpack_from(order + "H", shot, 2 * _TEMPERATURE)
    return float(value - _ZERO) if 0 < value < 2 * _ZERO else math.nan


def _directory(data: bytes, at: int, order: str) -> dict[int, tuple[int, int, bytes]]:
    """Tag → (type, count, the four bytes that are its value or say where that is)."""
    (count,) = struct.unpack_from(order + "H", data, at)
    entries = (struct.unpack_from(order + "HHI4s", data, at + 2 + 12 * i) for i in range(count))
    return {tag: (kind, number, value) for tag, kind, number, value in entries}


def _bytes(data: bytes, tags: dict[int, tuple[int, int, bytes]], tag: int, order: str) -> bytes:
    """The value of *tag*, empty where it is not there."""
    kind, number, value = tags.get(tag, (0, 0, b""))
    length = _SIZE.get(kind, 0) * number
    if length <= 4:
        return value[:length]
    at = struct.unpack(order + "I", value)[0]
    return data[at : at + length]


def _cr3_notes(data: bytes) -> bytes:
    """Canon's maker notes of a CR3 file, a TIFF of their own; empty where they are not found."""
    inside = data
    for name in (b"moov", b"uuid", b"CMT3"):
        inside = _box(inside, name)
    return inside


def _box(data: bytes, name: bytes) -> bytes:
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        begin = at + 8
        if size == 1:
            size, begin = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        if size < 8:
            return b""
        if data[at + 4 : at + 8] == name:
            if name != b"uuid":
                return data[begin : at + size]
            if data[begin : begin + 16] == _UUID:
                return data[begin + 16 : at + size]
        at += size
    return b""

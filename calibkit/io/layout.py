"""FITS files: where the image lies in the file, and what its numbers mean.

Headers are read without astropy, which takes a fifth of the time and says nothing of cards that cameras
write a little wrong. After the FITS standard 4.0 (Pence et al. 2010, A&A 524, A42), tile compression after its
section 10.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibkit.errors import FrameFileError
from calibkit.io.byte_order import swap_bytes
from calibkit.io.cards import BLOCK, Header, parse_header
from calibkit.io.inflate import InflateStream
from calibkit.io.keywords import frame_facts
from calibkit.io.source import FrameInfo

_STORED = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_MAX_HEADER = 2000 * BLOCK
_MAX_SIDE = 2**20
_STRUCTURE = (
    "SIMPLE",
    "XTENSION",
    "BITPIX",
    "NAXIS",
    "EXTEND",
    "PCOUNT",
    "GCOUNT",
    "BZERO",
    "BSCALE",
    "BLANK",
)
COPY_AGAIN = "Copy it again from where it came from."


#: No place in a file lies beyond.
_MOST_BYTES = 2**62


@dataclass(frozen=True)
class Layout:
    """Where an image lies in a file and how its numbers are stored."""

    path: Path
    gzipped: bool
    hdu: int
    tiled: bool
    offset: int
    shape: tuple[int, int]
    bitpix: int
    bzero: float
    bscale: float
    blank: int | None
    size: int  # bytes of the data, as they lie in the file

    @property
    def stored(self) -> np.dtype:
        """Type of the numbers in the file, big-endian."""
        return np.dtype(_STORED[self.bitpix])

    @property
    def unsigned_offset(self) -> int:
        """2ⁿ⁻¹ when the file holds the unsigned (or, for 8 bits, the signed) convention, else 0."""
        plain = self.bscale == 1 and self.blank is None
        if plain and self.bitpix in (16, 32, 64) and self.bzero == 2.0 ** (self.bitpix - 1):
            return 1 << (self.bitpix - 1)
        return 128 if plain and self.bitpix == 8 and self.bzero == -128 else 0

    @property
    def dtype(self) -> np.dtype:
        """Type of the numbers that they stand for."""
        if self.unsigned_offset:
            kind = "i1" if self.bitpix == 8 else f"u{self.bitpix // 8}"
            return np.dtype(kind)
        if self.bitpix > 0 and (self.blank is not None or (self.bzero, self.bscale) != (0, 1)):
            return np.dtype("f4" if self.bitpix <= 16 else "f8")
        return self.stored.newbyteorder("=")

    def decode(self, raw: np.ndarray) -> np.ndarray:
        """Numbers that the stored ones stand for; *raw* may be overwritten."""
        native = raw.view(raw.dtype.newbyteorder("="))
        bits = native.view(f"u{raw.itemsize}")
        swap_bytes(bits, bits.dtype.type(self.unsigned_offset))
        if self.unsigned_offset:
            return native.view(self.dtype)
        if native.dtype == self.dtype and (self.bzero, self.bscale) == (0, 1):
            return native
        # numpy 2 would compute int16 × python float in float16's larger sibling; say it instead
        values = native.astype(self.dtype)
        if self.bscale != 1:
            values *= self.dtype.type(self.bscale)
        if self.bzero != 0:
            values += self.dtype.type(self.bzero)
        if self.blank is not None and self.bitpix > 0:
            values[native == self.blank] = np.nan
        return values


def read_layout(path: Path, *, gzipped: bool) -> tuple[Layout, FrameInfo]:
    """Find the first two-dimensional image of a FITS file.

    Raises
    ------
    FrameFileError
        No image, more than one plane, a damaged header, or less data than the header promises.
    """
    if gzipped:
        stream = InflateStream(path)
        layout, header = _find_image(path, stream.read, stream.skip, gzipped=True)
        _check_gzip_length(layout, stream)
    else:
        with path.open("rb") as file:
            layout, header = _find_image(path, file.read, lambda n: file.seek(n, os.SEEK_CUR), gzipped=False)
        size = path.stat().st_size
        if layout.offset + layout.size > size:
            raise FrameFileError(cut_off(layout, size))
    info = FrameInfo(path=path, **frame_facts(header, shape=layout.shape, dtype=layout.dtype, path=path))
    return layout, info


def cut_off(layout: Layout, size: int) -> str:
    """What to say of a file of *size* bytes that is shorter than its layout."""
    rows, columns = layout.shape
    needed = layout.offset + layout.size
    return (
        f"{layout.path}: the file is cut off: its header promises {columns} × {rows} pixels, which takes "
        f"{needed} bytes, and there are {size}. {COPY_AGAIN}"
    )


def _find_image(
    path: Path, read: Callable[[int], bytes], skip: Callable[[int], int], *, gzipped: bool
) -> tuple[Layout, Header]:
    position, primary = 0, Header()
    for hdu in range(1000):
        block = _read_header_blocks(path, read, first=hdu == 0)
        if not block:
            break
        position += len(block)
        header = parse_header(block)
        tiled = header.get("ZIMAGE") is True
        image = hdu == 0 or header.get("XTENSION") in ("IMAGE", "IUEIMAGE") or tiled
        axes = _axes(path, header, "ZNAXIS" if tiled else "NAXIS")
        if image and axes and all(axes):
            layout = _layout(path, header, axes, hdu=hdu, offset=position, tiled=tiled, gzipped=gzipped)
            for keyword, value in primary.items():
                if keyword not in header and keyword not in _STRUCTURE:
                    header[keyword] = value
                    header.comments[keyword] = primary.comments.get(keyword, "")
            return layout, header
        if hdu == 0:
            primary = header
        size = _data_size(path, header)
        size += -size % BLOCK
        skip(size)
        position += size
    msg = f"{path}: a FITS file without an image"
    raise FrameFileError(msg)


def _read_header_blocks(path: Path, read: Callable[[int], bytes], *, first: bool) -> bytes:
    blocks = bytearray()
    while True:
        block = bytes(read(BLOCK))
        if not blocks and (not block or (not first and not block.startswith(b"XTENSION"))):
            return b""
        blocks += block
        ends = [at for at in range(0, len(block) - 7, 80) if block[at : at + 8] in (b"END     ", b"END")]
        if len(blocks) == len(block) and first and not block.startswith(b"SIMPLE"):
            msg = f"{path}: not a frame: there is no FITS file in it"
            raise FrameFileError(msg)
        if ends:
            return bytes(blocks)
        if len(block) < BLOCK or len(blocks) > _MAX_HEADER:
            msg = f"{path}: the FITS header has no END: the file is cut off or damaged. {COPY_AGAIN}"
            raise FrameFileError(msg)


def _axes(path: Path, header: Header, keyword: str) -> list[int]:
    count = header.get(keyword, 0)
    if type(count) is not int or not 0 <= count <= 999:  # True is an int, too
        msg = f"{path}: {keyword} = {count!r} in the FITS header is not a number of axes"
        raise FrameFileError(msg)
    axes = [header.get(f"{keyword}{i + 1}") for i in range(count)]
    for i, length in enumerate(axes):
        if type(length) is not int or length < 0:
            msg = f"{path}: {keyword}{i + 1} = {length!r} in the FITS header is not a length"
            raise FrameFileError(msg)
    return axes


def _data_size(path: Path, header: Header) -> int:
    axes = _axes(path, header, "NAXIS")
    if not axes:
        return 0
    if axes[0] == 0 and header.get("GROUPS") is True:
        axes = axes[1:]
    bits, groups, extra = (
        header.get(name, default) for name, default in (("BITPIX", 8), ("GCOUNT", 1), ("PCOUNT", 0))
    )
    if not all(isinstance(value, int) for value in (bits, groups, extra)):
        msg = f"{path}: BITPIX, GCOUNT or PCOUNT in the FITS header is not a whole number"
        raise FrameFileError(msg)
    size = abs(bits) // 8 * groups * (extra + math.prod(axes))
    if not 0 <= size < _MOST_BYTES:
        msg = f"{path}: the FITS header promises {size} bytes of data, which no file has; it is damaged"
        raise FrameFileError(msg)
    return size


def _layout(
    path: Path, header: Header, axes: list[int], *, hdu: int, offset: int, tiled: bool, gzipped: bool
) -> Layout:
    planes = math.prod(axes[2:])
    if len(axes) < 2 or planes > 1:
        found = " × ".join(str(n) for n in axes)
        why = "it is in colour already, and only the frames as the camera read them can be calibrated"
        why = (
            why if axes[2:] == [3] else "calibkit reads one plane per file; save every plane as its own file"
        )
        msg = f"{path}: the image has the axes {found}, where width × height is expected: {why}."
        raise FrameFileError(msg)
    if max(axes[:2]) > _MAX_SIDE:
        msg = f"{path}: the header promises {axes[0]} × {axes[1]} pixels, more than any sensor has; it is damaged"
        raise FrameFileError(msg)
    bitpix = header.get("ZBITPIX" if tiled else "BITPIX")
    if bitpix not in _STORED:
        msg = f"{path}: BITPIX = {bitpix!r}, where the FITS standard allows {sorted(_STORED)}"
        raise FrameFileError(msg)
    scale = []
    for keyword, default in (("BZERO", 0.0), ("BSCALE", 1.0)):
        value = header.get(keyword)
        value = default if value is None else value
        if (
            not isinstance(value, (int, float))
            or not math.isfinite(value)
            or (keyword == "BSCALE" and value == 0)
        ):
            msg = f"{path}: {keyword} = {value!r} in the FITS header cannot scale the pixels"
            raise FrameFileError(msg)
        scale.append(float(value))
    blank = header.get("BLANK")
    blank = blank if isinstance(blank, int) and bitpix > 0 else None
    size = axes[0] * axes[1] * abs(bitpix) // 8
    if tiled:
        size = _data_size(path, header)
        _check_tiles(path, header, axes)
    return Layout(path, gzipped, hdu, tiled, offset, (axes[1], axes[0]), bitpix, *scale, blank, size)


def _check_tiles(path: Path, header: Header, axes: list[int]) -> None:
    sides = [header.get("ZTILE1", axes[0]), header.get("ZTILE2", 1)]
    if all(isinstance(side, int) and side > 0 for side in sides):
        expected = math.ceil(axes[0] / sides[0]) * math.ceil(axes[1] / sides[1])
        if expected == header.get("NAXIS2"):
            return
    msg = f"{path}: the compressed image should have other tiles than its header lists; it is damaged"
    raise FrameFileError(msg)


def _check_gzip_length(layout: Layout, stream: InflateStream) -> None:
    """Refuse a cut file now: its last four bytes, the length, are then some other number."""
    needed = layout.offset + layout.size
    with layout.path.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        length = int.from_bytes(file.read(4), "little")
    if length % BLOCK == 0 and length >= needed % 2**32:
        return
    missing = needed - stream.position
    found = stream.skip(missing)
    if found < missing:
        raise FrameFileError(cut_off(layout, needed - missing + found))

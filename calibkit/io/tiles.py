"""Tile-compressed images that are damaged, found before they are decompressed.

The decompressors that astropy took from CFITSIO believe what they read: on bytes that are cut off they run into whatever
lies behind them in memory, and may take the whole process with it; the one for HCOMPRESS also works in memory that all
threads share. Gzipped tiles may unpack to any size.
"""

from __future__ import annotations

import contextlib
import math
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from calibkit.errors import FrameFileError
from calibkit.kernels.hcompress import hcompress_is_whole
from calibkit.kernels.plio import plio_is_whole
from calibkit.kernels.rice import rice_is_whole
from calibkit.memory import memory_limit

#: Bytes of a number → bits that say how many low bits there are, and the number of low bits that means none of this.
_FORMS = {1: (3, 6), 2: (4, 14), 4: (5, 25)}
#: Bytes that decompressing takes for each pixel of a tile, and the most pixels that CFITSIO can count bytes of.
_PIXEL_BYTES, _MOST_PIXELS = 24, 2**28 - 1
#: Whether the bytes of a tile hold so many rows and columns.
_Check = Callable[[np.ndarray, int, int], bool]
_one_at_a_time = threading.Lock()


def check_tiles(path: Path, only: int | str | None = None) -> frozenset[str]:
    """Refuse images whose compressed tiles do not hold all their pixels, or more than them.

    Parameters
    ----------
    path : pathlib.Path
        A FITS file.
    only : int or str, optional
        Number or name of the one extension to look at; all, when not given.

    Returns
    -------
    frozenset of str
        How they are compressed, for `decompressing`.

    Raises
    ------
    FrameFileError
        They do not, or nobody can say.
    """
    from astropy.io import fits

    with fits.open(path, memmap=False, disable_image_compression=True) as hdus:
        tiled = [hdu for hdu in (hdus if only is None else [hdus[only]]) if "ZCMPTYPE" in hdu.header]
        for hdu in tiled:
            _check(path, hdu)
        return frozenset(str(hdu.header["ZCMPTYPE"]).strip() for hdu in tiled)


@contextlib.contextmanager
def decompressing(methods: frozenset[str]) -> Iterator[None]:
    """Held while astropy decompresses tiles: one of the methods can be at work only once at a time."""
    with _one_at_a_time if "HCOMPRESS_1" in methods else contextlib.nullcontext():
        yield


def _check(path: Path, hdu: Any) -> None:
    header = hdu.header
    columns, rows, *more = (header[f"ZNAXIS{n + 1}"] for n in range(header["ZNAXIS"]))
    tile_x, tile_y = header.get("ZTILE1", columns), header.get("ZTILE2", 1)
    tiles = math.ceil(columns / tile_x) * math.ceil(rows / tile_y)
    if math.prod(more) != 1 or min(tile_x, tile_y) < 1 or tiles != header["NAXIS2"]:
        raise _damaged(path, "other tiles than its header lists")
    pixels = min(tile_x, columns) * min(tile_y, rows)
    if pixels > min(_MOST_PIXELS, memory_limit() // _PIXEL_BYTES):
        msg = f"{path}: compressed in tiles of {pixels} pixels, too large for the memory; unpack it with funpack"
        raise FrameFileError(msg)
    whole = _method(path, header)
    across = math.ceil(columns / tile_x)
    gzipped = _tiles(path, hdu, "GZIP_COMPRESSED_DATA")
    for number, data in enumerate(_tiles(path, hdu, "COMPRESSED_DATA")):
        y, x = divmod(number, across)
        size = min(tile_y, rows - y * tile_y), min(tile_x, columns - x * tile_x)
        other = next(gzipped, None)
        found = _unpacks_to(other, *size) if data.size == 0 and other is not None else whole(data, *size)
        if not found and (
            data.size or other is not None
        ):  # astropy says what is wrong with one that is nowhere
            raise _damaged(path, f"tile {number + 1} ends early or holds something else")


def _method(path: Path, header: Mapping[str, Any]) -> _Check:
    """How to look at a tile."""
    method = str(header["ZCMPTYPE"]).strip()
    if method == "HCOMPRESS_1":
        return lambda data, rows, columns: hcompress_is_whole(_bytes(data), rows, columns)
    if method == "PLIO_1":
        return lambda data, rows, columns: data.itemsize == 2 and plio_is_whole(_native(data), rows * columns)
    if method in ("GZIP_1", "GZIP_2"):
        return _unpacks_to
    if method not in ("RICE_1", "RICE_ONE"):  # nothing that could run away
        return lambda data, rows, columns: True
    names = {header.get(f"ZNAME{n}"): header.get(f"ZVAL{n}") for n in range(1, 10)}
    block, size = names.get("BLOCKSIZE", 32), names.get("BYTEPIX", 4)
    if size not in _FORMS or not isinstance(block, int) or block < 1:
        raise _damaged(path, f"blocks of {block} numbers of {size} bytes")
    bits, raw = _FORMS[size]
    return lambda data, rows, columns: rice_is_whole(_bytes(data), rows * columns, block, 8 * size, bits, raw)


def _tiles(path: Path, hdu: Any, name: str) -> Iterator[np.ndarray]:
    """What a column of compressed tiles holds, as it lies in the file; nothing when there is no such column."""
    table, header = hdu.data.view(np.ndarray), hdu.header
    if name not in (table.dtype.names or ()):
        return
    form = header[f"TFORM{table.dtype.names.index(name) + 1}"].lstrip("1")
    dtype = np.dtype({"B": "u1", "I": ">i2", "J": ">i4"}[form[1]])
    begin = header.get("THEAP", header["NAXIS1"] * header["NAXIS2"])
    size = header["PCOUNT"] - (begin - header["NAXIS1"] * header["NAXIS2"])
    where = hdu.fileinfo()
    where["file"].seek(where["datLoc"] + begin)
    heap = np.frombuffer(where["file"].read(max(size, 0)), np.uint8)
    for count, start in table[name].astype(np.int64):
        end = start + count * dtype.itemsize
        if min(count, start) < 0 or end > heap.size:
            raise _damaged(path, "its tiles lie outside of it")
        yield heap[start:end].view(dtype)


def _native(data: np.ndarray) -> np.ndarray:
    return data.astype(data.dtype.newbyteorder("="), copy=False)


def _bytes(data: np.ndarray) -> np.ndarray:
    """What astropy hands to CFITSIO."""
    return _native(data).view(np.uint8)


def _unpacks_to(data: np.ndarray, rows: int, columns: int) -> bool:
    """Whether one gzipped stream holds no more than the pixels of a tile."""
    most = 8 * rows * columns
    stream = zlib.decompressobj(wbits=31)
    try:
        size = len(stream.decompress(data.tobytes(), most + 1))
    except zlib.error:
        return False
    return (
        stream.eof
        and 0 < size <= most
        and size % (rows * columns) == 0
        and not stream.unused_data.strip(b"\0")
    )


def _damaged(path: Path, what: str) -> FrameFileError:
    return FrameFileError(f"{path}: the compressed image is damaged or cut off ({what}); copy the file again")

"""Tile-compressed images that are cut off, found before they are decompressed.

The Rice decompressor that astropy took from CFITSIO looks for the next bit that is 1 without an end: on bytes that are cut
off it runs into whatever lies behind them in memory, and may take the whole process with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from calibkit.errors import FrameFileError
from calibkit.kernels.rice import rice_is_whole

#: Bytes of a number → bits that say how many low bits there are, and the number of low bits that means none of this.
_FORMS = {1: (3, 6), 2: (4, 14), 4: (5, 25)}


def check_tiles(path: Path, only: int | None = None) -> None:
    """Refuse images whose Rice-compressed tiles do not hold all their pixels.

    Parameters
    ----------
    path : pathlib.Path
        A FITS file.
    only : int, optional
        Number of the one extension to look at; all, when not given.

    Raises
    ------
    FrameFileError
        They do not, or nobody can say.
    """
    from astropy.io import fits

    with fits.open(path, memmap=False, disable_image_compression=True) as hdus:
        for hdu in hdus if only is None else [hdus[only]]:
            if str(hdu.header.get("ZCMPTYPE", "")).strip() in ("RICE_1", "RICE_ONE"):
                _check(path, hdu.header, hdu.data)


def _check(path: Path, header: Mapping[str, Any], table: np.ndarray) -> None:
    names = {header.get(f"ZNAME{n}"): header.get(f"ZVAL{n}") for n in range(1, 10)}
    block, size = names.get("BLOCKSIZE", 32), names.get("BYTEPIX", 4)
    length, rows = header["ZNAXIS1"], header["ZNAXIS2"]
    tile_x, tile_y = header.get("ZTILE1", length), header.get("ZTILE2", 1)
    if size not in _FORMS or not isinstance(block, int) or block < 1:
        msg = f"{path}: the compressed image is damaged: blocks of {block} numbers of {size} bytes"
        raise FrameFileError(msg)
    bits, raw = _FORMS[size]
    across = math.ceil(length / tile_x)
    for number, data in enumerate(table["COMPRESSED_DATA"]):
        y, x = divmod(number, across)
        count = min(tile_x, length - x * tile_x) * min(tile_y, rows - y * tile_y)
        values = np.ascontiguousarray(data).view(np.uint8)
        if values.size and not rice_is_whole(values, count, block, 8 * size, bits, raw):
            msg = (
                f"{path}: the compressed image is damaged or cut off (tile {number + 1} ends early); "
                "copy the file again"
            )
            raise FrameFileError(msg)

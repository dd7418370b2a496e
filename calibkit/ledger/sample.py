"""Which parts of the frames the ledger looks at, and their pixels read by rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibkit.frames import stack_source

#: Pixels of all frames together that are looked at, and those of one frame at least and at most.
_ALL, _LEAST, _MOST = 16_000_000, 60_000, 500_000
#: Bytes that the blocks of one row of blocks may take.
_HELD = 128 * 2**20
#: Tiles along the side of a block, where nothing speaks for fewer.
_SIDE = 4


@dataclass(frozen=True)
class Block:
    """Rows and columns of a block of whole tiles, and those that are read: with a rim around it."""

    rows: slice
    columns: slice
    read_rows: slice
    read_columns: slice

    @property
    def inner(self) -> tuple[slice, slice]:
        """The block within what is read."""
        return _within(self.rows, self.read_rows), _within(self.columns, self.read_columns)


def blocks_of(shape: tuple[int, int, int], tile: tuple[int, int], rim: tuple[int, int]) -> list[list[Block]]:
    """Blocks spread evenly over the frame, row by row: all of it where it is small.

    Parameters
    ----------
    shape : tuple of int
        Frames, rows, columns.
    tile : tuple of int
        Rows and columns of a tile; the frame holds one at least.
    rim : tuple of int
        Rows and columns around a block that its pixels depend on.
    """
    frames, height, width = shape
    down, across = height // tile[0], width // tile[1]
    tiles = max(1, -(-min(_MOST, max(_LEAST, _ALL // frames)) // (tile[0] * tile[1])))
    share = min(1.0, (tiles / (down * across)) ** 0.5)
    side = _SIDE
    while side > 1 and 8 * frames * side * tile[0] * across * share * tile[1] > _HELD:
        side -= 1
    if share == 1.0:
        starts_y, starts_x = range(0, down, side), range(0, across, side)
    else:
        starts_y, starts_x = (_spread(count, side, share) for count in (down, across))
    grid = []
    for y in starts_y:
        rows, read_rows = _span(y, side, down, tile[0], rim[0], height)
        row = []
        for x in starts_x:
            columns, read_columns = _span(x, side, across, tile[1], rim[1], width)
            row.append(Block(rows, columns, read_rows, read_columns))
        grid.append(row)
    return grid


def read_blocks(lights: xr.DataArray, row: list[Block]) -> Iterator[np.ndarray]:
    """Pixels ``(frame, y, x)`` of the blocks of one row of blocks, each frame's rows read once."""
    source = stack_source(lights)
    rows = row[0].read_rows
    held = [np.empty((lights.sizes["frame"], *_size(block)), lights.dtype.newbyteorder("=")) for block in row]
    for frame in range(lights.sizes["frame"]):
        if source is not None:
            part = source.read(frame, rows.start, rows.stop)
        else:
            part = np.asarray(lights.data[frame, rows])
        for target, block in zip(held, row, strict=True):
            target[frame] = part[:, block.read_columns]
    yield from held


def _size(block: Block) -> tuple[int, int]:
    return (
        block.read_rows.stop - block.read_rows.start,
        block.read_columns.stop - block.read_columns.start,
    )


def _within(part: slice, whole: slice) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)


def _spread(count: int, side: int, share: float) -> list[int]:
    """First tiles of blocks in the middles of equal parts."""
    blocks = min(count // side, max(2, round(count * share / side))) or 1
    step = count / blocks
    return [min(max(0, round((i + 0.5) * step - side / 2)), max(0, count - side)) for i in range(blocks)]


def _span(first: int, side: int, count: int, tile: int, rim: int, size: int) -> tuple[slice, slice]:
    start, stop = first * tile, min(first + side, count) * tile
    return slice(start, stop), slice(max(0, start - rim), min(size, stop + rim))

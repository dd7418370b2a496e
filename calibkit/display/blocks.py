"""Square blocks of pixels of one colour: what a frame is reduced to when there is no room for all of it.

Blocks are counted from sensor pixel (0, 0), so that a pixel falls into the same block whatever part of the
frame is looked at. Colours are never mixed: a block has one value for each plane that is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from calibkit.cfa import Pattern
from calibkit.errors import SettingError
from calibkit.memory import band_rows, worker_count

#: The whole grid, every pixel on its own place: the only channel of a sensor without filters.
MOSAIC = "mosaic"
#: Red, green and blue as three planes of the same blocks.
COLOUR = "colour"
#: A reduced copy has blocks of this many cells of the pattern on a side.
_COPY_CELLS = 2
#: Frames with fewer pixels are reduced in one thread.
_WORTH_THREADS = 500_000


@dataclass(frozen=True)
class Planes:
    """How pixels are dealt out to planes.

    Attributes
    ----------
    names : tuple of str
        Of the planes of a view.
    cell : numpy.ndarray
        uint8 of the pattern's period, anchored at sensor (0, 0): the plane of each pixel, 255 for none.
    count : int
        Planes that are reduced apart: of a mosaic, one for each site of the cell.
    unit : tuple of int
        Rows and columns of the smallest block that holds a pixel of every plane.
    mosaic : bool
        Whether the planes are the sites of a mosaic, to be put back to their places.
    """

    names: tuple[str, ...]
    cell: np.ndarray
    count: int
    unit: tuple[int, int]
    mosaic: bool = False


def channels_of(pattern: Pattern) -> tuple[str, ...]:
    """What can be shown: the mosaic, colour where there are red, green and blue, each channel."""
    if pattern.is_mono:
        return (MOSAIC,)
    colour = (COLOUR,) if {"R", "G", "B"} <= set(pattern.colours) else ()
    return (MOSAIC, *colour, *pattern.channels)


def planes_of(pattern: Pattern, channel: str | None) -> Planes:
    """The planes of *channel*, by default of the mosaic.

    Raises
    ------
    SettingError
        The pattern has no such channel.
    """
    name, offered = channel or MOSAIC, channels_of(pattern)
    if name not in offered:
        msg = f"channel {name!r}: this frame ({pattern.text or 'mono'}) has {', '.join(offered)}"
        raise SettingError(msg)
    if name == MOSAIC:
        py, px = pattern.period
        return Planes((MOSAIC,), _sites(pattern), py * px, (py, px), mosaic=True)
    names = ("R", "G", "B") if name == COLOUR else (name,)
    labels = pattern.labels
    cell = np.full(labels.shape, 255, np.uint8)
    for number, plane in enumerate(names):
        # In colour the two greens of a Bayer cell are one plane; alone each is itself.
        cell[np.char.startswith(labels, plane) if name == COLOUR else labels == plane] = number
    side = _smallest_tile(pattern)
    return Planes(names, cell, len(names), (side, side))


@dataclass(frozen=True)
class Grid:
    """Blocks over a part of the sensor: first row and column, size of a block, how many there are."""

    top: int
    left: int
    by: int
    bx: int
    rows: int
    columns: int

    @classmethod
    def over(cls, y0: int, y1: int, x0: int, x1: int, by: int, bx: int) -> Grid:
        """The blocks that touch rows y0 to y1 and columns x0 to x1."""
        top, left = y0 // by * by, x0 // bx * bx
        return cls(top, left, by, bx, -(-(y1 - top) // by), -(-(x1 - left) // bx))

    @property
    def bottom(self) -> int:
        """The row after the last."""
        return self.top + self.rows * self.by

    @property
    def right(self) -> int:
        """The column after the last."""
        return self.left + self.columns * self.bx


def reduce_pixels(
    pixels: np.ndarray, first: tuple[int, int], columns: slice, planes: Planes, grid: Grid, *, largest: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Mean or largest value of every block, and how many pixels it has, for every plane.

    Parameters
    ----------
    pixels : numpy.ndarray
        Shape (rows, columns), C-contiguous.
    first : tuple of int
        Sensor row of its first row, and sensor column of the first of *columns*.
    columns : slice
        Which of its columns to use.
    planes : Planes
    grid : Grid
        Blocks that hold all of these pixels.
    largest : bool

    Returns
    -------
    values, counts : numpy.ndarray
        float32 and int32, shape (planes, rows, columns) of blocks.
    """
    from calibkit.kernels.view import reduce_blocks

    size = (planes.count, grid.rows, grid.columns)
    values, counts = np.empty(size, np.float32), np.empty(size, np.int32)

    def work(j0: int, j1: int) -> None:
        # Rows of blocks j0 to j1, in arrays of their own: those of the kernel are contiguous.
        y0 = max(first[0], grid.top + j0 * grid.by)
        part = pixels[y0 - first[0] : max(y0, grid.top + j1 * grid.by) - first[0]]
        cell = np.roll(planes.cell, (-y0, -first[1]), (0, 1))
        own, number = (
            np.empty((size[0], j1 - j0, size[2]), np.float32),
            np.empty((size[0], j1 - j0, size[2]), np.int32),
        )
        top, left = y0 - grid.top - j0 * grid.by, first[1] - grid.left
        reduce_blocks(
            part, cell, columns.start, columns.stop, top, left, grid.by, grid.bx, largest, own, number
        )
        values[:, j0:j1], counts[:, j0:j1] = own, number

    workers = worker_count() if pixels.size > _WORTH_THREADS else 1
    edges = np.linspace(0, grid.rows, (2 * workers if workers > 1 else 1) + 1).astype(int)
    if workers == 1:
        work(0, grid.rows)
    else:
        with ThreadPoolExecutor(workers, thread_name_prefix="calibkit-view") as pool:
            list(pool.map(work, edges[:-1], edges[1:]))
    return values, counts


def interleave(sites: np.ndarray, period: tuple[int, int]) -> np.ndarray:
    """The mosaic, shape (1, rows, columns), of the planes of its sites."""
    py, px = period
    _, rows, columns = sites.shape
    grid = sites.reshape(py, px, rows, columns).transpose(2, 0, 3, 1)
    return np.ascontiguousarray(grid.reshape(1, rows * py, columns * px))


class ReducedCopy:
    """A frame in blocks of a few pixels, every site of the pattern apart: larger blocks come from it alone.

    Parameters
    ----------
    pattern : Pattern
    first, shape : tuple of int
        Sensor row and column of the frame's first pixel, and its size.
    read : callable
        ``read(y0, y1)`` gives the frame's own rows y0 to y1, row by row in memory.
    pixel_bytes : int
        What a pixel takes while it is read.
    largest : bool
    """

    def __init__(
        self,
        pattern: Pattern,
        first: tuple[int, int],
        shape: tuple[int, int],
        read: Callable[[int, int], np.ndarray],
        *,
        pixel_bytes: int,
        largest: bool,
    ) -> None:
        by, bx = self.block_of(pattern)
        self._largest = largest
        self._grid = Grid.over(first[0], first[0] + shape[0], first[1], first[1] + shape[1], by, bx)
        sites = planes_of(pattern, MOSAIC)
        size = (sites.count, self._grid.rows, self._grid.columns)
        self._values = np.empty(size, np.float32)
        self._counts = np.empty(size, np.uint8)  # a block has few pixels of each site
        # The array behind a lazy frame holds a band in parts, whole, and while it is made.
        rows = band_rows(*shape, bytes_per_pixel=8.0 * pixel_bytes, multiple=by)
        band = -(-rows // by) * by  # a frame of few rows is one band, whatever their number
        for start in range(self._grid.top, self._grid.bottom, band):
            y0, y1 = max(start, first[0]), min(start + band, first[0] + shape[0])
            part = Grid.over(y0, y1, first[1], first[1] + shape[1], by, bx)
            j0 = (part.top - self._grid.top) // by
            place = np.s_[:, j0 : j0 + part.rows]
            pixels = read(y0 - first[0], y1 - first[0])
            self._values[place], self._counts[place] = reduce_pixels(
                pixels, (y0, first[1]), slice(0, shape[1]), sites, part, largest=largest
            )

    @staticmethod
    def block_of(pattern: Pattern) -> tuple[int, int]:
        """Rows and columns of the copy's own blocks."""
        py, px = pattern.period
        return py * _COPY_CELLS, px * _COPY_CELLS

    def reduce(self, planes: Planes, grid: Grid) -> np.ndarray:
        """Values of blocks that are multiples of the copy's own, shape (planes, rows, columns)."""
        from calibkit.kernels.view import merge_blocks

        own = self._grid
        row, column = (grid.top - own.top) // own.by, (grid.left - own.left) // own.bx
        rows = slice(max(0, row), max(0, row + grid.rows * grid.by // own.by))
        columns = slice(max(0, column), max(0, column + grid.columns * grid.bx // own.bx))
        out = np.empty((planes.count, grid.rows, grid.columns), np.float32)
        merge_blocks(
            np.ascontiguousarray(self._values[:, rows, columns]),
            np.ascontiguousarray(self._counts[:, rows, columns]),
            planes.cell.ravel(),
            max(0, -row),
            max(0, -column),
            grid.by // own.by,
            grid.bx // own.bx,
            self._largest,
            out,
        )
        return out


def _sites(pattern: Pattern) -> np.ndarray:
    py, px = pattern.period
    return np.arange(py * px, dtype=np.uint8).reshape(py, px)


def _smallest_tile(pattern: Pattern) -> int:
    """Side of the smallest square tile of the sensor in which every channel occurs."""
    period = math.lcm(*pattern.period)
    labels = np.tile(pattern.labels, [period // n for n in pattern.period])
    everything = set(pattern.channels)
    for side in (n for n in range(1, period + 1) if period % n == 0):
        tiles = labels.reshape(period // side, side, period // side, side).transpose(0, 2, 1, 3)
        if all(set(tile) >= everything for tile in tiles.reshape(-1, side * side).tolist()):
            return side
    return period

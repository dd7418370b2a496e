"""What is shown of a large frame: block means of one colour at a time, never more values than pixels on screen.

Nobody needs 24 million numbers to fill 700 000 screen pixels, and no display should have to wait for
them. A view is made for one region and one size. Each of its values is the mean, or the largest, of a
square block of sensor pixels of *one* colour; blocks are counted from sensor pixel (0, 0), so that the
same pixels fall into the same block wherever the region lies. Once a screen pixel is as small as a sensor
pixel a view holds the pixels themselves: it is never upsampled.

Axes are sensor pixels: pixel n reaches from n − 0.5 to n + 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import xarray as xr

from calibkit.cfa import pattern_of
from calibkit.display.blocks import (
    COLOUR,
    MOSAIC,
    Grid,
    Planes,
    ReducedCopy,
    channels_of,
    interleave,
    planes_of,
    reduce_pixels,
)
from calibkit.display.images import Image, grid_of, parts_of
from calibkit.errors import SettingError
from calibkit.flags import flag_names
from calibkit.memory import memory_limit

__all__ = ["COLOUR", "MOSAIC", "FrameView", "Region", "View", "view_of"]

Region = tuple[float, float, float, float]

#: Samples for levels and histograms come from at most about this many pixels.
SAMPLE_SIZE = 1_000_000


@dataclass(frozen=True, eq=False)
class View:
    """One region of a frame at one size.

    Attributes
    ----------
    values : numpy.ndarray
        float32, shape (planes, rows, columns), in the frame's unit; NaN where there is no data.
    planes : tuple of str
        One channel, or R, G, B; ``"mosaic"`` for the whole grid.
    extent : tuple of float
        Outer edges in sensor pixels, (x0, x1, y0, y1).
    block : int
        Each value stands for ``block × block`` sensor pixels of its colour; 1: the pixels themselves.
    reduce : str
        ``"mean"`` or ``"max"``.
    """

    values: np.ndarray
    planes: tuple[str, ...]
    extent: Region
    block: int
    reduce: str

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.values.shape[1], self.values.shape[2]

    def onto(self, other: View) -> View:
        """The same values on the grid and with the planes of *other*, NaN where there are none.

        Each value is that at the same place on the sensor: nothing is interpolated.
        """
        if self.extent == other.extent and self.values.shape == other.values.shape:
            return self
        lines = []
        for axis, low, high in ((1, 2, 3), (2, 0, 1)):
            count, size = other.values.shape[axis], self.values.shape[axis]
            centres = np.linspace(other.extent[low], other.extent[high], 2 * count + 1)[1::2]
            step = (self.extent[high] - self.extent[low]) / max(1, size)
            found = np.floor((centres - self.extent[low]) / (step or 1.0)).astype(np.int64)
            lines.append((np.clip(found, 0, max(0, size - 1)), (found >= 0) & (found < size)))
        (rows, rows_in), (columns, columns_in) = lines
        if self.values.size == 0:
            return replace(other, values=np.full_like(other.values, np.nan))
        picked = self.values[:, rows[:, None], columns[None, :]]
        picked = np.where(rows_in[:, None] & columns_in[None, :], picked, np.float32(np.nan))
        if len(picked) != len(other.values):
            picked = np.repeat(picked.mean(axis=0, keepdims=True), len(other.values), axis=0)
        return View(picked, other.planes, other.extent, self.block, self.reduce)


class FrameView:
    """One frame, ready to be looked at: views at any zoom, exact values, a sample for levels.

    Parameters
    ----------
    image : xarray.DataArray, xarray.Dataset, numpy.ndarray or path
        One frame with dims (y, x); a Dataset shows its ``signal`` and knows its ``variance`` and ``flags``.
    cache_bytes : int, optional
        A lazy frame up to this size is computed once and kept in memory. A larger one is gone through once
        for a reduced copy, and read again by rows where one zooms in. Default: a sixteenth of the memory.

    Raises
    ------
    SettingError
        If it is not one frame of real numbers, or its pattern does not fit its coordinates.

    Attributes
    ----------
    image : xarray.DataArray
        The pixels, as given, with dims (y, x).
    units : str
    pattern : Pattern
    shape : tuple of int
        Rows and columns.
    rows_upward : bool
        Whether the first row belongs at the bottom of a picture: in FITS files that do not say otherwise.
    cached : bool
        Whether the whole frame is kept in memory.

    Examples
    --------
    >>> import numpy as np
    >>> frame = FrameView(np.arange(24.0).reshape(4, 6))
    >>> frame.view(width=3, height=2).values[0]
    array([[ 3.5,  5.5,  7.5],
           [15.5, 17.5, 19.5]], dtype=float32)
    """

    def __init__(self, image: Image, *, cache_bytes: int | None = None) -> None:
        signal, self._extra = parts_of(image)
        self.units = str(signal.attrs.get("units", ""))
        self.pattern = pattern_of(signal)
        self.shape = (signal.sizes["y"], signal.sizes["x"])
        self._origin, self._offset, self._step = grid_of(signal, self.pattern)
        self.rows_upward = signal.attrs.get("roworder") in ("BOTTOM-UP", "")
        limit = memory_limit() // 16 if cache_bytes is None else cache_bytes
        lazy = signal.chunks is not None
        self.cached = not lazy or signal.nbytes <= limit
        self.image: xr.DataArray = signal
        self._kept: np.ndarray | None = None
        self._copies: dict[str, ReducedCopy] = {}

    def __repr__(self) -> str:
        height, width = self.shape
        return f"FrameView({height} × {width}{f' {self.units}' if self.units else ''})"

    @property
    def extent(self) -> Region:
        """Outer edges of the frame in sensor pixels, (x0, x1, y0, y1)."""
        return self._edges(*self._columns_and_rows(None))

    def release(self) -> None:
        """Give back the memory that a lazy frame takes; it is computed again when it is needed."""
        if self.image.chunks is not None:
            self._kept = None
            self._copies.clear()

    @property
    def _pixels(self) -> np.ndarray | None:
        """The whole frame, where it is kept."""
        if self.cached and self._kept is None:
            self._kept = _native(self.image.values)
        return self._kept

    @property
    def channels(self) -> tuple[str, ...]:
        """What can be shown: the mosaic, colour where there are red, green and blue, each channel."""
        return channels_of(self.pattern)

    def view(
        self,
        region: Region | None = None,
        width: int = 1000,
        height: int = 700,
        *,
        reduce: Literal["mean", "max"] = "mean",
        channel: str | None = None,
        block: int | None = None,
    ) -> View:
        """Values for *region* in at most *width* × *height*; see `view_of`.

        *block* asks for what `block_for` gave, in place of *width* and *height*.
        """
        planes = planes_of(self.pattern, channel)
        if reduce not in ("mean", "max"):
            msg = f"reduce={reduce!r}: allowed are 'mean' and 'max'"
            raise SettingError(msg)
        x0, x1, y0, y1 = self._columns_and_rows(region)
        factor = block or self.block_for(region, width, height, channel=channel)
        if x0 >= x1 or y0 >= y1:
            empty = np.empty((len(planes.names), 0, 0), np.float32)
            return View(empty, planes.names, self._edges(x0, x0, y0, y0), factor, reduce)
        by, bx = (unit * factor for unit in planes.unit)
        grid = Grid.over(y0, y1, x0, x1, by, bx)
        if self.cached or not self._copy_serves(by, bx):
            values = self._from_pixels(planes, grid, largest=reduce == "max")
        else:
            values = self._copy(reduce).reduce(planes, grid)
        if planes.mosaic:
            values = interleave(values, self.pattern.period)
        across = factor if planes.mosaic else bx
        return View(
            values, planes.names, self._edges(grid.left, grid.right, grid.top, grid.bottom), across, reduce
        )

    def block_for(self, region: Region | None, width: int, height: int, *, channel: str | None = None) -> int:
        """The smallest block with which *region* fits into *width* × *height*, in units of the channel."""
        if width < 1 or height < 1:
            msg = f"a view of {width} × {height} values: both must be 1 or more"
            raise SettingError(msg)
        planes = planes_of(self.pattern, channel)
        x0, x1, y0, y1 = self._columns_and_rows(region)
        unit_y, unit_x = (1, 1) if planes.mosaic else planes.unit
        factor = max(1, math.ceil((x1 - x0) / (unit_x * width)), math.ceil((y1 - y0) / (unit_y * height)))
        if not self.cached and factor * planes.unit[0] > ReducedCopy.block_of(self.pattern)[0]:
            while not self._copy_serves(factor * planes.unit[0], factor * planes.unit[1]):
                factor += 1
        return factor

    def pixel(self, y: float, x: float) -> dict[str, Any] | None:
        """Everything that is known about the pixel at sensor position (y, x); None outside the frame.

        Returns
        -------
        dict or None
            ``y``, ``x``, ``value``, ``units``, ``channel`` ("" on a mono sensor), ``sigma`` (one standard
            deviation, None when not known) and ``flags`` (names).
        """
        row = round((y - self._offset[0]) / self._step) - self._origin[0]
        column = round((x - self._offset[1]) / self._step) - self._origin[1]
        if not (0 <= row < self.shape[0] and 0 <= column < self.shape[1]):
            return None
        sensor = [self._offset[i] + self._step * (self._origin[i] + n) for i, n in enumerate((row, column))]
        place = {"y": row, "x": column}
        pixels = self._pixels
        value = self.image.isel(place).values[()] if pixels is None else pixels[row, column]
        variance, flags = (self._extra.get(name) for name in ("variance", "flags"))
        var = math.nan if variance is None else float(variance.isel(place).values)
        return {
            "y": sensor[0],
            "x": sensor[1],
            "value": value.item(),
            "units": self.units,
            "channel": "" if self.pattern.is_mono else self.pattern.label(int(sensor[0]), int(sensor[1])),
            "sigma": math.sqrt(var) if var >= 0 else None,
            "flags": [] if flags is None else flag_names(int(flags.isel(place).values)),
        }

    def sample(self, channel: str | None = None) -> tuple[np.ndarray, ...]:
        """Single pixels on a regular grid over the frame: finite float32 values, one array per plane.

        The grid lies on every 5ⁿ-th sensor pixel, so that frames of one size are sampled at the same pixels
        and every colour of a pattern is met.
        """
        planes = planes_of(self.pattern, channel)
        grid, rows, columns = self._sampled
        if planes.mosaic:
            return (grid[np.isfinite(grid)],)
        py, px = planes.cell.shape
        kinds = planes.cell[np.ix_(rows % py, columns % px)]
        return tuple(grid[(kinds == n) & np.isfinite(grid)] for n in range(planes.count))

    def sample_grid(self) -> xr.DataArray:
        """The pixels of `sample` with their sensor coordinates, float32 with dims (y, x)."""
        grid, rows, columns = self._sampled
        coords = {
            "y": self._offset[0] + self._step * rows,
            "x": self._offset[1] + self._step * columns,
        }
        return xr.DataArray(grid, coords, ("y", "x"))

    # ---- places ----------------------------------------------------------------------------------------

    def _columns_and_rows(self, region: Region | None) -> tuple[int, int, int, int]:
        """The grid columns and rows that *region* touches, inside the frame."""
        if region is None:
            (first_y, first_x), (height, width) = self._origin, self.shape
            return first_x, first_x + width, first_y, first_y + height
        if len(region) != 4 or not all(math.isfinite(edge) for edge in region):
            msg = f"region {region!r}: four numbers (x0, x1, y0, y1) in sensor pixels are wanted"
            raise SettingError(msg)
        found = []
        for axis, low, high in ((1, *sorted(region[:2])), (0, *sorted(region[2:]))):
            first, size = self._origin[axis], self.shape[axis]
            start = math.floor((low - self._offset[axis]) / self._step + 0.5)
            stop = math.ceil((high - self._offset[axis]) / self._step - 0.5) + 1
            found += [min(max(start, first), first + size), min(max(stop, first), first + size)]
        return found[0], found[1], found[2], found[3]

    def _edges(self, x0: int, x1: int, y0: int, y1: int) -> Region:
        (off_y, off_x), step = self._offset, self._step
        return tuple(
            off + step * (edge - 0.5) for off, edge in ((off_x, x0), (off_x, x1), (off_y, y0), (off_y, y1))
        )

    # ---- where the values come from -------------------------------------------------------------------

    def _rows(self, y0: int, y1: int, columns: slice = slice(None)) -> np.ndarray:
        return _native(self.image.isel(y=slice(y0, y1), x=columns).values)

    def _from_pixels(self, planes: Planes, grid: Grid, *, largest: bool) -> np.ndarray:
        (first_y, first_x), (height, width) = self._origin, self.shape
        y0, y1 = max(0, grid.top - first_y), min(height, grid.bottom - first_y)
        columns = slice(max(0, grid.left - first_x), min(width, grid.right - first_x))
        first = (first_y + y0, first_x + columns.start)
        kept = self._pixels
        if kept is None:
            pixels = self._rows(y0, y1, columns)
            columns = slice(0, pixels.shape[1])
        else:
            pixels = kept[y0:y1]
        return reduce_pixels(pixels, first, columns, planes, grid, largest=largest)[0]

    def _copy_serves(self, by: int, bx: int) -> bool:
        own = ReducedCopy.block_of(self.pattern)
        return by % own[0] == 0 and bx % own[1] == 0

    def _copy(self, reduce: str) -> ReducedCopy:
        """The reduced copy of a frame that is not kept, made when it is first needed."""
        if reduce not in self._copies:
            rows, columns = self._sample_lines
            grid = np.empty((rows.size, columns.size), np.float32)
            first_y, first_x = self._origin

            def read(y0: int, y1: int) -> np.ndarray:
                pixels = self._rows(y0, y1)
                here = (rows >= first_y + y0) & (rows < first_y + y1)
                grid[here] = pixels[np.ix_(rows[here] - first_y - y0, columns - first_x)]
                return pixels

            self._copies[reduce] = ReducedCopy(
                self.pattern,
                self._origin,
                self.shape,
                read,
                pixel_bytes=self.image.dtype.itemsize,
                largest=reduce == "max",
            )
            self.__dict__["_sampled"] = (grid, rows, columns)  # which the one pass over the frame met, too
        return self._copies[reduce]

    @property
    def _sample_lines(self) -> tuple[np.ndarray, np.ndarray]:
        stride = 1
        while self.shape[0] * self.shape[1] > SAMPLE_SIZE * stride * stride:
            stride *= 5
        (first_y, first_x), (height, width) = self._origin, self.shape
        return (
            np.arange(-(-first_y // stride) * stride, first_y + height, stride),
            np.arange(-(-first_x // stride) * stride, first_x + width, stride),
        )

    @cached_property
    def _sampled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        kept = self._pixels
        if kept is None:
            self._copy("mean")
            return self.__dict__["_sampled"]
        rows, columns = self._sample_lines
        picked = kept[np.ix_(rows - self._origin[0], columns - self._origin[1])]
        return picked.astype(np.float32), rows, columns


def view_of(
    image: Image | FrameView,
    region: Region | None = None,
    width: int = 1000,
    height: int = 700,
    *,
    reduce: Literal["mean", "max"] = "mean",
    channel: str | None = None,
) -> View:
    """What to show of *image* in *region* on *width* × *height* screen pixels.

    Parameters
    ----------
    image : xarray.DataArray, xarray.Dataset, numpy.ndarray or path
        One frame with dims (y, x).
    region : tuple of float, optional
        Edges in sensor pixels, (x0, x1, y0, y1); the whole frame when not given. What lies outside the
        frame is left out.
    width, height : int
        The most columns and rows to return.
    reduce : {"mean", "max"}
        The mean of each block, or its largest value: a single hot pixel vanishes in a mean.
    channel : str, optional
        ``"mosaic"`` (default): the whole grid. Where a colour sensor has to be reduced, each value is the
        mean of pixels of one colour and the grid of the values repeats the sensor's pattern.
        ``"R"``, ``"G1"`` …: one channel. ``"colour"``: red, green and blue of the same blocks.

    Returns
    -------
    View
        Its extent covers the request as far as the frame does. It is never upsampled, and colours are
        never mixed.

    Raises
    ------
    SettingError
        The image is not one frame, or the region, size, reduction or channel cannot be.

    Examples
    --------
    >>> import numpy as np
    >>> view = view_of(np.ones((4000, 6000), np.uint16), width=1000, height=1000)
    >>> view.shape, view.block
    ((667, 1000), 6)
    """
    frame = image if isinstance(image, FrameView) else FrameView(image)
    return frame.view(region, width, height, reduce=reduce, channel=channel)


def _native(array: np.ndarray) -> np.ndarray:
    """In this machine's byte order and row by row, as the kernels want it."""
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))

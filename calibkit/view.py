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
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from calibkit.cfa import Pattern, pattern_of
from calibkit.cfa.phase import origin
from calibkit.errors import SettingError
from calibkit.flags import flag_names
from calibkit.memory import band_rows, memory_limit, worker_count

Region = tuple[float, float, float, float]
Image = "FrameView | xr.DataArray | xr.Dataset | np.ndarray | str | os.PathLike[str]"

#: The whole grid, every pixel on its own place: the only channel of a sensor without filters.
MOSAIC = "mosaic"
#: Red, green and blue as three planes of the same blocks.
COLOUR = "colour"
#: Samples for levels and histograms come from at most about this many pixels.
SAMPLE_SIZE = 1_000_000
#: Blocks in the reduced copy of a frame that is not kept: this many cells of the pattern on a side.
_LEVEL_CELLS = 2


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


@dataclass(frozen=True)
class _Planes:
    """How pixels are dealt out to planes: a cell of plane numbers, and the smallest block that has them all."""

    names: tuple[str, ...]
    cell: np.ndarray
    count: int
    unit: tuple[int, int]
    interleaved: bool = False


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

    Examples
    --------
    >>> import numpy as np
    >>> frame = FrameView(np.arange(24.0).reshape(4, 6))
    >>> frame.view(width=3, height=2).values[0]
    array([[ 3.5,  5.5,  7.5],
           [15.5, 17.5, 19.5]], dtype=float32)
    """

    def __init__(self, image: Image, *, cache_bytes: int | None = None) -> None:
        signal, self._extra = _signal_of(image)
        self.units: str = str(signal.attrs.get("units", ""))
        self.pattern: Pattern = pattern_of(signal)
        self.shape: tuple[int, int] = (signal.sizes["y"], signal.sizes["x"])
        self._origin, self._offset, self._step = _grid(signal, self.pattern)
        self.rows_upward: bool = signal.attrs.get("roworder") in ("BOTTOM-UP", "")
        limit = memory_limit() // 16 if cache_bytes is None else cache_bytes
        lazy = signal.chunks is not None
        self.cached: bool = not lazy or signal.nbytes <= limit
        self._signal = signal
        self._kept: np.ndarray | None = None
        self._reduced: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def __repr__(self) -> str:
        height, width = self.shape
        return f"FrameView({height} × {width}{f' {self.units}' if self.units else ''})"

    @property
    def extent(self) -> Region:
        """Outer edges of the frame in sensor pixels, (x0, x1, y0, y1)."""
        return self._edges(self._origin[1], self._origin[1] + self.shape[1], self._origin[0], self._bottom)

    def release(self) -> None:
        """Give back the memory that a lazy frame takes; it is computed again when it is needed."""
        if self._signal.chunks is not None:
            self._kept = None
            self._reduced.clear()

    @property
    def _pixels(self) -> np.ndarray | None:
        """The whole frame, where it is kept."""
        if self.cached and self._kept is None:
            self._kept = _native(self._signal.values)
        return self._kept

    @property
    def _bottom(self) -> int:
        return self._origin[0] + self.shape[0]

    @property
    def channels(self) -> tuple[str, ...]:
        """What can be shown: the mosaic, colour where there are red, green and blue, each channel."""
        if self.pattern.is_mono:
            return (MOSAIC,)
        colour = (COLOUR,) if {"R", "G", "B"} <= set(self.pattern.colours) else ()
        return (MOSAIC, *colour, *self.pattern.channels)

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

        *block* asks for blocks of that many pixels instead, a multiple of what the channel allows.
        """
        planes = self._planes(channel)
        if reduce not in ("mean", "max"):
            msg = f"reduce={reduce!r}: allowed are 'mean' and 'max'"
            raise SettingError(msg)
        if width < 1 or height < 1:
            msg = f"a view of {width} × {height} values: both must be 1 or more"
            raise SettingError(msg)
        x0, x1, y0, y1 = self._columns_and_rows(self.extent if region is None else region)
        factor = block or self.block_for(region, width, height, channel=channel)
        by, bx = (unit * factor for unit in planes.unit)
        if x0 >= x1 or y0 >= y1:
            empty = np.empty((len(planes.names), 0, 0), np.float32)
            return View(empty, planes.names, self._edges(x0, x0, y0, y0), factor, reduce)
        left, right, top, bottom = x0 // bx * bx, -(-x1 // bx) * bx, y0 // by * by, -(-y1 // by) * by
        size = (planes.count, (bottom - top) // by, (right - left) // bx)
        if self.cached or not self._level_fits(by, bx):
            values = self._from_pixels(planes, left, top, by, bx, size, reduce)
        else:
            values = self._from_level(planes, left, top, by, bx, size, reduce)
        if planes.interleaved:
            values = _interleave(values, self.pattern.period)
        across = factor * (1 if planes.interleaved else planes.unit[1])
        return View(values, planes.names, self._edges(left, right, top, bottom), across, reduce)

    def block_for(self, region: Region | None, width: int, height: int, *, channel: str | None = None) -> int:
        """The smallest block with which *region* fits into *width* × *height*."""
        planes = self._planes(channel)
        x0, x1, y0, y1 = self._columns_and_rows(self.extent if region is None else region)
        unit_y, unit_x = (1, 1) if planes.interleaved else planes.unit
        factor = max(1, math.ceil((x1 - x0) / (unit_x * width)), math.ceil((y1 - y0) / (unit_y * height)))
        if not self.cached:
            level_y = self.pattern.period[0] * _LEVEL_CELLS
            while factor * planes.unit[0] > level_y and not self._level_fits(
                factor * planes.unit[0], factor * planes.unit[1]
            ):
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
        value = self._signal.isel(place).values[()] if pixels is None else pixels[row, column]
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
        planes = self._planes(channel)
        grid, rows, columns = self._sampled
        if planes.interleaved:
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

    # ---- how pixels become planes ---------------------------------------------------------------------

    def _planes(self, channel: str | None) -> _Planes:
        pattern, name = self.pattern, channel or MOSAIC
        if name not in self.channels:
            msg = f"channel {name!r}: this frame ({pattern.text or 'mono'}) has {', '.join(self.channels)}"
            raise SettingError(msg)
        if name == MOSAIC:
            py, px = pattern.period
            sites = np.arange(py * px, dtype=np.uint8).reshape(py, px)
            return _Planes((MOSAIC,), sites, py * px, (py, px), interleaved=True)
        names = ("R", "G", "B") if name == COLOUR else (name,)
        labels = pattern.labels
        cell = np.full(labels.shape, 255, np.uint8)
        for number, plane in enumerate(names):
            # In colour the two greens of a Bayer cell are one plane; alone each is itself.
            cell[np.char.startswith(labels, plane) if name == COLOUR else labels == plane] = number
        return _Planes(names, cell, len(names), _smallest_block(pattern))

    def _columns_and_rows(self, region: Region) -> tuple[int, int, int, int]:
        """The grid columns and rows that *region* touches, inside the frame."""
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

    def _from_pixels(
        self, planes: _Planes, left: int, top: int, by: int, bx: int, size: tuple, reduce: str
    ) -> np.ndarray:
        first_y, first_x = self._origin
        rows = slice(max(0, top - first_y), min(self.shape[0], top + size[1] * by - first_y))
        columns = slice(max(0, left - first_x), min(self.shape[1], left + size[2] * bx - first_x))
        if self._pixels is not None:
            pixels, x0, x1 = self._pixels[rows], columns.start, columns.stop
        else:
            pixels = _native(self._signal.isel(y=rows, x=columns).values)
            x0, x1 = 0, pixels.shape[1]
        offset = (rows.start + first_y - top, columns.start + first_x - left)
        return _reduce(pixels, planes.cell, (x0, x1), offset, (by, bx), size, reduce)[0]

    def _level_fits(self, by: int, bx: int) -> bool:
        py, px = self.pattern.period
        return by % (py * _LEVEL_CELLS) == 0 and bx % (px * _LEVEL_CELLS) == 0

    def _from_level(
        self, planes: _Planes, left: int, top: int, by: int, bx: int, size: tuple, reduce: str
    ) -> np.ndarray:
        from calibkit.kernels.view import merge_blocks

        means, weights = self._level(reduce)
        py, px = self.pattern.period
        small_y, small_x = py * _LEVEL_CELLS, px * _LEVEL_CELLS
        row, column = (
            top // small_y - self._origin[0] // small_y,
            left // small_x - self._origin[1] // small_x,
        )
        rows = slice(max(0, row), max(0, row + size[1] * by // small_y))
        columns = slice(max(0, column), max(0, column + size[2] * bx // small_x))
        out = np.empty(size, np.float32)
        merge_blocks(
            np.ascontiguousarray(means[:, rows, columns]),
            np.ascontiguousarray(weights[:, rows, columns]),
            planes.cell.ravel(),
            max(0, -row),
            max(0, -column),
            by // small_y,
            bx // small_x,
            reduce == "max",
            out,
        )
        return out

    def _level(self, reduce: str) -> tuple[np.ndarray, np.ndarray]:
        """The reduced copy: value and number of pixels of every site of the pattern in every block."""
        if reduce not in self._reduced:
            self._go_through(reduce)
        return self._reduced[reduce]

    def _go_through(self, reduce: str) -> None:
        """Read the whole frame once, by bands: its reduced copy, and the pixels of the sample."""
        (py, px), (first_y, first_x) = self.pattern.period, self._origin
        by, bx = py * _LEVEL_CELLS, px * _LEVEL_CELLS
        top, left = first_y // by * by, first_x // bx * bx
        size = (py * px, -(-(self._bottom - top) // by), -(-(first_x + self.shape[1] - left) // bx))
        sites = np.arange(py * px, dtype=np.uint8).reshape(py, px)
        means, weights = np.empty(size, np.float32), np.empty(size, np.int32)
        rows, columns = self._sample_lines
        grid = np.empty((rows.size, columns.size), np.float32)
        band = band_rows(
            self.shape[0], self.shape[1], bytes_per_pixel=self._signal.dtype.itemsize, multiple=by
        )
        for start in range(top, self._bottom, band):
            y0, y1 = max(start, first_y), min(start + band, self._bottom)
            pixels = _native(self._signal.isel(y=slice(y0 - first_y, y1 - first_y)).values)
            j0, j1 = (start - top) // by, (start - top) // by + -(-(y1 - start) // by)
            block = (size[0], j1 - j0, size[2])
            offset = (y0 - start, first_x - left)
            out = _reduce(pixels, sites, (0, self.shape[1]), offset, (by, bx), block, reduce)
            means[:, j0:j1], weights[:, j0:j1] = out
            here = (rows >= y0) & (rows < y1)
            grid[here] = pixels[np.ix_(rows[here] - y0, columns - first_x)]
        self._reduced[reduce] = (means, weights)
        self.__dict__["_sampled"] = (grid, rows, columns)

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
        if self._pixels is None:
            self._go_through("mean")  # which sets this very attribute
            return self.__dict__["_sampled"]
        rows, columns = self._sample_lines
        picked = self._pixels[np.ix_(rows - self._origin[0], columns - self._origin[1])]
        return picked.astype(np.float32), rows, columns


def view_of(
    image: Image,
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


def _reduce(
    pixels: np.ndarray,
    cell: np.ndarray,
    columns: tuple,
    offset: tuple,
    block: tuple,
    size: tuple,
    reduce: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of *pixels*, with the rows of blocks shared out to threads."""
    from calibkit.kernels.view import reduce_blocks

    out, counts = np.empty(size, np.float32), np.empty(size, np.int32)

    def work(j0: int, j1: int) -> None:
        first = max(0, j0 * block[0] - offset[0])
        part = pixels[first : max(0, j1 * block[0] - offset[0])]
        top = first + offset[0] - j0 * block[0]
        shape = (size[0], j1 - j0, size[2])
        values, numbers = np.empty(shape, np.float32), np.empty(shape, np.int32)
        reduce_blocks(part, cell, *columns, top, offset[1], *block, reduce == "max", values, numbers)
        out[:, j0:j1], counts[:, j0:j1] = values, numbers

    workers = worker_count() if pixels.size > 500_000 else 1
    if workers == 1:
        work(0, size[1])
    else:
        edges = np.linspace(0, size[1], 2 * workers + 1).astype(int)
        with ThreadPoolExecutor(workers, thread_name_prefix="calibkit-view") as pool:
            list(pool.map(work, edges[:-1], edges[1:]))
    return out, counts


def _interleave(sites: np.ndarray, period: tuple[int, int]) -> np.ndarray:
    py, px = period
    _, rows, columns = sites.shape
    grid = sites.reshape(py, px, rows, columns).transpose(2, 0, 3, 1)
    return np.ascontiguousarray(grid.reshape(1, rows * py, columns * px))


def _smallest_block(pattern: Pattern) -> tuple[int, int]:
    """The smallest tile of the pattern's cell in which every channel occurs."""
    py, px = pattern.period
    labels, everything = pattern.labels, set(pattern.channels)
    sizes = [(ty, tx) for ty in range(1, py + 1) for tx in range(1, px + 1) if py % ty == 0 and px % tx == 0]
    for ty, tx in sorted(sizes, key=lambda size: (size[0] * size[1], abs(size[0] - size[1]))):
        tiles = labels.reshape(py // ty, ty, px // tx, tx).transpose(0, 2, 1, 3).reshape(-1, ty * tx)
        if all(set(tile) >= everything for tile in tiles.tolist()):
            return ty, tx
    return py, px


def _signal_of(image: Image) -> tuple[xr.DataArray, dict[str, xr.DataArray]]:
    """The pixels to show, and the variance and flags that belong to them."""
    if isinstance(image, str | os.PathLike):
        image = open_image(image)
    extra: dict[str, xr.DataArray] = {}
    if isinstance(image, xr.Dataset):
        if "signal" not in image:
            msg = f"a Dataset is shown by its variable 'signal'; this one has {', '.join(map(str, image)) or 'none'}"
            raise SettingError(msg)
        extra = {str(name): image[name] for name in ("variance", "flags") if name in image}
        image = image["signal"].assign_attrs({**image.attrs, **image["signal"].attrs})
    elif not isinstance(image, xr.DataArray):
        array = np.asarray(image)
        if array.ndim != 2:
            msg = f"one frame has two dimensions (y, x); this array has the shape {array.shape}"
            raise SettingError(msg)
        image = xr.DataArray(array, dims=("y", "x"))
    if set(image.dims) != {"y", "x"}:
        hint = "; take one with .isel(frame=0)" if "frame" in image.dims else ""
        msg = f"one frame has the dims (y, x); found {tuple(image.dims)}{hint}"
        raise SettingError(msg)
    if image.dtype.kind not in "uif":
        msg = f"pixels are real numbers; these are {image.dtype}"
        raise SettingError(msg)
    if image.size == 0:
        msg = f"this frame has no pixels: its shape is {image.shape}"
        raise SettingError(msg)
    return image.transpose("y", "x"), {name: a.transpose("y", "x") for name, a in extra.items()}


def _grid(signal: xr.DataArray, pattern: Pattern) -> tuple[tuple[int, int], tuple[float, float], float]:
    """First grid position (y, x), sensor position of grid 0, and sensor pixels per grid step."""
    if not pattern.is_mono:
        return origin(signal, pattern), (0.0, 0.0), 1.0
    steps, firsts = [], []
    for dim in ("y", "x"):
        values = (
            signal.coords[dim].values.astype(float) if dim in signal.coords else np.arange(signal.sizes[dim])
        )
        gaps = np.diff(values)
        if gaps.size and not (gaps[0] > 0 and np.allclose(gaps, gaps[0])):
            msg = f"the coordinate {dim!r} must rise evenly to be an axis of a picture"
            raise SettingError(msg)
        steps.append(float(gaps[0]) if gaps.size else None)
        firsts.append(float(values[0]))
    known = [step for step in steps if step is not None] or [1.0]
    if len(known) == 2 and not math.isclose(*known):
        msg = f"pixels must be square to be shown: y goes by {known[0]:g} and x by {known[1]:g} sensor pixels"
        raise SettingError(msg)
    step = known[0]
    numbers = [math.floor(first / step) for first in firsts]
    offsets = [first - step * number for first, number in zip(firsts, numbers, strict=True)]
    return (numbers[0], numbers[1]), (offsets[0], offsets[1]), step


def image_of(image: Image) -> xr.DataArray:
    """The pixels of *image* as a DataArray with dims (y, x) and sensor coordinates; of a Dataset its signal."""
    signal = image._signal if isinstance(image, FrameView) else _signal_of(image)[0]
    missing = {dim: np.arange(signal.sizes[dim]) for dim in ("y", "x") if dim not in signal.coords}
    return signal.assign_coords(missing).reset_coords(drop=True)


def _native(array: np.ndarray) -> np.ndarray:
    """In this machine's byte order and row by row, as the kernels want it."""
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def open_image(path: str | os.PathLike[str]) -> xr.DataArray | xr.Dataset:
    """One image from a file: a result of calibkit with its variance and flags, or a frame."""
    from calibkit.frames import open_stack
    from calibkit.io.result_file import open_own

    result = open_own(Path(path))
    return open_stack([path]).isel(frame=0) if result is None else result[["signal", "variance", "flags"]]

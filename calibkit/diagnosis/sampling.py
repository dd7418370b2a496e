"""A sample of every frame: the same tiles, evenly spread, so that a test costs the same for any sensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from calibkit import meta
from calibkit.calibration.pairs import clipped_variance
from calibkit.cfa import channel_index
from calibkit.diagnosis.patterns import level_of, mean_of, sky_of
from calibkit.errors import SettingError
from calibkit.flags import REPAIRED, usable
from calibkit.frames import stack_source

#: Tiles down and across, at most, and pixels along the side of one, about.
_DOWN, _ACROSS, _SIDE = 16, 24, 48
#: Frames of a set whose pixels are looked at.
MOST_FRAMES = 10
#: Frames of a set whose levels are looked at, and rows of tiles for that.
_MOST_LEVELS, _LEVEL_ROWS = 200, 3
#: Tiles that the noise is measured in, and pairs of frames.
_NOISE_TILES, _NOISE_PAIRS = 96, 3
#: Samples further from their pixel's median than this many sigma are cosmic rays.
_STRUCK = 5.0


@dataclass(frozen=True)
class Grid:
    """Tiles of whole cells of the colour pattern, evenly spread over a frame.

    Values on the grid have the dimensions (site, tile, row, column): every site of the pattern's cell is a
    plane of its own, so that neighbours are of one colour; tiles are numbered row by row.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns of the frame.
    period : tuple of int
        Of the pattern.
    channels : tuple of str
    site_channel : numpy.ndarray
        Channel number of every site of the cell.
    rows, columns : numpy.ndarray
        First row and column of the tiles.
    size : tuple of int
        Rows and columns of a tile, in pixels.
    """

    shape: tuple[int, int]
    period: tuple[int, int]
    channels: tuple[str, ...]
    site_channel: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    size: tuple[int, int]

    @classmethod
    def of(cls, frame: xr.DataArray | xr.Dataset) -> Grid:
        """The grid for frames like this one."""
        cell, channels = channel_index(frame)
        shape = (frame.sizes["y"], frame.sizes["x"])
        starts, sizes = [], []
        for length, period, most in zip(shape, cell.shape, (_DOWN, _ACROSS), strict=True):
            step = math.lcm(period, 2)
            least = max(24, 8 * period)  # of every colour, enough for a median in each tile
            if length < 2 * least:
                msg = (
                    f"frames of {shape[1]} × {shape[0]} pixels are too small to be diagnosed: {2 * least} pixels along "
                    "each side are the least"
                )
                raise SettingError(msg)
            side = max(min(_SIDE, length // most) // step * step, least)
            count = min(most, length // side)
            first = np.linspace(0, length - side, count) if count > 1 else np.array([(length - side) / 2])
            starts.append((first // period * period).astype(int))
            sizes.append(side)
        return cls(
            shape, cell.shape, channels, cell.ravel().astype(int), starts[0], starts[1], (sizes[0], sizes[1])
        )

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.rows.size * self.columns.size

    @cached_property
    def place(self) -> tuple[np.ndarray, np.ndarray]:
        """y and x of the middle of every tile, from −1 to 1 over the frame."""
        y, x = (
            2 * (start + side / 2) / length - 1
            for start, side, length in zip((self.rows, self.columns), self.size, self.shape, strict=True)
        )
        grid = np.meshgrid(y, x, indexing="ij")
        return grid[0].ravel(), grid[1].ravel()

    def cut(self, read: Callable[[int, int], np.ndarray], rows: np.ndarray | None = None) -> np.ndarray:
        """Values (site, tile, row, column) of a frame; ``read(y0, y1)`` gives rows of it."""
        (ty, tx), (py, px) = self.size, self.period
        columns = (self.columns[:, None] + np.arange(tx)).ravel()
        strips = []
        for y0 in (self.rows if rows is None else rows).tolist():
            strip = np.asarray(read(y0, y0 + ty))[:, columns]
            strip = strip.reshape(ty // py, py, self.columns.size, tx // px, px).transpose(1, 4, 2, 0, 3)
            strips.append(strip.reshape(py * px, self.columns.size, ty // py, tx // px))
        return np.concatenate(strips, axis=1)

    def by_channel(self, values: np.ndarray) -> np.ndarray:
        """Mean over the sites of every channel: (site, …) to (channel, …); NaN is left out."""
        numbers = range(len(self.channels))
        return np.array([mean_of(values[self.site_channel == number], axis=0) for number in numbers])


class Sample:
    """Pixels of the frames of one kind, or of one master or result, on a grid.

    Parameters
    ----------
    name : str
        How the frames are called in findings.
    kind : str
        One of `calibkit.meta.KINDS`, or "result".
    grid : Grid
    data : DataArray or Dataset
        Raw frames, or a master or result with one frame.
    """

    def __init__(self, name: str, kind: str, grid: Grid, data: xr.DataArray | xr.Dataset) -> None:
        self.name, self.kind, self.grid, self.data = name, kind, grid, data
        self.raw = isinstance(data, xr.DataArray)
        self.frames: np.ndarray | None = None
        self.flags: np.ndarray | None = None
        if self.raw:
            stack = data if "frame" in data.dims else data.expand_dims("frame")
            self._stack = stack
            self.count = stack.sizes["frame"]
            self.chosen = np.unique(np.linspace(0, self.count - 1, min(self.count, MOST_FRAMES)).astype(int))
            self.frames = np.stack([grid.cut(_reader(stack, grid, i)) for i in self.chosen.tolist()])
        else:
            self.count = int(data.attrs.get("n_frames") or 1)
            self._signal = grid.cut(_reader(data["signal"], grid)).astype(np.float32)
            if "flags" in data:
                self.flags = grid.cut(_reader(data["flags"], grid))

    def __repr__(self) -> str:
        return f"<Sample {self.name}: {self.count} {'frames' if self.raw else 'combined'}>"

    def fact(self, name: str, default: Any = None) -> Any:
        """What the header says, when it says it and all frames agree."""
        return meta.frame_value(self.data, name, default)

    def facts(self, name: str) -> np.ndarray:
        """What the header of every frame says."""
        if name in self.data.coords:
            return np.atleast_1d(self.data.coords[name].values)
        return np.atleast_1d(self.data.attrs.get(name, meta.FRAME_COORDS[name][1]))

    def number(self, name: str) -> float:
        """Median of a number over the frames, NaN when it is not known."""
        values = np.asarray(self.facts(name), float)
        known = values[np.isfinite(values)]
        return float(np.median(known)) if known.size else math.nan

    @property
    def exposure(self) -> float:
        """Seconds; 0 for a bias that says nothing."""
        found = self.number("exposure")
        return 0.0 if self.kind == "bias" and math.isnan(found) else found

    @property
    def bias_subtracted(self) -> bool:
        """Whether the frames say that their bias is gone."""
        return bool(self.data.attrs.get("bias_subtracted", False))

    @property
    def is_constant(self) -> bool:
        """Whether it is one number for every channel on purpose: a black level."""
        return any(step.get("step") == "constant bias" for step in self.data.attrs.get("provenance", []))

    @property
    def saturation(self) -> float:
        """ADU, NaN when not known."""
        return float(self.data.attrs.get("saturation", math.nan))

    @cached_property
    def good(self) -> np.ndarray | None:
        """Pixels of a master or result that are measured, not flagged and not repaired; None for raw frames."""
        if self.raw:
            return None
        fine = np.isfinite(self._signal)
        if self.flags is not None:
            fine &= usable(self.flags) & ((self.flags & REPAIRED) == 0)
        return fine

    def calm(self) -> np.ndarray:
        """Raw frames as float32, with what a cosmic ray left brought down to where noise ends; not kept."""
        frames = self.frames.astype(np.float32)
        if len(frames) < 3:
            return frames
        spread = frames.var(axis=0, ddof=1)
        typical = level_of(spread)
        odd = spread > 4 * typical
        if odd.any():
            part = frames[:, odd]
            middle = np.median(part, axis=0)
            width = 1.4826 * np.median(np.abs(part - middle), axis=0)
            floor = np.sqrt(np.broadcast_to(typical, odd.shape)[odd])
            reach = _STRUCK * np.maximum(width, floor)
            frames[:, odd] = np.clip(part, middle - reach, middle + reach)
        return frames

    @cached_property
    def _combined(self) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
        frames = self.calm()
        halves = (frames[0::2].mean(axis=0), frames[1::2].mean(axis=0)) if len(frames) > 1 else None
        return frames.mean(axis=0), halves

    @cached_property
    def master(self) -> np.ndarray:
        """The frames combined, float32; NaN where a master has no good value."""
        if self.raw:
            return self._combined[0]
        return np.where(self.good, self._signal, np.nan)

    @property
    def signal(self) -> np.ndarray:
        """Pixels of a master or result as they are, flagged or not."""
        return self.master if self.raw else self._signal

    @property
    def halves(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Two half masters whose noise is independent; None for a single frame or a master."""
        return self._combined[1] if self.raw else None

    @cached_property
    def variance(self) -> np.ndarray | None:
        """Variance of a master or result as it says it."""
        if self.raw or "variance" not in self.data:
            return None
        return self.grid.cut(_reader(self.data["variance"], self.grid)).astype(np.float32)

    @cached_property
    def sky(self) -> np.ndarray:
        """Level of the combined frames in every tile without stars and hot pixels, (site, tile)."""
        return sky_of(self.master)

    @cached_property
    def pair_variance(self) -> np.ndarray | None:
        """Variance of one frame from differences of frames, (site, some tiles); None for a single frame."""
        if not self.raw or len(self.frames) < 2:
            return None
        found = []
        for i in range(min(_NOISE_PAIRS, len(self.frames) // 2)):
            first, second = (
                self.frames[j][:, self.noise_tiles].astype(np.float32) for j in (2 * i, 2 * i + 1)
            )
            a, b = (x.mean(axis=(-2, -1), keepdims=True, dtype=np.float64) for x in (first, second))
            ratio = 1.0
            if self.kind in ("flat", "light") and (b > 0).all():
                ratio = float(a.sum() / b.sum())  # lamps and skies change; an offset in it does no harm
            flat = (first - ratio * second).reshape(-1, first.shape[-2] * first.shape[-1])
            variance, _ = clipped_variance(flat)
            found.append(variance.reshape(first.shape[:2]) / (1 + ratio**2))
        return np.mean(found, axis=0)

    @cached_property
    def noise_tiles(self) -> np.ndarray:
        """Numbers of the tiles that noise is measured in."""
        tiles = self.grid.tiles
        return np.unique(np.linspace(0, tiles - 1, min(tiles, _NOISE_TILES)).astype(int))

    @cached_property
    def levels(self) -> np.ndarray:
        """Median of every frame in tiles, (frame, channel, tile); of at most 200 frames."""
        if not self.raw:
            return self.grid.by_channel(level_of(self.master)[..., 0, 0])[None]
        if len(self.frames) == self.count:
            return np.array([self.grid.by_channel(level_of(f)[..., 0, 0]) for f in self.frames])
        rows = self.grid.rows[np.linspace(0, self.grid.rows.size - 1, _LEVEL_ROWS).astype(int)]
        found = []
        for i in self.surveyed.tolist():
            values = self.grid.cut(_reader(self._stack, self.grid, i), np.unique(rows))
            found.append(self.grid.by_channel(level_of(values)[..., 0, 0]))
        return np.array(found)

    @cached_property
    def surveyed(self) -> np.ndarray:
        """Numbers of the frames that `levels` is about."""
        return np.unique(np.linspace(0, self.count - 1, min(self.count, _MOST_LEVELS)).astype(int))


def _reader(data: xr.DataArray, grid: Grid, frame: int | None = None) -> Callable[[int, int], np.ndarray]:
    """``read(y0, y1)`` of one frame of *data*, for the rows of the grid."""
    source = stack_source(data) if frame is not None else None
    if source is not None:
        return lambda y0, y1: source.read(frame, y0, y1)
    array = data.data if frame is None else data.data[frame]
    if not hasattr(array, "dask"):
        return lambda y0, y1: array[y0:y1]
    # In one go: what is calibrated lazily is worked out in bands that are higher than a tile.
    numbers = np.unique((grid.rows[:, None] + np.arange(grid.size[0])).ravel())
    rows = np.asarray(array[numbers])
    return lambda y0, y1: rows[np.searchsorted(numbers, y0) : np.searchsorted(numbers, y1)]

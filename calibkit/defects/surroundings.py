"""Smooth level and noise of a frame per channel, and how far each pixel stands out from its neighbours."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import ndimage

from calibkit.calibration.checks import check_size
from calibkit.cfa import channel_index
from calibkit.cfa.neighbours import neighbour_taps, reach_of
from calibkit.defects.rows import rows_in
from calibkit.flags import NO_DATA
from calibkit.memory import Scratch
from calibkit.threads import in_threads

#: Rows and columns of the tiles in which level and noise are measured, about.
TILE = 64
#: Rings of neighbours whose median a pixel is compared with.
_REACHES = (1, 2, 3)
_CLIP = 4.0
#: From this share of a tile's variance on, the slope of its level is taken out of it.
_STEEP = 0.04

_scratch = Scratch()


@dataclass(frozen=True)
class Surroundings:
    """Level and noise on a grid of tiles: arrays (channel, row of tiles, column of tiles)."""

    level: np.ndarray
    sigma: np.ndarray
    rows: np.ndarray  # first rows of the tiles
    columns: np.ndarray
    tile: tuple[int, int]


def measure_surroundings(
    frame: xr.Dataset, *, variable: str = "signal", shadows: bool = False
) -> Surroundings:
    """Clipped mean and standard deviation of *variable* in tiles, each channel by itself.

    Where the level rises within a tile, as in the glow of an amplifier, the rise is no part of the deviation, unless
    the frame has *shadows*: the rim of one, in a flat, is no row of defects.
    """
    from calibkit.kernels.tile_statistics import tile_roughness, tile_statistics

    check_size(frame, "surroundings of a pixel")
    cell, channels = channel_index(frame)
    shape, data = frame[variable].shape, rows_in(frame, variable)
    tile = tuple(
        max(min(size, -(-TILE // p) * p) // p, 1) * p for size, p in zip(shape, cell.shape, strict=True)
    )
    rows, columns = (_starts(size, t, p) for size, t, p in zip(shape, tile, cell.shape, strict=True))
    level = np.full((len(channels), rows.size, columns.size), np.nan)
    sigma = np.full_like(level, np.nan)

    def measure(i: int) -> None:
        band = data(rows[i], rows[i] + tile[0]).astype(np.float32, copy=False)
        tile_statistics(band, cell, columns, tile[1], _CLIP, level[:, i], sigma[:, i])

    in_threads(measure, range(rows.size))
    steep = np.zeros(level.shape, bool) if shadows else _steep(level, sigma)

    def flatten(i: int) -> None:
        band = data(rows[i], rows[i] + tile[0]).astype(np.float32, copy=False)
        tile_roughness(band, cell, columns, tile[1], _CLIP, steep[:, i], sigma[:, i])

    in_threads(flatten, np.flatnonzero(steep.any(axis=(0, 2))).tolist())
    for c in range(len(channels)):
        level[c], sigma[c] = _filled(level[c]), _filled(sigma[c])
        # Noise varies slowly; a median over tiles takes the scatter out of its estimate.
        sigma[c] = ndimage.median_filter(sigma[c], size=3, mode="nearest")
    floor = 1e-6 * np.abs(level) + 1e-30  # rounding, where a frame is constant
    known = frame.attrs.get("frame_noise")
    if variable == "signal" and isinstance(known, dict) and set(channels) <= set(known):
        # A mean of whole numbers may hide its noise: most pixels come out equal.
        least = np.array([known[name] for name in channels]) / np.sqrt(frame.attrs.get("n_frames", 1))
        floor = np.maximum(floor, np.nan_to_num(least)[:, None, None])
    return Surroundings(level, np.maximum(sigma, floor), rows, columns, tile)


@dataclass(frozen=True)
class Standing:
    """Pixels that stand out in some rows of a frame, in memory that lasts until the thread asks for others."""

    place: np.ndarray  # in the flat array of these rows, ascending
    stands: np.ndarray  # by how many sigma, float32
    signal: np.ndarray  # of all pixels of these rows, (y, x)
    flags: np.ndarray | None  # of the frame, likewise

    def has(self, place: np.ndarray) -> np.ndarray:
        """Whether these places are among those that stand out at all."""
        at = np.searchsorted(self.place, place)
        found = at < self.place.size
        at = at[found]
        found[found] = (self.place[at] == place[found]) & (self.stands[at] != 0)
        return found


class Comparison:
    """By how many sigma pixels lie above the median of their neighbours.

    Parameters
    ----------
    frame : xarray.Dataset
        One frame, ``(y, x)``.
    around : Surroundings
        Of the same frame.
    least : float
        Pixels that are closer to the smooth level are not looked at.
    """

    def __init__(self, frame: xr.Dataset, around: Surroundings, *, least: float) -> None:
        self._cell, _ = channel_index(frame)
        self._taps, self._rings = neighbour_taps(self._cell, _REACHES)
        self._window, self._mask = window_of(self._taps, self._rings)
        self._halo = reach_of(self._taps)
        self._signal = rows_in(frame, "signal")
        self._flags = rows_in(frame, "flags") if "flags" in frame else None
        self._shape = frame["signal"].shape
        self._nodes = [
            values
            for size, start, t in zip(self._shape, (around.rows, around.columns), around.tile, strict=True)
            for values in _nodes(size, start, t)
        ]
        self._grids = [
            np.pad(grid, ((0, 0), (0, 1), (0, 1)), mode="edge") for grid in (around.level, around.sigma)
        ]
        self._least = float(least)

    def rows(self, y0: int, y1: int) -> Standing:
        """Those in rows *y0* to *y1*."""
        from calibkit.kernels.defects import drop_flagged, finite_rows, stand_out

        height, width = self._shape
        above, below = max(0, y0 - self._halo), min(height, y1 + self._halo)
        signal = _scratch.take("signal", (below - above, width), np.float32)
        finite_rows(self._signal(above, below), signal)
        flags = None if self._flags is None else self._flags(above, below)
        if flags is not None:
            drop_flagged(flags, np.uint16(NO_DATA), signal)
        # Of both only as much is used as there are such pixels.
        place = _scratch.take("place", ((y1 - y0) * width,), np.int32)
        stands = _scratch.take("stands", ((y1 - y0) * width,), np.float32)
        count = stand_out(
            signal,
            np.roll(self._cell, -above, axis=0),
            np.roll(self._taps, -above, axis=0),
            np.roll(self._rings, -above, axis=0),
            self._window,
            np.roll(self._mask, -above, axis=0),
            *self._nodes,
            *self._grids,
            self._least,
            y0 - above,
            y1 - above,
            above,
            place,
            stands,
        )
        own = slice(y0 - above, y1 - above)
        return Standing(place[:count], stands[:count], signal[own], None if flags is None else flags[own])


def window_of(taps: np.ndarray, rings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The neighbours of `calibkit.cfa.neighbours.neighbour_taps` as rows of a window.

    Returns
    -------
    window : numpy.ndarray
        int64 (part, row): offsets of rows that hold neighbours; no part where they do not fit.
    mask : numpy.ndarray
        uint32 (py, px, part, row, column): 1 for a neighbour, from the leftmost of all columns on.
    """
    from calibkit.kernels.defects import WINDOW_COLUMNS, WINDOW_ROWS

    found = np.unique(taps[..., 0])
    left = int(np.abs(taps[..., 1]).max())
    parts = -(-found.size // WINDOW_ROWS) if 2 * left < WINDOW_COLUMNS else 0
    window = np.zeros(parts * WINDOW_ROWS, np.int64)
    mask = np.zeros((*rings.shape[:2], window.size, WINDOW_COLUMNS), np.uint32)
    if parts:
        window[: found.size] = found
        for a, b in np.ndindex(rings.shape[:2]):
            dy, dx = taps[a, b, : rings[a, b, -1]].T
            mask[a, b, np.searchsorted(found, dy), dx + left] = 1
    return (
        window.reshape(parts, WINDOW_ROWS),
        mask.reshape(*rings.shape[:2], parts, WINDOW_ROWS, WINDOW_COLUMNS),
    )


def bands_of(height: int) -> list[tuple[int, int]]:
    """Rows (start, stop) of bands of a tile's length; the last one holds what is left over besides."""
    starts = range(0, max(height - TILE, 0) + 1, TILE)
    return list(itertools.pairwise([*starts, height]))


def standing_out(frame: xr.Dataset, around: Surroundings, *, least: float) -> np.ndarray:
    """What `Comparison` finds in the whole *frame*: float32 (y, x), 0 for ordinary pixels."""
    found = Comparison(frame, around, least=least)
    out = np.zeros(frame["signal"].shape, np.float32)

    def compare(band: tuple[int, int]) -> None:
        here = found.rows(*band)
        out[slice(*band)].reshape(-1)[here.place] = here.stands

    in_threads(compare, bands_of(out.shape[0]))
    return out


def _steep(level: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Tiles whose level differs so much from a neighbour's that its rise is a good part of their variance."""
    rise = np.zeros_like(level)
    for axis in (1, 2):
        step = np.nan_to_num(np.diff(level, axis=axis)) ** 2
        ends = [(0, 0)] * 3
        before, after = ends.copy(), ends.copy()
        before[axis], after[axis] = (1, 0), (0, 1)
        rise += np.maximum(np.pad(step, before), np.pad(step, after))
    return rise / 12 > _STEEP * sigma**2


def _starts(size: int, tile: int, period: int) -> np.ndarray:
    """First rows of tiles that cover the frame; the last one is moved back to fit."""
    starts = list(range(0, size - tile + 1, tile))
    last = (size - tile) // period * period
    return np.array(starts if starts[-1] == last else [*starts, last])


def _nodes(size: int, starts: np.ndarray, tile: int) -> tuple[np.ndarray, np.ndarray]:
    """The tile whose centre lies before every row, and the weight of the next one."""
    centres = starts + (tile - 1) / 2
    place = np.clip(np.interp(np.arange(size), centres, np.arange(starts.size)), 0, None)
    node = np.floor(place).astype(np.int64)
    return node, (place - node).astype(np.float64)


def _filled(grid: np.ndarray) -> np.ndarray:
    """*grid* with the nearest known value where there is none."""
    unknown = np.isnan(grid)
    if unknown.all():
        return np.zeros_like(grid)
    if not unknown.any():
        return grid
    nearest = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
    return grid[tuple(nearest)]


class TileLevels:
    """The level of the nearest tile at any pixel.

    Parameters
    ----------
    around : Surroundings
    frame : xarray.Dataset
        That they are of.
    """

    def __init__(self, around: Surroundings, frame: xr.Dataset) -> None:
        self._cell, _ = channel_index(frame)
        self._level = around.level.astype(np.float32)
        self._down, self._across = (
            np.abs(np.arange(size)[:, None] - (starts + (t - 1) / 2)).argmin(axis=1)
            for size, starts, t in zip(
                frame["signal"].shape, (around.rows, around.columns), around.tile, strict=True
            )
        )

    def at(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The levels at rows *y* and columns *x*, float32."""
        py, px = self._cell.shape
        return self._level[self._cell[y % py, x % px], self._down[y], self._across[x]]

    def above(self, values: np.ndarray, factor: float, y0: int) -> np.ndarray:
        """Places in the flat array of *values*, which are rows from *y0* on, that lie above *factor* times the level."""
        from calibkit.kernels.defects import places_above

        place = _scratch.take("above", (values.size,), np.int32)
        cell, down = np.roll(self._cell, -y0, axis=0), self._down[y0 : y0 + values.shape[0]]
        count = places_above(values, cell, self._level, down, self._across, float(factor), place)
        return place[:count]

"""Smooth level and noise of a frame per channel, and how far each pixel stands out from its neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import ndimage

from calibkit.calibration.checks import check_size
from calibkit.cfa import channel_index
from calibkit.cfa.neighbours import neighbour_taps, reach_of
from calibkit.flags import NO_DATA
from calibkit.memory import band_rows, worker_count
from calibkit.threads import in_threads

#: Rows and columns of the tiles in which level and noise are measured, about.
TILE = 64
#: Rings of neighbours whose median a pixel is compared with.
_REACHES = (1, 2, 3)
_CLIP = 4.0
#: From this share of a tile's variance on, the slope of its level is taken out of it.
_STEEP = 0.04


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
    from calibkit.kernels.defects import tile_roughness, tile_statistics

    check_size(frame, "surroundings of a pixel")
    cell, channels = channel_index(frame)
    data = frame[variable].data
    tile = tuple(
        max(min(size, -(-TILE // p) * p) // p, 1) * p for size, p in zip(data.shape, cell.shape, strict=True)
    )
    rows, columns = (_starts(size, t, p) for size, t, p in zip(data.shape, tile, cell.shape, strict=True))
    level = np.full((len(channels), rows.size, columns.size), np.nan)
    sigma = np.full_like(level, np.nan)

    def measure(i: int) -> None:
        band = np.ascontiguousarray(data[rows[i] : rows[i] + tile[0]], np.float32)
        tile_statistics(band, cell, columns, tile[1], _CLIP, level[:, i], sigma[:, i])

    in_threads(measure, range(rows.size))
    steep = np.zeros(level.shape, bool) if shadows else _steep(level, sigma)

    def flatten(i: int) -> None:
        band = np.ascontiguousarray(data[rows[i] : rows[i] + tile[0]], np.float32)
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


def standing_out(frame: xr.Dataset, around: Surroundings, *, least: float) -> np.ndarray:
    """By how many sigma each pixel lies above the median of its neighbours; 0 where it is less than about *least*.

    Parameters
    ----------
    frame : xarray.Dataset
        One frame, ``(y, x)``.
    around : Surroundings
        Of the same frame.
    least : float
        Pixels that are closer to the smooth level are not looked at.

    Returns
    -------
    numpy.ndarray
        float32 (y, x).
    """
    from calibkit.kernels.defects import stand_out

    cell, _ = channel_index(frame)
    taps, rings = neighbour_taps(cell, _REACHES)
    halo = reach_of(taps)
    height, width = frame["signal"].shape
    nodes = [
        _nodes(size, start, t)
        for size, start, t in zip((height, width), (around.rows, around.columns), around.tile, strict=True)
    ]
    level, sigma = (
        np.pad(grid, ((0, 0), (0, 1), (0, 1)), mode="edge") for grid in (around.level, around.sigma)
    )
    out = np.empty((height, width), np.float32)
    step = max(band_rows(height, width, bytes_per_pixel=16 * worker_count()), 4 * halo)

    def compare(y0: int) -> None:
        y1 = min(y0 + step, height)
        above, below = max(0, y0 - halo), min(height, y1 + halo)
        signal = np.array(frame["signal"].data[above:below], np.float32)
        if "flags" in frame:
            signal[(np.asarray(frame["flags"].data[above:below]) & NO_DATA) != 0] = np.nan
        stand_out(
            signal,
            np.roll(cell, -above, axis=0),
            np.roll(taps, -above, axis=0),
            np.roll(rings, -above, axis=0),
            *nodes[0],
            *nodes[1],
            level,
            sigma,
            least,
            y0 - above,
            above,
            out[y0:y1],
        )

    in_threads(compare, range(0, height, step))
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


def level_of_tiles(around: Surroundings, frame: xr.Dataset, y0: int, y1: int) -> np.ndarray:
    """The level of the nearest tile on every pixel of rows *y0* to *y1*, float32 (y, x)."""
    cell, _ = channel_index(frame)
    cell = np.roll(cell, -y0, axis=0)
    shape = frame["signal"].shape
    down, across = (
        np.abs(np.arange(size)[:, None] - (starts + (t - 1) / 2)).argmin(axis=1)
        for size, starts, t in zip(shape, (around.rows, around.columns), around.tile, strict=True)
    )
    py, px = cell.shape
    down = down[y0:y1]
    out = np.empty((y1 - y0, shape[1]), np.float32)
    for a, b in np.ndindex(py, px):
        out[a::py, b::px] = around.level[cell[a, b]][np.ix_(down[a::py], across[b::px])]
    return out

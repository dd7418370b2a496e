"""Noise of single frames from differences of frames, in tiles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from calibkit.calibration.checks import check_size
from calibkit.cfa import channel_index
from calibkit.computing import compute_here
from calibkit.io.source import StackSource
from calibkit.memory import Scratch, band_rows, worker_count
from calibkit.threads import in_threads

#: Rows and columns of a tile, about; it is made of whole cells of the pattern.
TILE = 48
#: Differences further from their tile's mean than this many sigma are cosmic rays or unstable pixels.
CLIP = 4.0
#: Outliers are looked for at most so often.
_ROUNDS = 6
#: Variance of a normal distribution that is cut off there, over that of the whole.
_KEPT = 1.0 - 2.0 * CLIP * math.exp(-(CLIP**2) / 2) / math.sqrt(2 * math.pi) / math.erf(CLIP / math.sqrt(2))
#: Bands and pairs that make a sample.
_SAMPLE_BANDS, _SAMPLE_PAIRS = 12, 5
#: Tiles of a large frame that are enough: 400 000 differences in each channel of a colour camera and pair.
_SAMPLE_TILES = 750


@dataclass(frozen=True)
class PairNoise:
    """Noise of one frame and its standard error, and the mean level, ADU, per channel."""

    noise: dict[str, float]
    error: dict[str, float]
    level: dict[str, float]
    pairs: int


def pair_noise(stack: xr.DataArray, *, sample: bool, client: Any = None) -> PairNoise:
    """Noise of a single frame of *stack*, from the differences of its frames two by two.

    Parameters
    ----------
    stack : xarray.DataArray
        Two or more equal frames, ``(frame, y, x)``.
    sample : bool
        Take some bands of rows and five pairs only.
    client : dask.distributed.Client, optional
        Have the workers read and measure a lazy stack.
    """
    from calibkit.calibration.bands import reader_of

    cell, channels = channel_index(stack)
    shape = tile_shape(stack, cell)
    pairs = min(stack.sizes["frame"] // 2, _SAMPLE_PAIRS if sample else 10**9)
    source = reader_of(stack)
    stack = stack[: 2 * pairs]
    across = stack.sizes["x"] // shape[1]
    every = max(1, _SAMPLE_BANDS * across // _SAMPLE_TILES) if sample else 1

    slices = band_slices(stack, shape, sample=sample)
    if client is not None and hasattr(stack.data, "dask"):
        measure = partial(_noise_of_band, stack.data, cell, shape, every)
        bands = client.gather(client.map(measure, slices, pure=False))
    else:
        data = stack.data if source is None else _Rows(source, 2 * pairs)
        bands = in_threads(partial(_noise_of_band, data, cell, shape, every), slices)
    levels = [[band[c][0] for band in bands] for c in range(len(channels))]
    variances = [[part for band in bands for part in band[c][1]] for c in range(len(channels))]
    noise, error = {}, {}
    for c, name in enumerate(channels):
        found = np.concatenate(variances[c]) if variances[c] else np.array([np.nan])
        noise[name] = float(np.sqrt(found.mean())) if found.size else math.nan
        error[name] = (
            float(found.std() / np.sqrt(found.size) / (2 * noise[name]))
            if found.size and noise[name]
            else 0.0
        )
    level = {
        name: float(np.nanmean(np.concatenate(part))) for name, part in zip(channels, levels, strict=True)
    }
    return PairNoise(noise, error, level, pairs)


class _Rows:
    """Indexed as the array of a stack in files is, for just the rows that are asked for, not whole chunks of it."""

    def __init__(self, source: StackSource, frames: int) -> None:
        self._source, self._frames = source, frames
        self._scratch = Scratch()

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        """Rows of every frame, in memory that this thread uses again."""
        from calibkit.combining.reading import read_rows

        y0, y1 = key[1].start, key[1].stop
        shape = (self._frames, y1 - y0, self._source.shape[2])
        rows = self._scratch.take("rows", shape, self._source.dtype)
        for frame in range(self._frames):
            read_rows(self._source, frame, y0, y1, rows[frame])
        return rows


def _noise_of_band(
    data: Any, cell: np.ndarray, shape: tuple[int, int], every: int, rows: slice
) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """Of each channel in a band: levels of its tiles, and their variances in every pair."""
    band = data[:, rows]
    if hasattr(band, "dask"):
        # A job that asked its own cluster for rows would wait for a worker that waits for the job.
        band = compute_here(band)
    return [_noise_of_tiles(values) for values in tiles(np.asarray(band), cell, shape, every=every)]


def _noise_of_tiles(values: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Levels of the tiles of one channel, ``(frame, tile, pixel)``, and their variances in every pair of frames."""
    from calibkit.kernels.scatter import measure_pairs

    level, variance = np.empty(values.shape[1]), np.empty((values.shape[0] // 2, values.shape[1]))
    measure_pairs(values, CLIP, _ROUNDS, level, variance)
    variance /= 2 * _KEPT
    return level, [part[np.isfinite(part)] for part in variance]


def tile_shape(stack: xr.DataArray, cell: np.ndarray) -> tuple[int, int]:
    """Rows and columns of a tile: whole cells, and no larger than the frame."""
    check_size(stack, "noise between frames")
    sizes = zip((stack.sizes["y"], stack.sizes["x"]), cell.shape, strict=True)
    rows, columns = (
        max(min(size, -(-TILE // period) * period) // period, 1) * period for size, period in sizes
    )
    return rows, columns


def frame_bands(stack: xr.DataArray, tile: tuple[int, int], *, sample: bool) -> Iterator[np.ndarray]:
    """Bands of whole tiles of all frames, ``(frame, row, x)``, all of them or a sample spread over the frame."""
    for rows in band_slices(stack, tile, sample=sample):
        yield np.asarray(stack.data[:, rows])


def band_slices(stack: xr.DataArray, tile: tuple[int, int], *, sample: bool) -> list[slice]:
    """Rows of these bands."""
    count, height, width = stack.shape
    usable = height // tile[0] * tile[0]
    if not sample or usable // tile[0] <= _SAMPLE_BANDS:
        held = 24 * count * worker_count()
        rows = max(tile[0], band_rows(usable, width, bytes_per_pixel=held, multiple=tile[0]))
        starts = list(range(0, usable, rows))
    else:
        rows = tile[0]
        starts = (np.linspace(0, usable // rows - 1, _SAMPLE_BANDS).astype(int) * rows).tolist()
    return [slice(y0, min(y0 + rows, usable)) for y0 in starts]


def tiles(band: np.ndarray, cell: np.ndarray, tile: tuple[int, int], *, every: int = 1) -> list[np.ndarray]:
    """Values of every channel, ``(frame, tile, pixel)``, of a band that begins with a whole cell; of *every*-th tiles."""
    (rows, columns), (py, px) = tile, cell.shape
    frames, height, width = band.shape
    down, across = height // rows, width // columns
    split = band[:, :, : across * columns].reshape(frames, down, rows // py, py, across, columns // px, px)
    split = split[:, :, :, :, ::every].transpose(0, 1, 4, 3, 6, 2, 5)
    across = split.shape[2]
    split = split.reshape(frames, down * across, py * px, -1)
    flat = cell.ravel()
    return [
        split[:, :, flat == c].reshape(frames, down * across, -1).astype(np.float64, order="C")
        for c in range(int(flat.max()) + 1)
    ]


def clipped_variance(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variance of each row of *differences* without outliers, and which rows have enough values for one."""
    from calibkit.kernels.scatter import variances

    variance = np.empty(len(differences))
    least = max(3, differences.shape[1] // 2)
    variances(np.ascontiguousarray(differences), CLIP, _ROUNDS, least, variance)
    return variance / _KEPT, np.isfinite(variance)


@dataclass(frozen=True)
class TileSums:
    """Sums and numbers of the values of tiles that are not saturated, and how many are, (frame, tile) each."""

    total: np.ndarray
    count: np.ndarray
    above: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, saturation: float) -> TileSums:
        """Those of ``(frame, tile, pixel)``."""
        from calibkit.kernels.scatter import sum_tiles

        arrays = [np.empty(values.shape[:2]) for _ in range(3)]
        sum_tiles(values, saturation, *arrays)
        return cls(*arrays)


def ratio_variance(
    first: np.ndarray, second: np.ndarray, ratio: float, saturation: float
) -> tuple[np.ndarray, np.ndarray]:
    """`clipped_variance` of ``first - ratio * second`` where neither is saturated, (tile, pixel)."""
    from calibkit.kernels.scatter import ratio_variances

    variance = np.empty(len(first))
    least = max(3, first.shape[1] // 2)
    ratio_variances(first, second, ratio, saturation, CLIP, _ROUNDS, least, variance)
    return variance / _KEPT, np.isfinite(variance)

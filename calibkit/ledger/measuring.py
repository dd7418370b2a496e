"""Variances of tiles: between neighbouring pixels of one frame, and between frames."""

from __future__ import annotations

import numpy as np

from calibkit.calibration.pairs import CLIP, clipped_variance, tiles

#: What stands out from the 15 × 15 pixels of its channel around it by this many sigma, as a single pixel or as the
#: mean of 3 × 3, is left out with the pixels up to two steps from it. A lower limit would cut the noise itself.
_STANDS_OUT, _NEAR, _FAR, _GROW = 4.0, 3, 15, 2
#: Variance of a − 2b + c over that of a, b and c.
_SECOND = 6.0
#: Pixels whose response differs from their tile's median by more than this are not typical.
_RESPONSE = 0.3
#: Nor are those whose dark current adds more than this to the variance of the tile.
_WARM = 0.3


class Layout:
    """How the pixels of a block are sorted by channel into tiles.

    Parameters
    ----------
    cell : numpy.ndarray
        Channel numbers of the first cell.
    tile : tuple of int
        Rows and columns of a tile, whole cells.
    """

    def __init__(self, cell: np.ndarray, tile: tuple[int, int]) -> None:
        self.cell, self.tile = cell, tile
        self.grid = (tile[0] // cell.shape[0], tile[1] // cell.shape[1])  # pixels of one site in a tile
        self.channels = int(cell.max()) + 1

    def split(self, block: np.ndarray) -> list[np.ndarray]:
        """Values of every channel, ``(…, tile, pixel)``, float64."""
        stack = block if block.ndim == 3 else block[None]
        parts = tiles(stack, self.cell, self.tile)
        return parts if block.ndim == 3 else [part[0] for part in parts]

    def neighbours(self, values: np.ndarray, within: np.ndarray | None = None) -> np.ndarray:
        """Variance of a pixel from second differences of diagonal neighbours of one site, ``(…, tile)``.

        Rows that differ from each other count in full, columns as well; slopes drop out.

        Parameters
        ----------
        values : numpy.ndarray
            One channel, ``(…, tile, pixel)``, NaN for what does not count.
        within : numpy.ndarray, optional
            Variance of a pixel in each tile: differences beyond 4 σ of that one are left out, instead of those
            beyond 4 σ of what is found, and the rest is taken as it is.
        """
        sites = values.reshape(*values.shape[:-1], -1, *self.grid)
        if min(self.grid) < 3:
            return np.full(values.shape[:-1], np.nan)
        found = sites[..., 2:, 2:] - 2 * sites[..., 1:-1, 1:-1] + sites[..., :-2, :-2]
        flat = found.reshape(-1, int(np.prod(found.shape[-3:])))
        if within is None:
            return clipped_variance(flat)[0].reshape(values.shape[:-1]) / _SECOND
        with np.errstate(invalid="ignore"):
            kept = np.abs(flat) <= CLIP * np.sqrt(_SECOND * within.reshape(-1, 1))
        mean = mean_of(flat, kept)
        return mean_of((flat - mean[:, None]) ** 2, kept).reshape(values.shape[:-1]) / _SECOND


def between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Variance of a pixel from the difference of two frames, ``(tile,)``."""
    return clipped_variance(first - second)[0] / 2


def mean_of(values: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Mean over the good pixels of each tile; NaN in a tile without any."""
    count = good.sum(axis=-1)
    total = np.where(good, values, 0.0).sum(axis=-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def structures(frames: np.ndarray, variance: np.ndarray, good: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Where stars and edges are, seen in any of *frames*, in one channel or in all together: boolean ``(y, x)``.

    Parameters
    ----------
    frames : numpy.ndarray
        Calibrated, ``(frame, y, x)``.
    variance : numpy.ndarray
        Of one pixel for each frame and channel, shape ``(frame, channel)``.
    good : numpy.ndarray
        Pixels that hold a measurement, ``(y, x)``.
    cell : numpy.ndarray
        Channel numbers of the first cell.
    """
    from scipy.ndimage import binary_dilation, uniform_filter

    def stands_out(excess: np.ndarray, usable: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
        """Whether means of squares of *excess*, in sigma of a pixel and 0 where not usable, are too large."""
        found = np.zeros(excess.shape, bool)
        for size in sizes:
            share = uniform_filter(usable.astype(np.float32), size, mode="nearest")
            mean = uniform_filter(excess, size, mode="nearest") if size > 1 else excess
            found |= size * mean > _STANDS_OUT * np.sqrt(share)
        return found

    def grown(found: np.ndarray) -> np.ndarray:
        return binary_dilation(found, np.ones((3, 3), bool), iterations=_GROW)

    found = np.zeros(good.shape, bool)
    py, px = cell.shape
    for frame, noise in zip(frames, variance, strict=True):
        excess = np.zeros(good.shape, np.float32)
        for a, b in np.ndindex(py, px):
            values, usable = frame[a::py, b::px], good[a::py, b::px]
            sigma = np.sqrt(noise[cell[a, b]])
            if not usable.any() or not sigma > 0:
                continue
            level = np.float32(values[usable].mean(dtype=np.float64))
            filled = np.where(usable, values - level, np.float32(0))
            share = uniform_filter(usable.astype(np.float32), _FAR, mode="nearest")
            around = uniform_filter(filled, _FAR, mode="nearest") / np.maximum(share, np.float32(1e-3))
            plane = np.where(usable, (filled - around) / np.float32(sigma), np.float32(0))
            excess[a::py, b::px] = plane
            found[a::py, b::px] |= grown(stands_out(plane, usable, (1, _NEAR)))
        if cell.size > 1:
            found |= grown(stands_out(excess, good, (_NEAR, _FAR // 3)))
    return found


def typical(
    response: np.ndarray | None, thermal: np.ndarray | None, spread: np.ndarray | None, noise: np.ndarray
) -> np.ndarray | bool:
    """Pixels whose response and dark current are like those of most pixels in their tile.

    Parameters
    ----------
    response : numpy.ndarray or None
        The flat, ``(tile, pixel)``.
    thermal, spread : numpy.ndarray or None
        Variance that the dark current of each pixel adds, and the standard error of that.
    noise : numpy.ndarray
        Variance of a pixel without masters, ``(tile,)``.
    """
    kept: np.ndarray | bool = True
    if response is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            kept = np.abs(response / _median(response) - 1) < _RESPONSE
    if thermal is not None and spread is not None:
        limit = np.maximum(_WARM * noise[:, None], 5 * spread)
        kept = kept & (np.abs(thermal - _median(thermal)) < limit)
    return kept


def _median(values: np.ndarray) -> np.ndarray:
    """Median of each tile, of finite values; NaN in a tile without any."""
    filled = np.where(np.isfinite(values), values, np.inf)
    count = np.isfinite(values).sum(axis=-1, keepdims=True)
    ordered = np.sort(filled, axis=-1)
    middle = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=-1)
    return np.where(count > 0, middle, np.nan)


def shifted_mean(frames: np.ndarray, good: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean of frames that are shifted against each other along x, and the share of them in each pixel.

    Frame i moves by i × *step* columns, begun anew after an eighth of the width. Each frame's own level is
    taken out first.
    """
    count, _, width = frames.shape
    most = max(1, width // 8 // step)
    total = np.zeros(frames.shape[1:])
    number = np.zeros(frames.shape[1:])
    for i, frame in enumerate(frames):
        shift = i % most * step
        kept = good[:, shift:]
        part = np.where(kept, frame[:, shift:], 0.0)
        level = part.sum(dtype=np.float64) / max(kept.sum(), 1)
        total[:, : width - shift] += np.where(kept, part - level, 0.0)
        number[:, : width - shift] += kept
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(number > 0, total / number, np.nan), number / count

"""How much of a pattern is in a frame: covariances of high-passed pixels, and levels of tiles.

All arrays have the dimensions (site, tile, row, column) of `calibkit.diagnosis.sampling.Grid`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

#: Residuals further out than this many sigma are stars, cosmic rays or bad pixels.
CLIP = 5.0
#: Tiles are left out in so many groups to find an error.
_GROUPS = 64
#: Medians of tiles with so many pixels are taken from every fifth, which lie in all rows and columns.
_LARGE, _EVERY = 1500, 5


@dataclass(frozen=True)
class Pattern:
    """A dark's or flat's pattern, and what keeps its noise apart.

    Attributes
    ----------
    values : numpy.ndarray
        From all frames.
    halves : tuple of numpy.ndarray
        From two halves of the frames; both are *values* where there is only a master.
    noise : numpy.ndarray or None
        Variance of the noise that is in both halves: of all of it, where there is only a master, or of a master that
        was subtracted from both.
    """

    values: np.ndarray
    halves: tuple[np.ndarray, np.ndarray]
    noise: np.ndarray | None = None

    @property
    def split(self) -> bool:
        """Whether the halves' noise is independent."""
        return self.halves[0] is not self.halves[1]

    @property
    def known(self) -> bool:
        """Whether the pattern can be told from its noise."""
        return self.split or self.noise is not None

    @cached_property
    def passed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Both halves and their mean after `high_pass`."""
        a, b = (high_pass(half) for half in self.halves)
        return a, b, 0.5 * (a + b)

    @cached_property
    def scatter(self) -> np.ndarray:
        """Robust standard deviation of the mean of the halves after `high_pass`, (site, tile, 1, 1)."""
        return spread_of(self.passed[2])

    @cached_property
    def chance(self) -> np.ndarray:
        """Variance of the product of the halves if there were nothing but noise in them, (site, tile, 1, 1)."""
        if self.split:
            return (spread_of(self.passed[0] - self.passed[1]) ** 2 / 2) ** 2
        return 2 * self.scatter**4

    @cached_property
    def apart(self) -> np.ndarray:
        """Pixels with no hot one among their neighbours, without the rim of the tile."""
        return around(self.values) - level_of(self.values) <= CLIP * self.scatter / np.float32(math.sqrt(8))

    @cached_property
    def excess(self) -> np.ndarray:
        """By how much hot pixels lie above the level of their tile, without the rim of the tile; 0 for others.

        It makes weights, which must not follow the noise of usual pixels: that would be in both halves' product.
        """
        over = inner(self.values) - level_of(self.values)
        return np.where(over > CLIP * self.scatter, over, 0)


@dataclass(frozen=True)
class Share:
    """Sums for ``value = Σ top / Σ bottom`` over groups of tiles.

    Attributes
    ----------
    value, error : float
        The ratio and its jackknife error.
    significance : float
        By how many sigma the pattern itself stands above its noise.
    """

    value: float
    error: float
    significance: float


def inner(values: np.ndarray) -> np.ndarray:
    """Tiles without their rim, as `high_pass` leaves them."""
    return values[..., 1:-1, 1:-1]


def around(values: np.ndarray) -> np.ndarray:
    """Mean of the eight neighbours of one colour, for all but the rim of every tile."""
    rows = values[..., :-2, :] + values[..., 1:-1, :] + values[..., 2:, :]
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    return (box - inner(values)) / values.dtype.type(8)


def high_pass(values: np.ndarray) -> np.ndarray:
    """A pixel minus the mean of its eight neighbours of one colour, for all but the rim of every tile."""
    return inner(values) - around(values)


def kept_median(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Median along one axis, which stays with length 1, of what is not NaN; NaN where nothing is known."""
    if not np.isnan(values).any():
        return np.median(values, axis=axis, keepdims=True)
    ordered = np.sort(values, axis=axis)  # NaN come last
    count = np.isfinite(ordered).sum(axis=axis, keepdims=True)
    low, high = (np.take_along_axis(ordered, np.maximum(count - n, 0) // 2, axis) for n in (1, 0))
    return np.where(count > 0, 0.5 * (low + high), np.nan).astype(values.dtype)


def median_of(values: np.ndarray, axis: int | None = None) -> Any:
    """Median of what is not NaN, along an axis or of everything; NaN where nothing is known."""
    values = np.asarray(values, np.float64)
    if axis is None:
        return float(kept_median(values.ravel())[0]) if values.size else math.nan
    return np.squeeze(kept_median(values, axis), axis=axis)


def mean_of(values: np.ndarray, axis: int | tuple[int, ...] | None = None) -> Any:
    """Mean of what is not NaN, along axes or of everything; NaN where nothing is known."""
    known = np.isfinite(values)
    total, count = np.sum(values, axis=axis, where=known, dtype=np.float64), known.sum(axis=axis)
    found = np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)
    return float(found) if axis is None else found


def level_of(values: np.ndarray) -> np.ndarray:
    """Median of every tile, kept as (…, 1, 1); of large tiles from a part of the pixels."""
    flat = values.reshape(*values.shape[:-2], -1)
    if flat.shape[-1] >= _LARGE:
        flat = flat[..., ::_EVERY]
    return kept_median(flat)[..., None]


def spread_of(values: np.ndarray) -> np.ndarray:
    """Robust standard deviation in every tile, kept as (site, tile, 1, 1)."""
    return np.float32(1.4826) * level_of(np.abs(values - level_of(values)))


def usual(scatter: np.ndarray) -> np.ndarray:
    """Median over the tiles of what `spread_of` gives, (site, 1, 1, 1).

    Weights are made of this one: a tile's own scatter is small where noise and pattern happen to cancel, and
    weights made of it would favour those tiles, by some 2 ÷ (pixels of a tile).
    """
    return kept_median(scatter, axis=1)


def sky_of(values: np.ndarray) -> np.ndarray:
    """Level of the sky in every tile, (site, tile): the mean without stars and other outliers."""
    middle, width = level_of(values), 2.5 * spread_of(values)
    for _ in range(2):
        use = np.abs(values - middle) <= width
        total = np.sum(values, axis=(-2, -1), keepdims=True, where=use, dtype=np.float64)
        count = use.sum(axis=(-2, -1), keepdims=True)
        middle = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return middle[..., 0, 0]


def share_of(top: np.ndarray, bottom: np.ndarray, chance: np.ndarray) -> Share:
    """Ratio of sums with its jackknife error over groups of tiles (Efron & Tibshirani 1993, chapter 11).

    Parameters
    ----------
    top, bottom : numpy.ndarray
        Sums of every tile, (tile,).
    chance : numpy.ndarray
        Variance of *bottom* if the pattern were noise alone.
    """
    groups = min(_GROUPS, top.size)
    number = np.arange(top.size) % groups
    tops, bottoms = (np.bincount(number, part, groups) for part in (top, bottom))
    noise = math.sqrt(chance.sum())
    significance = float(bottom.sum() / noise) if noise > 0 else 0.0
    if groups < 4 or not bottom.sum() > 0:
        return Share(math.nan, math.nan, significance)
    without = (tops.sum() - tops) / (bottoms.sum() - bottoms)
    error = math.sqrt((groups - 1) / groups * float(np.sum((without - without.mean()) ** 2)))
    return Share(float(tops.sum() / bottoms.sum()), error, significance)


def tile_sums(values: np.ndarray) -> np.ndarray:
    """Sum over everything but the tiles; NaN counts as nothing."""
    return np.nansum(values, axis=(0, 2, 3), dtype=np.float64)


def dark_share(
    lights: tuple[np.ndarray | None, np.ndarray | None],
    dark: Pattern,
    *,
    shared: np.ndarray | None = None,
    full: np.ndarray | None = None,
) -> Share:
    """How much of a dark's pattern is in a light: ``cov(light, dark) / cov(dark A, dark B)``.

    Parameters
    ----------
    lights : tuple of numpy.ndarray
        Light without bias, to be compared with the first and with the second half of the dark: the same one
        twice, or with another half of the biases subtracted each. One may be None: it is not compared then.
    dark : Pattern
    shared : numpy.ndarray, optional
        Variance of noise that light and dark have in common, that of a bias subtracted from both.
    full : numpy.ndarray, optional
        Pixels that are or may be saturated: they do not count.

    Notes
    -----
    Noise of one half is not in the other, so that it does not pull the share towards zero, as it does in a fit
    or a search for the least noise. Pixels are weighted by their noise, photon noise of hot ones included.
    """
    given = [light for light in lights if light is not None]
    passed = [
        high_pass(light) for light in (given if len(given) < 2 or given[0] is not given[1] else given[:1])
    ]
    passed = passed * (len(given) // len(passed))
    a, b, middle = dark.passed
    scatter = spread_of(passed[0])
    # A star covers its neighbours, a hot pixel is alone. Pixels beside a hot one would be taken for stars if noise is
    # high, and kept if it is low: they are left out, by the dark alone.
    use = around(given[0]) - level_of(given[0]) <= CLIP * scatter / np.float32(math.sqrt(8))
    use &= (np.abs(middle) >= 3 * dark.scatter) | (np.abs(passed[0]) <= CLIP * scatter)
    use &= np.isfinite(passed[0]) & np.isfinite(middle) & dark.apart
    if full is not None:
        use &= ~inner(full)
    total = usual(scatter) ** 2 + dark.excess
    weight = np.divide(1, total, out=np.zeros_like(total), where=use & (total > 0))
    others = [half for half, light in zip((a, b), lights, strict=True) if light is not None]
    top = weight * sum(x * half for x, half in zip(passed, others, strict=True)) / len(given)
    bottom = weight * a * b
    if dark.noise is not None:
        bottom = bottom - weight * variance_passed(dark.noise)
    if shared is not None:
        top = top - weight * variance_passed(shared)
    return share_of(tile_sums(top), tile_sums(bottom), tile_sums(weight**2 * dark.chance))


def variance_passed(variance: np.ndarray) -> np.ndarray:
    """Variance after `high_pass` of independent noise of this variance."""
    return inner(variance) + around(variance) / 8


def blocks(values: np.ndarray, side: int) -> np.ndarray:
    """Means of square blocks of every tile, (…, row, column)."""
    height, width = (n // side for n in values.shape[-2:])
    part = values[..., : height * side, : width * side]
    return part.reshape(*values.shape[:-2], height, side, width, side).mean(axis=(-3, -1))


def without_plane(values: np.ndarray, use: np.ndarray) -> np.ndarray:
    """Tiles (tile, row, column) minus the plane that fits what is in *use* best; 0 elsewhere."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in values.shape[-2:]), indexing="ij")
    columns = np.stack([np.ones_like(y), y, x]).reshape(3, -1)
    weight = use.reshape(len(use), -1).astype(float)
    matrix = np.einsum("ik,tk,jk->tij", columns, weight, columns) + 1e-9 * np.eye(3)
    right = np.einsum("ik,tk->ti", columns, weight * values.reshape(len(values), -1))
    fit = np.linalg.solve(matrix, right[..., None])[..., 0]
    return np.where(use, values - (fit @ columns).reshape(values.shape), 0)


def grown(mask: np.ndarray) -> np.ndarray:
    """Pixels of every tile's mask and those beside them."""
    padded = np.pad(mask, [(0, 0)] * (mask.ndim - 2) + [(1, 1), (1, 1)])
    rows = padded[..., :-2, :] | padded[..., 1:-1, :] | padded[..., 2:, :]
    return rows[..., :-2] | rows[..., 1:-1] | rows[..., 2:]

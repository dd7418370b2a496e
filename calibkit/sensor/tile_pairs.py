"""Frames two by two, tile by tile: levels and temporal variances for the photon transfer curve."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from calibkit.calibration.checks import check_size
from calibkit.calibration.pairs import clipped_variance, frame_bands, tile_shape, tiles
from calibkit.cfa import channel_index
from calibkit.errors import MismatchError
from calibkit.session.tolerances import Tolerances

#: Two frames of one exposure whose levels differ by more than this are no pair: a lamp that was not steady.
_UNEQUAL = 0.2
#: Pixels of each channel that a frame has to have.
_LEAST_PIXELS = 12
#: Edges of the bins of the curve: 24 to the factor of two, from a tenth of an ADU to beyond any converter.
_EDGES = 0.1 * 2.0 ** (np.arange(24 * 21) / 24)


@dataclass(frozen=True)
class TilePair:
    """One channel of a pair of frames; one number per tile.

    Attributes
    ----------
    first, second : numpy.ndarray
        Mean of each frame, ADU.
    variance : numpy.ndarray
        Temporal variance of a single frame, ADU²; NaN where a tile has too few values.
    pixels : int
        Pixels of a tile.
    """

    first: np.ndarray
    second: np.ndarray
    variance: np.ndarray
    pixels: int


def exposure_groups(stack: xr.DataArray) -> list[tuple[float, list[int]]]:
    """(exposure, frames in the order of the stack) of frames that were exposed for the same time.

    Frames whose exposure is not known are one group, with NaN.
    """
    exposures = frame_column(stack, "exposure")
    groups: list[tuple[float, list[int]]] = []
    same = Tolerances().same_exposure
    for index in np.argsort(exposures, kind="stable").tolist():  # NaN last
        exposure = float(exposures[index])
        last = groups[-1][0] if groups else None
        if last is not None and (
            same(exposure, last) if math.isfinite(exposure) and math.isfinite(last) else math.isnan(last)
        ):
            groups[-1][1].append(index)
        else:
            groups.append((exposure, [index]))
    return [(exposure, sorted(members)) for exposure, members in groups]


def frame_column(stack: xr.DataArray, name: str) -> np.ndarray:
    """Coordinate *name* of every frame as float, NaN where it is not known."""
    if name not in stack.coords:
        return np.full(stack.sizes["frame"], math.nan)
    return np.broadcast_to(np.asarray(stack.coords[name].values, float), (stack.sizes["frame"],))


def pair_tiles(stack: xr.DataArray, i: int, j: int, offset: list[np.ndarray] | None = None) -> list[TilePair]:
    """Frames *i* and *j* of *stack* compared, for each channel.

    Parameters
    ----------
    stack : xarray.DataArray
        ``(frame, y, x)``.
    offset : list of numpy.ndarray, optional
        For each channel the level of every tile without light. With it the second frame is multiplied so that
        both have one level, band by band of rows.
    """
    check_size(stack, "pairs of frames", pixels=_LEAST_PIXELS)
    cell, channels = channel_index(stack)
    shape = tile_shape(stack, cell)
    pair = stack.isel(frame=[i, j])
    parts: list[list[tuple[np.ndarray, ...]]] = [[] for _ in channels]
    pixels = [0] * len(channels)
    start = 0
    for band in frame_bands(pair, shape, sample=False):
        split = tiles(band, cell, shape)
        stop = start + split[0].shape[1]
        for c, (first, second) in enumerate(split):
            low, high = first.mean(axis=1), second.mean(axis=1)
            ratio = 1.0
            if offset is not None:
                level = offset[c][start:stop]
                a, b = np.nansum(low - level), np.nansum(high - level)
                ratio = a / b if a > 0 and b > 0 and abs(a / b - 1) <= _UNEQUAL else 1.0
            variance, _ = clipped_variance(first - ratio * second)
            parts[c].append((low, high, variance / (1.0 + ratio**2)))
            pixels[c] = first.shape[1]
        start = stop
    return [
        TilePair(*(np.concatenate(arrays) for arrays in zip(*part, strict=True)), count)
        for part, count in zip(parts, pixels, strict=True)
    ]


def pairs_of(members: list[int]) -> Iterator[tuple[int, int]]:
    """Frames two by two, each once, in their order; an odd last one is left out."""
    return zip(members[::2], members[1::2], strict=False)


def equal_enough(first: float, second: float) -> bool:
    """Whether two frames' levels above the offset make a pair."""
    return abs(first - second) <= _UNEQUAL * max(abs(first), abs(second))


@dataclass(frozen=True)
class DarkTiles:
    """Frames without light: for each channel the level of every tile, the variance of one frame and its error."""

    exposure: float
    level: list[np.ndarray]
    variance: np.ndarray
    error: np.ndarray
    pairs: int


def dark_tiles(stack: xr.DataArray, who: str) -> list[DarkTiles]:
    """`DarkTiles` for each exposure of which there are two frames or more.

    Raises
    ------
    MismatchError
        No exposure has two frames.
    """
    found = []
    for exposure, members in exposure_groups(stack):
        measured = [pair_tiles(stack, i, j) for i, j in pairs_of(members)]
        if not measured:
            continue
        level, variance, error = [], [], []
        for parts in zip(*measured, strict=True):
            values = np.concatenate([part.variance for part in parts])
            values = values[np.isfinite(values)]
            level.append(np.mean([(part.first + part.second) / 2 for part in parts], axis=0))
            variance.append(values.mean() if values.size else math.nan)
            error.append(values.std() / math.sqrt(values.size) if values.size else math.nan)
        found.append(DarkTiles(exposure, level, np.array(variance), np.array(error), len(measured)))
    if not found:
        msg = (
            f"{who}: two bias frames, or two darks of one exposure, are needed to see the noise without light"
        )
        raise MismatchError(msg)
    return found


def nearest_dark(darks: list[DarkTiles], exposure: float) -> DarkTiles:
    """The darks whose exposure is closest to that of the flats; the shortest where it is not known."""
    if not math.isfinite(exposure):
        return darks[0]
    return min(darks, key=lambda dark: abs(dark.exposure - exposure) if math.isfinite(dark.exposure) else 0.0)


@dataclass(frozen=True)
class Points:
    """A channel's photon transfer curve: level and variance above those without light, in bins of the level.

    ``model_error`` is the standard error that a variance of 1 ADU² would have in each bin.
    """

    signal: np.ndarray
    variance: np.ndarray
    model_error: np.ndarray
    tiles: np.ndarray


@dataclass
class CurveSums:
    """Sums over tiles by bin of the level, for one channel; does not grow with the number of frames."""

    sums: np.ndarray = field(default_factory=lambda: np.zeros((6, _EDGES.size + 1)))
    freedom: float = 0.0

    def add(self, signal: np.ndarray, variance: np.ndarray, pixels: int) -> None:
        """Add tiles: their level above the offset and their temporal variance."""
        good = np.isfinite(signal) & np.isfinite(variance)
        x, v = signal[good], variance[good]
        place = np.searchsorted(_EDGES, x)
        terms = (np.ones_like(x), x, v, x * x, x * v, v * v)
        for row, term in zip(self.sums, terms, strict=True):
            row += np.bincount(place, term, row.size)
        self.freedom = float(pixels - 1)

    def points(self) -> Points:
        """The curve, with errors from the scatter of the tiles about the trend within their bin.

        One factor for all bins, by which the scatter exceeds that of normally distributed pixels, keeps
        bins of few tiles from getting a weight that is an accident.
        """
        n, sx, sv, sxx, sxv, svv = self.sums
        full = n > 0
        n, sx, sv, sxx, sxv, svv = (a[full] for a in self.sums)
        mean_x, mean_v = sx / n, sv / n
        cxx, cxv, cvv = sxx - n * mean_x**2, sxv - n * mean_x * mean_v, svv - n * mean_v**2
        trusted = n >= 8
        slope = np.divide(cxv, cxx, out=np.zeros_like(cxv), where=trusted & (cxx > 0))
        rest = cvv - slope * cxv
        expected = (n - 2) * 2 * mean_v**2 / self.freedom
        inflation = 1.0
        if trusted.any() and expected[trusted].sum() > 0:
            inflation = math.sqrt(rest[trusted].sum() / expected[trusted].sum())
        return Points(mean_x, mean_v, inflation * np.sqrt(2.0 / (self.freedom * n)), n)

"""Levels and noise of one frame, per channel: what is told about a frame without looking at it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from calibkit.cfa import channel_index
from calibkit.computing import compute_here
from calibkit.errors import SettingError
from calibkit.flags import FLAG_DTYPE
from calibkit.frames import stack_source
from calibkit.io.result_file import rows_of
from calibkit.makers import maker_of
from calibkit.memory import Scratch, band_rows, worker_count

#: Pixels in the sample of a frame: medians are then good to a few thousandths of the noise.
SAMPLE_PIXELS = 1_000_000
#: Strips of the frame that make up the sample.
_STRIPS = 24
_MAD_TO_SIGMA = 1.4826022185056018
_scratch = Scratch()


@dataclass(frozen=True)
class Noise:
    """Noise of the pixels of one channel, in the unit of the frame.

    Attributes
    ----------
    level : float
        Median of the pixels.
    measured : float
        Standard deviation of a pixel from differences of neighbours of one channel.
    predicted : float
        The same as the variance of the frame has it, NaN where it has none.
    """

    level: float
    measured: float
    predicted: float

    def as_dict(self) -> dict[str, float]:
        """Plain numbers."""
        return asdict(self)


def sample_strips(frame: xr.DataArray | xr.Dataset) -> Iterator[slice]:
    """Rows of *frame* for a sample of about `SAMPLE_PIXELS`: strips evenly spread, whole cells of the pattern."""
    height, width = frame.sizes["y"], frame.sizes["x"]
    period = channel_index(frame)[0].shape[0]
    rows = max(period, SAMPLE_PIXELS // (width * _STRIPS) // period * period)
    if rows * _STRIPS >= height:
        yield slice(0, height)
        return
    gap = (height - rows) / (_STRIPS - 1)
    for i in range(_STRIPS):
        start = round(i * gap) // period * period
        yield slice(start, start + rows)


def measure_noise(frame: xr.DataArray | xr.Dataset) -> dict[str, Noise]:
    """Level and noise of each channel, from a sample of the frame.

    Parameters
    ----------
    frame : xarray.DataArray or xarray.Dataset
        One frame with dims (y, x), or a stack of one, lazy or not: raw, or a result with its variance and flags.
        Flagged pixels, repaired ones too, are left out.

    Returns
    -------
    dict
        Channel → `Noise`; empty channels have NaN.

    Raises
    ------
    SettingError
        It is not one frame.

    Notes
    -----
    The noise is 1.4826 times the median absolute deviation of the differences between a pixel and the next one
    of its channel in the same row, divided by √2. Slopes of the image drop out of the differences and stars and
    edges out of the median; a fixed pattern from pixel to pixel counts as noise.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frame = xr.DataArray(np.random.default_rng(1).normal(100, 5, (200, 300)), dims=("y", "x"))
    >>> round(measure_noise(frame)["L"].measured)
    5
    """
    if set(frame.dims) - {"frame"} != {"y", "x"} or frame.sizes.get("frame", 1) != 1:
        msg = f"noise is measured on one frame with the dims (y, x); found {dict(frame.sizes)}"
        raise SettingError(msg)
    cell, channels = channel_index(frame)
    strips = list(sample_strips(frame))
    signal = frame["signal"] if isinstance(frame, xr.Dataset) else frame
    samples = _samples(signal.dtype, strips, frame.sizes["x"], cell)
    for top, values, flags, variance in _sampled(frame, strips):
        for site, number in np.ndenumerate(np.roll(cell, -top, 0)):
            samples[number].add(values, flags, variance, site, cell.shape)
    return {name: sample.noise() for name, sample in zip(channels, samples, strict=True)}


def sample_pixels(frame: xr.DataArray | xr.Dataset) -> np.ndarray:
    """Finite pixels without flags of a sample of one frame with the dims (y, x), all channels together, float64."""
    parts = _sampled(frame, list(sample_strips(frame)))
    found = [
        np.array(values if flags is None else values[flags == 0], np.float64).ravel()
        for _, values, flags, _ in parts
    ]
    every = np.concatenate(found)
    return every[np.isfinite(every)]


Strip = tuple[int, np.ndarray, np.ndarray | None, np.ndarray | None]


def _sampled(frame: xr.DataArray | xr.Dataset, strips: list[slice]) -> Iterator[Strip]:
    """(first row, values, flags, variances) of each strip, in memory that lasts until the next one is asked for."""
    if "frame" in frame.dims:
        source = stack_source(frame) if isinstance(frame, xr.DataArray) else None
        if source is not None:
            for strip in strips:
                yield strip.start, source.read(0, strip.start, strip.stop), None, None
            return
        frame = frame.isel(frame=0)
    names = [
        name for name in ("signal", "flags", "variance") if isinstance(frame, xr.Dataset) and name in frame
    ]
    arrays = dict(zip(names or ["signal"], [frame[n].data for n in names] or [frame.data], strict=True))
    if len(names) == 3 and (maker := maker_of(frame)) is not None:
        maker = maker.unrepaired()  # what would be repaired is left out
        for strip in strips:
            signal, variance, flags = maker.read(strip.start, strip.stop)
            yield strip.start, signal, flags, variance
        return
    readers = {name: rows_of(array) for name, array in arrays.items()}
    parts: dict[str, list[Any]] = {}
    if not all(readers.values()):
        parts = {name: [array[strip] for strip in strips] for name, array in arrays.items()}
        if any(hasattr(rows, "dask") for every in parts.values() for rows in every):
            # all at once: a reader may have to go through the file for each
            parts = compute_here(parts, threads=worker_count())
    for number, strip in enumerate(strips):
        if parts:
            found = {name: np.asarray(parts[name][number]) for name in arrays}
        else:  # of an opened result: without a graph for each strip
            found = {
                name: read(strip.start, strip.stop, memory=partial(_scratch.take, name))
                for name, read in readers.items()
            }
        yield strip.start, found["signal"], found.get("flags"), found.get("variance")


class _Sample:
    """Pixels of one channel, differences of neighbours, and variances, in arrays that hold as many as there may be."""

    def __init__(self, found: np.ndarray, steps: np.ndarray, spread: np.ndarray) -> None:
        self._arrays = found, steps, spread
        self._count = np.zeros(3, np.int64)

    def add(
        self,
        values: np.ndarray,
        flags: np.ndarray | None,
        variance: np.ndarray | None,
        site: tuple[int, int],
        period: tuple[int, int],
    ) -> None:
        """Those of one site of the pattern in some rows."""
        from calibkit.kernels.neighbours import take_site

        number = self._arrays[0].dtype
        rows = np.ascontiguousarray(values, np.uint16 if values.dtype == np.uint16 else number)
        none = np.empty((0, 0), number)
        spread = none if variance is None else np.ascontiguousarray(variance, number)
        bad = np.empty((0, 0), FLAG_DTYPE) if flags is None else np.ascontiguousarray(flags, FLAG_DTYPE)
        take_site(rows, bad, spread, *site, *period, *self._arrays, self._count)

    def noise(self) -> Noise:
        """The arrays are used up."""
        values, steps, spread = (a[:n] for a, n in zip(self._arrays, self._count.tolist(), strict=True))
        level = _median(values)
        steps -= _median(steps)
        measured = _MAD_TO_SIGMA * _median(np.abs(steps, out=steps)) / math.sqrt(2.0)
        return Noise(level, measured, math.sqrt(_median(spread)))


def _samples(dtype: np.dtype, strips: list[slice], width: int, cell: np.ndarray) -> list[_Sample]:
    """Room for the pixels of every channel in these rows, in memory that this thread uses again."""
    (py, px), sites = cell.shape, np.bincount(cell.ravel())
    cells = sum(-(-(strip.stop - strip.start) // py) for strip in strips) * -(-width // px)
    number = np.result_type(dtype, np.float32)  # 16 bits are exact in float32, larger numbers are not
    arrays = [_scratch.take(name, (cells * cell.size,), number) for name in ("found", "steps", "spread")]
    ends = np.cumsum(cells * sites).tolist()
    return [_Sample(*(array[a:b] for array in arrays)) for a, b in pairwise([0, *ends])]


def _median(values: np.ndarray) -> float:
    """Median of finite numbers, NaN of none."""
    from calibkit.kernels.neighbours import bracket_ranks

    if not values.size:
        return math.nan
    rank = values.size // 2
    low, high, below = bracket_ranks(values, rank, values.size // 64)
    few = values[(values > low) & (values <= high)]
    rank -= below
    few.partition(rank)
    upper = float(few[rank])
    return upper if values.size % 2 else 0.5 * (float(few[:rank].max()) + upper)


@dataclass(frozen=True)
class Levels:
    """Numbers of all the pixels of one channel, in the unit of the frame; NaN pixels are left out."""

    pixels: int
    minimum: float
    median: float
    mean: float
    maximum: float
    sigma: float  # standard deviation
    saturated: int  # at or above the frame's saturation level


def channel_levels(frame: xr.DataArray | xr.Dataset) -> dict[str, Levels]:
    """Exact minimum, mean, maximum and standard deviation of each channel; the median from the sample.

    Parameters
    ----------
    frame : xarray.DataArray or xarray.Dataset
        One frame with dims (y, x), gone through once by bands of rows.

    Returns
    -------
    dict
        Channel → `Levels`.

    Raises
    ------
    SettingError
        It is not one frame.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> channel_levels(xr.DataArray(np.arange(12.0).reshape(3, 4), dims=("y", "x")))["L"].mean
    5.5
    """
    noise = measure_noise(frame)
    signal = frame["signal"] if isinstance(frame, xr.Dataset) else frame
    cell, channels = channel_index(frame)
    limit = frame.attrs.get("saturation", np.nan)
    height, width = signal.sizes["y"], signal.sizes["x"]
    band = band_rows(height, width, bytes_per_pixel=32, multiple=cell.shape[0])
    sums = {name: _Sums() for name in channels}
    for start in range(0, height, band):
        values = np.asarray(signal.isel(y=slice(start, start + band)).values, np.float64)
        rows = -(-values.shape[0] // cell.shape[0])
        index = np.tile(np.roll(cell, -start, 0), (rows, -(-width // cell.shape[1])))[
            : values.shape[0], :width
        ]
        for number, name in enumerate(channels):
            found = values[index == number]
            sums[name].add(found[np.isfinite(found)], limit)
    return {name: sums[name].levels(noise[name].level) for name in channels}


class _Sums:
    """Running count, mean and squared deviations (Chan et al. 1979), extremes and saturated pixels."""

    def __init__(self) -> None:
        self.count = self.saturated = 0
        self.mean = self.squares = 0.0
        self.low, self.high = np.inf, -np.inf

    def add(self, values: np.ndarray, limit: float) -> None:
        if not values.size:
            return
        mean, count = float(values.mean()), self.count + values.size
        gap = mean - self.mean
        self.squares += float(((values - mean) ** 2).sum()) + gap * gap * self.count * values.size / count
        self.mean += gap * values.size / count
        self.count = count
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        self.saturated += int((values >= limit).sum())

    def levels(self, median: float) -> Levels:
        if not self.count:
            return Levels(0, *[np.nan] * 5, 0)
        sigma = float(np.sqrt(self.squares / self.count))
        return Levels(self.count, self.low, median, self.mean, self.high, sigma, self.saturated)

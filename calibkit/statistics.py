"""Levels and noise of one frame, per channel: what is told about a frame without looking at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import xarray as xr

from calibkit.cfa import channel_index
from calibkit.computing import compute_here
from calibkit.errors import SettingError
from calibkit.io.result_file import rows_of
from calibkit.makers import FrameMaker, maker_of
from calibkit.memory import band_rows, worker_count

#: Pixels in the sample of a frame: medians are then good to a few thousandths of the noise.
SAMPLE_PIXELS = 1_000_000
#: Strips of the frame that make up the sample.
_STRIPS = 24
_MAD_TO_SIGMA = 1.4826022185056018


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
        One frame with dims (y, x), lazy or not: raw, or a result with its variance and flags. Flagged
        pixels, repaired ones too, are left out.

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
    if set(frame.dims) != {"y", "x"}:
        msg = f"noise is measured on one frame with the dims (y, x); found {tuple(frame.dims)}"
        raise SettingError(msg)
    cell, channels = channel_index(frame)
    parts: dict[str, list[tuple[np.ndarray, ...]]] = {name: [] for name in channels}
    for top, values, variance in _sampled(frame):
        for name, found in _by_channel(values, variance, np.roll(cell, -top, 0), channels):
            parts[name].append(found)
    return {
        name: _noise([np.concatenate(arrays) for arrays in zip(*parts[name], strict=True)])
        for name in channels
    }


def sample_pixels(frame: xr.DataArray | xr.Dataset) -> np.ndarray:
    """Finite pixels without flags of a sample of one frame with the dims (y, x), all channels together, float64."""
    found = np.concatenate([values.ravel() for _, values, _ in _sampled(frame)])
    return found[np.isfinite(found)]


def _sampled(frame: xr.DataArray | xr.Dataset) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(first row, values, variances) of each strip: NaN for what does not count, or is not known."""
    names = [
        name for name in ("signal", "flags", "variance") if isinstance(frame, xr.Dataset) and name in frame
    ]
    arrays = [frame[name].data for name in names] if names else [frame.data]
    strips = list(sample_strips(frame))
    maker = maker_of(frame) if len(names) == 3 else None
    readers = [rows_of(array) for array in arrays]
    if maker is not None:
        parts = [rows.copy() for strip in strips for rows in _in_order(maker, strip)]
    elif all(readers):  # of an opened result: without a graph for each strip
        parts = [read(strip.start, strip.stop) for strip in strips for read in readers]
    else:
        parts = [array[strip] for strip in strips for array in arrays]
    if any(hasattr(part, "dask") for part in parts):
        # all at once: a reader may have to go through the file for each
        parts = compute_here(parts, threads=worker_count())
    for number, strip in enumerate(strips):
        found = dict(zip(names or ["signal"], parts[number * len(arrays) :], strict=False))
        values = np.asarray(found["signal"], np.float64)
        if "flags" in found:
            values = np.where(np.asarray(found["flags"]) == 0, values, np.nan)
        variance = (
            np.asarray(found["variance"], np.float64)
            if "variance" in found
            else np.full(values.shape, np.nan)
        )
        yield strip.start, values, variance


def _in_order(maker: FrameMaker, strip: slice) -> tuple[np.ndarray, ...]:
    """Signal, flags and variance."""
    signal, variance, flags = maker.read(strip.start, strip.stop)
    return signal, flags, variance


def _by_channel(
    values: np.ndarray, variance: np.ndarray, cell: np.ndarray, channels: tuple[str, ...]
) -> Iterator[tuple[str, tuple[np.ndarray, ...]]]:
    """(channel, (pixels, their variances, differences of neighbours)) of one strip, one of each site of the pattern."""
    py, px = cell.shape
    for dy, dx in np.ndindex(py, px):
        own = values[dy::py, dx::px]
        difference = own[:, 1:] - own[:, :-1]
        here = np.isfinite(own)
        yield (
            channels[cell[dy, dx]],
            (own[here], variance[dy::py, dx::px][here], difference[np.isfinite(difference)]),
        )


def _noise(arrays: list[np.ndarray]) -> Noise:
    values, variance, differences = arrays
    level = float(np.median(values)) if values.size else np.nan
    measured = np.nan
    if differences.size:
        middle = np.median(differences)
        measured = float(_MAD_TO_SIGMA * np.median(np.abs(differences - middle)) / np.sqrt(2.0))
    known = variance[np.isfinite(variance)]
    return Noise(level, measured, float(np.sqrt(np.median(known))) if known.size else np.nan)


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

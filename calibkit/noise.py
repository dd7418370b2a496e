"""Read noise, gain and dark rate from pairs of frames, per channel.

The difference of two equal frames holds no fixed pattern, only the noise of both. Everything is summed over
small tiles, in each of which the level hardly changes, so that vignetting and glow do no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibkit.calibration.checks import check_camera, check_frame, cover
from calibkit.calibration.levels import channel_levels, per_channel
from calibkit.calibration.pairs import clipped_variance, frame_bands, pair_noise, tile_shape, tiles
from calibkit.cfa import channel_index
from calibkit.errors import CalibkitError, MismatchError
from calibkit.meta import frame_value

#: Share of saturated samples above which a tile tells no gain.
_SATURATED = 0.001


@dataclass(frozen=True)
class Measurement:
    """A number per channel with its standard error.

    Attributes
    ----------
    values, errors : dict
        Channel → value, channel → standard error.
    unit : str
    samples : int
        Pairs or frames that it rests on.

    Examples
    --------
    >>> noise = Measurement({"L": 6.7}, {"L": 0.01}, "adu", 5)
    >>> noise["L"], noise.value
    (6.7, 6.7)
    >>> print(noise)
    L 6.7 ± 0.01 adu
    """

    values: dict[str, float]
    errors: dict[str, float]
    unit: str
    samples: int

    def __getitem__(self, channel: str) -> float:
        return self.values[channel]

    @property
    def value(self) -> float:
        """Mean over the channels."""
        return float(np.mean(list(self.values.values())))

    @property
    def error(self) -> float:
        """Standard error of `value`."""
        return float(np.sqrt(np.sum(np.square(list(self.errors.values())))) / len(self.errors))

    def __str__(self) -> str:
        parts = (f"{c} {v:.4g} ± {self.errors[c]:.2g} {self.unit}" for c, v in self.values.items())
        return ", ".join(parts)


def measure_read_noise(
    biases: xr.DataArray, *, gain: float | Mapping[str, float] | Measurement | None = None
) -> Measurement:
    """Noise of a single bias frame, from differences of frames.

    Parameters
    ----------
    biases : xarray.DataArray
        Two or more bias frames, ``(frame, y, x)``, ADU; lazy or in memory.
    gain : float, mapping or Measurement, optional
        Electrons per ADU. With it the result is in electrons, otherwise in ADU.

    Returns
    -------
    Measurement
        Standard deviation per channel, rounding to whole ADU included.

    Raises
    ------
    MismatchError
        Fewer than two frames.
    SettingError
        A gain that is no positive number.

    Notes
    -----
    Frames are taken two by two, each once; R = σ(B₁ − B₂)/√2 [1]_. Differences further than 4 σ from their tile's
    mean are left out, and the variance is corrected for that. The error comes from the scatter between tiles.

    References
    ----------
    .. [1] Janesick, J. R. 2001, Scientific Charge-Coupled Devices, SPIE, chapter 5.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = np.random.default_rng(0).normal(100, 5, (4, 96, 96))
    >>> noise = measure_read_noise(xr.DataArray(frames, dims=("frame", "y", "x")))
    >>> abs(noise.value - 5) < 0.1
    True
    """
    stack = _stack(biases, "measure_read_noise", 2)
    found = pair_noise(stack, sample=False)
    channels = tuple(found.noise)
    factor = np.ones(len(channels)) if gain is None else per_channel(gain, channels, "gain", least=1e-6)
    return Measurement(
        {c: found.noise[c] * f for c, f in zip(channels, factor.tolist(), strict=True)},
        {c: found.error[c] * f for c, f in zip(channels, factor.tolist(), strict=True)},
        "adu" if gain is None else "electron",
        found.pairs,
    )


def measure_gain(flats: xr.DataArray, biases: xr.DataArray) -> Measurement:
    """Electrons per ADU, from pairs of flats and pairs of biases.

    Parameters
    ----------
    flats : xarray.DataArray
        Two or more flats of one exposure, raw, ``(frame, y, x)``, ADU, below saturation.
    biases : xarray.DataArray
        Two or more bias frames (or darks of the flats' exposure) of the same camera and gain.

    Returns
    -------
    Measurement
        Gain per channel in electron/adu.

    Raises
    ------
    MismatchError
        Fewer than two frames, or frames that do not belong together.
    CalibkitError
        The flats show no photon noise: dark, saturated or copies of each other.

    Notes
    -----
    For flats F and biases B [1]_,

    .. math:: g = \\frac{(F_1 + F_2) - (B_1 + B_2)}{\\sigma^2(F_1 - F_2) - \\sigma^2(B_1 - B_2)}

    with F₂ multiplied so that both have one level, each side summed over tiles before they are divided, which
    keeps the noise of a tile from biasing the ratio. Tiles with samples at saturation are left out. A pixel that passes charge to
    its neighbours when bright (the brighter-fatter effect) makes the gain come out too large by a few percent near
    full well; take flats of about half of it.

    References
    ----------
    .. [1] Janesick, J. R. 2001, Scientific Charge-Coupled Devices, SPIE, chapter 5; as in IRAF's findgain.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> rng = np.random.default_rng(0)
    >>> flats = xr.DataArray(100 + rng.poisson(8000, (4, 96, 96)) / 2.0, dims=("frame", "y", "x"))
    >>> biases = xr.DataArray(rng.normal(100, 3, (4, 96, 96)), dims=("frame", "y", "x"))
    >>> abs(measure_gain(flats, biases).value - 2) < 0.05
    True
    """
    flats = _stack(flats, "measure_gain", 2)
    biases = _stack(biases, "measure_gain", 2)
    check_camera(biases.to_dataset(name="signal").assign_attrs(biases.attrs), flats, "bias", subject="flat")
    if not np.array_equal(_shape(biases), _shape(flats)):
        msg = (
            f"measure_gain: the biases measure {_shape(biases)} and the flats {_shape(flats)} (rows, columns)"
        )
        raise MismatchError(msg)
    cell, channels = channel_index(flats)
    dark = pair_noise(biases, sample=False)
    saturation = float(flats.attrs.get("saturation", np.nan))
    shape = tile_shape(flats, cell)
    count = flats.sizes["frame"] // 2
    light: list[list[np.ndarray]] = [[] for _ in channels]
    spread: list[list[np.ndarray]] = [[] for _ in channels]
    for band in frame_bands(flats, shape, sample=False):
        split = tiles(band, cell, shape)
        for c, name in enumerate(channels):
            # In a tile where saturation begins, what is left is the lower half of the noise.
            below = (split[c] >= saturation).mean(axis=(0, 2)) <= _SATURATED
            values = np.where(split[c] >= saturation, np.nan, split[c])[:, below] - dark.level[name]
            for first, second in zip(values[: 2 * count : 2], values[1 : 2 * count : 2], strict=True):
                if not first.size:
                    continue
                ratio = float(np.nanmean(first) / np.nanmean(second))
                variance, good = clipped_variance(first - ratio * second)
                level = np.nanmean(first[good], axis=1) + ratio**2 * np.nanmean(second[good], axis=1)
                light[c].append(level)
                spread[c].append(variance[good] - (1 + ratio**2) * dark.noise[name] ** 2)
    values, errors = {}, {}
    for c, name in enumerate(channels):
        level, noise = (np.concatenate([*parts[c], []]) for parts in (light, spread))
        if not level.size or not noise.mean() > 0 or not level.mean() > 0:
            msg = (
                f"measure_gain: the flats show no photon noise in channel {name} above that of the biases; take flats "
                "between a fifth and four fifths of saturation, each a frame of its own"
            )
            raise CalibkitError(msg)
        gain = level.sum() / noise.sum()
        values[name] = float(gain)
        errors[name] = float(gain * np.std(noise - level / gain) / noise.mean() / np.sqrt(level.size))
    return Measurement(values, errors, "electron/adu", count)


def dark_rate(darks: xr.DataArray | xr.Dataset, bias: xr.Dataset | None = None) -> Measurement:
    """Dark signal per second, from one or more exposures.

    Parameters
    ----------
    darks : xarray.DataArray or xarray.Dataset
        Dark frames ``(frame, y, x)`` or one frame, of one temperature, or a master dark; ADU.
    bias : xarray.Dataset, optional
        Master bias. Without it, frames of two exposures at least are needed, and the rate is their slope.

    Returns
    -------
    Measurement
        Rate per channel in adu/s: the median pixel's, so that hot pixels do not count.

    Raises
    ------
    MismatchError
        The exposures are not known or do not suffice, or the bias does not belong to the darks.

    Notes
    -----
    With several exposures the rate is the slope of the least-squares line through the medians over exposure, and
    its error that of the slope; with one, the median of (dark − bias) over the exposure, and its error the
    scatter between frames, or NaN for a single one.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> darks = xr.DataArray(
    ...     np.full((2, 8, 8), 100.0) + np.array([5.0, 30.0])[:, None, None],
    ...     dims=("frame", "y", "x"),
    ...     coords={"exposure": ("frame", [10.0, 60.0])},
    ... )
    >>> round(dark_rate(darks).value, 6)
    0.5
    """
    frames, subtracted = _dark_frames(darks)
    if bias is not None:
        if subtracted:
            msg = "dark_rate: bias subtracted twice: the dark's bias was subtracted already; leave bias= out"
            raise MismatchError(msg)
        check_camera(bias, frames, "bias", subject="dark")
        bias = cover(bias, frames, "bias", "dark")
    exposures = np.broadcast_to(np.asarray(frames.coords["exposure"].values, float), (frames.sizes["frame"],))
    if not np.isfinite(exposures).all():
        msg = "dark_rate: the exposures of the darks are not known; assign them: darks.assign_coords(exposure=…)"
        raise MismatchError(msg)
    several = np.unique(exposures).size > 1
    if not several and ((bias is None and not subtracted) or exposures[0] <= 0):
        msg = f"dark_rate: all darks were exposed for {exposures[0]:g} s; give bias=, or darks of several exposures"
        raise MismatchError(msg)
    offset = 0.0 if bias is None else bias["signal"]
    levels = [
        channel_levels((frame - offset).drop_vars("frame", errors="ignore").assign_attrs(frames.attrs))
        for frame in frames
    ]
    values, errors = {}, {}
    for name in levels[0]:
        y = np.array([level[name] for level in levels])
        values[name], errors[name] = _slope(exposures, y) if several else _ratio(exposures, y)
    return Measurement(values, errors, "adu/s", len(levels))


def _slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    dx = x - x.mean()
    slope = float((dx * y).sum() / (dx**2).sum())
    rest = y - y.mean() - slope * dx
    freedom = x.size - 2
    error = np.sqrt((rest**2).sum() / freedom / (dx**2).sum()) if freedom > 0 else np.nan
    return slope, float(error)


def _ratio(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    rates = y / x
    error = rates.std(ddof=1) / np.sqrt(rates.size) if rates.size > 1 else np.nan
    return float(rates.mean()), float(error)


def _dark_frames(darks: xr.DataArray | xr.Dataset) -> tuple[xr.DataArray, bool]:
    """Frames with their exposure as a coordinate, and whether their bias is gone."""
    signal = darks["signal"] if isinstance(darks, xr.Dataset) else darks
    if "exposure" not in signal.coords:
        signal = signal.assign_coords(exposure=frame_value(darks, "exposure", np.nan))
    if "frame" not in signal.dims:
        signal = signal.expand_dims("frame")
    return signal.assign_attrs(darks.attrs), bool(darks.attrs.get("bias_subtracted", False))


def _stack(frames: object, who: str, least: int) -> xr.DataArray:
    stack = check_frame(frames, who)
    if stack.sizes.get("frame", 1) < least:
        msg = (
            f"{who}: {least} frames at least are needed to see the noise, found {stack.sizes.get('frame', 1)}"
        )
        raise MismatchError(msg)
    return stack


def _shape(stack: xr.DataArray) -> tuple[int, int]:
    return stack.sizes["y"], stack.sizes["x"]

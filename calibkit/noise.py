"""Read noise and gain from pairs of frames, per channel.

The difference of two equal frames holds no fixed pattern, only the noise of both. Everything is summed over
small tiles, in each of which the level hardly changes, so that vignetting and glow do no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibkit.calibration.checks import check_camera, check_frame
from calibkit.calibration.levels import per_channel
from calibkit.calibration.pairs import TileSums, frame_bands, pair_noise, ratio_variance, tile_shape, tiles
from calibkit.cfa import channel_index
from calibkit.errors import CalibkitError, MismatchError

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
        for c, (name, each) in enumerate(zip(channels, tiles(band, cell, shape), strict=True)):
            sums = TileSums.of(each, saturation)
            # In a tile where saturation begins, what is left is the lower half of the noise.
            below = sums.above.sum(axis=0) <= _SATURATED * each.shape[0] * each.shape[2]
            if not below.any():
                continue
            total, number = sums.total[:, below], sums.count[:, below]
            mean = total.sum(axis=1) / number.sum(axis=1) - dark.level[name]
            for i in range(0, 2 * count, 2):
                ratio = float(mean[i] / mean[i + 1])
                variance, good = ratio_variance(each[i, below], each[i + 1, below], ratio, saturation)
                levels = total[i : i + 2, good] / number[i : i + 2, good] - dark.level[name]
                light[c].append(levels[0] + ratio**2 * levels[1])
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

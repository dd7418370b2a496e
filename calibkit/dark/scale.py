"""How strong a dark has to be for a light: the unbiased way, from two half masters, with its error.

Programs that scale a dark for the least noise find too small a factor, since a weaker dark brings less of
its own readout noise along: the noisier the master, the weaker the dark, and hot pixels stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import ndimage, optimize

from calibkit.cfa import channel_index
from calibkit.errors import MismatchError, SettingError
from calibkit.flags import usable
from calibkit.meta import frame_value

#: Tiles along each side of the frame, left out one at a time to find the error.
_TILES = 8
#: A star is where the median of 3 × 3 residuals of one colour stands out by this many sigma.
_STAR_SIGMA = 4.0
#: Pixels whose dark current stands out by less than this, in all, cannot tell a scale.
_LEAST_SIGNIFICANCE = 5.0


@dataclass(frozen=True)
class DarkScale:
    """What `measure_dark_scale` found.

    Attributes
    ----------
    scale, error : float
        Unbiased factor of the dark and its standard error.
    least_noise : float
        The factor that leaves the least noise, as other programs take it.
    exposure_ratio : float
        Light's exposure ÷ dark's, nan where one is not known.
    temperature_difference, temperature_error : float
        Light's minus dark's temperature in °C that scale ÷ exposure_ratio implies, for the stated doubling.
    doubling : float
        Temperature step in °C over which dark current doubles, as assumed.
    pixels : int
        Pixels that were used.
    """

    scale: float
    error: float
    least_noise: float
    exposure_ratio: float
    temperature_difference: float
    temperature_error: float
    doubling: float
    pixels: int

    def __str__(self) -> str:
        text = f"dark scale {self.scale:.4f} ± {self.error:.4f} (least noise: {self.least_noise:.4f}"
        if math.isfinite(self.exposure_ratio):
            text += f", exposures: {self.exposure_ratio:.4f})"
            if math.isfinite(self.temperature_difference):
                text += f"; the light was {self.temperature_difference:+.2f} ± {self.temperature_error:.2f} °C from the dark"
            return text
        return text + ")"


def measure_dark_scale(
    light: xr.Dataset, dark_a: xr.Dataset, dark_b: xr.Dataset, *, doubling: float = 7.0
) -> DarkScale:
    """Measure by what factor a dark has to be multiplied to fit a light, with its error.

    Parameters
    ----------
    light : xarray.Dataset
        One light, ``(y, x)``, with its bias subtracted and nothing else done: ``calibrate(light, bias=bias,
        repair=False)``.
    dark_a, dark_b : xarray.Dataset
        Two masters with the bias subtracted, each from a half of the darks, so that their noise is independent.
    doubling : float
        Temperature step in °C over which dark current doubles: turns the scale into a temperature difference.

    Returns
    -------
    DarkScale

    Raises
    ------
    MismatchError
        Sizes or sensor pixels differ.
    SettingError
        Bias still in a frame, *doubling* not positive, or darks without enough structure above their noise
        to tell a scale; the message says what was found.

    Notes
    -----
    With L, A and B passed through the same linear high-pass filter (a pixel minus the mean of its eight
    nearest neighbours of the same colour), on pixels free of stars,
    ``k = [cov(L, A) + cov(L, B)] / [2 cov(A, B)]``. Noise of A is in cov(L, A) only as far as it is in L, that is
    not at all, and the same holds for cov(A, B): noise does not pull k towards zero as it does in a fit or in a
    search for the least noise. The error is a jackknife over tiles of the frame (Efron & Tibshirani 1993,
    chapter 11). Pixels with any bad flag are left out.

    Examples
    --------
    >>> import calibkit
    >>> night = calibkit.sample_session("dslr")
    >>> bias = calibkit.master_bias(calibkit.open_stack(night / "bias/*"))
    >>> darks = calibkit.open_stack(night / "darks/*")
    >>> half_a = calibkit.master_dark(darks[0::2], bias=bias)
    >>> half_b = calibkit.master_dark(darks[1::2], bias=bias)
    >>> light = calibkit.calibrate(calibkit.open_stack(night / "lights/*")[0], bias=bias)
    >>> scale = calibkit.measure_dark_scale(light, half_a, half_b)
    >>> abs(scale.scale - 1) < 4 * scale.error
    True
    """
    if not doubling > 0:
        msg = f"doubling={doubling}: a positive number of °C is wanted, such as 7"
        raise SettingError(msg)
    a, b = (_aligned(light, dark, name) for dark, name in ((dark_a, "dark_a"), (dark_b, "dark_b")))
    _check_bias(light, a, b)
    cell, _ = channel_index(light)
    step = cell.shape
    arrays = [np.asarray(ds["signal"].values, np.float64) for ds in (light, a, b)]
    good = np.logical_and.reduce(
        [usable(ds["flags"].values) & np.isfinite(v) for ds, v in zip((light, a, b), arrays, strict=True)]
    )
    filled = [_fill(array, good, step) for array in arrays]
    passed = [_high_pass(array, step) for array in filled]
    clean = ~_touched(~good, step)
    start = max(0.0, _covariance_scale(*passed, clean))
    for _ in range(2):  # hot pixels vanish from the residual once the scale is about right, stars stay
        stars = _stars(filled[0] - start * 0.5 * (filled[1] + filled[2]), step)
        use = clean & ~_touched(stars, step)
        start = _covariance_scale(*passed, use)
    if not use.any():
        msg = (
            f"the scale of the dark cannot be measured: in a frame of {light.sizes['x']} × {light.sizes['y']} pixels none has "
            "good neighbours on all sides that are free of stars; take a larger part of the frame"
        )
        raise SettingError(msg)
    scale, error, significance = _jackknife(*passed, use)
    if not significance > _LEAST_SIGNIFICANCE:
        msg = (
            "the scale of the dark cannot be measured: what the two half masters have in common stands only "
            f"{significance:.1f} sigma above their noise, {_LEAST_SIGNIFICANCE:.0f} are wanted. Take more or longer darks, "
            "or use darks of the light's own exposure and temperature"
        )
        raise SettingError(msg)
    ratio = _exposure_ratio(light, a)
    known = math.isfinite(ratio) and scale > 0
    return DarkScale(
        scale=scale,
        error=error,
        least_noise=_least_noise(passed[0][use], 0.5 * (passed[1] + passed[2])[use]),
        exposure_ratio=ratio,
        temperature_difference=doubling * math.log2(scale / ratio) if known else math.nan,
        temperature_error=doubling * error / (scale * math.log(2)) if known else math.nan,
        doubling=doubling,
        pixels=int(use.sum()),
    )


def _aligned(light: xr.Dataset, dark: xr.Dataset, name: str) -> xr.Dataset:
    if light["signal"].dims != ("y", "x"):
        msg = f"one light is wanted, with dims (y, x); found {light['signal'].dims}. Take one with light.isel(frame=0)"
        raise SettingError(msg)
    try:
        dark = dark.sel(y=light["y"], x=light["x"])
    except KeyError:
        msg = (
            f"{name} covers sensor pixels y {_span(dark, 'y')}, x {_span(dark, 'x')}; the light needs "
            f"y {_span(light, 'y')}, x {_span(light, 'x')}"
        )
        raise MismatchError(msg) from None
    return dark


def _span(ds: xr.Dataset, dim: str) -> str:
    return f"{int(ds[dim][0])}…{int(ds[dim][-1])}"


def _check_bias(light: xr.Dataset, *darks: xr.Dataset) -> None:
    for name, ds in (("the light", light), *(("a dark", dark) for dark in darks)):
        if not ds.attrs.get("bias_subtracted"):
            msg = f"{name} still holds its bias, which does not scale: subtract it first (bias=…)"
            raise SettingError(msg)
    if light.attrs.get("dark_subtracted") or light.attrs.get("flat_divided"):
        msg = "the light is calibrated already; a scale is measured on a light with only its bias subtracted"
        raise SettingError(msg)


def _exposure_ratio(light: xr.Dataset, dark: xr.Dataset) -> float:
    of_light, of_dark = frame_value(light, "exposure"), frame_value(dark, "exposure")
    return float(of_light / of_dark) if of_light and of_dark else math.nan


def _footprint(step: tuple[int, int]) -> np.ndarray:
    """The pixel and its eight nearest neighbours of the same place in the colour pattern."""
    foot = np.zeros((2 * step[0] + 1, 2 * step[1] + 1), bool)
    foot[:: step[0], :: step[1]] = True
    return foot


def _touched(bad: np.ndarray, step: tuple[int, int]) -> np.ndarray:
    """Pixels whose high-pass value holds a bad one, and the rim."""
    return ndimage.binary_dilation(bad, _footprint(step), border_value=1)


def _fill(array: np.ndarray, good: np.ndarray, step: tuple[int, int]) -> np.ndarray:
    """Something harmless in place of bad pixels: they are left out, but filters pass over them."""
    out = array.copy()
    for i in range(step[0]):
        for j in range(step[1]):
            plane, fine = out[i :: step[0], j :: step[1]], good[i :: step[0], j :: step[1]]
            plane[~fine] = np.median(plane[fine]) if fine.any() else 0.0
    return out


def _high_pass(array: np.ndarray, step: tuple[int, int]) -> np.ndarray:
    weights = -_footprint(step).astype(float) / 8
    weights[step[0], step[1]] = 1.0
    return ndimage.convolve(array, weights, mode="nearest")


def _stars(residual: np.ndarray, step: tuple[int, int]) -> np.ndarray:
    smooth = ndimage.median_filter(residual, footprint=_footprint(step), mode="nearest")
    large = (64 * step[0] + 1, 64 * step[1] + 1)
    smooth -= ndimage.uniform_filter(np.clip(smooth, *np.percentile(smooth, (5, 75))), large, mode="nearest")
    sigma = 1.4826 * np.median(np.abs(smooth - np.median(smooth)))
    return ndimage.binary_dilation(smooth - np.median(smooth) > _STAR_SIGMA * sigma, iterations=2)


def _covariance_scale(light: np.ndarray, a: np.ndarray, b: np.ndarray, use: np.ndarray) -> float:
    common = np.sum(a[use] * b[use])
    return float(0.5 * np.sum(light[use] * (a[use] + b[use])) / common) if common > 0 else math.nan


def _jackknife(
    light: np.ndarray, a: np.ndarray, b: np.ndarray, use: np.ndarray
) -> tuple[float, float, float]:
    """Scale, its error, and by how many sigma the halves' covariance is positive."""
    tile = _tile_numbers(light.shape)
    top = np.bincount(tile[use], (0.5 * light * (a + b))[use], _TILES**2)
    bottom = np.bincount(tile[use], (a * b)[use], _TILES**2)
    n = _TILES**2
    chance = math.sqrt(np.sum(a[use] ** 2) * np.sum(b[use] ** 2) / max(1, use.sum()))  # if all were noise
    significance = float(bottom.sum() / chance) if chance > 0 else 0.0
    scale = float(top.sum() / bottom.sum())
    without = (top.sum() - top) / (bottom.sum() - bottom)
    error = math.sqrt((n - 1) / n * float(np.sum((without - without.mean()) ** 2)))
    return scale, error, significance


def _tile_numbers(shape: tuple[int, int]) -> np.ndarray:
    rows, columns = (np.arange(size) * _TILES // size for size in shape)
    return rows[:, None] * _TILES + columns[None, :]


def _least_noise(light: np.ndarray, dark: np.ndarray) -> float:
    def noise(scale: float) -> float:
        residual = light - scale * dark
        return float(np.median(np.abs(residual - np.median(residual))))

    return float(
        optimize.minimize_scalar(noise, bounds=(0.0, 5.0), method="bounded", options={"xatol": 1e-3}).x
    )

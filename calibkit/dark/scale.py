"""How strong a dark has to be for a light: the unbiased way, from two half masters, with its error.

Programs that scale a dark for the least noise find too small a factor, since a weaker dark brings less of
its own readout noise along: the noisier the master, the weaker the dark, and hot pixels stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import optimize

from calibkit.cfa import channel_index
from calibkit.dark.structure import fill, high_pass, robust_sigma, star_mask, touched
from calibkit.errors import MismatchError, SettingError
from calibkit.flags import BAD, HOT, REPAIRED
from calibkit.meta import frame_value

#: Tiles along each side of the frame, left out one at a time to find the error.
_TILES = 8
#: A pixel counts by how far it stands out, in sigma of the light, up to this many: about where the photon noise of its
#: own charge is as large as the noise of the rest.
_LEVERAGE = 10.0
#: Within this many sigma of the dark a pixel may stand out by the noise of the bias alone.
_COMMON = 3.0
#: Flags of a pixel that measures no charge. A hot pixel does, and it tells the most.
_LEFT_OUT = (BAD & ~HOT) | REPAIRED
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
    L, A and B pass the same linear high-pass filter: a pixel minus the mean of its eight nearest neighbours of the
    same colour. Stars are left out. Each half then serves as the instrument for the other (instrumental variables:
    Fuller 1987, *Measurement Error Models*, section 1.4): ``k = Σ [z(A) + z(B)] L / Σ [z(A) B + z(B) A]``. Noise of A is
    neither in L nor in B, so that it does not pull k towards zero, as it does in a fit or in a search for the least
    noise; and that holds for every function z. The one used weighs a pixel by how far it stands out, over the variance
    of the light in its colour. It is bounded at ten sigma, so that no handful of the hottest pixels, with the largest
    photon noise, decides.

    Noise of the bias is in L, A and B alike and would pull k towards one. For Gaussian noise e that is a part of A,
    ``mean(z(A) e) = mean(z'(A)) var(e)`` (Stein 1981, *Annals of Statistics* 9, 1135). Hence z is the bounded value minus
    so much of the value bounded at three sigma of the dark that z' is zero on average. What remains is the tail: pixels
    that stand out by more than noise does.

    Left out are pixels with a bad flag or a repaired value, but for hot ones: those are measured, and tell the most. The
    error is a jackknife over tiles of the frame (Efron & Tibshirani 1993, chapter 11).

    Examples
    --------
    >>> import calibkit
    >>> night = calibkit.sample_session("dslr")
    >>> bias = calibkit.master_bias(calibkit.open_stack(night / "bias/*"))
    >>> darks = calibkit.open_stack(night / "darks/*")
    >>> half_a = calibkit.master_dark(darks[0::2], bias=bias)
    >>> half_b = calibkit.master_dark(darks[1::2], bias=bias)
    >>> light = calibkit.calibrate(calibkit.open_stack(night / "lights/*")[0], bias=bias, repair=False)
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
        [
            ((ds["flags"].values & _LEFT_OUT) == 0) & np.isfinite(v)
            for ds, v in zip((light, a, b), arrays, strict=True)
        ]
    )
    filled = [fill(array, good, step) for array in arrays]
    frames = _Frames(*(high_pass(array, step) for array in filled), _channels(cell, good.shape))
    clean = use = ~touched(~good, step)
    scale = 1.0
    for _ in range(2):  # hot pixels vanish from the residual once the scale is about right, stars stay
        guess = frames.scale(*frames.instruments(scale, use), use)
        scale = guess if math.isfinite(guess) else scale
        stars = star_mask(filled[0] - scale * 0.5 * (filled[1] + filled[2]), step)
        use = clean & ~touched(stars, step)
    if not use.any():
        msg = (
            f"the scale of the dark cannot be measured: in a frame of {light.sizes['x']} × {light.sizes['y']} pixels none has "
            "good neighbours on all sides that are free of stars; take a larger part of the frame"
        )
        raise SettingError(msg)
    instruments = frames.instruments(scale, use)
    significance = _significance(*(z[use] for z in instruments))
    if not significance > _LEAST_SIGNIFICANCE:
        msg = (
            "the scale of the dark cannot be measured: what the two half masters have in common stands only "
            f"{significance:.1f} sigma above their noise, {_LEAST_SIGNIFICANCE:.0f} are wanted. Take more or longer darks, "
            "or use darks of the light's own exposure and temperature"
        )
        raise SettingError(msg)
    scale, error = frames.jackknife(*instruments, use)
    ratio = _exposure_ratio(light, a)
    known = math.isfinite(ratio) and scale > 0
    return DarkScale(
        scale=scale,
        error=error,
        least_noise=_least_noise(frames.light[use], 0.5 * (frames.a + frames.b)[use]),
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


def _channels(cell: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Number of the channel of every pixel."""
    repeats = tuple(-(-size // period) for size, period in zip(shape, cell.shape, strict=True))
    return np.tile(cell, repeats)[: shape[0], : shape[1]]


@dataclass(frozen=True)
class _Frames:
    """A light and two half masters after the high-pass filter, and the channel of every pixel."""

    light: np.ndarray
    a: np.ndarray
    b: np.ndarray
    channel: np.ndarray

    def instruments(self, scale: float, use: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """z(A) and z(B), where *scale* is about right; see the notes of `measure_dark_scale`."""
        left = self.light - scale * 0.5 * (self.a + self.b)
        found = np.zeros_like(self.a), np.zeros_like(self.b)
        for channel in np.unique(self.channel):
            at = use & (self.channel == channel)
            if not at.any():
                continue
            noise = robust_sigma(left[at]) or float(np.std(left[at])) or 1.0
            for z, half in zip(found, (self.a, self.b), strict=True):
                z[at] = _instrument(half[at], noise)
        return found

    def scale(self, z_a: np.ndarray, z_b: np.ndarray, use: np.ndarray) -> float:
        """The scale in one number."""
        return _ratio(np.sum(self._seen(z_a, z_b)[use]), np.sum(self._common(z_a, z_b)[use]))

    def jackknife(self, z_a: np.ndarray, z_b: np.ndarray, use: np.ndarray) -> tuple[float, float]:
        """The scale and its error."""
        tile, n = _tile_numbers(use.shape)[use], _TILES**2
        top = np.bincount(tile, self._seen(z_a, z_b)[use], n)
        bottom = np.bincount(tile, self._common(z_a, z_b)[use], n)
        without = (top.sum() - top) / (bottom.sum() - bottom)
        error = math.sqrt((n - 1) / n * float(np.sum((without - without.mean()) ** 2)))
        return _ratio(top.sum(), bottom.sum()), error

    def _seen(self, z_a: np.ndarray, z_b: np.ndarray) -> np.ndarray:
        return self.light * (z_a + z_b)

    def _common(self, z_a: np.ndarray, z_b: np.ndarray) -> np.ndarray:
        return z_a * self.b + z_b * self.a


def _instrument(dark: np.ndarray, noise: float) -> np.ndarray:
    """How much each pixel of one channel counts, where the light's noise is *noise*."""
    own = robust_sigma(dark)
    bound, inner = _LEVERAGE * max(noise, own), _COMMON * own
    near = np.mean(np.abs(dark) < inner)
    bulk = np.mean(np.abs(dark) < bound) / near if near else 0.0
    return (np.clip(dark, -bound, bound) - bulk * np.clip(dark, -inner, inner)) / noise**2


def _significance(z_a: np.ndarray, z_b: np.ndarray) -> float:
    """By how many sigma the halves' covariance is positive, if all were noise."""
    chance = math.sqrt(np.sum(z_a**2) * np.sum(z_b**2) / z_a.size)
    return float(np.sum(z_a * z_b)) / chance if chance > 0 else 0.0


def _ratio(seen: float, common: float) -> float:
    return float(seen / common) if common > 0 else math.nan


def _tile_numbers(shape: tuple[int, int]) -> np.ndarray:
    rows, columns = (np.arange(size) * _TILES // size for size in shape)
    return rows[:, None] * _TILES + columns[None, :]


def _least_noise(light: np.ndarray, dark: np.ndarray) -> float:
    def noise(scale: float) -> float:
        return robust_sigma(light - scale * dark)

    return float(
        optimize.minimize_scalar(noise, bounds=(0.0, 5.0), method="bounded", options={"xatol": 1e-3}).x
    )

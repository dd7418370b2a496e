"""Pixels that scatter from dark to dark by more than their noise: random telegraph signal and the like."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibkit.calibration.checks import check_frame, check_size, values_of
from calibkit.calibration.levels import clipped_mean, per_channel
from calibkit.cfa import channel_index
from calibkit.errors import MismatchError, SettingError
from calibkit.flags import FLAG_DTYPE, UNSTABLE
from calibkit.kernels import telegraph
from calibkit.memory import band_rows
from calibkit.meta import known
from calibkit.noise import Measurement
from calibkit.progress import Progress, silent
from calibkit.statistics import sample_strips

#: Fewer frames tell a telegraph pixel from a cosmic ray badly.
LEAST_FRAMES = 5
#: Pixels of each channel that a frame has to have.
_LEAST_PIXELS = 12
#: One sample in so many, and one at least, may be a cosmic ray: the most deviant ones are not counted.
_SPARE = 40
#: Samples that each of two levels has to have.
_LEAST_SAMPLES = 2
#: Chance that a pixel with two levels scatters within them by more.
_TWO_LEVELS = 1e-3
#: The quieter share of the pixels from which the noise is taken.
_QUIET = 0.9
#: Pixels with this many sigma of dark current tell how much the dark current drifts from frame to frame.
_STRONG, _MOST_STRONG, _FEWEST_STRONG = 30.0, 4000, 30
#: So many unstable pixels are listed at most, the strongest ones.
_LISTED = 20_000


@dataclass(frozen=True)
class UnstablePixels:
    """What `find_unstable_pixels` found.

    Attributes
    ----------
    flags : xarray.DataArray
        ``(y, x)``, uint16, with `calibkit.flags.UNSTABLE` where a pixel is unstable: goes into ``calibrate(defects=…)``.
    share : Measurement
        Share of the pixels of each channel that are unstable (unit 1).
    table : xarray.Dataset
        The strongest ones, along ``pixel``: ``y`` and ``x`` (sensor pixels), ``level`` above the median, ``excess``
        (scatter over expected noise), ``low`` and ``high`` (the two levels that describe it best, ADU above the
        median), ``upper`` (share of the frames in the upper one) and ``telegraph``: whether these two levels explain
        the scatter.
    noise : dict
        Channel → noise of a typical pixel, ADU.
    frames : int
    """

    flags: xr.DataArray
    share: Measurement
    table: xr.Dataset
    noise: dict[str, float]
    frames: int

    def __str__(self) -> str:
        count = int((self.flags != 0).sum())
        jump = int(self.table["telegraph"].sum())
        listed = self.table.sizes["pixel"]
        return (
            f"{count} unstable pixels in {self.frames} darks ({self.share}); of {listed} listed, {jump} jump between two "
            "levels"
        )


def find_unstable_pixels(
    darks: xr.DataArray,
    *,
    gain: float | Mapping[str, float] | Measurement | None = None,
    false_alarms: float = 1.0,
    progress: Progress = silent,
) -> UnstablePixels:
    """Find pixels that jump or scatter from dark to dark by more than their noise.

    Parameters
    ----------
    darks : xarray.DataArray
        Five or more darks of one exposure and temperature, raw, ``(frame, y, x)``, ADU; lazy or in memory.
    gain : float, mapping or Measurement, optional
        Electrons per ADU, for the noise of the dark current in hot pixels; by default what the frames say.
    false_alarms : float
        So many good pixels of the whole frame may be called unstable by chance.
    progress : callable
        ``progress(done, total, what)``.

    Returns
    -------
    UnstablePixels

    Raises
    ------
    MismatchError
        Fewer than five frames, or several exposures.
    SettingError
        The gain is not known, or a setting that cannot work.

    Notes
    -----
    Each frame's level is taken off, and its dark current brought to that of the others by the ratio that hot pixels
    show (a drift of 0.1 °C changes it by 1 %). What is expected of a pixel is the noise of the quieter pixels of its
    channel, readout and all, plus the photon-like noise of what it has more of dark current. The most deviant sample
    (of each 40) is not counted, since it may be a cosmic ray; the sum of squares of the others, over the expected
    variance, is then at most χ² distributed with one degree of freedom less than there are samples, and the threshold
    is chosen for *false_alarms*. A pixel with two levels [1]_ is one whose scatter about the best two levels of two
    samples or more each is no larger than its noise (χ², 0.1 %).

    References
    ----------
    .. [1] Hopkins, I. H. & Hopkinson, G. R. 1993, IEEE Transactions on Nuclear Science 40, 1567: random telegraph
       signals in proton-irradiated CCDs.

    Examples
    --------
    >>> from calibkit import Camera, simulate_stack
    >>> camera = Camera(shape=(64, 96), telegraph_fraction=0.01, telegraph_rate=5.0)
    >>> found = find_unstable_pixels(simulate_stack(camera, 12, kind="dark", exposure=60.0))
    >>> 50 <= int((found.flags != 0).sum()) <= 62
    True
    """
    from scipy import special

    stack = _checked(darks)
    cell, channels = channel_index(stack)
    gains = per_channel(_gain(stack, gain), channels, "gain", least=1e-6)
    height, width = stack.shape[1:]
    if not 0 < false_alarms < height * width:
        msg = f"false_alarms={false_alarms!r}: a number of pixels above 0 is wanted"
        raise SettingError(msg)
    frames = stack.sizes["frame"]
    spare = max(1, frames // _SPARE)
    level, scale, quiet = _frame_levels(stack, cell, len(channels), spare)
    chance = false_alarms / (height * width)
    limit = float(special.chdtri(frames - spare - 1, chance))
    flags = np.zeros((height, width), FLAG_DTYPE)
    listed: list[np.ndarray] = []
    rows = band_rows(
        height, width, bytes_per_pixel=frames * (stack.dtype.itemsize + 2) + 32, multiple=cell.shape[0]
    )
    for y0 in range(0, height, rows):
        progress(y0, height, f"look for unstable pixels in {frames} darks")
        values = np.asarray(stack.data[:, y0 : y0 + rows])
        mean, squares, count = (np.empty(values.shape[1:]) for _ in range(3))
        telegraph.pixel_scatter(values, level, scale, spare, mean, squares, count)
        index = cell[np.arange(values.shape[1])[:, None] % cell.shape[0], np.arange(width) % cell.shape[1]]
        expected = quiet[index] + np.maximum(mean, 0.0) / gains[index]
        whole = count == frames - spare
        bound = (
            limit if whole.all() else np.where(whole, limit, special.chdtri(np.maximum(count - 1, 1), chance))
        )
        bad = (count > 2) & (squares > bound * expected)
        flags[y0 : y0 + rows][bad] = UNSTABLE
        if bad.any():
            listed.append(_describe(values, bad, level, scale, expected, mean, squares, count, y0))
            listed = [_strongest(np.concatenate(listed, axis=1))]
    progress(height, height, f"look for unstable pixels in {frames} darks")
    return _found(stack, cell, channels, flags, listed, quiet, frames)


def _checked(darks: object) -> xr.DataArray:
    stack = check_frame(darks, "find_unstable_pixels")
    check_size(stack, "find_unstable_pixels", pixels=_LEAST_PIXELS)
    if stack.sizes.get("frame", 1) < LEAST_FRAMES:
        msg = (
            f"find_unstable_pixels: {stack.sizes.get('frame', 1)} darks do not tell a pixel that jumps from one that a "
            f"cosmic ray struck; {LEAST_FRAMES} at least are wanted"
        )
        raise MismatchError(msg)
    exposures = values_of(stack, "exposure")
    if exposures.size > 1 and exposures.max() > 1.01 * exposures.min() + 1e-3:
        msg = f"find_unstable_pixels: the darks were exposed for {', '.join(f'{t:g}' for t in exposures)} s; take one exposure"
        raise MismatchError(msg)
    return stack


def _gain(stack: xr.DataArray, gain: float | Mapping[str, float] | Measurement | None) -> object:
    if gain is not None:
        return gain
    found = values_of(stack, "gain")
    if found.size == 1 and known(found[0]):
        return float(found[0])
    msg = (
        "find_unstable_pixels: the gain of these frames is not known; give gain= (see calibkit.measure_gain)"
    )
    raise SettingError(msg)


def _frame_levels(
    stack: xr.DataArray, cell: np.ndarray, n_channels: int, spare: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Level (frame, py, px) and relative dark current of every frame, and variance of a quiet pixel per channel."""
    frames = stack.sizes["frame"]
    strips = [np.arange(s.start, s.stop) for s in sample_strips(stack.isel(frame=0))]
    rows = np.concatenate(strips)
    index = cell[np.arange(rows.size)[:, None] % cell.shape[0], np.arange(stack.sizes["x"]) % cell.shape[1]]
    level = np.empty((frames, *cell.shape))
    strong: np.ndarray | None = None
    table = np.empty((frames, 0))
    few = slice(None) if rows.size * stack.sizes["x"] * frames < 4_000_000 else slice(0, cell.shape[0] * 8)
    part = np.empty((frames, rows[few].size, stack.sizes["x"]), np.float32)
    for f in range(frames):
        values = np.asarray(stack.data[f, rows], np.float64)
        means = np.array(
            [clipped_mean(values[(index == c) & np.isfinite(values)]) for c in range(n_channels)]
        )
        level[f] = means[cell]
        values -= means[index]
        part[f] = values[few]
        if strong is None:
            spread = 1.4826 * np.nanmedian(np.abs(values)) + 0.5
            strong = np.argsort(values, axis=None)[::-1][:_MOST_STRONG]
            strong = strong[values.ravel()[strong] > _STRONG * spread]
            table = np.empty((frames, strong.size))
        table[f] = values.ravel()[strong]
    scale = np.ones(frames)
    if strong is not None and strong.size >= _FEWEST_STRONG:
        scale = np.median(table / np.median(table, axis=0), axis=1)
        scale /= scale.mean()
    return level, scale, _quiet_variance(part, index[few], cell, scale, spare, n_channels)


def _quiet_variance(
    part: np.ndarray, index: np.ndarray, cell: np.ndarray, scale: np.ndarray, spare: int, n_channels: int
) -> np.ndarray:
    """Variance of the quieter pixels: the mean of the lower sums of squares over what normal noise makes of it."""
    frames = part.shape[0]
    _, squares, count = outputs = tuple(np.empty(part.shape[1:]) for _ in range(3))
    telegraph.pixel_scatter(part, np.zeros((frames, 1, 1)), scale, spare, *outputs)
    normal = np.random.default_rng(0).standard_normal((frames, 1, 40_000))
    reference = tuple(np.empty((1, 40_000)) for _ in range(3))
    telegraph.pixel_scatter(normal, np.zeros((frames, 1, 1)), np.ones(frames), spare, *reference)
    expected = _lower_mean(reference[1].ravel())
    whole = count == frames - spare
    return np.array([_lower_mean(squares[(index == c) & whole]) / expected for c in range(n_channels)])


def _lower_mean(values: np.ndarray) -> float:
    if not values.size:
        return math.nan
    return float(values[values <= np.quantile(values, _QUIET)].mean())


def _describe(
    values: np.ndarray,
    bad: np.ndarray,
    level: np.ndarray,
    scale: np.ndarray,
    expected: np.ndarray,
    mean: np.ndarray,
    squares: np.ndarray,
    count: np.ndarray,
    y0: int,
) -> np.ndarray:
    """Rows of the table, one column per unstable pixel of a band."""
    from scipy import special

    y, x = np.nonzero(bad)
    py, px = level.shape[1:]
    samples = (values[:, y, x] - level[:, y % py, x % px]) / scale[:, None]
    frames = len(samples)
    samples = np.sort(np.where(np.isfinite(samples), samples, mean[y, x]), axis=0).T.copy()
    low, high, upper, within = (np.empty(y.size) for _ in range(4))
    telegraph.two_levels(samples, _LEAST_SAMPLES, low, high, upper, within)
    sigma2 = expected[y, x]
    jumps = within < special.chdtri(frames - 2, _TWO_LEVELS) * sigma2
    excess = np.sqrt(squares[y, x] / (count[y, x] - 1) / sigma2)
    return np.stack([y + y0, x, mean[y, x], excess, low, high, upper, jumps])


def _strongest(table: np.ndarray) -> np.ndarray:
    if table.shape[1] <= _LISTED:
        return table
    return table[:, np.sort(np.argsort(table[3])[-_LISTED:])]


def _found(
    stack: xr.DataArray,
    cell: np.ndarray,
    channels: tuple[str, ...],
    flags: np.ndarray,
    listed: list[np.ndarray],
    quiet: np.ndarray,
    frames: int,
) -> UnstablePixels:
    coords = {name: stack.coords[name].variable for name in ("y", "x") if name in stack.coords}
    map_ = xr.DataArray(flags, dims=("y", "x"), coords=coords, attrs={"cfa": stack.attrs.get("cfa", "")})
    shares, errors = {}, {}
    for c, name in enumerate(channels):
        parts = [flags[int(a) :: cell.shape[0], int(b) :: cell.shape[1]] for a, b in np.argwhere(cell == c)]
        count, size = sum(int((p != 0).sum()) for p in parts), sum(p.size for p in parts)
        shares[name], errors[name] = count / size, math.sqrt(max(count, 1)) / size
    rows = listed[0] if listed else np.empty((8, 0))
    y, x = rows[0].astype(int), rows[1].astype(int)
    places = {
        name: np.asarray(stack.coords[name].values)[at] if name in stack.coords else at
        for name, at in (("y", y), ("x", x))
    }
    names = ("level", "excess", "low", "high", "upper")
    table = xr.Dataset(
        {
            **{name: ("pixel", values) for name, values in places.items()},
            **{name: ("pixel", values) for name, values in zip(names, rows[2:7], strict=True)},
            "telegraph": ("pixel", rows[7] > 0),
        }
    )
    for name in ("level", "low", "high"):
        table[name].attrs["units"] = "adu"
    noise = dict(zip(channels, np.sqrt(quiet).tolist(), strict=True))
    return UnstablePixels(map_, Measurement(shares, errors, "1", frames), table, noise, frames)

"""What the background holds below the noise of a pixel, and what is left of it once it is cut off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibkit.background import background_of
from calibkit.cfa import pattern_of
from calibkit.errors import SettingError

_MAD_TO_SIGMA = 1.4826022185056018
#: A block counts when at least this part of its pixels is background.
_ENOUGH = 0.5


@dataclass(frozen=True, eq=False)
class FaintStructure:
    """The background in block means, as it is and cut off at black.

    Attributes
    ----------
    whole, cut : xarray.DataArray
        float32, dims (y, x), the unit of the frame; NaN where sources fill a block.
    block : int
        Pixels on a side of a block.
    pixel_noise, block_noise : float
        Robust standard deviation of a pixel, and of a block's mean if its pixels are independent.
    spread : float
        Robust standard deviation of the block means: above *block_noise* there is structure.
    kept : float
        The part of the structure's contrast that is left after the cut: the slope of *cut* against *whole*.
    """

    whole: xr.DataArray
    cut: xr.DataArray
    block: int
    pixel_noise: float
    block_noise: float
    spread: float
    kept: float


def faint_structure(image: xr.DataArray, black: float, *, block: int = 8) -> FaintStructure:
    """Average the background over blocks, before and after it is cut off at *black*.

    Parameters
    ----------
    image : xarray.DataArray
        One plane, dims (y, x), in memory; a part of a frame is enough. NaN is left out.
    black : float
        The value shown black, in the unit of *image*: what is lower becomes *black*.
    block : int
        Pixels on a side of a block, 2 or more; rounded up to whole cells of a colour pattern.

    Returns
    -------
    FaintStructure

    Raises
    ------
    SettingError
        Other dims, a frame smaller than two blocks each way, or no background in it.

    Notes
    -----
    The mean of n² independent pixels has 1/n of their noise, so that structure far below the noise of a pixel shows.
    Of pixels that were cut off the mean depends on the noise rather than on the light: at a black point as high as
    the background half of the contrast is gone, and above it nearly all. Pixels more than 3 σ above the background
    are sources and are left out.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> faint = rng.normal(500.0, 10.0, (160, 160)) + 4.0 * (np.arange(160) > 80)
    >>> found = faint_structure(xr.DataArray(faint, dims=("y", "x")), black=502.0)
    >>> round(found.pixel_noise), found.spread > 1.5 * found.block_noise, round(found.kept, 1)
    (10, True, 0.5)
    """
    if set(image.dims) != {"y", "x"}:
        msg = f"one plane with the dims (y, x) is wanted; found {tuple(image.dims)}"
        raise SettingError(msg)
    if block < 2:
        msg = f"block={block}: a block has 2 pixels or more on a side"
        raise SettingError(msg)
    image = image.transpose("y", "x")
    py, px = pattern_of(image).period if "cfa" in image.attrs else (1, 1)
    unit = int(np.lcm(py, px))
    size = -(-block // unit) * unit
    rows, columns = (length // size * size for length in image.shape)
    if min(rows, columns) < 2 * size:
        msg = f"a frame of {image.shape[0]} × {image.shape[1]} pixels has fewer than 2 × 2 blocks of {size} × {size}"
        raise SettingError(msg)
    part = image[:rows, :columns]
    values = np.asarray(part.values, np.float32)
    background = background_of(values[:: max(1, rows // 150)])
    if not background.values.size:
        msg = "this frame has no finite pixel: there is no background in it"
        raise SettingError(msg)
    values = np.where(values <= background.level + 3.0 * background.sigma, values, np.float32(np.nan))
    whole, count = _block_means(values, size)
    cut, _ = _block_means(np.maximum(values, np.float32(black)), size)
    few = count < _ENOUGH * size * size
    whole[few] = cut[few] = np.nan
    good = ~few
    spread = kept = np.nan
    if good.any():
        spread = _MAD_TO_SIGMA * float(np.median(np.abs(whole[good] - np.median(whole[good]))))
        away = (whole[good] - whole[good].mean()).astype(float)
        power = float(np.sum(away**2))
        kept = float(np.sum(away * (cut[good] - cut[good].mean())) / power) if power else np.nan
    coords = {
        dim: part[dim].values.reshape(-1, size).mean(axis=1) for dim in ("y", "x") if dim in part.coords
    }
    made = [xr.DataArray(values, coords, ("y", "x")) for values in (whole, cut)]
    noise = _pixel_noise(values, px)
    return FaintStructure(made[0], made[1], size, noise, noise / size, spread, kept)


def _pixel_noise(values: np.ndarray, step: int) -> float:
    """From differences of neighbours of one colour, in which the structure drops out."""
    apart = values[:, step:] - values[:, :-step]
    apart = apart[np.isfinite(apart)]
    if not apart.size:
        return np.nan
    apart = apart[:: max(1, apart.size // 200_000)]
    return _MAD_TO_SIGMA * float(np.median(np.abs(apart - np.median(apart)))) / 2.0**0.5


def _block_means(values: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = values.shape
    tiles = values.reshape(rows // size, size, columns // size, size)
    there = np.isfinite(tiles)
    count = there.sum(axis=(1, 3))
    total = np.where(there, tiles, np.float32(0.0)).sum(axis=(1, 3), dtype=np.float64)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0).astype(
        np.float32
    ), count

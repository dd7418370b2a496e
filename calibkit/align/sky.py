"""The sky behind the stars of a picture, and how strong its noise is."""

from __future__ import annotations

import math

import numpy as np


def subtract_sky(plane: np.ndarray, tile: int) -> tuple[float, float]:
    """Subtract the sky from *plane* (y, x), float32, in place; what is missing there (NaN) becomes zero.

    Parameters
    ----------
    plane : numpy.ndarray
    tile : int
        Rows and columns of the tiles in which the sky is measured.

    Returns
    -------
    level, noise : float
        Medians over the tiles; NaN, and nothing is subtracted, if more than half of *plane* is missing, or half of every tile.

    Notes
    -----
    In every tile the histogram is clipped at 3 sigma about its median until sigma does not change; the level is 2.5 × median −
    1.5 × mean, or where these lie too far apart the median [1]_. The map of the tiles is filtered with a median of 3 × 3, and
    a bicubic spline laid through the middles of the tiles.

    References
    ----------
    .. [1] Bertin, E. & Arnouts, S. 1996, "SExtractor: Software for source extraction", A&A Supplement 117, 393.
    """
    from calibkit.kernels.sky import subtract_surface, tile_sky

    height, width = plane.shape
    level, noise = (np.empty((-(-height // tile), -(-width // tile))) for _ in range(2))
    there = tile_sky(plane, tile, level, noise)
    if there < 0.5 * plane.size or not np.isfinite(level).any():
        return math.nan, math.nan
    level, noise = (_median_filtered(_filled(values)) for values in (level, noise))
    places = (np.arange(height) + 0.5) / tile - 0.5
    nodes = _spline(places, level)
    bends = nodes @ _bends(level.shape[1]).T / 6.0
    subtract_surface(plane, tile, nodes.astype(np.float32), bends.astype(np.float32))
    found = float(np.median(noise))
    return float(np.median(level)), found if found > 0 or not noise.any() else float(
        np.median(noise[noise > 0])
    )


def _filled(values: np.ndarray) -> np.ndarray:
    """Missing tiles as the mean of the nearest ones that are there."""
    there = np.isfinite(values)
    if there.all():
        return values
    out, places = values.copy(), np.argwhere(there)
    for y, x in np.argwhere(~there):
        away = ((places - (y, x)) ** 2).sum(axis=1)
        out[y, x] = values[tuple(places[away == away.min()].T)].mean()
    return out


def _median_filtered(values: np.ndarray) -> np.ndarray:
    """Medians of 3 × 3; at the edges of the tiles along them, in the corners the values themselves."""
    padded = np.pad(values, 1, constant_values=np.nan)
    around = np.stack(
        [padded[y : y + values.shape[0], x : x + values.shape[1]] for y in range(3) for x in range(3)]
    )
    around[[0, 1, 2, 6, 7, 8], :1], around[[0, 1, 2, 6, 7, 8], -1:] = np.nan, np.nan
    around[[0, 3, 6, 2, 5, 8], :, :1], around[[0, 3, 6, 2, 5, 8], :, -1:] = np.nan, np.nan
    return np.nanmedian(around, axis=0)


def _bends(count: int) -> np.ndarray:
    """What gives the second derivatives of a natural cubic spline from its values at 0, 1, …"""
    out = np.zeros((count, count))
    if count > 2:
        inner = count - 2
        second = np.eye(inner, count) - 2 * np.eye(inner, count, 1) + np.eye(inner, count, 2)
        sides = (4 * np.eye(inner) + np.eye(inner, k=1) + np.eye(inner, k=-1)) / 6
        out[1:-1] = np.linalg.solve(sides, second)
    return out


def _spline(places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Natural cubic splines along the first axis at *places*, whose unit is the distance of the values."""
    count = len(values)
    if count == 1:
        return np.repeat(values, places.size, axis=0)
    bends = _bends(count) @ values / 6
    k = np.clip(np.floor(places).astype(int), 0, count - 2)
    b = (places - k)[:, None]
    a = 1 - b
    return a * values[k] + b * values[k + 1] + (a**3 - a) * bends[k] + (b**3 - b) * bends[k + 1]

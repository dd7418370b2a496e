"""Samples of a mosaic dropped onto the grids of their colours, and the outliers among them.

A place in the output is ``affine @ (row, column, 1)`` of a sample's row and column in the band that is read. ``colour``
is the number of the colour on pixel ``[i % py, j % px]`` of that band.
"""

from __future__ import annotations

import math

import numpy as np

from calibkit.flags import BAD, REPAIRED
from calibkit.kernels._jit import kernel

_NOT_PLAIN = np.uint16(BAD | REPAIRED)


@kernel
def _overlap(pixel, place, half):
    """Length that a drop of half width *half* has in common with a pixel."""
    return min(pixel + 0.5, place + half) - max(pixel - 0.5, place - half)


@kernel
def drop(
    signal, variance, flags, colour, affine, half, factor, term, weight, frame, guide, step, guide_affine, low, high,
    total, spread, cover, spare, spare_cover, kept, seen,
):  # fmt: skip
    """Add one frame's samples to the sums of a band of output rows.

    Parameters
    ----------
    signal, variance, flags : arrays of shape (row, column)
    affine : float64 array of shape (2, 3)
        To output row (of this band) and column.
    half : float
        Half the side of a drop in output pixels.
    factor, term : float64 arrays (py, px)
        Values become ``factor * value + term``.
    weight : float64 array (colour,)
    frame : int
        Its number plus 1.
    guide, step : float32 arrays (colour, row, column)
        What the samples should be, and by how much it changes to the neighbours; without rows none is rejected.
    guide_affine : float64 array of shape (2, 3)
        To row and column of the guide.
    low, high : float
        Standard deviations.
    total, spread, cover, spare, spare_cover : float32 arrays (colour, row, column)
        Σ w x, Σ w² v and Σ w; and Σ w x and Σ w of samples that were saturated, repaired or rejected.
    kept, seen : uint16 arrays (colour, row, column)
        Frames that have fallen on the pixel, and the last of them.

    Returns
    -------
    (int, int)
        Samples that fell into the band, and those that were rejected.
    """
    py, px = colour.shape
    rows, columns = cover.shape[1:]
    guided = guide.shape[1] > 0
    fallen = rejected = 0
    for i in range(signal.shape[0]):
        for j in range(signal.shape[1]):
            y = affine[0, 0] * i + affine[0, 1] * j + affine[0, 2]
            x = affine[1, 0] * i + affine[1, 1] * j + affine[1, 2]
            if y < -0.5 - half or x < -0.5 - half or y > rows - 0.5 + half or x > columns - 0.5 + half:
                continue
            a, b = i % py, j % px
            value = factor[a, b] * signal[i, j] + term[a, b]
            if not math.isfinite(value):
                continue
            c = colour[a, b]
            noise = factor[a, b] * factor[a, b] * variance[i, j]
            plain = (flags[i, j] & _NOT_PLAIN) == 0
            if plain and guided:
                gy = guide_affine[0, 0] * i + guide_affine[0, 1] * j + guide_affine[0, 2]
                gx = guide_affine[1, 0] * i + guide_affine[1, 1] * j + guide_affine[1, 2]
                k, m = math.floor(gy + 0.5), math.floor(gx + 0.5)
                if 0 <= k < guide.shape[1] and 0 <= m < guide.shape[2]:
                    away = value - guide[c, k, m]
                    room = step[c, k, m]
                    sigma = math.sqrt(noise)
                    if away > high * sigma + room or -away > low * sigma + room:
                        plain = False
                        rejected += 1
            fallen += 1
            y0, y1 = max(0, math.floor(y - half + 0.5)), min(rows - 1, math.floor(y + half + 0.5))
            x0, x1 = max(0, math.floor(x - half + 0.5)), min(columns - 1, math.floor(x + half + 0.5))
            for v in range(y0, y1 + 1):
                oy = _overlap(v, y, half)
                if oy <= 0.0:
                    continue
                for u in range(x0, x1 + 1):
                    ox = _overlap(u, x, half)
                    if ox <= 0.0:
                        continue
                    w = oy * ox * weight[c]
                    if plain:
                        total[c, v, u] += w * value
                        spread[c, v, u] += w * w * noise
                        cover[c, v, u] += w
                        if seen[c, v, u] != frame:
                            seen[c, v, u] = frame
                            kept[c, v, u] += 1
                    else:
                        spare[c, v, u] += w * value
                        spare_cover[c, v, u] += w
    return fallen, rejected


@kernel
def coarse(signal, flags, colour, affine, factor, term, total, count):
    """Sums and numbers of the plain samples of one frame in large pixels: ``total`` and ``count`` (colour, row, column)."""
    py, px = colour.shape
    rows, columns = count.shape[1:]
    for i in range(signal.shape[0]):
        for j in range(signal.shape[1]):
            v = math.floor(affine[0, 0] * i + affine[0, 1] * j + affine[0, 2] + 0.5)
            u = math.floor(affine[1, 0] * i + affine[1, 1] * j + affine[1, 2] + 0.5)
            if v < 0 or u < 0 or v >= rows or u >= columns or (flags[i, j] & _NOT_PLAIN) != 0:
                continue
            a, b = i % py, j % px
            value = factor[a, b] * signal[i, j] + term[a, b]
            if math.isfinite(value):
                total[colour[a, b], v, u] += value
                count[colour[a, b], v, u] += 1


@kernel
def medians(values, out):
    """Median over the frames of ``values`` (frame, pixel), NaN ones left out; NaN where none is left."""
    n = values.shape[0]
    held = np.empty(n, np.float32)
    for i in range(out.size):
        k = 0
        for f in range(n):
            value = values[f, i]
            if not math.isnan(value):
                m = k
                while m > 0 and held[m - 1] > value:
                    held[m] = held[m - 1]
                    m -= 1
                held[m] = value
                k += 1
        out[i] = 0.5 * (held[(k - 1) // 2] + held[k // 2]) if k > 0 else np.nan


@kernel
def steps(guide, out):
    """Largest difference of each pixel (colour, row, column) from those beside it; without a guide no limit."""
    rows, columns = guide.shape[1:]
    for c in range(guide.shape[0]):
        for i in range(rows):
            for j in range(columns):
                own = guide[c, i, j]
                most = np.float32(0.0)
                for k in range(max(0, i - 1), min(rows, i + 2)):
                    for m in range(max(0, j - 1), min(columns, j + 2)):
                        most = max(most, abs(guide[c, k, m] - own))
                out[c, i, j] = most if not math.isnan(own) else np.inf


@kernel
def finish(total, spread, cover, spare, spare_cover, fallback, no_data, signal, variance, flags):
    """Means from the sums, flat arrays; where only flagged samples fell, theirs."""
    for i in range(signal.size):
        if cover[i] > 1e-6:
            signal[i] = total[i] / cover[i]
            variance[i] = spread[i] / (cover[i] * cover[i])
            flags[i] = 0
        elif spare_cover[i] > 1e-6:
            signal[i] = spare[i] / spare_cover[i]
            variance[i] = np.nan
            flags[i] = fallback
        else:
            signal[i] = np.nan
            variance[i] = np.nan
            flags[i] = no_data

"""Scatter of single pixels over the frames of a stack."""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel


@kernel
def pixel_scatter(values, level, scale, spare, mean, squares, count):
    """Mean and sum of squared deviations of each pixel over frames, without its *spare* most deviant samples.

    From ``values[f, y, x]`` the frame's level of that filter, ``level[f, y % py, x % px]``, is taken off, and the rest
    divided by ``scale[f]``. Samples that are not finite are left out.
    """
    frames, height, width = values.shape
    py, px = level.shape[1:]
    part = np.empty(frames)
    for y in range(height):
        for x in range(width):
            n = 0
            total = 0.0
            for f in range(frames):
                v = (values[f, y, x] - level[f, y % py, x % px]) / scale[f]
                if np.isfinite(v):
                    part[n] = v
                    total += v
                    n += 1
            for _ in range(spare):
                if n < 3:
                    break
                middle = total / n
                worst, far = 0, -1.0
                for i in range(n):
                    away = abs(part[i] - middle)
                    if away > far:
                        worst, far = i, away
                total -= part[worst]
                n -= 1
                part[worst] = part[n]
            count[y, x] = n
            if n == 0:
                mean[y, x] = np.nan
                squares[y, x] = np.nan
                continue
            middle = total / n
            sums = 0.0
            for i in range(n):
                d = part[i] - middle
                sums += d * d
            mean[y, x] = middle
            squares[y, x] = sums


@kernel
def two_levels(samples, least, low, high, share, within):
    """Best split of each row of sorted *samples* into two levels of *least* samples or more.

    Writes the two means, the share of samples in the upper one, and the sum of squared deviations within both.
    """
    pixels, n = samples.shape
    for p in range(pixels):
        total = squares = 0.0
        for i in range(n):
            total += samples[p, i]
            squares += samples[p, i] * samples[p, i]
        below = 0.0
        best = -1.0
        low[p] = high[p] = total / n
        share[p] = 0.0
        within[p] = squares - total * total / n
        for i in range(1, n):
            below += samples[p, i - 1]
            if i < least or n - i < least:
                continue
            between = below * below / i + (total - below) * (total - below) / (n - i)
            if between > best:
                best = between
                low[p] = below / i
                high[p] = (total - below) / (n - i)
                share[p] = (n - i) / n
                within[p] = max(squares - between, 0.0)

"""Rejection with the median absolute deviation. The arrays are those of `calibkit.kernels.rejection`."""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel
from calibkit.kernels.rejection import middle, trim
from calibkit.kernels.tiles import load_tile, tile_width

#: σ of a normal distribution is this many MAD.
MAD_TO_SIGMA = 1.482602218505602
#: σ of a normal distribution is this many mean absolute deviations: √(π/2).
MEAN_DEVIATION_TO_SIGMA = 1.2533141373155001


@kernel
def deviation(s, i, first, last, centre):
    """Median distance of the window's samples from *centre*, their median."""
    k = last - first
    below = first + (k - 1) // 2
    above = below + 1
    before = 0.0
    now = 0.0
    for _ in range(k // 2 + 1):
        before = now
        if above >= last or (
            below >= first and centre - np.float64(s[below, i]) <= np.float64(s[above, i]) - centre
        ):
            now = centre - np.float64(s[below, i])
            below -= 1
        else:
            now = np.float64(s[above, i]) - centre
            above += 1
    return now if k % 2 == 1 else 0.5 * (before + now)


@kernel
def mad_sigma(s, i, first, last, centre):
    """σ from the MAD; from the mean deviation where more than half of the samples are equal."""
    sigma = MAD_TO_SIGMA * deviation(s, i, first, last, centre)
    if sigma == 0.0:
        for j in range(first, last):
            sigma += abs(np.float64(s[j, i]) - centre)
        sigma *= MEAN_DEVIATION_TO_SIGMA / (last - first)
    return sigma


@kernel
def mad_tile(tile, width, smallest, deviation_of):
    """Median of the distances from zero of *width* sorted columns of *tile*, whose median is zero.

    The distances below and above the median are two sorted lists; their r-th smallest member is the least,
    over all ways to take i of one and r + 1 − i of the other, of the larger of the last ones taken.
    """
    n = tile.shape[0]
    below = n // 2  # samples in the lower list: ranks below − 1, below − 2, …
    above = n - below
    for i in range(width):
        deviation_of[i] = 0.0
    for rank in range((n - 1) // 2, n // 2 + 1):
        for i in range(width):
            smallest[i] = np.inf
        for taken in range(max(0, rank + 1 - above), min(below, rank + 1) + 1):
            # with nothing taken of a list, the other's last is the larger: distances are not negative
            lower = tile[below - taken] if taken > 0 else tile[below + rank - taken]
            sign = np.float32(-1.0) if taken > 0 else np.float32(1.0)
            upper = tile[below + rank - taken] if taken <= rank else lower
            other = np.float32(1.0) if taken <= rank else sign
            for i in range(width):
                a = sign * lower[i]
                b = other * upper[i]
                a = b if b > a else a  # noqa: FURB136 (one vector instruction)
                smallest[i] = a if a < smallest[i] else smallest[i]  # noqa: FURB136
        for i in range(width):
            deviation_of[i] += np.float32(0.5) * smallest[i]
    if n % 2 == 1:
        for i in range(width):
            deviation_of[i] *= np.float32(2.0)


@kernel
def reject_mad(s, size, count, mean, scatter, first, last, low, high, iterations, keep):
    """Clipping about the median with 1.4826 times the median absolute deviation."""
    n = s.shape[0]
    wide = tile_width(n)
    tile = np.empty((n, wide), np.float32)
    smallest = np.empty(wide, np.float32)
    found = np.empty(wide, np.float32)
    centre = np.empty(wide)
    for start in range(0, size, wide):
        width = min(wide, size - start)
        complete = iterations > 0 and n > keep
        for i in range(width):
            k = count[start + i]
            complete = complete and k == n
            if k > 0:
                centre[i] = middle(s, start + i, 0, k)
        if complete:
            load_tile(s, start, width, centre, tile)
            mad_tile(tile, width, smallest, found)
        for i in range(width):
            p = start + i
            a = 0
            b = count[p]
            for iteration in range(iterations):
                k = b - a
                if k <= max(keep, 2):
                    break
                c = centre[i]
                sigma = MAD_TO_SIGMA * np.float64(found[i])
                if iteration > 0 or not complete or sigma == 0.0:
                    c = middle(s, p, a, b)
                    sigma = mad_sigma(s, p, a, b, c)
                a, b = trim(s, p, a, b, c, low * sigma, high * sigma, keep)
                if b - a == k:
                    break
            first[p] = a
            last[p] = b

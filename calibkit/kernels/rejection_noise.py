"""Rejection with a noise that is known or follows a law, rather than taken from the pixel's own scatter.

The arrays are those of `calibkit.kernels.rejection`.
"""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel
from calibkit.kernels.rejection import middle, sort_column, trim


@kernel
def reject_noise(
    s,
    size,
    count,
    mean,
    scatter,
    first,
    last,
    low,
    high,
    iterations,
    keep,
    floor,
    slope,
    zero,
    channel,
    offset,
):
    """Clipping about the median with the noise that gain and read noise give, the same in every frame.

    The variance at the level m in channel c is ``floor[c] + slope[c] * max(m - zero[c], 0)``.
    """
    for i in range(size):
        a = 0
        b = count[i]
        c = channel[offset + i]
        for _ in range(iterations):
            k = b - a
            if k <= max(keep, 2):
                break
            centre = middle(s, i, a, b)
            sigma = np.sqrt(floor[c] + slope[c] * max(centre - zero[c], 0.0))
            a, b = trim(s, i, a, b, centre, low * sigma, high * sigma, keep)
            if b - a == k:
                break
        first[i] = a
        last[i] = b


@kernel
def reject_frame_noise(
    x, x_offset, s, size, count, first, last, low, high, iterations, keep, floor, slope, zero, channel, offset
):
    """`reject_noise` for frames that differ in noise: the parameters are (frame, channel).

    Rejected samples need not be the outermost ones, so the column is left in the order rejected low, kept,
    rejected high, each sorted.
    """
    n = x.shape[0]
    verdict = np.empty(n, np.int8)
    kept = np.empty(n, s.dtype)
    for i in range(size):
        total = count[i]
        if total <= max(keep, 2):
            continue
        c = channel[offset + i]
        centre = middle(s, i, 0, total)
        least = np.inf
        for f in range(n):
            least = min(least, floor[f, c] + slope[f, c] * max(centre - zero[f, c], 0.0))
        least = np.sqrt(least)
        # what is not out for the quietest frame is out for none
        if centre - s[0, i] <= low * least and s[total - 1, i] - centre <= high * least:
            continue
        for f in range(n):
            verdict[f] = 0 if x[f, x_offset + i] < np.inf else 3
        k = total
        for iteration in range(iterations):
            if iteration > 0:
                centre = 0.5 * (np.float64(kept[(k - 1) // 2]) + np.float64(kept[k // 2]))
            before = k
            for f in range(n):
                if verdict[f] == 0 and k > keep:
                    d = np.float64(x[f, x_offset + i]) - centre
                    sigma = np.sqrt(floor[f, c] + slope[f, c] * max(centre - zero[f, c], 0.0))
                    verdict[f] = 1 if -d > low * sigma else (2 if d > high * sigma else 0)
                    k -= verdict[f] != 0
            n_kept = 0
            for f in range(n):
                if verdict[f] == 0:
                    kept[n_kept] = x[f, x_offset + i]
                    n_kept += 1
            kept[:n_kept].sort()
            if k == before or k <= max(keep, 2):
                break
        n_low = 0
        n_high = 0
        for f in range(n):
            if verdict[f] == 1:
                s[n_low, i] = x[f, x_offset + i]
                n_low += 1
            elif verdict[f] == 2:
                n_high += 1
                s[total - n_high, i] = x[f, x_offset + i]
        for j in range(k):
            s[n_low + j, i] = kept[j]
        sort_column(s, i, 0, n_low)
        sort_column(s, i, n_low + k, total)
        first[i] = n_low
        last[i] = n_low + k


@kernel
def reject_averaged(s, size, count, mean, scatter, first, last, low, high, iterations, keep, ratio):
    """Clipping about the median with σ² = c × level, where c is the same along the row.

    *c* is the median over the pixels of scatter over mean, each brought from the median of its χ²
    distribution to the mean. Pixels without a positive level neither count nor are clipped. ``ratio`` is
    an array to work in.
    """
    used = 0
    for i in range(size):
        k = count[i]
        if k > 1 and mean[i] > 0.0:
            freedom = 2.0 / (9.0 * (k - 1))
            ratio[used] = scatter[i] / (mean[i] * (1.0 - freedom) ** 3)  # Wilson & Hilferty 1931
            used += 1
    if used == 0:
        return
    ordered = np.sort(ratio[:used])
    constant = 0.5 * (ordered[(used - 1) // 2] + ordered[used // 2])
    for i in range(size):
        a = 0
        b = count[i]
        for _ in range(iterations):
            k = b - a
            if k <= max(keep, 2):
                break
            centre = middle(s, i, a, b)
            if centre <= 0.0:
                break
            sigma = np.sqrt(constant * centre)
            a, b = trim(s, i, a, b, centre, low * sigma, high * sigma, keep)
            if b - a == k:
                break
        first[i] = a
        last[i] = b

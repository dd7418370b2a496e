"""Rejection with a robust scale: MAD, winsorized sigma and the line through the sorted samples.

The arrays are those of `calibkit.kernels.rejection`. The first iteration is done for blocks of pixels
with vector instructions; the few pixels where it rejects something go on one by one.
"""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel
from calibkit.kernels.rejection import middle, spread, trim

#: σ of a normal distribution is this many MAD.
MAD_TO_SIGMA = 1.482602218505602
#: σ of a normal distribution is this many mean absolute deviations: √(π/2).
MEAN_DEVIATION_TO_SIGMA = 1.2533141373155001
#: Where samples are pulled in to, in σ, and how much of σ that costs (Huber 1981; PixInsight, Siril).
WINSOR_LIMIT = 1.5
WINSOR_CORRECTION = 1.134
WINSOR_TOLERANCE = 5e-4
WINSOR_STEPS = 50


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
def reject_mad(s, size, count, mean, scatter, first, last, low, high, iterations, keep):
    """Clipping about the median with 1.4826 times the median absolute deviation."""
    for i in range(size):
        a = 0
        b = count[i]
        for _ in range(iterations):
            k = b - a
            if k <= keep:
                break
            centre = middle(s, i, a, b)
            sigma = mad_sigma(s, i, a, b, centre)
            a, b = trim(s, i, a, b, centre, low * sigma, high * sigma, keep)
            if b - a == k:
                break
        first[i] = a
        last[i] = b


@kernel
def winsor_sigma(s, i, first, last, centre, sigma):
    """σ of the window of pixel *i* with its ends pulled in, repeated until it stands."""
    k = last - first
    floor = -np.inf
    ceiling = np.inf
    for _ in range(WINSOR_STEPS):
        before = sigma
        floor = max(floor, -WINSOR_LIMIT * sigma)
        ceiling = min(ceiling, WINSOR_LIMIT * sigma)
        total = 0.0
        square = 0.0
        for j in range(first, last):
            d = min(max(np.float64(s[j, i]) - centre, floor), ceiling)
            total += d
            square += d * d
        sigma = WINSOR_CORRECTION * np.sqrt(max(0.0, square - total * total / k) / (k - 1))
        if abs(sigma - before) <= WINSOR_TOLERANCE * before:
            break
    return sigma


@kernel
def winsor_block(s, start, width, centre, sigma, floor, ceiling, total, square, going):
    """`winsor_sigma` for *width* pixels at once, all of whose samples are there."""
    n = s.shape[0]
    for i in range(width):
        floor[i] = -np.inf
        ceiling[i] = np.inf
        going[i] = 1.0
    for _ in range(WINSOR_STEPS):
        for i in range(width):
            floor[i] = max(floor[i], -WINSOR_LIMIT * sigma[i])
            ceiling[i] = min(ceiling[i], WINSOR_LIMIT * sigma[i])
            total[i] = 0.0
            square[i] = 0.0
        for j in range(n):
            row = s[j, start : start + width]
            for i in range(width):
                d = np.float64(row[i]) - centre[i]
                d = floor[i] if d < floor[i] else d  # noqa: FURB136 (one vector instruction)
                d = ceiling[i] if d > ceiling[i] else d  # noqa: FURB136
                total[i] += d
                square[i] += d * d
        left = 0.0
        for i in range(width):
            before = sigma[i]
            new = WINSOR_CORRECTION * np.sqrt(max(0.0, square[i] - total[i] * total[i] / n) / (n - 1))
            # a σ that stands is left alone while its neighbours go on
            sigma[i] = new if going[i] > 0.0 else before
            going[i] = going[i] if abs(new - before) > WINSOR_TOLERANCE * before else 0.0
            left += going[i]
        if left == 0.0:
            break


@kernel
def reject_winsorized(s, size, count, mean, scatter, first, last, low, high, iterations, keep):
    """Clipping about the median with Huber's winsorized standard deviation."""
    n = s.shape[0]
    block = 128
    centre = np.empty(block)
    sigma = np.empty(block)
    floor = np.empty(block)
    ceiling = np.empty(block)
    total = np.empty(block)
    square = np.empty(block)
    going = np.empty(block)
    for start in range(0, size, block):
        width = min(block, size - start)
        complete = iterations > 0 and n > max(keep, 1)
        for i in range(width):
            k = count[start + i]
            complete = complete and k == n
            if k > 0:
                centre[i] = middle(s, start + i, 0, k)
            sigma[i] = np.sqrt(scatter[start + i])
        if complete:
            winsor_block(s, start, width, centre, sigma, floor, ceiling, total, square, going)
        for i in range(width):
            p = start + i
            a = 0
            b = count[p]
            c = centre[i]
            width_now = sigma[i]
            for iteration in range(iterations):
                k = b - a
                if k <= max(keep, 1):
                    break
                if iteration > 0:
                    c = middle(s, p, a, b)
                    width_now = np.sqrt(spread(s, p, a, b)[1])
                if iteration > 0 or not complete:
                    width_now = winsor_sigma(s, p, a, b, c, width_now)
                a, b = trim(s, p, a, b, c, low * width_now, high * width_now, keep)
                if b - a == k:
                    break
            first[p] = a
            last[p] = b


@kernel
def line(s, i, first, last):
    """Slope, height at ``first`` and mean absolute residual of the line through a window of sorted samples."""
    k = last - first
    middle_rank = 0.5 * (k - 1)
    base = np.float64(s[first, i])
    total = 0.0
    product = 0.0
    for j in range(k):
        d = np.float64(s[first + j, i]) - base
        total += d
        product += (j - middle_rank) * d
    slope = product / (k * (float(k) * k - 1.0) / 12.0)
    height = base + total / k - slope * middle_rank
    residual = 0.0
    for j in range(k):
        residual += abs(np.float64(s[first + j, i]) - height - slope * j)
    return slope, height, residual / k


@kernel
def line_block(s, start, width, slope, height, residual, lowest, highest):
    """`line` for *width* pixels at once, with the lowest and the highest residual."""
    n = s.shape[0]
    middle_rank = 0.5 * (n - 1)
    norm = n * (float(n) * n - 1.0) / 12.0
    base = s[0, start : start + width]
    for i in range(width):
        slope[i] = 0.0
        height[i] = 0.0
        residual[i] = 0.0
        lowest[i] = 0.0
        highest[i] = 0.0
    for j in range(n):
        row = s[j, start : start + width]
        for i in range(width):
            d = np.float64(row[i]) - np.float64(base[i])
            height[i] += d
            slope[i] += (j - middle_rank) * d
    for i in range(width):
        slope[i] /= norm
        height[i] = np.float64(base[i]) + height[i] / n - slope[i] * middle_rank
    for j in range(n):
        row = s[j, start : start + width]
        for i in range(width):
            r = np.float64(row[i]) - height[i] - slope[i] * j
            residual[i] += abs(r)
            lowest[i] = r if r < lowest[i] else lowest[i]  # noqa: FURB136 (one vector instruction)
            highest[i] = r if r > highest[i] else highest[i]  # noqa: FURB136
    for i in range(width):
        residual[i] /= n


@kernel
def reject_line(s, size, count, mean, scatter, first, last, low, high, iterations, keep):
    """Clipping about the line through the sorted samples, in mean absolute residuals.

    A sample in the middle can be rejected while its neighbours stay. The column is then put in the order
    rejected low, kept (sorted), rejected high, so that the window still holds what is kept.
    """
    n = s.shape[0]
    block = 128
    slope = np.empty(block)
    height = np.empty(block)
    residual = np.empty(block)
    lowest = np.empty(block)
    highest = np.empty(block)
    column = np.empty(n, s.dtype)
    verdict = np.empty(n, np.int8)
    for start in range(0, size, block):
        width = min(block, size - start)
        complete = iterations > 0 and n > max(keep, 2)
        for i in range(width):
            complete = complete and count[start + i] == n
        if complete:
            line_block(s, start, width, slope, height, residual, lowest, highest)
        for i in range(width):
            if complete and -lowest[i] <= low * residual[i] and highest[i] <= high * residual[i]:
                continue
            p = start + i
            a = 0
            b = count[p]
            for _ in range(iterations):
                k = b - a
                if k <= max(keep, 2):
                    break
                tilt, base, scale = line(s, p, a, b)
                n_low = 0
                n_high = 0
                for j in range(k):
                    r = np.float64(s[a + j, p]) - base - tilt * j
                    verdict[j] = -1 if -r > low * scale else (1 if r > high * scale else 0)
                    if k - n_low - n_high <= keep:
                        verdict[j] = 0
                    n_low += verdict[j] == -1
                    n_high += verdict[j] == 1
                if n_low + n_high == 0:
                    break
                at_low = 0
                at_kept = n_low
                at_high = k - n_high
                for j in range(k):
                    value = s[a + j, p]
                    if verdict[j] == -1:
                        column[at_low] = value
                        at_low += 1
                    elif verdict[j] == 1:
                        column[at_high] = value
                        at_high += 1
                    else:
                        column[at_kept] = value
                        at_kept += 1
                for j in range(k):
                    s[a + j, p] = column[j]
                a += n_low
                b -= n_high
            first[p] = a
            last[p] = b

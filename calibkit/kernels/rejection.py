"""Which samples of a pixel are outliers, for the methods whose outliers lie at the ends.

All work on sorted samples ``s`` (sample, pixel), of which the first ``count`` of each pixel are there,
with their ``mean`` and ``scatter`` (sample variance), and narrow the window ``first`` to ``last`` of
the samples that are kept. At least ``keep`` stay: the most deviant go first. The samples below the window, those
in it and those above it are sorted each, even where a rejected sample lies between kept ones.
"""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel


@kernel
def middle(s, i, first, last):
    """Median of the window of pixel *i*."""
    k = last - first
    return 0.5 * (np.float64(s[first + (k - 1) // 2, i]) + np.float64(s[first + k // 2, i]))


@kernel
def spread(s, i, first, last):
    """Mean and sample variance (divisor k − 1) of the window of pixel *i*, NaN for a single sample.

    Sums are taken of differences from the middle sample, so that no digits are lost.
    """
    k = last - first
    zero = np.float64(s[first + k // 2, i])
    total = 0.0
    square = 0.0
    other_total = 0.0  # two sums at a time, since each waits for the one before
    other_square = 0.0
    flat = s.reshape(-1)
    stride = s.shape[1]
    at = np.uint64(first * stride + i)
    step = np.uint64(stride)
    for _ in range(k // 2):
        d = np.float64(flat[at]) - zero
        e = np.float64(flat[at + step]) - zero
        total += d
        square += d * d
        other_total += e
        other_square += e * e
        at += step + step
    if k % 2 == 1:
        d = np.float64(flat[at]) - zero
        total += d
        square += d * d
    total += other_total
    square += other_square
    return zero + total / k, max(0.0, square - total * total / k) / (k - 1)


@kernel
def trim(s, i, first, last, centre, below, above, keep):
    """Narrow the window to samples at most *below* under and *above* over *centre*."""
    while last - first > keep:
        under = (centre - np.float64(s[first, i])) - below
        over = (np.float64(s[last - 1, i]) - centre) - above
        if under <= 0.0 and over <= 0.0:
            break
        if under > over:
            first += 1
        else:
            last -= 1
    return first, last


@kernel
def sort_column(s, i, begin, end):
    """Sort a few samples of pixel *i*, which most often are sorted already."""
    for j in range(begin + 1, end):
        value = s[j, i]
        at = j
        while at > begin and s[at - 1, i] > value:
            s[at, i] = s[at - 1, i]
            at -= 1
        s[at, i] = value


@kernel
def reject_extremes(s, size, count, mean, scatter, first, last, low, high, iterations, keep):
    """Drop the *low* lowest and the *high* highest samples."""
    n_low = int(low)
    n_high = int(high)
    for i in range(size):
        drop_low = n_low
        drop_high = n_high
        while drop_low + drop_high > max(0, count[i] - keep):
            less = max(drop_low, drop_high) - 1  # evenly, so that the middle stays the middle
            drop_low = min(drop_low, less)
            drop_high = min(drop_high, less)
        first[i] = drop_low
        last[i] = count[i] - drop_high


@kernel
def reject_percentile(s, size, count, mean, scatter, first, last, low, high, iterations, keep):
    """Drop samples more than the fraction *low* under or *high* over the median, where that is positive."""
    for i in range(size):
        if count[i] > max(keep, 2):
            centre = middle(s, i, 0, count[i])
            if centre > 0.0:
                first[i], last[i] = trim(s, i, 0, count[i], centre, low * centre, high * centre, keep)


@kernel
def suspects(s, size, count, mean, scatter, low, high, about_mean, out):
    """Whether any sample of a pixel lies beyond *low* or *high* standard deviations of the centre."""
    n = s.shape[0]
    lowest = s[0]
    highest = s[n - 1]
    lower = s[(n - 1) // 2]
    upper = s[n // 2]
    complete = True
    for i in range(size):
        complete = complete and count[i] == n
    if not complete:
        for i in range(size):
            out[i] = True
        return
    for i in range(size):
        centre = mean[i] if about_mean else 0.5 * (np.float64(lower[i]) + np.float64(upper[i]))
        sigma = np.sqrt(scatter[i]) * 0.999999  # what is close is looked at again
        under = centre - np.float64(lowest[i]) > low * sigma
        over = np.float64(highest[i]) - centre > high * sigma
        out[i] = under | over


@kernel
def reject_sigma(s, size, count, mean, scatter, first, last, low, high, iterations, keep, about_mean, out):
    """Kappa-sigma clipping about the median, or the mean, with the standard deviation (divisor k − 1).

    ``out`` is an array to work in.
    """
    suspects(s, size, count, mean, scatter, low, high, about_mean, out)
    for i in range(size):
        if not out[i]:
            continue
        a = 0
        b = count[i]
        m = mean[i]
        variance = scatter[i]
        for iteration in range(iterations):
            k = b - a
            if k <= max(keep, 2):
                break
            if iteration > 0:
                m, variance = spread(s, i, a, b)
            sigma = np.sqrt(variance)
            centre = m if about_mean else middle(s, i, a, b)
            a, b = trim(s, i, a, b, centre, low * sigma, high * sigma, keep)
            if b - a == k:
                break
        first[i] = a
        last[i] = b


@kernel
def reject_left_out(s, size, count, mean, scatter, first, last, low, high, iterations, keep):
    """Drop samples that lie too far from the mean of the others, in standard deviations of the others."""
    for i in range(size):
        a = 0
        b = count[i]
        m = mean[i]
        variance = scatter[i]
        for iteration in range(iterations):
            k = b - a
            if k <= max(keep, 2):
                break
            if iteration > 0:
                m, variance = spread(s, i, a, b)
            # With d = x − mean of all: the others' mean is m − d/(k − 1), their sum of squares is smaller
            # by d²k/(k − 1). Both tests below are x further out than the limit, squared and rearranged.
            q = variance * (k - 1)
            reach = float(k) / (k - 1)
            below = low * np.sqrt(q / (reach * (reach * (k - 2) + low * low)))
            above = high * np.sqrt(q / (reach * (reach * (k - 2) + high * high)))
            a, b = trim(s, i, a, b, m, below, above, keep)
            if b - a == k:
                break
        first[i] = a
        last[i] = b


@kernel
def gesd_window(s, i, count, limits, keep):
    """`reject_gesd` for one pixel, with sums taken afresh at every step."""
    a = 0
    b = count
    first = 0
    last = count
    for limit in limits:
        k = b - a
        if limit == 0.0 or k <= max(keep, 2):
            break
        m, variance = spread(s, i, a, b)
        under = m - np.float64(s[a, i])
        over = np.float64(s[b - 1, i]) - m
        outlying = max(under, over) ** 2 > limit * variance
        if under > over:
            a += 1
        else:
            b -= 1
        if outlying:
            first = a
            last = b
    return first, last


@kernel
def reject_gesd(s, size, count, mean, scatter, first, last, critical, row, keep):
    """Rosner's generalised extreme Studentised deviate test.

    ``critical[row[i], j]`` is the square of the limit λ of step j + 1 for the count of pixel *i*; a
    row ends with zeros after its last step. All steps are done, and the last one that exceeds its
    limit says how many are outliers.
    """
    n, stride = s.shape
    flat = s.reshape(-1)
    block = 256
    # the outermost samples that are left, and those of the best step so far, as places in flat
    lower = np.empty(block, np.uint64)
    upper = np.empty(block, np.uint64)
    best_lower = np.empty(block, np.uint64)
    best_upper = np.empty(block, np.uint64)
    m = np.empty(block)
    q = np.empty(block)
    rough = np.empty(block)
    for start in range(0, size, block):
        width = min(block, size - start)
        complete = True
        for i in range(width):
            complete = complete and count[start + i] == n
        if not complete:
            for p in range(start, start + width):
                first[p], last[p] = gesd_window(s, p, count[p], critical[row[p]], keep)
            continue
        for i in range(width):
            lower[i] = start + i
            upper[i] = (n - 1) * stride + start + i
            best_lower[i] = lower[i]
            best_upper[i] = upper[i]
            m[i] = mean[start + i]
            q[i] = scatter[start + i] * (n - 1)
            rough[i] = 0.0
        limits = critical[row[start]]
        for j in range(limits.size):
            k = n - j
            if limits[j] == 0.0 or k <= max(keep, 2):
                break
            limit = limits[j] / (k - 1)
            share = 1.0 / (k - 1)
            for i in range(width):  # without branches, since which end is further out cannot be foretold
                under = m[i] - np.float64(flat[lower[i]])
                over = np.float64(flat[upper[i]]) - m[i]
                low = under > over
                d = -under if low else over
                outlying = d * d > limit * q[i]
                lower[i] += np.uint64(stride if low else 0)
                upper[i] -= np.uint64(0 if low else stride)
                best_lower[i] = lower[i] if outlying else best_lower[i]
                best_upper[i] = upper[i] if outlying else best_upper[i]
                # take the sample out of the mean and the sum of squares
                m[i] -= d * share
                left = q[i] - d * d * k * share
                rough[i] = 1.0 if left < 1e-9 * q[i] else rough[i]
                q[i] = left
        for i in range(width):
            p = start + i
            if rough[i] > 0.0:  # rounding would show
                first[p], last[p] = gesd_window(s, p, count[p], limits, keep)
            else:
                first[p] = best_lower[i] // np.uint64(stride)
                last[p] = best_upper[i] // np.uint64(stride) + np.uint64(1)

"""Which samples of a pixel are outliers, for the methods whose outliers lie at the ends.

All work on sorted samples ``s`` (sample, pixel), of which the first ``count`` of each pixel are there,
with their ``mean`` and ``scatter`` (sample variance), and narrow the window ``first`` to ``last`` of
the samples that are kept. At least ``keep`` stay: the most deviant go first.
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
    """Mean and sample variance (divisor k − 1) of the window of pixel *i*."""
    k = last - first
    mean = 0.0
    for j in range(first, last):
        mean += np.float64(s[j, i])
    mean /= k
    total = 0.0
    for j in range(first, last):
        d = np.float64(s[j, i]) - mean
        total += d * d
    return mean, total / (k - 1)


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
def reject_extremes(s, size, count, mean, scatter, first, last, low, high, iterations, keep):
    """Drop the *low* lowest and the *high* highest samples."""
    n_low = int(low)
    n_high = int(high)
    for i in range(size):
        drop_low = n_low
        drop_high = n_high
        while drop_low + drop_high > max(0, count[i] - keep):
            if drop_low > drop_high:
                drop_low -= 1
            else:
                drop_high -= 1
        first[i] = drop_low
        last[i] = count[i] - drop_high


@kernel
def reject_percentile(s, size, count, mean, scatter, first, last, low, high, iterations, keep):
    """Drop samples more than the fraction *low* under or *high* over the median, where that is positive."""
    for i in range(size):
        if count[i] > keep:
            centre = middle(s, i, 0, count[i])
            if centre > 0.0:
                first[i], last[i] = trim(s, i, 0, count[i], centre, low * centre, high * centre, keep)


@kernel
def reject_sigma(s, size, count, mean, scatter, first, last, low, high, iterations, keep, about_mean):
    """Kappa-sigma clipping about the median, or the mean, with the standard deviation (divisor k − 1)."""
    for i in range(size):
        a = 0
        b = count[i]
        m = mean[i]
        variance = scatter[i]
        for iteration in range(iterations):
            k = b - a
            if k <= keep:
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
def reject_gesd(s, size, count, mean, scatter, first, last, critical, row, keep):
    """Rosner's generalised extreme Studentised deviate test.

    ``critical[row[i], j]`` is the square of the limit λ of step j + 1 for the count of pixel *i*; a
    row ends with zeros after its last step. All steps are done, and the last one that exceeds its
    limit says how many are outliers.
    """
    for i in range(size):
        k = count[i]
        if k <= keep or k < 3:
            continue
        limits = critical[row[i]]
        a = 0
        b = k
        m = mean[i]
        q = scatter[i] * (k - 1)
        whole = q
        for j in range(limits.size):
            if limits[j] == 0.0 or k <= keep or k < 3 or q <= 0.0:
                break
            under = m - np.float64(s[a, i])
            over = np.float64(s[b - 1, i]) - m
            d = max(under, over)
            outlying = d * d * (k - 1) > limits[j] * q
            if under > over:
                a += 1
            else:
                b -= 1
            if outlying:
                first[i] = a
                last[i] = b
            # take the sample out of the mean and the sum of squares
            d = -under if under > over else over
            k -= 1
            m -= d / k
            q -= d * d * (k + 1) / k
            if q < 1e-9 * whole:  # rounding would show: sum again
                m, q = spread(s, i, a, b)
                q *= k - 1
                whole = q

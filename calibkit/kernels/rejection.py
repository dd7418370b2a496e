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
    block = 256
    a = np.empty(block, np.int32)
    b = np.empty(block, np.int32)
    m = np.empty(block)
    q = np.empty(block)
    whole = np.empty(block)
    for start in range(0, size, block):
        width = min(block, size - start)
        for i in range(width):
            k = count[start + i]
            a[i] = 0
            b[i] = k
            m[i] = mean[start + i] if k > 1 else 0.0
            q[i] = scatter[start + i] * (k - 1) if k > 1 else 0.0
            whole[i] = q[i]
        for j in range(critical.shape[1]):
            for i in range(width):
                k = b[i] - a[i]
                limit = critical[row[start + i], j]
                if limit == 0.0 or k <= keep or k < 3 or not q[i] > 0.0:
                    continue
                under = m[i] - np.float64(s[a[i], start + i])
                over = np.float64(s[b[i] - 1, start + i]) - m[i]
                lower = under > over
                d = -under if lower else over
                a[i] += lower
                b[i] -= not lower
                if d * d * (k - 1) > limit * q[i]:
                    first[start + i] = a[i]
                    last[start + i] = b[i]
                # take the sample out of the mean and the sum of squares
                m[i] -= d / (k - 1)
                q[i] -= d * d * k / (k - 1)
                if q[i] < 1e-9 * whole[i]:  # rounding would show: sum again
                    m[i], variance = spread(s, start + i, a[i], b[i])
                    q[i] = variance * (k - 2)
                    whole[i] = q[i]

"""One value per pixel from the samples that are kept, with its variance.

The arrays are those of `calibkit.kernels.rejection`; outputs are flat, written from *offset* on.
``state`` (frame, pixel) says what became of each sample: 0 kept, 1 rejected low, 2 rejected high, 3
missing.
"""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel

#: Pixels whose variances are added at a time, frame by frame, so that the sums stay in the first-level cache.
_BATCH = 512


@kernel
def median_of_kept(s, size, first, last, value):
    """Median of the kept samples; the mean of the two middle ones is taken in their own type, as numpy does."""
    whole = s.itemsize == 2  # 16-bit numbers have no halves: their mean is taken in double precision
    half = s.dtype.type(0.5)
    for i in range(size):
        k = last[i] - first[i]
        if k == 0:
            value[i] = np.nan
            continue
        lower = s[first[i] + (k - 1) // 2, i]
        upper = s[first[i] + k // 2, i]
        if k % 2 == 1:
            value[i] = lower
        elif whole:
            value[i] = 0.5 * (np.float64(lower) + np.float64(upper))
        else:
            value[i] = (lower + upper) * half


@kernel(apart=True)
def middle_of_all(lower, upper, odd, size, value):
    """`median_of_kept` from the rows of the two middle samples, the same one where the number is *odd*."""
    whole = lower.itemsize == 2
    half = lower.dtype.type(0.5)
    if odd:
        for i in range(size):
            value[i] = lower[i]
    elif whole:
        for i in range(size):
            value[i] = 0.5 * (np.float64(lower[i]) + np.float64(upper[i]))
    else:
        for i in range(size):
            value[i] = (lower[i] + upper[i]) * half


@kernel
def end_of_kept(s, size, first, last, highest, value):
    """Lowest or highest of the kept samples."""
    for i in range(size):
        k = last[i] - first[i]
        value[i] = np.nan if k == 0 else (s[last[i] - 1, i] if highest else s[first[i], i])


@kernel(apart=True)
def store(first, last, count, value, spread_of, factor, gain, signal, variance, kept):
    """Write the results of the first pixels, as many as *signal* has; returns how many variances are not known.

    The variance is the scatter over the number kept, times ``factor[count]``, which says what the method
    makes of it; *gain* multiplies the value. The scatter is NaN where fewer than two samples are kept.
    """
    unknown = 0
    for i in range(signal.size):
        k = last[i] - first[i]
        v = spread_of[i] / k * factor[count[i]] * (gain * gain)
        signal[i] = value[i] * gain
        variance[i] = v
        kept[i] = k
        unknown += np.isnan(v) & (k > 0)
    return unknown


@kernel
def weighted(x, x_offset, size, state, weight, relative, channel, offset, value, spread_of):
    """Weighted mean of the kept samples and, from their scatter, its variance times the number kept.

    ``weight`` and ``relative`` (variance of a sample but for a common factor) are (frame, channel). The
    common factor u² follows from the expected weighted sum of squares, u² (Σwr − Σw²r/Σw).
    """
    n = x.shape[0]
    for i in range(size):
        c = channel[offset + i]
        w_sum = 0.0
        wx = 0.0
        wr = 0.0
        wwr = 0.0
        k = 0
        for f in range(n):
            if state[f, i] == 0:
                w = weight[f, c]
                w_sum += w
                wx += w * np.float64(x[f, x_offset + i])
                wr += w * relative[f, c]
                wwr += w * w * relative[f, c]
                k += 1
        if w_sum <= 0.0:
            value[i] = np.nan
            spread_of[i] = np.nan
            continue
        m = wx / w_sum
        value[i] = m
        square = 0.0
        for f in range(n):
            if state[f, i] == 0:
                d = np.float64(x[f, x_offset + i]) - m
                square += weight[f, c] * d * d
        freedom = wr - wwr / w_sum
        spread_of[i] = square / freedom * wwr / (w_sum * w_sum) * k if k > 1 and freedom > 0.0 else np.nan


@kernel(apart=True)
def add_alike(variance, state, width, weight, scale, w_sum, wv, kept):
    """Add a frame's variances to the sums of `carried`, and its weight, where its sample is kept."""
    share = (weight * scale) * (weight * scale)
    for i in range(width):
        there = state[i] == 0
        w_sum[i] += weight if there else 0.0
        wv[i] += share * np.float64(variance[i]) if there else 0.0
        kept[i] += 1.0 if there else 0.0


@kernel
def add_by_channel(variance, state, channel, width, weight, scale, w_sum, wv, kept):
    """`add_alike` with a weight and a scale for each channel."""
    for i in range(width):
        if state[i] == 0:
            c = channel[i]
            factor = weight[c] * scale[c]
            w_sum[i] += weight[c]
            wv[i] += factor * factor * np.float64(variance[i])
            kept[i] += 1.0


@kernel(apart=True)
def finish_carried(w_sum, wv, kept, width, spread_of):
    """Variance times the number kept from the sums."""
    for i in range(width):
        spread_of[i] = wv[i] / (w_sum[i] * w_sum[i]) * kept[i] if w_sum[i] > 0.0 else np.nan


@kernel
def carried(variance, v_offset, size, state, weight, scale, channel, offset, spread_of):
    """Variance of the weighted mean from the samples' own variances, times the number kept.

    ``scale`` (frame, channel) is what normalisation multiplied the samples by.
    """
    n = variance.shape[0]
    alike = True
    for f in range(n):
        for c in range(weight.shape[1]):
            alike = alike and weight[f, c] == weight[f, 0] and scale[f, c] == scale[f, 0]
    w_sum, wv, kept = np.empty(_BATCH), np.empty(_BATCH), np.empty(_BATCH)
    for start in range(0, size, _BATCH):
        width = min(_BATCH, size - start)
        end = start + width
        w_sum[:width] = 0.0
        wv[:width] = 0.0
        kept[:width] = 0.0
        for f in range(n):
            own, marks = variance[f, v_offset + start : v_offset + end], state[f, start:end]
            if alike:
                add_alike(own, marks, width, weight[f, 0], scale[f, 0], w_sum, wv, kept)
            else:
                label = channel[offset + start : offset + end]
                add_by_channel(own, marks, label, width, weight[f], scale[f], w_sum, wv, kept)
        finish_carried(w_sum, wv, kept, width, spread_of[start:end])


@kernel
def common_flags(flags, flag_offset, pixel, state, out, out_offset):
    """Flags that every kept sample of the listed pixels carries; where none is kept, those that any sample carries."""
    for i in pixel:
        every = 0xFFFF
        some = 0
        k = 0
        for f in range(flags.shape[0]):
            flag = np.int64(flags[f, flag_offset + i])
            some |= flag
            if state[f, i] == 0:
                every &= flag
                k += 1
        out[out_offset + i] = every if k > 0 else some

"""The samples of a chunk of pixels: loading, leaving out what is missing, and their mean and scatter.

Arrays of samples are (frame, pixel) and C-contiguous, because numba only vectorises along an axis
that it knows to be contiguous; hence an *offset* and a *size* instead of slices. In floating-point
arrays a missing sample (not finite, or flagged as bad) is +inf, so that it sorts last.
"""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel


@kernel
def swap_bytes_16(values, flip):
    """Reverse the bytes of each uint16, then xor it with *flip*, in place."""
    for i in range(values.size):
        v = values[i]
        values[i] = ((v << 8) | (v >> 8)) ^ flip


@kernel
def swap_bytes_32(values, flip):
    """Reverse the bytes of each uint32, then xor it with *flip*, in place."""
    for i in range(values.size):
        v = values[i]
        values[i] = ((v << 24) | ((v & 0xFF00) << 8) | ((v >> 8) & 0xFF00) | (v >> 24)) ^ flip


@kernel
def load(values, offset, size, x, missing):
    """Copy *size* pixels of *values* from *offset* on into *x*; count what is missing per frame.

    Returns
    -------
    int
        How many samples are missing.
    """
    nothing = x.dtype.type(np.inf)
    total = 0
    for f in range(values.shape[0]):
        source = values[f, offset : offset + size]
        target = x[f]
        bad = 0
        for i in range(size):
            value = x.dtype.type(source[i])
            good = np.abs(value) < nothing
            target[i] = value if good else nothing
            bad += not good
        missing[f] += bad
        total += bad
    return total


@kernel
def load_scaled(values, offset, size, scale, zero, channel, x, missing):
    """`load` of ``values * scale[frame, channel] + zero[frame, channel]``; *channel* is that of each pixel."""
    nothing = x.dtype.type(np.inf)
    total = 0
    for f in range(values.shape[0]):
        source = values[f, offset : offset + size]
        label = channel[offset : offset + size]
        target = x[f]
        factor = scale[f]
        term = zero[f]
        bad = 0
        for i in range(size):
            value = x.dtype.type(source[i] * factor[label[i]] + term[label[i]])
            good = np.abs(value) < nothing
            target[i] = value if good else nothing
            bad += not good
        missing[f] += bad
        total += bad
    return total


@kernel
def drop_flagged(flags, offset, size, bad, repaired, no_data, x, missing):
    """Make samples missing whose flags say that they are no measurement; return how many there are."""
    nothing = x.dtype.type(np.inf)
    total = 0
    for f in range(flags.shape[0]):
        row = flags[f, offset : offset + size]
        target = x[f]
        for i in range(size):
            flag = row[i]
            unusable = (flag & bad) != 0 and ((flag & repaired) == 0 or (flag & no_data) != 0)
            if unusable and target[i] < nothing:
                target[i] = nothing
                missing[f] += 1
                total += 1
    return total


@kernel
def count_present(s, size, count):
    """How many samples of each pixel are not missing."""
    for i in range(size):
        count[i] = 0
    for f in range(s.shape[0]):
        row = s[f]
        for i in range(size):
            count[i] += row[i] < np.inf


@kernel
def moments(x, offset, size, count, complete, total, square, mean, scatter):
    """Mean and sample variance (divisor k − 1) of each pixel's samples, NaN where they do not exist.

    Sums are taken of the differences from the first sample, which must not be missing; so without
    *complete* (no sample is missing anywhere) the samples must be sorted. ``total`` and ``square`` are
    short arrays to sum in, of the precision that the samples deserve.
    """
    number = total.dtype.type
    width = total.size
    for start in range(0, size, width):
        w = min(width, size - start)
        begin = offset + start
        zero = x[0, begin : begin + w]
        for i in range(w):
            total[i] = 0.0
            square[i] = 0.0
        if complete:
            for f in range(x.shape[0]):
                row = x[f, begin : begin + w]
                for i in range(w):
                    d = number(row[i]) - number(zero[i])
                    total[i] += d
                    square[i] += d * d
        else:
            for f in range(x.shape[0]):
                row = x[f, begin : begin + w]
                for i in range(w):
                    d = number(row[i]) - number(zero[i]) if row[i] < np.inf else number(0.0)
                    total[i] += d
                    square[i] += d * d
        for i in range(w):
            k = count[start + i]
            sum_of = np.float64(total[i])
            shift = sum_of / k
            mean[start + i] = zero[i] + shift
            rest = max(0.0, np.float64(square[i]) - sum_of * shift)
            scatter[start + i] = rest / (k - 1) if k > 1 else np.nan

"""The samples of a chunk of pixels: loading, leaving out what is missing, and their mean and scatter.

Arrays of samples are (frame, pixel) and C-contiguous, because numba only vectorises along an axis
that it knows to be contiguous; hence an *offset* and a *size* instead of slices. In floating-point
arrays a missing sample (not finite, or flagged as bad) is +inf, so that it sorts last.
"""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel

#: Pixels that are looked at together for flags.
_RUN = 64
#: Pixels whose flags in all frames are looked through at a time, so that they stay in the first-level cache.
_BATCH = 1024


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


@kernel(apart=True)
def scale_row(source, factor, term, target):
    """Put ``source * factor + term`` into *target*, and what is not finite as missing; returns how many these are."""
    nothing = target.dtype.type(np.inf)
    bad = np.uint32(0)
    for i in range(target.size):
        value = target.dtype.type(source[i] * factor[i] + term[i])
        good = np.abs(value) < nothing
        target[i] = value if good else nothing
        bad += np.uint32(0) if good else np.uint32(1)
    return bad


@kernel
def load_scaled(values, offset, size, width, period, scale, zero, channel, x, missing):
    """`load` of ``values * scale[frame, channel] + zero[frame, channel]``; *channel* is that of each pixel.

    The channels repeat after *period* pixels of a row, each of *width*, the first of which begins *values*.
    """
    factor = np.empty(max(period, 1024 // period * period))
    term = np.empty(factor.size)
    total = 0
    start = offset
    while start < offset + size:
        end = min(offset + size, (start // width + 1) * width)
        label = channel[start : min(end, start + factor.size)]
        for f in range(values.shape[0]):
            for i in range(label.size):
                factor[i] = scale[f, label[i]]
                term[i] = zero[f, label[i]]
            bad = 0
            for first in range(start, end, factor.size):
                last = min(end, first + factor.size)
                bad += scale_row(values[f, first:last], factor, term, x[f, first - offset : last - offset])
            missing[f] += bad
            total += bad
        start = end
    return total


@kernel(apart=True)
def _add_flags(row, width, some):
    for i in range(width):
        some[i] |= row[i]


@kernel
def list_flagged(flags, offset, size, pixel):
    """List those of *size* pixels from *offset* on that have a flag in any frame; returns how many there are."""
    some = np.empty(_BATCH, flags.dtype)
    found = 0
    for start in range(0, size, _BATCH):
        width = min(_BATCH, size - start)
        some[:width] = 0
        for f in range(flags.shape[0]):
            _add_flags(flags[f, offset + start : offset + start + width], width, some)
        for i in range(width):
            pixel[found] = start + i
            found += some[i] != 0
    return found


@kernel
def drop_flagged(flags, offset, pixel, bad, repaired, no_data, x, missing):
    """Make samples missing whose flags say that they are no measurement; return how many there are.

    *pixel* lists the pixels to look at, see `list_flagged`.
    """
    nothing = x.dtype.type(np.inf)
    total = 0
    for f in range(flags.shape[0]):
        row = flags[f, offset:]
        target = x[f]
        for i in pixel:
            flag = row[i]
            unusable = (flag & bad) != 0 and ((flag & repaired) == 0 or (flag & no_data) != 0)
            if unusable and target[i] < nothing:
                target[i] = nothing
                missing[f] += 1
                total += 1
    return total


@kernel
def _all_bits(flags):
    """Every bit that is set in any of *flags*."""
    bits = flags.dtype.type(0)
    for i in range(flags.size):
        bits |= flags[i]
    return bits


@kernel
def drop_unusable(values, flags, bad, repaired, no_data, count):
    """Make *values* NaN where the flags say that they are no measurement, and add to *count* the pixels that have each bit."""
    nothing = values.dtype.type(np.nan)
    for i in range(flags.shape[0]):
        for start in range(0, flags.shape[1], _RUN):
            run = flags[i, start : start + _RUN]
            if _all_bits(run) == 0:  # nearly everywhere, and told with vector instructions
                continue
            for j in range(run.size):
                flag = run[j]
                if flag == 0:
                    continue
                for bit in range(count.size):
                    count[bit] += (flag >> bit) & 1
                if (flag & bad) != 0 and ((flag & repaired) == 0 or (flag & no_data) != 0):
                    values[i, start + j] = nothing

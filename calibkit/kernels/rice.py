"""A walk along Rice-compressed numbers, as far as they go."""

from __future__ import annotations

from calibkit.kernels._jit import kernel


@kernel
def rice_is_whole(data, count, block, width, length_bits, raw):
    """Whether *count* numbers are found within the bytes of *data*; nothing is decoded.

    Blocks of *block* differences begin with *length_bits* bits, one more than the number of low bits of each: 0 says
    that all are 0, *raw* + 1 that they follow as they are, in *width* bits. Otherwise a difference is zeros, a one, and
    its low bits. After FITS standard 4.0, section 10.4.1, and White et al. 1999, which R. White's program follows.
    """
    end = 8 * data.size
    at = width  # the first number comes first, as it is
    done = 0
    while done < count:
        low = 0
        if at + length_bits > end:
            return False
        for _ in range(length_bits):
            low = 2 * low + ((data[at >> 3] >> (7 - (at & 7))) & 1)
            at += 1
        low -= 1
        now = min(block, count - done)
        done += now
        if low < 0:
            continue
        if low == raw:
            at += now * width
            continue
        for _ in range(now):
            while at < end and (data[at >> 3] >> (7 - (at & 7))) & 1 == 0:
                at += 1
            at += 1 + low
            if at > end:
                return False
    return at <= end

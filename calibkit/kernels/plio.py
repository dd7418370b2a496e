"""A walk along the runs of a PLIO-compressed line, as far as they go."""

from __future__ import annotations

from calibkit.kernels._jit import kernel


@kernel
def plio_is_whole(words, count):
    """Whether the line list *words* (int16) holds the runs of just *count* numbers; nothing is decoded.

    A list says how long it is and where its instructions begin. An instruction is 4 bits that say what to do, and
    12 bits of data: 0 and 5 are a run of zeros, 4 a run of the present value, 6 and 7 change it and write it once, 1 takes
    the next word along. After FITS standard 4.0, section 10.4.3.
    """
    if words.size < 3:
        return False
    if words[2] > 0:
        length, first = int(words[2]), 3
    else:
        if words.size < 5:
            return False
        length, first = (int(words[4]) << 15) + int(words[3]), int(words[1])
    if first < 3 or not first <= length <= words.size:
        return False
    done = 0
    at = first
    while at < length and done < count:
        word = int(words[at])
        if word < 0:
            return False
        code = word >> 12
        if code == 1:
            at += 1
        elif code >= 6:
            done += 1
        elif code in (0, 4, 5):
            done += word & 4095
        at += 1
    return done == count and at <= length

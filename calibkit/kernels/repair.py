"""Replacing bad pixels from good neighbours of their own channel."""

from __future__ import annotations

import math

import numpy as np

from calibkit.flags import BAD, NO_DATA, REPAIRED, SATURATED
from calibkit.kernels._jit import kernel

_BAD = np.uint16(BAD)
_REPAIRED = np.uint16(REPAIRED)
_NO_DATA = np.uint16(NO_DATA)
_SATURATED = np.uint16(SATURATED)


@kernel
def repair_rows(signal, variance, flags, wanted, taps, rings, enough, top, out, out_variance, out_flags):
    """Write rows of *signal* from *top* on into *out*, with the pixels flagged *wanted* replaced.

    ``taps[a, b, k]`` is the offset (dy, dx) of the k-th neighbour of phase (a, b), nearest ring first;
    ``rings[a, b, r]`` says how many neighbours the first r + 1 rings hold. Rings are added until *enough*
    good neighbours are found. *variance* may be empty, and then *out_variance* is left alone. Only pixels of the input that carry no bad flag are used, so the order of
    work does not matter.
    """
    height, width = signal.shape
    py, px = rings.shape[:2]
    known = variance.size > 0
    for i in range(out.shape[0]):
        y = i + top
        out[i, :] = signal[y, :]
        if known:
            out_variance[i, :] = variance[y, :]
        out_flags[i, :] = flags[y, :]
        for x in range(width):
            flag = flags[y, x]
            if (flag & wanted) == 0 or (flag & (_NO_DATA | _REPAIRED)) != 0:
                continue
            a, b = y % py, x % px
            count = 0
            saturated = 0
            total = squares = noise = 0.0
            start = 0
            shift = 0.0
            for ring in range(rings.shape[2]):
                for k in range(start, rings[a, b, ring]):
                    v, u = y + taps[a, b, k, 0], x + taps[a, b, k, 1]
                    if v < 0 or v >= height or u < 0 or u >= width:
                        continue
                    near = flags[v, u]
                    if ring == 0 and (near & _SATURATED) != 0 and (near & wanted) == 0:
                        saturated += 1
                    if (near & (_BAD | _REPAIRED)) != 0 or math.isnan(signal[v, u]):
                        continue
                    if count == 0:
                        shift = signal[v, u]
                    count += 1
                    d = signal[v, u] - shift  # about one of them, so that squares lose no digits
                    total += d
                    squares += d * d
                    if known:
                        noise += variance[v, u]
                start = rings[a, b, ring]
                if ring == 0 and saturated > count:
                    # The core of a star: good neighbours lie outside of it and say nothing of it.
                    count = 0
                    break
                if count >= enough:
                    break
            if count == 0:
                continue
            mean = total / count
            noise /= count
            value = noise / count
            if count > 1:
                scatter = (squares - total * mean) / (count - 1)
                # More scatter than noise makes is structure (3 σ of χ²): the pixel may lie anywhere in it.
                if scatter > noise * (1.0 + 3.0 * math.sqrt(2.0 / (count - 1))):
                    value += scatter
            out[i, x] = shift + mean
            if known:
                out_variance[i, x] = value
            out_flags[i, x] = flag | _REPAIRED

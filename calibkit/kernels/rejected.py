"""What became of every sample: the mean and scatter of those that are kept, and where the rejected ones came from.

The arrays are those of `calibkit.kernels.rejection`, and ``x`` (frame, pixel) has the samples before they were
sorted, from *x_offset* on. ``state`` (frame, pixel) is 0 for a sample that is kept, 1 for one rejected low, 2
rejected high, 3 missing.
"""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel
from calibkit.kernels.rejection import spread
from calibkit.kernels.tiles import pick

#: Pixels whose samples are looked through at a time, row by row, so that what is known of them stays in the cache.
BATCH = 512


@kernel
def list_rejecting(size, count, first, last, pixel):
    """List the pixels that lost a sample; returns how many there are."""
    found = 0
    for i in range(size):
        pixel[found] = i
        found += last[i] - first[i] < count[i]
    return found


@kernel
def mark_missing(x, x_offset, size, state):
    """Start ``state`` from the samples that are there."""
    for f in range(x.shape[0]):
        row = x[f, x_offset : x_offset + size]
        target = state[f]
        for i in range(size):
            target[i] = 0 if row[i] < np.inf else 3


@kernel(apart=True)
def add_kept(v, floor, ceiling, top, zero, width, total, square):
    """Add the samples that are kept, less *zero*, and their squares to the sums; count those below and above."""
    low = np.uint32(0)
    high = np.uint32(0)
    for c in range(width):
        under = v[c] < floor[c]
        over = v[c] > ceiling[c]
        d = np.float64(v[c]) - zero[c]
        d = 0.0 if under | over else d
        total[c] += d
        square[c] += d * d
        low += np.uint32(under)
        high += np.uint32(over & (v[c] <= top[c]))
    return low, high


@kernel
def mark_row(v, floor, ceiling, top, place, width, state):
    """Put those of a frame's samples that are rejected into its row of ``state``."""
    for c in range(width):
        if v[c] < floor[c]:
            state[place[c]] = 1
        elif v[c] > ceiling[c] and v[c] <= top[c]:
            state[place[c]] = 2


@kernel
def mark_one_by_one(x, x_offset, s, i, k, a, b, frames, state, mark, taken):
    """Find each rejected sample of pixel *i* among the frames; *taken* is an array to work in."""
    taken[:] = False
    for j in range(k):
        if a <= j < b:
            continue
        for f in range(x.shape[0]):
            if x[f, x_offset + i] == s[j, i] and not taken[f]:
                taken[f] = True
                side = 0 if j < a else 1
                frames[f, side] += 1
                if mark:
                    state[f, i] = side + 1
                break


@kernel
def settle_rejected(
    x,
    x_offset,
    s,
    pixel,
    number,
    count,
    first,
    last,
    mean,
    scatter,
    frames,
    state,
    mark,
    rejected_low,
    rejected_high,
):
    """Mean and scatter of the kept samples of *number* pixels; their rejected ones counted, in pixels and frames.

    ``frames`` has the columns rejected low, rejected high; with *mark* they are put into ``state``, too. Of equal
    samples the first frames are taken.
    """
    n = x.shape[0]
    place = np.empty(BATCH, np.uint32)
    odd = np.empty(BATCH, np.int32)
    v = np.empty(BATCH, s.dtype)
    floor = np.empty(BATCH, s.dtype)
    ceiling = np.empty(BATCH, s.dtype)
    top = np.empty(BATCH, s.dtype)
    zero = np.empty(BATCH)
    total = np.empty(BATCH)
    square = np.empty(BATCH)
    taken = np.empty(n, np.bool_)
    for start in range(0, number, BATCH):
        width = 0
        n_odd = 0
        for i in pixel[start : min(number, start + BATCH)]:  # without branches: nothing can be foretold
            a = first[i]
            b = last[i]
            k = count[i]
            rejected_low[i] = a
            rejected_high[i] = k - b
            place[width] = i
            floor[width] = s[a, i]
            ceiling[width] = s[b - 1, i]
            top[width] = s[k - 1, i]
            zero[width] = s[a + (b - a) // 2, i]  # so that no digits are lost
            total[width] = 0.0
            square[width] = 0.0
            below = (a == 0) | (s[max(a - 1, 0), i] < floor[width])
            above = (b == k) | (s[min(b, k - 1), i] > ceiling[width])
            odd[n_odd] = i
            width += below & above
            n_odd += not (below & above)
        for f in range(n):
            row = x[f, x_offset:]
            pick(row, place, width, v)
            low, high = add_kept(v, floor, ceiling, top, zero, width, total, square)
            frames[f, 0] += low
            frames[f, 1] += high
            if mark:
                mark_row(v, floor, ceiling, top, place, width, state[f])
        for c in range(width):
            i = place[c]
            k = last[i] - first[i]
            mean[i] = zero[c] + total[c] / k
            scatter[i] = max(0.0, square[c] - total[c] * total[c] / k) / (k - 1) if k > 1 else np.nan
        for i in odd[:n_odd]:  # a rejected sample is equal to a kept one, or between them
            mean[i], scatter[i] = spread(s, i, first[i], last[i])
            mark_one_by_one(x, x_offset, s, i, count[i], first[i], last[i], frames, state, mark, taken)

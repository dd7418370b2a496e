"""Rejection with a robust scale: MAD, winsorized sigma and the line through the sorted samples.

The arrays are those of `calibkit.kernels.rejection`. The first iteration is done for blocks of pixels
with vector instructions; the few pixels where it rejects something go on one by one.
"""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel
from calibkit.kernels.rejection import middle, spread, trim

#: σ of a normal distribution is this many MAD.
MAD_TO_SIGMA = 1.482602218505602
#: σ of a normal distribution is this many mean absolute deviations: √(π/2).
MEAN_DEVIATION_TO_SIGMA = 1.2533141373155001
#: Where samples are pulled in to, in σ, and how much of σ that costs (Huber 1981; PixInsight, Siril).
WINSOR_LIMIT = 1.5
WINSOR_CORRECTION = 1.134
WINSOR_TOLERANCE = 5e-4
WINSOR_STEPS = 50
#: Samples that are worked on at once, so that they stay in the first-level cache.
TILE_SAMPLES = 6000


@kernel
def deviation(s, i, first, last, centre):
    """Median distance of the window's samples from *centre*, their median."""
    k = last - first
    below = first + (k - 1) // 2
    above = below + 1
    before = 0.0
    now = 0.0
    for _ in range(k // 2 + 1):
        before = now
        if above >= last or (
            below >= first and centre - np.float64(s[below, i]) <= np.float64(s[above, i]) - centre
        ):
            now = centre - np.float64(s[below, i])
            below -= 1
        else:
            now = np.float64(s[above, i]) - centre
            above += 1
    return now if k % 2 == 1 else 0.5 * (before + now)


@kernel
def mad_sigma(s, i, first, last, centre):
    """σ from the MAD; from the mean deviation where more than half of the samples are equal."""
    sigma = MAD_TO_SIGMA * deviation(s, i, first, last, centre)
    if sigma == 0.0:
        for j in range(first, last):
            sigma += abs(np.float64(s[j, i]) - centre)
        sigma *= MEAN_DEVIATION_TO_SIGMA / (last - first)
    return sigma


@kernel
def tile_width(n):
    """Pixels in a tile of *n* samples each."""
    return max(32, min(256, TILE_SAMPLES // n // 16 * 16))


@kernel
def load_tile(s, start, width, centre, tile):
    """Differences of *width* pixels' samples from *centre*, in single precision."""
    for j in range(s.shape[0]):
        row = s[j, start : start + width]
        target = tile[j]
        for i in range(width):
            target[i] = np.float64(row[i]) - centre[i]


@kernel
def load_columns(s, pixel, columns, first, last, centre, tile):
    """`load_tile` for the windows of some pixels, in ascending order, filled up with zeros."""
    n = s.shape[0]
    complete = pixel[columns - 1] - pixel[0] == columns - 1
    for c in range(columns):
        complete = complete and last[pixel[c]] - first[pixel[c]] == n
    if complete:
        load_tile(s, pixel[0], columns, centre, tile)
        return
    for c in range(columns):
        p = pixel[c]
        k = last[p] - first[p]
        for j in range(n):
            tile[j, c] = np.float64(s[first[p] + j, p]) - centre[c] if j < k else 0.0


@kernel
def pixels_above(count, size, least, pixel):
    """List the pixels that have more than *least* samples; returns how many there are."""
    found = 0
    for p in range(size):
        if count[p] > least:
            pixel[found] = p
            found += 1
    return found


@kernel
def mad_tile(tile, width, smallest, deviation_of):
    """Median of the distances from zero of *width* sorted columns of *tile*, whose median is zero.

    The distances below and above the median are two sorted lists; their r-th smallest member is the least,
    over all ways to take i of one and r + 1 − i of the other, of the larger of the last ones taken.
    """
    n = tile.shape[0]
    below = n // 2  # samples in the lower list: ranks below − 1, below − 2, …
    above = n - below
    for i in range(width):
        deviation_of[i] = 0.0
    for rank in range((n - 1) // 2, n // 2 + 1):
        for i in range(width):
            smallest[i] = np.inf
        for taken in range(max(0, rank + 1 - above), min(below, rank + 1) + 1):
            # with nothing taken of a list, the other's last is the larger: distances are not negative
            lower = tile[below - taken] if taken > 0 else tile[below + rank - taken]
            sign = np.float32(-1.0) if taken > 0 else np.float32(1.0)
            upper = tile[below + rank - taken] if taken <= rank else lower
            other = np.float32(1.0) if taken <= rank else sign
            for i in range(width):
                a = sign * lower[i]
                b = other * upper[i]
                a = b if b > a else a  # noqa: FURB136 (one vector instruction)
                smallest[i] = a if a < smallest[i] else smallest[i]  # noqa: FURB136
        for i in range(width):
            deviation_of[i] += np.float32(0.5) * smallest[i]
    if n % 2 == 1:
        for i in range(width):
            deviation_of[i] *= np.float32(2.0)


@kernel
def reject_mad(s, size, count, mean, scatter, first, last, low, high, iterations, keep):
    """Clipping about the median with 1.4826 times the median absolute deviation."""
    n = s.shape[0]
    wide = tile_width(n)
    tile = np.empty((n, wide), np.float32)
    smallest = np.empty(wide, np.float32)
    found = np.empty(wide, np.float32)
    centre = np.empty(wide)
    for start in range(0, size, wide):
        width = min(wide, size - start)
        complete = iterations > 0 and n > keep
        for i in range(width):
            k = count[start + i]
            complete = complete and k == n
            if k > 0:
                centre[i] = middle(s, start + i, 0, k)
        if complete:
            load_tile(s, start, width, centre, tile)
            mad_tile(tile, width, smallest, found)
        for i in range(width):
            p = start + i
            a = 0
            b = count[p]
            for iteration in range(iterations):
                k = b - a
                if k <= keep:
                    break
                c = centre[i]
                sigma = MAD_TO_SIGMA * np.float64(found[i])
                if iteration > 0 or not complete or sigma == 0.0:
                    c = middle(s, p, a, b)
                    sigma = mad_sigma(s, p, a, b, c)
                a, b = trim(s, p, a, b, c, low * sigma, high * sigma, keep)
                if b - a == k:
                    break
            first[p] = a
            last[p] = b


@kernel
def winsorize(tile, width, number, sigma, limit, total, square, place, on, result):
    """Huber's winsorized σ of *width* columns of *tile*, in place: pull samples in, and again, until it stands.

    Column i holds ``number[i]`` differences from the median and zeros. Most columns need two steps and a
    few need twenty, so now and then those that go on are moved together; ``place`` is where they began.
    """
    n = tile.shape[0]
    done = np.float32(np.inf)
    for i in range(width):
        place[i] = i
        limit[i] = WINSOR_LIMIT * sigma[i]
    pack_at = 2
    for step in range(1, WINSOR_STEPS + 1):
        for i in range(width):
            total[i] = 0.0
            square[i] = 0.0
        for j in range(n):
            row = tile[j]
            for i in range(width):
                d = row[i]
                d = -limit[i] if d < -limit[i] else d  # noqa: FURB136 (one vector instruction)
                d = limit[i] if d > limit[i] else d  # noqa: FURB136
                row[i] = d
                total[i] += d
                square[i] += d * d
        for i in range(width):
            k = number[i]
            before = sigma[i]
            rest = square[i] - total[i] * total[i] / k
            rest = rest if rest > 0.0 else np.float32(0.0)
            new = np.float32(WINSOR_CORRECTION) * np.sqrt(rest / (k - np.float32(1.0)))
            going = limit[i] < done  # a σ that stands is left alone while its neighbours go on
            moved = np.abs(new - before) > np.float32(WINSOR_TOLERANCE) * before
            sigma[i] = new if going else before
            limit[i] = np.float32(WINSOR_LIMIT) * new if going and moved else done
        if step in (pack_at, WINSOR_STEPS):
            pack_at += 2
            kept = 0
            for i in range(width):
                result[place[i]] = sigma[i]
                on[kept] = i
                kept += limit[i] < done
            for j in range(n):
                row = tile[j]
                for i in range(kept):
                    row[i] = row[on[i]]
            for i in range(kept):
                place[i] = place[on[i]]
                number[i] = number[on[i]]
                sigma[i] = sigma[on[i]]
                limit[i] = limit[on[i]]
            width = kept
            if width == 0:
                break


@kernel
def stays_above(tile, width, number, bound, limit, total, square, safe):
    """Whether the winsorized σ of each column of *tile* cannot fall below *bound*, if it starts above.

    One step from σ gives g(σ) = 1.134 × (standard deviation of the samples pulled in to ± 1.5 σ). Pulling
    in further never raises a variance, so g grows with σ; where g(bound) is above the bound, every step from
    above it ends above it too.
    """
    for i in range(width):
        limit[i] = np.float32(WINSOR_LIMIT) * bound[i]
        total[i] = 0.0
        square[i] = 0.0
    for j in range(tile.shape[0]):
        row = tile[j]
        for i in range(width):
            d = row[i]
            d = -limit[i] if d < -limit[i] else d  # noqa: FURB136 (one vector instruction)
            d = limit[i] if d > limit[i] else d  # noqa: FURB136
            total[i] += d
            square[i] += d * d
    margin = np.float32(WINSOR_CORRECTION * WINSOR_CORRECTION * 0.9999)  # for rounding
    for i in range(width):
        k = number[i]
        variance = margin * (square[i] - total[i] * total[i] / k)
        safe[i] = variance > bound[i] * bound[i] * (k - np.float32(1.0))


@kernel
def reject_winsorized(s, size, count, mean, scatter, first, last, low, high, iterations, keep):
    """Clipping about the median with Huber's winsorized standard deviation."""
    n = s.shape[0]
    wide = tile_width(n)
    tile = np.empty((n, wide), np.float32)
    number = np.empty(wide, np.float32)
    sigma = np.empty(wide, np.float32)
    limit = np.empty(wide, np.float32)
    total = np.empty(wide, np.float32)
    square = np.empty(wide, np.float32)
    place = np.empty(wide, np.int32)
    on = np.empty(wide, np.int32)
    pixel = np.empty(wide, np.int32)
    centre = np.empty(wide)
    result = np.empty(wide, np.float32)
    bound = np.empty(wide, np.float32)
    safe = np.empty(wide, np.bool_)
    per_low = 1.0 / low  # infinite for a limit of zero: no pixel is safe then
    per_high = 1.0 / high
    pending = np.empty(size, np.int32)
    waiting = pixels_above(count, size, max(keep, 1), pending)
    for iteration in range(iterations):
        following = 0
        for start in range(0, waiting, wide):
            columns = min(wide, waiting - start)
            for c in range(columns):
                p = pending[start + c]
                pixel[c] = p
                centre[c] = middle(s, p, first[p], last[p])
                number[c] = last[p] - first[p]
                variance = scatter[p] if iteration == 0 else spread(s, p, first[p], last[p])[1]
                sigma[c] = np.sqrt(variance)
            load_columns(s, pixel, columns, first, last, centre, tile)
            # σ at which the outermost sample would be just inside: most pixels are known to stay above it
            for c in range(columns):
                p = pixel[c]
                under = centre[c] - np.float64(s[first[p], p])
                over = np.float64(s[last[p] - 1, p]) - centre[c]
                bound[c] = max(under * per_low, over * per_high)
            stays_above(tile, columns, number, bound, limit, total, square, safe)
            left = 0
            for c in range(columns):
                if not (safe[c] and bound[c] < sigma[c] * np.float32(0.9999)):
                    on[left] = c
                    left += 1
            for j in range(n):
                row = tile[j]
                for c in range(left):
                    row[c] = row[on[c]]
            for c in range(left):
                pixel[c] = pixel[on[c]]
                centre[c] = centre[on[c]]
                number[c] = number[on[c]]
                sigma[c] = sigma[on[c]]
            columns = left
            winsorize(tile, columns, number, sigma, limit, total, square, place, on, result)
            for c in range(columns):
                p = pixel[c]
                below = low * np.float64(result[c])
                above = high * np.float64(result[c])
                a, b = trim(s, p, first[p], last[p], centre[c], below, above, keep)
                changed = b - a < last[p] - first[p]
                first[p] = a
                last[p] = b
                if changed and b - a > max(keep, 1):
                    pending[following] = p
                    following += 1
        waiting = following
        if waiting == 0:
            break


@kernel
def line_tile(tile, width, number, slope, height, residual, lowest, highest):
    """Line through each column of *tile*, whose first ``number`` rows are sorted samples and the rest zeros.

    Gives the mean absolute, the lowest and the highest residual, and leaves the residuals in *tile*.
    """
    for i in range(width):
        slope[i] = 0.0
        height[i] = 0.0
        residual[i] = 0.0
        lowest[i] = 0.0
        highest[i] = 0.0
    # few arrays in each loop: beyond that the compiler gives up proving that they do not overlap
    half = np.float32(0.5)
    one = np.float32(1.0)
    for j in range(tile.shape[0]):
        row = tile[j]
        rank = np.float32(j)
        for i in range(width):
            height[i] += row[i]
            slope[i] += (rank - half * (number[i] - one)) * row[i]
    for i in range(width):
        k = number[i]
        slope[i] /= k * (k * k - one) / np.float32(12.0)
        height[i] = height[i] / k - slope[i] * half * (k - one)
    for j in range(tile.shape[0]):
        row = tile[j]
        rank = np.float32(j)
        for i in range(width):
            r = row[i] - height[i] - slope[i] * rank
            row[i] = r if rank < number[i] else np.float32(0.0)
        for i in range(width):
            r = row[i]
            residual[i] += np.abs(r)
            lowest[i] = r if r < lowest[i] else lowest[i]  # noqa: FURB136 (one vector instruction)
            highest[i] = r if r > highest[i] else highest[i]  # noqa: FURB136
    for i in range(width):
        residual[i] /= number[i]


@kernel
def sort_out(s, p, first, last, residual, low, high, keep, column, verdict):
    """Move the samples of pixel *p* whose residual is beyond a limit to the ends of its window."""
    k = last - first
    n_low = 0
    n_high = 0
    for j in range(k):
        r = residual[j]
        out = k - n_low - n_high > keep
        verdict[j] = -1 if out and -r > low else (1 if out and r > high else 0)
        n_low += verdict[j] == -1
        n_high += verdict[j] == 1
    at_low = 0
    at_kept = n_low
    at_high = k - n_high
    for j in range(k):
        value = s[first + j, p]
        if verdict[j] == -1:
            column[at_low] = value
            at_low += 1
        elif verdict[j] == 1:
            column[at_high] = value
            at_high += 1
        else:
            column[at_kept] = value
            at_kept += 1
    for j in range(k):
        s[first + j, p] = column[j]
    return first + n_low, last - n_high


@kernel
def reject_line(s, size, count, mean, scatter, first, last, low, high, iterations, keep):
    """Clipping about the line through the sorted samples, in mean absolute residuals.

    A sample in the middle can be rejected while its neighbours stay. The column is then put in the order
    rejected low, kept (sorted), rejected high, so that the window still holds what is kept.
    """
    n = s.shape[0]
    wide = tile_width(n)
    tile = np.empty((n, wide), np.float32)
    number = np.empty(wide, np.float32)
    slope = np.empty(wide, np.float32)
    height = np.empty(wide, np.float32)
    residual = np.empty(wide, np.float32)
    lowest = np.empty(wide, np.float32)
    highest = np.empty(wide, np.float32)
    pixel = np.empty(wide, np.int32)
    centre = np.empty(wide)
    column = np.empty(n, s.dtype)
    verdict = np.empty(n, np.int8)
    pending = np.empty(size, np.int32)
    waiting = pixels_above(count, size, max(keep, 2), pending)
    for _ in range(iterations):
        following = 0
        for start in range(0, waiting, wide):
            columns = min(wide, waiting - start)
            for c in range(columns):
                p = pending[start + c]
                pixel[c] = p
                centre[c] = middle(s, p, first[p], last[p])
                number[c] = last[p] - first[p]
            load_columns(s, pixel, columns, first, last, centre, tile)
            line_tile(tile, columns, number, slope, height, residual, lowest, highest)
            for c in range(columns):
                below = np.float32(low) * residual[c]
                above = np.float32(high) * residual[c]
                if -lowest[c] > below or highest[c] > above:
                    p = pixel[c]
                    a, b = sort_out(s, p, first[p], last[p], tile[:, c], below, above, keep, column, verdict)
                    first[p] = a
                    last[p] = b
                    if b - a > max(keep, 2):
                        pending[following] = p
                        following += 1
        waiting = following
        if waiting == 0:
            break

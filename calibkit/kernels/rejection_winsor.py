"""Rejection with Huber's winsorized standard deviation. The arrays are those of `calibkit.kernels.rejection`."""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel
from calibkit.kernels.rejection import middle, spread, trim
from calibkit.kernels.tiles import contiguous, load_columns, pixels_above, tile_width

#: Where samples are pulled in to, in σ, and how much of σ that costs (Huber 1981; PixInsight, Siril).
WINSOR_LIMIT = 1.5
WINSOR_CORRECTION = 1.134
#: σ stands when it changes by less than this part of itself.
WINSOR_TOLERANCE = 5e-4
WINSOR_STEPS = 50


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
def winsor_suspects(s, pixel, waiting, first, last, sigma_of, low, high):
    """Leave in *pixel* those where the winsorized σ may fall so low that a sample is out; returns how many.

    ``sigma_of`` is the standard deviation of each pixel's window.
    """
    n = s.shape[0]
    wide = tile_width(n)
    tile = np.empty((n, wide), np.float32)
    number = np.empty(wide, np.float32)
    limit = np.empty(wide, np.float32)
    total = np.empty(wide, np.float32)
    square = np.empty(wide, np.float32)
    bound = np.empty(wide, np.float32)
    safe = np.empty(wide, np.bool_)
    centre = np.empty(wide)
    per_low = 1.0 / low  # infinite for a limit of zero: no pixel is safe then
    per_high = 1.0 / high
    left = 0
    for start in range(0, waiting, wide):
        columns = min(wide, waiting - start)
        if contiguous(pixel[start : start + columns], first, last, n):
            begin = pixel[start]
            lower = s[(n - 1) // 2, begin : begin + columns]
            upper = s[n // 2, begin : begin + columns]
            lowest = s[0, begin : begin + columns]
            highest = s[n - 1, begin : begin + columns]
            for c in range(columns):
                centre[c] = 0.5 * (np.float64(lower[c]) + np.float64(upper[c]))
                number[c] = n
                under = (centre[c] - np.float64(lowest[c])) * per_low
                over = (np.float64(highest[c]) - centre[c]) * per_high
                bound[c] = over if over > under else under  # noqa: FURB136 (one vector instruction)
        else:
            for c in range(columns):
                p = pixel[start + c]
                centre[c] = middle(s, p, first[p], last[p])
                number[c] = last[p] - first[p]
                under = centre[c] - np.float64(s[first[p], p])
                over = np.float64(s[last[p] - 1, p]) - centre[c]
                bound[c] = max(under * per_low, over * per_high)
        load_columns(s, pixel[start : start + columns], columns, first, last, centre, tile)
        stays_above(tile, columns, number, bound, limit, total, square, safe)
        for c in range(columns):
            p = pixel[start + c]
            pixel[left] = p
            left += not (safe[c] and bound[c] < sigma_of[p] * np.float32(0.9999))
    return left


@kernel
def reject_winsorized(s, size, count, mean, scatter, first, last, low, high, iterations, keep, sigma_of):
    """Clipping about the median with Huber's winsorized standard deviation.

    ``sigma_of`` is an array to work in.
    """
    n = s.shape[0]
    wide = tile_width(n)
    tile = np.empty((n, wide), np.float32)
    number = np.empty(wide, np.float32)
    sigma = np.empty(wide, np.float32)
    limit = np.empty(wide, np.float32)
    total = np.empty(wide, np.float32)
    square = np.empty(wide, np.float32)
    result = np.empty(wide, np.float32)
    place = np.empty(wide, np.int32)
    on = np.empty(wide, np.int32)
    centre = np.empty(wide)
    pixel = np.empty(size, np.int32)
    for p in range(size):
        sigma_of[p] = np.sqrt(scatter[p])
    waiting = pixels_above(count, size, max(keep, 2), pixel)
    for _ in range(iterations):
        waiting = winsor_suspects(s, pixel, waiting, first, last, sigma_of, low, high)
        following = 0
        for start in range(0, waiting, wide):
            columns = min(wide, waiting - start)
            these = pixel[start : start + columns].copy()
            for c in range(columns):
                p = these[c]
                centre[c] = middle(s, p, first[p], last[p])
                number[c] = last[p] - first[p]
                sigma[c] = sigma_of[p]
            load_columns(s, these, columns, first, last, centre, tile)
            winsorize(tile, columns, number, sigma, limit, total, square, place, on, result)
            for c in range(columns):
                p = these[c]
                below = low * np.float64(result[c])
                above = high * np.float64(result[c])
                a, b = trim(s, p, first[p], last[p], centre[c], below, above, keep)
                changed = b - a < last[p] - first[p]
                first[p] = a
                last[p] = b
                if changed and b - a > max(keep, 2):
                    sigma_of[p] = np.sqrt(spread(s, p, a, b)[1])
                    pixel[following] = p
                    following += 1
        waiting = following
        if waiting == 0:
            break

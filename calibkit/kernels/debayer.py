"""Mosaic to colour planes, row by row of a band, with variance and flags carried along.

All take a band of the mosaic with its halo, and ``cell``: the number of the colour (0, 1, 2 for R, G, B)
on pixel ``[i % py, j % px]`` of that band.
"""

from __future__ import annotations

import math

import numpy as np

from calibkit.flags import BAD, NO_DATA, REPAIRED, SATURATED
from calibkit.kernels._jit import kernel

_REPAIRED = np.uint16(REPAIRED)
_NO_DATA = np.uint16(NO_DATA)
#: A saturated sample is a lower limit, and the best there is in the core of a star: it enters and is flagged.
_LEFT_OUT = np.uint16(BAD & ~SATURATED)


@kernel
def good(value, flag):
    return not math.isnan(value) and ((flag & _LEFT_OUT) == 0 or (flag & _REPAIRED) != 0)


@kernel
def _tent(signal, variance, flags, cell, i, j, colour, reach):
    """Value, variance and flags at (i, j) from good samples of *colour*, weighted by distance."""
    height, width = signal.shape
    py, px = cell.shape
    total = weight_sum = spread = 0.0
    flag = np.uint16(0)
    for di in range(-reach, reach + 1):
        y = i + di
        if y < 0 or y >= height:
            continue
        for dj in range(-reach, reach + 1):
            x = j + dj
            if x < 0 or x >= width or cell[y % py, x % px] != colour:
                continue
            if good(signal[y, x], flags[y, x]):
                weight = (reach + 1 - abs(di)) * (reach + 1 - abs(dj))
                total += weight * signal[y, x]
                spread += weight * weight * variance[y, x]
                weight_sum += weight
                flag |= flags[y, x]
    if weight_sum == 0.0:
        return math.nan, math.nan, _NO_DATA
    return total / weight_sum, spread / weight_sum**2, flag


@kernel
def tent_pixel(signal, variance, flags, cell, i, j, row, reach, out, out_variance, out_flags):
    py, px = cell.shape
    own = cell[i % py, j % px]
    for colour in range(out.shape[0]):
        if colour == own and good(signal[i, j], flags[i, j]):
            value, spread, flag = signal[i, j], variance[i, j], flags[i, j]
        else:
            value, spread, flag = _tent(signal, variance, flags, cell, i, j, colour, reach)
            if math.isnan(value) and reach < 2:
                value, spread, flag = _tent(signal, variance, flags, cell, i, j, colour, 2)
        out[colour, row, j] = value
        out_variance[colour, row, j] = spread
        out_flags[colour, row, j] = flag


@kernel
def _row_from_taps(signal, variance, flags, taps, i, row, reach, out, out_variance, out_flags):
    """One row as if every pixel were good: site by site, so that the innermost loop is the same work throughout."""
    py, px = taps.shape[:2]
    last = signal.shape[1] - reach
    for colour in range(out.shape[0]):
        for b in range(px):
            first = b + (reach - b + px - 1) // px * px
            tap = taps[i % py, b, colour]
            for k in range(int(tap[0, 0])):
                y, dx, weight = i + int(tap[k + 1, 0]), int(tap[k + 1, 1]), tap[k + 1, 2]
                squared = weight * weight
                if k == 0:
                    for j in range(first, last, px):
                        out[colour, row, j] = weight * signal[y, j + dx]
                        out_variance[colour, row, j] = squared * variance[y, j + dx]
                        out_flags[colour, row, j] = flags[y, j + dx]
                else:
                    for j in range(first, last, px):
                        out[colour, row, j] += weight * signal[y, j + dx]
                        out_variance[colour, row, j] += squared * variance[y, j + dx]
                        out_flags[colour, row, j] |= flags[y, j + dx]


@kernel
def row_states(signal, flags):
    """Whether each row holds a pixel that must not enter, and the flags that occur in it."""
    bad = np.zeros(signal.shape[0], np.bool_)
    seen = np.zeros(signal.shape[0], np.uint16)
    for y in range(signal.shape[0]):
        values, bits = signal[y], flags[y]
        unknown = False
        union = wrong = np.uint16(0)
        for x in range(values.size):
            unknown |= values[x] != values[x]
        for x in range(bits.size):
            union |= bits[x]
            wrong |= np.uint16(0) if bits[x] & _REPAIRED else bits[x] & _LEFT_OUT
        bad[y] = unknown or wrong != 0
        seen[y] = union
    return bad, seen


@kernel(apart=True)
def _line(own, left, here, right, share, out):
    for j in range(out.size):
        out[j] = here[j] if own[j] else share * (left[j] + right[j])


@kernel(apart=True)
def _line_flags(own, left, here, right, out):
    for j in range(out.size):
        out[j] = here[j] if own[j] else left[j] | right[j]


@kernel(apart=True)
def _cross(own, up, left, here, right, down, share, out):
    for j in range(out.size):
        out[j] = here[j] if own[j] else share * (up[j] + left[j] + right[j] + down[j])


@kernel(apart=True)
def _cross_flags(own, up, left, here, right, down, out):
    for j in range(out.size):
        out[j] = here[j] if own[j] else up[j] | left[j] | right[j] | down[j]


@kernel(apart=True)
def _corners(straight, a, up, b, c, down, d, two, four, out):
    for j in range(out.size):
        out[j] = two * (up[j] + down[j]) if straight[j] else four * (a[j] + b[j] + c[j] + d[j])


@kernel(apart=True)
def _corner_flags(straight, a, up, b, c, down, d, out):
    for j in range(out.size):
        out[j] = up[j] | down[j] if straight[j] else a[j] | b[j] | c[j] | d[j]


@kernel
def _bayer_row(signal, variance, flags, cell, seen, parity, i, row, out, out_variance, out_flags):
    """One row of a pattern of 2 × 2 as if every pixel were good; False where the pattern does not allow it.

    All columns are worked on alike, and each takes what fits its phase: neighbouring memory, and no branch.
    """
    half, quarter, eighth = np.float32(0.5), np.float32(0.25), np.float32(0.0625)
    a = i % 2
    width = signal.shape[1]
    left, mid, right = slice(0, width - 2), slice(1, width - 1), slice(2, width)
    unflagged = (seen[i - 1] | seen[i] | seen[i + 1]) == 0
    for colour in range(out.shape[0]):
        row_has = cell[a, 0] == colour, cell[a, 1] == colour
        other_has = cell[1 - a, 0] == colour, cell[1 - a, 1] == colour
        target, target_v, target_f = (
            out[colour, row, mid],
            out_variance[colour, row, mid],
            out_flags[colour, row, mid],
        )
        if row_has[0] != row_has[1]:
            own = parity[0 if row_has[0] else 1][mid]
            s, v, f = signal[i], variance[i], flags[i]
            if not other_has[0] and not other_has[1]:
                _line(own, s[left], s[mid], s[right], half, target)
                _line(own, v[left], v[mid], v[right], quarter, target_v)
                if not unflagged:
                    _line_flags(own, f[left], f[mid], f[right], target_f)
            elif other_has[0] == row_has[1] and other_has[1] == row_has[0]:
                u, d = signal[i - 1, mid], signal[i + 1, mid]
                _cross(own, u, s[left], s[mid], s[right], d, quarter, target)
                u, d = variance[i - 1, mid], variance[i + 1, mid]
                _cross(own, u, v[left], v[mid], v[right], d, eighth, target_v)
                if not unflagged:
                    u, d = flags[i - 1, mid], flags[i + 1, mid]
                    _cross_flags(own, u, f[left], f[mid], f[right], d, target_f)
            else:
                return False
        elif not row_has[0] and other_has[0] != other_has[1]:
            straight = parity[0 if other_has[0] else 1][mid]
            u, d = signal[i - 1], signal[i + 1]
            _corners(straight, u[left], u[mid], u[right], d[left], d[mid], d[right], half, quarter, target)
            u, d = variance[i - 1], variance[i + 1]
            _corners(
                straight, u[left], u[mid], u[right], d[left], d[mid], d[right], quarter, eighth, target_v
            )
            if not unflagged:
                u, d = flags[i - 1], flags[i + 1]
                _corner_flags(straight, u[left], u[mid], u[right], d[left], d[mid], d[right], target_f)
        else:
            return False
        if unflagged:
            target_f[:] = 0
    return True


@kernel
def parities(width):
    """Rows of 1 in even and in odd columns."""
    rows = np.zeros((2, width), np.int32)
    for j in range(width):
        rows[j % 2, j] = 1
    return rows


@kernel
def bilinear(signal, variance, flags, cell, taps, top, rows, reach, begin, out, out_variance, out_flags):
    """Fill rows ``begin …`` of ``out[(colours, rows, width)]`` for the band's rows ``top … top + rows``.

    Own samples stay as they are.

    ``taps[a, b, colour]`` holds (count, then dy, dx, weight of each) for a pixel of site (a, b). They are used
    for every pixel, and those at the rim or near a bad pixel are then done again, one by one.
    """
    height, width = signal.shape
    bad, seen = row_states(signal, flags)
    parity = parities(width)
    two_by_two = cell.shape[0] == 2 and cell.shape[1] == 2 and reach == 1 and width > 2
    for row in range(begin, begin + rows):
        i = top + row - begin
        if i < reach or i >= height - reach:
            for j in range(width):
                tent_pixel(signal, variance, flags, cell, i, j, row, reach, out, out_variance, out_flags)
            continue
        if not two_by_two or not _bayer_row(
            signal, variance, flags, cell, seen, parity, i, row, out, out_variance, out_flags
        ):
            _row_from_taps(signal, variance, flags, taps, i, row, reach, out, out_variance, out_flags)
        for j in range(min(reach, width)):
            tent_pixel(signal, variance, flags, cell, i, j, row, reach, out, out_variance, out_flags)
            tent_pixel(
                signal, variance, flags, cell, i, width - 1 - j, row, reach, out, out_variance, out_flags
            )
        for y in range(i - reach, i + reach + 1):
            if not bad[y]:
                continue
            for x in range(width):
                if not good(signal[y, x], flags[y, x]):
                    for j in range(max(0, x - reach), min(width, x + reach + 1)):
                        tent_pixel(
                            signal, variance, flags, cell, i, j, row, reach, out, out_variance, out_flags
                        )


@kernel(apart=True)
def _every_second(here, out):
    for k in range(out.size):
        out[k] = here[2 * k]


@kernel(apart=True)
def _mean_of_two(one, two, share, out):
    for k in range(out.size):
        out[k] = share * (one[2 * k] + two[2 * k])


@kernel(apart=True)
def _flags_of_two(one, two, out):
    for k in range(out.size):
        out[k] = one[2 * k] | two[2 * k]


@kernel
def _good_superpixel_row(signal, variance, flags, cell, unflagged, top, row, out, out_variance, out_flags):
    """One row of blocks of 2 × 2 as if every pixel were good; False where a colour has more than two of them."""
    half, quarter = np.float32(0.5), np.float32(0.25)
    for colour in range(out.shape[0]):
        count = 0
        y = x = y2 = x2 = 0
        for place in range(4):
            if cell[place // 2, place % 2] == colour:
                y2, x2 = y, x
                y, x = top + place // 2, place % 2
                count += 1
        if count == 1:
            _every_second(signal[y, x:], out[colour, row])
            _every_second(variance[y, x:], out_variance[colour, row])
            if not unflagged:
                _every_second(flags[y, x:], out_flags[colour, row])
        elif count == 2:
            _mean_of_two(signal[y2, x2:], signal[y, x:], half, out[colour, row])
            _mean_of_two(variance[y2, x2:], variance[y, x:], quarter, out_variance[colour, row])
            if not unflagged:
                _flags_of_two(flags[y2, x2:], flags[y, x:], out_flags[colour, row])
        else:
            return False
        if unflagged:
            out_flags[colour, row] = 0
    return True


@kernel
def _superpixel_block(signal, variance, flags, cell, block, top, row, column, out, out_variance, out_flags):
    py, px = cell.shape
    for colour in range(out.shape[0]):
        total = spread = 0.0
        count = 0
        flag = np.uint16(0)
        for y in range(top, top + block):
            for x in range(column * block, (column + 1) * block):
                if cell[y % py, x % px] == colour and good(signal[y, x], flags[y, x]):
                    total += signal[y, x]
                    spread += variance[y, x]
                    flag |= flags[y, x]
                    count += 1
        if count == 0:
            out[colour, row, column] = math.nan
            out_variance[colour, row, column] = math.nan
            out_flags[colour, row, column] = _NO_DATA
        else:
            out[colour, row, column] = total / count
            out_variance[colour, row, column] = spread / count**2
            out_flags[colour, row, column] = flag


@kernel
def superpixel(signal, variance, flags, cell, block, begin, rows, out, out_variance, out_flags):
    """Mean of each colour's good samples in every ``block × block`` pixels, to rows ``begin …`` of *out*."""
    bad, seen = row_states(signal, flags)
    two_by_two = cell.shape[0] == 2 and cell.shape[1] == 2 and block == 2
    for row in range(begin, begin + rows):
        top = (row - begin) * block
        if two_by_two and _good_superpixel_row(
            signal,
            variance,
            flags,
            cell,
            (seen[top] | seen[top + 1]) == 0,
            top,
            row,
            out,
            out_variance,
            out_flags,
        ):
            for y in range(top, top + 2):
                if bad[y]:
                    for x in range(2 * out.shape[2]):
                        if not good(signal[y, x], flags[y, x]):
                            _superpixel_block(
                                signal,
                                variance,
                                flags,
                                cell,
                                block,
                                top,
                                row,
                                x // 2,
                                out,
                                out_variance,
                                out_flags,
                            )
        else:
            for column in range(out.shape[2]):
                _superpixel_block(
                    signal, variance, flags, cell, block, top, row, column, out, out_variance, out_flags
                )

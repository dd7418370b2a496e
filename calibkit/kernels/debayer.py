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
#: Gradients below this many times their noise are taken for noise.
_GATE = 3.0


@kernel
def _good(value, flag):
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
            if _good(signal[y, x], flags[y, x]):
                weight = (reach + 1 - abs(di)) * (reach + 1 - abs(dj))
                total += weight * signal[y, x]
                spread += weight * weight * variance[y, x]
                weight_sum += weight
                flag |= flags[y, x]
    if weight_sum == 0.0:
        return math.nan, math.nan, _NO_DATA
    return total / weight_sum, spread / weight_sum**2, flag


@kernel
def _tent_pixel(signal, variance, flags, cell, i, j, row, reach, out, out_variance, out_flags):
    py, px = cell.shape
    own = cell[i % py, j % px]
    for colour in range(out.shape[0]):
        if colour == own and _good(signal[i, j], flags[i, j]):
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
def _bad_rows(signal, flags):
    """Whether each row holds a pixel that must not enter."""
    rows = np.zeros(signal.shape[0], np.bool_)
    for y in range(signal.shape[0]):
        bad = 0
        for x in range(signal.shape[1]):
            bad += not _good(signal[y, x], flags[y, x])
        rows[y] = bad > 0
    return rows


@kernel
def bilinear(signal, variance, flags, cell, taps, top, rows, reach, out, out_variance, out_flags):
    """Fill ``out[(colours, rows, width)]`` for the band's rows ``top … top + rows``; own samples stay as they are.

    ``taps[a, b, colour]`` holds (count, then dy, dx, weight of each) for a pixel of site (a, b). They are used
    for every pixel, and those at the rim or near a bad pixel are then done again, one by one.
    """
    height, width = signal.shape
    bad = _bad_rows(signal, flags)
    for row in range(rows):
        i = top + row
        if i < reach or i >= height - reach:
            for j in range(width):
                _tent_pixel(signal, variance, flags, cell, i, j, row, reach, out, out_variance, out_flags)
            continue
        _row_from_taps(signal, variance, flags, taps, i, row, reach, out, out_variance, out_flags)
        for j in range(reach):
            _tent_pixel(signal, variance, flags, cell, i, j, row, reach, out, out_variance, out_flags)
            _tent_pixel(
                signal, variance, flags, cell, i, width - 1 - j, row, reach, out, out_variance, out_flags
            )
        for y in range(i - reach, i + reach + 1):
            if not bad[y]:
                continue
            for x in range(width):
                if not _good(signal[y, x], flags[y, x]):
                    for j in range(max(0, x - reach), min(width, x + reach + 1)):
                        _tent_pixel(
                            signal, variance, flags, cell, i, j, row, reach, out, out_variance, out_flags
                        )


@kernel
def _along(signal, variance, i, j, di, dj):
    """Estimate along one direction: mean of the two neighbours plus a quarter of the own second difference.

    Returns the corrected and the plain value, their variances, the gradient and the gradient's variance.
    """
    a, b = signal[i - di, j - dj], signal[i + di, j + dj]
    va, vb = variance[i - di, j - dj], variance[i + di, j + dj]
    p, far, near = signal[i, j], signal[i - 2 * di, j - 2 * dj], signal[i + 2 * di, j + 2 * dj]
    second = 2.0 * p - far - near
    v_second = 4.0 * variance[i, j] + variance[i - 2 * di, j - 2 * dj] + variance[i + 2 * di, j + 2 * dj]
    plain, v_plain = 0.5 * (a + b), 0.25 * (va + vb)
    return (
        plain + 0.25 * second,
        v_plain + v_second / 16.0,
        plain,
        v_plain,
        abs(a - b) + abs(second),
        va + vb + v_second,
    )


@kernel
def _choose(signal, variance, i, j, di, dj, ei, ej):
    """The better of two directions at (i, j), both, or the plain mean where there is only noise."""
    one, v_one, plain_one, vp_one, g_one, vg_one = _along(signal, variance, i, j, di, dj)
    two, v_two, plain_two, vp_two, g_two, vg_two = _along(signal, variance, i, j, ei, ej)
    noise = _GATE * math.sqrt(vg_one + vg_two)  # nan where the variance is not known: the gates are then open
    if max(g_one, g_two) < noise:
        return 0.5 * (plain_one + plain_two), 0.25 * (vp_one + vp_two)
    if g_one == g_two or abs(g_one - g_two) < noise:
        # both estimates hold the own sample and its second difference's own part: add weights, then square
        both = 0.5 * (one + two)
        return both, 0.25 * (v_one + v_two) + 0.125 * variance[i, j]
    if g_one < g_two:
        return one, v_one
    return two, v_two


@kernel
def _all_good(signal, flags, i, j):
    for y in range(i - 2, i + 3):
        for x in range(j - 2, j + 3):
            if not _good(signal[y, x], flags[y, x]):
                return False
    return True


@kernel
def edge_aware(signal, variance, flags, cell, top, rows, out, out_variance, out_flags):
    """As `bilinear`, for a 2 × 2 cell of R, G, G, B: along edges and not across them."""
    height, width = signal.shape
    py, px = cell.shape
    for row in range(rows):
        i = top + row
        for j in range(width):
            inside = 2 <= i < height - 2 and 2 <= j < width - 2
            if not inside or not _all_good(signal, flags, i, j):
                _tent_pixel(signal, variance, flags, cell, i, j, row, 1, out, out_variance, out_flags)
                continue
            own = cell[i % py, j % px]
            flag = np.uint16(0)
            for y in range(i - 1, i + 2):
                for x in range(j - 1, j + 2):
                    flag |= flags[y, x]
            for colour in range(3):
                if colour == own:
                    value, spread = signal[i, j], variance[i, j]
                    out_flags[colour, row, j] = flags[i, j]
                else:
                    out_flags[colour, row, j] = flag
                    if own == 1:  # on green: this colour lies to the left and right, or above and below
                        sideways = cell[i % py, (j + 1) % px] == colour
                        di, dj = (0, 1) if sideways else (1, 0)
                        full, v_full, plain, v_plain, step, v_step = _along(signal, variance, i, j, di, dj)
                        if step < _GATE * math.sqrt(v_step):
                            value, spread = plain, v_plain
                        else:
                            value, spread = full, v_full
                    elif colour == 1:
                        value, spread = _choose(signal, variance, i, j, 0, 1, 1, 0)
                    else:
                        value, spread = _choose(signal, variance, i, j, 1, 1, 1, -1)
                out[colour, row, j] = value
                out_variance[colour, row, j] = spread


@kernel
def superpixel(signal, variance, flags, cell, block, out, out_variance, out_flags):
    """Mean of each colour's good samples in every ``block × block`` pixels."""
    py, px = cell.shape
    for row in range(out.shape[1]):
        for column in range(out.shape[2]):
            for colour in range(out.shape[0]):
                total = spread = 0.0
                count = 0
                flag = np.uint16(0)
                for y in range(row * block, (row + 1) * block):
                    for x in range(column * block, (column + 1) * block):
                        if cell[y % py, x % px] == colour and _good(signal[y, x], flags[y, x]):
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

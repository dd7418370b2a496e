"""Mosaic to colour planes along edges, for the 2 × 2 patterns of red, green and blue."""

from __future__ import annotations

import math

import numpy as np

from calibkit.kernels._jit import kernel
from calibkit.kernels.debayer import good, tent_pixel

#: Gradients below this many times their noise are taken for noise.
_GATE = 3.0


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
            if not good(signal[y, x], flags[y, x]):
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
                tent_pixel(signal, variance, flags, cell, i, j, row, 1, out, out_variance, out_flags)
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

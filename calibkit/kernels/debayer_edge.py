"""Mosaic to colour planes along edges, for the 2 × 2 patterns of red, green and blue."""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel
from calibkit.kernels.debayer import good, parities, row_states, tent_pixel

#: Gradients below this many times their noise are taken for noise.
_GATE = 3.0
_GATE_SQUARED = _GATE * _GATE


@kernel
def _along(far, a, here, b, near, v_far, va, v_here, vb, v_near):
    """Estimate along one direction: mean of the two neighbours plus a quarter of the own second difference.

    Returns the corrected and the plain value, their variances, the gradient and the gradient's variance.
    """
    second = 2.0 * here - far - near
    v_second = 4.0 * v_here + v_far + v_near
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
def _gated(along):
    """The plain mean where there is only noise, else the corrected one."""
    full, v_full, plain, v_plain, step, v_step = along
    quiet = step * step < _GATE_SQUARED * v_step  # nan where the variance is not known: the gate is then open
    return plain if quiet else full, v_plain if quiet else v_full


@kernel
def _choose(first, second, v_here):
    """The better of two directions, both, or the plain mean where there is only noise."""
    one, v_one, plain_one, vp_one, g_one, vg_one = first
    two, v_two, plain_two, vp_two, g_two, vg_two = second
    noise = _GATE_SQUARED * (vg_one + vg_two)  # nan where the variance is not known: the gates are then open
    larger, apart = max(g_one, g_two), g_one - g_two
    value, spread = (one, v_one) if apart < 0.0 else (two, v_two)
    # both estimates hold the own sample and its second difference's own part: add weights, then square
    level = (apart == 0.0) | (apart * apart < noise)
    value = 0.5 * (one + two) if level else value
    spread = 0.25 * (v_one + v_two) + 0.125 * v_here if level else spread
    quiet = larger * larger < noise
    value = 0.5 * (plain_one + plain_two) if quiet else value
    spread = 0.25 * (vp_one + vp_two) if quiet else spread
    return value, spread


@kernel(apart=True)
def _row(s, v, on_green, green, green_v, same, same_v, other, other_v):
    """One row as if every pixel were good, without its first and last two pixels, in float64 as `_along` is.

    *s* and *v* are five rows; *same* is the plane of the colour in the green pixels' row, *other* the one in their
    columns. Every pixel is worked on in all directions and takes what fits, so that there is no branch.
    """
    s0, s1, s2, s3, s4 = s[0], s[1], s[2], s[3], s[4]
    v0, v1, v2, v3, v4 = v[0], v[1], v[2], v[3], v[4]
    for j in range(green.size):
        here, v_here = s2[j + 2], v2[j + 2]
        row = _along(
            s2[j], s2[j + 1], here, s2[j + 3], s2[j + 4], v2[j], v2[j + 1], v_here, v2[j + 3], v2[j + 4]
        )
        column = _along(
            s0[j + 2],
            s1[j + 2],
            here,
            s3[j + 2],
            s4[j + 2],
            v0[j + 2],
            v1[j + 2],
            v_here,
            v3[j + 2],
            v4[j + 2],
        )
        falling = _along(
            s0[j], s1[j + 1], here, s3[j + 3], s4[j + 4], v0[j], v1[j + 1], v_here, v3[j + 3], v4[j + 4]
        )
        rising = _along(
            s0[j + 4], s1[j + 3], here, s3[j + 1], s4[j], v0[j + 4], v1[j + 3], v_here, v3[j + 1], v4[j]
        )
        across, across_v = _choose(row, column, v_here)
        slanted, slanted_v = _choose(falling, rising, v_here)
        beside, beside_v = _gated(row)
        above, above_v = _gated(column)
        is_green = on_green[j] != 0
        green[j] = here if is_green else across
        green_v[j] = v_here if is_green else across_v
        same[j] = beside if is_green else here
        same_v[j] = beside_v if is_green else v_here
        other[j] = above if is_green else slanted
        other_v[j] = above_v if is_green else slanted_v


@kernel(apart=True)
def _row_flags(up, here, down, own, out):
    for j in range(out.size):
        around = up[j] | up[j + 1] | up[j + 2] | here[j] | here[j + 2] | down[j] | down[j + 1] | down[j + 2]
        out[j] = here[j + 1] if own[j] else around | here[j + 1]


@kernel
def edge_aware(signal, variance, flags, cell, top, rows, begin, out, out_variance, out_flags):
    """As `bilinear`, for a 2 × 2 cell of R, G, G, B: along edges and not across them."""
    height, width = signal.shape
    bad, seen = row_states(signal, flags)
    parity = parities(width)
    inner = slice(2, width - 2)
    s, v = np.zeros((5, width)), np.zeros((5, width))
    for row in range(begin, begin + rows):
        i = top + row - begin
        if i < 2 or i >= height - 2 or width < 5:
            for j in range(width):
                tent_pixel(signal, variance, flags, cell, i, j, row, 1, out, out_variance, out_flags)
            continue
        for k in range(5):
            s[k] = signal[i + k - 2]
            v[k] = variance[i + k - 2]
        green_at = 0 if cell[i % 2, 0] == 1 else 1
        same = cell[i % 2, 1 - green_at]
        other = 2 - same
        _row(
            s,
            v,
            parity[green_at, inner],
            out[1, row, inner],
            out_variance[1, row, inner],
            out[same, row, inner],
            out_variance[same, row, inner],
            out[other, row, inner],
            out_variance[other, row, inner],
        )
        if (seen[i - 1] | seen[i] | seen[i + 1]) == 0:
            out_flags[:, row] = 0
        else:
            up, here, down = flags[i - 1, 1:-1], flags[i, 1:-1], flags[i + 1, 1:-1]
            none = np.zeros(width - 4, np.int32)
            _row_flags(up, here, down, parity[green_at, inner], out_flags[1, row, inner])
            _row_flags(up, here, down, parity[1 - green_at, inner], out_flags[same, row, inner])
            _row_flags(up, here, down, none, out_flags[other, row, inner])
        for j in range(2):
            for x in (j, width - 1 - j):
                tent_pixel(signal, variance, flags, cell, i, x, row, 1, out, out_variance, out_flags)
        for y in range(i - 2, i + 3):
            if not bad[y]:
                continue
            for x in range(width):
                if not good(signal[y, x], flags[y, x]):
                    for j in range(max(0, x - 2), min(width, x + 3)):
                        tent_pixel(signal, variance, flags, cell, i, j, row, 1, out, out_variance, out_flags)

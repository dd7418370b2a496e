"""One plane of a frame on the grid of another, with variance and flags carried along.

A *plane* is one site of the colour pattern, or a whole frame without one. The grid is given by an affine map from
output row and column to a place in the plane, and the interpolation by polynomials for the weights of six samples.
"""

from __future__ import annotations

import math

import numpy as np

from calibkit.flags import BAD, NO_DATA, REPAIRED, SATURATED
from calibkit.kernels._jit import kernel

_BAD = np.uint16(BAD)
_REPAIRED = np.uint16(REPAIRED)
_NO_DATA = np.uint16(NO_DATA)
_SATURATED = np.uint16(SATURATED)
#: A saturated sample whose weight is beyond this share of the whole makes its result one.
_HEARD = 0.02
#: Marks of footprints: a sample in the middle has a flag; a sample is not to be used.
_TOLD, _UNUSABLE = np.uint8(1), np.uint8(2)
#: Places that are worked on at once, and how many of them a processor's vector holds at most.
_RUN, _VECTOR = 128, 16


@kernel
def _usable(flag):
    return (flag & _BAD) == 0 or ((flag & _REPAIRED) != 0 and (flag & _NO_DATA) == 0)


@kernel
def split_plane(signal, variance, flags, y0, x0, py, px, out, out_variance, out_flags, reach, dirty):
    """Copy one plane out of a mosaic and mark where a footprint of 2 *reach* samples meets what is no good measurement.

    ``dirty[i, j]`` is for footprints that reach from row i − reach + 1 to i + reach: `_UNUSABLE` with a sample among them
    that is not to be used, `_TOLD` where one of the four in the middle has a flag and can be used all the same. Returns
    how many samples are not plain.
    """
    rows, columns = out.shape
    dirty[:] = 0
    found = 0
    for i in range(rows):
        odd = 0
        for j in range(columns):
            value = signal[y0 + i * py, x0 + j * px]
            spread = variance[y0 + i * py, x0 + j * px]
            flag = flags[y0 + i * py, x0 + j * px]
            out[i, j] = value
            out_variance[i, j] = spread
            out_flags[i, j] = flag
            odd += flag != 0 or not math.isfinite(value)
        if odd:
            found += odd
            for j in range(columns):
                finite = math.isfinite(out[i, j])
                if out_flags[i, j] != 0 or not finite:
                    good = finite and _usable(out_flags[i, j])
                    far, mark = (1, _TOLD) if good else (reach, _UNUSABLE)
                    for di in range(max(0, i - far), min(rows, i + far)):
                        for dj in range(max(0, j - far), min(columns, j + far)):
                            dirty[di, dj] |= mark
    return found


@kernel
def _flags_of_middle(flags, i, j, wy, wx, reach):
    """Flags of the four samples in the middle that matter."""
    flag = np.uint16(0)
    for di in range(2):
        for dj in range(2):
            weight = np.float64(wy[di + reach - 1]) * wx[dj + reach - 1]
            if abs(weight) > _HEARD:
                flag |= flags[i + di, j + dj]
    return flag


@kernel
def _careful(signal, variance, flags, i, j, wy, wx, reach):
    """Value, variance and flags at a footprint of which some samples are flagged, missing or outside.

    A bad sample at the middle, or a saturated one that matters anywhere, is taken and flagged; any other bad
    sample is left out, and the rest weighed up.
    """
    rows, columns = signal.shape
    total = total_weight = spread = 0.0
    every = every_weight = every_spread = 0.0
    flag = np.uint16(0)
    bad = False
    for di in range(-reach + 1, reach + 1):
        y = i + di
        for dj in range(-reach + 1, reach + 1):
            x = j + dj
            middle = 0 <= di <= 1 and 0 <= dj <= 1
            weight = np.float64(wy[di + reach - 1]) * wx[dj + reach - 1]
            if y < 0 or y >= rows or x < 0 or x >= columns:
                if middle and abs(weight) > 1e-6:
                    return math.nan, math.nan, _NO_DATA
                continue
            own = flags[y, x]
            value = signal[y, x]
            if not math.isfinite(value):
                if middle and abs(weight) > _HEARD:
                    bad = True
                    flag |= own | _NO_DATA
                continue
            usable = _usable(own)
            every += weight * value
            every_weight += weight
            every_spread += weight * weight * variance[y, x]
            if usable:
                total += weight * value
                total_weight += weight
                spread += weight * weight * variance[y, x]
                if middle and abs(weight) > _HEARD:
                    flag |= own
            elif abs(weight) > _HEARD and (middle or (own & _SATURATED) != 0):
                bad = True
                flag |= own & ~_REPAIRED
    if bad:
        if every_weight > 0.3:
            return every / every_weight, every_spread / (every_weight * every_weight), flag & ~_REPAIRED
        return math.nan, math.nan, flag | _NO_DATA
    if total_weight > 0.3:
        return total / total_weight, spread / (total_weight * total_weight), flag
    return math.nan, math.nan, _NO_DATA


@kernel(fastmath={"contract", "nsz"}, apart=True)
def _weights_of(fraction, n, coefficients, weight):
    """Weights (sample, place) of the six samples about *n* places, polynomials of the fraction of a pixel.

    Those of a sample and of its mirror image share their even powers, and have the odd ones with opposite signs.
    """
    for k in range(3):
        c = coefficients[k]
        e0, e2, e4, e6, e8, o1, o3, o5, o7 = c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8]
        row, mirrored = weight[k], weight[5 - k]
        for q in range(n):
            u = fraction[q] - np.float32(0.5)
            v = u * u
            even = e0 + v * (e2 + v * (e4 + v * (e6 + v * e8)))
            odd = u * (o1 + v * (o3 + v * (o5 + v * o7)))
            row[q] = even + odd
            mirrored[q] = even - odd


@kernel(fastmath={"contract", "nsz"}, apart=True)
def _run(signal, variance, top, left, n, wy, wx, value, spread):
    """Value and variance at *n* places side by side, whose samples begin at (top, left), (top, left + 1) …"""
    w0, w1, w2, w3, w4, w5 = wx[0], wx[1], wx[2], wx[3], wx[4], wx[5]
    for q in range(n):
        value[q] = np.float32(0.0)
        spread[q] = np.float32(0.0)
    for k in range(6):
        s = signal[top + k, left : left + n + 5]
        v = variance[top + k, left : left + n + 5]
        w = wy[k]
        for q in range(n):
            value[q] += w[q] * (
                w0[q] * s[q]
                + w1[q] * s[q + 1]
                + w2[q] * s[q + 2]
                + w3[q] * s[q + 3]
                + w4[q] * s[q + 4]
                + w5[q] * s[q + 5]
            )
            spread[q] += (
                w[q]
                * w[q]
                * (
                    w0[q] * w0[q] * v[q]
                    + w1[q] * w1[q] * v[q + 1]
                    + w2[q] * w2[q] * v[q + 2]
                    + w3[q] * w3[q] * v[q + 3]
                    + w4[q] * w4[q] * v[q + 4]
                    + w5[q] * w5[q] * v[q + 5]
                )
            )


@kernel
def _none(marks):
    found = np.uint8(0)
    for q in range(marks.size):
        found |= marks[q]
    return found == 0


@kernel(apart=True)
def _fractions(part, step, n, out):
    for q in range(n):
        out[q] = part + step * q


@kernel(apart=True)
def _put(values, n, factor, term, out):
    for q in range(n):
        out[q] = factor * values[q] + term


@kernel
def _run_length(part, step, most):
    """How many places from *part* on, each *step* further, lie between 0 and 1; at least one, *most* at most."""
    if step > 0.0:
        return max(1, min(most, int((1.0 - part) / step)))
    if step < 0.0:
        return max(1, min(most, int(part / -step)))
    return most


@kernel
def resample_plane(
    signal, variance, flags, dirty, coefficients, affine, first, factor, term,
    out, out_variance, out_flags, y0, x0, py, px, rows, columns,
):  # fmt: skip
    """Fill one site of the output mosaic: rows y0, y0 + py, … of *out*, columns x0, x0 + px, …

    Places that follow each other along a row mostly lie between samples that do so too: such runs are worked on at
    once, and the few places with samples that are missing or not to be used once more, one by one.

    Parameters
    ----------
    signal, variance, flags, dirty : arrays of shape (row, column)
        A plane from `split_plane`, for a reach of 3.
    coefficients : float32 array of shape (3, 9)
        Weights of the first three samples as polynomials of a fraction of a pixel less ½: even powers, then odd ones.
    affine : float64 array of shape (2, 3)
        Place in the plane (row, column) of output row i and column j: ``affine @ (i, j, 1)``.
    first : int
        Number of the first output row of this band.
    factor, term : float
        Every value becomes ``factor * value + term``.
    rows, columns : int
        Size of the output plane in this band.
    """
    height, width = signal.shape
    factor2, nothing = factor * factor, np.float32(0.0)
    fy, fx = np.empty(_RUN, np.float32), np.empty(_RUN, np.float32)
    wy, wx = np.empty((6, _RUN), np.float32), np.empty((6, _RUN), np.float32)
    value, spread = np.empty(_RUN, np.float32), np.empty(_RUN, np.float32)
    for i in range(rows):
        base_y = affine[0, 0] * (first + i) + affine[0, 2]
        base_x = affine[1, 0] * (first + i) + affine[1, 2]
        j = 0
        while j < columns:
            y, x = base_y + affine[0, 1] * j, base_x + affine[1, 1] * j
            floor_y, floor_x = math.floor(y), math.floor(x)
            part_y, part_x, step_x = y - floor_y, x - floor_x, affine[1, 1] - 1.0
            n = _run_length(part_y, affine[0, 1], min(_RUN, columns - j))
            n = _run_length(part_x, step_x, n)
            iy, ix = int(floor_y), int(floor_x)
            # whole vectors: what lies beyond the run is worked out and not used
            full = (n + _VECTOR - 1) // _VECTOR * _VECTOR
            full = full if ix + full + 2 < width else n
            _fractions(part_y, affine[0, 1], full, fy)
            _fractions(part_x, step_x, full, fx)
            _weights_of(fy, full, coefficients, wy)
            _weights_of(fx, full, coefficients, wx)
            to_y, to_x = y0 + i * py, x0 + j * px
            inside = iy >= 2 and ix >= 2 and iy + 3 < height and ix + n + 2 < width
            clean = inside
            if inside:
                _run(signal, variance, iy - 2, ix - 2, full, wy, wx, value, spread)
                clean = _none(dirty[iy, ix : ix + n])
            end = to_x + (n - 1) * px + 1
            _put(value, n, factor, term, out[to_y, to_x:end:px])
            _put(spread, n, factor2, nothing, out_variance[to_y, to_x:end:px])
            out_flags[to_y, to_x:end:px] = 0
            if not clean:
                for q in range(n):
                    mark = dirty[iy, ix + q] if inside else _UNUSABLE
                    if mark == 0:
                        continue
                    if mark == _TOLD:
                        flag = _flags_of_middle(flags, iy, ix + q, wy[:, q], wx[:, q], 3)
                        out_flags[to_y, to_x + q * px] = flag
                        continue
                    careful, careful_spread, flag = math.nan, math.nan, _NO_DATA
                    if -1 <= iy < height and -1 <= ix + q < width:
                        careful, careful_spread, flag = _careful(
                            signal, variance, flags, iy, ix + q, wy[:, q], wx[:, q], 3
                        )
                    out[to_y, to_x + q * px] = factor * np.float32(careful) + term
                    out_variance[to_y, to_x + q * px] = factor2 * np.float32(careful_spread)
                    out_flags[to_y, to_x + q * px] = flag
            j += n

"""A mosaic on the grid of another, with variance and flags carried along.

Each site of the cell of the colour pattern is a *plane* of its own, as is a whole frame without a pattern. The grid is
given by affine maps from output row and column of a site to a place in its plane, and the interpolation by polynomials
for the weights of six samples.
"""

from __future__ import annotations

import math

import numpy as np

from calibkit.kernels._jit import kernel
from calibkit.kernels.footprint import NOTHING, careful, flags_of_middle, is_usable

#: Samples on either side of a place.
REACH = 3
#: Output columns of a plane that are worked on at once, so that their samples stay in the processor's cache.
TILE = 256
#: Places that are worked on at once, and how many of them a processor's vector holds at most.
_RUN, VECTOR = 128, 16
#: Marks of footprints: a sample in the middle has a flag; a sample is not to be used.
_TOLD, _UNUSABLE = np.uint8(1), np.uint8(2)


@kernel
def _box(affine, first, rows, begin, end, height, width):
    """Samples (rows from, to, columns from, to) about the places of some output rows and columns of several sites."""
    low_y = low_x = np.inf
    high_y = high_x = -np.inf
    for a in affine:
        for i in (first, first + rows - 1):
            for j in (begin, end - 1):
                y = a[0, 0] * i + a[0, 1] * j + a[0, 2]
                x = a[1, 0] * i + a[1, 1] * j + a[1, 2]
                low_y, high_y = min(low_y, y), max(high_y, y)
                low_x, high_x = min(low_x, x), max(high_x, x)
    top, left = max(0, math.floor(low_y) - REACH + 1), max(0, math.floor(low_x) - REACH + 1)
    return (
        top,
        max(top, min(height, math.floor(high_y) + REACH + 1)),
        left,
        max(left, min(width, math.floor(high_x) + REACH + 1)),
    )


@kernel(apart=True)
def _take_apart(row, n, even, odd):
    for j in range(n):
        even[j] = row[2 * j]
        odd[j] = row[2 * j + 1]


@kernel(apart=True)
def _take_apart_turned(row, n, even, odd):
    for j in range(n):
        even[n - 1 - j] = row[2 * j]
        odd[n - 1 - j] = row[2 * j + 1]


@kernel(apart=True)
def _put(even, n, factor, term, row):
    for j in range(n):
        row[j] = factor * even[j] + term


@kernel(apart=True)
def _put_together(even, odd, n, factors, terms, row):
    a, b, c, d = factors[0], factors[1], terms[0], terms[1]
    for j in range(n):
        row[2 * j] = a * even[j] + c
        row[2 * j + 1] = b * odd[j] + d


@kernel(apart=True)
def _plain(values, flags):
    """Whether all of a row's values are finite and none has a flag."""
    odd = np.uint16(0)
    for j in range(values.size):
        odd |= flags[j] | np.uint16(not (np.abs(values[j]) < np.float32(np.inf)))
    return odd == 0


@kernel
def _split(values, y0, x0, py, rows, columns, turned, planes):
    """Copy a part of the planes that share rows of the mosaic out of it, from its row *y0* and column *x0* on.

    *turned*: by half a turn, the last sample of the last row first.
    """
    px = planes.shape[0]
    width = values.shape[1]
    for i in range(rows):
        row = values[y0 + i * py, x0 : min(width, x0 + columns * px)]
        to = rows - 1 - i if turned else i
        pairs = row.size // px
        start = columns - pairs if turned else 0
        if px == 1 and turned:
            planes[0, to, :pairs] = row[::-1]
        elif px == 1:
            planes[0, to, :pairs] = row
        elif turned:
            _take_apart_turned(row, pairs, planes[0, to, start:], planes[1, to, start:])
        else:
            _take_apart(row, pairs, planes[0, to], planes[1, to])
        if row.size % px == 1:
            planes[0, to, 0 if turned else pairs] = row[row.size - 1]


@kernel
def _mark(signal, flags, y0, x0, py, px, rows, columns, turned, dirty):
    """Mark where a footprint in a part of the mosaic meets what is no good measurement; returns whether any does.

    The part is *turned* as by `_split`; ``dirty[x, i, j]`` is for footprints of plane *x* from row i − 2 to i + 3 of the
    part: `_UNUSABLE` with a sample among them that is not to be used, `_TOLD` where one of the four in the middle has a
    flag and can be used all the same.
    """
    end = min(signal.shape[1], x0 + columns * px)
    found = False
    for i in range(rows):
        values, marks = signal[y0 + i * py, x0:end], flags[y0 + i * py, x0:end]
        if _plain(values, marks):
            continue
        if not found:
            dirty[:, :rows, :columns] = 0
            found = True
        for q in range(values.size):
            finite = math.isfinite(values[q])
            if marks[q] != 0 or not finite:
                x, j = q % px, columns - 1 - q // px if turned else q // px
                good = finite and is_usable(marks[q])
                far, mark = (1, _TOLD) if good else (REACH, _UNUSABLE)
                own = rows - 1 - i if turned else i
                for di in range(max(0, own - far), min(rows, own + far)):
                    for dj in range(max(0, j - far), min(columns, j + far)):
                        dirty[x, di, dj] |= mark
    return found


@kernel(fastmath={"contract", "nsz"}, apart=True)
def _weights_of(part, step, n, coefficients, weight):
    """Weights (sample, place) of the six samples about *n* places that lie at *part*, *part* + *step* … of a pixel.

    They are polynomials of this fraction; those of a sample and of its mirror image share their even powers, and have the
    odd ones with opposite signs.
    """
    begin, by = np.float32(part - 0.5), np.float32(step)
    for k in range(3):
        e0, e2, e4 = coefficients[k, 0], coefficients[k, 1], coefficients[k, 2]
        e6, e8, o1 = coefficients[k, 3], coefficients[k, 4], coefficients[k, 5]
        o3, o5, o7 = coefficients[k, 6], coefficients[k, 7], coefficients[k, 8]
        for q in range(n):
            u = begin + by * np.float32(q)
            v = u * u
            even = e0 + v * (e2 + v * (e4 + v * (e6 + v * e8)))
            odd = u * (o1 + v * (o3 + v * (o5 + v * o7)))
            weight[k, q] = even + odd
            weight[5 - k, q] = even - odd


@kernel(inline="always")
def _along(a, b, c, d, e, f, row, q):
    """Six samples of a row, from column *q* on, times their weights."""
    return a * row[q] + b * row[q + 1] + c * row[q + 2] + d * row[q + 3] + e * row[q + 4] + f * row[q + 5]


@kernel(fastmath={"contract", "nsz"}, apart=True)
def _run(planes, spreads, plane, top, left, n, wy, wx, values, variances, at):
    """Value and variance at *n* places side by side, whose samples begin at (top, left), (top, left + 1) … of a plane.

    They go to the plane's row of *values* and *variances*, from *at* on. All six rows are added at once, so that the
    weights along a row are read once and nothing is put down in between.
    """
    signal, variance = planes[plane], spreads[plane]
    value, spread = values[plane, at : at + n], variances[plane, at : at + n]
    end = left + n + 2 * REACH - 1
    s, t, u = signal[top, left:end], signal[top + 1, left:end], signal[top + 2, left:end]
    v, w, x = signal[top + 3, left:end], signal[top + 4, left:end], signal[top + 5, left:end]
    for q in range(n):
        a, b, c, d, e, f = wx[0, q], wx[1, q], wx[2, q], wx[3, q], wx[4, q], wx[5, q]
        upper = wy[0, q] * _along(a, b, c, d, e, f, s, q) + wy[1, q] * _along(a, b, c, d, e, f, t, q)
        upper += wy[2, q] * _along(a, b, c, d, e, f, u, q)
        lower = wy[3, q] * _along(a, b, c, d, e, f, v, q) + wy[4, q] * _along(a, b, c, d, e, f, w, q)
        lower += wy[5, q] * _along(a, b, c, d, e, f, x, q)
        value[q] = upper + lower
    s, t, u = variance[top, left:end], variance[top + 1, left:end], variance[top + 2, left:end]
    v, w, x = variance[top + 3, left:end], variance[top + 4, left:end], variance[top + 5, left:end]
    for q in range(n):
        a, b, c, d, e, f = wx[0, q], wx[1, q], wx[2, q], wx[3, q], wx[4, q], wx[5, q]
        a, b, c, d, e, f = a * a, b * b, c * c, d * d, e * e, f * f
        g, h, i, j, k, m = wy[0, q], wy[1, q], wy[2, q], wy[3, q], wy[4, q], wy[5, q]
        g, h, i, j, k, m = g * g, h * h, i * i, j * j, k * k, m * m
        upper = g * _along(a, b, c, d, e, f, s, q) + h * _along(a, b, c, d, e, f, t, q)
        upper += i * _along(a, b, c, d, e, f, u, q)
        lower = j * _along(a, b, c, d, e, f, v, q) + k * _along(a, b, c, d, e, f, w, q)
        lower += m * _along(a, b, c, d, e, f, x, q)
        spread[q] = upper + lower


@kernel
def _none(marks, plane, i, j, n):
    """Whether none of *n* places side by side is marked."""
    row = marks[plane, i, j : j + n]
    found = np.uint8(0)
    for q in range(n):
        found |= row[q]
    return found == 0


@kernel
def _run_length(part, step, most):
    """How many places from *part* on, each *step* further, lie between 0 and 1; at least one, *most* at most."""
    if step > 0.0:
        return max(1, min(most, int((1.0 - part) / step)))
    if step < 0.0:
        return max(1, min(most, int(part / -step)))
    return most


@kernel
def _places_alike(ix, n, lowest, highest):
    """How many of *n* places from column *ix* on are alike in that they lie from *lowest* to *highest*, or that none does."""
    if ix < lowest:
        return min(n, lowest - ix)
    return min(n, highest + 1 - ix) if ix <= highest else n


@kernel
def _range_within(length, turned):
    """Places (lowest, highest) whose samples lie within a row or column of so many; for a *turned* frame they are negative."""
    return (REACH - length, -REACH) if turned else (REACH - 1, length - 1 - REACH)


@kernel
def _one_by_one(signal, variance, flags, mark, iy, ix, wy, wx, turned):
    """Value, variance and flags at a place with a mark; of one that is `_TOLD`, only the flags."""
    if turned:  # back to the frame's own rows and columns
        iy, ix, wy, wx = -iy - 1, -ix - 1, wy[::-1], wx[::-1]
    if mark == _TOLD:
        return math.nan, math.nan, flags_of_middle(flags, iy, ix, wy, wx, REACH)
    if -1 <= iy < signal.shape[0] and -1 <= ix < signal.shape[1]:
        return careful(signal, variance, flags, iy, ix, wy, wx, REACH)
    return math.nan, math.nan, NOTHING


@kernel
def _resample_tile(
    signal, variance, flags, dy, affine, coefficients, first, rows, begin, end, factor, term,
    out, out_variance, out_flags, planes, spreads, dirty,
):  # fmt: skip
    """`resample_mosaic` for the output rows dy, dy + py, … and the columns *begin* to *end* of their planes."""
    py, px = affine.shape[:2]
    height, widest = len(range(dy, signal.shape[0], py)), len(range(0, signal.shape[1], px))
    top, bottom, left, right = _box(affine[dy], first, rows, begin, end, height, widest)
    # A frame that is turned by more than a quarter is looked at upside down: its places and samples, with their signs
    # changed, follow each other in the same direction as the output's.
    turned = affine[dy, 0, 1, 1] < 0.0
    sign = -1.0 if turned else 1.0
    part = (bottom - top, right - left, turned)
    origin_y, origin_x = (1 - bottom, 1 - right) if turned else (top, left)
    _split(signal, dy + top * py, left * px, py, *part, planes)
    _split(variance, dy + top * py, left * px, py, *part, spreads)
    marked = _mark(signal, flags, dy + top * py, left * px, py, px, *part, dirty)
    wy, wx = np.empty((6, _RUN), np.float32), np.empty((6, _RUN), np.float32)
    value, spread = np.empty((px, TILE + VECTOR), np.float32), np.empty((px, TILE + VECTOR), np.float32)
    factor2, nothing = factor * factor, np.zeros(2, np.float32)
    first_x, last_x = begin * px, min(out.shape[1], end * px)
    lowest_y, highest_y = _range_within(height, turned)
    for i in range(rows):
        to_y = dy + i * py
        out_flags[to_y, first_x:last_x] = 0
        for dx in range(px):
            a = sign * affine[dy, dx]
            base_y, base_x = a[0, 0] * (first + i) + a[0, 2], a[1, 0] * (first + i) + a[1, 2]
            step_y, step_x = a[0, 1], a[1, 1] - 1.0
            lowest_x, highest_x = _range_within(len(range(dx, signal.shape[1], px)), turned)
            last = min(end, len(range(dx, out.shape[1], px)))
            j = begin
            while j < last:
                y, x = base_y + a[0, 1] * j, base_x + a[1, 1] * j
                floor_y, floor_x = math.floor(y), math.floor(x)
                part_y, part_x = y - floor_y, x - floor_x
                iy, ix = int(floor_y), int(floor_x)
                n = _run_length(part_y, step_y, min(_RUN, last - j))
                n = _places_alike(ix, _run_length(part_x, step_x, n), lowest_x, highest_x)
                # whole vectors: what lies beyond the run is worked out and not used
                full = (n + VECTOR - 1) // VECTOR * VECTOR
                _weights_of(part_y, step_y, full, coefficients, wy)
                _weights_of(part_x, step_x, full, coefficients, wx)
                inside = lowest_y <= iy <= highest_y and lowest_x <= ix <= highest_x
                at, of_y, of_x = j - begin, iy - origin_y, ix - origin_x
                if inside:
                    _run(planes, spreads, dx, of_y - 2, of_x - 2, full, wy, wx, value, spread, at)
                if not inside or (marked and not _none(dirty, dx, of_y, of_x, n)):
                    for q in range(n):
                        mark = dirty[dx, of_y, of_x + q] if inside else _UNUSABLE
                        if mark == 0:
                            continue
                        best, best_spread, flag = _one_by_one(
                            signal[dy::py, dx::px], variance[dy::py, dx::px], flags[dy::py, dx::px],
                            mark, iy, ix + q, wy[:, q], wx[:, q], turned,
                        )  # fmt: skip
                        if mark != _TOLD:
                            value[dx, at + q], spread[dx, at + q] = best, best_spread
                        out_flags[to_y, dx + (j + q) * px] = flag
                j += n
        _put_row(value, factor[dy], term[dy], out[to_y, first_x:last_x])
        _put_row(spread, factor2[dy], nothing, out_variance[to_y, first_x:last_x])


@kernel
def _put_row(values, factor, term, row):
    """A row of the mosaic from the rows of its planes, each times its factor and with its term."""
    if values.shape[0] == 2:
        n = row.size // 2
        _put_together(values[0], values[1], n, factor, term, row)
        if row.size % 2 == 1:
            row[2 * n] = factor[0] * values[0, n] + term[0]
    else:
        _put(values[0], row.size, factor[0], term[0], row)


@kernel
def resample_mosaic(
    signal, variance, flags, affine, coefficients, first, factor, term,
    out, out_variance, out_flags, planes, spreads, dirty,
):  # fmt: skip
    """Fill rows of the output mosaic, a tile of columns after the other.

    Places that follow each other along a row mostly lie between samples that do so too: such runs are worked on at
    once, and the few places with samples that are missing or not to be used once more, one by one.

    Parameters
    ----------
    signal, variance, flags : arrays of shape (row, column)
        Rows of a mosaic, from a whole cell on.
    affine : float64 array of shape (py, px, 2, 3)
        Place in its plane (row, column) of output row i and column j of each site: ``affine @ (i, j, 1)``. There are one
        or two sites in either direction.
    coefficients : float32 array of shape (3, 9)
        Weights of the first three samples as polynomials of a fraction of a pixel less ½: even powers, then odd ones.
    first : int
        Number of the planes' first output row.
    factor, term : float32 arrays of shape (py, px)
        Every value becomes ``factor * value + term``.
    out, out_variance, out_flags : arrays of shape (row, column)
        Rows of the output mosaic, from a whole cell on.
    planes, spreads, dirty : arrays of shape (px, row, column)
        To work in, with room for the samples of a tile's places, see `room`.
    """
    py, px = affine.shape[:2]
    columns = len(range(0, out.shape[1], px))
    for begin in range(0, columns, TILE):
        for dy in range(min(py, out.shape[0])):
            _resample_tile(
                signal, variance, flags, dy, affine, coefficients, first, len(range(dy, out.shape[0], py)),
                begin, min(begin + TILE, columns), factor, term, out, out_variance, out_flags, planes, spreads, dirty,
            )  # fmt: skip

"""Stars in a mosaic: one colour binned for finding them, and a Gaussian fitted to samples of that colour alone."""

from __future__ import annotations

import math

import numpy as np

from calibkit.kernels._jit import kernel

_ROUNDS = 30
_PARAMETERS = 7


@kernel(apart=True)
def _mean_of_cells(upper, lower, a, b, c, d, out):
    """Mean of the finite samples in cells of 2 × 2 along two rows; *a* to *d* say which of their pixels have the colour."""
    none = np.float32(0.0)
    for j in range(out.size):
        p, q, r, s = upper[2 * j], upper[2 * j + 1], lower[2 * j], lower[2 * j + 1]
        there_p, there_q = a and not math.isnan(p), b and not math.isnan(q)
        there_r, there_s = c and not math.isnan(r), d and not math.isnan(s)
        first = (p if there_p else none) + (q if there_q else none)
        second = (r if there_r else none) + (s if there_s else none)
        count = np.float32(there_p) + np.float32(there_q) + np.float32(there_r) + np.float32(there_s)
        out[j] = (first + second) / count  # NaN of nothing


@kernel
def _bin_pairs(signal, use, out):
    """`bin_colour` for blocks of 2 × 2 and patterns that are no larger, along whole rows."""
    py, px = use.shape
    a, b = use[0, 0], use[0, 1 % px]
    c, d = use[1 % py, 0], use[1 % py, 1 % px]
    for i in range(out.shape[0]):
        _mean_of_cells(signal[2 * i], signal[2 * i + 1], a, b, c, d, out[i])


@kernel
def bin_colour(signal, use, block, out):
    """Mean of the finite samples of one colour in blocks of *block* × *block*; NaN where there is none.

    ``use[i % py, j % px]`` says whether a pixel has the colour.
    """
    py, px = use.shape
    if block == 2 and py <= 2 and px <= 2:
        _bin_pairs(signal, use, out)
        return
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            total = 0.0
            count = 0
            for y in range(i * block, (i + 1) * block):
                for x in range(j * block, (j + 1) * block):
                    if use[y % py, x % px]:
                        value = signal[y, x]
                        if not math.isnan(value):
                            total += value
                            count += 1
            out[i, j] = total / count if count else np.nan


@kernel
def _solve(a, b):
    """Solve a symmetric positive system in place by elimination; whether it could be done."""
    n = b.size
    for k in range(n):
        if not a[k, k] > 1e-300:
            return False
        for i in range(k + 1, n):
            factor = a[i, k] / a[k, k]
            for j in range(k, n):
                a[i, j] -= factor * a[k, j]
            b[i] -= factor * b[k]
    for k in range(n - 1, -1, -1):
        for j in range(k + 1, n):
            b[k] -= a[k, j] * b[j]
        b[k] /= a[k, k]
    return True


@kernel
def _normal(signal, use, y0, y1, x0, x1, p, a, b):
    """Normal equations of the Gaussian *p* (level, peak, x, y and the inverse covariance): squares and samples."""
    py, px = use.shape
    a[:] = 0.0
    b[:] = 0.0
    squares = 0.0
    count = 0
    g = np.empty(_PARAMETERS)
    for y in range(y0, y1):
        for x in range(x0, x1):
            value = signal[y, x]
            if not use[y % py, x % px] or math.isnan(value):
                continue
            dx, dy = x - p[2], y - p[3]
            e = math.exp(-0.5 * (p[4] * dx * dx + 2.0 * p[5] * dx * dy + p[6] * dy * dy))
            f = p[1] * e
            rest = value - p[0] - f
            g[0] = 1.0
            g[1] = e
            g[2] = f * (p[4] * dx + p[5] * dy)
            g[3] = f * (p[6] * dy + p[5] * dx)
            g[4] = -0.5 * f * dx * dx
            g[5] = -f * dx * dy
            g[6] = -0.5 * f * dy * dy
            for i in range(_PARAMETERS):
                b[i] += g[i] * rest
                for j in range(i, _PARAMETERS):
                    a[i, j] += g[i] * g[j]
            squares += rest * rest
            count += 1
    for i in range(_PARAMETERS):
        for j in range(i):
            a[i, j] = a[j, i]
    return squares, count


@kernel
def fit_stars(signal, use, guess, reach, out):
    """Fit an elliptical Gaussian on a level to each star, by Levenberg's and Marquardt's method.

    ``guess`` (star, 5) holds x, y, peak, level and standard deviation in pixels. ``out`` (star, 9) gets x, y, peak,
    level, the larger and the smaller variance along the axes of the ellipse in pixels², the standard error of the
    position, the root mean square of the residuals, and 1 where the fit went well.
    """
    height, width = signal.shape
    a = np.empty((_PARAMETERS, _PARAMETERS))
    b = np.empty(_PARAMETERS)
    work, step, trial = np.empty_like(a), np.empty_like(b), np.empty_like(b)
    other, other_b = np.empty_like(a), np.empty_like(b)
    p = np.empty(_PARAMETERS)
    for s in range(guess.shape[0]):
        out[s] = np.nan
        out[s, 8] = 0.0
        cx, cy = math.floor(guess[s, 0] + 0.5), math.floor(guess[s, 1] + 0.5)
        y0, y1, x0, x1 = cy - reach, cy + reach + 1, cx - reach, cx + reach + 1
        if y0 < 0 or x0 < 0 or y1 > height or x1 > width:
            continue
        missing = 0
        for y in range(y0, y1):
            for x in range(x0, x1):
                missing += math.isnan(signal[y, x])
        if missing:
            continue
        inverse = 1.0 / guess[s, 4] ** 2
        p[0], p[1], p[2], p[3] = guess[s, 3], guess[s, 2], guess[s, 0], guess[s, 1]
        p[4], p[5], p[6] = inverse, 0.0, inverse
        squares, count = _normal(signal, use, y0, y1, x0, x1, p, a, b)
        if count < 2 * _PARAMETERS:
            continue
        damping = 1e-3
        settled = False
        for _ in range(_ROUNDS):
            work[:] = a
            step[:] = b
            for i in range(_PARAMETERS):
                work[i, i] *= 1.0 + damping
            if not _solve(work, step):
                break
            for i in range(_PARAMETERS):
                trial[i] = p[i] + step[i]
            if trial[4] > 0.0 and trial[6] > 0.0 and trial[4] * trial[6] > trial[5] ** 2:
                better, _n = _normal(signal, use, y0, y1, x0, x1, trial, other, other_b)
            else:
                better = np.inf
            if better <= squares:
                settled = abs(step[2]) < 1e-4 and abs(step[3]) < 1e-4 and better > 0.9999 * squares
                p[:] = trial
                a[:] = other
                b[:] = other_b
                squares = better
                damping = max(damping * 0.2, 1e-9)
                if settled:
                    break
            else:
                damping *= 8.0
                if damping > 1e8:
                    break
        if not settled or not p[1] > 0.0 or abs(p[2] - cx) > reach / 2 or abs(p[3] - cy) > reach / 2:
            continue
        det = p[4] * p[6] - p[5] ** 2
        middle, half = 0.5 * (p[4] + p[6]) / det, math.sqrt(0.25 * (p[4] - p[6]) ** 2 + p[5] ** 2) / det
        variance = squares / (count - _PARAMETERS)
        work[:] = a
        step[:] = 0.0
        step[2] = 1.0
        if not _solve(work, step):
            continue
        error = step[2]
        work[:] = a
        step[:] = 0.0
        step[3] = 1.0
        if not _solve(work, step):
            continue
        error = math.sqrt(0.5 * variance * max(error + step[3], 0.0))
        out[s, 0], out[s, 1], out[s, 2], out[s, 3] = p[2], p[3], p[1], p[0]
        out[s, 4], out[s, 5], out[s, 6], out[s, 7] = middle + half, middle - half, error, math.sqrt(variance)
        out[s, 8] = 1.0

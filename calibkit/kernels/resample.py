"""One plane of a frame on the grid of another, with variance and flags carried along.

A *plane* is one site of the colour pattern, or a whole frame without one. The grid is given by an affine map from
output row and column to a place in the plane, and the interpolation by a table of weights for every fraction of a pixel.
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


@kernel
def split_plane(signal, variance, flags, y0, x0, py, px, out, out_variance, out_flags, reach, dirty):
    """Copy one plane out of a mosaic and mark where a footprint of 2 *reach* samples meets a flag or no number.

    ``dirty[i, j]`` is for footprints that reach from row i − reach + 1 to i + reach. Returns how many samples are not
    plain.
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
                if out_flags[i, j] != 0 or not math.isfinite(out[i, j]):
                    for di in range(max(0, i - reach), min(rows, i + reach)):
                        for dj in range(max(0, j - reach), min(columns, j + reach)):
                            dirty[di, dj] = 1
    return found


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
            usable = (own & _BAD) == 0 or ((own & _REPAIRED) != 0 and (own & _NO_DATA) == 0)
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


@kernel(fastmath={"contract", "reassoc", "nsz"})
def _plain_6(signal, variance, i, j, wy, wx, wy2, wx2):
    """Value and variance from the 6 × 6 samples whose first is at (i, j)."""
    value = np.float32(0.0)
    spread = np.float32(0.0)
    for k in range(6):
        line = np.float32(0.0)
        line_spread = np.float32(0.0)
        for m in range(6):
            line += wx[m] * signal[i + k, j + m]
            line_spread += wx2[m] * variance[i + k, j + m]
        value += wy[k] * line
        spread += wy2[k] * line_spread
    return value, spread


@kernel(fastmath={"contract", "reassoc", "nsz"})
def _plain(signal, variance, i, j, wy, wx, wy2, wx2):
    """The same for any number of samples."""
    value = np.float32(0.0)
    spread = np.float32(0.0)
    for k in range(wy.size):
        line = np.float32(0.0)
        line_spread = np.float32(0.0)
        for m in range(wx.size):
            line += wx[m] * signal[i + k, j + m]
            line_spread += wx2[m] * variance[i + k, j + m]
        value += wy[k] * line
        spread += wy2[k] * line_spread
    return value, spread


@kernel
def resample_plane(
    signal, variance, flags, dirty, table, table2, affine, first, factor, term,
    out, out_variance, out_flags, y0, x0, py, px, rows, columns,
):  # fmt: skip
    """Fill one site of the output mosaic: rows y0, y0 + py, … of *out*, columns x0, x0 + px, …

    Parameters
    ----------
    signal, variance, flags, dirty : arrays of shape (row, column)
        A plane from `split_plane`.
    table, table2 : float32 arrays of shape (phase, sample)
        Weights of the samples for each fraction of a pixel, and their squares.
    affine : float64 array of shape (2, 3)
        Place in the plane (row, column) of output row i and column j: ``affine @ (i, j, 1)``.
    first : int
        Number of the first output row of this band.
    factor, term : float
        Every value becomes ``factor * value + term``.
    rows, columns : int
        Size of the output plane in this band.
    """
    reach = table.shape[1] // 2
    phases = table.shape[0] - 1
    height, width = signal.shape
    factor2 = factor * factor
    for i in range(rows):
        base_y = affine[0, 0] * (first + i) + affine[0, 2]
        base_x = affine[1, 0] * (first + i) + affine[1, 2]
        for j in range(columns):
            y = base_y + affine[0, 1] * j
            x = base_x + affine[1, 1] * j
            fy, fx = math.floor(y), math.floor(x)
            iy, ix = int(fy), int(fx)
            ky, kx = int((y - fy) * phases + 0.5), int((x - fx) * phases + 0.5)
            top, left = iy - reach + 1, ix - reach + 1
            inside = top >= 0 and left >= 0 and iy + reach < height and ix + reach < width
            if inside and dirty[iy, ix] == 0:
                if reach == 3:
                    value, spread = _plain_6(
                        signal, variance, top, left, table[ky], table[kx], table2[ky], table2[kx]
                    )
                else:
                    value, spread = _plain(
                        signal, variance, top, left, table[ky], table[kx], table2[ky], table2[kx]
                    )
                flag = np.uint16(0)
                out[y0 + i * py, x0 + j * px] = factor * value + term
                out_variance[y0 + i * py, x0 + j * px] = factor2 * spread
                out_flags[y0 + i * py, x0 + j * px] = flag
            else:
                careful, careful_spread, flag = math.nan, math.nan, _NO_DATA
                if -1 <= iy < height and -1 <= ix < width:
                    careful, careful_spread, flag = _careful(
                        signal, variance, flags, iy, ix, table[ky], table[kx], reach
                    )
                out[y0 + i * py, x0 + j * px] = factor * careful + term
                out_variance[y0 + i * py, x0 + j * px] = factor2 * careful_spread
                out_flags[y0 + i * py, x0 + j * px] = flag

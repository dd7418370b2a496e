"""Rejection about the line through the sorted samples. The arrays are those of `calibkit.kernels.rejection`."""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel
from calibkit.kernels.rejection import sort_column
from calibkit.kernels.tiles import load_windows, pixels_above, tile_width


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
def sort_out(s, p, count, first, last, residual, low, high, keep, column, verdict):
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
    scattered = 0
    for j in range(n_low):
        scattered += verdict[j] != -1
    for j in range(k - n_high, k):
        scattered += verdict[j] != 1
    if scattered > 0:  # otherwise they are at the ends already
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
    sort_column(s, p, 0, first + n_low)  # earlier rounds may have taken samples from further in
    sort_column(s, p, last - n_high, count)
    return first + n_low, last - n_high


@kernel
def reject_line(s, size, count, mean, scatter, first, last, low, high, iterations, keep):
    """Clipping about the line through the sorted samples, in mean absolute residuals.

    A sample in the middle can be rejected while its neighbours stay. The column is then put in the order
    rejected low, kept, rejected high, each sorted, so that the window still holds what is kept.
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
    at = np.empty(wide, np.uint32)
    values = np.empty(wide, s.dtype)
    centre = np.empty(wide)
    column = np.empty(n, s.dtype)
    verdict = np.empty(n, np.int8)
    pending = np.empty(size, np.int32)
    waiting = pixels_above(count, size, max(keep, 2), pending)
    for _ in range(iterations):
        following = 0
        for start in range(0, waiting, wide):
            columns = min(wide, waiting - start)
            these = pending[start : start + columns]
            load_windows(s, these, columns, first, last, centre, number, at, values, tile)
            line_tile(tile, columns, number, slope, height, residual, lowest, highest)
            for c in range(columns):
                below = np.float32(low) * residual[c]
                above = np.float32(high) * residual[c]
                if -lowest[c] > below or highest[c] > above:
                    p = these[c]
                    a, b = sort_out(
                        s, p, count[p], first[p], last[p], tile[:, c], below, above, keep, column, verdict
                    )
                    first[p] = a
                    last[p] = b
                    if b - a > max(keep, 2):
                        pending[following] = p
                        following += 1
        waiting = following
        if waiting == 0:
            break

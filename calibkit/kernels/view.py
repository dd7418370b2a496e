"""Blocks of pixels to single values, one plane per colour: what a large frame is shown by."""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel

#: In a cell of planes: this pixel belongs to none of them.
SKIP = 255


@kernel
def reduce_blocks(values, cell, x0, x1, top, left, block_y, block_x, largest, out, counts):
    """Reduce columns x0 to x1 of *values* to blocks, apart for every plane that *cell* names.

    ``values`` is (rows, columns), C-contiguous. Its first row lies *top* rows into the first block, and
    column x0 lies *left* columns into it. ``cell[i % py, j % px]`` is the plane of pixel [i, x0 + j].
    ``out`` and ``counts`` are (planes, rows of blocks, columns of blocks): the mean, or the largest value,
    of the pixels that are not NaN, and how many they are.
    """
    planes, nby, nbx = out.shape
    rows = values.shape[0]
    py, px = cell.shape
    total = np.empty((planes, nbx), np.float64)
    number = np.empty((planes, nbx), np.int32)
    for j in range(nby):
        total[:] = -np.inf if largest else 0.0
        number[:] = 0
        for i in range(max(0, j * block_y - top), min(rows, (j + 1) * block_y - top)):
            kinds = cell[i % py]
            for b in range(nbx):
                start = max(x0, x0 + b * block_x - left)
                stop = min(x1, x0 + (b + 1) * block_x - left)
                phase = (start - x0) % px
                for x in range(start, stop):
                    plane = kinds[phase]
                    phase += 1
                    if phase == px:
                        phase = 0
                    value = values[i, x]
                    if plane != SKIP and value == value:  # noqa: PLR0124 (NaN is not itself)
                        number[plane, b] += 1
                        if largest:
                            total[plane, b] = max(total[plane, b], value)
                        else:
                            total[plane, b] += value
        for p in range(planes):
            for b in range(nbx):
                counts[p, j, b] = number[p, b]
                if number[p, b] == 0:
                    out[p, j, b] = np.nan
                else:
                    out[p, j, b] = total[p, b] if largest else total[p, b] / number[p, b]


@kernel
def merge_blocks(means, weights, plane_of, top, left, factor_y, factor_x, largest, out):
    """Reduce blocks to larger blocks: ``means`` and ``weights`` are (sites, rows, columns).

    ``plane_of[site]`` is the plane of ``out`` that a site goes to, or `SKIP`. The other arguments are
    those of `reduce_blocks`, counted in small blocks.
    """
    sites, rows, columns = means.shape
    planes, nby, nbx = out.shape
    total = np.empty((planes, nbx), np.float64)
    number = np.empty((planes, nbx), np.float64)
    for j in range(nby):
        total[:] = -np.inf if largest else 0.0
        number[:] = 0.0
        for i in range(max(0, j * factor_y - top), min(rows, (j + 1) * factor_y - top)):
            for site in range(sites):
                plane = plane_of[site]
                if plane == SKIP:
                    continue
                for b in range(nbx):
                    for x in range(max(0, b * factor_x - left), min(columns, (b + 1) * factor_x - left)):
                        weight = weights[site, i, x]
                        if weight > 0:
                            number[plane, b] += weight
                            if largest:
                                total[plane, b] = max(total[plane, b], means[site, i, x])
                            else:
                                total[plane, b] += weight * means[site, i, x]
        for p in range(planes):
            for b in range(nbx):
                if number[p, b] == 0:
                    out[p, j, b] = np.nan
                else:
                    out[p, j, b] = total[p, b] if largest else total[p, b] / number[p, b]

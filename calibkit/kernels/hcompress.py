"""A walk along an HCOMPRESS-compressed image, as far as it goes.

After R. White's format, FITS standard 4.0, section 10.4.4: the differences of the transformed image are in four
quadrants, each in planes of bits from the highest to the lowest; a plane is written as it is, or as a quadtree of codes of
which those that are zero have no branches. The signs of what is not zero follow at the end.
"""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel

#: Bytes before the planes: magic number, sizes, scale, sum of all pixels, numbers of planes.
HEAD = 25
_MOST_PLANES = 63


@kernel
def _bits(data, at, count):
    """The next *count* bits as a number; bits behind the end are 0."""
    value = 0
    for i in range(at, at + count):
        bit = (np.int64(data[i >> 3]) >> (7 - (i & 7))) & 1 if i >> 3 < data.size else 0
        value = 2 * value + bit
    return value


@kernel
def _code(data, at):
    """A code of 4 bits, written in 3 to 6 of them, and where the next begins."""
    first = _bits(data, at, 3)
    if first < 4:
        return 1 << first, at + 3
    short = _bits(data, at, 4)
    if short < 13:
        return (3, 5, 10, 12, 15)[short - 8], at + 4
    longer = _bits(data, at, 5)
    if longer < 31:
        return (6, 7, 9, 11, 13)[longer - 26], at + 5
    return (0, 14)[_bits(data, at, 6) & 1], at + 6


@kernel
def _tree(data, at, rows, columns, codes, spread):
    """Read a quadtree down to the codes of 2 × 2 pixels each; they are in *codes* then. Returns where it ends."""
    levels = 0
    while (1 << levels) < max(rows, columns):
        levels += 1
    codes[0], at = _code(data, at)
    height = width = 1
    for level in range(levels - 1, 0, -1):
        above = width
        height, width = -(-rows >> level), -(-columns >> level)  # upwards
        for y in range(height):
            for x in range(width):
                spread[y * width + x] = (
                    codes[(y >> 1) * above + (x >> 1)] >> (3 - 2 * (y & 1) - (x & 1))
                ) & 1
        for i in range(height * width - 1, -1, -1):
            if spread[i] and at <= 8 * data.size:
                codes[i], at = _code(data, at)
            else:
                codes[i] = 0
    return at


@kernel
def hcompress_is_whole(data, rows, columns):
    """Whether *data* (bytes) holds an image of this size, with all its planes and signs; its numbers are not decoded."""
    if data.size <= HEAD or data[0] != 0xDD or data[1] != 0x99:
        return False
    if _bits(data, 16, 32) != rows or _bits(data, 48, 32) != columns or max(data[22:25]) > _MOST_PLANES:
        return False
    half_rows, half_columns = (rows + 1) // 2, (columns + 1) // 2
    size = ((half_rows + 1) // 2) * ((half_columns + 1) // 2)
    codes, spread = np.empty(size, np.uint8), np.empty(size, np.uint8)
    seen = np.empty(size, np.uint8)
    at = 8 * HEAD
    end = 8 * data.size
    signs = 0
    for quadrant in range(4):
        height = half_rows if quadrant < 2 else rows // 2
        width = half_columns if quadrant % 2 == 0 else columns // 2
        across = (width + 1) // 2
        cells = (height + 1) // 2 * across
        seen[:] = 0
        for _ in range(data[22 + (quadrant + 1) // 2]):
            how = _bits(data, at, 4)
            at += 4
            if how == 15:
                at = _tree(data, at, height, width, codes, spread)
            elif how == 0:
                for i in range(cells):
                    codes[i] = _bits(data, at + 4 * i, 4)
                at += 4 * cells
            else:
                return False
            if at > end:
                return False
            for i in range(cells):
                seen[i] |= codes[i]
        for i in range(cells):
            last_row = 2 * (i // across) + 1 >= height
            last_column = 2 * (i % across) + 1 >= width
            inside = 15
            if last_row:
                inside &= 12
            if last_column:
                inside &= 10
            found = np.int64(seen[i]) & inside
            signs += (found & 1) + (found >> 1 & 1) + (found >> 2 & 1) + (found >> 3)
    if _bits(data, at, 4) != 0:
        return False
    at = (at + 4 + 7) // 8 * 8  # signs begin with a byte
    return at + signs <= end

"""Which pixels around a pixel carry its own channel: for any pattern, nearest ring first."""

from __future__ import annotations

import numpy as np


def neighbour_taps(cell: np.ndarray, reaches: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Offsets of the neighbours of the same channel in growing squares.

    Parameters
    ----------
    cell : numpy.ndarray
        uint8 of shape (py, px), as `calibkit.cfa.channel_index` gives it.
    reaches : tuple of int
        Half sides of the squares in steps: one pixel in a mono frame, two in a 2 × 2 pattern, and likewise
        two in larger cells, where the nearest pixels of a colour lie at uneven distances.

    Returns
    -------
    taps : numpy.ndarray
        int64 of shape (py, px, n, 2): offsets (dy, dx), ring by ring; unused places are (0, 0).
    rings : numpy.ndarray
        int64 of shape (py, px, rings): how many taps the first r + 1 rings hold.

    Notes
    -----
    In a 2 × 2 cell every site is a channel, so that all pixels have the same offsets, and one entry stands
    for all four.
    """
    if len(np.unique(cell)) == cell.size:
        (sy, sx), cell = cell.shape, np.zeros((1, 1), np.uint8)
        grid = [(dy * sy, dx * sx, max(abs(dy), abs(dx))) for dy, dx in _square(max(reaches))]
    else:
        grid = [(dy, dx, -(-max(abs(dy), abs(dx)) // 2)) for dy, dx in _square(2 * max(reaches))]
    py, px = cell.shape
    found: dict[tuple[int, int], list[list[tuple[int, int]]]] = {}
    for a, b in np.ndindex(py, px):
        same = [
            (distance, dy * dy + dx * dx, dy, dx)
            for dy, dx, distance in grid
            if (dy or dx) and cell[(a + dy) % py, (b + dx) % px] == cell[a, b]
        ]
        same.sort()
        found[a, b] = [
            [(dy, dx) for d, _, dy, dx in same if lower < d <= reach] for lower, reach in _pairs(reaches)
        ]
    most = max(sum(map(len, lists)) for lists in found.values())
    taps = np.zeros((py, px, most + 1, 2), np.int64)
    rings = np.zeros((py, px, len(reaches)), np.int64)
    for (a, b), lists in found.items():
        rings[a, b] = np.cumsum([len(ring) for ring in lists])
        offsets = [offset for ring in lists for offset in ring]
        if offsets:
            taps[a, b, : len(offsets)] = offsets
    return taps, rings


def _square(reach: int) -> list[tuple[int, int]]:
    side = range(-reach, reach + 1)
    return [(dy, dx) for dy in side for dx in side]


def _pairs(reaches: tuple[int, ...]) -> list[tuple[int, int]]:
    return list(zip((0, *reaches), reaches, strict=False))


def reach_of(taps: np.ndarray) -> int:
    """Rows and columns that the farthest tap looks away."""
    return int(np.abs(taps).max(initial=0))

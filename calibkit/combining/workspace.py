"""The arrays that a thread combines in: how many pixels at a time, so that they stay in the processor's caches."""

from __future__ import annotations

import numpy as np

from calibkit.combining.plan import Plan
from calibkit.memory import CACHE_LINE, aligned_empty

#: Bytes of samples in a chunk: a part of the second-level cache.
CHUNK_BYTES = 1024 * 1024
#: Bytes of samples that are sorted at a time: a part of the first-level cache.
BLOCK_BYTES = 24 * 1024


class Workspace:
    """The arrays that one thread works in, used again for every chunk."""

    def __init__(self, plan: Plan, dtype: np.dtype, width: int) -> None:
        from calibkit.kernels.sorting import network

        n, size = plan.n_frames, dtype.itemsize
        chunk = max(256, min(CHUNK_BYTES // (n * size), 32768) // 64 * 64)
        #: The averaged sigma wants whole rows, or equal parts of them.
        self.by_row = plan.rejection.name == "averaged_sigma"
        if self.by_row:
            parts = max(1, min(round(width / chunk), width // 512))
            chunk = -(-width // parts)
        # An odd number of cache lines per row keeps the rows out of each other's way in the cache.
        self.chunk = chunk
        line = CACHE_LINE // size
        self.row = (-(-chunk // line) | 1) * line
        block = max(line, min(BLOCK_BYTES // (n * size), 1024) // line * line)
        self.dtype = dtype
        self.x = aligned_empty((n, self.row), dtype)
        self.s = aligned_empty((n, self.row), dtype)
        sums = np.float64 if dtype == np.float64 else np.float32
        self.block = (
            aligned_empty((n, block), dtype),
            aligned_empty(block, sums),
            aligned_empty(block, sums),
        )
        self.state = np.empty((n, self.row), np.uint8)
        self.steps = network(n)
        self.middle_steps = network(n, ((n - 1) // 2, n // 2))
        # enough to keep a single outlier out of the middle, where the sums have their zero
        three = np.array([0, n // 2, n - 1], np.int32)
        self.few_steps = three[network(3)] if n > 2 else network(n)
        self.count, self.first, self.last, self.pixel, self.flagged = (
            aligned_empty(chunk, np.int32) for _ in range(5)
        )
        self.mean, self.scatter, self.value, self.work = (aligned_empty(chunk, np.float64) for _ in range(4))
        self.marks = np.empty(chunk, np.bool_)
        self.unwanted = np.empty(chunk, np.uint16)

    def chunks(self, rows: int, width: int) -> list[tuple[int, int]]:
        """(offset, size) of the chunks of a band."""
        if self.by_row:
            return [
                (y * width + x, min(self.chunk, width - x))
                for y in range(rows)
                for x in range(0, width, self.chunk)
            ]
        total = rows * width
        return [(start, min(self.chunk, total - start)) for start in range(0, total, self.chunk)]

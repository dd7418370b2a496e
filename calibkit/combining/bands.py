"""Combining one band of rows, in chunks of pixels that fit the processor's cache."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from calibkit import flags as fl
from calibkit.combining.plan import Plan
from calibkit.combining.reading import Band

#: Bytes of samples in a chunk: a part of the second-level cache.
CHUNK_BYTES = 512 * 1024
#: Bytes of samples that are sorted at a time: a part of the first-level cache.
BLOCK_BYTES = 16 * 1024

#: Output name → type, one value per pixel.
OUTPUTS = {
    "signal": np.float32,
    "variance": np.float32,
    "flags": np.uint16,
    "n_kept": np.uint16,
    "rejected_low": np.uint16,
    "rejected_high": np.uint16,
}


class Workspace:
    """The arrays that one thread works in, used again for every chunk."""

    def __init__(self, plan: Plan) -> None:
        from calibkit.kernels.sorting import network

        n, size = plan.n_frames, plan.dtype.itemsize
        self.chunk = max(256, min(CHUNK_BYTES // (n * size), 16384) // 64 * 64)
        block = max(16, min(BLOCK_BYTES // (n * size), 512) // 16 * 16)
        self.x = np.empty((n, self.chunk), plan.dtype)
        self.state = np.empty((n, self.chunk), np.uint8)
        self.scratch = np.empty((n, block), plan.dtype)
        self.counts = np.empty(block, np.int64)
        self.steps = network(n)
        self.mean = np.empty(self.chunk)
        self.scatter = np.empty(self.chunk)
        self.median = np.empty(self.chunk)


def combine_band(
    band: Band,
    plan: Plan,
    out: dict[str, np.ndarray],
    stopped: Callable[[], bool],
    work: Workspace | None = None,
) -> np.ndarray:
    """Combine *band* into the arrays *out* (rows, x).

    Returns
    -------
    numpy.ndarray
        Shape (frame, 3): samples rejected low, rejected high and missing in each frame.
    """
    from calibkit.kernels import rejection, stacking

    work = work or Workspace(plan)
    n = plan.n_frames
    values = band.values.reshape(n, -1)
    flat = {name: array.reshape(-1) for name, array in out.items()}
    frames = np.zeros((n, 3), np.int64)
    for start in range(0, values.shape[1], work.chunk):
        if stopped():
            break
        part = slice(start, min(start + work.chunk, values.shape[1]))
        size = part.stop - part.start
        x, state = work.x[:, :size], work.state[:, :size]
        mean, scatter, median = work.mean[:size], work.scatter[:size], work.median[:size]
        kept, low, high = (flat[name][part] for name in ("n_kept", "rejected_low", "rejected_high"))
        stacking.load(values[:, part], x, state)
        if band.flags is not None:
            flags = band.flags.reshape(n, -1)[:, part]
            stacking.drop_flagged(flags, fl.BAD, fl.REPAIRED, fl.NO_DATA, x, state)
        if plan.reject.kernel:
            reject = getattr(rejection, plan.reject.kernel)
            reject(
                x,
                state,
                work.steps,
                work.scratch,
                work.counts,
                plan.low,
                plan.high,
                plan.iterations,
                plan.keep,
            )
        stacking.count_states(state, kept, low, high, frames)
        stacking.mean_and_scatter(x, state, kept, mean, scatter)
        signal = mean
        if plan.method == "median":
            rejection.median_of_kept(x, state, work.steps, work.scratch, work.counts, median)
            signal = median
        flat["signal"][part] = signal
        flat["variance"][part] = (
            scatter / np.maximum(kept, 1) * (np.pi / 2 if plan.method == "median" else 1.0)
        )
        if not kept.all():
            flat["flags"][part][kept == 0] = fl.NO_DATA
    return frames

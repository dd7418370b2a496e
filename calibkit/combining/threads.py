"""Bands of rows over threads: reading, combining and writing overlap, and a cancel stops at a chunk."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import numpy as np

from calibkit.combining.bands import OUTPUTS, BandCombiner
from calibkit.combining.plan import Plan
from calibkit.combining.reading import StackReader
from calibkit.memory import band_rows, worker_count
from calibkit.progress import Progress

#: The main thread looks up this often, so that Ctrl-C and a cancel are heard at once.
POLL_SECONDS = 0.1


def run_bands(
    reader: StackReader, plan: Plan, progress: Progress
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Combine every band of *reader*.

    Returns
    -------
    outputs : dict
        The arrays of `OUTPUTS`, shape (y, x).
    frames : numpy.ndarray
        Shape (frame, 3): samples rejected low, rejected high and missing in each frame.
    """
    n, height, width = reader.shape
    workers = worker_count()
    sample = reader.dtype.itemsize + (2 if reader.has_flags else 0) + (4 if reader.has_variance else 0)
    rows = band_rows(height, width, bytes_per_pixel=sample * n * workers)
    outputs = {name: np.zeros((height, width), dtype) for name, dtype in OUTPUTS.items()}
    starts = range(0, height, rows)
    stop = threading.Event()
    local = threading.local()

    def work(y0: int) -> np.ndarray:
        if stop.is_set():
            return np.zeros((n, 3), np.int64)
        if not hasattr(local, "combiner"):
            local.combiner = BandCombiner(plan, reader.dtype, width, flagged=reader.has_flags)
        y1 = min(y0 + rows, height)
        out = {name: array[y0:y1] for name, array in outputs.items()}
        return local.combiner.combine(reader.read(y0, y1), y0, out, stop.is_set)

    frames = np.zeros((n, 3), np.int64)
    what = f"combine {n} frames"
    progress(0, len(starts), what)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="calibkit-combine")
    try:
        pending = {pool.submit(work, y0) for y0 in starts}
        while pending:
            done, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                frames += future.result()
            if done:
                progress(len(starts) - len(pending), len(starts), what)
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
    return outputs, frames

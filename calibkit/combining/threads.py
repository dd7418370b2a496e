"""Bands of rows over threads: reading, combining and writing overlap, and a cancel stops at a chunk."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from calibkit.combining.bands import OUTPUTS, BandCombiner, Tally
from calibkit.combining.plan import Plan
from calibkit.combining.reading import StackReader, Turns
from calibkit.memory import aligned_empty, worker_count
from calibkit.progress import Progress

#: The main thread looks up this often, so that Ctrl-C and a cancel are heard at once.
POLL_SECONDS = 0.1


def run_bands(
    reader: StackReader, plan: Plan, progress: Progress, wanted: Sequence[str]
) -> tuple[dict[str, np.ndarray], Tally]:
    """Combine every band of *reader*: those arrays of `OUTPUTS` that are *wanted*, shape (y, x), and what was counted."""
    n, height, width = reader.shape
    workers = worker_count()
    bands = reader.bands(workers, plan.cell.shape[0])
    outputs = {name: page_zeros((height, width), OUTPUTS[name]) for name in wanted}
    stop = threading.Event()
    turns = Turns(n)
    local = threading.local()
    largest = max(y1 - y0 for y0, y1 in bands)

    def work(number: int) -> Tally:
        if stop.is_set():
            return Tally.empty(n)
        if not hasattr(local, "combiner"):
            local.combiner = BandCombiner(plan, reader.dtype, width, flagged=reader.has_flags)
            local.buffer = (
                aligned_empty(n * largest * width, reader.dtype) if reader.source is not None else None
            )
        y0, y1 = bands[number]
        band = reader.read(y0, y1, turns.of(number), local.buffer)
        out = {name: array[y0:y1] for name, array in outputs.items()}
        return local.combiner.combine(band, y0, out, stop.is_set)

    def halt() -> None:
        stop.set()
        turns.stop()

    found = run(work, len(bands), f"combine {n} frames", progress, workers=workers, halt=halt)
    return outputs, sum(found, Tally.empty(n))


def page_zeros(shape: tuple[int, int], dtype: np.dtype | type) -> np.ndarray:
    """`numpy.zeros` whose memory is taken in small pages, as it is written.

    numpy asks for large pages, and where memory is in pieces the system then spends longer on joining them
    than the whole combination takes.
    """
    count = shape[0] * shape[1]
    if not count or not hasattr(mmap, "MAP_PRIVATE"):  # nothing to take, or Windows
        return np.zeros(shape, dtype)
    buffer = mmap.mmap(-1, count * np.dtype(dtype).itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(buffer, dtype, count).reshape(shape)


def run(
    function: Callable[[int], Any],
    count: int,
    what: str,
    progress: Progress,
    *,
    workers: int | None = None,
    halt: Callable[[], None] = lambda: None,
) -> list[Any]:
    """Call ``function(i)`` for 0 … count − 1 in threads and return the results in order.

    *progress* is called from this thread. On any error, cancel or Ctrl-C *halt* is called, what has not
    begun is dropped, and what has is waited for.
    """
    results: list[Any] = [None] * count
    progress(0, count, what)
    pool = ThreadPoolExecutor(workers or worker_count(), thread_name_prefix="calibkit-combine")
    ended: SimpleQueue[Future[Any]] = SimpleQueue()
    try:
        places: dict[Future[Any], int] = {pool.submit(function, i): i for i in range(count)}
        for future in places:
            future.add_done_callback(ended.put)
        done = 0
        while done < count:
            with suppress(Empty):
                future = ended.get(timeout=POLL_SECONDS)
                results[places[future]] = future.result()
                done += 1
                progress(done, count, what)
    except BaseException:
        halt()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return results

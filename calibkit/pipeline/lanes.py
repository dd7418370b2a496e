"""Several pieces of work at once, whose progress is told, and whose cancel is heard, where the run was started."""

from __future__ import annotations

import itertools
import pickle
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from calibkit.errors import Cancelled
from calibkit.io.provenance import known_hashes, take_hashes
from calibkit.memory import limit_workers, return_memory_early, worker_count
from calibkit.progress import Progress

#: On a cluster, below every job of a run.
_LAST = -10
#: While it waits, the thread that was asked looks up this often, so that Ctrl-C is heard.
_POLL_SECONDS = 0.1


class Lanes:
    """A progress callback that may be called from any thread, and threads to do work in.

    Parameters
    ----------
    progress : callable
        Called from the thread that made this; when it raises, the work in all lanes stops.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._home = threading.get_ident()
        self._told: SimpleQueue[tuple[int, int, str] | None] = SimpleQueue()
        self._stop = threading.Event()

    def __call__(self, done: int, total: int, what: str) -> None:
        """Tell how far the work is."""
        if threading.get_ident() == self._home:
            self._progress(done, total, what)
        else:
            self.heed(done, total, what)
            self._told.put((done, total, what))

    def heed(self, done: int, total: int, what: str) -> None:
        """Raise `Cancelled` when the work is to stop; for what is too small a part of the work to be told."""
        if self._stop.is_set():
            msg = f"{what}: stopped after {done} of {total}"
            raise Cancelled(msg)

    def run(
        self,
        function: Callable[..., Any],
        jobs: Sequence[tuple[Any, ...]],
        what: str,
        *,
        before: int,
        total: int,
        after: Sequence[Sequence[int]] = (),
        at_once: int | None = None,
        spare: tuple[Callable[..., Any], Sequence[tuple[Any, ...]]] | None = None,
        client: Any = None,
    ) -> list[Any]:
        """Call ``function(*job)`` for each, *at_once* or as many at once as there are processors; their results in order.

        *after* has for each the places of those before it whose results it waits for and is called with besides; on a
        cluster those that most others wait for go first. Progress
        counts on from *before*, of *total*. The first error ends the work: what has not begun is dropped,
        what has is waited for. *spare* is another function and jobs for it, for whoever has nothing else to do: when the rest
        is done, those that have not begun are dropped, and what they find or raise is not looked at. With a
        dask.distributed *client* the jobs go to its workers, the function once to each, so that what it keeps is kept
        there; files that one of them has hashed, none hashes again.
        """
        told = -1
        pool = client or ThreadPoolExecutor(at_once or worker_count(), thread_name_prefix="calibkit-lane")
        if client:
            begin = partial(client.submit, _call, uuid.uuid4().hex, pickle.dumps(function), pure=False)
        else:
            begin = partial(pool.submit, self._begin, function)
        futures: list[Any] = []
        for job, earlier, urgent in itertools.zip_longest(jobs, after, waited_for(after), fillvalue=()):
            first = {"priority": urgent or 0} if client else {}
            futures.append(begin(*job, *(futures[place] for place in earlier), **first))
            futures[-1].add_done_callback(lambda _: self._told.put(None))  # wakes the loop
        other, others = spare or (None, ())
        last = {"priority": _LAST, "pure": False} if client else {}
        dropped = [pool.submit(other, *job, **last) for job in others]
        try:
            while told < len(jobs):
                ended = [future for future in futures if future.done()]
                failed = [future for future in ended if future.exception() is not None]
                if len(ended) - len(failed) > told:
                    told = len(ended) - len(failed)
                    self._progress(before + told, total, what)
                if failed:
                    failed[0].result()
                self._tell()
        except BaseException:
            self._stop.set()
            if client:
                client.cancel(futures)
            raise
        finally:
            if client:
                client.cancel(dropped)
            else:
                pool.shutdown(wait=True, cancel_futures=True)
        if client:
            for found in client.run(known_hashes).values():
                take_hashes(found)
            client.run(take_hashes, known_hashes())
        return [future.result() for future in futures]

    def _begin(self, function: Callable[..., Any], *job: Any) -> Any:
        given = [part.result() if isinstance(part, Future) else part for part in job]
        self.heed(0, 1, "a job")
        return function(*given)

    def _tell(self) -> None:
        """Pass on what was told, or wait a little for it, or for the end of a job."""
        with suppress(Empty):
            if (told := self._told.get(timeout=_POLL_SECONDS)) is not None:
                self._progress(*told)


def waited_for(after: Sequence[Sequence[int]]) -> list[int]:
    """How many jobs wait for the end of each, for its own result or for one that comes of it."""
    waiting: list[set[int]] = [set() for _ in after]
    for number in reversed(range(len(after))):
        for place in after[number]:
            waiting[place] |= {number} | waiting[number]
    return [len(jobs) for jobs in waiting]


#: On a cluster's worker: the function that the latest jobs call, and what it is known by.
_kept: dict[str, Callable[..., Any]] = {}


def _call(name: str, function: bytes, *job: Any) -> Any:
    """A job on a cluster's worker."""
    if name not in _kept:
        import dask
        from distributed import get_worker

        return_memory_early()
        limit_workers(get_worker().state.nthreads)
        # A job that asked its own cluster for rows would wait for a worker that waits for the job.
        dask.config.set(scheduler="synchronous")
        _kept.clear()
        _kept[name] = pickle.loads(function)
    return _kept[name](*job)

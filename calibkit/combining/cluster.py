"""The same combination on a dask.distributed cluster, band by band."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np

from calibkit.combining.bands import OUTPUTS, BandCombiner, Tally
from calibkit.combining.plan import Plan
from calibkit.combining.reading import Band, StackReader
from calibkit.combining.threads import page_zeros
from calibkit.flags import FLAG_DTYPE
from calibkit.memory import Scratch
from calibkit.progress import Progress

#: Bytes of what makes rows, sent with every band, that are not worth a word: beyond it holds pixels, not names of files.
_MOST_MAKER = 2**20
#: Bands in a job at most: what has begun is not stopped by a cancel.
_MOST_BANDS = 4
_scratch = Scratch()


def combine_rows(
    values: np.ndarray,
    flags: np.ndarray | None,
    variance: np.ndarray | None,
    dtype: np.dtype,
    y0: int,
    plan: Plan,
    wanted: Sequence[str],
) -> tuple[dict[str, np.ndarray], Tally]:
    """Combine rows of every frame, starting at row *y0* of the stack, and return the outputs that are *wanted*."""
    values = np.ascontiguousarray(values.astype(dtype, copy=False))
    flags, variance = (None if part is None else np.ascontiguousarray(part) for part in (flags, variance))
    rows, width = values.shape[1:]
    out = {name: np.zeros((rows, width), kind) for name, kind in OUTPUTS.items()}
    combiner = BandCombiner(plan, values.dtype, width, flagged=flags is not None)
    tally = combiner.combine(Band(values, flags, variance), y0, out)
    return _small(out, wanted), tally


def combine_files(
    source: Any, dtype: np.dtype, y0: int, y1: int, plan: Plan, wanted: Sequence[str]
) -> tuple[dict[str, np.ndarray], Tally]:
    """`combine_rows` of files that the worker reads itself."""
    values = np.stack([source.read(frame, y0, y1) for frame in range(plan.n_frames)])
    return combine_rows(values, None, None, dtype, y0, plan, wanted)


def combine_made(
    maker: bytes,
    has_variance: bool,
    dtype: np.dtype,
    width: int,
    bands: Sequence[tuple[int, int]],
    plan: Plan,
    wanted: Sequence[str],
) -> tuple[dict[str, np.ndarray], Tally]:
    """`combine_rows` of rows that the worker makes itself, by a pickled `RowMaker`, in bands that lie one below the other."""
    make, combiner = pickle.loads(maker), BandCombiner(plan, dtype, width, flagged=True)
    kinds = {"signal": np.float32, "variance": np.float32, "flags": FLAG_DTYPE}
    top, bottom = bands[0][0], bands[-1][1]
    out = {name: np.zeros((bottom - top, width), kind) for name, kind in OUTPUTS.items()}
    tally = Tally.empty(plan.n_frames)
    for y0, y1 in bands:
        shape = (plan.n_frames, y1 - y0, width)
        made = tuple(_scratch.take(name, shape, kind) for name, kind in kinds.items())
        flagged = make(y0, y1, made)
        band = Band(made[0], made[2] if flagged else None, made[1] if has_variance else None)
        rows = {name: array[y0 - top : y1 - top] for name, array in out.items()}
        tally += combiner.combine(band, y0, rows)
    return _small(out, wanted), tally


def _small(out: dict[str, np.ndarray], wanted: Sequence[str]) -> dict[str, np.ndarray]:
    """What is wanted, counts and flags in a byte where they fit: the way to the asking process is what there is least of."""
    return {
        name: out[name].astype(np.uint8)
        if out[name].dtype == np.uint16 and out[name].max(initial=0) < 256
        else out[name]
        for name in wanted
    }


def _all_here(client: Any) -> bool:
    """Whether all workers are on this machine, so that what they have made can be had without the scheduler in between.

    Elsewhere they may not be reached at all but through it.
    """
    places = (address.split("://") for address in client.nthreads())
    return all(how == "inproc" or where.startswith(("127.", "[::1]")) for how, where in places)


def run_on_cluster(
    reader: StackReader, plan: Plan, progress: Progress, wanted: Sequence[str], client: Any
) -> tuple[dict[str, np.ndarray], Tally]:
    """`calibkit.combining.threads.run_bands` on the workers of *client*.

    Twice as many jobs as there are threads are under way at a time; on any error, cancel or Ctrl-C those
    are cancelled. A job is a band, or several where a worker makes their rows itself.
    """
    from distributed import as_completed

    n, height, width = reader.shape
    threads = sum(client.nthreads().values())
    bands = reader.bands(2, plan.cell.shape[0])
    total = len(bands)
    what = f"combine {n} frames on {threads} threads"
    outputs = {name: page_zeros((height, width), OUTPUTS[name]) for name in wanted}
    tally = Tally.empty(n)
    places: dict[Any, tuple[int, int, int]] = {}

    maker = b"" if reader.maker is None else pickle.dumps(reader.maker, protocol=5)
    made_there = 0 < len(maker) <= _MOST_MAKER
    jobs = iter(_together(bands, threads) if made_there else [[band] for band in bands])

    def submit(job: list[tuple[int, int]]) -> Any:
        y0, y1 = job[0][0], job[-1][1]
        if made_there:
            plain = (maker, reader.has_variance, reader.dtype, width)
            future = client.submit(combine_made, *plain, job, plan, wanted, pure=False)
        elif reader.source is not None:
            future = client.submit(
                combine_files, reader.source, reader.dtype, y0, y1, plan, wanted, pure=False
            )
        else:
            parts = [reader.arrays.get(name) for name in ("values", "flags", "variance")]
            rows = [None if part is None else part[:, y0:y1] for part in parts]
            future = _submit_rows(client, rows, reader.dtype, y0, plan, wanted)
        places[future] = y0, y1, len(job)
        return future

    direct = _all_here(client) or None
    progress(0, total, what)
    waiting = as_completed([submit(job) for job in itertools.islice(jobs, 2 * threads)])
    done = 0
    try:
        for future in waiting:
            y0, y1, count = places.pop(future)
            out, counted = client.gather(future, direct=direct)
            for name, array in outputs.items():
                array[y0:y1] = out[name]
            tally += counted
            following = next(jobs, None)
            if following is not None:
                waiting.add(submit(following))
            done += count
            progress(done, total, what)
    except BaseException:
        client.cancel(list(places))
        raise
    return outputs, tally


def _together(bands: list[tuple[int, int]], threads: int) -> list[list[tuple[int, int]]]:
    """The bands of each job: several, as every job costs the asking process time; fewer at the end, when nobody should wait."""
    jobs, first = [], 0
    while first < len(bands):
        count = min(_MOST_BANDS, max(1, (len(bands) - first) // (2 * threads)))
        jobs.append(bands[first : first + count])
        first += count
    return jobs


def _submit_rows(
    client: Any, rows: list[Any], dtype: np.dtype, y0: int, plan: Plan, wanted: Sequence[str]
) -> Any:
    """The future of `combine_rows`: lazy rows in one graph with it, since they may come out of one calculation."""
    import dask

    if not any(hasattr(part, "dask") for part in rows):
        sent = [None if part is None else client.scatter(part, hash=False) for part in rows]
        return client.submit(combine_rows, *sent, dtype, y0, plan, wanted, pure=False)
    return client.compute(dask.delayed(combine_rows, pure=False)(*rows, dtype, y0, plan, wanted))

"""Running a recipe over the bands of rows of a frame or a stack, at once or lazily."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from calibkit.calibration.recipe import Recipe, calibrate_rows
from calibkit.calibration.rows import CalibratedRows
from calibkit.frames import stack_source
from calibkit.io.result_file import rows_of
from calibkit.io.source import StackSource
from calibkit.memory import band_rows, worker_count
from calibkit.progress import Progress

DTYPES = (np.float32, np.float32, np.uint16)
#: Bands of a lazy result are at least this many halos high, so that little is worked out twice.
_LEAST_HALOS = 6
#: Of a pixel with its masters and its result.
_BYTES = 64
#: The main thread looks up this often, so that Ctrl-C and a cancel are heard at once.
_POLL_SECONDS = 0.1

Arrays = dict[str, Any]


def run_now(light: Any, masters: Arrays, recipe: Recipe, progress: Progress) -> tuple[np.ndarray, ...]:
    """Signal, variance and flags, shape (frame, y, x), of a stack in memory."""
    frames, height, width = light.shape
    held = 16 + light.dtype.itemsize + 10 * len(masters) / 3
    rows = band_rows(height, width, bytes_per_pixel=held * worker_count())
    rows = min(height, max(rows, _LEAST_HALOS * recipe.halo))
    out = tuple(np.empty(light.shape, dtype) for dtype in DTYPES)
    stop = threading.Event()

    def work(y0: int) -> None:
        y1 = min(y0 + rows, height)
        above, below = max(0, y0 - recipe.halo), min(height, y1 + recipe.halo)
        under = {name: np.asarray(array[above:below]) for name, array in masters.items()}
        for frame in range(frames):
            if stop.is_set():
                return
            part = np.asarray(light[frame, above:below])
            done = calibrate_rows(recipe, frame, above, y0 - above, y1 - y0, part, under)
            for target, values in zip(out, done, strict=True):
                target[frame, y0:y1] = values

    starts = range(0, height, rows)
    what = f"calibrate {frames} frame{'s' if frames > 1 else ''}"
    progress(0, len(starts), what)
    pool = ThreadPoolExecutor(worker_count(), thread_name_prefix="calibkit-calibrate")
    try:
        pending = {pool.submit(work, y0) for y0 in starts}
        while pending:
            done, pending = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            if done:
                progress(len(starts) - len(pending), len(starts), what)
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
    return out


def run_lazily(light: Any, masters: Arrays, recipe: Recipe) -> tuple[Any, ...]:
    """The same as dask arrays in bands of rows along the chunks of the light; nothing is read before they are computed."""
    import dask
    import dask.array as da

    frames, height, width = light.shape
    edges = _edges(light.chunks[1], recipe.halo)
    work = dask.delayed(_work, pure=False, nout=3)
    columns: list[list[Any]] = [[[] for _ in range(frames)] for _ in DTYPES]
    for y0, y1 in itertools.pairwise(edges):
        above, below = max(0, y0 - recipe.halo), min(height, y1 + recipe.halo)
        under = [_rows(rows_of(array), array, above, below) for array in masters.values()]
        for frame in range(frames):
            part = light[frame, above:below]
            made = work(recipe, frame, above, y0 - above, y1 - y0, part, list(masters), *under)
            for column, rows, dtype in zip(columns, made, DTYPES, strict=True):
                column[frame].append(da.from_delayed(rows, (y1 - y0, width), dtype))
    return tuple(da.stack([da.concatenate(parts) for parts in column]) for column in columns)


def run_made(maker: CalibratedRows) -> tuple[Any, ...]:
    """The same where *maker* makes any rows: a graph whose bands are what each costs least in."""
    import dask.array as da

    frames, height, width = maker.source.shape
    edges = _even_edges(height, width, maker.recipe)
    name = f"calibrated-{uuid.uuid4().hex}"
    graph: dict[Any, Any] = {f"maker-of-{name}": maker}  # it lives as long as the graph
    for frame, (j, (y0, y1)) in itertools.product(range(frames), enumerate(itertools.pairwise(edges))):
        graph[f"{name}-rows", frame, j] = (maker.band, frame, y0, y1)
        for k in range(len(DTYPES)):
            graph[f"{name}-{k}", frame, j, 0] = (_part, (f"{name}-rows", frame, j), k)
    chunks = ((1,) * frames, tuple(np.diff(edges).tolist()), (width,))
    return tuple(da.Array(graph, f"{name}-{k}", chunks, dtype=dtype) for k, dtype in enumerate(DTYPES))


def _part(made: tuple[np.ndarray, ...], number: int) -> np.ndarray:
    return made[number][None]


def reader_of(light: xr.DataArray) -> StackSource | None:
    """The reader of the files behind a lazy stack, if each can be read anywhere; else its own chunks are the way."""
    source = stack_source(light)
    if source is None or not all(getattr(single, "random_access", False) for single in source.sources):
        return None
    return source


def _rows(read: Callable[..., np.ndarray] | None, array: Any, y0: int, y1: int) -> Any:
    """Rows to be read when they are worked on, or those of an array in memory or lazy."""
    return array[y0:y1] if read is None else partial(read, y0, y1)


def _work(
    recipe: Recipe, frame: int, y0: int, top: int, count: int, light: Any, names: list[str], *masters: Any
) -> tuple[np.ndarray, ...]:
    masters = (rows() if callable(rows) else rows for rows in masters)
    return calibrate_rows(recipe, frame, y0, top, count, light, dict(zip(names, masters, strict=True)))


def _even_edges(height: int, width: int, recipe: Recipe) -> list[int]:
    """First rows of bands, of any size, and the height at the end."""
    rows = band_rows(height, width, bytes_per_pixel=_BYTES, multiple=recipe.cell.shape[0])
    return [*range(0, height, max(rows, _LEAST_HALOS * recipe.halo)), height]


def _edges(chunks: tuple[int, ...], halo: int) -> list[int]:
    """First rows of bands along the chunks of the light, small chunks joined, and the height at the end."""
    height = sum(chunks)
    edges = [0]
    for end in np.cumsum(chunks).tolist():
        if end == height or end - edges[-1] >= _LEAST_HALOS * halo:
            edges.append(int(end))
    return edges

"""The images of a result, written by bands of rows: each band is worked out, turned into its bytes and let go."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from calibkit.cfa import pattern_of
from calibkit.computing import compute_here
from calibkit.errors import Cancelled
from calibkit.io.direct import BLOCK, placed_like
from calibkit.io.result_file import ImagePlan
from calibkit.memory import Scratch, band_rows
from calibkit.progress import Progress

if TYPE_CHECKING:
    from calibkit.io.atomic import PartFile

#: While it waits, the thread that was asked looks up this often, so that Ctrl-C is heard.
_POLL_SECONDS = 0.1


def write_images(
    part: PartFile,
    result: xr.Dataset,
    images: list[ImagePlan],
    offsets: list[int],
    *,
    at_once: int,
    flush: bool,
    progress: Progress,
    what: str,
) -> None:
    """Write every image of *result* into *part*.

    What is lazy is one graph for all images and bands, so that it is planned once, and what they share, at the edges of
    bands too, is worked out once. Blocks of full rows go to the file as they are: nothing is put together before.

    Parameters
    ----------
    part : PartFile
        Where to.
    result : xarray.Dataset
        What the images are of.
    images : list of ImagePlan
        From `calibkit.io.result_file.members`.
    offsets : list of int
        First byte of each image in the file.
    at_once : int
        Bands that are worked on at a time; with one, lazy ones in the thread that asks.
    flush : bool
        Have the system begin to bring each band to the disk when it is written.
    progress : callable
        Called with (rows done, rows, *what*) by the thread that asks.
    what : str
        For *progress*.
    """
    height = result.sizes["y"]
    done = 0

    def tell(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done, height, what)

    if not any(image.variable.chunks is not None for image in images):
        writer = _Writer(part, images, offsets, flush=flush)
        _in_threads([partial(writer, *job) for job in _in_memory(result, images)], at_once, writer, tell)
    elif at_once == 1:
        _compute(_Writer(part, images, offsets, tell, flush=flush), images)
    else:
        writer = _Writer(part, images, offsets, flush=flush)
        _in_threads([partial(_compute, writer, images, at_once)], 1, writer, tell)


class _Writer:
    """Writes bands, from any thread; ``tell(rows)`` is called after each."""

    def __init__(
        self,
        part: PartFile,
        images: list[ImagePlan],
        offsets: list[int],
        tell: Callable[[int], None] | None = None,
        *,
        flush: bool,
    ) -> None:
        self._part, self._images, self._offsets, self._flush = part, images, offsets, flush
        self.told: SimpleQueue[int] = SimpleQueue()
        self._tell = self.told.put if tell is None else tell
        self._scratch = Scratch()
        self.stopped = threading.Event()

    def __call__(self, y0: int, y1: int, *parts: np.ndarray) -> None:
        """Write the rows from *y0* to *y1* of every image."""
        if self.stopped.is_set():
            msg = f"stopped before row {y0} was written"
            raise Cancelled(msg)
        for image, offset, rows in zip(self._images, self._offsets, parts, strict=True):
            height, width = image.shape[-2:]
            row_bytes = width * abs(image.bitpix) // 8
            size = (y1 - y0) * row_bytes
            for plane, values in enumerate(np.asarray(rows).reshape(-1, y1 - y0, width)):
                start = offset + (plane * height + y0) * row_bytes
                memory = self._scratch.take("bytes", (size + BLOCK,), np.uint8)
                self._part.write_at(start, image.encode(values, placed_like(memory, start, size)))
                if self._flush:
                    self._part.begin_flush(start, size)
        self._tell(y1 - y0)


def _in_threads(
    jobs: list[Callable[[], None]], threads: int, writer: _Writer, tell: Callable[[int], None]
) -> None:
    """Do the jobs in threads, and tell in this one what they have done."""
    with ThreadPoolExecutor(threads, thread_name_prefix="calibkit-save") as pool:
        futures = [pool.submit(job) for job in jobs]
        for future in futures:
            future.add_done_callback(lambda _: writer.told.put(0))  # wakes the loop
        try:
            while not all(future.done() for future in futures) or not writer.told.empty():
                with suppress(Empty):
                    if rows := writer.told.get(timeout=_POLL_SECONDS):
                        tell(rows)
                for future in futures:
                    if future.done():
                        future.result()
        finally:
            writer.stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _in_memory(result: xr.Dataset, images: list[ImagePlan]) -> Iterator[tuple[Any, ...]]:
    """(first row, end, rows of every image) of bands."""
    height, width = result.sizes["y"], result.sizes["x"]
    pixel = sum(image.nbytes for image in images) / (height * width)
    rows = band_rows(height, width, bytes_per_pixel=2 * pixel, multiple=pattern_of(result).period[0])
    for y0, y1 in itertools.pairwise([*range(0, height, rows), height]):
        yield y0, y1, *(image.variable.data[..., y0:y1, :] for image in images)


def _compute(writer: _Writer, images: list[ImagePlan], threads: int = 0) -> None:
    """Work out what is lazy, in the bands that it has, and write each; with *threads* so many at a time."""
    import dask

    chunks = next(image.variable.chunks for image in images if image.variable.chunks is not None)[-2]
    edges = [0, *np.cumsum(chunks).tolist()]
    columns = []
    for image in images:
        if image.variable.chunks is None:
            columns.append([image.variable.data[..., y0:y1, :] for y0, y1 in itertools.pairwise(edges)])
        else:
            # Optimised one by one, what the images come from would get other names, and be worked out for each.
            blocks = _in_bands(image.variable.data, chunks).to_delayed(optimize_graph=False)
            columns.append(blocks.ravel().tolist())
    write = dask.delayed(writer, pure=False, traverse=False)
    tasks = [
        write(y0, y1, *parts) for (y0, y1), *parts in zip(itertools.pairwise(edges), *columns, strict=True)
    ]
    compute_here(tasks, threads=threads)


def _in_bands(array: Any, heights: tuple[int, ...]) -> Any:
    """The dask array with one block for every band."""
    return array.rechunk((*((size,) for size in array.shape[:-2]), heights, (array.shape[-1],)))

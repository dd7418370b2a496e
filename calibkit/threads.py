"""The same work on many pieces, on all processors: numpy and kernels let go of the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from calibkit.memory import worker_count

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def in_threads(work: Callable[[Piece], Result], pieces: Iterable[Piece]) -> list[Result]:
    """``work(piece)`` for every piece, and what they return, in their order; the first error is raised."""
    with ThreadPoolExecutor(worker_count(), thread_name_prefix="calibkit") as pool:
        return list(pool.map(work, pieces))

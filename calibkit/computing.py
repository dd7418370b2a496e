"""Working out lazy arrays in this process.

dask looks for a cluster whenever it is told its scheduler by a name, or not at all, and takes up all of `distributed` for
that, which takes longer than many a computation; a function as scheduler keeps it from looking. Work that is meant for a
cluster goes there through the ``client`` of the functions that take one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def compute_here(lazy: Any, *, threads: int = 0) -> Any:
    """Arrays, or lists and dictionaries of them, with what is lazy worked out at once: they may share what they come from.

    In this thread, so that threads which each work on a piece start no more of their own; or in so many *threads*.
    """
    import dask
    from dask.local import get_sync
    from dask.threaded import get

    if threads:
        return dask.compute(lazy, scheduler=get, num_workers=threads)[0]
    return dask.compute(lazy, scheduler=get_sync)[0]


@contextmanager
def no_cluster() -> Iterator[None]:
    """Have everything that is worked out meanwhile, and says not where, be worked out here."""
    import dask
    from dask.threaded import get

    with dask.config.set({"scheduler": get, "array.rechunk.method": "tasks"}):
        yield

"""How long work reports itself and is stopped.

A progress callback is called as ``progress(done, total, what)`` from the thread that started the
work. It may raise `calibkit.Cancelled` (a button) or let `KeyboardInterrupt` pass (Ctrl-C): the work
then stops at the next band and leaves nothing half done.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Anything callable with (done, total, what)."""

    def __call__(self, done: int, total: int, what: str) -> None: ...


def silent(done: int, total: int, what: str) -> None:
    """Report nothing: the default."""

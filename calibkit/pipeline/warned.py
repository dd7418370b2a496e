"""Keeping what is warned of with the work that it belongs to, also when several pieces of work are under way."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

from calibkit.errors import CalibkitWarning

_own: ContextVar[list[str] | None] = ContextVar("_own", default=None)
_lock = threading.Lock()
#: The lists that are being filled, the latest last, and what ends the rerouting when the last one is.
_open: list[list[str]] = []
_rerouted = ExitStack()


@contextmanager
def collected(texts: list[str]) -> Iterator[None]:
    """Keep calibkit's warnings as text in *texts*, each once; others go their way.

    What is warned of in a thread goes into the list that was opened in it, or else into the latest.
    Python's own ``catch_warnings`` is for the whole process, so that two threads that use it undo each other's.
    """
    with _lock:
        if not _open:
            _rerouted.enter_context(warnings.catch_warnings())
            warnings.simplefilter("always", CalibkitWarning)
            warnings.showwarning = _router(warnings.showwarning)
        _open.append(texts)
    token = _own.set(texts)
    try:
        yield
    finally:
        _own.reset(token)
        with _lock:
            _open[:] = [texts_ for texts_ in _open if texts_ is not texts]
            if not _open:
                _rerouted.close()


def _router(shown: Any) -> Any:
    def route(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
        if not isinstance(message, CalibkitWarning):
            shown(message, category, *place, **more)
            return
        texts = _own.get()
        if texts is None:
            texts = _open[-1] if _open else []
        if str(message) not in texts:
            texts.append(str(message))

    return route

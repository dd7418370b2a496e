"""Warning of what works but not as well as asked, and keeping it with the work that it belongs to.

Python has one set of filters for the whole process: of two threads that use ``warnings.catch_warnings`` each undoes the other's,
and what one warns of is kept, shown or lost by the other. So calibkit warns by `warn` alone, which first looks
whether the work that it is in keeps its warnings, and asks Python only if not.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from calibkit.errors import CalibkitWarning

#: What the work of this thread keeps its warnings in; a thread begins without.
_kept: ContextVar[list[str] | None] = ContextVar("_kept", default=None)


def warn(text: str, *, stacklevel: int) -> None:
    """Warn with a `CalibkitWarning`; *stacklevel* is counted from the caller, as for ``warnings.warn``."""
    kept = _kept.get()
    if kept is None:
        warnings.warn(text, CalibkitWarning, stacklevel=stacklevel + 1)
    elif text not in kept:
        kept.append(text)


@contextmanager
def collected(texts: list[str] | None = None) -> Iterator[list[str]]:
    """Keep what calibkit warns of in this thread as text, each once, in *texts* or a new list; nothing of it is shown.

    The innermost one keeps it. Threads that the work begins itself are on their own: what may warn is done in the
    thread that was asked.

    Examples
    --------
    >>> with collected() as found:
    ...     warn("3 frames cannot reject", stacklevel=2)
    >>> found
    ['3 frames cannot reject']
    """
    texts = [] if texts is None else texts
    before = _kept.get()
    try:
        _kept.set(texts)
        yield texts
    finally:
        _kept.set(before)

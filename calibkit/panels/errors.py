"""Errors and warnings of callbacks, shown where one looks instead of lost in a log.

A notebook swallows what a button's or slider's callback raises, and prints what it warns of below some cell. Every callback of a
panel runs inside ``with panel.errors.guard(what):``, which shows both in the panel and lets the panel live on.
"""

from __future__ import annotations

import html
import traceback
from types import TracebackType
from typing import Self

import ipywidgets
import traitlets

from calibkit.errors import Cancelled
from calibkit.panels.notes import note_html
from calibkit.warned import collected


class ErrorArea(ipywidgets.HTML):
    """Shows the last error, and what was warned of; empty when all is well.

    Errors that calibkit raises on purpose, and settings that were refused, are shown by their message alone;
    any other error is a defect and comes with its traceback.

    Attributes
    ----------
    text : str
        What is shown, "" when all is well.
    last : Exception or None
        The error itself.
    warned : dict of str to list of str
        Work → what it warned of when it was last done; work that warns of nothing is not in it.

    Examples
    --------
    >>> area = ErrorArea()
    >>> with area.guard("stretch"):
    ...     raise ValueError("white has to be above black")
    >>> area.text
    'white has to be above black'
    >>> with area.guard("stretch"):
    ...     pass
    >>> area.text
    ''
    """

    text = traitlets.Unicode("")

    def __init__(self) -> None:
        super().__init__()
        self.layout.display = "none"
        self.last: Exception | None = None
        self._what = self._error = ""
        self.warned: dict[str, list[str]] = {}

    def __repr__(self) -> str:
        return f"ErrorArea({self.text!r})"

    def guard(self, what: str) -> Guard:
        """A context in which errors are shown here.

        Parameters
        ----------
        what : str
            Which work this is. Its error stays until the same work is done without one.
        """
        return Guard(self, what)

    def show(self, error: Exception, what: str = "") -> None:
        """Show *error* until *what* is done without one."""
        self.last, self._what = error, what
        expected = isinstance(error, (ValueError, traitlets.TraitError, OSError))
        message = str(error) or type(error).__name__
        details = ""
        if not expected:
            message = f"{type(error).__name__}: {message}"
            trace = html.escape("".join(traceback.format_exception(error)))
            details = f"<details><summary>Where</summary><pre>{trace}</pre></details>"
        self._error = f'<div class="calibkit-error" role="alert">{html.escape(message)}{details}</div>'
        self._write()
        self.text = message

    def clear(self) -> None:
        """All is well again."""
        self.last, self._what = None, ""
        if self.text:
            self.text = self._error = ""
            self._write()

    def tell(self, texts: list[str], what: str) -> None:
        """Show what *what* warned of, until it is done again."""
        if texts != self.warned.get(what, []):
            self.warned.pop(what, None)
            self.warned |= {what: texts} if texts else {}
            self._write()

    def _write(self) -> None:
        notes = (
            note_html([f"{what}: {text}" for text in texts], warning=True)
            for what, texts in self.warned.items()
        )
        self.value = self._error + "".join(notes)
        self.layout.display = "" if self.value else "none"


class Guard:
    """Catches what goes wrong or is warned of inside and shows it in an `ErrorArea`; made by `ErrorArea.guard`."""

    def __init__(self, area: ErrorArea, what: str) -> None:
        self._area = area
        self._what = what
        self.error: BaseException | None = None
        self._keeping = collected()

    def __enter__(self) -> Self:
        self._said = self._keeping.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._keeping.__exit__(None, None, None)
        self.error = error
        self._area.tell(self._said, self._what)
        if error is None:
            if self._area.last is not None and self._area._what == self._what:
                self._area.clear()
            return False
        if isinstance(error, Cancelled):
            return True
        if not isinstance(error, Exception):
            return False  # Ctrl-C goes on to whoever pressed it
        self._area.show(error, self._what)
        return True

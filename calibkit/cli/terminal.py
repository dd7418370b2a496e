"""What the commands print: tables, progress bars, warnings and errors.

A terminal gets colours and bars; a pipe or a log file gets plain lines. Nothing that a file says (names,
header cards) reaches the terminal as a control code, and a console that knows no "σ" gets "sigma".
"""

from __future__ import annotations

import codecs
import errno
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from calibkit.errors import CalibkitWarning

if TYPE_CHECKING:  # rich takes longer to import than --help or --version to be printed, which do without
    from rich.console import Console
    from rich.progress import Progress
    from rich.text import Text

#: Width of tables where there is no terminal to measure: lines of a log file should not be folded.
_LOG_WIDTH = 160
_PLAIN = {
    "−": "-",
    "–": "-",
    "—": "-",
    "×": "x",
    "·": "*",
    "°": "deg ",
    "±": "+-",
    "σ": "sigma",
    "√": "sqrt",
    "⁻": "-",
    "…": "...",
    "→": "->",
    "←": "<-",
    "≥": ">=",
    "≤": "<=",
    "÷": "/",
    "²": "^2",
    "“": '"',
    "”": '"',
    "’": "'",
}
_REPLACE = "calibkit-plain"


def _plain_error(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(c, "?") for c in error.object[error.start : error.end]), error.end


codecs.register_error(_REPLACE, _plain_error)


def harmless(text: object) -> str:
    """*text* without control codes, so that nothing read from a file can steer the terminal."""
    return "".join(c if c.isprintable() or c in "\n " else "\N{REPLACEMENT CHARACTER}" for c in str(text))


class Terminal:
    """Standard output and error, each as rich as what is at its other end."""

    def __init__(self) -> None:
        self._streams = sys.stdout, sys.stderr
        for stream in self._streams:
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                reconfigure(errors=_REPLACE)

    @cached_property
    def _out(self) -> Console:
        return _console(self._streams[0])

    @cached_property
    def _err(self) -> Console:
        return _console(self._streams[1])

    @property
    def interactive(self) -> bool:
        """Whether somebody watches the error stream, where progress is shown."""
        return self._err.is_terminal

    def print(self, text: object = "", *, style: str = "") -> None:
        """One paragraph to standard output, never folded."""
        self._out.print(_text((harmless(text), style)), soft_wrap=True)

    def heading(self, text: str) -> None:
        """A title with an empty line before it."""
        self.print()
        self.print(text, style="bold")

    def error(self, text: str) -> None:
        """Say why the command cannot be done."""
        self._say("error: ", "bold red", text)

    def warning(self, text: str) -> None:
        """Say what deserves a look."""
        self._say("warning: ", "yellow", text)

    def note(self, text: str) -> None:
        """One line to the error stream that is no warning."""
        self._err.print(_text(harmless(text)), soft_wrap=True)

    def _say(self, title: str, style: str, text: str) -> None:
        self._err.print(_text((title, style), harmless(text)), soft_wrap=True)

    def table(
        self, headings: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[int] = ()
    ) -> None:
        """A table; *numbers* are the columns to be set flush right. Empty columns are left out."""
        from rich.table import Table

        cells = [[harmless(cell) for cell in row] for row in rows]
        used = [i for i in range(len(headings)) if any(row[i] for row in cells)]
        table = Table(
            box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0), show_header=any(headings)
        )
        for i in used:
            table.add_column(
                headings[i],
                justify="right" if i in numbers else "left",
                overflow="fold",
                no_wrap=i in numbers,
            )
        for row in cells:
            table.add_row(*(_text(row[i]) for i in used))
        if self._out.is_terminal:
            self._out.print(table)
            return
        with self._out.capture() as capture:
            self._out.print(table)
        for line in capture.get().splitlines():  # cells are padded, which a log need not keep
            self._out.print(_text(line.rstrip()), soft_wrap=True)

    @contextmanager
    def told_warnings(self) -> Iterator[None]:
        """Show calibkit's warnings as lines, once each; those of libraries are not for users."""
        told: set[str] = set()

        def show(message: Warning | str, category: type[Warning], *_args: Any, **_kwargs: Any) -> None:
            if issubclass(category, CalibkitWarning) and str(message) not in told:
                told.add(str(message))
                self.warning(str(message))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", CalibkitWarning)
            warnings.showwarning = show
            yield

    @contextmanager
    def progress(self) -> Iterator[Meter]:
        """A callback for the ``progress`` of long work, shown until the context ends."""
        if not self.interactive:
            yield Lines(self)
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._err) as bars:
            yield BarMeter(bars)


class Meter:
    """Hears how work goes on, and remembers how far each part of it has come."""

    def __init__(self) -> None:
        self.seen: dict[str, tuple[int, int]] = {}

    def __call__(self, done: int, total: int, what: str) -> None:
        before = self.seen.get(what)
        self.seen[what] = (done, total)
        self.show(done, total, what, new=before is None)

    def show(self, done: int, total: int, what: str, *, new: bool) -> None:
        """Show it."""
        raise NotImplementedError


class BarMeter(Meter):
    """One bar for each part of the work."""

    def __init__(self, bars: Progress) -> None:
        super().__init__()
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def show(self, done: int, total: int, what: str, *, new: bool) -> None:
        """Move the bar of *what*."""
        if new:
            self._tasks[what] = self._bars.add_task(harmless(what), total=total)
        self._bars.update(self._tasks[what], completed=done, total=total)


class Lines(Meter):
    """A line every few seconds, and one at the end of each part of the work that took long enough to wonder."""

    _SECONDS = 5.0

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal
        self._last: dict[str, float] = {}

    def show(self, done: int, total: int, what: str, *, new: bool) -> None:
        """Print a line where one is due."""
        now = time.monotonic()
        if now - self._last.setdefault(what, now) >= (1.0 if done >= total else self._SECONDS):
            self._last[what] = now
            self._terminal.note(f"{what}: {done}/{total}")


def explain_os_error(error: OSError) -> str:
    """What the system refused, in words, with what to do where that is clear."""
    place = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):  # Windows knows no quota
        return f"{place}the disk is full: nothing half-written was kept; free some space and run it again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{place}no permission: {error.strerror}"
    return f"{place}{error.strerror or error}"


def relative_to_here(path: Path) -> str:
    """*path* as one would type it here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _text(*parts: str | tuple[str, str]) -> Text:
    """*parts* in a row, plain ones and those with a style."""
    from rich.text import Text

    return Text.assemble(*parts)


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    terminal = stream.isatty() if hasattr(stream, "isatty") else False
    return Console(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        width=None if terminal else _LOG_WIDTH,
    )

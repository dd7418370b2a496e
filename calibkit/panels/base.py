"""What every panel has: settings, errors that are seen, busy and cancel, its code, its result, a picture.

How to build a panel
--------------------
1. Settings are a `State` in `calibkit.state`: traits, no widgets. Work is a public function that takes arrays.
2. The panel is a subclass of `Panel`. It makes its widgets, links them to the state (``traitlets.link``; take a
   slider's limits from the trait's), and calls ``super().__init__(state)`` and ``self.assemble(*widgets)``.
   Pass ``errors=self.errors`` to an `ImageView` or `FigureWidget`, so that their errors are shown once.
3. Callbacks run inside ``with self.errors.guard(what):``. What takes longer than a blink goes through
   ``self.run(work, done, what)``: it works in a thread, shows progress, can be cancelled, and starting it again
   replaces what is still running, so that a slider never queues up work. What either warns of is shown with the errors, unless
   the panel keeps it (`calibkit.warned.collected`) and says it in a place of its own.
4. `code_lines` gives the Python that makes `result` from the same inputs; `compute` makes it.
5. `png` is the picture that a saved notebook keeps, of what there is so far. Work that runs when the panel is shown comes
   into it when it is done; before later work that belongs into it call ``self._picture_waits_for_work()``. A notebook that
   is run without a page (``nbconvert --execute``) has what was there when its cell ended.
6. Legends take text and colours from glyphs of their own, never from columns of data that change their length.
"""

from __future__ import annotations

import asyncio
import base64
import html
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import ipywidgets
import traitlets

from calibkit.display.sheet import Line, draw_sheet, png_bytes
from calibkit.errors import Cancelled
from calibkit.panels.code_box import CodeBox
from calibkit.panels.errors import ErrorArea
from calibkit.progress import Progress
from calibkit.state import State
from calibkit.warned import collected, warn

T = TypeVar("T")

#: Progress is shown this often at most.
_EVERY_SECONDS = 0.1


class Panel(ipywidgets.VBox):
    """Base of all panels.

    Attributes
    ----------
    state : State
        What the panel is set to; changing it changes the panel.
    errors : ErrorArea
    busy : bool
        Whether work is running.
    """

    busy = traitlets.Bool(False)
    _open = False
    #: Whether a static picture was shown, and whether what is being worked on has to go into it.
    _has_picture = _picture_waits = False

    def __init__(self, state: State, errors: ErrorArea | None = None) -> None:
        super().__init__()
        self.add_class("calibkit-panel")
        self.state = state
        self.errors = errors or ErrorArea()
        self._work: Work | None = None
        self._picture_id = uuid.uuid4().hex
        self._bar = ipywidgets.FloatProgress(0.0, min=0.0, max=1.0, layout={"width": "12em"})
        self._what = ipywidgets.Label()
        self._cancel = ipywidgets.Button(
            description="cancel", tooltip="Stop this work; what was there stays."
        )
        self._cancel.on_click(lambda _button: self.cancel())
        self._busy_row = ipywidgets.HBox(
            [self._bar, self._what, self._cancel], layout={"display": "none", "align_items": "center"}
        )
        self._code = CodeBox()
        state.observe(self._state_changed, state.setting_names())
        self._open = True

    def assemble(self, *widgets: ipywidgets.Widget) -> None:
        """Put *widgets* above the line of progress, the errors and the code."""
        self.children = [*widgets, self._busy_row, self.errors, self._code]
        self._code.code = self.code

    # ---- settings, code, result ---------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        """The settings that differ from their defaults."""
        return self.state.settings()

    def code_lines(self) -> list[str]:
        """Python, line by line, that makes `result` and shows this panel again."""
        raise NotImplementedError

    def compute(self) -> Any:
        """Make `result` with the settings as they are."""
        raise NotImplementedError

    @property
    def code(self) -> str:
        """The Python that reproduces what the panel shows and its `result`."""
        return "\n".join(self.code_lines())

    @property
    def result(self) -> Any:
        """What the panel is for, with the settings as they are, for the next cell."""
        return self.compute()

    def _state_changed(self, _change: object) -> None:
        self._code.code = self.code

    # ---- long work ------------------------------------------------------------------------------------------

    def run(self, work: Callable[[Progress], T], done: Callable[[T], None], what: str) -> None:
        """Do *work* beside the notebook, then call *done* with what it returned.

        Parameters
        ----------
        work : callable
            Takes a progress callback, which raises `Cancelled` when the work is no longer wanted.
        done : callable
            Called in the kernel's own loop. Not called when *work* was cancelled, replaced or failed.
        what : str
            For the line of progress, and for errors.
        """
        self.cancel()
        self._work = Work(self, work, done, what)
        try:
            self.busy = True
            self._what.value, self._bar.value = what, 0.0
            self._busy_row.layout.display = ""
            self._work.start()
        except BaseException:  # interrupted before it began
            self.cancel()
            raise

    def cancel(self) -> None:
        """Stop the work that is running, if any."""
        if self._work is not None:
            self._work.cancelled.set()
            self._finished(self._work)

    def _show_progress(self, work: Work, part: float, what: str) -> None:
        if work is self._work:
            self._bar.value, self._what.value = part, what

    def _finished(self, work: Work) -> None:
        if work is self._work:
            self.busy = False
            self._busy_row.layout.display = "none"
            self._work = None  # last: where an interrupt comes in between, the next call does it again

    # ---- how it is shown ------------------------------------------------------------------------------------

    def describe(self) -> str:
        """A few words on what is shown, always the same for the same inputs."""
        return ""

    def png(self) -> bytes:
        """A static picture for readers of a saved notebook, of what there is so far."""
        return self.sheet_png([Line("What it shows was not there yet when this notebook was saved.")])

    def sheet_png(self, lines: Sequence[Line]) -> bytes:
        """Lines of text and strips as a static picture, below the panel's name."""
        return png_bytes(draw_sheet([Line(repr(self)), *lines]))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.describe()})"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return {**super()._repr_mimebundle_(**kwargs), "text/plain": repr(self)}

    def _ipython_display_(self) -> None:
        """Show the panel, and its picture as an output of its own below it.

        A front end always chooses the widget of an output that has one, also where no kernel is left to draw it. So the
        picture is the next output, which the stylesheet of a living panel hides (see figure.css).
        """
        from IPython.display import publish_display_data

        publish_display_data(self._repr_mimebundle_())
        self._publish_picture(update=False)
        self._has_picture, self._picture_waits = True, self.busy

    def _publish_picture(self, *, update: bool) -> None:
        from IPython.display import publish_display_data

        publish_display_data(
            {"image/png": base64.b64encode(self.png()).decode(), "text/plain": repr(self)},
            metadata={"image/png": {"unconfined": True}},
            transient={"display_id": self._picture_id},
            update=update,
        )

    def _picture_waits_for_work(self) -> None:
        """What is begun now belongs into the static picture; to be called before `run`."""
        self._picture_waits = self._has_picture

    def _renew_picture(self) -> None:
        if self._picture_waits and not self.busy:
            self._picture_waits = False
            self._publish_picture(update=True)

    def close(self) -> None:
        """Stop work, and let go of everything that the panel holds."""
        if self._open:
            self._open = False
            self.cancel()
            self.state.unobserve_all()
            for child in self.children:
                child.close()
        super().close()


class Work:
    """One piece of work in its thread; made by `Panel.run`."""

    def __init__(
        self, panel: Panel, work: Callable[[Progress], Any], done: Callable[[Any], None], what: str
    ) -> None:
        self.cancelled = threading.Event()
        self._panel, self._work, self._done, self._what = panel, work, done, what
        self._last = 0.0
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None  # plain Python, a test: there is nothing to stay responsive for

    def start(self) -> None:
        """Begin."""
        if self._loop is None:
            self._run()
        else:
            threading.Thread(target=self._run, name=f"calibkit-{self._what}", daemon=True).start()

    def _progress(self, done: int, total: int, what: str) -> None:
        if self.cancelled.is_set():
            msg = f"{self._what}: cancelled"
            raise Cancelled(msg)
        now = time.monotonic()
        if now - self._last > _EVERY_SECONDS or done == total:
            self._last = now
            self._later(self._panel._show_progress, self, done / max(1, total), what)

    def _run(self) -> None:
        results: list[Any] = []
        catcher = _Catcher()
        with catcher, collected() as warned:
            results.append(self._work(self._progress))
        self._later(self._finish, results, catcher.error, warned)

    def _finish(self, results: list[Any], error: Exception | None, warned: list[str]) -> None:
        wanted = not self.cancelled.is_set()
        self._panel._finished(self)
        if not wanted:
            return
        with self._panel.errors.guard(self._what):
            for text in warned:  # in a thread it would be printed below some cell
                warn(text, stacklevel=2)
            if error is not None:
                raise error
            self._done(results[0])
            self._panel._renew_picture()

    def _later(self, function: Callable, *arguments: Any) -> None:
        if self._loop is None:
            function(*arguments)
        else:
            with suppress(RuntimeError):  # the loop is closed: nobody looks any more
                self._loop.call_soon_threadsafe(function, *arguments)


class _Catcher:
    """Keeps an error of a thread until the panel can show it."""

    error: Exception | None = None

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, Exception):
            self.error = error
            return True
        return False


def caption(text: str) -> ipywidgets.HTML:
    """A line of plain text between widgets."""
    return ipywidgets.HTML(f'<div class="calibkit-caption">{html.escape(text)}</div>')

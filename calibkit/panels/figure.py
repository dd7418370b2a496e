"""One Bokeh document in a notebook: JupyterLab 4, Notebook 7, Voila, and whatever else runs anywidgets.

The page asks for the document when a view of the widget opens, and gets it as it is at that moment with its
arrays as raw bytes, so that nothing on the page is ever stale and nothing is stored in the notebook.
BokehJS comes from the installed package over the same connection where the page does not have this very
version: no CDN, no ``output_notebook()``. Changes made in Python go to every view; changes made in a view
come back to Python and go to the other views, never to their own. A view sends its changes together, and
the next only when the last have been worked off, so a slow kernel is never flooded.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anywidget
import bokeh
import traitlets
from bokeh.core.json_encoder import serialize_json
from bokeh.core.serialization import Buffer, Serialized, Serializer
from bokeh.document import Document
from bokeh.document.events import DocumentPatchedEvent
from bokeh.model import Model

from calibkit.panels.errors import ErrorArea
from calibkit.state import State

_BOKEHJS = Path(bokeh.__file__).parent / "server" / "static" / "js"
#: Where the JavaScript of the panels lies.
HERE = Path(__file__).parent


class FigureWidget(anywidget.AnyWidget):
    """Bokeh models as a widget.

    Parameters
    ----------
    *roots : bokeh.model.Model
        Figures or layouts, shown one below the other. They share one document, so they may share ranges and
        data sources. Keep them for the widget's whole life and change their data, never rebuild them.
    scripts : sequence of str
        Files in this folder that together are one JavaScript module, whose ``attach(view)`` is called for
        every view and returns what ends it. It gets ``view.models`` (by name), ``view.settings``,
        ``view.facts``, ``view.element``, and ``set``, ``send`` and ``on`` to talk to Python. It is the place
        for whatever has to move pixels without asking the kernel.
    state : State, optional
        Its settings are ``view.settings`` on the page, kept equal in both directions.
    facts : dict, optional
        What the script has to know besides, as plain JSON; see `tell_facts`.
    label : str
        What the figure shows, for its short ``repr`` and for screen readers.
    errors : ErrorArea, optional
        Where errors of callbacks are shown: the panel's; by default a line below the figure.

    Examples
    --------
    >>> from bokeh.plotting import figure
    >>> plot = figure(width=300, height=200)
    >>> _ = plot.line([0, 1, 2], [0, 1, 4])
    >>> FigureWidget(plot, label="a parabola")
    FigureWidget('a parabola')
    """

    _esm = (HERE / "figure.js").read_text(encoding="utf-8")
    _css = (HERE / "figure.css").read_text(encoding="utf-8")
    _bokeh_version = traitlets.Unicode(bokeh.__version__).tag(sync=True)
    label = traitlets.Unicode("").tag(sync=True)
    _open = False

    def __init__(
        self,
        *roots: Model,
        scripts: Sequence[str] = (),
        state: State | None = None,
        facts: dict[str, Any] | None = None,
        label: str = "",
        errors: ErrorArea | None = None,
    ) -> None:
        super().__init__(label=label)
        self.errors = errors or ErrorArea()
        self._document = Document()
        for root in roots:
            self._document.add_root(root)
        self._document.models.flush_synced()
        self._document.on_change_dispatch_to(self)
        self._scripts = tuple(scripts)
        self._facts = dict(facts or {})
        self._state = state
        self._views: set[str] = set()
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {}
        self._speaker: str | None = None  # the view that a setting comes from, which must not hear it again
        self._caller: str | None = None  # the view whose message is being handled
        self._batch: list[DocumentPatchedEvent] | None = None
        self._lock = threading.RLock()
        self.on_msg(self._receive)
        self._own_errors = errors is None
        if self._own_errors:
            self.errors.observe(self._tell_error, "text")
        if state is not None:
            state.observe(self._tell_setting, state.setting_names())
        self._open = True

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.label!r})"

    # ---- for panels ------------------------------------------------------------------------------------

    def on_message(self, name: str, handler: Callable[[dict[str, Any]], None]) -> None:
        """Call *handler* with what the script sends by ``view.send(name, {…})``."""
        self._handlers[name] = handler

    def tell(self, name: str, content: dict[str, Any]) -> None:
        """Send *content* to the script of every view, where ``view.on(name, …)`` hears it."""
        self.send({"type": "tell", "name": name, "content": content})

    def tell_facts(self, **facts: Any) -> None:
        """Change some of the script's ``view.facts``; views that open later get them too."""
        self._facts.update(facts)
        self.tell("facts", facts)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Send all changes made inside as one message, so that no view draws half of them.

        Messages of the page wait meanwhile: JupyterLab has them handled in a thread beside the cells.
        """
        with self._lock:
            if self._batch is not None:
                yield
                return
            self._batch = []
            try:
                yield
            finally:
                events, self._batch = self._batch, None
                if events:
                    self._send_patch(events)

    @contextmanager
    def from_caller(self) -> Iterator[None]:
        """In a handler of `on_message`: settings changed inside come from the page, which has them already."""
        before, self._speaker = self._speaker, self._caller
        try:
            yield
        finally:
            self._speaker = before

    def views_gone(self) -> None:
        """The last view of this widget was closed; another may open. For subclasses that hold much."""

    def close(self) -> None:
        """Let go of the document and of every view."""
        if not self._open:
            return super().close()
        self._open = False
        self._document.remove_on_change(self)
        if self._state is not None:
            self._state.unobserve(self._tell_setting, self._state.setting_names())
        if self._own_errors:
            self.errors.unobserve(self._tell_error, "text")
        self._handlers.clear()
        self._views.clear()
        self._document.clear()
        return super().close()

    # ---- from Python to the page -----------------------------------------------------------------------

    def _document_patched(self, event: DocumentPatchedEvent) -> None:
        # Bokeh calls this for every change; the setter is the view that a change came from.
        if self._batch is not None:
            self._batch.append(event)
        else:
            self._send_patch([event])

    def _send_patch(self, events: Sequence[DocumentPatchedEvent]) -> None:
        models = self._document.models
        sent: list[Serializer] = []
        for speaker in dict.fromkeys(event.setter for event in events):
            if not self._views - {speaker}:
                continue  # a view that opens later asks for the whole document
            serializer = Serializer(references=models.synced_references)
            content = {"events": serializer.encode([e for e in events if e.setter == speaker])}
            self._send_content({"type": "patch", "not_to": speaker}, content)
            sent.append(serializer)
        models.flush_synced(lambda model: not any(serializer.has_ref(model) for serializer in sent))

    def _send_content(self, message: dict[str, Any], content: Any) -> None:
        # Bokeh leaves arrays in the content as buffers, and turns them into text in its own way, which was
        # base64 before 3.9: here each becomes a reference to bytes that travel beside the text.
        buffers: list[Buffer] = []
        plain = _without_buffers(content, buffers)
        data = [buffer.data for buffer in buffers]
        ids = [buffer.id for buffer in buffers]
        self.send({**message, "content": json.loads(serialize_json(plain)), "buffer_ids": ids}, data)

    def _tell_setting(self, change: traitlets.Bunch) -> None:
        settings = {change["name"]: change["new"]}
        self.send({"type": "settings", "not_to": self._speaker, "settings": settings})

    def _tell_error(self, change: traitlets.Bunch) -> None:
        self.send({"type": "error", "text": change["new"]})

    # ---- from the page to Python -----------------------------------------------------------------------

    def _receive(self, _widget: object, message: dict[str, Any], _buffers: list[memoryview]) -> None:
        kind, view = message.get("type"), message.get("view")
        if kind == "changes":
            try:
                with self._lock:
                    self._apply(view, message)
            finally:
                self.send({"type": "done", "to": view})
        elif kind == "closed":
            self._views.discard(view)
            if not self._views:
                self.views_gone()
        elif kind in ("open", "bokehjs", "script"):
            # A view that waits for an answer gets one: the answer, or why there is none.
            with self._lock, self.errors.guard(kind) as guard:
                self._answer(kind, message)
            if guard.error is not None:
                self.send({"type": "reply", "re": message["id"], "error": self.errors.text})

    def _answer(self, kind: str, message: dict[str, Any]) -> None:
        reply: dict[str, Any] = {"type": "reply", "re": message["id"]}
        if kind == "open":
            self._views.add(message["view"])
            reply["facts"] = self._facts
            if self._state is not None:
                reply["settings"] = {n: getattr(self._state, n) for n in self._state.setting_names()}
            whole = self._document.to_json(deferred=True)
            self._send_content(reply, whole.content if isinstance(whole, Serialized) else whole)
        elif kind == "bokehjs":
            files = [f"{component}.min.js" for component in ["bokeh", *self._needs_widgets()]]
            self.send(reply, [(_BOKEHJS / file).read_bytes() for file in files])
        else:
            texts = [(HERE / name).read_text(encoding="utf-8") for name in self._scripts]
            self.send({**reply, "text": "\n".join(texts)})

    def _apply(self, view: str, message: dict[str, Any]) -> None:
        for model in self._document.models:
            model._update_event_callbacks()  # Bokeh forgets what was registered after the document was made
        # Each change on its own: one callback that fails must not lose the others.
        for event in message["events"]:
            with self.errors.guard(f"{event.get('kind')} {event.get('model')} {event.get('attr')}"):
                self._document.apply_json_patch({"events": [event]}, setter=view)
        self._caller = view
        with self.from_caller():
            for name, value in message["settings"].items():
                with self.errors.guard(name):
                    self._set(name, value)
        for name, content in message["calls"]:
            if name in self._handlers:
                with self.errors.guard(name):
                    self._handlers[name](content)

    def _set(self, name: str, value: Any) -> None:
        if self._state is None or name not in self._state.setting_names():
            return
        value = tuple(value) if isinstance(value, list) else value
        try:
            setattr(self._state, name, value)
        except traitlets.TraitError:
            # The page shows what was refused: put it right there, then say why.
            self.send({"type": "settings", "not_to": None, "settings": {name: getattr(self._state, name)}})
            raise

    def _needs_widgets(self) -> list[str]:
        modules = {type(model).__module__ for model in self._document.models}
        parts = {"bokeh.models.widgets.tables": "bokeh-tables", "bokeh.models.widgets": "bokeh-widgets"}
        return [part for start, part in parts.items() if any(m.startswith(start) for m in modules)][::-1]


def _without_buffers(content: Any, found: list[Buffer]) -> Any:
    """*content* with a reference in place of every buffer, which is put into *found*."""
    if isinstance(content, Buffer):
        found.append(content)
        return content.ref
    if isinstance(content, dict):
        return {key: _without_buffers(value, found) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_buffers(value, found) for value in content]
    return content

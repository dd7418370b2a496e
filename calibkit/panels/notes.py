"""Sentences of a panel: what a picture shows, and what a setting cannot do."""

from __future__ import annotations

import html
from collections.abc import Sequence

import ipywidgets
import traitlets

_STYLE = (
    "line-height:1.4;padding:4px 8px;margin:2px 0;color:var(--jp-ui-font-color1,#212121);white-space:normal;"
)


class Note(ipywidgets.HTML):
    """Some sentences, with a mark of warning where something cannot work.

    Attributes
    ----------
    text : str
        What it says.
    warning : bool

    Examples
    --------
    >>> note = Note()
    >>> note.warn("3 frames cannot reject.", "Take more.")
    >>> note.text, note.warning
    ('3 frames cannot reject. Take more.', True)
    """

    text = traitlets.Unicode("")
    warning = traitlets.Bool(False)

    def say(self, *sentences: str) -> None:
        """Say what there is."""
        self._write(sentences, warning=False)

    def warn(self, *sentences: str) -> None:
        """Say what does not work: the first sentence is the warning."""
        self._write(sentences, warning=True)

    def _write(self, sentences: tuple[str, ...], *, warning: bool) -> None:
        self.text, self.warning = " ".join(filter(None, sentences)), warning
        self.value = note_html(sentences, warning=warning)


def note_html(sentences: Sequence[str], *, warning: bool) -> str:
    """The sentences as a page shows them, the first one marked where it is a *warning*."""
    parts = [html.escape(text) for text in sentences if text]
    if warning and parts:
        parts[0] = f"<b>⚠ {parts[0]}</b>"
    border = "border-left:4px solid #d55e00;" if warning else "border-left:4px solid transparent;"
    return f'<div class="calibkit-note" style="{_STYLE}{border}">{" ".join(parts)}</div>'

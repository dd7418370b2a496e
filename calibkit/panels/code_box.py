"""The Python of a panel, to be read and copied."""

from __future__ import annotations

import anywidget
import traitlets

from calibkit.panels.figure import HERE


class CodeBox(anywidget.AnyWidget):
    """A folded box with Python text and buttons: one copies it, one puts it into a new cell where there are cells.

    Examples
    --------
    >>> CodeBox(code="calibkit.scan('night')")
    CodeBox("calibkit.scan('night')")
    """

    _esm = (HERE / "code_box.js").read_text(encoding="utf-8")
    _css = (HERE / "figure.css").read_text(encoding="utf-8")
    title = traitlets.Unicode("Python for this").tag(sync=True)
    code = traitlets.Unicode("").tag(sync=True)

    def __repr__(self) -> str:
        return f"CodeBox({self.code!r})"

"""Legends of all panels: drawn between two states of data, one that takes its look from them fails on the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ipywidgets
import pytest
from bokeh.core.property.vectorization import Field
from bokeh.models import Legend, LegendItem

from calibkit.panels.figure import FigureWidget
from tests.panel_makers import PANELS


def figures(widget: ipywidgets.Widget) -> Iterator[FigureWidget]:
    """All figures inside *widget*."""
    if isinstance(widget, FigureWidget):
        yield widget
    for child in getattr(widget, "children", ()):
        yield from figures(child)


def from_data(item: LegendItem) -> Iterator[object]:
    """What of the item's text, colours and dashes is a column of data."""
    if isinstance(item.label, Field):
        yield item.label
    for renderer in item.renderers:
        columns = renderer.data_source.column_names
        for name in ("line_color", "line_dash", "fill_color"):
            look = getattr(renderer.glyph, name, None)
            if isinstance(look, Field) or (isinstance(look, str) and look in columns):
                yield look


@pytest.mark.parametrize("name", list(PANELS))
def test_legends_take_nothing_from_data(name: str, tmp_path: Path) -> None:
    panel = PANELS[name][0](tmp_path)
    for widget in figures(panel):
        for legend in widget._document.select({"type": Legend}):
            for item in legend.items:
                assert list(from_data(item)) == []
    panel.close()

"""Every notebook in JupyterLab, as a student runs it: no cell fails and every panel shows a picture."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import CLOSE, OPEN_AND_RUN

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))

#: Numbers of the code cells whose output is a widget, and whether it has pictures: the session's panel and the
#: workbench begin with tables and buttons.
WIDGETS = """() => {
  const cells = window.jupyterapp.shell.currentWidget.content.widgets;
  return cells.map((cell, number) => [number, cell])
    .filter(([, cell]) => cell.model.type === 'code' && cell.model.outputs.toJSON().some(
      (output) => output.data && output.data['application/vnd.jupyter.widget-view+json']))
    .map(([number, cell]) => [number, !/SessionPanel\\(|Workbench\\(/.test(cell.model.sharedModel.getSource())]);
}"""
#: Goes to a cell as a reader does: those off the screen are not drawn.
GO_TO = """async (number) => {
  const notebook = window.jupyterapp.shell.currentWidget.content;
  notebook.activeCellIndex = number;
  await notebook.scrollToItem(number, 'start');
}"""
#: Of the figures in a cell's output that can be seen, how many there are and how many hold more than a few colours.
PICTURES = """(number) => {
  const shows = (root) => {
    const inside = [root];
    const canvases = [];
    while (inside.length) {
      const node = inside.pop();
      for (const element of node.querySelectorAll('*')) {
        if (element.shadowRoot) inside.push(element.shadowRoot);
        if (element.tagName === 'CANVAS' && element.width && element.height) canvases.push(element);
      }
    }
    return canvases.some((canvas) => {
      const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      const colours = new Set();
      for (let i = 0; i < pixels.length; i += 4 * 97)
        colours.add(pixels[i] + 256 * pixels[i + 1] + 65536 * pixels[i + 2]);
      return colours.size > 20;
    });
  };
  const cell = window.jupyterapp.shell.currentWidget.content.widgets[number].node;
  const figures = [...cell.querySelectorAll('.calibkit-figure')].filter((figure) => figure.offsetHeight > 0);
  return [figures.length, figures.filter(shows).length, cell.querySelectorAll('.calibkit-error').length];
}"""


def check_panels(page: Page) -> None:
    """Fail unless every panel of the notebook that has been run shows its pictures and no error."""
    widgets = page.evaluate(WIDGETS)
    assert widgets, "no panel in it"
    for number, pictures in widgets:
        page.evaluate(GO_TO, number)
        page.wait_for_function(
            f"([number, pictures]) => {{ const [figures, shown] = ({PICTURES})(number);"
            " return shown === figures && (figures > 0 || !pictures); }",
            arg=[number, pictures],
            timeout=60_000,
        )
        assert page.evaluate(PICTURES, number)[2] == 0, "a panel shows an error"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_panel_shows_a_picture(path: Path, server: tuple[str, Path], lab_page: Page) -> None:
    copy = server[1] / path.name
    shutil.copy(path, copy)
    lab_page.evaluate(OPEN_AND_RUN, copy.name)
    try:
        check_panels(lab_page)
        assert path.stat().st_size < 200_000
    finally:
        lab_page.evaluate(CLOSE)

"""Every notebook in JupyterLab, as a student runs it: no cell fails and every panel shows a picture."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import CLOSE, OPEN_AND_RUN

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))

#: For each panel on the page, whether any of its canvases holds more than a few colours.
PICTURES = """() => {
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
  return [...document.querySelectorAll('.jp-NotebookPanel:not(.lm-mod-hidden) .calibkit-figure')].map(shows);
}"""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_panel_shows_a_picture(path: Path, server: tuple[str, Path], lab_page: Page) -> None:
    copy = server[1] / path.name
    shutil.copy(path, copy)
    wanted = path.read_text(encoding="utf-8").count("Panel(")
    lab_page.evaluate(OPEN_AND_RUN, copy.name)
    try:
        # cells off the screen are not drawn: go to each panel's cell as a reader does
        lab_page.evaluate(
            """() => {
              const outer = document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer');
              const cell = [...outer.querySelectorAll('.jp-Cell')].find((c) => c.querySelector('.calibkit-figure'));
              (cell ?? outer.lastElementChild).scrollIntoView();
            }"""
        )
        lab_page.wait_for_function(
            f"(wanted) => {{ const found = ({PICTURES})(); return found.length === wanted && found.every(Boolean); }}",
            arg=wanted,
            timeout=60_000,
        )
        assert path.stat().st_size < 200_000
    finally:
        lab_page.evaluate(CLOSE)

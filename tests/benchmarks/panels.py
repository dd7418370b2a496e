"""Panels on 20 × 24 megapixels in headless Chromium: ``python -m tests.benchmarks.panels --full``.

Writes simulated frames, opens panels in JupyterLab, and measures on the page itself: from a real press of a key to the
first picture in which a pixel of the panel is another one, or to the last change where data come in several steps. Medians
go into a Markdown table with what is wanted. Without ``--full`` frames are small, which only shows that it works. Run from
the top of the repository, with Debian's chromium installed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
from astropy.io import fits
from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import CHROMIUM, FLAGS, OPEN_AND_RUN, Notebook, jupyter, write_notebook

#: Watches the panel's largest visible canvases; `press` presses nothing but waits for a key and then for pixels.
WATCH = """() => {
  const all = (root, found = []) => {
    for (const node of root.querySelectorAll('*')) {
      if (node.tagName === 'CANVAS' && node.width > 100 && node.height > 60) found.push(node);
      if (node.shadowRoot) all(node.shadowRoot, found);
    }
    return found;
  };
  const small = document.createElement('canvas');
  [small.width, small.height] = [96, 64];
  const context = small.getContext('2d', { willReadFrequently: true });
  const look = (canvases) => canvases.map((canvas) => {
    context.drawImage(canvas, 0, 0, small.width, small.height);
    return new Uint32Array(context.getImageData(0, 0, small.width, small.height).data.buffer).slice();
  });
  const same = (a, b) => a.every((pixels, i) => pixels.every((pixel, j) => pixel === b[i][j]));
  // Resolves to [ms to the first change, ms to the last one] after the next key, once nothing moved for `quiet` ms.
  window.afterKey = (quiet, picture) => {
    const cell = document.activeElement.closest('.jp-Cell') ?? document;
    const canvases = all(cell).filter((canvas) => canvas.getClientRects().length);
    canvases.sort((a, b) => b.width * b.height - a.width * a.height);
    const watched = picture ? canvases.slice(0, 1) : canvases;
    window.answer = new Promise((resolve) => {
      let seen = look(watched);
      addEventListener('keydown', () => {
        const start = performance.now();
        let first = null, last = start;
        const step = () => {
          const now = performance.now();
          const found = look(watched);
          if (!same(found, seen)) {
            first ??= now;
            last = now;
            seen = found;
          }
          if (now - last > quiet) resolve([first === null ? null : first - start, last - start]);
          else requestAnimationFrame(step);
        };
        requestAnimationFrame(step);
      }, { capture: true, once: true });
    });
  };
}"""
#: Runs the cells below the first, and tells how long it takes until a canvas shows several colours.
SHOW = """async (index) => {
  const app = window.jupyterapp;
  const notebook = app.shell.currentWidget.content;
  notebook.activeCellIndex = index;
  const start = performance.now();
  app.commands.execute('notebook:run-cell');
  const pictures = (root, found = []) => {
    for (const node of root.querySelectorAll('*')) {
      if (node.tagName === 'CANVAS' && node.width > 300) found.push(node);
      if (node.shadowRoot) pictures(node.shadowRoot, found);
    }
    return found;
  };
  const small = document.createElement('canvas');
  [small.width, small.height] = [64, 48];
  const context = small.getContext('2d', { willReadFrequently: true });
  const drawn = (canvas) => {
    context.drawImage(canvas, 0, 0, 64, 48);
    return new Set(new Uint32Array(context.getImageData(0, 0, 64, 48).data.buffer)).size > 60;
  };
  const cell = notebook.widgets[index].node;
  while (performance.now() - start < 60000) {
    if (pictures(cell).some(drawn)) return performance.now() - start;
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }
  throw new Error(`the panel shows no picture: ${cell.innerText.slice(-500)}`);
}"""
SETUP = """
import calibkit
stack = calibkit.open_stack({pattern!r})
import calibkit.panels
"""
COMPARE = """
from calibkit.panels import ComparePanel
ComparePanel(stack.isel(frame=0), (stack.isel(frame=1) + 300).assign_attrs(stack.attrs), shared=True)"""
COMBINE = "from calibkit.panels import CombinePanel\nCombinePanel(stack, reject='sigma')"
MEMORY = "int(next(l for l in open('/proc/self/status') if l.startswith({name!r})).split()[1]) // 1024"


def write_frames(folder: Path, count: int, shape: tuple[int, int]) -> None:
    """Frames of a sky with stars and noise as 16-bit FITS; the noise of one is that of another, shifted."""
    rng = np.random.default_rng(7)
    y, x = np.indices((shape[0], 1)), np.indices((1, shape[1]))
    sky = (900 + 200 * (y[0] / shape[0]) + 100 * (x[1] / shape[1])).astype(np.float32)
    for _ in range(shape[0] * shape[1] // 20_000):
        row, column = rng.integers(8, shape[0] - 8), rng.integers(8, shape[1] - 8)
        spot = np.exp(-((np.arange(-6, 7)[:, None] ** 2 + np.arange(-6, 7) ** 2) / 6.0))
        sky[row - 6 : row + 7, column - 6 : column + 7] += np.float32(rng.pareto(1.0) * 500) * spot
    noise = rng.normal(0, 12, shape).astype(np.float32)
    for number in range(count):
        pixels = sky + np.roll(noise, rng.integers(0, shape[0], 2), axis=(0, 1))
        hit = rng.integers(0, pixels.size, pixels.size // 10_000)
        pixels.reshape(-1)[hit] += 3000
        header = fits.Header(
            {"IMAGETYP": "Light Frame", "EXPTIME": 60.0, "EGAIN": 1.0, "RDNOISE": 8.0, "BAYERPAT": "RGGB"}
        )
        data = pixels.round().clip(0, 65535).astype(np.uint16)
        fits.PrimaryHDU(data, header).writeto(folder / f"light_{number:02d}.fits")


@contextmanager
def lab(folder: Path) -> Iterator[tuple[Page, Path]]:
    """A page of JupyterLab, and the folder of its notebooks."""
    root, home = folder / "notebooks", folder / "home"
    root.mkdir()
    with jupyter(root, home) as address, sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.goto(f"{address}/lab?reset", wait_until="domcontentloaded")
        page.wait_for_function(
            "() => window.jupyterapp?.shell && document.querySelector('.jp-Launcher')", timeout=60_000
        )
        yield page, root
        browser.close()


def pressed(
    page: Page, keys: list[str], *, count: int, quiet: int, picture: bool = True
) -> tuple[list[float], list[float]]:
    """Milliseconds to the first and to the last change, key after key; the first two presses warm up."""
    firsts, lasts = [], []
    for number in range(count + 2):
        page.evaluate("([quiet, picture]) => { window.afterKey(quiet, picture); }", [quiet, picture])
        page.keyboard.press(keys[number % len(keys)])
        first, last = page.evaluate("() => window.answer")
        if number >= 2 and first is not None:
            firsts.append(first)
            lasts.append(last)
    assert firsts, f"{keys}: nothing changed"
    return firsts, lasts


def measure(page: Page, root: Path, frames: Path, presses: int) -> Iterator[tuple[str, float, float, str]]:
    """(what, median, wanted, unit) one after the other."""
    cells = (SETUP.format(pattern=str(frames / "*.fits")), "", "")
    page.evaluate(OPEN_AND_RUN, write_notebook(root, "bench", cells))
    book = Notebook(page)

    def cell(index: int, code: str) -> float:
        cells = "window.jupyterapp.shell.currentWidget.content.widgets"
        set_source = f"([index, code]) => {{ {cells}[index].model.sharedModel.setSource(code); }}"
        page.evaluate(set_source, [index, code])
        return page.evaluate(SHOW, index) / 1000

    yield "ComparePanel, cell to picture", cell(1, COMPARE), 3.0, "s"
    page.wait_for_timeout(2000)
    page.evaluate(WATCH)
    figure = page.locator(".calibkit-figure").first
    figure.focus()
    yield "blink (b)", median(pressed(page, ["b"], count=presses, quiet=300)[0]), 60, "ms"
    page.keyboard.press("3")  # blinking has left one of the two
    page.wait_for_timeout(500)
    yield "divider ([ ])", median(pressed(page, ["[", "[", "]", "]"], count=presses, quiet=300)[0]), 60, "ms"
    page.keyboard.press("1")
    handle = page.locator(".calibkit-figure [role=slider][aria-label*=midtone i]:visible").first
    handle.focus()
    yield (
        "stretch (a level's handle)",
        median(pressed(page, ["Shift+ArrowRight", "Shift+ArrowLeft"], count=presses, quiet=300)[0]),
        60,
        "ms",
    )
    figure.focus()
    lasts = pressed(page, ["+", "+", "+", "0"], count=min(presses, 8), quiet=900)[1]
    yield "zoom to sharp data (+)", median(lasts), 400, "ms"
    yield "ComparePanel, kernel", book.ask(MEMORY.format(name="VmRSS")), 700, "MB"
    yield "CombinePanel, cell to picture", cell(2, COMBINE), 3.0, "s"
    page.wait_for_timeout(20_000)
    page.evaluate(WATCH)
    slider = page.locator(".widget-slider [role=slider], .noUi-handle").first
    slider.focus()
    yield (
        "CombinePanel, σ slider",
        median(pressed(page, ["ArrowRight"], count=presses, quiet=900, picture=False)[0]),
        200,
        "ms",
    )
    yield "both panels, kernel", book.ask(MEMORY.format(name="VmRSS")), 700, "MB"
    yield "both panels, kernel at its peak", book.ask(MEMORY.format(name="VmHWM")), 700, "MB"


def main() -> int:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--full", action="store_true", help="20 frames of 24 megapixels instead of 12 small ones"
    )
    parser.add_argument("--presses", type=int, default=12, help="of each key (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="file for the table")
    args = parser.parse_args()
    count, shape = (20, (4000, 6000)) if args.full else (12, (400, 600))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "frames").mkdir()
        write_frames(folder / "frames", count, shape)
        start = time.monotonic()
        lines = [
            f"{count} frames of {shape[0]} × {shape[1]}\n",
            "| what | median | wanted |",
            "| --- | --- | --- |",
        ]
        print("\n".join(lines), flush=True)
        with lab(folder) as (page, root):
            for what, found, wanted, unit in measure(page, root, folder / "frames", args.presses):
                lines.append(f"| {what} | {found:.3g} {unit} | {wanted:g} {unit} |")
                print(lines[-1], flush=True)
        print(f"\n{time.monotonic() - start:.0f} s in all")
    if args.out is not None:
        args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

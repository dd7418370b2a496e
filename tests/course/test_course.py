"""The course as a whole: every slide is taught, every exercise is asked and solved, every notebook is small and clean."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from calibkit import teach
from tests.course.freeze import CHECKED, NOTEBOOKS

CHAPTERS = sorted(NOTEBOOKS.glob("*.ipynb"))
SOLUTIONS = sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))
#: Slides of the lecture, which the map in the notes for teachers has to lead to.
SLIDES = range(1, 24)
_CHECK = re.compile(r"""check\(\s*["']([^"']+)["']""")


def code_of(path: Path) -> str:
    notebook = nbformat.read(path, as_version=4)
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


def text_of(path: Path) -> str:
    notebook = nbformat.read(path, as_version=4)
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("path", [*CHAPTERS, *SOLUTIONS], ids=lambda path: path.stem)
def test_notebook_is_clean(path: Path) -> None:
    assert path.stat().st_size < 200_000
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.execution_count in (None, 1)
            assert len(cell.source.splitlines()) <= 25, "a wall of code"
            if CHECKED not in cell.metadata.get("tags", []):
                assert not cell.outputs, "outputs that nobody checks: python -m tests.course.freeze"
            else:
                assert cell.outputs, "nothing to compare: python -m tests.course.freeze"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_has_its_parts(path: Path) -> None:
    text = text_of(path)
    assert re.search(r"\b\d+ minutes\b", text), "how long does it take?"
    assert re.search(r"(?i)before you (run|look|go on|move)|predict", text), "nothing is predicted"
    assert re.search(r"(?im)^#+ .*your own", text), "nothing about the reader's own frames"
    if path.stem != "00_start_here":
        assert re.search(r"(?im)^#+ .*read on", text), "where to read on?"
    assert "Panel(" in code_of(path) or "Workbench(" in code_of(path), "nothing to take hold of"


def test_every_exercise_is_asked_and_solved() -> None:
    asked = {name for path in CHAPTERS for name in _CHECK.findall(code_of(path))}
    solved = {name for path in SOLUTIONS for name in _CHECK.findall(code_of(path))}
    known = set(teach.exercise_names())
    assert asked == known
    assert solved == known


def test_every_slide_is_taught() -> None:
    """The map for teachers leads from each slide to a heading that is there."""
    table = (NOTEBOOKS / "for_teachers.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| (\d+) \|.*?\]\(([\w.]+\.ipynb)\)[^|]*\| ([^|]+) \|", table)
    assert {int(slide) for slide, _, _ in rows} == set(SLIDES)
    for slide, name, heading in rows:
        headings = re.findall(r"(?m)^#+ (.+)$", text_of(NOTEBOOKS / name))
        assert heading.strip() in headings, f"slide {slide}: {name} has no heading {heading.strip()!r}"

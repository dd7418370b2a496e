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
    assert re.search(r"(?im)^#+ .*read on", text), "where to read on?"
    assert _CHECK.search(code_of(path)), "nothing to try oneself at"
    assert "Panel(" in code_of(path) or "Workbench(" in code_of(path), "nothing to take hold of"


def test_every_exercise_is_asked_and_solved() -> None:
    asked = {name for path in CHAPTERS for name in _CHECK.findall(code_of(path))}
    solved = {name for path in SOLUTIONS for name in _CHECK.findall(code_of(path))}
    known = set(teach.exercise_names())
    assert asked == known
    assert solved == known


def printed_by(path: Path) -> str:
    """What the notebook's checked cells print, and what it says."""
    notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return text_of(path) + "\n".join(
        o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs
    )


def table(heading: str) -> list[list[str]]:
    """Cells of the rows of a table in the notes for teachers."""
    notes = (NOTEBOOKS / "for_teachers.md").read_text(encoding="utf-8")
    part = notes.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in part.splitlines() if re.match(r"\| \d+ \|", line)]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def led_to(link: str, heading: str) -> Path:
    """The notebook that a row leads to, which has to have that heading."""
    path = NOTEBOOKS / re.search(r"\(([\w.]+\.ipynb)\)", link).group(1)
    headings = re.findall(r"(?m)^#+ (.+)$", text_of(path))
    assert heading in headings, f"{path.name} has no heading {heading!r}"
    return path


def test_every_slide_is_taught() -> None:
    """The map for teachers leads from each slide to a heading that is there."""
    rows = table("Where each slide is taught")
    assert {int(slide) for slide, *_ in rows} == set(SLIDES)
    for _slide, _says, link, heading in rows:
        led_to(link, heading)


def test_every_claim_is_measured() -> None:
    """What is said to be measured is what the notebook prints."""
    rows = table("What the lecture claims, and what was measured")
    without_claim = {2, 11, 23}  # lists of artifacts, of steps and of programs
    assert {int(slide) for slide, *_ in rows} == set(SLIDES) - without_claim
    for slide, claim, measured, _so, link, heading in rows:
        path = led_to(link, heading)
        found = set(re.findall(r"\d+(?:\.\d+)?", printed_by(path)))
        numbers = re.findall(r"\d+(?:\.\d+)?", re.sub(r"STL-\d+|\d+ °C|S II|\b5 σ", "", measured))
        assert numbers, measured
        missing = [number for number in numbers if number not in found]
        assert not missing, f"slide {slide}, {claim}: {path.name} prints no {missing}"

"""Run notebooks and keep the outputs that tests compare, and no others: ``python -m tests.course.freeze [NOTEBOOK …]``.

A cell with the tag ``nbval-check-output`` keeps its text. Everything else is left empty, so that no notebook
carries pictures, widget states or numbers that nobody checks.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
CHECKED = "nbval-check-output"


def freeze(path: Path) -> None:
    """Run the notebook at *path* in an empty folder and write it again with its checked outputs."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        kept = [_plain(output) for output in cell.outputs] if CHECKED in cell.metadata.get("tags", []) else []
        cell.outputs = _merged([output for output in kept if output is not None])
        cell.execution_count = (
            1 if cell.outputs else None
        )  # nbval takes a cell without a number for one not run
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.validate(notebook)
    path.write_text(nbformat.writes(notebook, ensure_ascii=False) + "\n", encoding="utf-8")


def _merged(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """*outputs* with what was printed in one piece: in how many pieces it arrives is chance."""
    merged: list[nbformat.NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and merged and merged[-1].output_type == "stream":
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def _plain(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """*output* as text alone; None when there is none."""
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    text = output.get("data", {}).get("text/plain")
    if output.output_type not in ("execute_result", "display_data") or text is None:
        return None
    output.data = nbformat.NotebookNode({"text/plain": text})
    output.metadata = nbformat.NotebookNode()
    if "execution_count" in output:
        output.execution_count = 1
    return output


def main() -> None:
    """Freeze those that are named, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path)
    for path in parser.parse_args().notebooks or sorted(NOTEBOOKS.rglob("*.ipynb")):
        freeze(path)
        sys.stdout.write(f"{path}: {path.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()

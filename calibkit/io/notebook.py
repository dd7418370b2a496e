"""Jupyter notebooks as files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from calibkit.io.atomic import part_file

#: A cell: what it is, and its text.
Cell = tuple[Literal["markdown", "code"], str]


def write_notebook(cells: Iterable[Cell], path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write cells as a notebook that has not been run.

    Parameters
    ----------
    cells : iterable of tuple
        ``("markdown" | "code", text)`` in their order.
    path : path
        The file, ``….ipynb``.
    overwrite : bool
        Replace a file that is there.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    OutputError
        The file exists, or cannot be written.

    Notes
    -----
    Notebook format 4.5, https://nbformat.readthedocs.io: JSON text. The same cells give the same bytes.

    Examples
    --------
    >>> import tempfile
    >>> path = write_notebook([("code", "1 + 1")], tempfile.mkdtemp() + "/sum.ipynb")
    >>> json.loads(path.read_text())["cells"][0]["source"]
    ['1 + 1']
    """
    path = Path(path)
    notebook = {
        "cells": [_cell(number, kind, text) for number, (kind, text) in enumerate(cells, start=1)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    with part_file(path, overwrite=overwrite) as part:
        part.write_at(0, (json.dumps(notebook, ensure_ascii=False, indent=1) + "\n").encode("utf-8"))
        part.finish(overwrite=overwrite)
    return path


def _cell(number: int, kind: str, text: str) -> dict[str, Any]:
    cell = {
        "cell_type": kind,
        "id": f"cell-{number}",
        "metadata": {},
        "source": text.splitlines(keepends=True),
    }
    return cell | {"execution_count": None, "outputs": []} if kind == "code" else cell

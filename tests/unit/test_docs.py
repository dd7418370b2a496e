"""The reference: docstrings as numpydoc wants them, an example that is run for every public name, and pages."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from numpydoc.validate import validate

import calibkit

#: Matters of taste, and sections that not every function has something for.
LEFT_OUT = {
    "ES01",  # no extended summary
    "SA01",  # no "See Also"
    "SA03",  # lower case after its colon
    "PR08",  # a parameter's description that begins with a lower-case letter
    "PR09",  # … or without a full stop
    "RT02",  # named results
    "RT03",  # results that the type says all about
    "RT04",
    "RT05",
    "PR07",  # parameters whose name and type say it all
    "SS05",  # takes "Biases" for a verb
}


@pytest.mark.parametrize("name", calibkit.__all__)
def test_docstring_is_sound(name: str) -> None:
    text = inspect.getdoc(getattr(calibkit, name)) or ""
    # A class whose fields are its attributes says what they are there.
    left_out = LEFT_OUT | ({"PR01"} if "\nAttributes\n" in text else set())
    faults = [
        f"{code}: {text}" for code, text in validate(f"calibkit.{name}")["errors"] if code not in left_out
    ]
    if isinstance(getattr(calibkit, name), type) and issubclass(getattr(calibkit, name), Exception):
        faults = [fault for fault in faults if not fault.startswith("EX01")]  # nobody makes one
    assert not faults


@pytest.mark.parametrize("name", calibkit.__all__)
def test_public_name_has_an_example_that_is_run(name: str) -> None:
    thing = getattr(calibkit, name)
    if isinstance(thing, type) and issubclass(thing, Exception):
        return
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(thing) or "")
    assert [each for each in examples if not each.options.get(doctest.SKIP)], "its examples are all skipped"


@pytest.mark.slow
def test_reference_can_be_built(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pdoc",
        "--docformat",
        "numpy",
        "--output-directory",
        str(tmp_path),
        "calibkit",
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "calibkit.html").read_text(encoding="utf-8")
    missing = [name for name in calibkit.__all__ if f'id="{name}"' not in page]
    assert not missing

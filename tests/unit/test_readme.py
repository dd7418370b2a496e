"""The README's Python runs as it stands."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import calibkit

README = Path(__file__).resolve().parents[2] / "README.md"


def test_readme_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "readme.py"
    script.write_text(code, encoding="utf-8")
    runpy.run_path(str(script))
    saved = calibkit.open_result(tmp_path / "light_001.fits")
    assert saved["signal"].dims == ("y", "x")
    assert bool((saved["variance"] > 0).mean() > 0.99)


def test_readme_names_every_room() -> None:
    """A new room gets its line in the map."""
    package = README.parent / "calibkit"
    text = README.read_text(encoding="utf-8")
    rooms = {
        p.name.removesuffix(".py")
        for p in package.iterdir()
        if not p.name.startswith("_") and (p.is_dir() or p.suffix == ".py")
    }
    missing = sorted(room for room in rooms if f"`{room}" not in text)
    assert not missing, f"the README's map has no line for {missing}"

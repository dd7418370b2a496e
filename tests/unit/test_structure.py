"""The walls of the house: layers, import circles, file lengths, a light import, the public names."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import calibkit

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "calibkit"
FILES = sorted(PACKAGE.rglob("*.py"))

#: Third-party packages that only some layers may name, anywhere in a file.
RESERVED = {
    "ipywidgets": {"panels"},
    "anywidget": {"panels"},
    "IPython": {"panels"},
    "traitlets": {"panels", "state"},
    "rich": {"cli"},
}
#: layer → the layers of calibkit that it must never import.
FORBIDDEN = {"science": {"state", "panels", "cli"}, "state": {"panels", "cli"}, "panels": {"cli"}}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def layer(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py").replace("__main__", "cli")
    return first if first in {"state", "panels", "cli"} else "science"


@cache
def imports(path: Path, *, top_level_only: bool = False) -> frozenset[str]:
    """Absolute names of the modules that the file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    nodes = tree.body if top_level_only else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base]).rstrip(".")
            for alias in node.names:  # a module taken from its package, or a name taken from a module
                full = f"{base}.{alias.name}"
                found.add(full if full in MODULES else base)
    return frozenset(found)


def test_reserved_packages_stay_in_their_layer() -> None:
    offenders = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in FILES
        for name in {full.split(".")[0] for full in imports(path)}
        if name in RESERVED and layer(path) not in RESERVED[name]
    }
    assert not offenders


def test_imports_point_down_only() -> None:
    offenders = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in FILES
        for name in imports(path)
        if name.startswith("calibkit.") and name.split(".")[1] in FORBIDDEN.get(layer(path), set())
    }
    # The package's own front door names its rooms as text and loads them when asked.
    assert not offenders


def test_pythons_warnings_are_left_alone() -> None:
    # `warnings.catch_warnings` is for the whole process: it would take what other threads, of other panels, warn of.
    users = {path.relative_to(PACKAGE).as_posix() for path in FILES if "warnings" in imports(path)}
    assert users == {"warned.py", "cli/terminal.py"}, "warn and collect with calibkit.warned"


def test_no_import_circle() -> None:
    graph = {
        name: (imports(path, top_level_only=True) & MODULES.keys()) - {name, "calibkit"}
        for name, path in MODULES.items()
    }
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, "import circle: " + " → ".join([*trail, name])
        if name not in done:
            for target in sorted(graph[name]):
                walk(target, (*trail, name))
            done.add(name)

    for name in graph:
        walk(name, ())


def test_files_are_short() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in [*FILES, *sorted((ROOT / "tests").rglob("*.py"))]
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 600
    }
    assert not long, "split these files, the ceiling is 600 lines"


def test_import_is_light() -> None:
    heavy = [
        "xarray",
        "pandas",
        "numba",
        "dask",
        "scipy",
        "astropy",
        "bokeh",
        "ipywidgets",
        "anywidget",
        "rawpy",
    ]
    code = (
        "import sys, time; start = time.perf_counter(); import calibkit; print(time.perf_counter() - start); "
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(3)
    ]
    assert {run.split("\n")[1] for run in runs} == {"[]"}
    assert min(float(run.split("\n")[0]) for run in runs) < 0.5  # seconds


def test_widgets_stay_out_of_the_science(tmp_path: Path) -> None:
    names = [name for name in calibkit._PUBLIC if not name.startswith(("panels", "state"))]
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module('calibkit.' + name)\n"
        "print([m for m in ('ipywidgets', 'anywidget', 'IPython') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert out.stdout.strip() == "[]"


def test_accessor_is_there_when_xarray_came_first() -> None:
    code = "import xarray, calibkit; xarray.DataArray([[0]], dims=('y', 'x')).cfa"
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def test_public_names_have_one_home() -> None:
    names = [name for group in calibkit._PUBLIC.values() for name in group]
    assert len(names) == len(set(names))
    clash = {name for name in names if (PACKAGE / f"{name}.py").exists() or (PACKAGE / name).is_dir()}
    assert not clash, "a function and a module of one name hide each other"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        calibkit.nonsense  # noqa: B018


@pytest.mark.parametrize("name", calibkit.__all__)
def test_public_name_is_documented(name: str) -> None:
    thing = getattr(calibkit, name)
    assert thing.__module__.startswith("calibkit."), f"{name} comes from {thing.__module__}"
    home = importlib.import_module(f"calibkit.{calibkit._HOME[name]}")
    assert getattr(home, name) is thing
    text = inspect.getdoc(thing) or ""
    assert text, f"{name} has no docstring"
    if not inspect.isfunction(thing):
        return
    parameters = inspect.signature(thing).parameters
    missing = [p for p in parameters if not p.startswith("_") and p not in text]
    assert not missing, f"{name}: parameters {missing} are not in its docstring"
    # What takes nothing refuses nothing.
    for section in ("Parameters", "Returns", "Raises") if parameters else ("Returns",):
        assert f"\n{section}\n---" in text, f"{name}: no section {section!r}"
    assert thing.__annotations__.get("return") is not None, f"{name}: no return annotation"

"""Compiled kernels are kept between sessions without ever doing harm."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

#: A module of its own with one kernel, so that nothing of the package has to be compiled.
MODULE = """
from calibkit.kernels._jit import kernel

@kernel
def double(x):
    return {factor} * x
"""

REPORT = """
import sys
sys.path.insert(0, {folder!r})
import little
from numba.core import compiler
value = little.double({argument})
print(value, sum(little.double.stats.cache_hits.values()), sum(little.double.stats.cache_misses.values()))
"""


def run(
    folder: Path, cache: str | Path | None, *, argument: str = "21", **environment: str
) -> tuple[str, int, int]:
    """Value of ``double(argument)`` in a new process, and how often it came from the cache and did not."""
    settings = {k: v for k, v in os.environ.items() if not k.startswith(("CALIBKIT", "NUMBA"))} | environment
    if cache is not None:
        settings["CALIBKIT_KERNEL_CACHE"] = str(cache)
    code = textwrap.dedent(REPORT).format(folder=str(folder), argument=argument)
    done = subprocess.run(
        [sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=True
    )
    value, hits, misses = done.stdout.split()
    return value, int(hits), int(misses)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "little.py").write_text(MODULE.format(factor=2))
    return folder


def test_compiled_once_and_then_loaded(module: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert run(module, cache) == ("42", 0, 1)
    assert run(module, cache) == ("42", 1, 0)
    assert run(module, cache, argument="1.5") == ("3.0", 0, 1)  # another type is another file
    assert run(module, cache, argument="1.5") == ("3.0", 1, 0)
    assert len(list(cache.iterdir())) == 2


def test_nothing_is_written_beside_the_source(module: Path, tmp_path: Path) -> None:
    run(module, tmp_path / "cache")
    assert not list(module.rglob("*.nb?"))


@pytest.mark.parametrize("switch", ["off", "0", "OFF"])
def test_switched_off(module: Path, tmp_path: Path, switch: str) -> None:
    home = {"XDG_CACHE_HOME": str(tmp_path / "home"), "HOME": str(tmp_path / "home")}
    assert run(module, switch, **home)[1] == 0
    assert run(module, switch, **home)[1] == 0
    assert not (tmp_path / "home").exists()


def test_a_folder_that_cannot_be_made_does_no_harm(module: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert run(module, blocked / "cache")[0] == "42"


def test_a_folder_that_may_not_be_written(module: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.access(closed, os.W_OK):
        pytest.skip("this user may write everywhere")
    assert run(module, closed)[0] == "42"


def test_changed_source_is_compiled_again(module: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    run(module, cache)
    (module / "little.py").write_text(MODULE.format(factor=3))
    assert run(module, cache) == ("63", 0, 1)


def test_changed_source_of_an_imported_kernel_is_compiled_again(module: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (module / "deeper.py").write_text(MODULE.format(factor=2))
    (module / "little.py").write_text(
        "from calibkit.kernels._jit import kernel\nfrom deeper import double as inner\n\n"
        "@kernel\ndef double(x):\n    return inner(x)\n"
    )
    assert run(module, cache)[0] == "42"
    (module / "deeper.py").write_text(MODULE.format(factor=5))
    assert run(module, cache)[0] == "105"


@pytest.mark.parametrize("damage", [b"", b"rubbish", None])
def test_a_damaged_file_is_as_good_as_none(module: Path, tmp_path: Path, damage: bytes | None) -> None:
    cache = tmp_path / "cache"
    run(module, cache)
    (file,) = cache.iterdir()
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] if damage is None else damage)
    assert run(module, cache) == ("42", 0, 1)
    assert run(module, cache) == ("42", 1, 0)


def test_code_for_another_processor_is_not_used(module: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert run(module, cache, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == ("42", 0, 1)
    assert run(module, cache) == ("42", 0, 1)
    assert run(module, cache) == ("42", 1, 0)
    assert run(module, cache, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == ("42", 1, 0)


def test_processes_that_compile_at_the_same_time(module: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    code = textwrap.dedent(REPORT).format(folder=str(module), argument="{}")
    arguments = ["21", "1.5", "2j", "21", "1.5", "2j"]
    settings = os.environ | {"CALIBKIT_KERNEL_CACHE": str(cache)}
    together = [
        subprocess.Popen(
            [sys.executable, "-c", code.format(a)], env=settings, stdout=subprocess.PIPE, text=True
        )
        for a in arguments
    ]
    values = [process.communicate()[0].split()[0] for process in together]
    assert values == ["42", "3.0", "4j", "42", "3.0", "4j"]
    for argument, value in zip(arguments[:3], values, strict=False):
        assert run(module, cache, argument=argument) == (value, 1, 0)
    assert len(list(cache.iterdir())) == 3

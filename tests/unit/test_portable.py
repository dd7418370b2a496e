"""What other systems would stumble over: text in the computer's own encoding, modules that only Unix has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "calibkit"
#: Not on Windows; where one is wanted, its absence is seen to.
UNIX_ONLY = {"curses", "fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
UNIX_CALLS = {
    f"os.{name}" for name in ("fork", "forkpty", "geteuid", "getuid", "mkfifo", "chown", "nice", "killpg")
} | {
    "signal.SIGKILL",
    "signal.SIGALRM",
}


def calls_without_encoding(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that read or write text, or open a file for it, and do not say in which encoding."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or any(word.arg == "encoding" for word in call.keywords):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        texts = [
            value.value
            for value in (*call.args, *(word.value for word in call.keywords))
            if isinstance(value, ast.Constant) and isinstance(value.value, str)
        ]
        modes = [text for text in texts if re.fullmatch(r"[rwax][bt+]*", text)]
        if (
            name == "read_text"
            or (name == "write_text" and len(call.args) < 2)
            or (name in {"open", "fdopen"} and modes and "b" not in modes[0])
            or (isinstance(call.func, ast.Name) and name == "open" and not modes)
            or any(
                word.arg in {"text", "universal_newlines"} and getattr(word.value, "value", None) is True
                for word in call.keywords
            )
        ):
            yield call


def below(tree: ast.AST, *kinds: type[ast.AST]) -> set[ast.AST]:
    """What stands inside a block of these kinds."""
    return {inside for block in ast.walk(tree) if isinstance(block, kinds) for inside in ast.walk(block)}


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.AST]:
    return {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in PACKAGE.rglob("*.py")
    }


def test_text_is_read_and_written_in_a_named_encoding(trees: dict[str, ast.AST]) -> None:
    found = [
        f"{name}:{call.lineno}: {ast.unparse(call)}"
        for name, tree in trees.items()
        for call in calls_without_encoding(tree)
    ]
    assert not found


@pytest.mark.parametrize(
    "code",
    ["p.read_text()", "p.write_text(t)", "open(p)", "p.open('w')", "p.open(mode='a')", "run(c, text=True)"],
)
def test_such_a_call_is_seen(code: str) -> None:
    assert list(calls_without_encoding(ast.parse(code)))
    assert not list(
        calls_without_encoding(
            ast.parse(re.sub(r",? *\)$", ", encoding='utf-8')", code.replace("()", "(*a)")))
        )
    )


def test_unix_is_asked_for_before_it_is_used(trees: dict[str, ast.AST]) -> None:
    """Its modules are not imported along with a module of ours, its functions not called without a question."""
    found = []
    for name, tree in trees.items():
        asked = below(tree, ast.Try, ast.If)
        later = asked | below(tree, ast.FunctionDef)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = {part.name for part in node.names} | {getattr(node, "module", None)}
                wrong = bool(modules & UNIX_ONLY) and node not in later
            else:
                wrong = (
                    isinstance(node, ast.Attribute) and ast.unparse(node) in UNIX_CALLS and node not in asked
                )
            if wrong:
                found.append(f"{name}:{node.lineno}: {ast.unparse(node)}")
    assert not found

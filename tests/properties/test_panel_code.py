"""The Python that a panel gives makes in a fresh process what the panel holds, whatever its settings."""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibkit import panels
from calibkit.panels.base import Panel
from tests.panel_makers import PANELS

#: Runs one program after another, each in a namespace of its own, and sends back its ``result``.
CHILD = """
import pickle, sys
from tests.properties.test_panel_code import plain
out, sys.stdout = sys.stdout.buffer, sys.stderr
while True:
    try:
        code = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    names = {}
    exec(code, names)
    pickle.dump(plain(names["result"]), out)
    out.flush()
"""


def plain(value: Any) -> Any:
    """*value* as tuples, numbers and bytes that are equal only where every bit is."""
    if isinstance(value, xr.Dataset | xr.DataArray):
        variables = value.variables if isinstance(value, xr.Dataset) else {"": value.variable, **value.coords}
        return (
            type(value).__name__,
            tuple((str(name), v.dims, plain(v.values), plain(v.attrs)) for name, v in variables.items()),
            plain(value.attrs),
        )
    if isinstance(value, pd.DataFrame | pd.Series):
        frame = value.reset_index() if isinstance(value, pd.Series) else value
        return (
            type(value).__name__,
            *((str(name), plain(frame[name].tolist())) for name in frame),
            plain(list(frame.index)),
        )
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        listed = plain(array.tolist()) if array.dtype == object else array.tobytes()
        return ("array", array.dtype.str, array.shape, listed)
    if isinstance(value, np.generic):
        return plain(np.asarray(value))
    if isinstance(value, float):
        return ("float", np.float64(value).tobytes())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return (
            type(value).__name__,
            *((f.name, plain(getattr(value, f.name))) for f in dataclasses.fields(value)),
        )
    if isinstance(value, Mapping):
        return ("dict", *((plain(key), plain(part)) for key, part in value.items()))
    if isinstance(value, list | tuple):
        return (type(value).__name__, *map(plain, value))
    if value is None or isinstance(value, bool | int | str | bytes):
        return (type(value).__name__, value)
    if isinstance(value, Path):
        return ("path", str(value))
    if type(value).__module__.startswith("calibkit."):
        return (type(value).__name__, plain({k: v for k, v in vars(value).items() if not k.startswith("_")}))
    return (type(value).__name__, repr(value))


class Fresh:
    """A Python process that has seen nothing of the panel; another one after an error, which it prints."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def result(self, code: str) -> Any:
        """What *code* calls ``result``, made comparable."""
        process = self.process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        pickle.dump(code, process.stdin)
        process.stdin.flush()
        try:
            return pickle.load(process.stdout)
        except EOFError:
            self.stop()
            pytest.fail(f"this fails in a fresh process:\n{code}")

    def _start(self) -> subprocess.Popen[bytes]:
        root = Path(__file__).resolve().parents[2]
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self.process

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.communicate(timeout=20)
            self.process = None


@pytest.fixture(scope="module")
def fresh() -> Iterator[Fresh]:
    child = Fresh()
    yield child
    child.stop()


@pytest.fixture
def panel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Panel]:
    made = PANELS[request.param][0](tmp_path)
    made.given = made.settings()  # what it was made with stays, whatever else is tried
    yield made
    made.close()


def test_every_panel_is_here() -> None:
    """Workbench writes what its panels do: it has tests of its own."""
    names = {name for name in panels.__all__ if name.endswith("Panel")}
    assert names == set(PANELS)


@pytest.mark.parametrize("panel", list(PANELS), indirect=True)
@given(data=st.data())
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_code_makes_the_result_byte_by_byte(panel: Panel, fresh: Fresh, data: st.DataObject) -> None:
    chosen = data.draw(PANELS[type(panel).__name__][1])
    panel.state.restore()
    for name, value in {**panel.given, **chosen}.items():
        setattr(panel.state, name, value)
    assert panel.errors.text == ""
    assert fresh.result(panel.code) == plain(panel.result), panel.code


def test_a_different_byte_is_seen() -> None:
    """The comparison itself: what differs in one bit, a label or an attribute is not equal."""
    base = xr.Dataset({"signal": (("y", "x"), np.zeros((2, 2), np.float32))}, attrs={"gain": float("nan")})
    assert plain(base) == plain(base.copy(deep=True))
    other = base.copy(deep=True)
    other["signal"].values[0, 0] = -0.0
    for changed in (
        other,
        base.assign_attrs(gain=1.0),
        base.assign_coords(y=[1, 2]),
        base.astype(np.float64),
    ):
        assert plain(changed) != plain(base)

"""Python that opens a panel's inputs again: whatever it opens is identical, whatever it cannot is said."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.io import fits

import calibkit as ck
from calibkit.panels.inputs import load_lines, with_imports
from tests.panel_makers import write_frames


@pytest.fixture
def again(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs the lines for some inputs; their names and what these hold then."""

    def run(**inputs: Any) -> dict[str, Any]:
        script = tmp_path / "script.py"
        script.write_text("\n".join(load_lines(**inputs)))
        return runpy.run_path(str(script))

    return run


@pytest.fixture
def stack(tmp_path: Path) -> xr.DataArray:
    return ck.open_stack(write_frames(tmp_path / "frames", "dark", EXPTIME=30.0, BAYERPAT="RGGB"))


@pytest.fixture
def master(tmp_path: Path, stack: xr.DataArray) -> Path:
    return ck.save(ck.master_dark(stack), tmp_path / "master.fits")


PARTS = {
    "whole": lambda s: s,
    "one frame": lambda s: s.isel(frame=2),
    "one of a list": lambda s: s.isel(frame=[2]),
    "every other frame": lambda s: s[::2],
    "frames in another order": lambda s: s.isel(frame=[3, 0, 3]),
    "crop": lambda s: s.isel(frame=slice(1, 3)).isel(y=slice(3, 9)).sel(x=slice(4, 7)),
    "row": lambda s: s.isel(y=5),
    "green pixels of one row parity": lambda s: s.isel(y=slice(0, None, 2), x=slice(1, None, 2)),
    "other bands": lambda s: s.chunk(y=7),
    "other attributes": lambda s: s.assign_attrs(saturation=float("nan"), cfa="GRBG"),
    "other kind": lambda s: s.assign_coords(kind=("frame", ["bias"] * 5), gain=2.0),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_stack_and_its_parts(again: Callable, stack: xr.DataArray, part: str) -> None:
    array = PARTS[part](stack)
    assert again(x=array)["x"].identical(array)


@pytest.mark.parametrize("options", [{"kind": "flat"}, {"area": "full"}, {"cfa": ""}, {"mixed": True}])
def test_options_of_open_stack(again: Callable, tmp_path: Path, options: dict[str, Any]) -> None:
    write_frames(tmp_path, "light", 3, BAYERPAT="RGGB")
    stack = ck.open_stack(f"{tmp_path}/*.fits", **options)
    assert again(x=stack)["x"].identical(stack)


CHANGED = {
    "other values": lambda s: s + 1,
    "other type": lambda s: s.astype(np.float32),
    "masked": lambda s: s.where(s > 1000),
    "read already": lambda s: s.copy().load(),
    "rows upside down": lambda s: s.assign_coords(y=s.y.values - 100),
    "fewer labels": lambda s: s.drop_vars("file"),
    "mean": lambda s: s.mean("frame"),
}


@pytest.mark.parametrize("change", CHANGED)
def test_what_cannot_be_opened_again_is_said(stack: xr.DataArray, change: str) -> None:
    lines = load_lines(x=CHANGED[change](stack))
    assert len(lines) == 1
    assert lines[0].startswith("# x: ")


def test_results(again: Callable, master: Path) -> None:
    result = ck.open_result(master)
    parts = {
        "a": result,
        "b": result.isel(y=slice(4, 10)),
        "c": result["signal"],
        "d": ck.open_image(master),
        "e": result["n_kept"].isel(x=3),
        "f": result.assign_attrs(gain=1.5),
    }
    found = again(**parts)
    for name, part in parts.items():
        assert found[name].identical(part), name
    for changed in (result * 2, result.load(), result.assign(signal=result.variance)):
        assert load_lines(x=changed)[-1].startswith("# x: ")


def test_lines_that_are_long_are_folded_at_a_list_if_there_is_one(again: Callable, tmp_path: Path) -> None:
    folder = tmp_path / ("Nächte mit Öl und 夜 " * 5).strip()
    stack = ck.open_stack(write_frames(folder, "dark", EXPTIME=30.0, BAYERPAT="RGGB"))
    result = ck.open_result(ck.save(ck.master_dark(stack), folder / "master.fits"))
    found = again(stack=stack.isel(frame=[3, 0]), counts=result["n_kept"], crop=result.isel(y=slice(4, 10)))
    assert found["stack"].identical(stack.isel(frame=[3, 0]))
    assert found["counts"].identical(result["n_kept"])
    assert found["crop"].identical(result.isel(y=slice(4, 10)))
    # each file has a line
    assert sum(line.startswith("    '") for line in load_lines(stack=stack)) == stack.sizes["frame"]


def test_foreign_results(again: Callable, tmp_path: Path) -> None:
    hdus = [
        fits.PrimaryHDU(np.ones((6, 8), np.float32)),
        fits.ImageHDU(np.ones((6, 8), np.float32), name="UNCERT"),
    ]
    fits.HDUList(hdus).writeto(tmp_path / "m.fits")
    master = ck.open_result(tmp_path / "m.fits")
    assert again(x=master.isel(y=slice(1, 4)))["x"].identical(master.isel(y=slice(1, 4)))
    assert load_lines(x=master.assign(signal=master.signal + 1))[-1].startswith("# x: ")


def test_sessions_and_paths(again: Callable, tmp_path: Path, stack: xr.DataArray, master: Path) -> None:
    folder = tmp_path / "frames"
    tolerances = ck.Tolerances(gain_fraction=0.1, ignore=("night",))
    session = ck.scan(folder, kinds={"light": "dark_*"}, tolerances=tolerances)
    found = again(
        s=session, folder=folder, f=master, p=f"{folder}/*.fits", none=None, many=[stack[0], {"a": stack}]
    )
    assert found["s"].summary() == session.summary()
    assert found["s"].tolerances == tolerances
    assert len(found["folder"].frames) == 5
    assert found["f"].identical(ck.open_image(master))
    assert found["p"].equals(stack)
    assert found["none"] is None
    assert found["many"][0].identical(stack[0])
    assert found["many"][1]["a"].identical(stack)


def test_imports_come_once_and_first() -> None:
    lines = ["from a import x, y", "", "x(1)", "from a import b", "import z", "", "b()"]
    assert with_imports(lines) == ["import z", "from a import b, x, y", "", "x(1)", "", "b()"]
    assert with_imports(["# nothing"]) == ["# nothing"]

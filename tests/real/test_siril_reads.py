"""Files that calibkit writes, opened by Siril: one image each, right way up, in the right colours."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from astropy.io import fits

import calibkit
from calibkit.cfa import Pattern

pytestmark = [
    pytest.mark.siril,
    pytest.mark.skipif(shutil.which("siril-cli") is None, reason="siril-cli is not installed"),
]
LEVELS = {"R": 10000.0, "G": 20000.0, "B": 40000.0}
XTRANS = "GGRGGB/GGBGGR/BRGRBG/GGBGGR/GGRGGB/RBGBRG"


def siril(folder: Path, *commands: str) -> str:
    """Run Siril in *folder*, with no settings of the user's."""
    script = folder / "run.ssf"
    script.write_text("\n".join(["requires 1.0.0", *commands]) + "\n")
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    environment = os.environ | {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "LC_ALL": "C"}
    run = subprocess.run(
        ["siril-cli", "-d", str(folder), "-s", str(script)],
        capture_output=True,
        check=False,
        text=True,
        env=environment,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def pixels(path: Path) -> np.ndarray:
    """An image of Siril's in ADU: it keeps floating point numbers as parts of 65535."""
    with fits.open(path, memmap=False) as hdus:
        data = hdus[0].data
    return data * 65535.0 if data.dtype.kind == "f" and np.nanmax(data) <= 2 else data.astype(float)


def scene(text: str, y0: int, x0: int, ny: int, nx: int, roworder: str) -> xr.Dataset:
    """Every colour at its own level, brighter in the corner of the first row and column."""
    pattern = Pattern(text)
    colour = np.array([[pattern.label(y, x)[0] for x in range(x0, x0 + nx)] for y in range(y0, y0 + ny)])
    signal = np.vectorize(LEVELS.get)(colour).astype("f4")
    signal[:12, :16] += 20000
    return xr.Dataset(
        {
            "signal": (("y", "x"), signal, {"units": "adu"}),
            "variance": (("y", "x"), signal, {"units": "adu2"}),
            "flags": (("y", "x"), np.zeros((ny, nx), "u2")),
        },
        coords={"y": np.arange(y0, y0 + ny), "x": np.arange(x0, x0 + nx)},
        attrs={"units": "adu", "cfa": text, "kind": "light", "roworder": roworder, "binning": (1, 1)},
    )


def check_colours(image: np.ndarray, shape: tuple[int, int], name: str) -> None:
    assert image.shape == (3, *shape), name
    for plane, level in zip(image, LEVELS.values(), strict=True):
        np.testing.assert_allclose(np.median(plane[20:-4, 24:-4]), level, rtol=1e-3, err_msg=name)
        np.testing.assert_allclose(np.median(plane[3:9, 3:9]), level + 20000, rtol=1e-3, err_msg=name)


def test_colours_and_orientation(tmp_path: Path) -> None:
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    outputs.mkdir()
    shapes = {}
    crops = [(0, 0, 48, 52), (1, 0, 48, 52), (3, 5, 47, 51), (2, 1, 47, 52)]
    phases = ["RGGB", "BGGR", "GRBG", "GBRG"]
    for text, roworder, crop in itertools.product(phases, ["TOP-DOWN", "BOTTOM-UP"], crops):
        name = f"{text}_{roworder}_{'_'.join(map(str, crop))}"
        calibkit.save(scene(text, *crop, roworder), inputs / f"{name}.fit")
        shapes[name] = crop[2:]
    siril(inputs, f"convert c -debayer -out={outputs}")
    images = sorted(outputs.glob("c_*.fit"))
    assert len(images) == len(shapes), "variance and flags are not taken for further frames"
    for path, name in zip(images, sorted(shapes), strict=True):
        check_colours(pixels(path), shapes[name], name)


def test_xtrans(tmp_path: Path) -> None:
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    outputs.mkdir()
    cases = [("TOP-DOWN", (0, 0, 48, 54)), ("TOP-DOWN", (6, 12, 49, 53))]
    for i, (roworder, crop) in enumerate(cases):
        calibkit.save(scene(XTRANS, *crop, roworder), inputs / f"{i}.fit")
    siril(inputs, f"convert c -debayer -out={outputs}")
    for path, (_, crop) in zip(sorted(outputs.glob("c_*.fit")), cases, strict=True):
        image = pixels(path)
        assert image.shape == (3, *crop[2:])
        found = [np.median(plane[20:-8, 24:-8]) for plane in image]
        np.testing.assert_allclose(found, list(LEVELS.values()), rtol=1e-3)


def test_load_and_split(tmp_path: Path) -> None:
    """``load`` gives the signal alone, unchanged, and ``split_cfa`` its four grids, whatever the pattern."""
    folder = tmp_path / "in"
    folder.mkdir()
    ds = scene("GRBG", 3, 5, 40, 44, "TOP-DOWN")
    ds["signal"] += np.random.default_rng(1).normal(0, 50, ds["signal"].shape).astype("f4")
    ds["signal"][30, 30] = -25.0
    calibkit.save(ds, folder / "one.fit")
    siril(folder, "load one", "save copy", "split_cfa")
    np.testing.assert_allclose(pixels(folder / "copy.fit"), ds["signal"], atol=0.02)
    for number, (dy, dx) in enumerate([(1, 0), (0, 0), (1, 1), (0, 1)]):
        expected = ds["signal"].values[dy::2, dx::2]
        np.testing.assert_allclose(pixels(folder / f"CFA{number}_one.fit"), expected, atol=0.02)


def test_colour_image(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    one = scene("RGGB", 0, 0, 30, 40, "TOP-DOWN")
    rgb = xr.concat([one, one, one], dim="channel", data_vars="all").assign_coords(channel=["R", "G", "B"])
    rgb["signal"] = rgb["signal"] + xr.DataArray([0.0, 500.0, 900.0], dims="channel").astype("f4")
    calibkit.save(rgb.assign_attrs(cfa=""), folder / "rgb.fit")
    siril(folder, "load rgb", "save copy")
    np.testing.assert_allclose(pixels(folder / "copy.fit"), rgb["signal"], atol=0.02)


def test_siril_calibrates_with_our_master(tmp_path: Path) -> None:
    """A master dark of calibkit's, subtracted by Siril from 16-bit lights."""
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(2)
    dark = scene("RGGB", 0, 0, 40, 44, "TOP-DOWN").assign_attrs(kind="dark", n_frames=11)
    dark["signal"][:] = rng.uniform(100, 900, (40, 44)).astype("f4")
    calibkit.save(dark, folder / "dark.fit")
    light = rng.integers(2000, 9000, (40, 44)).astype("u2")
    for i in (1, 2):
        fits.writeto(folder / f"light_{i:05d}.fit", light)
    siril(folder, "preprocess light_ -dark=dark")
    found = pixels(folder / "pp_light_00001.fit")
    np.testing.assert_allclose(found, light - dark["signal"].values, atol=0.02)

"""The same frames combined by Siril: equal wherever the definitions are, and different as documented."""

from __future__ import annotations

import os
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from astropy.io import fits

from calibkit import combine
from tests.unit.test_combine_rejection import line_clip

pytestmark = [
    pytest.mark.siril,
    pytest.mark.skipif(shutil.which("siril-cli") is None, reason="siril-cli is not installed"),
]

SHAPE = (40, 50)
#: Siril computes in single precision on frames scaled to 0 … 1.
ROUNDING = 2e-7


def frames(n: int) -> np.ndarray:
    rng = np.random.default_rng(n)
    values = rng.normal(0.3, 0.01, (n, *SHAPE)).astype("f4")
    values[rng.integers(0, n, 150), rng.integers(0, SHAPE[0], 150), rng.integers(0, SHAPE[1], 150)] += 0.2
    return values


def siril(folder: Path, values: np.ndarray, **stacks: str) -> dict[str, np.ndarray]:
    """Results of Siril's ``stack`` with these arguments."""
    work = folder / "work"
    work.mkdir()
    for i, frame in enumerate(values, start=1):
        fits.PrimaryHDU(frame).writeto(work / f"x_{i:05d}.fit")
    script = ["requires 1.0.0", "setext fit", "set32bits", f"cd {work}"]
    script += [
        f"stack x_ {arguments} -nonorm -out={work}/result_{name}" for name, arguments in stacks.items()
    ]
    (folder / "run.ssf").write_text("\n".join([*script, "close", ""]))
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    subprocess.run(
        ["siril-cli", "-s", str(folder / "run.ssf")], env=os.environ | home, check=True, capture_output=True
    )
    return {name: fits.getdata(work / f"result_{name}.fit").astype(float) for name in stacks}


def ours(values: np.ndarray, **options: object) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return combine(xr.DataArray(values, dims=("frame", "y", "x")), **options)


@pytest.mark.parametrize("n", [6, 10, 25])
def test_where_definitions_agree(n: int, tmp_path: Path) -> None:
    values = frames(n)
    theirs = siril(
        tmp_path, values, sigma="rej s 3 3", percentile="rej p 0.2 0.1", winsorized="rej w 3 3", median="med"
    )
    np.testing.assert_array_equal(ours(values, method="median").signal, theirs["median"])
    for name in ("sigma", "percentile", "winsorized"):
        found = ours(values, reject=name, keep=1 if name == "percentile" else 4)
        # Siril counts samples of earlier rounds twice when it asks whether more than four would be left
        free = (
            (n - 2 * (n - found.n_kept.values.astype(int)) > 4) | (found.n_kept == n) | (name == "percentile")
        )
        assert float(free.mean()) > 0.8
        if n >= 10 or name != "sigma":  # which can reject nothing of 6
            assert int((found.n_kept < n).sum()) > 50
        np.testing.assert_allclose(found.signal.values[free], theirs[name][free], rtol=0, atol=ROUNDING)


def test_linear_fit_but_for_the_ranks_of_later_rounds(tmp_path: Path) -> None:
    values = frames(30)
    theirs = siril(tmp_path, values, line="rej l 5 5")["line"].reshape(-1)
    found = ours(values, reject="linear_fit").signal.values.reshape(-1)
    columns = values.reshape(30, -1).astype(float).T
    np.testing.assert_allclose([c[line_clip(c, 5, 5)].mean() for c in columns], found, rtol=0, atol=ROUNDING)
    siril_way = [c[line_clip(c, 5, 5, siril=True)].mean() for c in columns]
    np.testing.assert_allclose(siril_way, theirs, rtol=0, atol=ROUNDING)
    assert np.mean(np.abs(found - theirs) < ROUNDING) > 0.9


def test_esd_of_siril_drops_samples_where_no_test_passes(tmp_path: Path) -> None:
    values = frames(20)
    theirs = siril(tmp_path, values, esd="rej g 0.3 0.05")["esd"]
    found = ours(values, reject="gesd")
    clean = found.n_kept.values == 20
    assert clean.mean() > 0.8
    np.testing.assert_allclose(
        found.signal.values[clean], values.mean(axis=0, dtype=float)[clean], atol=ROUNDING
    )
    assert np.mean(np.abs(theirs - found.signal.values)[clean] > 1e-5) > 0.9

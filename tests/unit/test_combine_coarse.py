"""Frames of few whole numbers: one step is no outlier."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import calibkit


def stack(noise: float, n: int, seed: int = 3) -> xr.DataArray:
    values = np.random.default_rng(seed).normal(60, noise, (n, 60, 70)).round().astype(np.uint16)
    coords = {"y": np.arange(60), "x": np.arange(70)}
    return xr.DataArray(values, coords, ("frame", "y", "x"), attrs={"units": "adu", "cfa": ""})


@pytest.mark.parametrize("n", [4, 10])
def test_coarse_numbers_are_all_kept(n: int) -> None:
    frames = stack(0.4, n)
    out = calibkit.combine(frames)
    assert float(out["rejected_fraction"].max()) == 0
    np.testing.assert_allclose(out["signal"], frames.mean("frame"), rtol=1e-6)
    assert "whole numbers" in str(out.attrs["provenance"])


@pytest.mark.parametrize(("noise", "n"), [(3.0, 10), (3.0, 4)])
def test_fine_numbers_are_still_cleaned(noise: float, n: int) -> None:
    frames = stack(noise, n)
    frames[1, 20:30, 20:30] = 5000
    out = calibkit.combine(frames)
    assert float(out["signal"][25, 25]) < 100

"""Masters that ccdproc made of real frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.nddata import CCDData

import calibkit
from calibkit.errors import CalibkitWarning


@pytest.mark.parametrize(
    ("name", "kind", "exposure"), [("combined_bias", "bias", 0.0), ("combined_dark_90.000", "dark", 90.0)]
)
def test_ccdproc_masters(shared_data: Callable[[str], Path], name: str, kind: str, exposure: float) -> None:
    path = shared_data("ccd_workshop") / f"{name}.fit.gz"
    theirs = CCDData.read(path, unit="adu")
    ours = calibkit.open_result(path)
    np.testing.assert_array_equal(ours["signal"], theirs.data)
    np.testing.assert_allclose(ours["variance"], theirs.uncertainty.array**2, rtol=1e-6)
    assert not ours["flags"].any()
    assert (ours.attrs["kind"], ours.attrs["exposure"]) == (kind, exposure)
    assert ours.attrs.get("bias_subtracted", False) == (kind == "dark")


def test_a_master_without_uncertainty(shared_data: Callable[[str], Path]) -> None:
    with pytest.warns(CalibkitWarning, match="says nothing of its noise"):
        flat = calibkit.open_result(shared_data("ccd_workshop") / "combined_flat_filter_r.fit.gz")
    assert (flat.attrs["kind"], flat.attrs["filter"]) == ("flat", "r")
    assert np.isnan(flat["variance"]).all()

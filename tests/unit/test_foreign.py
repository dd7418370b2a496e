"""Masters of other programs, written by astropy itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty

import calibkit
from calibkit.errors import CalibkitWarning, FrameFileError
from calibkit.flags import NO_DATA

RNG = np.random.default_rng(3)
DATA = RNG.normal(1000, 30, (20, 16)).astype("f4")
SIGMA = RNG.uniform(1, 9, (20, 16)).astype("f4")
MASK = RNG.random((20, 16)) < 0.1


@pytest.mark.parametrize(
    "uncertainty",
    [StdDevUncertainty(SIGMA), VarianceUncertainty(SIGMA**2), InverseVariance(SIGMA**-2)],
    ids=lambda u: type(u).__name__,
)
@pytest.mark.parametrize("suffix", [".fits", ".fits.gz"])
def test_ccddata(tmp_path: Path, uncertainty: object, suffix: str) -> None:
    header = {"IMAGETYP": "DARK", "EXPTIME": 90.0, "NCOMBINE": 20, "CCD-TEMP": -20.0, "YORGSUBF": 4}
    path = tmp_path / f"m{suffix}"
    CCDData(DATA, unit="electron", mask=MASK, uncertainty=uncertainty, meta=header).write(path)
    ds = calibkit.open_result(path)
    assert all(ds[name].chunks for name in ("signal", "variance", "flags"))
    np.testing.assert_array_equal(ds["signal"], DATA)
    np.testing.assert_allclose(ds["variance"], SIGMA.astype(float) ** 2, rtol=1e-6)
    np.testing.assert_array_equal(ds["flags"], MASK * NO_DATA)
    assert {name: ds[name].dtype for name in ds} == {"signal": "f4", "variance": "f4", "flags": "u2"}
    expected = {"units": "electron", "kind": "dark", "exposure": 90.0, "n_frames": 20, "temperature": -20.0}
    assert {key: ds.attrs[key] for key in expected} == expected
    assert ds.y.values.tolist() == list(range(4, 24))
    assert "bias_subtracted" not in ds.attrs, "the file does not say"
    again = calibkit.open_result(calibkit.save(ds, tmp_path / "ours.fits"))
    assert again.compute().identical(ds.compute())


def test_an_uncertainty_without_a_type_is_a_standard_deviation(tmp_path: Path) -> None:
    """astropy wrote none before version 3.1."""
    hdus = fits.HDUList([fits.PrimaryHDU(DATA), fits.ImageHDU(SIGMA, name="UNCERT")])
    hdus.writeto(tmp_path / "m.fits")
    np.testing.assert_allclose(calibkit.open_result(tmp_path / "m.fits")["variance"], SIGMA**2, rtol=1e-6)


def test_uncertainties_that_make_no_sense_are_unknown(tmp_path: Path) -> None:
    sigma = SIGMA.copy()
    sigma[0, :3] = np.nan, -1, np.inf
    hdus = fits.HDUList([fits.PrimaryHDU(DATA), fits.ImageHDU(sigma, name="UNCERT")])
    hdus.writeto(tmp_path / "m.fits")
    assert np.isnan(calibkit.open_result(tmp_path / "m.fits")["variance"]).sum() == 3


def test_a_plain_master_says_nothing_of_its_noise(tmp_path: Path) -> None:
    data = DATA.copy()
    data[2, 3] = np.nan
    header = fits.Header(
        {"IMAGETYP": "Master Flat", "CALSTAT": "BD", "BUNIT": "ADU", "TRIMSEC": "[3:16,1:18]"}
    )
    fits.writeto(tmp_path / "m.fits", data, header)
    with pytest.warns(CalibkitWarning, match="says nothing of its noise") as record:
        ds = calibkit.open_result(tmp_path / "m.fits")
    assert record[0].filename == __file__
    np.testing.assert_array_equal(ds["signal"], data[:18, 2:])
    assert np.isnan(ds["variance"]).all()
    assert ds["flags"].values.nonzero() == (2, 1)
    assert (ds.attrs["bias_subtracted"], ds.attrs["dark_subtracted"]) == (True, True)
    assert ds.x.values[0] == 2


def test_what_is_not_understood_is_refused(tmp_path: Path) -> None:
    header = fits.Header({"UTYPE": "Poisson"})
    fits.HDUList([fits.PrimaryHDU(DATA), fits.ImageHDU(SIGMA, header, name="UNCERT")]).writeto(
        tmp_path / "a.fits"
    )
    with pytest.raises(FrameFileError, match="UTYPE = 'Poisson'; known are StdDevUncertainty"):
        calibkit.open_result(tmp_path / "a.fits")
    fits.HDUList([fits.PrimaryHDU(DATA), fits.ImageHDU(SIGMA[1:], name="UNCERT")]).writeto(
        tmp_path / "b.fits"
    )
    with pytest.raises(FrameFileError, match="UNCERT is of another size than the image, 16 × 19 and 16 × 20"):
        calibkit.open_result(tmp_path / "b.fits")
    (tmp_path / "c.fits").write_text("not a FITS file at all, only text")
    with pytest.raises(FrameFileError, match="not a frame"):
        calibkit.open_result(tmp_path / "c.fits")

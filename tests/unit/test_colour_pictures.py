"""Channels put together as a picture in colour, and its background made grey."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from calibkit import combine_channels, flags, neutralise_background
from calibkit.errors import MismatchError, SettingError
from tests.unit.test_brightness import colour, sky


def line(level: float, sigma: float = 10.0, seed: int = 1, **attrs: object) -> xr.Dataset:
    values = sky(level, sigma, seed=seed)
    dims = ("y", "x")
    return xr.Dataset(
        {
            "signal": (dims, values),
            "variance": (dims, np.full(values.shape, sigma**2, np.float32)),
            "flags": (dims, np.zeros(values.shape, np.uint16)),
        },
        coords={"y": np.arange(values.shape[0]), "x": np.arange(values.shape[1])},
        attrs={"units": "adu", "cfa": "", "provenance": [{"step": "extract line"}], **attrs},
    )


def test_named_mappings() -> None:
    images = {"Ha": line(100.0), "OIII": line(200.0, seed=2), "SII": line(50.0, seed=3)}
    hoo, sho = combine_channels(images, "HOO"), combine_channels(images, "SHO")
    assert hoo["signal"].dims == ("channel", "y", "x")
    for made, names in ((hoo, ("Ha", "OIII", "OIII")), (sho, ("SII", "Ha", "OIII"))):
        for channel, name in zip("RGB", names, strict=True):
            np.testing.assert_array_equal(made["signal"].sel(channel=channel), images[name]["signal"])
            np.testing.assert_array_equal(made["variance"].sel(channel=channel), images[name]["variance"])
    assert hoo.attrs["shared_noise"] == {"RG": 0.0, "RB": 0.0, "GB": 1.0}
    assert [step["step"] for step in hoo.attrs["provenance"]] == [
        "extract line",
        "extract line",
        "combine channels",
    ]
    assert hoo.attrs["units"] == "adu"


def test_weights_mix_signal_variance_and_flags() -> None:
    h, o = line(100.0, 5.0), line(200.0, 12.0, seed=2)
    h["flags"][3, 4] = flags.HOT
    o["flags"][3, 4] = flags.COSMIC_RAY
    made = combine_channels(
        {"Ha": h, "OIII": o}, {"R": {"Ha": 1}, "G": {"Ha": 0.3, "OIII": 0.7}, "B": {"OIII": 1, "Ha": 0}}
    )
    green = made.sel(channel="G")
    np.testing.assert_allclose(green["signal"], 0.3 * h["signal"] + 0.7 * o["signal"], rtol=1e-6)
    np.testing.assert_allclose(green["variance"], 0.09 * 25 + 0.49 * 144, rtol=1e-6)
    assert float(green["signal"].var()) == pytest.approx(float(green["variance"].mean()), rel=0.02)
    assert [int(made["flags"].sel(channel=c)[3, 4]) for c in "RGB"] == [4, 36, 32]
    assert made.attrs["shared_noise"]["RG"] == pytest.approx(0.3 / np.hypot(0.3, 0.7), abs=1e-5)
    both = np.stack(
        [made["signal"].sel(channel="G") - green["signal"].mean(), made["signal"].sel(channel="B")]
    )
    assert made["signal"].dtype == np.float32
    assert np.isfinite(both).all()


def test_lazy_stays_lazy() -> None:
    images = {
        "R": line(1.0).chunk({"y": 50}),
        "G": line(2.0).chunk({"y": 50}),
        "B": line(3.0).chunk({"y": 50}),
    }
    made = combine_channels(images)
    assert made["signal"].chunks is not None
    grey = neutralise_background(made)
    assert grey["signal"].chunks is not None
    np.testing.assert_allclose(grey["signal"].median(("y", "x")).values, 2.0, atol=0.1)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ("HO", "three letters"),
        ("HOQ", "made of Q"),
        ("SHO", "R is made of SII, which is not given; there are Ha, OIII"),
        ({"R": {"Ha": 1}}, "what red, green and blue are made of"),
        ({"R": {"Ha": 1}, "G": {"Ha": 0.0}, "B": {"Ha": 1}}, "one of them is not zero"),
        ({"R": {"Ha": 1}, "G": {"Ha": np.nan}, "B": {"Ha": 1}}, "finite numbers"),
    ],
)
def test_mappings_that_cannot_be(mapping: object, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        combine_channels({"Ha": line(1.0), "OIII": line(2.0)}, mapping)


def test_images_that_do_not_fit() -> None:
    h = line(1.0)
    with pytest.raises(MismatchError, match="register them first"):
        combine_channels({"Ha": h, "OIII": h.isel(y=slice(1, None))}, "HOO")
    with pytest.raises(MismatchError, match="in adu and OIII in electron"):
        combine_channels({"Ha": h, "OIII": h.assign_attrs(units="electron")}, "HOO")
    with pytest.raises(MismatchError, match="extract_line first"):
        combine_channels({"Ha": h.assign_attrs(cfa="RGGB"), "OIII": h}, "HOO")
    with pytest.raises(MismatchError, match="signal, variance and flags"):
        combine_channels({"Ha": h.drop_vars("flags"), "OIII": h}, "HOO")


def test_the_sky_becomes_grey_and_nothing_else_changes() -> None:
    image = colour((300.0, 500.0, 200.0))
    image["signal"][:, 20:40, 20:40] += np.array([900.0, 100.0, 400.0], np.float32)[:, None, None]
    image["signal"][:, :5] = 0.0
    image["flags"][:, :5] = flags.BAD_FLAT
    grey = neutralise_background(image)
    found = grey["signal"].isel(y=slice(60, None)).median(("y", "x")).values
    np.testing.assert_allclose(found, 300.0, atol=0.4)
    star = grey["signal"].isel(y=slice(20, 40), x=slice(20, 40)).median(("y", "x")) - 300.0
    np.testing.assert_allclose(star, [900.0, 100.0, 400.0], atol=2.5)
    xr.testing.assert_identical(grey["variance"], image["variance"])
    xr.testing.assert_identical(grey["flags"], image["flags"])
    assert grey.attrs["background"] == pytest.approx({"R": 300.0, "G": 500.0, "B": 200.0}, abs=0.4)
    at_zero = neutralise_background(image, level=0.0)
    assert float(at_zero["signal"].isel(y=slice(60, None)).min()) < -20.0  # nothing is cut off at zero


def test_no_background_to_be_found() -> None:
    image = colour()
    image["flags"].loc[{"channel": "G"}] = flags.BAD_FLAT
    with pytest.raises(SettingError, match="channel G has no finite pixel"):
        neutralise_background(image)
    with pytest.raises(SettingError, match="dims"):
        neutralise_background(line(1.0))
    with pytest.raises(SettingError, match="finite number"):
        neutralise_background(colour(), level=np.nan)

"""Brightness scaling against the formulas of others, and the background that may not be cut off."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from astropy.visualization import AsinhStretch

from calibkit import flags, hyperbolic_curve, stretch_picture
from calibkit.background import background_of, measure_background
from calibkit.display.stretch import mtf
from calibkit.errors import SettingError

X = np.linspace(0.0, 1.0, 1001)


def sky(
    level: float = 500.0, sigma: float = 10.0, shape: tuple[int, int] = (200, 300), seed: int = 1
) -> np.ndarray:
    return np.random.default_rng(seed).normal(level, sigma, shape).astype(np.float32)


def colour(levels: tuple[float, ...] = (300.0, 500.0, 200.0), **attrs: object) -> xr.Dataset:
    signal = np.stack([sky(level, 10.0, seed=n) for n, level in enumerate(levels)])
    signal[:, 90:100, 90:100] += 5000.0
    dims, shape = ("channel", "y", "x"), signal.shape
    return xr.Dataset(
        {
            "signal": (dims, signal),
            "variance": (dims, np.full(shape, 100.0, np.float32)),
            "flags": (dims, np.zeros(shape, np.uint16)),
        },
        coords={"channel": list("RGB"), "y": np.arange(shape[1]), "x": np.arange(shape[2])},
        attrs={"units": "adu", "cfa": "", "provenance": [{"step": "debayer"}], **attrs},
    )


def slow_hyperbola(x: float, d: float, b: float, sp: float, lp: float, hp: float) -> float:
    """The published curve by numerical integration of its slope, which is one line for every b."""
    from scipy.integrate import quad

    def slope(t: float) -> float:
        away = abs(min(max(t, lp), hp) - sp)
        return (
            d * np.exp(-d * away)
            if b == 0
            else d * (1 + abs(b) * d * away) ** (-1 / b - 1 if b > 0 else 1 / b)
        )

    points = sorted({lp, sp, hp} - {0.0, 1.0})
    part = quad(slope, 0, x, points=[p for p in points if p < x] or None, limit=200)[0]
    return part / quad(slope, 0, 1, points=points or None, limit=200)[0]


@pytest.mark.parametrize("b", [-4.0, -1.5, -1.0, -0.7, 0.0, 0.5, 1.0, 6.0])
@pytest.mark.parametrize(
    ("sp", "lp", "hp"), [(0.0, 0.0, 1.0), (0.2, 0.05, 0.8), (0.3, 0.3, 0.3), (1.0, 0.1, 1.0)]
)
def test_hyperbola_is_the_integral_of_its_slope(b: float, sp: float, lp: float, hp: float) -> None:
    xs = [0.0, 0.03, 0.2, 0.41, 0.85, 1.0]
    found = hyperbolic_curve(xs, 9.0, intensity=b, symmetry=sp, protect=(lp, hp))
    expected = [slow_hyperbola(x, 9.0, b, sp, lp, hp) for x in xs]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("midtone", [0.02, 0.1, 0.4])
def test_harmonic_hyperbola_is_the_midtones_transfer_function(midtone: float) -> None:
    factor = (1 - 2 * midtone) / midtone
    np.testing.assert_allclose(hyperbolic_curve(X, factor, intensity=1.0), mtf(X, midtone), atol=1e-12)
    assert (hyperbolic_curve(X, 0.0, intensity=1.0) == X).all()


@pytest.mark.parametrize("midtone", [0.01, 0.1, 0.3])
def test_asinh_is_that_of_astropy(midtone: float) -> None:
    values = (X * 4000.0 + 100.0).astype(np.float32)
    found = stretch_picture(values[None], curve="asinh", black=100.0, white=4100.0, midtone=midtone)
    a = 1.0 / np.sinh(2 * np.arccosh(1 / (2 * midtone)))
    np.testing.assert_allclose(found.values[0], AsinhStretch(a)((values - 100.0) / 4000.0), atol=2e-6)


def test_midtones_as_published() -> None:
    values = (X * 1000.0)[None]
    found = stretch_picture(values, black=0.0, white=1000.0, midtone=0.05).values[0]
    np.testing.assert_allclose(found, (0.05 - 1) * X / ((2 * 0.05 - 1) * X - 0.05), atol=1e-6)


@pytest.mark.parametrize("curve", ["linear", "asinh", "mtf", "ghs"])
def test_automatic_picture_shows_its_background(curve: str) -> None:
    values = sky()
    values[40:60, 40:60] += 8000.0
    before = values.copy()
    picture = stretch_picture(values, curve=curve)
    assert (values == before).all()
    assert picture.dtype == np.float32
    assert (picture.min(), picture.max()) >= (0.0, 0.9)
    clipped = picture.attrs["clipped"]["L"]
    assert clipped["background"] == pytest.approx(0.0026, abs=0.002)  # 2.8 σ below
    assert clipped["background"] == pytest.approx(
        np.mean(values[values < 530] < picture.scaling["L"]["black"]), abs=1e-4
    )
    if curve != "linear":
        assert float(np.median(picture)) == pytest.approx(0.25, abs=0.003)
        assert float(np.median(stretch_picture(values, curve=curve, brightness=0.1))) == pytest.approx(
            0.1, abs=0.003
        )


def test_a_background_that_clips_is_refused() -> None:
    values = sky()
    with pytest.raises(
        SettingError, match=r"black=495 cuts off 31 % of the background's pixels, which lies at (499.9|500.0)"
    ) as info:
        stretch_picture(values, black=495.0)
    allowed = float(str(info.value).split("Allowed is black=")[1].split()[0])
    assert allowed == pytest.approx(500 - 2.326 * 10, abs=0.5)
    shown = stretch_picture(values, black=allowed)
    assert shown.attrs["clipped"]["L"]["background"] <= 0.01
    with pytest.raises(SettingError, match="cannot turn black"):
        stretch_picture(values, black=allowed + 1.0)
    forced = stretch_picture(values, black=495.0, allow_clipping=True)
    assert forced.attrs["clipped"]["L"]["background"] == pytest.approx(np.mean(values < 495.0), abs=0.002)
    assert float((forced == 0).mean()) == pytest.approx(0.31, abs=0.01)


def test_dark_corners_are_background_too() -> None:
    y, x = np.mgrid[-1:1:200j, -1:1:300j]
    values = sky() - 60.0 * ((x * x + y * y) > 1.2)
    picture = stretch_picture(values)
    assert picture.attrs["clipped"]["L"]["background"] <= 0.0101
    with pytest.raises(SettingError, match="cuts off"):
        stretch_picture(values, black=465.0)


def test_a_channel_that_clips_is_named() -> None:
    image = colour()
    with pytest.raises(SettingError, match=r"pixels in B, which lies at (199\.9|200\.0)"):
        stretch_picture(image, black=250.0)
    linked = stretch_picture(image)
    assert len({facts["black"] for facts in linked.attrs["scaling"].values()}) == 1
    assert all(each["background"] <= 0.0101 for each in linked.attrs["clipped"].values())
    medians = linked.median(("y", "x")).values
    assert medians[1] > medians[0] > medians[2]
    apart = stretch_picture(image, linked=False)
    np.testing.assert_allclose(apart.median(("y", "x")), 0.25, atol=0.003)
    told = stretch_picture(image, black={"R": 250.0, "G": 450.0, "B": 150.0}, white=2000.0)
    assert [facts["black"] for facts in told.attrs["scaling"].values()] == [250.0, 450.0, 150.0]
    with pytest.raises(SettingError, match="black for channel G is missing"):
        stretch_picture(image, black={"R": 1.0})


def test_what_is_kept_and_what_is_recorded() -> None:
    image = colour(roworder="BOTTOM-UP")
    lazy = stretch_picture(image.chunk({"y": 40}), curve="ghs", intensity=2.0)
    eager = stretch_picture(image, curve="ghs", intensity=2.0)
    assert lazy.chunks is not None
    xr.testing.assert_identical(lazy.compute(), eager)
    assert eager.dims == ("channel", "y", "x")
    assert eager.attrs["roworder"] == "BOTTOM-UP"
    assert [step["step"] for step in eager.attrs["provenance"]] == ["debayer", "scale brightness"]
    assert set(eager.attrs["scaling"]["G"]) == {
        "black",
        "white",
        "factor",
        "intensity",
        "symmetry",
        "protect",
    }


def test_flagged_and_missing_pixels_do_not_count() -> None:
    image = colour().sel(channel="G", drop=True)
    clean = stretch_picture(image)
    image["signal"][:100] = 0.0
    image["flags"][:100] = flags.NO_DATA
    image["signal"][150:] = np.nan
    picture = stretch_picture(image)
    assert picture.attrs["scaling"]["L"]["black"] == pytest.approx(
        clean.attrs["scaling"]["L"]["black"], abs=1.0
    )
    assert np.isnan(picture[150:]).all()
    image["signal"][:] = np.nan
    with pytest.raises(SettingError, match="no finite pixel"):
        stretch_picture(image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"curve": "cubic"}, "curve='cubic'"),
        ({"curve": "linear", "midtone": 0.2}, "midtone has no effect"),
        ({"factor": 3.0}, "have no effect on curve='mtf'"),
        ({"curve": "ghs", "midtone": 0.2}, "midtone has no effect"),
        ({"curve": "ghs", "factor": -1.0}, "factor=-1"),
        ({"curve": "ghs", "symmetry": 0.9, "protect": (0.0, 0.5)}, "LP ≤ SP ≤ HP"),
        ({"brightness": 1.0}, "brightness=1"),
        ({"midtone": 1.5}, "midtone=1.5"),
        ({"black": 400.0, "white": 300.0}, "white has to be above black"),
    ],
)
def test_refusals(options: dict, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        stretch_picture(sky(), **options)


def test_shapes_that_are_no_picture() -> None:
    with pytest.raises(SettingError, match="isel"):
        stretch_picture(xr.DataArray(np.zeros((2, 4, 4)), dims=("frame", "y", "x")))
    with pytest.raises(SettingError, match="named dims"):
        stretch_picture(np.zeros((3, 4, 4)))
    with pytest.raises(SettingError, match="variable 'signal'"):
        stretch_picture(xr.Dataset({"other": (("y", "x"), np.zeros((3, 3)))}))


def test_background_leaves_sources_out() -> None:
    values = np.concatenate([sky().ravel(), np.random.default_rng(3).uniform(520, 60_000, 6000)])
    found = background_of(values)
    assert found.level == pytest.approx(500.0, abs=0.4)
    assert found.sigma == pytest.approx(10.0, abs=0.3)
    assert found.error == pytest.approx(1.2533 * found.sigma / np.sqrt(found.values.size), rel=1e-3)
    assert background_of(np.full(9, 4.0)).clipped(4.0) == 0.0
    assert np.isnan(background_of([]).lowest_black)
    assert list(measure_background(colour())) == ["R", "G", "B"]

"""Colour conversion and line extraction against NumPy, and their variances against scatter."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import calibkit
from calibkit import flags as fl
from calibkit.errors import SettingError

XTRANS = "GGRGGB/GGBGGR/BRGRBG/GGBGGR/GGRGGB/RBGBRG"
BAYER = ("RGGB", "BGGR", "GRBG", "GBRG")
rng = np.random.default_rng(20)


def mosaic(
    signal: np.ndarray, pattern: str, *, y0: int = 0, x0: int = 0, variance: float = 1.0
) -> xr.Dataset:
    dims = ("frame", "y", "x")[-signal.ndim :]
    return xr.Dataset(
        {
            "signal": (dims, signal.astype(np.float32), {"units": "adu"}),
            "variance": (dims, np.full(signal.shape, variance, np.float32)),
            "flags": (dims, np.zeros(signal.shape, np.uint16)),
        },
        coords={"y": np.arange(signal.shape[-2]) + y0, "x": np.arange(signal.shape[-1]) + x0},
        attrs={"cfa": pattern, "units": "adu"},
    )


def letters(pattern: str, shape: tuple[int, int], y0: int = 0, x0: int = 0) -> np.ndarray:
    p = calibkit.Pattern(pattern)
    return np.array([[p.label(y + y0, x + x0)[0] for x in range(shape[1])] for y in range(shape[0])])


def lazy(ds: xr.Dataset, rows: int) -> xr.Dataset:
    chunks = (*([1] * (ds["signal"].ndim - 2)), rows, -1)
    return ds.assign({n: ds[n].copy(data=da.from_array(ds[n].values, chunks=chunks)) for n in ds})


@pytest.mark.parametrize("pattern", BAYER)
@pytest.mark.parametrize(("y0", "x0"), [(0, 0), (1, 0), (0, 3), (7, 5)])
def test_bilinear_is_the_textbook_convolution(pattern: str, y0: int, x0: int) -> None:
    image = rng.normal(size=(11, 14))
    out = calibkit.debayer(mosaic(image, pattern, y0=y0, x0=x0))
    names = letters(pattern, image.shape, y0, x0)
    cross = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
    tent = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    for colour, kernel in (("R", tent), ("G", cross), ("B", tent)):
        expected = ndimage.convolve(np.where(names == colour, image, 0.0), kernel, mode="constant")
        inner = out["signal"].sel(channel=colour).values[1:-1, 1:-1]
        np.testing.assert_allclose(inner, expected[1:-1, 1:-1], atol=2e-6)


@pytest.mark.parametrize("pattern", [*BAYER, XTRANS])
@pytest.mark.parametrize("method", ["superpixel", "bilinear"])
def test_flat_colours_stay_where_they_are_after_any_crop(pattern: str, method: str) -> None:
    level = {"R": -5.0, "G": 100.0, "B": 1000.0}
    for y0, x0 in [(0, 0), (1, 2), (3, 5)]:
        names = letters(pattern, (19, 23), y0, x0)
        out = calibkit.debayer(mosaic(np.vectorize(level.get)(names), pattern, y0=y0, x0=x0), method=method)
        for colour, value in level.items():
            np.testing.assert_allclose(out["signal"].sel(channel=colour), value, rtol=1e-6)


def test_superpixel_is_a_mean_with_true_coordinates() -> None:
    image = rng.normal(size=(5, 8))
    out = calibkit.debayer(mosaic(image, "RGGB", y0=3, x0=4), method="superpixel")  # rows: G B, R G
    assert out.sizes == {"channel": 3, "y": 2, "x": 4}
    np.testing.assert_allclose(out["signal"].sel(channel="R"), image[1:4:2, 0::2], rtol=1e-6)
    np.testing.assert_allclose(
        out["signal"].sel(channel="G"), (image[0:4:2, 0::2] + image[1:4:2, 1::2]) / 2, rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(out["variance"].sel(channel="G"), 0.5)
    assert out["y"].values.tolist() == [3.5, 5.5]
    assert out["x"].values.tolist() == [4.5, 6.5, 8.5, 10.5]


@pytest.mark.parametrize("method", ["superpixel", "bilinear", "edge"])
@pytest.mark.parametrize("scene", ["flat", "steps"])
def test_stated_variance_is_the_scatter(method: str, scene: str) -> None:
    """On noise alone, and beside edges far above the noise, where one direction is chosen throughout."""
    shape = (16, 18)
    truth = np.zeros(shape)
    if scene == "steps":
        truth += 4000.0 * (np.arange(shape[1]) // 5 % 2)
    frames = truth + rng.normal(size=(4000, *shape))
    out = calibkit.debayer(mosaic(frames, "GRBG"), method=method)
    ratio = (out["signal"].var("frame") / out["variance"].mean("frame")).values
    # 4000 frames give a variance to 2.2 %; the gate at 3 sigma sets in for some per cent of pixels
    assert abs(float(np.mean(ratio)) - 1) < 0.02
    assert np.abs(ratio - 1).max() < 0.25


def test_noise_correlation_is_what_a_large_mean_shows() -> None:
    frames = rng.normal(size=(1500, 36, 36))
    for pattern in ("RGGB", XTRANS):
        out = calibkit.debayer(mosaic(frames, pattern))
        middle = out.isel(y=slice(6, -6), x=slice(6, -6))
        pixels = middle.sizes["y"] * middle.sizes["x"]
        measured = middle["signal"].mean(("y", "x")).var("frame") * pixels
        stated = middle["variance"].isel(frame=0).mean(("y", "x"))
        for colour in "RGB":
            ratio = float(measured.sel(channel=colour) / stated.sel(channel=colour))
            assert ratio == pytest.approx(out.attrs["noise_correlation"][colour], rel=0.15), (pattern, colour)


def test_edge_method_is_sharper_on_stars_and_not_noisier_on_sky() -> None:
    y, x = np.mgrid[:64, :64]
    star = 50_000 * np.exp(-((y - 31.3) ** 2 + (x - 33.8) ** 2) / (2 * 1.6**2))
    noisy = star + rng.normal(size=star.shape)
    error = {}
    for method in ("bilinear", "edge"):
        out = calibkit.debayer(mosaic(noisy, "RGGB"), method=method)["signal"]
        error[method] = float(np.sqrt(((out - star) ** 2).isel(y=slice(22, 42), x=slice(24, 44)).mean()))
        error[method + " sky"] = float(out.isel(y=slice(2, 18), x=slice(2, 18)).std())
    assert error["edge"] < 0.6 * error["bilinear"]
    assert error["edge sky"] < 1.03 * error["bilinear sky"]


@pytest.mark.parametrize("method", ["superpixel", "bilinear", "edge"])
def test_bad_pixels_do_not_enter_and_saturated_ones_are_told(method: str) -> None:
    ds = mosaic(np.full((12, 12), 10.0), "RGGB")
    ds["signal"][4, 4] = 1e6
    ds["flags"][4, 4] = fl.HOT
    ds["signal"][8, 8] = np.nan
    ds["flags"][9, 9] = fl.SATURATED
    before = ds.copy(deep=True)
    out = calibkit.debayer(ds, method=method)
    if method == "superpixel":  # the only red sample of a block is gone, and said to be
        assert np.isnan(out["signal"].sel(channel="R")[2, 2])
        assert out["flags"].sel(channel="R")[2, 2] == fl.NO_DATA
        assert out["flags"].sel(channel="B")[4, 4] == fl.SATURATED
    else:
        np.testing.assert_allclose(out["signal"], 10.0)
        assert int(out["flags"].sel(channel="B", y=9, x=9)) == fl.SATURATED
    xr.testing.assert_identical(ds, before)


@settings(max_examples=25)
@given(
    pattern=st.sampled_from([*BAYER, XTRANS]),
    method=st.sampled_from(["superpixel", "bilinear", "edge"]),
    shape=st.tuples(st.integers(7, 20), st.integers(7, 20)),
    rows=st.integers(1, 9),
    frames=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_lazy_bands_change_nothing(pattern, method, shape, rows, frames, seed) -> None:
    if method == "edge" and pattern == XTRANS:
        return
    generator = np.random.default_rng(seed)
    full = (frames, *shape) if frames else shape
    ds = mosaic(generator.normal(scale=30, size=full), pattern, y0=seed % 5, x0=seed % 3)
    ds["flags"].values[..., 3, 3] = fl.HOT
    eager = calibkit.debayer(ds, method=method)
    banded = calibkit.debayer(lazy(ds, rows), method=method)
    assert banded["signal"].chunks is not None
    xr.testing.assert_identical(banded.compute(), eager)


def test_what_cannot_be_converted_is_refused_with_the_reason() -> None:
    image = np.zeros((6, 6))
    for pattern, words in (("", "mono"), ("GMYC", "colour matrix")):
        with pytest.raises(SettingError, match=words):
            calibkit.debayer(mosaic(image, pattern))
    with pytest.raises(SettingError, match="allowed are 'superpixel'"):
        calibkit.debayer(mosaic(image, "RGGB"), method="magic")
    with pytest.raises(SettingError, match="6 × 6"):
        calibkit.debayer(mosaic(image, XTRANS), method="edge")
    with pytest.raises(SettingError, match="variance, flags is missing"):
        calibkit.debayer(mosaic(image, "RGGB")[["signal"]])


def test_white_balance_and_matrix_carry_the_variance() -> None:
    colour = calibkit.debayer(mosaic(rng.normal(size=(4000, 4, 4)), "RGGB"), method="superpixel")
    balanced = calibkit.white_balance(colour, {"R": 2.0, "G": 1.0, "B": 0.5})
    mixed = calibkit.colour_matrix(balanced, [[1.5, -0.4, -0.1], [-0.2, 1.3, -0.1], [0.0, -0.5, 1.5]])
    for ds in (balanced, mixed):
        assert ds["signal"].dims == ("frame", "channel", "y", "x")
        ratio = ds["signal"].var("frame") / ds["variance"].mean("frame")
        np.testing.assert_allclose(ratio, 1, atol=0.12)
    np.testing.assert_allclose(balanced["signal"].sel(channel="R"), 2 * colour["signal"].sel(channel="R"))
    with pytest.raises(SettingError, match="pass multipliers="):
        calibkit.white_balance(colour)
    with pytest.raises(SettingError, match="positive"):
        calibkit.white_balance(colour, {"R": 2.0, "G": -1.0, "B": 0.5})
    with pytest.raises(SettingError, match="3 × 3"):
        calibkit.colour_matrix(colour, [[1.0]])


def o_three_flat() -> xr.Dataset:
    flat = mosaic(np.ones((8, 8)), "GBRG")
    return flat.assign_attrs(
        channel_level={"R": 150.0, "G1": 9000.0, "G2": 9000.0, "B": 6000.0}, filter="OIII"
    )


def test_channel_worth_is_weighted_least_squares() -> None:
    noise = {"R": 5.0, "G1": 8.0, "G2": 8.0, "B": 6.0}
    worth = calibkit.channel_worth(o_three_flat(), noise=noise)
    r = np.array([150, 9000, 9000, 6000]) / 9000
    s = np.array([5.0, 8, 8, 6])
    np.testing.assert_allclose(worth["worth"], r**2 / s**2 / np.sum(r**2 / s**2))
    np.testing.assert_allclose(worth["weight"], r / s**2 / np.sum(r**2 / s**2))
    assert float(worth["worth"].sel(channel="R")) < 0.001
    assert float(worth["noise_gain"].sel(channel="R")) == pytest.approx(3600.0)
    with pytest.raises(SettingError, match="master_flat"):
        calibkit.channel_worth(mosaic(np.ones((4, 4)), "RGGB"))
    with pytest.raises(SettingError, match="not both"):
        calibkit.channel_worth(o_three_flat(), noise=noise, light=o_three_flat())


@pytest.mark.parametrize("size", ["half", "full"])
def test_o_three_is_unbiased_with_the_least_noise(size: str) -> None:
    """Known response and noise per channel: the estimate has the stated variance, lower than any one channel's."""
    response = {"R": 1 / 60, "G1": 1.0, "G2": 1.0, "B": 2 / 3}
    noise = {"R": 5.0, "G1": 8.0, "G2": 8.0, "B": 6.0}
    pattern = calibkit.Pattern("GBRG")
    r, s = (
        np.array([[d[pattern.label(y, x)] for x in range(8)] for y in range(8)]) for d in (response, noise)
    )
    frames = 300.0 * r + s * rng.normal(size=(6000, 8, 8))
    light = mosaic(frames, "GBRG")
    light["variance"] = light["variance"] * 0 + (s**2).astype(np.float32)
    worth = calibkit.channel_worth(o_three_flat(), light=light)
    np.testing.assert_allclose(worth["noise"], [5, 8, 8, 6], rtol=1e-6)
    out = calibkit.extract_line(light, "OIII", worth=worth, size=size)
    np.testing.assert_allclose(out["signal"].mean("frame"), 300.0, atol=0.4)
    ratio = out["signal"].var("frame") / out["variance"].mean("frame")
    np.testing.assert_allclose(ratio, 1, atol=0.1)
    if size == "half":
        best = 1 / sum((response[c] / noise[c]) ** 2 for c in ("G1", "G2", "B"))
        np.testing.assert_allclose(out["variance"], best, rtol=1e-5)
        assert out["y"].values[0] == pytest.approx(1 / 3)  # G, B in row 0 and G in row 1


def test_h_alpha_is_the_red_plane() -> None:
    image = rng.normal(size=(9, 10))
    light = mosaic(image, "RGGB", y0=1, x0=1)  # rows: B G, G R
    out = calibkit.extract_line(light, "Ha")
    np.testing.assert_allclose(out["signal"], image[1:8:2, 1::2].astype(np.float32))
    assert out["y"].values.tolist() == [2, 4, 6, 8]
    assert out["x"].values.tolist() == [2, 4, 6, 8, 10]
    full = calibkit.extract_line(light, "Ha", size="full")
    assert full["signal"].shape == image.shape
    np.testing.assert_array_equal(full["signal"][1::2, 1::2], image[1::2, 1::2].astype(np.float32))
    xr.testing.assert_identical(calibkit.extract_line(lazy(light, 3), "Ha").compute(), out)
    for line, words in (("X", "allowed are Ha"), ("OIII", "channel_worth")):
        with pytest.raises(SettingError, match=words):
            calibkit.extract_line(light, line)


@pytest.mark.parametrize("method", ["superpixel", "bilinear", "edge"])
def test_what_a_lazy_frame_comes_from_is_computed_once(method: str) -> None:
    """Bands share the rows around their edges, and signal, variance and flags their source."""
    calls: list[int] = []

    def source(block: np.ndarray) -> np.ndarray:
        calls.append(block.shape[0])
        return block + 1

    image = da.from_array(rng.normal(size=(24, 12)).astype(np.float32), chunks=(6, -1))
    shared = image.map_blocks(source, dtype=np.float32, meta=np.empty((0, 0), np.float32))
    ds = mosaic(np.zeros((24, 12)), "RGGB")
    ds = ds.assign(
        signal=ds["signal"].copy(data=shared),
        variance=ds["variance"].copy(data=abs(shared)),
        flags=ds["flags"].copy(data=(shared > 2).astype(np.uint16)),
    )
    calibkit.debayer(ds, method=method).compute()
    assert calls == [6] * 4

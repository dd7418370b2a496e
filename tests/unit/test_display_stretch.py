"""Stretches: the curves' fixed points, automatic levels on skies of known noise, pictures."""

from __future__ import annotations

import numpy as np
import pytest

from calibkit.display.stretch import (
    PALETTES,
    Levels,
    asinh_curve,
    auto_levels,
    balance,
    colours,
    difference_levels,
    histogram,
    mtf,
    picture,
    quantiles,
    stretch,
)
from calibkit.errors import SettingError


@pytest.mark.parametrize("midtone", [0.001, 0.05, 0.3, 0.5])
@pytest.mark.parametrize("curve", [mtf, asinh_curve])
def test_a_curve_goes_through_its_three_points_and_rises(curve: object, midtone: float) -> None:
    np.testing.assert_allclose(curve([0.0, midtone, 1.0], midtone), [0.0, 0.5, 1.0], atol=1e-12)
    assert (np.diff(curve(np.linspace(0, 1, 1000), midtone)) > 0).all()
    np.testing.assert_allclose(curve([-3.0, 7.0], midtone), [0.0, 1.0])


def test_one_half_is_a_straight_line() -> None:
    x = np.linspace(0, 1, 11)
    np.testing.assert_allclose(mtf(x, 0.5), x)
    np.testing.assert_allclose(asinh_curve(x, 0.5), x)


def test_stretch_of_values() -> None:
    values = np.array([[100.0, 200.0, np.nan], [150.0, 1e9, -1e9]])
    np.testing.assert_allclose(stretch(values, 100, 200), [[0, 1, np.nan], [0.5, 1, 0]])
    np.testing.assert_allclose(stretch(values, 100, 200, 0.5, curve="mtf")[1, 0], 0.5)
    np.testing.assert_allclose(stretch([125.0], 100, 200, 0.25, curve="asinh"), [0.5])


@pytest.fixture(scope="module")
def sky() -> np.ndarray:
    """A background of 1000 ± 10, one pixel in fifty a star."""
    rng = np.random.default_rng(3)
    values = rng.normal(1000, 10, 400_000)
    values[::50] += rng.exponential(4000, values[::50].size)
    return values


@pytest.mark.parametrize("curve", ["asinh", "mtf"])
def test_the_background_is_a_quarter_bright_and_not_clipped(sky: np.ndarray, curve: str) -> None:
    levels = auto_levels(sky, curve=curve)
    assert levels.black == pytest.approx(1000 - 28, abs=1.0)
    assert (sky <= levels.black).mean() < 0.004
    np.testing.assert_allclose(stretch([np.median(sky)], *levels, curve=curve), 0.25, atol=1e-3)
    assert (sky >= levels.white).mean() <= 0.0003


def test_a_frame_of_few_steps_is_not_black(sky: np.ndarray) -> None:
    """Scaled to 8 bits the sky is one number, and its noise almost gone."""
    few = np.floor(sky / 400)
    levels = auto_levels(few, curve="mtf")
    assert levels.black < np.median(few)
    np.testing.assert_allclose(stretch([np.median(few)], *levels, curve="mtf"), 0.25, atol=0.01)


@pytest.mark.parametrize("curve", ["asinh", "mtf"])
def test_a_background_of_one_number_is_not_black_and_faint_stars_are_not_white(curve: str) -> None:
    """The mean of aligned frames of few steps: zero but for stars and some thousandths at their edges."""
    few = np.zeros(100_000)
    few[:400] = np.geomspace(0.01, 12.0, 400)
    few[400:1200] = np.tile([-0.001, 0.001], 400)
    shades = stretch(few, *auto_levels(few, curve=curve), curve=curve)
    assert shades[-1] == pytest.approx(0.25, abs=0.01)
    faint, bright = np.searchsorted(few[:400], [0.1, 2.0])
    assert 0.27 < shades[faint] < 0.5
    assert 0.75 < shades[bright] < 0.99


def test_linear_levels(sky: np.ndarray) -> None:
    levels = auto_levels(sky, curve="linear")
    assert levels.midtone == 0.5
    assert np.percentile(sky, 99.5) <= levels.white <= np.percentile(sky, 99.98)
    # A flat: values spread evenly, nothing far out but one hot pixel.
    flat = np.append(np.linspace(0.8, 1.1, 100_000), 60.0)
    assert auto_levels(flat, curve="linear").white < 1.2


@pytest.mark.parametrize("values", [[5.0] * 100, [0.0] * 9, [np.nan, np.nan], []])
@pytest.mark.parametrize("curve", ["linear", "asinh", "mtf"])
def test_images_without_contrast_can_be_shown(values: list[float], curve: str) -> None:
    levels = auto_levels(np.array(values), curve=curve)
    assert levels.black < levels.white
    assert 0 < levels.midtone < 1
    stretch(np.array(values), *levels, curve=curve)


def test_levels_of_a_difference() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 5, 100_000)
    levels = difference_levels(noise)
    assert levels.black == -levels.white
    assert levels.white == pytest.approx(5 * 2.6, rel=0.05)
    # An offset was subtracted: the middle is there, or nothing else would be seen.
    shifted = difference_levels(noise - 1000)
    assert (shifted.black + shifted.white) / 2 == pytest.approx(-1000, abs=1)
    assert difference_levels(np.zeros(10)).white > 0
    assert difference_levels(np.full(3, np.nan)) == Levels(-1.0, 1.0)


def test_balance_gives_every_plane_the_background_of_the_middle_one() -> None:
    rng = np.random.default_rng(2)
    planes = [rng.normal(centre, sigma, 50_000) for centre, sigma in ((900, 4), (1400, 8), (1000, 5))]
    moved = [gain * p + shift for p, (gain, shift) in zip(planes, balance(planes), strict=True)]
    for plane in moved:
        assert np.median(plane) == pytest.approx(np.median(planes[1]), abs=0.01)
        assert plane.std() == pytest.approx(8, rel=0.03)
    assert balance(planes[:1]) == [(1.0, 0.0)]


def test_histogram_of_whole_numbers_has_no_combs() -> None:
    values = np.repeat(np.arange(100, 161), 7)
    counts, edges = histogram(values, 90, 170)
    assert counts.sum() == values.size
    assert set(counts[(edges[:-1] > 99) & (edges[1:] < 161)]) == {7}
    wide, _ = histogram(np.repeat(np.arange(3000), 2), 0, 2999, bins=256)
    assert len(wide) <= 256
    assert set(wide[:-1]) == {2 * 12}


def test_histogram_of_measured_values() -> None:
    values = np.append((np.arange(1000) + 0.5) / 1000, np.nan)
    counts, edges = histogram(values, 0.0, 1.0, bins=10)
    assert counts.tolist() == [100] * 10
    np.testing.assert_allclose(edges, np.linspace(0, 1, 11))
    assert histogram(values, 0.5, 0.5)[0].sum() == 1000


def test_quantiles_tell_what_is_clipped(sky: np.ndarray) -> None:
    probabilities, values = quantiles(sky)
    for level in (980.0, 1000.0, 1100.0, 9000.0):
        told = np.interp(level, values, probabilities)
        true = (sky <= level).mean()
        assert told == pytest.approx(true, abs=max(2e-3, 0.0))
        assert (1 - told) == pytest.approx(1 - true, rel=0.2, abs=1e-5)
    assert values[0] == sky.min()
    assert values[-1] == sky.max()
    assert [part.size for part in quantiles(np.array([np.nan]))] == [0, 0]


@pytest.mark.parametrize("palette", PALETTES[:-1])
def test_maps_rise_in_brightness(palette: str) -> None:
    rgb = colours(palette).astype(float)
    luminance = rgb @ [0.2126, 0.7152, 0.0722]
    assert rgb.shape == (256, 3)
    assert (np.diff(luminance) > -0.6).all()
    assert luminance[-1] - luminance[0] > 150


def test_the_map_of_differences_is_lightest_in_the_middle() -> None:
    luminance = colours(PALETTES[-1]).astype(float) @ [0.2126, 0.7152, 0.0722]
    assert 118 <= int(luminance.argmax()) <= 137
    red, _, blue = colours(PALETTES[-1]).T.astype(int)
    assert blue[20] > red[20]
    assert red[235] > blue[235]


def test_picture() -> None:
    planes = np.array([[[0.0, 50.0, 100.0, np.nan]]])
    grey = picture(planes, Levels(0, 100))
    assert grey.tolist() == [[[0, 0, 0, 255], [128, 128, 128, 255], [255, 255, 255, 255], [0, 0, 0, 0]]]
    rgb = picture(np.array([[[100.0]], [[50.0]], [[0.0]]]), Levels(0, 100))
    assert rgb.tolist() == [[[255, 128, 0, 255]]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: stretch([1.0], 5, 5), "white has to be above black"),
        (lambda: stretch([1.0], 0, float("nan")), "white has to be above black"),
        (lambda: stretch([1.0], 0, 1, curve="log"), "allowed are 'linear', 'asinh', 'mtf'"),
        (lambda: mtf(0.5, 0.0), "above 0 and below 1"),
        (lambda: asinh_curve(0.5, 1.0), "above 0 and below 1"),
        (lambda: auto_levels([1.0], curve="log"), "allowed are"),
        (lambda: colours("jet"), "allowed are 'grey'"),
    ],
)
def test_refusals(make: object, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        make()

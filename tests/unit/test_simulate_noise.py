"""The simulator's numbers against what statistics say of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage, stats

from calibkit.kernels.chance import poisson_from_normal
from calibkit.simulate import Camera, Lamp, simulate_frame, simulate_stack

EVEN = Camera(
    shape=(200, 300),
    dark_spread=0.0,
    hot_fraction=0.0,
    sensitivity_spread=0.0,
    offset=300.0,
    dark_current=0.0,
)


def within(value: float, expected: float, sigma: float) -> None:
    """*value* lies within 5 standard deviations of *expected*: fails by chance once in two million."""
    assert abs(value - expected) < 5 * sigma, f"{value} is {(value - expected) / sigma:.1f} σ from {expected}"


@pytest.mark.parametrize("mean", [0.02, 0.7, 3.0, 17.0, 29.9, 30.1, 250.0, 4e4])
def test_poisson_numbers_have_the_quantiles_of_the_exact_distribution(mean: float) -> None:
    z = np.random.default_rng(5).standard_normal((1, 100_000), dtype=np.float32)
    exact = stats.poisson.ppf(stats.norm.cdf(z[0].astype(float)), np.float32(mean))
    poisson_from_normal(np.full(z.shape, mean, np.float32), z)
    wrong = z[0] != exact
    # A normal that lies within rounding of a step may fall on its other side, never further.
    assert np.abs(z[0] - exact).max() <= 1
    assert wrong.mean() < 5e-4


def test_bias_is_offset_and_read_noise() -> None:
    camera = replace(EVEN, read_noise=12.0, gain=1.5)
    data = simulate_frame(camera, kind="bias").values.astype(float)
    n = data.size
    variance = (12.0 / 1.5) ** 2 + 1 / 12
    within(data.mean(), 300.0, np.sqrt(variance / n))
    within(data.var(), variance, variance * np.sqrt(2 / n))


@pytest.mark.parametrize(
    ("temperature", "factor"), [(-20.0, 1.0), (-13.0, 2.0), (-27.0, 0.5), (-23.5, 2**-0.5)]
)
def test_dark_current_halves_for_every_seven_degrees(temperature: float, factor: float) -> None:
    camera = replace(EVEN, dark_current=0.8, doubling=7.0, reference_temperature=-20.0, gain=2.0)
    data = simulate_frame(camera, kind="dark", exposure=100.0, temperature=temperature).values.astype(float)
    electrons = 80.0 * factor
    variance = (electrons + 64.0) / 4 + 1 / 12
    within(data.mean(), 300.0 + electrons / 2, np.sqrt(variance / data.size))
    within(data.var(), variance, variance * np.sqrt(2 / data.size))


def test_dark_current_differs_from_pixel_to_pixel_by_the_stated_spread() -> None:
    camera = replace(EVEN, dark_current=5.0, dark_spread=0.2)
    darks = simulate_stack(camera, 2, kind="dark", exposure=400.0).values.astype(float)
    # Noise of two frames is independent, the pattern is not: their covariance is the pattern's variance.
    covariance = np.cov(darks[0].ravel(), darks[1].ravel())[0, 1]
    assert covariance == pytest.approx((0.2 * 5.0 * 400 / 2) ** 2, rel=0.03)
    assert darks.mean() == pytest.approx(300 + 1000, rel=0.003)


def test_gain_comes_out_of_pairs_of_flats() -> None:
    """Janesick's pair method, per channel."""
    camera = replace(EVEN, pattern="RGGB", gain=1.7, sensitivity_spread=0.02, shape=(300, 300))
    flats = simulate_stack(camera, 2, kind="flat", exposure=1.0, lamp=Lamp(rate=120_000)).values.astype(float)
    biases = simulate_stack(camera, 2, kind="bias", frame_index=5).values.astype(float)
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        f, b = flats[:, dy::2, dx::2], biases[:, dy::2, dx::2]
        gain = (f.sum(0).mean() - b.sum(0).mean()) / ((f[0] - f[1]).var() - (b[0] - b[1]).var())
        within(gain, 1.7, 1.7 * np.sqrt(2 / f[0].size))
    noise = np.std(biases[0] - biases[1]) / np.sqrt(2)
    assert noise == pytest.approx(np.hypot(camera.read_noise / 1.7, 12**-0.5), rel=0.015)


def test_sensitivity_is_a_map_that_stays() -> None:
    camera = replace(EVEN, sensitivity_spread=0.03, full_well=1e6)
    flats = simulate_stack(camera, 2, kind="flat", exposure=1.0, lamp=Lamp(rate=100_000)).values - 300.0
    covariance = np.cov(flats[0].ravel(), flats[1].ravel())[0, 1]
    assert np.sqrt(covariance) / flats.mean() == pytest.approx(0.03, rel=0.02)


def test_hot_pixels_are_as_many_and_as_hot_as_stated() -> None:
    camera = replace(EVEN, hot_fraction=0.02, hot_rate=10.0, hot_spread=0.7, shape=(400, 500))
    darks = simulate_stack(camera, 4, kind="dark", exposure=100.0).values.mean(axis=0) - 300.0
    total = darks.size * 0.02
    for rate in (5.0, 10.0, 30.0):
        share = stats.norm.sf(np.log(rate / 10.0) / 0.7)
        within((darks * 2 / 100 > rate).sum(), total * share, np.sqrt(total * share * (1 - share)))


def test_hot_pixels_of_a_warm_camera_fill_by_heat_alone() -> None:
    camera = replace(
        EVEN, bit_depth=12, hot_fraction=0.01, hot_rate=2.0, hot_spread=1.2, read_noise=4.0, gain=1.4
    )
    dark = simulate_frame(camera, kind="dark", exposure=300.0).values
    room = (4095 - 300) * 1.4 / 300
    expected = dark.size * 0.01 * stats.norm.sf(np.log(room / 2.0) / 1.2)
    within((dark == 4095).sum(), expected, np.sqrt(expected))


def test_telegraph_pixels_jump_between_two_levels() -> None:
    camera = replace(EVEN, telegraph_fraction=0.01, telegraph_rate=20.0, read_noise=1.0)
    darks = simulate_stack(camera, 24, kind="dark", exposure=100.0).values.astype(float) - 300
    high = darks > 500  # 2000 electrons are 1000 ADU
    jumping = high.any(axis=0)
    assert jumping.sum() == pytest.approx(600, abs=2)
    assert high[:, jumping].mean() == pytest.approx(0.5, abs=0.03)
    assert darks[high].mean() == pytest.approx(1000, rel=0.005)


def test_cosmic_rays_come_at_the_stated_rate_and_elsewhere_in_every_frame() -> None:
    camera = replace(EVEN, cosmic_rays=2.0, read_noise=1.0)
    struck = simulate_stack(camera, 10, kind="dark", exposure=100.0).values > 320
    tracks = sum(ndimage.label(frame, structure=np.ones((3, 3)))[1] for frame in struck)
    expected = 10 * 2.0 * 100 * 0.06
    within(tracks, expected, np.sqrt(expected))
    assert 2 < struck.sum() / tracks < 5
    assert struck.sum(axis=0).max() <= 2


def test_interference_is_a_wave_of_the_stated_period_whose_phase_moves() -> None:
    camera = replace(
        EVEN, interference=6.0, interference_period=12.5, interference_angle=30.0, read_noise=0.0
    )
    waves = []
    for i in range(2):
        data = simulate_frame(camera, kind="bias", frame_index=i).values.astype(float)
        power = np.abs(np.fft.rfft2(data - data.mean(), s=(2048, 2048)))
        peak = np.unravel_index(power.argmax(), power.shape)
        fy, fx = np.fft.fftfreq(2048)[peak[0]], peak[1] / 2048
        assert np.hypot(fy, fx) == pytest.approx(1 / 12.5, abs=5e-4)
        assert np.degrees(np.arctan2(fy, fx)) % 180 == pytest.approx(30.0, abs=0.5)
        assert data.var() == pytest.approx(6.0**2 / 2, rel=0.03)
        waves.append(data)
    assert abs(np.corrcoef(waves[0].ravel(), waves[1].ravel())[0, 1]) < 0.99


def test_offset_structure_stays_and_row_noise_does_not() -> None:
    camera = replace(
        EVEN, row_offsets=3.0, column_offsets=5.0, row_noise=2.0, read_noise=1.0, shape=(400, 600)
    )
    a, b = simulate_stack(camera, 2, kind="bias").values.astype(float)
    assert a.mean(axis=0).std() == pytest.approx(5.0, rel=0.12)
    assert (a - b).mean(axis=1).std() == pytest.approx(2.0 * np.sqrt(2), rel=0.15)
    assert np.cov(a.mean(axis=1), b.mean(axis=1))[0, 1] == pytest.approx(9.0, rel=0.35)


def test_non_linearity_is_what_is_said_at_full_well() -> None:
    camera = replace(EVEN, non_linearity=0.04, full_well=50_000.0, gain=1.0)
    for electrons in (10_000.0, 40_000.0):
        rate = electrons / camera.share("L", "white")
        flat = simulate_frame(
            camera, kind="flat", exposure=1.0, lamp=Lamp(rate=rate, spectrum="white")
        ).values
        assert flat.mean() - 300 == pytest.approx(electrons * (1 - 0.04 * electrons / 50_000), rel=5e-4)


def test_smear_adds_the_light_of_the_whole_column() -> None:
    camera = replace(EVEN, smear=1e-3, read_noise=1.0)
    lamp = Lamp(rate=20_000, spectrum="white")
    flat = simulate_frame(camera, kind="flat", exposure=1.0, lamp=lamp).values.mean() - 300
    clean = 20_000 * camera.share("L", "white") / 2
    assert flat == pytest.approx(clean * (1 + 200 * 1e-3), rel=2e-3)


def test_amp_glow_lies_in_its_corner_whatever_the_temperature() -> None:
    camera = replace(EVEN, glow_rate=10.0, glow_size=30.0, glow_corner="bottom right", dark_current=0.01)
    warm, cold = (
        simulate_frame(camera, kind="dark", exposure=100.0, temperature=t).values.astype(float)
        for t in (-20, -60)
    )
    for dark in (warm, cold):
        assert dark[-3:, -3:].mean() - 300 == pytest.approx(500, rel=0.03)
        assert dark[:50, :50].mean() == pytest.approx(300, abs=1)


def test_darker_than_dark_is_zero_and_whiter_than_white_is_white() -> None:
    low = simulate_frame(replace(EVEN, offset=0.0), kind="bias").values
    assert low.min() == 0
    assert 0.4 < (low == 0).mean() < 0.65  # the lower half of the noise, rounded
    full = simulate_frame(replace(EVEN, bit_depth=12), kind="flat", exposure=9.0, lamp=Lamp(rate=1e5)).values
    assert (full == 4095).all()


def test_full_pixels_reach_the_level_that_the_header_calls_saturated() -> None:
    camera = replace(EVEN, full_well=20_000.0, row_offsets=2.0)
    full = simulate_frame(camera, kind="flat", exposure=9.0, lamp=Lamp(rate=1e5)).values
    assert camera.saturation < 300 + 10_000
    assert (full >= camera.saturation).all()
    assert full.mean() == pytest.approx(300 + 10_000, rel=1e-3)

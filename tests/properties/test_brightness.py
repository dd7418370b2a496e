"""Curves rise from 0 to 1 whatever their settings, and no automatic picture clips its background."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from calibkit import hyperbolic_curve, stretch_picture
from calibkit.brightness.hyperbolic import factor_for
from calibkit.brightness.scaling import PICTURE_CURVES

X = np.linspace(0.0, 1.0, 257)
fractions = st.floats(0.0, 1.0)


@settings(max_examples=150)
@given(st.floats(0.0, 1e5), st.floats(-20.0, 20.0), st.tuples(fractions, fractions, fractions).map(sorted))
def test_hyperbola_rises_from_0_to_1(factor: float, intensity: float, points: list[float]) -> None:
    low, symmetry, high = points
    shown = hyperbolic_curve(X, factor, intensity=intensity, symmetry=symmetry, protect=(low, high))
    assert shown[0] == 0.0
    assert abs(shown[-1] - 1.0) < 1e-12
    assert (np.diff(shown) > -1e-12).all()


@settings(max_examples=60)
@given(st.floats(0.001, 0.2), st.floats(0.0, 8.0), st.floats(0.21, 0.45))
def test_factor_brings_the_background_up(fraction: float, intensity: float, brightness: float) -> None:
    factor = factor_for(fraction, brightness, intensity=intensity)
    assert abs(float(hyperbolic_curve(fraction, factor, intensity=intensity)) - brightness) < 1e-6


@settings(max_examples=40)
@given(
    st.sampled_from(PICTURE_CURVES),
    st.floats(-1e4, 1e5),
    st.floats(0.01, 300.0),
    st.floats(0.0, 0.3),
    st.integers(0, 2**32 - 1),
)
def test_automatic_pictures_never_clip(
    curve: str, level: float, sigma: float, dark: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(level, sigma, (60, 80))
    values[: int(60 * dark)] -= 7.0 * sigma  # corners, or dust, that are darker
    values.ravel()[rng.integers(0, values.size, 40)] += rng.exponential(500 * sigma, 40)
    shown = stretch_picture(values, curve=curve)
    assert shown.attrs["clipped"]["L"]["background"] <= 0.01 + 1 / values.size
    assert float(shown.min()) >= 0.0
    assert float(shown.max()) <= 1.0
    order = np.argsort(values.ravel())
    assert (np.diff(shown.values.ravel()[order]) >= -1e-6).all()

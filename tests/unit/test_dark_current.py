"""The fit of dark current against scipy and against known currents."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from scipy import optimize

import calibkit
from calibkit.dark import current
from calibkit.errors import SettingError


def test_the_example_is_true() -> None:
    assert doctest.testmod(current).failed == 0


def test_an_exact_law_comes_back() -> None:
    kelvin = np.array([223.0, 240.0, 255.0, 270.0])
    rates = 5e9 * np.exp(-0.55 / (current.BOLTZMANN * kelvin))
    fit = calibkit.fit_dark_current(kelvin - 273.15, rates)
    assert fit.energy == pytest.approx(0.55, rel=1e-9)
    assert fit.at(-20.0) == pytest.approx(5e9 * math.exp(-0.55 / (current.BOLTZMANN * 253.15)))
    middle = fit.temperature
    assert fit.at(middle + fit.doubling / 2) / fit.at(middle - fit.doubling / 2) == pytest.approx(2, rel=0.01)


def test_errors_are_those_of_weighted_least_squares() -> None:
    rng = np.random.default_rng(3)
    celsius = np.array([-30.0, -20, -10, 0, 10])
    truth = 0.1 * 2 ** (celsius / 7)
    errors = truth * np.array([0.1, 0.05, 0.02, 0.02, 0.01])
    fit = calibkit.fit_dark_current(celsius, rng.normal(truth, errors), errors=errors)
    x = 1 / (current.BOLTZMANN * (celsius + 273.15))
    rng = np.random.default_rng(3)
    logs = np.log(rng.normal(truth, errors))
    values, covariance = optimize.curve_fit(
        lambda x, a, b: a - b * (x - x.mean()), x, logs, sigma=errors / np.exp(logs), absolute_sigma=True
    )
    assert fit.energy == pytest.approx(values[1], rel=1e-5)
    assert fit.energy_error == pytest.approx(math.sqrt(covariance[1, 1]), rel=1e-5)


def test_what_cannot_be_fitted_is_refused() -> None:
    for temperatures, rates, words in (
        ([0, 0], [1, 2], "two different temperatures"),
        ([0, 5], [1, -2], "every rate"),
        ([0, 5, 9], [1, 2], "one by one"),
        ([-300, 5], [1, 2], "kelvin"),
    ):
        with pytest.raises(SettingError, match=words):
            calibkit.fit_dark_current(temperatures, rates)

"""Dark current against temperature: the step over which it doubles, and its activation energy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from calibkit.errors import SettingError

#: Boltzmann's constant in eV/K (CODATA 2018, exact).
BOLTZMANN = 8.617333262e-5
_ZERO_CELSIUS = 273.15


@dataclass(frozen=True)
class DarkCurrent:
    """Dark current as a function of temperature, from `fit_dark_current`.

    Attributes
    ----------
    doubling, doubling_error : float
        Temperature step over which the rate doubles at `temperature`, in °C.
    energy, energy_error : float
        Activation energy in eV.
    temperature : float
        Middle of the measured temperatures in °C (in 1/T).
    rate : float
        Fitted rate there, in the unit of the rates.
    chi_squared : float
        Per degree of freedom; nan for two temperatures, or where no errors were given.
    """

    doubling: float
    doubling_error: float
    energy: float
    energy_error: float
    temperature: float
    rate: float
    chi_squared: float = field(compare=False)  # nan is not equal to itself, and says nothing of the rates

    def at(self, temperature: float) -> float:
        """Rate at *temperature* in °C, in the unit of the fitted rates."""
        inverse = 1 / (temperature + _ZERO_CELSIUS) - 1 / (self.temperature + _ZERO_CELSIUS)
        return self.rate * math.exp(-self.energy / BOLTZMANN * inverse)

    def __str__(self) -> str:
        return (
            f"dark current doubles every {self.doubling:.2f} ± {self.doubling_error:.2f} °C at {self.temperature:.0f} °C, "
            f"activation energy {self.energy:.3f} ± {self.energy_error:.3f} eV"
        )


def fit_dark_current(
    temperatures: Sequence[float], rates: Sequence[float], *, errors: Sequence[float] | None = None
) -> DarkCurrent:
    """Fit how dark current grows with temperature.

    Parameters
    ----------
    temperatures : sequence of float
        Detector temperatures in °C, two different ones at least.
    rates : sequence of float
        Dark current at each, e.g. in e⁻/s or ADU/s; positive.
    errors : sequence of float, optional
        Standard errors of the rates, in their unit. Without them every rate counts the same in its logarithm,
        and the errors of the result come from the scatter about the fit (nan for two temperatures).

    Returns
    -------
    DarkCurrent

    Raises
    ------
    SettingError
        Lengths differ, fewer than two temperatures, or a rate, error or temperature that is not possible.

    Notes
    -----
    A straight line through ln(rate) against 1/kT: ``rate ∝ exp(−E/kT)``, so that the step for a doubling is
    ``ln 2 · kT²/E`` and grows with temperature. Widenhorn et al. 2002 (Proc. SPIE 4669, 193): in a cold sensor
    depletion current rules, and E is about half the band gap of silicon, 0.55 eV; in a warm one diffusion
    current with the whole gap, 1.1 eV.

    Examples
    --------
    >>> fit = fit_dark_current([-10, -5, 0, 10], [0.175, 0.352, 0.697, 3.17])
    >>> print(fit)
    dark current doubles every 4.73 ± 0.16 °C at -1 °C, activation energy 0.932 ± 0.031 eV
    """
    celsius, rate = np.asarray(temperatures, float), np.asarray(rates, float)
    sigma = None if errors is None else np.asarray(errors, float)
    if celsius.ndim != 1 or celsius.shape != rate.shape or (sigma is not None and sigma.shape != rate.shape):
        msg = (
            f"temperatures, rates and errors belong together one by one; found {celsius.shape}, {rate.shape}"
            + (f", {sigma.shape}" if sigma is not None else "")
        )
        raise SettingError(msg)
    if np.unique(celsius).size < 2:
        msg = f"two different temperatures at least are wanted for a slope; found {np.unique(celsius).tolist()} °C"
        raise SettingError(msg)
    _all_positive("rate", rate)
    _all_positive("temperature in kelvin", celsius + _ZERO_CELSIUS)
    if sigma is not None:
        _all_positive("error", sigma)
    x = 1 / (BOLTZMANN * (celsius + _ZERO_CELSIUS))
    weight = np.ones_like(x) if sigma is None else (rate / sigma) ** 2
    middle = np.average(x, weights=weight)
    spread = float(np.sum(weight * (x - middle) ** 2))
    slope = float(np.sum(weight * (x - middle) * np.log(rate)) / spread)
    level = float(np.average(np.log(rate), weights=weight))
    freedom = x.size - 2
    residual = float(np.sum(weight * (np.log(rate) - level - slope * (x - middle)) ** 2))
    chi_squared = residual / freedom if freedom > 0 else math.nan
    scale = 1.0 if sigma is not None else chi_squared
    error = math.sqrt(scale / spread)
    kelvin = 1 / (BOLTZMANN * middle)
    energy = -slope
    doubling = math.log(2) * BOLTZMANN * kelvin**2 / energy if energy else math.inf
    return DarkCurrent(
        doubling=doubling,
        doubling_error=abs(doubling * error / energy) if energy else math.inf,
        energy=energy,
        energy_error=error,
        temperature=kelvin - _ZERO_CELSIUS,
        rate=math.exp(level),
        chi_squared=math.nan if sigma is None else chi_squared,
    )


def _all_positive(what: str, values: np.ndarray) -> None:
    if not (np.isfinite(values) & (values > 0)).all():
        msg = f"every {what} has to be a positive number; found {values.tolist()}"
        raise SettingError(msg)

"""How far apart two frames may be and still belong together."""

from __future__ import annotations

import math
from dataclasses import dataclass

from calibkit.errors import SettingError

#: What may be left out of the comparison; size, binning and colour pattern never.
IGNORABLE = ("camera", "gain", "offset", "readout mode", "temperature", "filter", "night")


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """Limits of grouping and matching.

    Parameters
    ----------
    exposure : float
        Seconds by which a dark's exposure may differ from the light's.
    exposure_fraction : float
        The same as a fraction of the exposure; the larger of the two counts.
    dark_temperature : float
        °C by which a dark's temperature may differ from the light's: dark current doubles every 5 to 7 °C.
        It is also the widest range within one group of darks or lights, and the gap that parts two groups of
        flats or biases.
    bias_temperature : float
        °C by which a bias may differ: its level follows the temperature by some ADU only.
    master_temperature : float
        °C between two sets of darks or lights that are told apart, when each has three frames or more.
    flat_hours : float
        Hours between a flat of another night and the light. Dust moves, and so does everything that was
        touched since.
    gain_fraction : float
        Fraction by which two gains in electron/adu may differ; gain settings (ISO) must be equal.
    max_dark_scale : float
        Largest factor by which a bias-subtracted dark may be scaled to another exposure. Above 1 a dark's
        noise is multiplied as well. 0 forbids scaling.
    unknown : {"refuse", "accept"}
        What happens to a bias, dark or flat that does not say what the light does say (its exposure,
        temperature, gain, filter). What the light itself does not say never excludes anything.
    ignore : tuple of str
        Properties that are not compared at all: "camera", "gain", "offset", "readout mode", "temperature",
        "filter", "night".

    Notes
    -----
    0.05 s, 0.1 %, 3 °C, 1 °C and 24 h are the tolerances of the seiza pipeline, and so is the rule for what
    is unknown; ASTAP compares the same properties. A dark should be longer than the light that it is scaled
    to (Berry & Burnell, *The Handbook of Astronomical Image Processing*, ask for five times as long).

    Examples
    --------
    >>> Tolerances(dark_temperature=1.0).same_exposure(300.0, 300.2)
    True
    """

    exposure: float = 0.05
    exposure_fraction: float = 1e-3
    dark_temperature: float = 3.0
    bias_temperature: float = 10.0
    master_temperature: float = 1.0
    flat_hours: float = 24.0
    gain_fraction: float = 0.01
    max_dark_scale: float = 1.0
    unknown: str = "refuse"
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, (int, float)) and not (value >= 0 and math.isfinite(value)):
                msg = f"Tolerances({name}={value!r}): a tolerance is a number ≥ 0"
                raise SettingError(msg)
        if self.unknown not in ("refuse", "accept"):
            msg = f"Tolerances(unknown={self.unknown!r}): allowed are 'refuse' and 'accept'"
            raise SettingError(msg)
        strange = [name for name in self.ignore if name not in IGNORABLE]
        if strange or isinstance(self.ignore, str):
            msg = f"Tolerances(ignore={self.ignore!r}): allowed are a tuple of {', '.join(map(repr, IGNORABLE))}"
            raise SettingError(msg)

    def same_exposure(self, a: float, b: float) -> bool:
        """Whether two exposures in seconds count as equal."""
        return abs(a - b) <= max(self.exposure, self.exposure_fraction * max(a, b)) + 1e-9

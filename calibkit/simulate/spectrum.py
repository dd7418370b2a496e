"""Light by wavelength: what sources send, what filters pass and what pixels answer to.

The curves are drawn after typical data sheets, to a few per cent; nothing depends on their fine shape.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from calibkit.errors import SettingError

#: Wavelengths of the nebular lines in nm (air).
H_ALPHA, O_III_A, O_III_B = 656.28, 495.89, 500.68
#: Wavelengths over which continua are summed, in nm.
GRID = np.arange(380.0, 741.0, 1.0)


@dataclass(frozen=True)
class Curve:
    """A response or transmission against wavelength, linear between its points and level outside them.

    Parameters
    ----------
    points : sequence of (float, float)
        Wavelength in nm, rising, and a value of 0 or more.

    Examples
    --------
    >>> float(Curve(((500, 0.0), (600, 1.0)))(550.0))
    0.5
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        points = tuple((float(nm), float(value)) for nm, value in self.points)
        object.__setattr__(self, "points", points)
        waves = [nm for nm, _ in points]
        if not points or any(b <= a for a, b in pairwise(waves)):
            msg = f"a curve needs points with rising wavelengths in nm; found wavelengths {waves}"
            raise SettingError(msg)
        if not all(np.isfinite(value) and value >= 0 for _, value in points):
            msg = f"values of a curve: 0 or more is allowed; found {[value for _, value in points]}"
            raise SettingError(msg)

    def __call__(self, nm: np.ndarray | float) -> np.ndarray:
        """The value at wavelengths *nm*."""
        return np.interp(nm, *zip(*self.points, strict=True))


@dataclass(frozen=True)
class Spectrum:
    """What a source of light sends: lines, a continuum, or both, as shares of its photons.

    Parameters
    ----------
    lines : sequence of (float, float)
        Wavelength in nm and number of photons, on any scale.
    continuum : Curve, optional
        Photons per nm on the same scale.
    """

    lines: tuple[tuple[float, float], ...] = ()
    continuum: Curve | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", tuple((float(nm), float(n)) for nm, n in self.lines))
        if any(not n >= 0 for _, n in self.lines) or not self._photons([]) > 0:
            msg = "a spectrum needs a line or a continuum, and no number of photons below 0"
            raise SettingError(msg)

    def _photons(self, glasses: Iterable[Curve]) -> float:
        glasses = list(glasses)
        lines = np.array(self.lines, dtype=float).reshape(-1, 2)
        at_lines, at_grid = lines[:, 1].copy(), np.zeros_like(GRID)
        if self.continuum is not None:
            at_grid = self.continuum(GRID)
        for glass in glasses:
            at_lines *= glass(lines[:, 0])
            at_grid = at_grid * glass(GRID)
        return float(at_lines.sum() + at_grid.sum() * (GRID[1] - GRID[0]))

    def share(self, *glasses: Curve) -> float:
        """The share of the photons that is left after all of *glasses* (filters, and the pixel's response)."""
        return self._photons(glasses) / self._photons([])


def band_pass(low: float, high: float, peak: float, *, slope: float = 1.0) -> Curve:
    """A filter that passes *peak* between *low* and *high* nm, with edges *slope* nm wide."""
    return Curve(((low - slope, 0.0), (low, peak), (high, peak), (high + slope, 0.0)))


SPECTRA: dict[str, Spectrum] = {
    "white": Spectrum(continuum=Curve(((380, 1.0), (740, 1.0)))),
    "h-alpha": Spectrum(lines=((H_ALPHA, 1.0),)),
    "o iii": Spectrum(lines=((O_III_A, 1.0), (O_III_B, 2.98))),
    # A moonless sky over a town: airglow and scattered light with the sodium and oxygen lines.
    "night sky": Spectrum(
        lines=((557.7, 8.0), (589.3, 12.0), (630.0, 5.0)),
        continuum=Curve(((380, 0.5), (450, 0.6), (550, 0.9), (620, 1.0), (740, 1.1))),
    ),
    "twilight": Spectrum(continuum=Curve(((380, 0.7), (450, 1.2), (520, 1.0), (600, 0.8), (740, 0.6)))),
    "white led": Spectrum(
        continuum=Curve(
            ((410, 0), (435, 0.35), (452, 1.0), (470, 0.35), (485, 0.18), (520, 0.5), (560, 0.75), (600, 0.68),
             (640, 0.42), (680, 0.18), (740, 0.03))
        )
    ),
    "rgb led": Spectrum(lines=((465, 1.0), (470, 1.0), (522, 1.2), (528, 1.2), (628, 1.6), (633, 1.6))),
    "rgb led with 660 nm": Spectrum(lines=((467, 2.0), (525, 2.4), (630, 0.3), (658, 4.0), (662, 4.0))),
}  # fmt: skip
"""Sources of light by name."""

FILTERS: dict[str, Curve] = {
    "": Curve(((380, 1.0), (740, 1.0))),
    "Ha": band_pass(652.8, 659.8, 0.92),
    "OIII": band_pass(494.0, 503.0, 0.90, slope=1.5),
    "SII": band_pass(669.0, 676.0, 0.90),
    "CLS": Curve(((445, 0), (455, 0.93), (520, 0.93), (532, 0), (632, 0), (644, 0.94), (740, 0.94))),
    "R": Curve(((578, 0), (590, 0.95), (690, 0.95), (702, 0))),
    "G": Curve(((486, 0), (496, 0.94), (568, 0.94), (580, 0))),
    "B": Curve(((390, 0), (400, 0.92), (498, 0.92), (510, 0))),
}
"""Filters in front of the camera by name; ``""`` is none."""

#: What the filter on a pixel and the silicon below it make of light, by letter of the pattern.
RESPONSES: dict[str, Curve] = {
    "L": Curve(((380, 0.35), (430, 0.55), (500, 0.72), (560, 0.75), (620, 0.70), (660, 0.65), (740, 0.45))),
    "R": Curve(
        ((380, 0.02), (480, 0.02), (560, 0.05), (580, 0.22), (595, 0.40), (610, 0.42), (650, 0.36), (700, 0.26))
    ),
    "G": Curve(
        ((380, 0.01), (450, 0.04), (480, 0.15), (500, 0.30), (530, 0.44), (560, 0.37), (590, 0.14), (620, 0.05),
         (660, 0.03), (700, 0.05))
    ),
    "B": Curve(
        ((380, 0.08), (420, 0.27), (460, 0.35), (490, 0.24), (510, 0.12), (540, 0.03), (600, 0.012), (660, 0.02),
         (700, 0.03))
    ),
    "C": Curve(((380, 0.15), (450, 0.42), (530, 0.50), (570, 0.36), (600, 0.10), (660, 0.05), (740, 0.10))),
    "M": Curve(((380, 0.20), (450, 0.40), (500, 0.16), (540, 0.06), (590, 0.35), (620, 0.44), (740, 0.32))),
    "Y": Curve(((380, 0.02), (460, 0.04), (500, 0.30), (540, 0.50), (600, 0.47), (660, 0.37), (740, 0.30))),
    "E": Curve(((380, 0.02), (460, 0.20), (500, 0.40), (530, 0.36), (570, 0.10), (660, 0.03), (740, 0.05))),
    "W": Curve(((380, 0.25), (450, 0.50), (530, 0.56), (620, 0.48), (740, 0.32))),
}  # fmt: skip

#: The filter in front of the sensor: a clear one that cuts ultraviolet and infrared only, and what a
#: camera maker puts there for daylight colours. They differ by a factor 6 at Hα, the deck's figure.
CLEAR_GLASS = Curve(((390, 0.0), (410, 0.96), (690, 0.96), (710, 0.0)))
ORIGINAL_GLASS = Curve(
    ((390, 0.0), (415, 0.90), (540, 0.93), (580, 0.80), (620, 0.42), (H_ALPHA, 0.16), (690, 0.03), (710, 0.0))
)


def named(table: dict[str, object], name: object, what: str) -> object:
    """The entry *name* of *table*, or *name* itself when it is such an object already."""
    if isinstance(name, Curve | Spectrum):
        return name
    if name in table:
        return table[name]
    msg = f"{what} {name!r} is not known; allowed are {', '.join(repr(key) for key in table)}"
    raise SettingError(msg)

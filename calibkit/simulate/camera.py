"""The camera that is simulated, in physical units."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Real

from calibkit._equal import same_fields
from calibkit.cfa.pattern import MONO_CHANNEL, Pattern
from calibkit.errors import SettingError
from calibkit.simulate.spectrum import CLEAR_GLASS, FILTERS, RESPONSES, SPECTRA, Curve, Spectrum, named

_INF = math.inf
#: field → (lowest, highest) value allowed.
_LIMITS = {
    "gain": (1e-3, 1e4),
    "read_noise": (0, 1e4),
    "offset": (0, 65535),
    "bit_depth": (4, 16),
    "full_well": (10, 1e8),
    "pixel_size": (0.1, 100),
    "dark_current": (0, _INF),
    "reference_temperature": (-200, 100),
    "doubling": (1, 100),
    "dark_spread": (0, 5),
    "hot_fraction": (0, 0.5),
    "hot_rate": (0, _INF),
    "hot_spread": (0, 5),
    "telegraph_fraction": (0, 0.5),
    "telegraph_rate": (0, _INF),
    "glow_rate": (0, _INF),
    "glow_size": (1, _INF),
    "sensitivity_spread": (0, 0.3),
    "weak_fraction": (0, 0.5),
    "bad_columns": (0, 10000),
    "non_linearity": (0, 0.5),
    "smear": (0, 1),
    "row_offsets": (0, 1000),
    "column_offsets": (0, 1000),
    "row_noise": (0, 1000),
    "interference": (0, 1000),
    "interference_period": (2, _INF),
    "interference_angle": (-360, 360),
    "cosmic_rays": (0, _INF),
}
#: The 6 × 6 pattern of Fujifilm's X-Trans sensors.
X_TRANS = "GBGGRG/RGRBGB/GBGGRG/GRGGBG/BGBRGR/GRGGBG"
_CORNERS = ("top left", "top right", "bottom left", "bottom right")


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A camera with every property that leaves its mark on a frame.

    Change one with ``dataclasses.replace(camera, read_noise=3.0)``. Two cameras that differ only in `seed`
    are two specimens of one model: same statistics, other pixels.

    Parameters
    ----------
    name : str
        Written as ``INSTRUME``.
    shape : (int, int)
        Rows and columns.
    pattern : str
        Colour filter pattern as in `calibkit.Pattern`, or `X_TRANS`; ``""`` for none.
    gain : float
        Electrons per ADU.
    gain_setting : float
        ISO or the camera's own gain number; NaN when it has none.
    read_noise : float
        Standard deviation of one reading, in electrons.
    offset : float
        Electronic offset, in ADU.
    bit_depth : int
        Of the converter: numbers go from 0 to 2ⁿ − 1.
    full_well : float
        Charge that a pixel holds, in electrons.
    blooming : bool
        Whether charge above the full well flows into the pixels above and below.
    pixel_size : float
        In µm, for the header.
    roworder : {"TOP-DOWN", "BOTTOM-UP"}
        How the picture is meant to be shown; the data are the same.
    glass : Curve
        What the filter in front of the sensor passes: `spectrum.CLEAR_GLASS`, `spectrum.ORIGINAL_GLASS`.
    responses : dict of str to Curve
        Electrons per photon by letter of the pattern (``"L"`` without one), instead of `spectrum.RESPONSES`.
    dark_current, reference_temperature, doubling : float
        Mean thermal electrons per second and pixel at a temperature in °C, and the °C that double it.
    dark_spread : float
        Relative spread of the dark current from pixel to pixel (log-normal).
    hot_fraction, hot_rate, hot_spread : float
        Share of hot pixels; median of what they add, in electrons per second at the reference temperature;
        spread of its natural logarithm.
    telegraph_fraction, telegraph_rate : float
        Share of pixels that add *telegraph_rate* electrons per second in some frames and nothing in others.
    glow_rate, glow_size, glow_corner : float, float, str
        Amplifier glow: electrons per second in its corner, whatever the temperature; reach in pixels (standard
        deviation of a Gaussian); ``"top left"``, ``"top right"``, ``"bottom left"`` or ``"bottom right"``,
        where row 0 is on top.
    sensitivity_spread : float
        Relative spread of the response to light from pixel to pixel.
    weak_fraction : float
        Share of pixels whose response lies anywhere between 0 and 70 %.
    bad_columns : int
        Columns that respond with 30 % from some row on.
    non_linearity : float
        Share of the charge that is missing in the reading at full well; it grows with the square of the charge.
    smear : float
        Seconds that a row takes on its way through the light to the read-out.
    row_offsets, column_offsets : float
        Spread of the offset from row to row and column to column, the same in every frame, in ADU.
    row_noise : float
        Spread of the offset from row to row, new in every frame, in ADU.
    interference, interference_period, interference_angle : float
        Radio-frequency interference: amplitude in ADU, period in pixels, direction of the wave in degrees from
        the x axis. Its phase is another one in every frame.
    cosmic_rays : float
        Hits per second and million pixels.
    seed : int
        Which specimen: hot pixels, sensitivities and offsets come from it.

    Raises
    ------
    SettingError
        A value that no camera has; the message says what is allowed.

    Examples
    --------
    >>> camera = Camera(shape=(100, 150), pattern="GBRG", gain=1.3, bit_depth=12, offset=128)
    >>> camera.dark_rate(-10.0) / camera.dark_rate(-17.0)
    2.0
    """

    name: str = "calibkit simulated camera"
    shape: tuple[int, int] = (480, 640)
    pattern: str = ""
    gain: float = 2.0
    gain_setting: float = math.nan
    read_noise: float = 8.0
    offset: float = 100.0
    bit_depth: int = 16
    full_well: float = 100_000.0
    blooming: bool = False
    pixel_size: float = 7.4
    roworder: str = "TOP-DOWN"
    glass: Curve = CLEAR_GLASS
    responses: dict[str, Curve] = field(default_factory=dict)
    dark_current: float = 0.05
    reference_temperature: float = -20.0
    doubling: float = 7.0
    dark_spread: float = 0.1
    hot_fraction: float = 0.001
    hot_rate: float = 2.0
    hot_spread: float = 1.0
    telegraph_fraction: float = 0.0
    telegraph_rate: float = 0.5
    glow_rate: float = 0.0
    glow_size: float = 60.0
    glow_corner: str = "top left"
    sensitivity_spread: float = 0.01
    weak_fraction: float = 0.0
    bad_columns: int = 0
    non_linearity: float = 0.0
    smear: float = 0.0
    row_offsets: float = 0.0
    column_offsets: float = 0.0
    row_noise: float = 0.0
    interference: float = 0.0
    interference_period: float = 12.0
    interference_angle: float = 20.0
    cosmic_rays: float = 0.0
    seed: int = 0

    __eq__ = same_fields

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 2 or not all(1 <= n <= 32768 for n in shape):
            msg = f"shape={self.shape!r}: rows and columns from 1 to 32768 are allowed"
            raise SettingError(msg)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "pattern", Pattern(self.pattern).text)
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not (isinstance(value, Real) and low <= value <= high) or value == _INF:
                msg = f"{name}={value!r}: a number from {low:g} to {high:g} is allowed"
                raise SettingError(msg)
            whole = name in ("bit_depth", "bad_columns")
            if whole and int(value) != value:
                msg = f"{name}={value!r}: a whole number is allowed"
                raise SettingError(msg)
            object.__setattr__(self, name, int(value) if whole else float(value))
        for name, allowed in (("glow_corner", _CORNERS), ("roworder", ("TOP-DOWN", "BOTTOM-UP"))):
            if getattr(self, name) not in allowed:
                msg = f"{name}={getattr(self, name)!r}: allowed are {', '.join(map(repr, allowed))}"
                raise SettingError(msg)
        unknown = set(self.responses) - set(RESPONSES)
        if unknown:
            msg = f"responses for {sorted(unknown)}: allowed letters are {', '.join(RESPONSES)}"
            raise SettingError(msg)

    @property
    def cfa(self) -> Pattern:
        """The colour filter pattern."""
        return Pattern(self.pattern)

    @property
    def white(self) -> int:
        """Largest number of the converter."""
        return 2**self.bit_depth - 1

    @property
    def saturation(self) -> float:
        """Level in ADU that a full pixel reaches at any rate: what a careful header says.

        Where the full well comes before the converter's end, read noise and offset structure scatter full
        pixels around it, so the level lies five standard deviations below.
        """
        scatter = math.hypot(
            self.read_noise / self.gain,
            self.row_offsets,
            self.column_offsets,
            self.row_noise,
            self.interference,
        )
        full = self.offset + self.full_well * (1 - self.non_linearity) / self.gain
        return float(min(self.white, math.floor(full - 5 * scatter)))

    def dark_rate(self, temperature: float) -> float:
        """Mean thermal electrons per second and pixel, without hot pixels, at *temperature* in °C."""
        return self.dark_current * self.thermal_factor(temperature)

    def thermal_factor(self, temperature: float) -> float:
        """How much more thermal charge there is at *temperature* than at the reference temperature."""
        return 2.0 ** ((temperature - self.reference_temperature) / self.doubling)

    def share(self, letter: str, light: str | Spectrum, filter: str | Curve = "") -> float:
        """Electrons per photon of *light* through *filter* and the glass on a pixel with filter *letter*.

        Parameters
        ----------
        letter : str
            Letter of the pattern, ``"L"`` for a sensor without filters.
        light : str or Spectrum
            Name in `spectrum.SPECTRA`, or a spectrum.
        filter : str or Curve
            Name in `spectrum.FILTERS`, or a curve.
        """
        spectrum = named(SPECTRA, light, "the light")
        glass = named(FILTERS, filter, "the filter")
        response = self.responses.get(letter, RESPONSES[letter])
        return spectrum.share(glass, self.glass, response)

    def shares(self, light: str | Spectrum, filter: str | Curve = "") -> dict[str, float]:
        """`share` of every letter of the pattern."""
        letters = (MONO_CHANNEL,) if self.cfa.is_mono else self.cfa.colours
        return {letter: self.share(letter, light, filter) for letter in letters}

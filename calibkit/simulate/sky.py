"""The sky that is looked at: background, nebula and stars, before optics and camera.

All light is given in electrons per second and pixel that a pixel would collect which turned every photon into
an electron, with nothing in front of it; filters and the pixels' responses come on top.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from calibkit.errors import SettingError
from calibkit.simulate.chance import over_bands
from calibkit.simulate.spectrum import SPECTRA, Spectrum, named

#: Stars are drawn out to this many standard deviations of their image.
_REACH = 5.0
_KNOTS = 24
_NOT_NEGATIVE = ("background", "gradient", "fwhm", "star_flux", "h_alpha", "o_iii", "nebula_size", "dither")


@dataclass(frozen=True, kw_only=True)
class Sky:
    """A field of the sky with known light.

    Parameters
    ----------
    background : float
        Sky background, in electrons per second and pixel.
    gradient : float
        By how much the background is brighter at the right edge than at the left, as a share of its mean.
    gradient_angle : float
        Direction in which it grows, in degrees from the x axis.
    n_stars : int
        Stars at random places; their numbers rise tenfold for every tenth of the brightness.
    star_flux : float
        Electrons per second of the brightest of them over all its pixels.
    stars : sequence of (y, x, flux)
        Further stars at given places, in pixels and electrons per second.
    fwhm : float
        Full width at half maximum of a star, in pixels.
    h_alpha, o_iii : float
        Brightest parts of a nebula in Hα and in O III.
    nebula_size : float
        Its radius as a share of the height of the frame.
    nebula_centre : (float, float)
        Row and column as shares of the height and width.
    dither : float
        Standard deviation of the pointing from frame to frame in pixels, along each axis.
    drift : (float, float)
        Pixels by which the sky moves from one frame to the next, (rows, columns).
    rotation : float
        Degrees by which it turns about the middle of the frame from one frame to the next, from the x axis to the
        y axis, as before a camera on an alt-azimuth mount. For stars; there is no nebula then.
    spectrum : str or Spectrum
        Of the background, as in `spectrum.SPECTRA`.
    star_spectrum : str or Spectrum
    seed : int
        Places of the stars and shape of the nebula.

    Examples
    --------
    >>> sky = Sky(background=2.0, n_stars=100, h_alpha=5.0)
    """

    background: float = 5.0
    gradient: float = 0.0
    gradient_angle: float = 0.0
    n_stars: int = 0
    star_flux: float = 2000.0
    stars: tuple[tuple[float, float, float], ...] = ()
    fwhm: float = 2.8
    h_alpha: float = 0.0
    o_iii: float = 0.0
    nebula_size: float = 0.45
    nebula_centre: tuple[float, float] = (0.5, 0.5)
    dither: float = 0.0
    drift: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0
    spectrum: str | Spectrum = "night sky"
    star_spectrum: str | Spectrum = "white"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("drift", "nebula_centre"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        object.__setattr__(self, "stars", tuple(tuple(float(v) for v in star) for star in self.stars))
        for name in _NOT_NEGATIVE:
            if not 0 <= getattr(self, name) < math.inf:
                msg = f"{name}={getattr(self, name)!r}: a number of 0 or more is allowed"
                raise SettingError(msg)
        if self.gradient > 2 or self.fwhm < 0.5 or self.n_stars < 0:
            msg = (
                f"gradient={self.gradient!r}, fwhm={self.fwhm!r}, n_stars={self.n_stars!r}: allowed are a "
                "gradient up to 2, a width from 0.5 pixels and 0 stars or more"
            )
            raise SettingError(msg)
        if not math.isfinite(self.rotation) or (self.rotation and (self.h_alpha or self.o_iii)):
            msg = f"rotation={self.rotation!r}: a number of degrees is allowed, and only without a nebula"
            raise SettingError(msg)
        if any(len(star) != 3 or star[2] < 0 for star in self.stars):
            msg = "every star is given as (y, x, flux) with a flux of 0 or more"
            raise SettingError(msg)
        for name in ("spectrum", "star_spectrum"):
            named(SPECTRA, getattr(self, name), name)

    def shift(self, frame_index: int) -> tuple[float, float]:
        """Rows and columns by which the sky lies away from its place in frame number *frame_index*."""
        rng = np.random.default_rng((self.seed, 7, frame_index))
        dy, dx = rng.standard_normal(2) * self.dither
        return float(dy + self.drift[0] * frame_index), float(dx + self.drift[1] * frame_index)

    def turn(self, frame_index: int) -> float:
        """Degrees by which the sky is turned in frame number *frame_index*."""
        return self.rotation * frame_index

    def star_list(self, shape: tuple[int, int]) -> np.ndarray:
        """Row, column and flux of every star of a frame of *shape*, float64 of shape (n, 3)."""
        rng = np.random.default_rng((self.seed, 1))
        y, x, luck = rng.random((3, self.n_stars))
        flux = self.star_flux * np.maximum(luck, 1 / max(self.n_stars, 1)) ** -1.0 / max(self.n_stars, 1)
        drawn = np.stack([y * shape[0] - 0.5, x * shape[1] - 0.5, flux], axis=1)
        return np.concatenate([drawn, np.array(self.stars, float).reshape(-1, 3)])

    def components(
        self,
        shape: tuple[int, int],
        *,
        shift: tuple[float, float] = (0.0, 0.0),
        turn: float = 0.0,
        gradient: bool = True,
    ) -> Iterator[tuple[Spectrum, np.ndarray]]:
        """The light of this sky by spectrum, one after the other since each may be as large as the frame.

        Parameters
        ----------
        shape : (int, int)
            Rows and columns.
        shift : (float, float)
            Rows and columns by which the field is moved.
        turn : float
            Degrees by which the stars are turned about the middle before that.
        gradient : bool
            Whether the background has its gradient.

        Yields
        ------
        (Spectrum, numpy.ndarray)
            Electrons per second and pixel, float32; a map or, where it is even, an array of shape (1, 1).
        """
        yield named(SPECTRA, self.spectrum, "spectrum"), self._background(shape, gradient=gradient)
        for level, name, seed in ((self.h_alpha, "h-alpha", 2), (self.o_iii, "o iii", 3)):
            if level:
                yield SPECTRA[name], self._nebula(shape, level, shift, seed)
        if self.n_stars or self.stars:
            yield named(SPECTRA, self.star_spectrum, "star_spectrum"), self._stars(shape, shift, turn)

    def _background(self, shape: tuple[int, int], *, gradient: bool) -> np.ndarray:
        if not (gradient and self.gradient and self.background):
            return np.full((1, 1), self.background, np.float32)
        angle = math.radians(self.gradient_angle)
        y = np.linspace(-0.5, 0.5, shape[0]) * math.sin(angle)
        x = np.linspace(-0.5, 0.5, shape[1]) * math.cos(angle)
        slope = self.background * self.gradient
        ramp = (self.background + slope * y[:, None]).astype(np.float32) + (slope * x).astype(np.float32)
        return np.maximum(ramp, 0, out=ramp)

    def _nebula(
        self, shape: tuple[int, int], level: float, shift: tuple[float, float], seed: int
    ) -> np.ndarray:
        size = self.nebula_size * shape[0]
        v, u = (
            (np.arange(n) - c * n - s) / size
            for c, n, s in zip(self.nebula_centre, shape, shift, strict=True)
        )
        around = np.linspace(-1, 1, 201)
        brightest = _cloud(around, around, (self.seed, seed)).max()
        return _cloud(v, u, (self.seed, seed)) * np.float32(level / brightest)

    def _stars(self, shape: tuple[int, int], shift: tuple[float, float], turn: float) -> np.ndarray:
        """Gaussian images, integrated over each pixel."""
        from scipy.special import erf

        out = np.zeros(shape, np.float32)
        sigma = self.fwhm / math.sqrt(8 * math.log(2))
        reach = math.ceil(_REACH * sigma)
        stars = self.star_list(shape)
        middle = (np.array(shape) - 1) / 2
        c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        # rows and columns: from x to y
        stars[:, :2] = (stars[:, :2] - middle) @ np.array([[c, -s], [s, c]]) + middle + np.array(shift)
        first = np.floor(stars[:, :2] + 0.5).astype(int) - reach
        edges = first[:, :, None] + np.arange(2 * reach + 2) - 0.5
        profile = np.diff(0.5 * erf((edges - stars[:, :2, None]) / (sigma * math.sqrt(2))), axis=2)
        for (y, x), (py, px), flux in zip(first, profile, stars[:, 2], strict=True):
            y0, x0 = max(y, 0), max(x, 0)
            y1, x1 = min(y + py.size, shape[0]), min(x + px.size, shape[1])
            if y1 > y0 and x1 > x0:
                out[y0:y1, x0:x1] += np.outer(flux * py[y0 - y : y1 - y], px[x0 - x : x1 - x])
        return out


@dataclass(frozen=True)
class Lamp:
    """A uniform source of light for flats: twilight, a wall, a panel, a box with LEDs.

    Parameters
    ----------
    rate : float
        Electrons per second and pixel, counted as for the `Sky`.
    spectrum : str or Spectrum
        As in `spectrum.SPECTRA`: ``"white led"``, ``"rgb led"``, ``"twilight"`` …

    Examples
    --------
    >>> import calibkit
    >>> calibkit.Lamp(rate=5_000.0, spectrum="twilight")
    Lamp(rate=5000.0, spectrum='twilight')
    """

    rate: float = 20_000.0
    spectrum: str | Spectrum = "white led"

    def __post_init__(self) -> None:
        if not 0 <= self.rate < math.inf:
            msg = f"rate={self.rate!r}: a number of 0 or more is allowed"
            raise SettingError(msg)
        named(SPECTRA, self.spectrum, "spectrum")

    def components(self) -> Iterator[tuple[Spectrum, np.ndarray]]:
        """The light by spectrum, as `Sky.components` gives it."""
        yield named(SPECTRA, self.spectrum, "spectrum"), np.full((1, 1), self.rate, np.float32)


def _cloud(v: np.ndarray, u: np.ndarray, seed: tuple[int, int]) -> np.ndarray:
    """A cloud with filaments about (0, 0), fading at a distance of 1: splines over random numbers on three grids."""
    rng = np.random.default_rng(seed)
    layers = []
    for finer, strength in ((1, 1.2), (3, 0.7), (9, 0.25)):
        count = _KNOTS * finer
        values = strength * rng.standard_normal((count, count))
        knots, weights = _splines(1.5 * finer * u + count / 2, count)
        columns = np.einsum("kxj,xj->kx", values[:, knots], weights).astype(np.float32)
        layers.append((columns, *_splines(1.5 * finer * v + count / 2, count)))
    v2, u2 = (np.square(w, dtype=np.float32) for w in (v, u))
    cloud = np.empty((v.size, u.size), np.float32)

    def fill(band: int, y0: int, y1: int) -> None:
        distance2 = v2[y0:y1, None] + u2
        height = distance2 * -np.sqrt(distance2)
        for columns, knots, weights in layers:
            for k in range(4):
                height += weights[y0:y1, k, None].astype(np.float32) * columns[knots[y0:y1, k]]
        np.exp(height, out=cloud[y0:y1])

    over_bands(cloud.shape, fill)
    return cloud


def _splines(position: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and values of the four of *count* uniform cubic B-splines that are not 0 at *position* in knots.

    Beyond the first and last knot the splines repeat, so that any position has light.
    """
    knot = np.floor(position).astype(int)
    t = position - knot
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    return (knot[:, None] + np.arange(-1, 3)) % count, np.stack(weights, axis=1) / 6

"""Optics in front of the camera: what they take away and what they add."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from calibkit.errors import SettingError


@dataclass(frozen=True)
class DustShadow:
    """The shadow of one speck of dust: a disc, with a brighter middle if the telescope has a central obstruction.

    Parameters
    ----------
    y, x : float
        Centre, in pixels.
    radius : float
        In pixels.
    depth : float
        Share of the light that is missing, 0 to 1.
    hole : float
        Radius of the middle that is not shaded, as a share of *radius*: 0 for a lens.
    """

    y: float
    x: float
    radius: float
    depth: float
    hole: float = 0.35

    def __post_init__(self) -> None:
        if not (self.radius > 0 and 0 <= self.depth <= 1 and 0 <= self.hole < 1):
            msg = (
                f"dust shadow with radius {self.radius}, depth {self.depth}, hole {self.hole}: allowed are a "
                "radius above 0, a depth from 0 to 1 and a hole from 0 to below 1"
            )
            raise SettingError(msg)


@dataclass(frozen=True)
class Reflection:
    """A ghost: an out-of-focus disc of light that was reflected, lying on top of the picture.

    Parameters
    ----------
    y, x, radius : float
        Centre and radius in pixels.
    strength : float
        Its brightness as a share of the mean light that reaches the sensor.
    """

    y: float
    x: float
    radius: float
    strength: float

    def __post_init__(self) -> None:
        if not (self.radius > 0 and self.strength >= 0):
            msg = (
                f"reflection with radius {self.radius} and strength {self.strength}: "
                "allowed are a radius above 0 and a strength of 0 or more"
            )
            raise SettingError(msg)


@dataclass(frozen=True, kw_only=True)
class Optics:
    """A telescope or lens.

    Parameters
    ----------
    vignetting : float
        Share of the light that is missing at the corner farthest from the centre, 0 to below 1; towards it
        the light falls as cos⁴ of an angle does.
    centre : (float, float)
        Row and column of the brightest point as shares of the height and width.
    dust : sequence of DustShadow
    reflections : sequence of Reflection
    light_leak : float
        Stray light at the left edge in electrons per second, falling to nothing at the right edge. It is there
        in every exposure, darks too unless the camera is covered.
    focal_length : float
        In mm, for the header.

    Examples
    --------
    >>> optics = Optics(vignetting=0.3, dust=[DustShadow(200, 300, radius=25, depth=0.1)])
    """

    vignetting: float = 0.0
    centre: tuple[float, float] = (0.5, 0.5)
    dust: tuple[DustShadow, ...] = ()
    reflections: tuple[Reflection, ...] = ()
    light_leak: float = 0.0
    focal_length: float = 1000.0

    def __post_init__(self) -> None:
        for name in ("centre", "dust", "reflections"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not 0 <= self.vignetting < 1:
            msg = f"vignetting={self.vignetting!r}: a share from 0 to below 1 is allowed"
            raise SettingError(msg)
        if not (0 <= self.light_leak < math.inf and 0 < self.focal_length < math.inf):
            msg = f"light_leak={self.light_leak!r}, focal_length={self.focal_length!r}: allowed are 0 or more, and above 0"
            raise SettingError(msg)

    def throughput(self, shape: tuple[int, int], *, vignetting: bool = True, dust: bool = True) -> np.ndarray:
        """Share of the light that reaches each pixel of a frame of *shape*, float32; 1 where nothing is lost."""
        height, width = shape
        y = np.arange(height, dtype=np.float32)[:, None]
        x = np.arange(width, dtype=np.float32)[None, :]
        out = np.ones(shape, np.float32)
        if vignetting and self.vignetting:
            cy, cx = self.centre[0] * (height - 1), self.centre[1] * (width - 1)
            farthest = max(cy, height - 1 - cy) ** 2 + max(cx, width - 1 - cx) ** 2
            slope = ((1 - self.vignetting) ** -0.5 - 1) / max(farthest, 1.0)
            dy2, dx2 = ((np.float32(slope) * (axis - np.float32(c)) ** 2) for axis, c in ((y, cy), (x, cx)))
            out = 1 + dy2 + dx2
            np.multiply(out, out, out=out)
            np.reciprocal(out, out=out)
        for speck in self.dust if dust else ():
            window = _window(speck.y, speck.x, speck.radius * 1.1, shape)
            shade = _disc(y[window[0]], x[:, window[1]], speck.y, speck.x, speck.radius)
            if speck.hole:
                shade -= _disc(y[window[0]], x[:, window[1]], speck.y, speck.x, speck.radius * speck.hole)
            out[window] *= 1 - np.float32(speck.depth) * shade
        return out

    def ghosts(self, shape: tuple[int, int]) -> np.ndarray | None:
        """Light of the reflections as shares of the mean light, float32, None when there are none."""
        if not any(ghost.strength for ghost in self.reflections):
            return None
        y = np.arange(shape[0], dtype=np.float32)[:, None]
        x = np.arange(shape[1], dtype=np.float32)[None, :]
        out = np.zeros(shape, np.float32)
        for ghost in self.reflections:
            window = _window(ghost.y, ghost.x, ghost.radius * 1.1, shape)
            disc = _disc(y[window[0]], x[:, window[1]], ghost.y, ghost.x, ghost.radius)
            out[window] += np.float32(ghost.strength) * disc
        return out

    def leak(self, width: int) -> np.ndarray:
        """Stray light of each column in electrons per second, float32 of length *width*."""
        return (self.light_leak * (1 - np.arange(width) / max(width - 1, 1))).astype(np.float32)


def random_dust(
    count: int, shape: tuple[int, int], *, depth: float = 0.03, radius: float = 18.0, seed: int = 0
) -> tuple[DustShadow, ...]:
    """Specks at random places of a frame of *shape*.

    Parameters
    ----------
    count : int
    shape : (int, int)
        Rows and columns of the frame.
    depth, radius : float
        Typical values; single specks have 0.4 to 1 times the depth and 0.5 to 1.5 times the radius.
    seed : int

    Returns
    -------
    tuple of DustShadow
    """
    rng = np.random.default_rng((seed, count))
    draws = rng.random((count, 4))
    return tuple(
        DustShadow(
            y=float(a * shape[0]),
            x=float(b * shape[1]),
            radius=float(radius * (0.5 + c)),
            depth=float(depth * (0.4 + 0.6 * d)),
        )
        for a, b, c, d in draws
    )


def _window(y: float, x: float, reach: float, shape: tuple[int, int]) -> tuple[slice, slice]:
    edges = []
    for centre, size in ((y, shape[0]), (x, shape[1])):
        low = min(max(math.floor(centre - reach), 0), size)
        edges.append(slice(low, min(max(math.ceil(centre + reach) + 1, low), size)))
    return edges[0], edges[1]


def _disc(y: np.ndarray, x: np.ndarray, cy: float, cx: float, radius: float) -> np.ndarray:
    """1 inside, 0 outside, with an edge a tenth of the radius (at least a pixel) wide."""
    distance = np.sqrt((y - np.float32(cy)) ** 2 + (x - np.float32(cx)) ** 2)
    return np.clip((np.float32(radius) - distance) / np.float32(max(1.0, 0.1 * radius)) + 0.5, 0, 1)

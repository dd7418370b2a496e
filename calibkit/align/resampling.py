"""Frames brought onto the grid of the reference, as mosaics still: every site of the pattern by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import xarray as xr

from calibkit.align.lights import Frames, Light, Rows, lights_of
from calibkit.align.transforms import Transform
from calibkit.cfa import Pattern, pattern_of
from calibkit.cfa.phase import origin
from calibkit.errors import MismatchError, SettingError
from calibkit.flags import NO_DATA
from calibkit.memory import Scratch, band_rows
from calibkit.meta import add_step

Interpolation = Literal["lanczos3", "bicubic", "linear"]
INTERPOLATIONS = ("lanczos3", "bicubic", "linear")
_scratch = Scratch()
#: What a tile is worked on in.
_WORK = {"planes": np.float32, "spreads": np.float32, "dirty": np.uint8}
_POWERS = 9
#: Fractions of a pixel for which the noise is known.
_PHASES = 512


def resample(
    light: Frames,
    transform: Transform | np.ndarray,
    *,
    interpolation: Interpolation = "lanczos3",
) -> xr.Dataset:
    """Bring a light onto the pixels of the reference, with its variance and flags.

    Parameters
    ----------
    light : Dataset or DataArray
        One calibrated light ``(y, x)``, in memory or lazy.
    transform : Transform or array of shape (3, 3)
        From `register`: takes (x, y, 1) of the light to the reference, in sensor pixels.
    interpolation : {"lanczos3", "bicubic", "linear"}
        Sinc with a Lanczos window over 6 × 6 samples, cubic convolution over 4 × 4, or linear over 2 × 2: less and
        less sharp, with less and less ringing beside bright stars.

    Returns
    -------
    Dataset
        ``signal`` and ``variance`` (float32), ``flags`` (uint16) on the same sensor pixels, with the same pattern. Every
        site of the pattern is interpolated from samples of that site alone. NaN with the flag *no_data* where the light
        does not reach. ``attrs["noise_correlation"]`` is by what factor the variance of a mean over many pixels is larger
        than the pixels' own variances would make it if they were independent.

    Raises
    ------
    SettingError
        An interpolation that does not exist, or a pattern such as X-Trans whose sites are too far apart.
    MismatchError
        The transform says that the frame could not be aligned.

    Notes
    -----
    With weights w of samples with variance v the variance of the result is Σ w² v. Neighbouring results share samples;
    their covariance is not kept, hence the factor. A bad sample does not enter: the others are weighed up. Where the
    bad one lies right beside the place, or a saturated one has weight, the result has its flag.

    References
    ----------
    Duchon, C. E. 1979, "Lanczos filtering in one and two dimensions", J. Applied Meteorology 18, 1016.
    Keys, R. G. 1981, "Cubic convolution interpolation for digital image processing", IEEE Trans. ASSP 29, 1153.

    Examples
    --------
    >>> import calibkit
    >>> camera = calibkit.Camera(shape=(200, 300), offset=100.0)
    >>> sky = calibkit.Sky(n_stars=60, star_flux=20_000.0, drift=(2.0, -3.0))
    >>> raw = calibkit.simulate_stack(camera, 3, exposure=30.0, sky=sky)
    >>> lights = calibkit.calibrate(raw, bias=calibkit.constant_bias(raw, level=100.0))
    >>> transforms = calibkit.register(lights, reference=0)
    >>> moved = calibkit.resample(lights.isel(frame=1), transforms[1])
    >>> moved.signal.dims
    ('y', 'x')
    """
    found = lights_of(light, "resample")
    if len(found) != 1:
        msg = f"resample takes one light and its transform, found {len(found)} lights; stack_lights takes them all"
        raise MismatchError(msg)
    matrix = matrix_of(transform, found[0].name)
    grid = grid_like(light, interpolation)
    height, width = grid.shape
    out = tuple(np.empty((height, width), dtype) for dtype in (np.float32, np.float32, np.uint16))
    step = band_rows(height, width, bytes_per_pixel=40, multiple=grid.period[0])
    for y0 in range(0, height, step):
        y1 = min(y0 + step, height)
        for target, rows in zip(out, align_rows(found[0], matrix, grid, y0, y1), strict=True):
            target[y0:y1] = rows
    single = light.isel(frame=0) if "frame" in light.dims else light
    units = str(single.attrs.get("units", "adu"))
    result = xr.Dataset(
        {name: (("y", "x"), part) for name, part in zip(("signal", "variance", "flags"), out, strict=True)},
        coords=single.coords,
        attrs=single.attrs,
    )
    result["signal"].attrs["units"] = units
    result["variance"].attrs["units"] = units if units == "1" else f"{units}2"
    result.attrs["noise_correlation"] = round(correlation(grid, [matrix]), 3)
    return add_step(result, "resample", interpolation=interpolation, matrix=matrix.tolist())


@dataclass(frozen=True)
class Grid:
    """The pixels that frames are brought to, as a mosaic: each site of the cell is a plane of its own.

    Output row i and column j of a site at (dy, dx) of the cell lie at sensor row ``start[0] + step[0] * i + shift[0]``,
    where the shift is (dy, dx), or the middle of the cell for all sites when they are to lie on one another.
    """

    shape: tuple[int, int]  # of the output mosaic
    period: tuple[int, int]
    start: tuple[float, float]
    step: tuple[float, float]
    together: bool
    interpolation: str
    place: tuple[int, int]  # sensor row and column of the frames' first pixel
    frame_shape: tuple[int, int]

    def centre(self, dy: int, dx: int) -> tuple[float, float]:
        """What to add for the site at (dy, dx)."""
        if self.together:
            return (self.period[0] - 1) / 2, (self.period[1] - 1) / 2
        return float(dy), float(dx)


def grid_like(light: Frames, interpolation: str) -> Grid:
    """The grid of the light itself."""
    pattern = pattern_of(light)
    check_interpolation(interpolation, pattern)
    place = origin(light, pattern)
    shape = (light.sizes["y"], light.sizes["x"])
    py, px = pattern.period
    return Grid(
        shape, (py, px), (float(place[0]), float(place[1])), (py, px), False, interpolation, place, shape
    )


def grid_of_cells(light: Frames, interpolation: str, scale: float) -> Grid:
    """A grid on which the sites of a cell lie on one another, *scale* pixels for each cell."""
    pattern = pattern_of(light)
    check_interpolation(interpolation, pattern)
    place = origin(light, pattern)
    (py, px), size = pattern.period, (light.sizes["y"], light.sizes["x"])
    rows, columns = (max(1, math.floor(n // p * scale + 1e-9)) for n, p in zip(size, (py, px), strict=True))
    # the outer edges of the picture stay where they are
    start = tuple(
        o + (p / scale - 1) / 2 - (p - 1) / 2 for o, p in zip(map(float, place), (py, px), strict=True)
    )
    return Grid(
        (rows * py, columns * px),
        (py, px),
        start,
        (py / scale, px / scale),
        True,
        interpolation,
        place,
        size,
    )


def check_interpolation(interpolation: str, pattern: Pattern) -> None:
    """Refuse what does not exist, and patterns whose sites are too far apart to interpolate between."""
    if interpolation not in INTERPOLATIONS:
        msg = f"interpolation={interpolation!r}: allowed are {', '.join(map(repr, INTERPOLATIONS))}"
        raise SettingError(msg)
    if max(pattern.period) > 2:
        py, px = pattern.period
        msg = (
            f"the pattern repeats every {py} × {px} pixels, so that samples of one site are too far apart to interpolate "
            "between them; use stack_lights(..., channels='drizzle'), which puts every sample in its own place"
        )
        raise SettingError(msg)


def matrix_of(transform: Transform | np.ndarray, name: str) -> np.ndarray:
    """The 3 × 3 matrix, checked."""
    if isinstance(transform, Transform):
        if not transform.ok:
            msg = f"{name} could not be aligned: {transform.reason}"
            raise MismatchError(msg)
        transform = transform.matrix
    matrix = np.asarray(transform, float)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:2, :2])) < 1e-6:
        msg = f"a transform is a 3 × 3 matrix that can be inverted, found {matrix!r}"
        raise SettingError(msg)
    return matrix


def align_rows(
    light: Light,
    matrix: np.ndarray,
    grid: Grid,
    y0: int,
    y1: int,
    factor: np.ndarray | None = None,
    term: np.ndarray | None = None,
    *,
    out: Rows | None = None,
) -> Rows:
    """Rows *y0* to *y1* of the output mosaic; *y0* is a whole number of cells.

    ``factor`` and ``term`` (py, px), for the sites of the cell, normalise the values on the way. The rows are written
    into *out* where it is given.
    """
    from calibkit.kernels import resample as kernels

    shape = (y1 - y0, grid.shape[1])
    if out is None:
        out = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint16)
    top, bottom = rows_needed(matrix, grid, y0, y1)
    if top >= bottom:
        for array, nothing in zip(out, (np.nan, np.nan, NO_DATA), strict=True):
            array[...] = nothing
        return out
    py = grid.period[0]
    maps = _maps(matrix, grid)
    maps[..., 0, 2] -= top // py
    room = _room(maps, -(-shape[0] // py))
    kernels.resample_mosaic(
        *light.borrow(top, bottom),
        maps,
        _coefficients(grid.interpolation),
        y0 // py,
        np.ones(grid.period, np.float32) if factor is None else factor.astype(np.float32),
        np.zeros(grid.period, np.float32) if term is None else term.astype(np.float32),
        *out,
        *(_scratch.take(name, room, kind) for name, kind in _WORK.items()),
    )
    return out


def _room(maps: np.ndarray, rows: int) -> tuple[int, int, int]:
    """Shape (px, row, column) that the samples of a tile of so many output rows have at most."""
    from calibkit.kernels.resample import REACH, TILE, VECTOR

    span = np.abs(maps[..., :2]) @ (rows, TILE)
    high, wide = (math.ceil(span[..., axis].max()) + 2 * REACH + 1 for axis in (0, 1))
    # the sites of a cell lie less than a sample apart; a last vector may reach beyond
    return maps.shape[1], high + 1, wide + 1 + VECTOR


def _affine(matrix: np.ndarray, grid: Grid, dy: int, dx: int) -> np.ndarray:
    """From output row and column of a site to row and column of that site's plane in the frame, (2, 3)."""
    cy, cx = grid.centre(dy, dx)
    # output (i, j) → (x, y) of the reference
    to_sensor = np.array(
        [[0.0, grid.step[1], grid.start[1] + cx], [grid.step[0], 0.0, grid.start[0] + cy], [0.0, 0.0, 1.0]]
    )
    # (x, y) of the frame → row and column of the plane
    py, px = grid.period
    to_plane = np.array(
        [
            [0.0, 1 / py, -(grid.place[0] + dy) / py],
            [1 / px, 0.0, -(grid.place[1] + dx) / px],
            [0.0, 0.0, 1.0],
        ]
    )
    return (to_plane @ np.linalg.inv(matrix) @ to_sensor)[:2]


def _maps(matrix: np.ndarray, grid: Grid) -> np.ndarray:
    """`_affine` of every site of the cell, (py, px, 2, 3)."""
    py, px = grid.period
    return np.array([[_affine(matrix, grid, dy, dx) for dx in range(px)] for dy in range(py)])


def rows_needed(matrix: np.ndarray, grid: Grid, y0: int, y1: int) -> tuple[int, int]:
    """Rows of the frame, whole cells, that rows *y0* to *y1* of the output come from, as (first, end); none if end ≤ first."""
    from calibkit.kernels.resample import REACH

    py, px = grid.period
    maps, first, last = _maps(matrix, grid), y0 // py, -(-y1 // py)
    columns = grid.shape[1] / px
    corners = np.array([[i, j, 1.0] for i in (first, last) for j in (0.0, columns)])
    rows = corners @ maps[..., 0, :].reshape(-1, 3).T
    height = grid.frame_shape[0]
    top = max(0, math.floor(rows.min()) - REACH) * py
    bottom = min(height, (math.ceil(rows.max()) + REACH + 1) * py)
    return top, bottom


@lru_cache(maxsize=4)
def _coefficients(interpolation: str) -> np.ndarray:
    """Weights of the first three of six samples as polynomials of a fraction of a pixel less ½, float32 (sample, power).

    First the even powers 0 to 8, then the odd ones 1 to 7; those of the last three samples are the mirror image. Those of
    the window of Lanczos are fitted, to 2e-5; they add up to 1 for every fraction.
    """
    # Chebyshev's points, so that the largest deviation is small
    u = 0.5 * np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    powers = u[:, None] ** [*range(0, _POWERS, 2), *range(1, _POWERS, 2)]
    fitted = np.linalg.lstsq(powers, _exact(interpolation, u + 0.5)[:, :3], rcond=None)[0].T
    even = _POWERS // 2 + 1
    fitted[:, 0] += (0.5 - fitted[:, 0].sum()) / 3
    fitted[:, 1:even] -= fitted[:, 1:even].mean(axis=0)
    return fitted.astype(np.float32)


def _exact(interpolation: str, fraction: np.ndarray) -> np.ndarray:
    """Weights of the samples −2 … 3 at a fraction of a pixel after sample 0, (place, sample); they add up to 1."""
    t = fraction[:, None] - np.arange(-2, 4)
    a = np.abs(t)
    if interpolation == "linear":
        weight = np.maximum(1 - a, 0)
    elif interpolation == "bicubic":
        near = (1.5 * a - 2.5) * a**2 + 1
        far = ((-0.5 * a + 2.5) * a - 4) * a + 2
        weight = np.where(a < 1, near, np.where(a < 2, far, 0))
    else:
        weight = np.where(a < 3, np.sinc(t) * np.sinc(t / 3), 0)
    return weight / weight.sum(axis=1, keepdims=True)


def correlation(grid: Grid, matrices: list[np.ndarray]) -> float:
    """By what the variance of a mean over many pixels exceeds what independent pixels would have.

    The weights add up to 1, so that a mean over many pixels has the variance of as many samples, while each pixel
    has Σ w² of a sample's, which is averaged here over the places that the grid comes to lie at. With more pixels than
    samples each sample counts several times.
    """
    power = (_exact(grid.interpolation, np.linspace(0, 1, _PHASES + 1)) ** 2).sum(axis=1)
    i, j = np.meshgrid(
        np.arange(0, grid.shape[0] // grid.period[0], 7), np.arange(0, grid.shape[1] // grid.period[1], 7)
    )
    share = []
    crowding = 1.0
    for matrix in matrices:
        affine = _affine(matrix, grid, 0, 0)
        y, x = np.tensordot(affine, np.stack([i, j, np.ones_like(i)]), 1)
        ky, kx = (np.rint((v - np.floor(v)) * _PHASES).astype(int) for v in (y, x))
        share.append(float((power[ky] * power[kx]).mean()))
        crowding = 1 / abs(float(np.linalg.det(affine[:, :2])))
    return crowding / float(np.mean(share))

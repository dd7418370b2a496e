"""What differs from pixel to pixel and stays: response (PRNU) and level without light (DSNU)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from calibkit.calibration.checks import check_camera, check_frame
from calibkit.calibration.pairs import tile_shape, tiles
from calibkit.cfa import channel_index
from calibkit.errors import CalibkitError, MismatchError, SettingError
from calibkit.memory import band_rows
from calibkit.noise import Measurement
from calibkit.progress import Progress, silent

#: Pixels and tiles further from the rest than this many robust sigma are defects and dust, not pattern.
_CLIP = 5.0
#: A tile with fewer good pixels of a channel is left out.
_LEAST_PIXELS = 64
_MAD = 1.4826022185056018


@dataclass(frozen=True)
class FixedPattern:
    """What `measure_fixed_pattern` found.

    Attributes
    ----------
    prnu : Measurement or None
        Standard deviation of the response from pixel to pixel, as a share of its mean (unit 1).
    dsnu : Measurement or None
        Standard deviation of the level without light from pixel to pixel, ADU.
    defects : dict
        Channel → share of pixels that were left out as defects, of the flats where there are any.
    refused : dict
        What these frames cannot show → why.
    """

    prnu: Measurement | None
    dsnu: Measurement | None
    defects: dict[str, float]
    refused: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [] if self.prnu is None else [f"PRNU: {self.prnu}"]
        lines += [] if self.dsnu is None else [f"DSNU: {self.dsnu}"]
        return "\n".join([*lines, *(f"{name}: not measured, {why}" for name, why in self.refused.items())])


def measure_fixed_pattern(
    flats: xr.DataArray | None = None, darks: xr.DataArray | None = None, *, progress: Progress = silent
) -> FixedPattern:
    """Measure how much pixels differ from one another in response and in level without light.

    Parameters
    ----------
    flats : xarray.DataArray, optional
        Two or more raw flats of one exposure, ``(frame, y, x)``, ADU, at about half of saturation; lazy or in memory.
    darks : xarray.DataArray, optional
        Two or more bias frames or darks of one exposure; the flats need them, or flat darks, too.
    progress : callable
        ``progress(done, total, what)``.

    Returns
    -------
    FixedPattern
        PRNU from flats and darks, DSNU from darks: at the exposure of the darks.

    Raises
    ------
    SettingError
        Neither flats nor darks were given.
    MismatchError
        Fewer than two frames, several exposures, or frames that do not belong together.
    CalibkitError
        The flats are no brighter than the darks.

    Notes
    -----
    The frames are halved, every other one to each half. What both half means have in common is the pattern, since
    temporal noise is another one in each: the variance of the pattern is their covariance, without any model of
    the noise. (EMVA Standard 1288, release 4.0, chapter 8, subtracts the temporal variance instead, which comes to
    the same.) In tiles of about 48 × 48 pixels a second-order polynomial is taken out first, so that vignetting
    and glow do not count; pixels further than 5 robust σ from their tile's polynomial are left out as defects and
    counted, and so are tiles that are unlike the rest (edges of dust shadows). Errors come from the scatter between
    tiles.

    Examples
    --------
    >>> from calibkit import Camera, simulate_stack
    >>> camera = Camera(shape=(192, 192), sensitivity_spread=0.01)
    >>> flats = simulate_stack(camera, 8, kind="flat", exposure=2.0)
    >>> darks = simulate_stack(camera, 8, kind="bias", frame_index=8)
    >>> abs(measure_fixed_pattern(flats, darks).prnu.value - 0.01) < 0.0005
    True
    """
    if flats is None and darks is None:
        msg = "measure_fixed_pattern: give darks for the DSNU, and flats besides for the PRNU"
        raise SettingError(msg)
    darks = None if darks is None else _stack(darks, "darks")
    refused: dict[str, str] = {}
    if flats is None:
        refused["prnu"] = "no flats were given"
        dsnu, defects = _pattern(darks, None, progress)
        return FixedPattern(None, _finished(dsnu, darks, "adu"), defects, refused)
    flats = _stack(flats, "flats")
    if darks is None:
        msg = "measure_fixed_pattern: flats need darks or biases besides, for the level without light; give darks="
        raise MismatchError(msg)
    check_camera(darks.to_dataset(name="signal").assign_attrs(darks.attrs), flats, "dark", subject="flat")
    if darks.shape[1:] != flats.shape[1:]:
        msg = f"measure_fixed_pattern: the darks measure {darks.shape[1:]} and the flats {flats.shape[1:]} (rows, columns)"
        raise MismatchError(msg)
    dsnu, _ = _pattern(darks, None, progress)
    prnu, defects = _pattern(flats, darks, progress)
    return FixedPattern(_finished(prnu, flats, "1"), _finished(dsnu, darks, "adu"), defects, refused)


def _stack(stack: object, name: str) -> xr.DataArray:
    stack = check_frame(stack, "measure_fixed_pattern")
    if stack.sizes.get("frame", 1) < 2:
        msg = f"measure_fixed_pattern: two {name} at least are needed to tell a pattern from noise; found one"
        raise MismatchError(msg)
    if "exposure" in stack.coords:
        exposures = np.unique(np.atleast_1d(stack.coords["exposure"].values))
        if exposures.size > 1 and exposures[-1] > 1.01 * exposures[0] + 1e-3:
            msg = (
                f"measure_fixed_pattern: the {name} were exposed for {', '.join(f'{t:g}' for t in exposures)} s; take those "
                "of one exposure"
            )
            raise MismatchError(msg)
    return stack


def _pattern(
    stack: xr.DataArray, darks: xr.DataArray | None, progress: Progress
) -> tuple[list[list[np.ndarray]], dict[str, float]]:
    """For each channel the pattern's variance in every tile, as a share of the level squared with *darks*."""
    cell, channels = channel_index(stack)
    shape = tile_shape(stack, cell)
    found: list[list[np.ndarray]] = [[] for _ in channels]
    left_out, seen = np.zeros(len(channels)), np.zeros(len(channels))
    above = [0.0] * len(channels)
    for first, second in _half_bands(stack, darks, shape, progress):
        halves = zip(tiles(first[None], cell, shape), tiles(second[None], cell, shape), strict=True)
        for c, (one, two) in enumerate(halves):
            a, b = one[0], two[0]
            level = np.ones((len(a), 1))
            if darks is not None:
                level = np.nanmedian((a + b) / 2, axis=1, keepdims=True)
                above[c] = max(above[c], float(np.nanmax(level)))
                level = np.where(level > 0, level, np.nan)
            variance, bad = _tile_covariance(a / level, b / level, shape, cell, c)
            found[c].append(variance)
            left_out[c] += bad
            seen[c] += a.size
    for name, brightest in zip(channels, above, strict=True):
        if darks is not None and not brightest > 0:
            msg = f"measure_fixed_pattern: the flats are no brighter than the darks in channel {name}"
            raise CalibkitError(msg)
    shares = np.divide(left_out, seen, out=np.zeros_like(seen), where=seen > 0)
    return found, dict(zip(channels, shares.tolist(), strict=True))


def _half_bands(
    stack: xr.DataArray, darks: xr.DataArray | None, tile: tuple[int, int], progress: Progress
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Means of every other frame, bands of whole tiles, one frame in memory at a time."""
    height, width = stack.shape[1:]
    usable = height // tile[0] * tile[0]
    rows = max(tile[0], band_rows(usable, width, bytes_per_pixel=64, multiple=tile[0]))
    for y0 in range(0, usable, rows):
        progress(y0, usable, "look for the pattern")
        part = slice(y0, min(y0 + rows, usable))
        halves = [_mean(stack, k, part) for k in (0, 1)]
        if darks is not None:
            halves = [half - _mean(darks, k, part) for k, half in enumerate(halves)]
        yield halves[0], halves[1]
    progress(usable, usable, "look for the pattern")


def _mean(stack: xr.DataArray, start: int, rows: slice) -> np.ndarray:
    total, count = np.zeros((rows.stop - rows.start, stack.sizes["x"])), 0
    for frame in range(start, stack.sizes["frame"], 2):
        total += np.asarray(stack.data[frame, rows])
        count += 1
    return total / count


def _tile_covariance(
    a: np.ndarray, b: np.ndarray, shape: tuple[int, int], cell: np.ndarray, channel: int
) -> tuple[np.ndarray, int]:
    """Covariance of two half means in every tile about their polynomials, and how many pixels were left out."""
    basis = _basis(shape, cell, channel)
    good = np.isfinite(a) & np.isfinite(b)
    a, b = np.where(good, a, 0.0), np.where(good, b, 0.0)
    terms = basis.shape[1]
    pixels = int(good.sum())
    for _ in range(4):
        rest_a, rest_b = _residual(a, good, basis), _residual(b, good, basis)
        both = (rest_a + rest_b) / 2
        width = _CLIP * _MAD * np.median(np.abs(both), axis=1, keepdims=True)
        inside = good & (np.abs(both) <= np.maximum(width, 1e-12))
        if (inside == good).all():
            break
        good = inside
    count = good.sum(axis=1)
    enough = count >= max(_LEAST_PIXELS, terms + 2)
    covariance = np.full(len(a), math.nan)
    total = (rest_a * rest_b * good).sum(axis=1)
    covariance[enough] = total[enough] / (count[enough] - terms)
    return covariance, pixels - int(good.sum())


def _basis(shape: tuple[int, int], cell: np.ndarray, channel: int) -> np.ndarray:
    """Second-order polynomials of the pixels of one channel in a tile, in the order of `tiles`."""
    rows, columns = shape
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    cut = [tiles(part[None], cell, shape)[channel][0, 0] for part in (y, x)]
    v, u = cut
    return np.stack([np.ones_like(v), v, u, v * v, v * u, u * u], axis=1)


def _residual(values: np.ndarray, good: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """*values* without their least-squares polynomial over the *good* pixels of each tile; 0 elsewhere."""
    terms = basis.shape[1]
    normal = np.tile(
        basis.T @ basis + 1e-9 * np.eye(terms), (len(values), 1, 1)
    )  # for a tile without good pixels
    tile, pixel = np.nonzero(~good)  # few: cheaper to take off than all the others are to sum up
    np.subtract.at(normal, tile, basis[pixel][:, :, None] * basis[pixel][:, None, :])
    kept = np.where(good, values, 0.0)
    weights = np.linalg.solve(normal, (kept @ basis)[:, :, None])[:, :, 0]
    return np.where(good, values - weights @ basis.T, 0.0)


def _finished(found: list[list[np.ndarray]], stack: xr.DataArray, unit: str) -> Measurement:
    _, channels = channel_index(stack)
    values, errors = {}, {}
    for name, parts in zip(channels, found, strict=True):
        variance = np.concatenate(parts)
        variance = variance[np.isfinite(variance)]
        if not variance.size:
            values[name] = errors[name] = math.nan
            continue
        middle = np.median(variance)
        spread = _MAD * np.median(np.abs(variance - middle))
        kept = variance[np.abs(variance - middle) <= _CLIP * spread] if spread > 0 else variance
        mean = float(kept.mean())
        error = float(kept.std(ddof=1) / math.sqrt(kept.size)) if kept.size > 1 else math.nan
        # A variance that comes out negative is a pattern too weak to see: its error is then an upper limit.
        values[name] = math.sqrt(max(mean, 0.0))
        errors[name] = error / (2 * values[name]) if values[name] ** 2 > error else math.sqrt(max(error, 0.0))
    return Measurement(values, errors, unit, stack.sizes["frame"])

"""What is done to a frame, decided and checked before any pixel is read, and done to a band of rows."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibkit import flags as fl
from calibkit.calibration.noise_terms import NoiseTerms
from calibkit.cfa.neighbours import reach_of
from calibkit.memory import Scratch

#: What is replaced from its neighbours. Saturated pixels are not: they are lower limits of what was there.
REPAIRABLE = fl.HOT | fl.COLD | fl.UNSTABLE | fl.COSMIC_RAY | fl.BAD_FLAT | fl.BAD_LINE
#: Good neighbours that a repair wants before it stops looking further away.
ENOUGH = 4
#: Squares of neighbours that a repair looks at, and the one over which expected electrons are averaged.
REPAIR_REACHES, SMOOTH_REACHES = (1, 2, 3), (2,)

_scratch = Scratch()
#: Of signal, variance and flags.
_DTYPES = (np.float32, np.float32, fl.FLAG_DTYPE)
#: Rows of the masters under one band of the frame, by name; None for what there is not.
Rows = dict[str, np.ndarray | None]


@dataclass(frozen=True)
class Recipe:
    """One calibration. Arrays have one value per frame, per channel, or per frame and channel."""

    cell: np.ndarray  # channel numbers of the frame's own first cell
    scale: np.ndarray  # (frame,): factor of the dark
    constant: np.ndarray  # (channel,): ADU
    bias_share: np.ndarray  # (frame,): factor of the bias's variance
    saturation: float
    noise: NoiseTerms | None
    smooth: np.ndarray  # taps of the average
    taps: np.ndarray
    rings: np.ndarray
    repair: bool

    @property
    def halo(self) -> int:
        """Rows above and below a band that its pixels depend on."""
        rows = reach_of(self.taps) if self.repair else 0
        return rows + (reach_of(self.smooth) if self.noise is not None else 0)


def calibrate_rows(
    recipe: Recipe,
    frame: int,
    y0: int,
    top: int,
    count: int,
    light: np.ndarray,
    masters: Rows,
    *,
    out: tuple[np.ndarray, ...] | None = None,
    variance: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signal, variance and flags of *count* rows of one frame.

    Parameters
    ----------
    recipe : Recipe
    frame : int
        Number of the frame, for what differs between frames.
    y0 : int
        Row of the frame that *light* begins with.
    top, count : int
        Which rows of *light* are wanted; the others are the halo.
    light : numpy.ndarray
        Rows of the raw frame, shape (row, x).
    masters : dict
        The same rows of the masters: "bias", "bias variance", "bias flags", likewise of dark and flat, and
        "defects".
    out : tuple of numpy.ndarray, optional
        Where the result goes.
    variance : bool
        Without, the variance is not worked out, and what *out* holds there means nothing.
    """
    from calibkit.kernels import calibrate as kernels
    from calibkit.kernels.parts import Parts

    light = _native(light)
    kind, width = _kind_for(light.dtype), light.shape[1]
    out = tuple(np.empty((count, width), dtype) for dtype in _DTYPES) if out is None else out
    around = tuple(
        _scratch.take(f"around {n}", (len(light) - count, width), dtype) for n, dtype in enumerate(_DTYPES)
    )
    noise = recipe.noise if variance else None
    reach, side = (reach_of(recipe.smooth), _side(recipe.smooth)) if noise is not None else (0, 0)
    made, halo = (Parts(*part) if noise is not None else _without_variance(part) for part in (out, around))
    kernels.calibrate(
        light,
        y0,
        top,
        reach_of(recipe.taps) if recipe.repair else 0,
        _masters(masters, width),
        _channels(recipe, frame, width, kind),
        _numbers(recipe, frame, kind),
        recipe.smooth,
        _square(recipe.smooth),
        _scratch.take("rows", (2 * reach + 2, side + width + side), np.float32),
        _scratch.take("work", (3, width), np.float32),
        made,
        halo,
    )
    if recipe.repair:
        _repair(recipe, y0, top, made, halo)
    if variance and noise is None:
        out[1][...] = np.nan
    return out


def _repair(recipe: Recipe, y0: int, top: int, made: Any, around: Any) -> None:
    """Replace bad pixels of *made*; at its edges, in copies together with the rows around."""
    from calibkit.kernels.repair import repair_rows

    reach, count = reach_of(recipe.taps), len(made.flags)
    height = count + len(around.flags)
    edges = (0, reach, count - reach, count) if count > 2 * reach else (0, count)
    for first, last in itertools.pairwise(edges):
        start, stop = max(0, top + first - reach), min(height, top + last + reach)
        inside = top <= start and stop <= top + count
        if inside:
            rows = [array[start - top : stop - top] if array.size else array for array in made]
        else:
            rows = [_joined(*parts, top, start, stop) for parts in zip(made, around, strict=True)]
        taps, rings = (np.roll(table, -(y0 + start), axis=0) for table in (recipe.taps, recipe.rings))
        shift = top - start
        repair_rows(*rows, np.uint16(REPAIRABLE), taps, rings, ENOUGH, shift + first, shift + last)
        if not inside:
            for target, repaired in zip(made, rows, strict=True):
                target[first:last] = repaired[shift + first : shift + last]


def _joined(made: np.ndarray, around: np.ndarray, top: int, start: int, stop: int) -> np.ndarray:
    """Rows *start* to *stop* of all, of which *made* are those from *top* on, and *around* the others."""
    count = len(made)
    above, below = around[min(start, top) : top], around[top : max(top, stop - count)]
    return np.concatenate([above, made[max(0, start - top) : max(0, stop - top)], below])


def _without_variance(part: tuple[np.ndarray, ...]) -> Any:
    from calibkit.kernels.parts import Parts

    return Parts(part[0], np.empty((0, 0), np.float32), part[2])


def _kind_for(dtype: np.dtype) -> type[np.floating]:
    """The type to subtract in: single precision where it holds every value of the light."""
    return np.float32 if np.can_cast(dtype, np.float32) else np.float64


def _masters(rows: Rows, width: int) -> Any:
    """For the kernel: what is not there is one row that changes nothing."""
    from calibkit.kernels.calibrate import Masters

    found = {name.replace(" ", "_"): _native(np.asarray(r)) for name, r in rows.items() if r is not None}
    nothing, no_flags = np.zeros((1, width), np.float32), np.zeros((1, width), fl.FLAG_DTYPE)
    blank = {name: no_flags if name.endswith(("flags", "defects")) else nothing for name in Masters._fields}
    blank["flat"] = np.ones((1, width), np.float32)
    return Masters(**blank | found)


def _channels(recipe: Recipe, frame: int, width: int, kind: type[np.floating]) -> Any:
    """What differs between channels, along the rows of the pattern's first cell."""
    from calibkit.kernels.calibrate import Channels

    columns = recipe.cell[:, np.arange(width) % recipe.cell.shape[1]]
    noise, none = recipe.noise, np.zeros_like(recipe.constant)

    def along(values: np.ndarray, dtype: type[np.floating] = np.float32) -> np.ndarray:
        return np.ascontiguousarray(values.astype(dtype)[columns])

    return Channels(
        constant=along(recipe.constant, kind),
        per_adu=along(none if noise is None else noise.per_adu[frame]),
        floor=along(none if noise is None else noise.floor[frame]),
        level=along(none if noise is None else noise.dark_level),
    )


def _numbers(recipe: Recipe, frame: int, kind: type[np.floating]) -> Any:
    from calibkit.kernels.calibrate import Numbers

    scale, noise = recipe.scale[frame], recipe.noise
    saturation = kind(recipe.saturation)
    if saturation < recipe.saturation:  # rounded down, it would make pixels below it saturated
        saturation = np.nextafter(saturation, kind(np.inf))
    return Numbers(
        saturation=saturation,
        full_scale=kind(scale),
        scale=np.float32(scale),
        bias_share=np.float32(recipe.bias_share[frame]),
        dark_share=np.float32(scale**2),
        floor_has_dark=noise is not None and noise.floor_has_dark,
    )


def _square(taps: np.ndarray) -> tuple[int, int]:
    """Step between the places when the taps, with (0, 0), are a square of 5 × 5 for every pixel, else (0, 0)."""
    step = tuple((np.abs(taps).max(axis=(0, 1, 2)) // 2).tolist())
    square = {(dy * step[0], dx * step[1]) for dy in range(-2, 3) for dx in range(-2, 3)}
    found = {tuple(tap) for tap in taps[0, 0].tolist()}
    return step if taps.shape[:2] == (1, 1) and min(step) > 0 and found == square else (0, 0)


def _side(taps: np.ndarray) -> int:
    """Columns that the farthest tap looks away."""
    return int(np.abs(taps[..., 1]).max(initial=0))


def _native(array: np.ndarray) -> np.ndarray:
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))

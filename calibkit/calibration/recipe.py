"""What is done to a frame, decided and checked before any pixel is read, and done to a band of rows."""

from __future__ import annotations

from dataclasses import dataclass

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

#: Rows that are worked on at once: what is made on the way stays in the processor's cache.
_BLOCK = 128
_scratch = Scratch()
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
    light = _native(light)
    masters = {name: _native(np.asarray(rows)) for name, rows in masters.items() if rows is not None}
    shape = (count, light.shape[1])
    if out is None:
        out = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint16)
    constants = _constants(recipe, frame, shape[1])
    for start in range(top, top + count, _BLOCK):
        stop = min(start + _BLOCK, top + count)
        above, below = max(0, start - recipe.halo), min(len(light), stop + recipe.halo)
        under = {name: rows[above:below] for name, rows in masters.items()}
        to = tuple(array[start - top : stop - top] for array in out)
        turned = {name: np.roll(table, -(y0 + above), axis=0) for name, table in constants.items()}
        block = light[above:below], under, turned
        _calibrate_block(recipe, frame, y0 + above, start - above, *block, to, variance=variance)
    return out


def _constants(recipe: Recipe, frame: int, width: int) -> Rows:
    """What differs between channels, along the rows of the pattern's first cell, (py, width)."""
    columns = recipe.cell[:, np.arange(width) % recipe.cell.shape[1]]
    tables = {"constant": recipe.constant}
    if recipe.noise is not None:
        tables["per_adu"], tables["floor"] = recipe.noise.per_adu[frame], recipe.noise.floor[frame]
        tables["dark_level"] = recipe.noise.dark_level
    return {name: np.asarray(values, np.float64)[columns] for name, values in tables.items()}


def _calibrate_block(
    recipe: Recipe,
    frame: int,
    y0: int,
    top: int,
    light: np.ndarray,
    masters: Rows,
    constants: Rows,
    out: tuple[np.ndarray, ...],
    *,
    variance: bool,
) -> None:
    """Fill *out*, which begins *top* rows below the first of *light*."""
    from calibkit.kernels import calibrate as kernels
    from calibkit.kernels.repair import repair_rows

    def rows(name: str) -> np.ndarray:
        dtype = np.uint16 if name.endswith("flags") or name == "defects" else np.float32
        return masters[name] if name in masters else np.empty((0, 0), dtype)

    shape, side = light.shape, _side(recipe.smooth)
    scale = float(recipe.scale[frame])
    net = _scratch.take("net", (shape[0], side + shape[1] + side), np.float32)
    inner = net[:, side : side + shape[1]]
    flags = _scratch.take("flags", shape, np.uint16)
    kernels.subtract(
        light, rows("bias"), rows("dark"), scale, constants["constant"], recipe.saturation, rows("bias flags"),
        rows("dark flags"), rows("defects"), side, net, flags,
    )  # fmt: skip
    spread = _scratch.take("spread", shape if variance else (0, 0), np.float32)
    if recipe.noise is None or not variance:
        spread[:] = np.nan
    else:
        kernels.noise(
            net, side, np.roll(recipe.smooth, -y0, axis=0), _square(recipe.smooth), rows("dark"), rows("bias variance"),
            rows("dark variance"), scale, float(recipe.bias_share[frame]), scale**2, constants["per_adu"],
            constants["floor"], constants["dark_level"], recipe.noise.floor_has_dark, spread,
        )  # fmt: skip
    signal = inner
    if "flat" in masters:
        signal, net_spread = _scratch.take("signal", shape, np.float32), spread
        spread = _scratch.take("variance", spread.shape, np.float32)
        kernels.divide(
            inner, net_spread, rows("flat"), rows("flat variance"), rows("flat flags"), signal, spread, flags
        )
    if recipe.repair:
        taps, rings = (np.roll(table, -y0, axis=0) for table in (recipe.taps, recipe.rings))
        if not variance:
            out = (out[0], spread, out[2])
        repair_rows(signal, spread, flags, np.uint16(REPAIRABLE), taps, rings, ENOUGH, top, *out)
        return
    for target, made in zip(out, (signal, spread, flags), strict=True):
        if made.size:
            target[...] = made[top : top + len(target)]


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

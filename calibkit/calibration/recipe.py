"""What is done to a frame, decided and checked before any pixel is read, and done to a band of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibkit import flags as fl
from calibkit.calibration.noise_terms import NoiseTerms
from calibkit.cfa.neighbours import reach_of

#: What is replaced from its neighbours. Saturated pixels are not: they are lower limits of what was there.
REPAIRABLE = fl.HOT | fl.COLD | fl.UNSTABLE | fl.COSMIC_RAY | fl.BAD_FLAT | fl.BAD_LINE
#: Good neighbours that a repair wants before it stops looking further away.
ENOUGH = 4
#: Squares of neighbours that a repair looks at, and the one over which expected electrons are averaged.
REPAIR_REACHES, SMOOTH_REACHES = (1, 2, 3), (2,)

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
    recipe: Recipe, frame: int, y0: int, top: int, count: int, light: np.ndarray, masters: Rows
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
    """
    from calibkit.kernels import calibrate as kernels
    from calibkit.kernels.repair import repair_rows

    light = _native(light)
    shape = light.shape
    empty, no_flags = np.empty((0, 0), np.float32), np.empty((0, 0), np.uint16)

    def rows(name: str) -> np.ndarray:
        array = masters.get(name)
        if array is None:
            return no_flags if name.endswith("flags") or name == "defects" else empty
        return _native(np.asarray(array))

    cell = np.roll(recipe.cell, -y0, axis=0)
    bias, dark = rows("bias"), rows("dark")
    scale = float(recipe.scale[frame])
    signal = np.empty(shape, np.float32)
    variance = np.full(shape, np.nan, np.float32)
    flags = np.empty(shape, np.uint16)
    kernels.subtract(light, bias, dark, scale, recipe.constant, cell, signal)
    kernels.flag_pixels(
        light, recipe.saturation, rows("bias flags"), rows("dark flags"), rows("defects"), signal, flags
    )
    if recipe.noise is not None:
        terms = (recipe.noise.per_adu[frame], recipe.noise.floor[frame], recipe.noise.dark_level, cell)
        expected = np.empty(shape, np.float32)
        kernels.first_guess(signal, dark, scale, *terms, variance)
        kernels.expect(signal, variance, np.roll(recipe.smooth, -y0, axis=0), 0, expected)
        shares = (scale, float(recipe.bias_share[frame]), scale**2)
        kernels.noise(
            expected,
            dark,
            rows("bias variance"),
            rows("dark variance"),
            *shares,
            *terms,
            recipe.noise.floor_has_dark,
            variance,
        )
        variance[np.isnan(signal)] = np.nan
    if masters.get("flat") is not None:
        kernels.divide(signal, variance, rows("flat"), rows("flat variance"), rows("flat flags"), flags)
    inner = slice(top, top + count)
    if not recipe.repair:
        return signal[inner], variance[inner], flags[inner]
    out = tuple(np.empty((count, shape[1]), array.dtype) for array in (signal, variance, flags))
    taps, rings = (np.roll(table, -y0, axis=0) for table in (recipe.taps, recipe.rings))
    repair_rows(signal, variance, flags, np.uint16(REPAIRABLE), taps, rings, ENOUGH, top, *out)
    return out


def _native(array: np.ndarray) -> np.ndarray:
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))

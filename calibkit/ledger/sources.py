"""The variance of `calibrate`, taken apart into where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibkit.calibration.engine import calibrate
from calibkit.calibration.levels import per_channel
from calibkit.calibration.noise_terms import QUANTISATION, NoiseTerms
from calibkit.ledger.masters import Masters
from calibkit.meta import known

#: New in every frame; "photons" become "sky" and "object" when the level of the sky is known.
OF_A_FRAME = ("readout", "quantisation", "dark current", "photons")
#: The same in every frame that is calibrated with these masters.
OF_MASTERS = ("bias master", "dark master", "flat master")


@dataclass(frozen=True)
class Floor:
    """What the noise model's floor is made of, ADU², shape (frame, channel)."""

    readout: np.ndarray
    quantisation: float
    dark: np.ndarray
    split: bool  # readout and the mean dark current can be told apart


def floor_of(
    terms: NoiseTerms,
    lights: xr.DataArray,
    channels: tuple[str, ...],
    read_noise: float | Mapping[str, float] | None,
) -> Floor:
    """Take the floor apart; where it was measured on darks, by the read noise if that is known."""
    rounding = QUANTISATION if lights.dtype.kind in "iu" else 0.0
    rounding = min(rounding, float(terms.floor.min()))
    readout = terms.floor - rounding
    zero = np.zeros_like(readout)
    if not terms.floor_has_dark:
        return Floor(readout, rounding, zero, split=True)
    said = read_noise if read_noise is not None else lights.attrs.get("read_noise")
    if not known(said):
        return Floor(readout, rounding, zero, split=False)
    stated = np.minimum((per_channel(said, channels, "read_noise") * terms.per_adu) ** 2, readout)
    return Floor(stated, rounding, readout - stated, split=True)


@dataclass(frozen=True)
class Parts:
    """Variances of the pixels of a block, ADU², before the flat.

    Attributes
    ----------
    net : numpy.ndarray
        Frames without bias and dark, ``(frame, y, x)``, ADU.
    frame : dict
        Source → ``(frame, y, x)``, for `OF_A_FRAME`.
    bias_alone : numpy.ndarray
        What the bias brings before the dark is subtracted, ``(y, x)``.
    bias, dark : numpy.ndarray
        What bias and dark bring once both are subtracted, ``(frame, y, x)``: a bias that was subtracted from the
        dark too counts with (1 − k)², and none of it with the dark.
    """

    net: np.ndarray
    frame: dict[str, np.ndarray]
    bias_alone: np.ndarray
    bias: np.ndarray
    dark: np.ndarray


def take_apart(
    light: xr.DataArray,
    masters: Masters,
    options: dict[str, object],
    *,
    terms: NoiseTerms,
    floor: Floor,
    scale: np.ndarray,
    index: np.ndarray,
) -> Parts:
    """Parts of the variance that `calibrate` gives these frames without a flat.

    Parameters
    ----------
    light : xarray.DataArray
        A block of some frames, ``(frame, y, x)``, in memory.
    masters : Masters
        Under that block.
    options : dict
        More keywords of `calibrate`.
    terms, floor : NoiseTerms, Floor
        With one row for each frame of *light*.
    scale : numpy.ndarray
        Factor of the dark for each frame.
    index : numpy.ndarray
        Channel number of every pixel of the block.
    """

    def variance(of: Masters) -> np.ndarray:
        given = of.as_options() | {"flat": None}
        return calibrate(light, **given, **options)["variance"].values.astype(np.float64)

    result = calibrate(light, **(masters.as_options() | {"flat": None}), **options)
    total = result["variance"].values.astype(np.float64)
    bias = (
        total - variance(masters.without_noise("bias")) if masters.bias is not None else np.zeros_like(total)
    )
    dark = (
        total - variance(masters.without_noise("dark")) if masters.dark is not None else np.zeros_like(total)
    )
    own = np.zeros(total.shape[1:])
    if masters.bias is not None:
        own = masters.bias["variance"].values.astype(np.float64)
    readout, thermal = floor.readout[:, index], floor.dark[:, index]
    factor = scale[:, None, None]
    if masters.dark is not None:
        excess = masters.dark["signal"].values.astype(np.float64) - terms.dark_level[index]
        thermal = thermal + factor * excess * terms.per_adu[:, index]
    photons = total - bias - dark - readout - floor.quantisation - thermal
    if masters.common:
        bias, dark = bias + factor**2 * own, dark - factor**2 * own
    return Parts(
        net=result["signal"].values,
        frame={
            "readout": readout,
            "quantisation": np.full(total.shape, floor.quantisation),
            "dark current": thermal,
            "photons": photons,
        },
        bias_alone=own,
        bias=bias,
        dark=dark,
    )

"""What a ledger is to be made of, decided and checked before the pixels are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from calibkit.calibration.checks import check_frame, values_of
from calibkit.calibration.dark import dark_scales
from calibkit.calibration.engine import SMOOTH_REACHES, calibrate
from calibkit.calibration.noise_terms import NoiseTerms, noise_terms
from calibkit.calibration.pairs import tile_shape
from calibkit.cfa import channel_index
from calibkit.cfa.neighbours import neighbour_taps, reach_of
from calibkit.errors import CalibkitError, MismatchError
from calibkit.ledger.masters import Masters
from calibkit.ledger.measuring import Layout
from calibkit.ledger.sample import Block
from calibkit.ledger.sources import Floor, floor_of
from calibkit.session.tolerances import Tolerances
from calibkit.warned import collected, warn

#: Pixels that are calibrated at once: a few arrays of them are held.
_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Task:
    """One ledger.

    Attributes
    ----------
    lights : xarray.DataArray
        ``(frame, y, x)`` with coordinates ``y`` and ``x``.
    channels : tuple of str
    masters : Masters
        On the pixels of the lights.
    options : dict
        More keywords of `calibrate`.
    layout : Layout
    rim : tuple of int
        Rows and columns around a block that its variance depends on.
    scale : numpy.ndarray
        Factor of the dark for each frame.
    close : tuple of int
        Frames that are looked at closely.
    pairs : tuple of (int, int)
        Those of them that are compared, by their places in *close*.
    terms, close_terms : NoiseTerms
        The noise model of all frames, and of those in *close*.
    close_floor : Floor
    dithered : bool
    """

    lights: xr.DataArray
    channels: tuple[str, ...]
    masters: Masters
    options: dict[str, Any]
    layout: Layout
    rim: tuple[int, int]
    scale: np.ndarray
    close: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]
    terms: NoiseTerms
    close_terms: NoiseTerms
    close_floor: Floor
    dithered: bool

    def block_light(self, pixels: np.ndarray, block: Block) -> xr.DataArray:
        """The pixels that were read of a block, labelled as the lights are."""
        part = self.lights.coords.to_dataset().isel(y=block.read_rows, x=block.read_columns)
        return xr.DataArray(pixels, dims=("frame", "y", "x"), coords=part.coords, attrs=self.lights.attrs)

    def index(self, block: Block) -> np.ndarray:
        """Channel number of every pixel that is read of a block."""
        cell = self.layout.cell
        y = np.arange(block.read_rows.start, block.read_rows.stop) % cell.shape[0]
        x = np.arange(block.read_columns.start, block.read_columns.stop) % cell.shape[1]
        return cell[y[:, None], x]

    def portions(self, pixels: int) -> Iterator[slice]:
        """Frames, some at a time, where each has *pixels* of a block."""
        count = self.lights.sizes["frame"]
        step = max(1, _AT_ONCE // pixels)
        for start in range(0, count, step):
            yield slice(start, min(start + step, count))


def make_task(
    lights: xr.DataArray,
    *,
    bias: xr.Dataset | None,
    dark: xr.Dataset | None,
    flat: xr.Dataset | None,
    dithered: bool,
    **options: Any,
) -> Task:
    """Check everything, once and with the warnings that `calibrate` has for it.

    Raises
    ------
    CalibkitError
        The noise cannot be known: no gain, no read noise, or a master without a variance.
    """
    stack = _stack(lights)
    cell, channels = channel_index(stack)
    masters = Masters.of(stack, bias, dark, flat)
    options = options | {"repair": False}
    layout = Layout(cell, tile_shape(stack, cell))
    _try(stack, {"bias": bias, "dark": dark, "flat": flat}, options, layout.tile)
    scale, _ = dark_scales(
        stack,
        masters.dark,
        masters.bias is not None,
        options["dark_scale"],
        temperature_tolerance=options["temperature_tolerance"],
    )
    with collected():  # they were given when one block was tried
        terms = noise_terms(
            stack,
            channels,
            bias=masters.bias,
            dark=masters.dark,
            scale=scale,
            gain=options["gain"],
            read_noise=options["read_noise"],
        )
    assert terms is not None  # the block that was tried has a variance
    close, pairs = _close(stack.sizes["frame"])
    close_terms = replace(terms, per_adu=terms.per_adu[list(close)], floor=terms.floor[list(close)])
    reach = reach_of(neighbour_taps(cell, SMOOTH_REACHES)[0])
    return Task(
        lights=stack,
        channels=channels,
        masters=masters,
        options=options,
        layout=layout,
        rim=tuple(-(-reach // period) * period for period in cell.shape),
        scale=scale,
        close=close,
        pairs=pairs,
        terms=terms,
        close_terms=close_terms,
        close_floor=floor_of(close_terms, stack, channels, options["read_noise"]),
        dithered=bool(dithered),
    )


def _stack(lights: object) -> xr.DataArray:
    stack = check_frame(lights, "noise_ledger")
    stack = stack if "frame" in stack.dims else stack.expand_dims("frame")
    exposures = values_of(stack, "exposure")
    same = Tolerances().same_exposure
    if any(not same(float(t), float(exposures[0])) for t in exposures):
        found = ", ".join(f"{t:g}" for t in exposures)
        msg = f"noise_ledger: the lights were exposed for {found} s; make a ledger of each exposure apart"
        raise MismatchError(msg)
    missing = {dim: np.arange(stack.sizes[dim]) for dim in ("y", "x") if dim not in stack.coords}
    return stack.assign_coords(missing)


def _try(
    stack: xr.DataArray,
    masters: Mapping[str, xr.Dataset | None],
    options: dict[str, Any],
    tile: tuple[int, int],
) -> None:
    """Calibrate one tile in the middle of the first frame, for the checks and warnings of `calibrate`."""
    middle = [size // 2 // step * step for size, step in zip(stack.shape[1:], tile, strict=True)]
    middle = [min(m, size - step) for m, size, step in zip(middle, stack.shape[1:], tile, strict=True)]
    rows, columns = (slice(m, m + step) for m, step in zip(middle, tile, strict=True))
    sample = stack.isel(frame=slice(0, 1), y=rows, x=columns).compute()
    with collected() as found:
        variance = calibrate(sample, **masters, **options)["variance"]
    for text in found:
        warn(text, stacklevel=4)
    if not bool(np.isfinite(variance).any()):
        msg = (
            "noise_ledger: the noise of these frames cannot be predicted, because the gain, the read noise or the "
            "variance of a master is not known (the warning above says which); give gain= and read_noise=, measured "
            "with calibkit.measure_gain and calibkit.measure_read_noise, and masters of several frames"
        )
        raise CalibkitError(msg)


def _close(count: int) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """Two pairs of successive frames, from the beginning and the end, as far as there are that many."""
    if count < 4:
        return tuple(range(count)), ((0, 1),) if count > 1 else ()
    return (0, 1, count - 2, count - 1), ((0, 1), (2, 3))

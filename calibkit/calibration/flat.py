"""Flats: frames without their offset, the level of each channel, and what is wrong with the exposure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from calibkit import flags as fl
from calibkit.calibration.bands import reader_of
from calibkit.calibration.flat_level import EMPTY, FlatChannel, refuse_saturated, rows_of_array
from calibkit.calibration.levels import channel_values, sites_of
from calibkit.cfa import channel_index
from calibkit.combining.reading import read_rows
from calibkit.io.result_file import rows_of
from calibkit.io.source import StackSource
from calibkit.makers import tell_maker
from calibkit.warned import warn

#: A channel this much of which is saturated is worth a word.
_SATURATED_SHARE = 0.001
#: A channel whose level, over saturation, is above this is near the end of the linear range.
_NEAR_SATURATION = 0.9
#: Noise of the master per pixel, relative, that is worth a word (ten flats of 10 000 electrons: 0.3 %).
_WEAK = 0.01
#: A channel whose level in one flat is below so many times its spread is too dark to be normalised by.
_DARK = 0.5
#: Pixels that tell whether a channel is.
_SAMPLE = 500_000


def subtracted_stack(
    frames: xr.DataArray, bias: xr.Dataset | None, dark: xr.Dataset | None, scale: np.ndarray
) -> xr.Dataset:
    """Flats without bias and dark, float32, lazy where they are, with saturated samples flagged."""
    saturation = float(frames.attrs.get("saturation", math.nan))
    data = frames.data
    offsets = [] if bias is None else [(bias["signal"].data, np.ones(frames.sizes["frame"], np.float32))]
    if dark is not None:
        offsets.append(
            (dark["signal"].data, np.broadcast_to(scale, frames.sizes["frame"]).astype(np.float32))
        )
    lazy = hasattr(data, "dask")
    if lazy:
        signal, flags = _lit_lazily(data, offsets, saturation)
    else:
        signal = np.stack(
            [
                _lit(frame, *((np.asarray(master), factor[i]) for master, factor in offsets))
                for i, frame in enumerate(data)
            ]
        )
        flags = _saturated(data, saturation)
    stack = xr.Dataset(
        {"signal": (frames.dims, signal), "flags": (frames.dims, flags)},
        coords=frames.coords,
        attrs=frames.attrs | {"saturation": math.nan},
    )
    if lazy and (source := reader_of(frames)) is not None:
        readers = [rows_of(master) or partial(rows_of_array, master) for master, _ in offsets]
        maker = _Lit(source, list(zip(readers, (factor for _, factor in offsets), strict=True)), saturation)
        tell_maker(stack, maker)
        stack.encoding["maker"] = maker  # what it is known by lives no longer than the stack
    return stack


@dataclass(frozen=True, eq=False)
class _Lit:
    """Makes rows of flats in files without their offsets, each master's rows read once for all of them."""

    source: StackSource
    offsets: list[tuple[Callable[[int, int], np.ndarray], np.ndarray]]
    saturation: float
    quick: ClassVar[bool] = True  # rows anywhere cost the same

    def __call__(self, y0: int, y1: int, out: tuple[np.ndarray, ...]) -> bool:
        signal, _, flags = out
        under = [read(y0, y1) for read, _ in self.offsets]
        raw = np.empty(signal.shape[1:], self.source.dtype)
        some = False
        for i in range(len(self.source)):
            read_rows(self.source, i, y0, y1, raw)
            factors = (factor[i] for _, factor in self.offsets)
            _lit(raw, *zip(under, factors, strict=True), out=signal[i])
            full = _full(raw, self.saturation)
            if full is not None:
                if not some:
                    flags[:] = 0
                    some = True
                flags[i][full] = fl.SATURATED
        return some

    def strips(self, frame: int, places: list[tuple[int, int]]) -> list[np.ndarray]:
        found = []
        for y0, y1 in places:
            raw = self.source.read(frame, y0, y1)
            rows = _lit(raw, *((read(y0, y1), factor[frame]) for read, factor in self.offsets))
            full = _full(raw, self.saturation)
            found.append(rows if full is None else np.where(full, np.float32(np.nan), rows))
        return found


def _lit_lazily(data: Any, offsets: list[tuple[Any, np.ndarray]], saturation: float) -> tuple[Any, Any]:
    """Signal and flags in the row bands of the stack."""
    import dask.array as da

    masters = [da.asarray(master).rechunk((data.chunks[1], data.chunks[2])) for master, _ in offsets]
    frames = [
        da.map_blocks(
            _lit_of_lists,
            frame,
            *masters,
            factors=[factor[i] for _, factor in offsets],
            dtype=np.float32,
            meta=np.empty((0, 0), np.float32),
        )
        for i, frame in enumerate(data)
    ]
    return da.stack(frames), data.map_blocks(_saturated, saturation, dtype=fl.FLAG_DTYPE)


def _lit_of_lists(frame: np.ndarray, *masters: np.ndarray, factors: list[np.float32]) -> np.ndarray:
    return _lit(frame, *zip(masters, factors, strict=True))


def _lit(
    frame: np.ndarray, *offsets: tuple[np.ndarray, np.float32], out: np.ndarray | None = None
) -> np.ndarray:
    """*frame* less each master times its factor, float32; in *out* where it is given."""
    signal = np.empty(frame.shape, np.float32) if out is None else out
    values = frame
    for master, factor in offsets:
        offset = master if factor == 1 else factor * master
        values = np.subtract(values, offset, out=signal, dtype=np.float32, casting="unsafe")
    if values is frame:
        signal[...] = frame
    return signal


def _full(data: np.ndarray, saturation: float) -> np.ndarray | None:
    """Which samples are saturated; None where none is, as in most frames."""
    if data.dtype.kind in "iu":  # whole numbers are compared many at a time
        if not saturation <= np.iinfo(data.dtype).max:
            return None
        saturation = data.dtype.type(max(math.ceil(saturation), np.iinfo(data.dtype).min))
    full = data >= saturation
    return full if full.any() else None


def _saturated(data: np.ndarray, saturation: float) -> np.ndarray:
    """Flags of the samples."""
    full = _full(data, saturation)
    return np.zeros(data.shape, fl.FLAG_DTYPE) if full is None else full * np.uint16(fl.SATURATED)


def prepare_normalisation(stack: xr.Dataset) -> tuple[xr.Dataset, str]:
    """The stack, and how `combine` has to bring its frames to one level.

    Each channel is multiplied by itself, so that twilight may change its colour. Behind a narrowband filter some
    channels hold no light, and then every frame is multiplied here, by the level of the brightest channel.

    Raises
    ------
    MismatchError
        A channel is saturated as a whole.
    """
    cell, channels = channel_index(stack)
    strips = _sample_rows(stack, cell.shape[0])
    first = stack.isel(frame=0, y=strips)
    signal, flags = np.asarray(first["signal"].data), np.asarray(first["flags"].data)
    significance = np.full(len(channels), np.nan)
    for number, name in enumerate(channels):
        full = np.concatenate([(flags[s] & fl.SATURATED).ravel() != 0 for s in sites_of(cell, number)])
        refuse_saturated(float(full.mean()), name)
        values = channel_values(signal, flags, cell, number)
        if values.size:
            spread = 1.4826 * float(np.median(np.abs(values - np.median(values))))
            significance[number] = np.median(values) / spread if spread > 0 else np.inf * np.median(values)
    if (significance > _DARK).all() or not (significance > _DARK).any():
        return stack, "multiplicative" if (significance > _DARK).all() else "none"
    brightest = int(np.nanargmax(significance))
    levels = []
    for number in range(stack.sizes["frame"]):
        frame = stack.isel(frame=number, y=strips)
        values = channel_values(
            np.asarray(frame["signal"].data), np.asarray(frame["flags"].data), cell, brightest
        )
        levels.append(float(np.median(values)) if values.size else np.nan)
    factor = (np.median(levels) / np.array(levels)).astype(np.float32)
    if not (np.isfinite(factor) & (factor > 0)).all():
        return stack, "none"
    scaled = stack["signal"].copy(data=stack["signal"].data * factor[:, None, None])
    return stack.assign(signal=scaled), "none"


def _sample_rows(stack: xr.Dataset, period: int) -> slice:
    """Some rows of whole cells in the middle of the frame, where flats are brightest."""
    height, width = stack.sizes["y"], stack.sizes["x"]
    rows = min(height, max(period, _SAMPLE // width // period * period))
    start = (height - rows) // 2 // period * period
    return slice(start, start + rows)


def warn_of_exposure(flat: xr.Dataset, found: dict[str, FlatChannel], frames: xr.DataArray) -> None:
    """Say which channels are saturated in part, near saturation, or too weakly exposed, with numbers."""
    saturation = float(frames.attrs.get("saturation", math.nan))
    for name, channel in found.items():
        if channel.saturated > _SATURATED_SHARE:
            msg = (
                f"flat: {100 * channel.saturated:.2g} % of the pixels of channel {name} are saturated and flagged bad_flat; "
                "take flats of a shorter exposure"
            )
            warn(msg, stacklevel=3)
        elif channel.level > _NEAR_SATURATION * saturation:
            msg = (
                f"flat: channel {name} lies at {channel.level:.0f} ADU above the offset, "
                f"{100 * channel.level / saturation:.0f} % of saturation, where few sensors are linear; "
                "take flats of about half of it"
            )
            warn(msg, stacklevel=3)
        if _WEAK < channel.noise <= EMPTY:
            count = int(flat.attrs.get("n_frames", 1))
            needed = math.ceil(count * (channel.noise / _WEAK) ** 2)
            msg = (
                f"flat: channel {name} is weakly exposed ({channel.level:.4g} ADU above the offset): it adds "
                f"{100 * channel.noise:.2g} % of noise to every pixel. Expose longer, or take about {needed} such flats "
                f"instead of {count} for 1 %"
            )
            warn(msg, stacklevel=3)

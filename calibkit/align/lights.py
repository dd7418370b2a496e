"""Lights one by one, whatever they are kept in: a list of results, a stack, files or arrays."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from calibkit.cfa import pattern_of
from calibkit.cfa.phase import origin
from calibkit.computing import compute_here
from calibkit.errors import MismatchError
from calibkit.flags import BAD, FLAG_DTYPE, NO_DATA, REPAIRED, usable
from calibkit.io.result_file import RowReader, rows_of
from calibkit.makers import FrameMaker, maker_of

Frames = xr.DataArray | xr.Dataset
Lights = Frames | Sequence[Frames]
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Light:
    """One frame: arrays (y, x) of numpy or dask, the latter not computed until rows are read."""

    name: str
    arrays: dict[str, Any]
    labelled: Frames | None
    maker: FrameMaker | None = None  # makes rows in less time than `arrays` do

    @property
    def shape(self) -> tuple[int, int]:
        return self.arrays["signal"].shape

    def read(self, y0: int, y1: int) -> Rows:
        """Signal and variance (float32; NaN where it is not known) and flags of rows *y0* to *y1*."""
        if self.maker is not None:
            return tuple(rows.copy() for rows in self.maker.read(y0, y1))
        parts = {name: rows_from(array, y0, y1) for name, array in self.arrays.items()}
        if any(hasattr(part, "dask") for part in parts.values()):
            # at once: the three may come out of one calculation
            parts = compute_here(parts)
        signal = np.ascontiguousarray(parts["signal"], np.float32)
        variance = parts.get("variance")
        variance = (
            np.full(signal.shape, np.nan, np.float32)
            if variance is None
            else np.ascontiguousarray(variance, np.float32)
        )
        flags = parts.get("flags")
        flags = np.zeros(signal.shape, np.uint16) if flags is None else np.ascontiguousarray(flags, np.uint16)
        return signal, variance, flags

    def borrow(self, y0: int, y1: int) -> Rows:
        """The same in memory that may be used again when this thread asks for other rows, of any light."""
        return self.read(y0, y1) if self.maker is None else self.maker.read(y0, y1)

    def whole(self, *, out: np.ndarray | None = None, count: np.ndarray | None = None) -> np.ndarray:
        """The signal, float32 of shape (y, x), NaN where it is not to be used; read in bands of rows, into *out* if given.

        To *count* (int64) is added how many pixels carry each of the 16 flags.
        """
        from calibkit.kernels import samples

        out = np.empty(self.shape, np.float32) if out is None else out
        count = np.zeros(16, np.int64) if count is None else count
        for y0, y1 in self.bands():
            flags = self._measured(y0, y1, out[y0:y1])
            if flags is not None:
                flags = np.ascontiguousarray(flags, FLAG_DTYPE)
                samples.drop_unusable(out[y0:y1], flags, BAD, REPAIRED, NO_DATA, count)
        if "flags" not in self.arrays:
            level = self.labelled.attrs.get("saturation")
            if level is not None and np.isfinite(level) and isinstance(self.labelled, xr.DataArray):
                out[out >= level] = np.nan
        return out

    def _measured(self, y0: int, y1: int, out: np.ndarray) -> np.ndarray | None:
        """Put the signal of rows *y0* to *y1* into *out*; returns their flags, None where there are none."""
        if self.maker is not None:
            return self.maker.read(y0, y1, variance=False, out=(out, None, None))[2]
        parts = {n: rows_from(self.arrays[n], y0, y1) for n in ("signal", "flags") if n in self.arrays}
        if any(hasattr(part, "dask") for part in parts.values()):
            parts = compute_here(parts)
        out[...] = parts["signal"]
        return parts.get("flags")

    def strips(self, places: list[tuple[int, int]]) -> list[np.ndarray]:
        """Rows (start, stop) of the signal, NaN where it is not to be used; all computed at once."""
        if self.maker is not None:
            made = (self.maker.read(y0, y1, variance=False) for y0, y1 in places)
            return [np.where(usable(flags), signal, np.float32(np.nan)) for signal, _, flags in made]
        wanted = [
            {n: rows_from(self.arrays[n], y0, y1) for n in ("signal", "flags") if n in self.arrays}
            for y0, y1 in places
        ]
        if any(hasattr(rows, "dask") for part in wanted for rows in part.values()):
            wanted = compute_here(wanted)
        return [
            np.where(usable(part["flags"]), part["signal"], np.float32(np.nan))
            if "flags" in part
            else part["signal"]
            for part in wanted
        ]

    @property
    def knows_noise(self) -> bool:
        """Whether there is a variance; some rows in the middle are looked at."""
        variance = self.arrays.get("variance")
        if variance is None:
            return False
        middle = variance.shape[0] // 2
        y0, y1 = max(0, middle - 4), min(variance.shape[0], middle + 4)
        rows = np.asarray(variance[y0:y1]) if self.maker is None else self.maker.read(y0, y1)[1]
        return bool(np.isfinite(rows).any())

    @property
    def lazy(self) -> bool:
        """Whether the rows are still to be read or computed."""
        return hasattr(self.arrays["signal"], "dask")

    def bare(self) -> Light:
        """The same without labels, to be sent to where the work is done."""
        return replace(self.sendable(), labelled=None)

    def sendable(self) -> Light:
        """The same with what reads the rows of files, which another process cannot tell from a dask array's name."""
        if self.maker is not None:
            return replace(self, arrays={name: _Shape(array.shape) for name, array in self.arrays.items()})
        return replace(self, arrays={name: rows_of(array) or array for name, array in self.arrays.items()})

    def bands(self) -> Iterator[tuple[int, int]]:
        """Rows (start, stop) that cost least to read."""
        height = self.shape[0]
        chunks = getattr(self.arrays["signal"], "chunks", None)
        edges = [0, *np.cumsum(chunks[0]).tolist()] if chunks else [*range(0, height, 512), height]
        return itertools.pairwise(edges)


@dataclass(frozen=True)
class _Shape:
    """What is known of an array whose rows a maker makes."""

    shape: tuple[int, int]


def rows_from(array: Any, y0: int, y1: int) -> Any:
    """Rows of an array: of a result's file at once, of other lazy arrays lazily."""
    read = array if isinstance(array, RowReader) else rows_of(array)
    return array[y0:y1] if read is None else read(y0, y1)


def lights_of(lights: Lights, what: str) -> list[Light]:
    """Every frame of *lights*, checked to lie on the same pixels.

    Parameters
    ----------
    lights : xarray.Dataset, xarray.DataArray, or sequence of them
        Frames ``(y, x)`` or stacks ``(frame, y, x)``; a Dataset has ``signal`` and may have ``variance`` and ``flags``.
    what : str
        Who asks, for messages.

    Raises
    ------
    MismatchError
        Something else, or frames that differ in size, place on the sensor or colour pattern.
    """
    parts = [lights] if isinstance(lights, xr.DataArray | xr.Dataset) else list(lights)
    found: list[Light] = []
    for part in parts:
        if not isinstance(part, xr.DataArray | xr.Dataset) or (
            isinstance(part, xr.Dataset) and "signal" not in part
        ):
            msg = (
                f"{what} takes results of calibkit.calibrate or frames of calibkit.open_stack, one stack or a list; found "
                f"{type(part).__name__}{sorted(map(str, part)) if isinstance(part, xr.Dataset) else ''}"
            )
            raise MismatchError(msg)
        dims = set(part.dims)
        if not {"y", "x"} <= dims or dims - {"frame", "y", "x"}:
            msg = f"{what} takes frames with dimensions (y, x) or (frame, y, x), found {tuple(part.dims)}"
            raise MismatchError(msg)
        singles = [part.isel(frame=i) for i in range(part.sizes["frame"])] if "frame" in part.dims else [part]
        for single, maker in zip(singles, _makers(part, len(singles)), strict=True):
            found.append(replace(_light(single, len(found)), maker=maker))
    if not found:
        msg = f"{what} needs at least one light, found none"
        raise MismatchError(msg)
    _check_same(found, what)
    return found


def _makers(part: Frames, count: int) -> Sequence[FrameMaker | None]:
    """What makes the rows of each frame, where anything does."""
    maker = maker_of(part) if "variance" in getattr(part, "data_vars", ()) else None
    return getattr(maker, "frames", [None] * count) if "frame" in part.dims else [maker]


def _light(frame: Frames, number: int) -> Light:
    names = ("signal", "variance", "flags")
    if isinstance(frame, xr.Dataset):
        arrays = {name: frame[name].transpose("y", "x").data for name in names if name in frame}
    else:
        arrays = {"signal": frame.transpose("y", "x").data}
    file = str(frame.coords["file"].values) if "file" in frame.coords else ""
    return Light(file or f"frame {number}", arrays, frame)


def place_of(frame: Frames) -> tuple[int, int]:
    """Sensor row and column of the first pixel of *frame*."""
    return origin(frame)


def _check_same(found: list[Light], what: str) -> None:
    first = found[0]
    expected = (first.shape, place_of(first.labelled), pattern_of(first.labelled).text)
    for light in found[1:]:
        have = (light.shape, place_of(light.labelled), pattern_of(light.labelled).text)
        for title, one, other in zip(
            ("size (rows, columns)", "place on the sensor (y, x)", "colour pattern"),
            expected,
            have,
            strict=True,
        ):
            if one != other:
                msg = (
                    f"{what}: the lights differ in {title}: {first.name} has {one!r}, {light.name} has {other!r}; "
                    "frames of one camera and crop can be aligned"
                )
                raise MismatchError(msg)

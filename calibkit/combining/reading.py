"""Rows of a stack, whatever it is kept in: frame files, a dask array or an array in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from calibkit.computing import compute_here
from calibkit.errors import Cancelled, MismatchError
from calibkit.flags import FLAG_DTYPE, usable
from calibkit.io.byte_order import swap_bytes
from calibkit.makers import RowMaker, maker_of
from calibkit.memory import BAND_BYTES, Scratch, band_rows

#: Files that can be read anywhere are read in bands of about this size, which stay in a large cache.
DIRECT_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Band:
    """Rows of every frame: ``values`` (frame, row, x) and, where the stack has them, flags and variances."""

    values: np.ndarray
    flags: np.ndarray | None
    variance: np.ndarray | None


class StackReader:
    """Reads rows of the frames of a stack; safe from threads.

    Parameters
    ----------
    stack : DataArray or Dataset
        Dimensions (frame, y, x); a Dataset has ``signal`` and may have ``variance`` and ``flags``.
    """

    def __init__(self, stack: xr.DataArray | xr.Dataset) -> None:
        if isinstance(stack, xr.Dataset) and "signal" not in stack:
            msg = f"a Dataset to combine has the variable 'signal'; found {sorted(map(str, stack.data_vars))}"
            raise MismatchError(msg)
        signal = stack["signal"] if isinstance(stack, xr.Dataset) else stack
        if signal.dims != ("frame", "y", "x"):
            msg = (
                f"combine takes a stack with dimensions ('frame', 'y', 'x'), found {signal.dims}; open frames "
                "with calibkit.open_stack, or make a stack of one frame with frame.expand_dims('frame')"
            )
            raise MismatchError(msg)
        if 0 in signal.shape or signal.dtype.kind not in "iuf":
            msg = f"combine takes a stack of numbers with at least one frame and pixel, found {signal.dtype} {signal.shape}"
            raise MismatchError(msg)
        self.shape: tuple[int, int, int] = signal.shape
        self.dtype: np.dtype = _native(signal.dtype)
        self._source = None if isinstance(signal.data, np.ndarray) else _undisturbed_source(signal)
        self._arrays = {"values": signal.data}
        for name in ("flags", "variance"):
            if isinstance(stack, xr.Dataset) and name in stack:
                if stack[name].dims != signal.dims:
                    msg = f"signal has the dimensions {signal.dims} but {name} has {stack[name].dims}"
                    raise MismatchError(msg)
                self._arrays[name] = stack[name].data
        self._maker = maker_of(stack) if self._source is None else None
        self._scratch = Scratch()
        self._files = (
            [str(f) for f in np.atleast_1d(signal.coords["file"].values)] if "file" in signal.coords else []
        )

    @property
    def has_flags(self) -> bool:
        return "flags" in self._arrays

    @property
    def has_variance(self) -> bool:
        return "variance" in self._arrays

    @property
    def source(self) -> Any:
        """The reader of the files, or None when the stack is no longer what is in the files."""
        return self._source

    @property
    def maker(self) -> RowMaker | None:
        """What makes the rows of a stack that is not in files as it is, where that is told."""
        return self._maker

    @property
    def arrays(self) -> dict[str, Any]:
        """``values`` and, where there are any, ``flags`` and ``variance``: numpy or dask arrays."""
        return self._arrays

    def name(self, frame: int) -> str:
        """What to call a frame in a message."""
        return self._files[frame] if self._files else f"frame {frame}"

    def bands(self, workers: int, period: int) -> list[tuple[int, int]]:
        """Rows (start, stop) of the bands for *workers* at a time, whole periods of the colour pattern each."""
        n, height, width = self.shape
        sample = self.dtype.itemsize + (2 if self.has_flags else 0) + (4 if self.has_variance else 0)
        share = BAND_BYTES / DIRECT_BYTES if self._quick and self._maker is None else workers
        rows = band_rows(height, width, bytes_per_pixel=sample * n * share, multiple=period)
        data = self._arrays["values"]
        if self._source is None and not self._quick:
            # cutting a dask chunk in two computes it twice
            edges = np.concatenate([[0], np.cumsum(data.chunks[1])])
            starts = [0]
            for edge, following in pairwise(edges[1:]):
                if following - starts[-1] > rows:
                    starts.append(int(edge))
            return list(zip(starts, [*starts[1:], height], strict=True))
        return [(y0, min(y0 + rows, height)) for y0 in range(0, height, rows)]

    def decode(self, run: Callable[[Callable[[int], Any], int, str], Any]) -> None:
        """Have files that can only be decoded whole decoded, several at a time.

        ``run(function, count, what)`` calls ``function(i)`` for every frame.
        """
        if self._source is not None and any(hasattr(source, "open_spool") for source in self._source.sources):
            sources = self._source.sources
            run(lambda frame: sources[frame].complete_info(), len(sources), "decode frames")

    @cached_property
    def _quick(self) -> bool:
        """Whether rows anywhere cost the same, so that small bands lose nothing."""
        if self._maker is not None:
            return getattr(self._maker, "quick", False)
        if self._source is None:
            return isinstance(self._arrays["values"], np.ndarray)
        return all(getattr(s, "random_access", hasattr(s, "open_spool")) for s in self._source.sources)

    def read(self, y0: int, y1: int, turn: Callable[[int], Any], buffer: np.ndarray | None = None) -> Band:
        """Rows *y0* to *y1* of every frame, in *buffer* (flat, of the stack's type) when it is large enough.

        ``turn(frame)`` is a context in which one frame is read that can only be read from front to back.
        """
        if self._maker is not None:
            return self._make(y0, y1)
        if self._source is None:
            arrays = _rows(self._arrays, y0, y1)
            values = arrays["values"].astype(self.dtype, copy=False)
            return Band(values, arrays.get("flags"), arrays.get("variance"))
        n, _, width = self.shape
        size = n * (y1 - y0) * width
        if buffer is None or buffer.size < size:
            buffer = np.empty(size, self.dtype)
        values = buffer[:size].reshape(n, y1 - y0, width)
        for frame in range(n):
            with nullcontext() if self._quick else turn(frame):
                read_rows(self._source, frame, y0, y1, values[frame])
        return Band(values, None, None)

    def _make(self, y0: int, y1: int) -> Band:
        """Rows of every frame in memory of this thread, the same for every band: fresh pages cost more than the work on them."""
        n, _, width = self.shape
        kinds = {"signal": np.float32, "variance": np.float32, "flags": FLAG_DTYPE}
        out = tuple(self._scratch.take(name, (n, y1 - y0, width), kind) for name, kind in kinds.items())
        flagged = self._maker(y0, y1, out)
        return Band(out[0], out[2] if flagged else None, out[1] if self.has_variance else None)

    def read_strips(self, frame: int, strips: list[tuple[int, int]]) -> list[np.ndarray]:
        """Rows (start, stop) of one frame; NaN where a flag says that there is no measurement."""
        if self._source is not None:
            return [self._source.read(frame, y0, y1) for y0, y1 in strips]
        if self._maker is not None and (made := self._maker.strips(frame, strips)) is not None:
            return made
        values = _strips(self._arrays["values"], frame, strips)
        if not self.has_flags:
            return values
        flags = _strips(self._arrays["flags"], frame, strips)
        return [np.where(usable(f), v, np.nan) for v, f in zip(values, flags, strict=True)]


class Turns:
    """Keeps the bands of each frame in order, so that a compressed file is read from front to back once.

    Different frames are read at the same time.
    """

    def __init__(self, n_frames: int) -> None:
        self._next = [0] * n_frames
        self._changed = threading.Condition()
        self._stopped = False

    def stop(self) -> None:
        """Let everybody who waits go."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def of(self, band: int) -> Callable[[int], _Turn]:
        """Contexts for the frames of the band with this number."""
        return lambda frame: _Turn(self, band, frame)


class _Turn:
    def __init__(self, turns: Turns, band: int, frame: int) -> None:
        self._turns, self._band, self._frame = turns, band, frame

    def __enter__(self) -> None:
        turns = self._turns
        with turns._changed:
            turns._changed.wait_for(lambda: turns._stopped or turns._next[self._frame] >= self._band)
            if turns._stopped:
                msg = "the work was stopped while a band was being read"
                raise Cancelled(msg)

    def __exit__(self, *error: object) -> None:
        turns = self._turns
        with turns._changed:
            turns._next[self._frame] = self._band + 1
            turns._changed.notify_all()


def _native(dtype: np.dtype) -> np.dtype:
    """The type in which samples of *dtype* are handed to the kernels, which know no smaller or larger ones."""
    small = {"u1": "u2", "f2": "f4"}.get(dtype.str[1:])
    if small or dtype.itemsize > 8:
        return np.dtype(small or "f8")
    return dtype.newbyteorder("=")


def read_rows(source: Any, frame: int, y0: int, y1: int, out: np.ndarray) -> None:
    """Rows of a frame of a `StackSource` into *out*, without a copy where the file allows it."""
    single = source.sources[frame]
    flip = getattr(single, "stored_flip", None)
    stored = flip is not None and single.info.dtype == out.dtype
    if stored and single.read_stored(y0, y1, out, area=source.area):
        bits = out.view(f"u{out.itemsize}")
        swap_bytes(bits, bits.dtype.type(flip))
        return
    source.read(frame, y0, y1, out=out)


def _undisturbed_source(signal: xr.DataArray) -> Any:
    """The reader of the files behind *signal*, or None."""
    from calibkit.frames import stack_source

    return stack_source(signal)


def _strips(data: Any, frame: int, strips: list[tuple[int, int]]) -> list[np.ndarray]:
    parts = [data[frame, y0:y1] for y0, y1 in strips]
    if isinstance(data, np.ndarray):
        return parts
    # all at once, so that a chunk which several strips cross is computed once
    return compute_here(parts)


def _rows(arrays: dict[str, Any], y0: int, y1: int) -> dict[str, np.ndarray]:
    """Rows of every array; lazy ones are computed at once, since they may come out of one calculation."""
    rows = {name: data[:, y0:y1] for name, data in arrays.items()}
    if not all(isinstance(part, np.ndarray) for part in rows.values()):
        rows = compute_here(rows)
    native = {
        name: part if part.dtype.isnative else part.astype(part.dtype.newbyteorder("="))
        for name, part in rows.items()
    }
    return {name: np.ascontiguousarray(part) for name, part in native.items()}

"""Row bands of a stack, whatever it is kept in: frame files, a dask array or an array in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from calibkit.errors import MismatchError


@dataclass(frozen=True)
class Band:
    """Rows of every frame: ``values`` (frame, row, x) and, where the stack has them, flags and variances."""

    values: np.ndarray
    flags: np.ndarray | None
    variance: np.ndarray | None


class StackReader:
    """Reads rows of every frame of a stack; safe from threads.

    Parameters
    ----------
    stack : DataArray or Dataset
        Dimensions (frame, y, x); a Dataset has ``signal`` and may have ``variance`` and ``flags``.
    """

    def __init__(self, stack: xr.DataArray | xr.Dataset) -> None:
        signal = stack["signal"] if isinstance(stack, xr.Dataset) else stack
        if signal.dims != ("frame", "y", "x"):
            msg = (
                f"combine() takes a stack with dimensions ('frame', 'y', 'x'), found {signal.dims}; "
                "open the frames with calibkit.open_stack, or put one frame into a stack with "
                "frame.expand_dims('frame')"
            )
            raise MismatchError(msg)
        self.shape: tuple[int, int, int] = signal.shape
        self.dtype = signal.dtype
        self._source = _undisturbed_source(signal)
        self._values = signal.data
        self._flags = stack["flags"].data if isinstance(stack, xr.Dataset) and "flags" in stack else None
        self._variance = (
            stack["variance"].data if isinstance(stack, xr.Dataset) and "variance" in stack else None
        )
        for name, data in (("flags", self._flags), ("variance", self._variance)):
            if data is not None and data.shape != self.shape:
                msg = f"signal has shape {self.shape} but {name} has {data.shape}; they must be the same"
                raise MismatchError(msg)

    @property
    def has_flags(self) -> bool:
        return self._flags is not None

    @property
    def has_variance(self) -> bool:
        return self._variance is not None

    def read(self, y0: int, y1: int) -> Band:
        """Rows *y0* to *y1* of every frame."""
        if self._source is None:
            values = _rows(self._values, y0, y1)
        else:
            values = np.empty((self.shape[0], y1 - y0, self.shape[2]), self.dtype)
            for frame in range(self.shape[0]):
                self._source.read(frame, y0, y1, out=values[frame])
        return Band(
            values,
            None if self._flags is None else _rows(self._flags, y0, y1),
            None if self._variance is None else _rows(self._variance, y0, y1),
        )


def _undisturbed_source(signal: xr.DataArray) -> Any:
    """The reader of the files behind *signal*, or None."""
    if isinstance(signal.data, np.ndarray):
        return None
    try:
        from calibkit.frames import stack_source
    except ImportError:
        return None
    return stack_source(signal)


def _rows(data: Any, y0: int, y1: int) -> np.ndarray:
    rows = data[:, y0:y1]
    if not isinstance(rows, np.ndarray):
        rows = rows.compute(scheduler="synchronous")
    if not rows.dtype.isnative:
        rows = rows.astype(rows.dtype.newbyteorder("="))
    return np.ascontiguousarray(rows)

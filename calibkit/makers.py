"""What makes the rows of lazy arrays, so that work in bands need not go through a graph.

A graph gives every band new memory, and fresh pages cost more than the work on them; a maker works in memory of the
thread that asks, which is used again for its next rows.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import xarray as xr

#: Signal, variance (None where it was not asked for) and flags.
MadeRows = tuple[np.ndarray, np.ndarray | None, np.ndarray]


class FrameMaker(Protocol):
    """Makes rows of one frame."""

    @property
    def in_files(self) -> bool:
        """Whether all that it reads lies in files, so that it is little to be sent to where they can be read."""

    def expect(self, y0: int, y1: int) -> None:
        """Be told that rows from these will be asked for next, by this thread, of this and other frames."""

    def read(
        self,
        y0: int,
        y1: int,
        *,
        variance: bool = True,
        out: Sequence[np.ndarray | None] = (None, None, None),
    ) -> MadeRows:
        """Rows *y0* to *y1*, of shape (row, x), in *out*, or memory that lasts until this thread asks for the next ones."""

    def unrepaired(self) -> FrameMaker:
        """Makes the same, but leaves bad pixels as they are, which takes fewer rows around those that are asked for."""


class RowMaker(Protocol):
    """Makes rows of a stack that is not in files as it is: aligned lights, flats without their dark.

    One whose rows cost the same anywhere says so by an attribute ``quick``, and is asked for few at a time.
    """

    def __call__(self, y0: int, y1: int, out: tuple[np.ndarray, np.ndarray, np.ndarray]) -> bool:
        """Fill signal, variance and flags (frame, row, x); returns whether any flag is set."""

    def strips(self, frame: int, places: list[tuple[int, int]]) -> list[np.ndarray] | None:
        """Rows (start, stop) of one frame, NaN where there is no measurement; None: as the arrays have them."""


#: Names of lazy arrays → what makes their rows, for as long as their graph lives.
_MAKERS: weakref.WeakValueDictionary[tuple[str | None, ...], Any] = weakref.WeakValueDictionary()


def tell_maker(data: xr.Dataset, maker: RowMaker | FrameMaker) -> None:
    """Have the rows of a lazy stack (`RowMaker`) or frame (`FrameMaker`) made by *maker*, which its graph holds."""
    _MAKERS[_names(data)] = maker


def maker_of(data: xr.DataArray | xr.Dataset) -> Any:
    """What makes the rows of a stack or frame; None when nothing was told to, or its arrays are other ones since."""
    known = isinstance(data, xr.Dataset) and {"signal", "flags"} <= set(data.data_vars)
    return _MAKERS.get(_names(data)) if known and hasattr(data["signal"].data, "dask") else None


def _names(data: xr.Dataset) -> tuple[str | None, ...]:
    return tuple(getattr(data[name].data, "name", None) for name in ("signal", "flags"))

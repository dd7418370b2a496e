"""Rows of a master, wherever it is, so that no frame need be held to go through it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from calibkit.io.result_file import rows_of
from calibkit.memory import Scratch

#: ``rows(y0, y1)`` gives an array (y, x).
Rows = Callable[[int, int], np.ndarray]

_scratch = Scratch()


def rows_in(frame: xr.Dataset, name: str) -> Rows:
    """What gives rows of a variable, each after the other: as they lie in memory, or of a result's file.

    Those of a file are in memory that lasts until the thread asks for others of a variable of this name.
    """
    read = rows_of(frame[name].data)
    if read is not None:
        return partial(read, memory=partial(_scratch.take, name))
    values = np.asarray(frame[name].data)
    return lambda y0, y1: np.ascontiguousarray(values[y0:y1])

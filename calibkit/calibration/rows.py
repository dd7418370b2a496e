"""Rows of calibrated frames, made in memory that is used again, so that nothing need be kept between two passes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from calibkit import flags as fl
from calibkit.calibration.recipe import Recipe, calibrate_rows
from calibkit.combining.reading import read_rows
from calibkit.flags import usable
from calibkit.io.result_file import RowReader, rows_of
from calibkit.io.source import StackSource
from calibkit.makers import MadeRows
from calibkit.memory import Scratch

_scratch = Scratch()
_read = threading.local()
#: What is not needed where the variance is not.
_OF_VARIANCE = ("bias variance", "dark variance", "flat variance")


@dataclass(frozen=True, eq=False)
class CalibratedRows:
    """Makes rows of the calibrated frames of a stack: a `calibkit.makers.RowMaker`.

    Parameters
    ----------
    recipe : Recipe
        What is done.
    source : StackSource
        Files that can be read anywhere.
    masters : dict
        By name, as `calibrate_rows` takes them: arrays in memory, or what reads them from files.
    """

    recipe: Recipe
    source: StackSource
    masters: dict[str, np.ndarray | RowReader]
    frames: tuple[_Frame, ...] = field(init=False)

    def __post_init__(self) -> None:
        frames = tuple(_Frame(self.recipe, i, self.source, self.masters) for i in range(len(self.source)))
        object.__setattr__(self, "frames", frames)

    def __call__(self, y0: int, y1: int, out: tuple[np.ndarray, np.ndarray, np.ndarray]) -> bool:
        for i, frame in enumerate(self.frames):
            frame.read(y0, y1, out=tuple(array[i] for array in out))
        return True

    def strips(self, frame: int, places: list[tuple[int, int]]) -> list[np.ndarray]:
        found = []
        for y0, y1 in places:
            signal, _, flags = self.frames[frame].read(y0, y1, variance=False)
            found.append(np.where(usable(flags), signal, np.float32(np.nan)))
        return found

    def band(self, frame: int, y0: int, y1: int) -> tuple[np.ndarray, ...]:
        """Signal, variance and flags of one frame in memory of their own."""
        return tuple(array.copy() for array in self.frames[frame].read(y0, y1))


@dataclass(frozen=True, eq=False)
class _Frame:
    """Makes rows of one of them: a `calibkit.makers.FrameMaker`."""

    recipe: Recipe
    frame: int
    source: StackSource
    masters: dict[str, np.ndarray | RowReader]

    @property
    def in_files(self) -> bool:
        """As `calibkit.makers.FrameMaker` has it."""
        return all(isinstance(rows, RowReader) for rows in self.masters.values())

    def expect(self, y0: int, y1: int) -> None:
        """Read the masters under rows *y0* to *y1*, of which this thread will ask for parts, of this and other lights."""
        above, below = max(0, y0 - self.recipe.halo), min(self.source.frame_shape[0], y1 + self.recipe.halo)
        for name, rows in self.masters.items():
            _under(name, rows, above, below)

    def read(
        self,
        y0: int,
        y1: int,
        *,
        variance: bool = True,
        out: Sequence[np.ndarray | None] = (None, None, None),
    ) -> MadeRows:
        """Rows *y0* to *y1*, in *out*, or memory that lasts until this thread asks for the next ones."""
        recipe, (height, width) = self.recipe, self.source.frame_shape
        above, below = max(0, y0 - recipe.halo), min(height, y1 + recipe.halo)
        light = _scratch.take("light", (below - above, width), self.source.dtype)
        read_rows(self.source, self.frame, above, below, light)
        masters = {
            name: _under(name, rows, above, below)
            for name, rows in self.masters.items()
            if variance or name not in _OF_VARIANCE
        }
        dtypes = {"signal": np.float32, "variance": np.float32, "flags": fl.FLAG_DTYPE}
        out = tuple(
            _scratch.take(f"made {name}", (y1 - y0, width), dtype) if given is None else given
            for (name, dtype), given in zip(dtypes.items(), out, strict=True)
        )
        made = calibrate_rows(
            recipe, self.frame, above, y0 - above, y1 - y0, light, masters, out=out, variance=variance
        )
        return made if variance else (made[0], None, made[2])

    def unrepaired(self) -> _Frame:
        """The same without its repair, which looks at rows around."""
        return replace(self, recipe=replace(self.recipe, repair=False))


def _under(name: str, rows: np.ndarray | RowReader, y0: int, y1: int) -> np.ndarray:
    """Rows of a master; those that this thread has read for another light already are not read again."""
    if not isinstance(rows, RowReader):
        return rows[y0:y1]
    read, first, end, held = getattr(_read, name, (None, 0, 0, np.empty(0)))
    if read != rows or y0 < first or y1 > end:
        setattr(_read, name, (None, 0, 0, held))  # if it cannot be read, its memory holds neither
        held = rows(y0, y1, memory=partial(_scratch.take, f"master {name}"))
        first = y0
        setattr(_read, name, (rows, y0, y1, held))
    return held[y0 - first : y1 - first]


def maker_for(recipe: Recipe, source: StackSource | None, masters: dict[str, Any]) -> CalibratedRows | None:
    """What makes the rows without a graph: where light and masters lie in files that can be read anywhere, or in memory."""
    if source is None:
        return None
    ready: dict[str, np.ndarray | RowReader] = {}
    for name, array in masters.items():
        if isinstance(array, np.ndarray):
            ready[name] = array
        elif (read := rows_of(array)) is not None:
            ready[name] = read
        else:
            return None
    return CalibratedRows(recipe, source, ready)

"""What every reader gives: the facts about a frame, and its rows on request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

import numpy as np

from calibkit.cfa.pattern import Pattern

_NOT_A_TIME = np.datetime64("NaT", "ns")


@dataclass(frozen=True)
class FrameInfo:
    """What a file says about its frame; nothing here needs the pixels.

    Sizes are (rows, columns). `shape` is what `FrameSource.read` gives: the active area. `origin` is the
    sensor pixel (y, x) of its first pixel, `full_shape` the size of everything stored in the file, and
    `active` is (y0, y1, x0, x1), the place of the active area in it.
    """

    path: Path
    shape: tuple[int, int]
    dtype: np.dtype
    full_shape: tuple[int, int]
    active: tuple[int, int, int, int]
    origin: tuple[int, int] = (0, 0)
    kind: str = ""  # one of meta.KINDS, or "" when the file does not say
    kind_reason: str = ""  # e.g. "IMAGETYP = 'Bias Frame'"
    master: bool = False  # already combined from several frames, as the file says
    exposure: float = math.nan  # s
    gain: float = math.nan  # electron/adu
    gain_setting: float = math.nan  # ISO, or the camera's own gain number
    temperature: float = math.nan  # °C
    filter: str = ""
    time: np.datetime64 = _NOT_A_TIME
    camera: str = ""
    cfa: str = ""  # anchored at sensor pixel (0, 0); "" for one colour
    saturation: float = math.nan  # ADU
    pedestal: float = 0.0  # ADU, a known constant in the data
    black: dict[str, float] | None = None  # ADU per channel, from camera RAW
    white_balance: dict[str, float] | None = None  # factor per colour, G = 1, from camera RAW
    camera_matrix: tuple[tuple[float, ...], ...] | None = None  # balanced camera colours to linear sRGB
    binning: tuple[int, int] = (1, 1)  # (by, bx)
    read_noise: float = math.nan  # electron
    roworder: str = ""  # "TOP-DOWN", "BOTTOM-UP" or ""
    header: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


def told_pattern(info: FrameInfo, cfa: str | None) -> FrameInfo:
    """*info* with the colour filters that the user tells instead of the file; None leaves it as it is.

    A black level by channel goes over to the new channels where it is the same all over each of them. White balance
    and colour matrix stay only with the filters red, green and blue.
    """
    new = Pattern(info.cfa if cfa is None else cfa)
    if new.text == info.cfa:
        return info
    old, black = Pattern(info.cfa), None
    if info.black:
        sites = np.indices(np.lcm(old.period, new.period)).reshape(2, -1).T.tolist()
        levels = {
            name: {info.black[old.label(y, x)] for y, x in sites if new.label(y, x) == name}
            for name in new.channels
        }
        if all(len(found) == 1 for found in levels.values()):
            black = {name: found.pop() for name, found in levels.items()}
    coloured = set(new.colours) == set("RGB")
    return replace(
        info,
        cfa=new.text,
        black=black,
        white_balance=info.white_balance if coloured else None,
        camera_matrix=info.camera_matrix if coloured else None,
    )


@runtime_checkable
class FrameSource(Protocol):
    """One frame, ready to be read by rows from any thread."""

    info: FrameInfo

    def read(self, y0: int, y1: int, *, area: str = "active") -> np.ndarray:
        """Rows ``y0:y1`` of the active area (or of the ``"full"`` frame), native byte order."""

    def complete_info(self) -> FrameInfo:
        """The info with what only the pixels' decoder knows: black and white level of camera RAW."""


class StackSource:
    """Frames of one size read together by rows.

    Parameters
    ----------
    sources : sequence of FrameSource
        In the order of the stack.
    area : {"active", "full"}
        What is read of every frame.
    dtype : numpy.dtype, optional
        Of the arrays given; the first frame's own when not said.
    """

    def __init__(
        self, sources: Sequence[FrameSource], *, area: str = "active", dtype: np.dtype | None = None
    ) -> None:
        self.sources = tuple(sources)
        self.area = area
        info = self.sources[0].info
        self.dtype = np.dtype(dtype or info.dtype)
        self.frame_shape = info.shape if area == "active" else info.full_shape

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frames, rows, columns)."""
        return (len(self.sources), *self.frame_shape)

    def read(self, i: int, y0: int, y1: int, out: np.ndarray | None = None) -> np.ndarray:
        """Rows ``y0:y1`` of frame *i*, into *out* when it is given."""
        rows = self.sources[i].read(y0, y1, area=self.area)
        if out is not None:
            out[...] = rows
            return out
        return rows if rows.dtype == self.dtype else rows.astype(self.dtype)


def check_rows(y0: int, y1: int, height: int) -> None:
    """Raise IndexError unless ``0 <= y0 <= y1 <= height``."""
    if not 0 <= y0 <= y1 <= height:
        msg = f"rows {y0}:{y1} asked of a frame with {height} rows"
        raise IndexError(msg)


def fill(file: BinaryIO, out: np.ndarray) -> int:
    """Fill the contiguous array *out* from the unbuffered *file*; returns the bytes that there were."""
    data = memoryview(out.reshape(-1).view(np.uint8))
    done = 0
    while done < len(data):
        count = file.readinto(data[done:])  # type: ignore[attr-defined]
        if not count:
            break
        done += count
    return done

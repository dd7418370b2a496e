"""Reading and writing frames: FITS, camera RAW, 16-bit pictures."""

from __future__ import annotations

import os
from pathlib import Path

from calibkit.errors import FrameFileError
from calibkit.io.source import FrameInfo, FrameSource, StackSource

__all__ = ["FrameInfo", "FrameSource", "StackSource", "open_frame", "read_info"]


def open_frame(path: str | os.PathLike[str]) -> FrameSource:
    """Open one frame for reading by rows; pixels are read when they are asked for."""
    from calibkit.io.fits import FitsSource

    path = Path(path)
    return FitsSource(path, gzipped=_begins(path) == b"\x1f\x8b")


def read_info(path: str | os.PathLike[str]) -> FrameInfo:
    """What the header of a frame says, without its pixels."""
    from calibkit.io.fits import read_layout

    path = Path(path)
    return read_layout(path, gzipped=_begins(path) == b"\x1f\x8b")[1]


def _begins(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(2)
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror})"
        raise FrameFileError(msg) from error

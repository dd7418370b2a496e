"""Reading and writing frames: FITS, camera RAW, grey TIFF and PNG."""

from __future__ import annotations

import os
from pathlib import Path

from calibkit.io.detect import detect, read_magic
from calibkit.io.source import FrameInfo, FrameSource, StackSource

__all__ = ["FrameInfo", "FrameSource", "StackSource", "open_frame", "read_info"]


def open_frame(path: str | os.PathLike[str]) -> FrameSource:
    """Open one frame for reading by rows; only its header is read now.

    Parameters
    ----------
    path : path
        FITS (plain, ``.gz``, ``.fz``), camera RAW, grey TIFF or PNG; the contents decide, not the name.

    Returns
    -------
    FrameSource
        With ``info`` and ``read(y0, y1)``; safe to use from several threads, and holding no file open.

    Raises
    ------
    FrameFileError
        The file is missing, damaged, cut off, or not a frame; the message says which.
    """
    path = Path(path)
    magic = read_magic(path)
    form = detect(path, magic)
    if form == "raw":
        from calibkit.io.raw import RawSource

        return RawSource(path, magic)
    if form == "picture":
        from calibkit.io.pictures import PictureSource

        return PictureSource(path)
    from calibkit.io.fits import FitsSource

    return FitsSource(path, gzipped=form == "fits.gz")


def read_info(path: str | os.PathLike[str]) -> FrameInfo:
    """What the header of a frame says; no pixel is read.

    Parameters
    ----------
    path : path
        As for `open_frame`.

    Returns
    -------
    FrameInfo

    Raises
    ------
    FrameFileError
        The file is missing, damaged, cut off, or not a frame; the message says which.
    """
    path = Path(path)
    magic = read_magic(path)
    form = detect(path, magic)
    if form == "raw":
        from calibkit.io.raw import read_raw_info

        return read_raw_info(path, magic)
    if form == "picture":
        from calibkit.io.pictures import read_picture_info

        return read_picture_info(path)
    from calibkit.io.layout import read_layout

    return read_layout(path, gzipped=form == "fits.gz")[1]

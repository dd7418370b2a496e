"""Grey TIFF and PNG pictures, as some capture programs and RAW converters save the sensor's numbers."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import PngImagePlugin, TiffImagePlugin
from PIL.ImageFile import ImageFile

from calibkit.errors import FrameFileError
from calibkit.io.source import FrameInfo
from calibkit.io.spool import SpooledSource

_DTYPES = {"L": "u1", "I;16": "u2", "I;16L": "u2", "I;16B": "u2", "I": "i4", "F": "f4"}
#: deflate makes no more than this of one byte, so a larger picture is a damaged header
_MOST_INFLATION = 1100
_EXIF, _EXPOSURE, _ISO, _MODEL, _DATE = 0x8769, 33434, 34855, 272, 36867
_WHITE_IS_ZERO = (262, 0)
#: What Pillow raises on damaged files, beside OSError.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    struct.error,
)


def read_picture_info(path: Path) -> FrameInfo:
    """What the header of a grey TIFF or PNG says."""
    with path.open("rb") as file:
        return _info(path, _open(path, file))


class PictureSource(SpooledSource):
    """One grey picture, decoded when its pixels are asked for the first time."""

    def __init__(self, path: Path) -> None:
        super().__init__(read_picture_info(path))

    def decode(self, target: Path) -> FrameInfo:
        """Decode the picture into *target*."""
        path = self.info.path
        with path.open("rb") as file:
            picture = _open(path, file)
            try:
                picture.load()
                values = np.asarray(picture)
            except (*_DAMAGE, MemoryError) as error:
                raise FrameFileError(_damaged(path, error)) from error
        if values.shape != self.info.full_shape:
            msg = f"{path}: decodes to {values.shape}, where its header promises {self.info.full_shape}"
            raise FrameFileError(msg)
        if values.dtype.kind == "f" and not np.isfinite(values).any():
            msg = f"{path}: no pixel holds a number (all are NaN or infinite)"
            raise FrameFileError(msg)
        values.astype(self.info.dtype, copy=False).tofile(target)
        return self.info


def _open(path: Path, file: BinaryIO) -> ImageFile:
    reader = PngImagePlugin.PngImageFile if file.read(4) == b"\x89PNG" else TiffImagePlugin.TiffImageFile
    file.seek(0)
    try:
        # not Image.open: it warns of every sensor beyond 89 megapixels
        picture = reader(file)
        frames = getattr(picture, "n_frames", 1)
        negative = reader is TiffImagePlugin.TiffImageFile and picture.tag_v2.get(_WHITE_IS_ZERO[0]) == 0
    except _DAMAGE as error:
        raise FrameFileError(_damaged(path, error)) from error
    why = ""
    if picture.mode not in _DTYPES:
        why = f"it is in colour or has a palette ({picture.mode}): a converted picture cannot be calibrated"
    elif frames > 1:
        why = f"it holds {frames} pictures: save each one as a file"
    elif negative and picture.mode != "L":
        why = "it is stored as a negative (0 is white)"
    elif picture.width * picture.height > _MOST_INFLATION * path.stat().st_size:
        why = f"its header promises {picture.width} × {picture.height} pixels, more than the file can hold"
    if why:
        msg = (
            f"{path}: {why}. Allowed are FITS, camera RAW, and grey TIFF or PNG of the sensor's own numbers."
        )
        raise FrameFileError(msg)
    return picture


def _info(path: Path, picture: ImageFile) -> FrameInfo:
    dtype = np.dtype(_DTYPES[picture.mode])
    shape = (picture.height, picture.width)
    exif: Mapping[int, object] = {}
    camera: Mapping[int, object] = {}
    if isinstance(picture, TiffImagePlugin.TiffImageFile):  # a PNG would be decoded whole in search of them
        exif = picture.getexif()
        camera = exif.get_ifd(_EXIF)
    exposure, iso = _number(camera.get(_EXPOSURE)), _number(camera.get(_ISO))
    return FrameInfo(
        path=path,
        shape=shape,
        full_shape=shape,
        dtype=dtype,
        active=(0, shape[0], 0, shape[1]),
        exposure=exposure if exposure > 0 else np.nan,
        gain_setting=iso if iso > 0 else np.nan,
        time=_time(str(camera.get(_DATE, ""))),
        camera=str(exif.get(_MODEL, "")).strip("\0 "),
        saturation=float(np.iinfo(dtype).max) if dtype.itemsize <= 2 else np.nan,
        roworder="TOP-DOWN",
        header={"MODE": picture.mode},
    )


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError):
        return np.nan


def _time(text: str) -> np.datetime64:
    date, _, clock = text.strip("\0 ").partition(" ")
    try:
        return np.datetime64(f"{date.replace(':', '-')}T{clock}", "ns")
    except ValueError:
        return np.datetime64("NaT", "ns")


def _damaged(path: Path, error: BaseException) -> str:
    return f"{path}: the picture is damaged or cut off ({error}). Copy it again from where it came from."

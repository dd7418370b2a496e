"""The process in which LibRaw runs: identifies and decodes camera RAW files on request.

It is apart because LibRaw tells of damaged data only on standard error, and because a crash in it must not
take the user's session along. Requests and answers are lines of JSON on standard input and output; this
file needs nothing from calibkit, so that it starts quickly.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import rawpy

_SAMPLE = 48  # pixels square in which the colour pattern is looked for
_LARGEST_CELL = 16
_MONO = 6  # what LibRaw's COLOR() says when there are no filters
#: Linear sRGB to XYZ under D65 (IEC 61966-2-1), as LibRaw has it.
_XYZ_OF_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)


class _Parameters(ctypes.Structure):
    """The beginning of libraw_iparams_t."""

    _fields_ = (("guard", ctypes.c_char * 4), ("make", ctypes.c_char * 64), ("model", ctypes.c_char * 64))


class _Other(ctypes.Structure):
    """The beginning of libraw_imgother_t."""

    _fields_ = (
        *((name, ctypes.c_float) for name in ("iso_speed", "shutter", "aperture", "focal_length")),
        ("timestamp", ctypes.c_int64),
    )


def _c_interface() -> ctypes.CDLL | None:
    """LibRaw's C functions, which know what rawpy only tells after decoding; None where they are not found."""
    folder = Path(rawpy.__file__).parent
    candidates = [rawpy._rawpy.__file__, *(str(path) for path in sorted(folder.glob("*raw*.dll")))]
    for name in candidates:
        try:
            lib = ctypes.CDLL(name)
            lib.libraw_init.restype = ctypes.c_void_p
            lib.libraw_init.argtypes = [ctypes.c_uint]
            lib.libraw_open_file.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
            lib.libraw_COLOR.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
            lib.libraw_get_color_maximum.argtypes = [ctypes.c_void_p]
            lib.libraw_get_rgb_cam.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
            lib.libraw_get_pre_mul.argtypes = lib.libraw_get_cam_mul.argtypes = [
                ctypes.c_void_p,
                ctypes.c_int,
            ]
            for number in (lib.libraw_get_rgb_cam, lib.libraw_get_pre_mul, lib.libraw_get_cam_mul):
                number.restype = ctypes.c_float
            lib.libraw_get_iparams.argtypes = lib.libraw_get_imgother.argtypes = [ctypes.c_void_p]
            lib.libraw_get_iparams.restype = ctypes.POINTER(_Parameters)
            lib.libraw_get_imgother.restype = ctypes.POINTER(_Other)
            lib.libraw_close.argtypes = [ctypes.c_void_p]
            lib.libraw_close.restype = None
        except (OSError, AttributeError):
            continue
        return lib
    return None


def _cell(colours: np.ndarray) -> list[list[int]] | None:
    """The smallest cell of colour numbers that repeats over the sample, None when none does."""
    sides = []
    for axis in (0, 1):
        along = np.moveaxis(colours, axis, 0)
        periods = (p for p in range(1, _LARGEST_CELL + 1) if np.array_equal(along[p:], along[:-p]))
        side = next(periods, None)
        if side is None:
            return None
        sides.append(side)
    return colours[: sides[0], : sides[1]].tolist()


def _sizes(raw: rawpy.RawPy) -> dict[str, Any]:
    sizes = raw.sizes
    y0, x0 = sizes.top_margin, sizes.left_margin
    return {
        "shape": [sizes.raw_height, sizes.raw_width],
        "active": [y0, y0 + sizes.height, x0, x0 + sizes.width],
        "letters": raw.color_desc.decode("ascii", "replace").rstrip("\0"),
        "colours": raw.num_colors,
    }


def _other(other: Any, shutter: float) -> dict[str, Any]:
    stamp = other.timestamp
    if isinstance(stamp, int):
        stamp = datetime.fromtimestamp(stamp) if 0 < stamp < 2**33 else datetime(1970, 1, 1)
    return {
        "iso": other.iso_speed,
        "exposure": shutter,
        "aperture": other.aperture,
        "focal_length": other.focal_length,
        "time": stamp.isoformat() if stamp.year > 1980 else "",
    }


def _matrix(raw: rawpy.RawPy) -> list[list[float]]:
    """Camera colours to linear sRGB as LibRaw derives them: the file's matrix, or from the camera's to XYZ."""
    stated = raw.color_matrix[:, :3]
    xyz = raw.rgb_xyz_matrix[:3]
    if stated.any() or not xyz.any() or raw.num_colors != 3:
        return (stated if stated.any() else np.eye(3)).tolist()
    camera = xyz @ _XYZ_OF_RGB
    return np.linalg.inv(camera / camera.sum(axis=1, keepdims=True)).tolist()


def identify(path: str, lib: ctypes.CDLL | None) -> dict[str, Any]:
    """What the file's headers say; nothing is decoded where LibRaw's C functions are at hand."""
    if lib is None:
        return decode(path, None)
    with rawpy.RawPy() as raw:
        _open(raw, path)
        facts = _sizes(raw)
    handle = lib.libraw_init(0)
    try:
        if lib.libraw_open_file(handle, os.fsencode(path)):
            msg = "Unsupported file format or not RAW file"
            raise rawpy.LibRawFileUnsupportedError(msg)
        sample = range(_SAMPLE)
        colours = np.array([[lib.libraw_COLOR(handle, y, x) for x in sample] for y in sample])
        parameters = lib.libraw_get_iparams(handle).contents
        other = lib.libraw_get_imgother(handle).contents
        facts |= _other(other, other.shutter)
        facts["make"], facts["model"] = (
            text.decode("utf-8", "replace") for text in (parameters.make, parameters.model)
        )
        facts["white"] = lib.libraw_get_color_maximum(handle)
        facts["daylight"] = [lib.libraw_get_pre_mul(handle, i) for i in range(3)]
        facts["as_shot"] = [lib.libraw_get_cam_mul(handle, i) for i in range(3)]
        facts["matrix"] = [[lib.libraw_get_rgb_cam(handle, i, j) for j in range(3)] for i in range(3)]
    finally:
        lib.libraw_close(handle)
    facts["cell"] = [[_MONO]] if (colours == _MONO).all() else _cell(colours)
    return facts


def decode(path: str, out: str | None) -> dict[str, Any]:
    """Decode the file, write the whole sensor as native uint16 rows to *out*, and say what can be known now."""
    with rawpy.RawPy() as raw:
        _open(raw, path)
        raw.unpack()
        facts = _sizes(raw) | _other(raw.other, raw.other.shutter_speed)
        facts["flat"] = raw.raw_type is rawpy.RawType.Flat
        facts["white"] = raw.white_level
        facts["black"] = list(raw.black_level_per_channel)
        facts["daylight"], facts["as_shot"] = raw.daylight_whitebalance[:3], raw.camera_whitebalance[:3]
        facts["matrix"] = _matrix(raw)
        if not facts["flat"]:
            return facts
        y0, y1, x0, x1 = facts["active"]
        sample = range(min(_SAMPLE, y1 - y0, x1 - x0))
        # LibRaw counts from the visible corner and is wrong to the left and above of it for X-Trans
        colours = np.array([[raw.raw_color(y0 + y, x0 + x) for x in sample] for y in sample])
        facts["cell"] = [[_MONO]] if (colours == _MONO).all() else _cell(colours)
        image = raw.raw_image
        visible = image[y0:y1, x0:x1]
        facts["range"] = [int(visible.min()), int(visible.max())]
        filled = np.flatnonzero(visible.any(axis=1))
        facts["filled_rows"] = int(filled[-1]) + 1 if filled.size else 0
        if out is not None:
            np.ascontiguousarray(image, dtype=np.uint16).tofile(out)
        return facts


def _open(raw: rawpy.RawPy, path: str) -> None:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:  # a name in another encoding: rawpy cannot pass it on
        with Path(path).open("rb") as file:
            raw.open_buffer(file)
    else:
        raw.open_file(path)


def main() -> None:
    """Answer requests until standard input ends."""
    lib = _c_interface()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing that a library prints gets among the answers
    with tempfile.TemporaryFile(buffering=0) as said, answers:
        os.dup2(said.fileno(), 2)
        for line in sys.stdin:
            request = json.loads(line)
            said.seek(0)
            said.truncate()
            try:
                if request["out"] is None:
                    answer = {"facts": identify(request["path"], lib)}
                else:
                    answer = {"facts": decode(request["path"], request["out"])}
            except (rawpy.LibRawError, OSError, MemoryError, ValueError, NotImplementedError) as error:
                cause = error.args[0] if error.args else ""
                cause = cause.decode("utf-8", "replace") if isinstance(cause, bytes) else str(error)
                number = error.errno if isinstance(error, OSError) else None
                answer = {"error": type(error).__name__, "cause": cause, "errno": number}
            said.seek(0)
            answer["said"] = said.read(4000).decode("utf-8", "replace")
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()

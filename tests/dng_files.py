"""Camera RAW files made here: uncompressed DNGs with any pattern, margins and levels."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

LETTERS = "RGB"


def dng(
    path: Path,
    pixels: np.ndarray,
    *,
    pattern: str = "RGGB",
    active: tuple[int, int, int, int] | None = None,
    black: tuple[int, ...] = (64,),
    white: int = 4095,
    extra: dict[int, tuple[int, Any]] | None = None,
) -> Path:
    """Write *pixels* as an uncompressed DNG; *pattern* begins at the first pixel of *active* (DNG 1.4, p. 27)."""
    rows = pattern.split("/") if "/" in pattern else [pattern[:2], pattern[2:]] if pattern else []
    height, width = pixels.shape[:2]
    planes = pixels.shape[2] if pixels.ndim == 3 else 1
    repeat = {1: (1, 1), 4: (2, 2)}[len(black)]
    short, long, text, byte, rational, signed = 3, 4, 2, 1, 5, 10
    data = pixels.astype("<u2").tobytes()
    tags: dict[int, tuple[int, Any]] = {
        254: (long, (0,)),
        256: (long, (width,)),
        257: (long, (height,)),
        258: (short, (16,) * planes),
        259: (short, (1,)),
        262: (short, (32803 if rows else 34892,)),
        271: (text, b"Maker\0"),
        272: (text, b"Maker Seven\0"),
        273: (long, (0,)),
        277: (short, (planes,)),
        278: (long, (height,)),
        279: (long, (len(data),)),
        50706: (byte, (1, 4, 0, 0)),
        50708: (text, b"Maker Seven\0"),
        50713: (short, repeat),
        50714: (long, black),
        50717: (long, (white,)),
        33434: (rational, ((5, 2),)),
    }
    if rows:
        tags[33421] = (short, (len(rows), len(rows[0])))
        tags[33422] = (byte, tuple(LETTERS.index(letter) for row in rows for letter in row))
    if active:
        tags[50829] = (long, active)
    tags |= extra or {}
    begin = 8 + 2 + 12 * len(tags) + 4
    outside = bytearray()
    entries = []
    for tag, (kind, values) in sorted(tags.items()):
        if kind == text:
            packed, count = values, len(values)
        elif kind in (rational, signed):
            form = "<II" if kind == rational else "<ii"
            packed, count = b"".join(struct.pack(form, *value) for value in values), len(values)
        else:
            packed = struct.pack(f"<{len(values)}{ {byte: 'B', short: 'H', long: 'I'}[kind] }", *values)
            count = len(values)
        if tag == 273:
            packed = b"OFFS"
        if len(packed) > 4:
            at = begin + len(outside)
            outside += packed + bytes(len(packed) % 2)
            packed = struct.pack("<I", at)
        entries.append(struct.pack("<HHI", tag, kind, count) + packed.ljust(4, b"\0"))
    table = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    table = table.replace(b"OFFS", struct.pack("<I", begin + len(outside)))
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + table + bytes(outside) + data)
    return path


def noise(height: int = 64, width: int = 96, *, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(100, 4000, (height, width)).astype(np.uint16)


#: XYZ to camera, as a DNG states it for daylight, and what makes grey of the light it was taken in.
TO_CAMERA = np.array([[0.66, -0.18, -0.05], [-0.52, 1.30, 0.25], [-0.10, 0.17, 0.65]])
NEUTRAL = (0.5, 1.0, 0.8)


def coloured(path: Path, *, matrix: bool, neutral: bool = True, **options: Any) -> Path:
    tags: dict[int, tuple[int, Any]] = {}
    if neutral:
        tags[50728] = (5, tuple((round(v * 1000), 1000) for v in NEUTRAL))
    if matrix:
        tags[50779] = (3, (21,))  # D65
        tags[50722] = (10, tuple((round(v * 10000), 10000) for v in TO_CAMERA.ravel()))
    return dng(path, noise(), extra=tags, **options)

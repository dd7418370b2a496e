"""Camera RAW frames through LibRaw: the undemosaiced sensor with its margins, levels and pattern."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from calibkit.cfa.pattern import Pattern
from calibkit.errors import FrameFileError
from calibkit.io.containers import check_container, check_payload, dng_active_corner
from calibkit.io.makernotes import camera_temperature
from calibkit.io.raw_process import ask_libraw
from calibkit.io.source import FrameInfo
from calibkit.io.spool import SpooledSource

_MONO = 6
#: Rows of nothing but zeros at the bottom that a sensor cannot have read.
_EMPTY_ROWS = 16


def read_raw_info(path: Path, magic: bytes) -> FrameInfo:
    """What the headers of a RAW file say, after a check that the file is whole."""
    payload = check_container(path, magic)
    facts = ask_libraw(path)
    check_payload(path, payload, tuple(facts["shape"]))
    return _info(path, facts)


class RawSource(SpooledSource):
    """One camera RAW file, decoded when its pixels are asked for the first time."""

    def __init__(self, path: Path, magic: bytes) -> None:
        super().__init__(read_raw_info(path, magic))

    def decode(self, target: Path) -> FrameInfo:
        """Decode the file into *target*, and refuse what cannot be what a sensor read."""
        path = self.info.path
        facts = ask_libraw(path, target)
        facts["black"] = _black_from_corner(path, facts)
        decoded = _info(path, facts)
        if decoded.full_shape != self.info.full_shape or decoded.cfa != self.info.cfa:
            msg = f"{path}: size or colour pattern are not what its header promised; the file is damaged"
            raise FrameFileError(msg)
        _check_pixels(path, facts, decoded)
        return replace(self.info, black=decoded.black, saturation=decoded.saturation)


def _info(path: Path, facts: dict[str, Any]) -> FrameInfo:
    height, width = facts["shape"]
    y0, y1, x0, x1 = facts["active"]
    if not (0 <= y0 < y1 and 0 <= x0 < x1 and height and width):
        msg = f"{path}: LibRaw finds no image area in it ({width} × {height} pixels); the file is damaged"
        raise FrameFileError(msg)
    y1, x1 = min(y1, height), min(x1, width)
    if not facts.get("flat", True) or (facts["cell"] == [[_MONO]] and facts["colours"] > 1):
        msg = (
            f"{path}: every pixel has {facts['colours']} colours already (a converted or layered RAW): only what "
            "a sensor read through its filters can be calibrated. Save the original RAW from the camera."
        )
        raise FrameFileError(msg)
    cell = _named_cell(path, facts)
    pattern = Pattern("/".join("".join(letter for letter, _ in row) for row in cell)) if cell else Pattern()
    anchored = pattern.shifted(-y0, -x0)
    white = float(facts["white"])
    camera = _camera(facts.get("make", ""), facts.get("model", ""))
    time = np.datetime64(facts["time"] or "NaT", "ns")
    header = {"MAKE": facts.get("make", ""), "MODEL": facts.get("model", ""), "WHITE": facts["white"]}
    header |= {
        name.upper(): value
        for name, value in facts.items()
        if name in ("iso", "exposure", "aperture") and value
    }
    header |= {"DATE-OBS": facts["time"]} if facts["time"] else {}
    noted = camera_temperature(path)
    header |= {"CAMTEMP": noted} if math.isfinite(noted) else {}  # no temperature of the detector's
    balance, matrix = _colours(facts) if cell and set(pattern.colours) == set("RGB") else (None, None)
    return FrameInfo(
        path=path,
        shape=(y1 - y0, x1 - x0),
        full_shape=(height, width),
        dtype=np.dtype(np.uint16),
        active=(y0, y1, x0, x1),
        origin=(y0, x0),
        exposure=facts["exposure"] if facts["exposure"] > 0 else math.nan,
        gain_setting=facts["iso"] if facts["iso"] > 0 else math.nan,
        time=time,
        camera=camera,
        cfa=anchored.text,
        saturation=white if 0 < white < 65536 else math.nan,
        black=_black(facts["black"], cell, pattern) if "black" in facts else None,
        white_balance=balance,
        camera_matrix=matrix,
        roworder="TOP-DOWN",
        header=header,
    )


def _colours(facts: dict[str, Any]) -> tuple[dict[str, float] | None, tuple[tuple[float, ...], ...] | None]:
    """Daylight factors (as shot, where LibRaw knows none for this camera), and the matrix that goes with them."""
    matrix = np.array(facts["matrix"], float)
    known = bool(np.isfinite(matrix).all() and matrix.any() and not np.array_equal(matrix, np.eye(3)))
    daylight, as_shot = (np.array(facts[name], float) for name in ("daylight", "as_shot"))
    factors = daylight if known or np.ptp(daylight) else as_shot
    usable = bool(np.isfinite(factors).all() and (factors > 0).all())
    letters = facts["letters"][:3]
    if set(letters) != set("RGB"):
        return None, None
    green = factors[letters.index("G")]
    balance = {c: round(float(factors[letters.index(c)] / green), 6) for c in "RGB"} if usable else None
    rows = matrix[:, [letters.index(c) for c in "RGB"]].round(6).tolist()
    return balance, tuple(tuple(row) for row in rows) if known else None


def _named_cell(path: Path, facts: dict[str, Any]) -> list[list[tuple[str, int]]] | None:
    """(letter, LibRaw's colour number) of every site, from the first visible pixel; None without filters."""
    cell, letters = facts["cell"], facts["letters"]
    if cell == [[_MONO]] or (facts["colours"] == 1 and cell is not None):
        return None
    if cell is None or max(max(row) for row in cell) >= len(letters):
        msg = f"{path}: its colour filters do not repeat in a pattern of at most 16 pixels, which is not supported"
        raise FrameFileError(msg)
    return [[(letters[number], number) for number in row] for row in cell]


def _black(
    levels: list[float], cell: list[list[tuple[str, int]]] | None, pattern: Pattern
) -> dict[str, float]:
    """Black level by channel; *cell* and *pattern* both begin at the first visible pixel."""
    if cell is None:
        return {pattern.channels[0]: float(levels[0])}
    found: dict[str, float] = {}
    for y, row in enumerate(cell):
        for x, (_, number) in enumerate(row):
            found.setdefault(pattern.label(y, x), float(levels[number]))
    return {channel: found[channel] for channel in pattern.channels}


def _black_from_corner(path: Path, facts: dict[str, Any]) -> list[float]:
    """LibRaw's black levels by colour number, put right for a DNG whose active area begins at an odd pixel.

    There LibRaw begins the area one pixel later, and moves the pattern but not the levels along with it.
    """
    levels, cell = facts["black"], facts.get("cell")
    if len(set(levels)) == 1 or not cell or len(cell) != 2 or len(cell[0]) != 2:
        return levels
    corner = dng_active_corner(path)
    dy, dx = (facts["active"][0] - corner[0], facts["active"][2] - corner[1]) if corner else (0, 0)
    moved = list(levels)
    for y, row in enumerate(cell):
        for x, number in enumerate(row):
            moved[number] = levels[cell[(y + dy) % 2][(x + dx) % 2]]
    return moved


def _check_pixels(path: Path, facts: dict[str, Any], info: FrameInfo) -> None:
    low, high = facts["range"]
    darkest = max(info.black.values()) if info.black else 0.0
    rows = info.shape[0]
    wrong = ""
    if low == high:
        wrong = f"every pixel has the same value, {low}"
    elif darkest >= facts["white"]:
        wrong = f"the black level, {darkest:g}, is not below the white level, {facts['white']}"
    elif rows - facts["filled_rows"] >= max(_EMPTY_ROWS, rows // 100):
        wrong = f"the last {rows - facts['filled_rows']} of {rows} rows are empty"
    if wrong:
        msg = f"{path}: LibRaw opens the file but {wrong}: it is cut off or damaged. Copy it again from the camera."
        raise FrameFileError(msg)


def _camera(make: str, model: str) -> str:
    make, model = make.strip(), model.strip()
    return model if model.lower().startswith(make.lower()) else f"{make} {model}".strip()

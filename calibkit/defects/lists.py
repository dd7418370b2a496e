"""The defect lists of Siril and IRIS: ``P x y`` for a pixel, ``C x`` for a column, ``L y`` for a row.

Both programs look at a FITS image with its first row at the bottom. Siril counts columns from 0 and rows
from 0 at the top, that is from the last row of the file; it wants a second number after a column or row.
IRIS counts both from 1, rows from the bottom.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import xarray as xr

from calibkit import flags as fl
from calibkit.defects.defect_map import DefectMap
from calibkit.errors import FrameFileError, OutputError, SettingError

PROGRAMS = ("siril", "iris")
_FIRST_ROWS = ("bottom", "top")


def write_list(
    defects: DefectMap,
    path: str | os.PathLike[str],
    *,
    program: str = "siril",
    first_row: str = "bottom",
    cold_as_hot: bool = False,
    overwrite: bool = False,
) -> None:
    """Write *defects* as a list.

    Parameters
    ----------
    defects : DefectMap
        Whole bad columns and rows become ``C`` and ``L`` lines; any other bad pixel a ``P`` line, in Siril's
        dialect with ``C`` for cold ones and ``H`` for all others.
    path : path
        Siril expects a name that ends in ``.lst``.
    program : {"siril", "iris"}
        Whose way of counting, see the module.
    first_row : {"bottom", "top"}
        Where the program shows the first row of the frame: at the bottom for FITS files, at the top for camera RAW.
    cold_as_hot : bool
        Call cold pixels hot as well. Siril replaces hot pixels by the mean of their eight neighbours of the same colour,
        as `repair` does, and cold ones by a median: with this all come out as here.
    overwrite : bool
        Replace a file that exists.

    Raises
    ------
    OutputError
        The file exists already, or cannot be written.
    SettingError
        A program or place that does not exist.
    """
    _check(program, first_row)
    path = Path(path)
    if path.exists() and not overwrite:
        msg = f"{path} exists already; give overwrite=True, or another name"
        raise OutputError(msg)
    flags = defects.flags.values
    height = flags.shape[0]
    columns, rows = defects.lines()
    whole = np.zeros(flags.shape, bool)
    whole[:, [column - int(defects.flags.x[0]) for column in columns]] = True
    whole[[row - int(defects.flags.y[0]) for row in rows]] = True
    siril = program == "siril"
    first = 0 if siril else 1
    end = " 0 H" if siril else ""
    lines = [f"C {column - int(defects.flags.x[0]) + first}{end}" for column in columns]
    lines += [f"L {_listed(row - int(defects.flags.y[0]), height, program, first_row)}{end}" for row in rows]
    bad = defects.mask & ~whole
    cold = (flags & fl.COLD) != 0
    for y, x in np.argwhere(bad).tolist():
        kind = (" C" if cold[y, x] and not cold_as_hot else " H") if siril else ""
        lines.append(f"P {x + first} {_listed(y, height, program, first_row)}{kind}")
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        msg = f"{path}: the defect list could not be written ({error.strerror or error})"
        raise OutputError(msg) from error


def read_list(
    path: str | os.PathLike[str],
    like: xr.DataArray | xr.Dataset,
    *,
    program: str = "siril",
    first_row: str = "bottom",
) -> DefectMap:
    """Read a list for the frames that *like* is one of; parameters as for `write_list`.

    Raises
    ------
    FrameFileError
        The file cannot be read, or a line in it makes no sense; the message names the line.
    """
    _check(program, first_row)
    path = Path(path)
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror or error})"
        raise FrameFileError(msg) from error
    empty = DefectMap.empty(like)
    values = empty.flags.values.copy()
    first = 0 if program == "siril" else 1
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            cold = words[-1].upper() == "C" and len(words) > 1
            places = [int(float(word)) for word in words[1:] if word.upper() not in ("C", "H")]
            match words[0].upper():
                case "P":
                    x, y = places[:2]
                    at = _row(y, values.shape[0], program, first_row), _inside(x - first, values.shape[1])
                    values[at] |= fl.COLD if cold else fl.HOT
                case "C":
                    values[:, _inside(places[0] - first, values.shape[1])] |= fl.BAD_LINE
                case "L":
                    values[_row(places[0], values.shape[0], program, first_row)] |= fl.BAD_LINE
                case _:
                    raise ValueError
        except (ValueError, IndexError, OverflowError):
            size = f"{values.shape[1]} × {values.shape[0]}"
            msg = (
                f"{path}, line {number}: {line!r} is no defect of a frame of {size} pixels; lines are 'P x y', 'C x' "
                "and 'L y', with C for cold or H for hot behind"
            )
            raise FrameFileError(msg) from None
    return DefectMap(empty.flags.copy(data=values))


def _listed(row: int, height: int, program: str, first_row: str) -> int:
    """Number that the program gives to a row of the frame."""
    from_bottom = row if first_row == "bottom" else height - 1 - row
    return height - 1 - from_bottom if program == "siril" else from_bottom + 1


def _row(number: int, height: int, program: str, first_row: str) -> int:
    from_bottom = height - 1 - number if program == "siril" else number - 1
    return _inside(from_bottom if first_row == "bottom" else height - 1 - from_bottom, height)


def _inside(place: int, size: int) -> int:
    if not 0 <= place < size:
        raise ValueError
    return place


def _check(program: str, first_row: str) -> None:
    if program not in PROGRAMS or first_row not in _FIRST_ROWS:
        msg = (
            f"program={program!r}, first_row={first_row!r}: allowed are {' or '.join(map(repr, PROGRAMS))}, and "
            f"{' or '.join(map(repr, _FIRST_ROWS))}"
        )
        raise SettingError(msg)

"""What the header says that matters for matching only: target, readout mode, offset setting, work already done."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

READOUT = ("READOUTM", "READMODE", "READOUT")
OFFSET = ("OFFSET", "BLKLEVEL", "OFFSETADU")
LONGITUDE = ("SITELONG", "LONGITUD", "LONG-OBS", "OBSLONG", "OBSGEO-L", "GEOLON")
#: Step → the keywords that ccdproc, seiza and others leave behind after it.
_APPLIED = {
    "bias": ("SUBBIAS", "SUBTRACT_BIAS", "BIASSUB", "BIASCOR"),
    "dark": ("SUBDARK", "SUBTRACT_DARK", "DARKSUB", "DARKCOR"),
    "flat": ("FLATCOR", "FLAT_CORRECT", "FLATDIV"),
}
_SEXAGESIMAL = re.compile(r"\s*([+-]?)\s*(\d+)[:\s°d]+(\d+)(?:[:\s'm]+(\d+(?:\.\d*)?))?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?")


def text_of(header: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The first of these keywords that says anything, as text."""
    for name in names:
        value = header.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return f"{value:g}"
    return ""


def number_of(header: Mapping[str, Any], names: tuple[str, ...]) -> float:
    """The first of these keywords that is a number, else NaN."""
    for name in names:
        value = header.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return math.nan


def applied_steps(header: Mapping[str, Any]) -> dict[str, str]:
    """Which of bias, dark and flat were applied to the frame already → the keyword that says so."""
    steps: dict[str, str] = {}
    calstat = str(header.get("CALSTAT") or "").upper()  # MaxIm DL: B bias, D dark, F flat
    for step, keywords in _APPLIED.items():
        if step[0].upper() in calstat:
            steps[step] = f"CALSTAT = {calstat!r}"
        for keyword in keywords:
            value = header.get(keyword)
            if value is not None and value is not False and str(value).strip() not in ("", "0", "F"):
                steps.setdefault(step, keyword)
    return steps


def longitude_of(header: Mapping[str, Any]) -> float:
    """Longitude of the site in degrees, east positive, NaN when it is not said.

    >>> round(longitude_of({"SITELONG": "-96:27:11.80"}), 3)
    -96.453
    """
    for name in LONGITUDE:
        value = header.get(name)
        if isinstance(value, bool) or value is None:
            continue
        if isinstance(value, (int, float)):
            degrees = float(value)
        else:
            match = _SEXAGESIMAL.match(str(value))
            if match:
                size = int(match[2]) + int(match[3]) / 60 + float(match[4] or 0) / 3600
                degrees = -size if match[1] == "-" else size
            else:
                try:
                    degrees = float(str(value))
                except ValueError:
                    continue
        if -180 <= degrees <= 360:
            return degrees if degrees <= 180 else degrees - 360
    return math.nan


def clock_offset(header: Mapping[str, Any], time: np.datetime64) -> float:
    """Hours from the frame's time to local time, from DATE-LOC or the longitude; NaN when neither is said."""
    local = _DATE.match(str(header.get("DATE-LOC") or "").strip())
    if local and not np.isnat(time):
        try:
            gap = np.datetime64(local[0].replace(" ", "T"), "ns") - time
        except ValueError:  # "0000-00-00T00:00:00" of a program without a clock
            return longitude_of(header) / 15
        hours = round(4 * float(gap / np.timedelta64(1, "h"))) / 4
        if abs(hours) <= 15:
            return hours
    return longitude_of(header) / 15


#: Hidden folder beside the results of a run, with a record of each of them.
RECORDS = ".calibkit"


def written_by_calibkit(header: Mapping[str, Any]) -> bool:
    """Whether the file is a result of calibkit's, not a frame of a camera."""
    return "CALIBKIT" in header

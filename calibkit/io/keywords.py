"""What header keywords mean: the field's synonyms for kind, exposure, gain, temperature, filter, time …

The FITS standard fixes only the structure; what follows was settled by cameras and programs: the SBIG
extension (SBFITSEXT 1.0), MaxIm DL, N.I.N.A., Siril, ccdproc/IRAF.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from calibkit.cfa.pattern import Pattern
from calibkit.errors import FrameFileError, SettingError
from calibkit.io.cards import Header

KIND = ("IMAGETYP", "IMAGETYPE", "FRAMETYP", "FRAME", "OBSTYPE", "IMTYPE", "ESO DPR TYPE", "PICTTYPE")
EXPOSURE = (("EXPTIME", 1.0), ("EXPOSURE", 1.0), ("EXP_TIME", 1.0), ("EXPOSURETIME", 1.0), ("EXPOINUS", 1e-6))
ELECTRON_GAIN = ("EGAIN", "E-GAIN", "E_GAIN")
GAIN_SETTING = ("ISO", "ISOSPEED", "ISOSPEEDRATINGS", "ISO_SPEED", "GAINRAW")
TEMPERATURE = (
    "CCD-TEMP",
    "CCDTEMP",
    "CCD_TEMP",
    "TEMPERAT",
    "CAMTEMP",
    "DET-TEMP",
    "DETTEMP",
    "SET-TEMP",
    "SETTEMP",
)
FILTER = ("FILTER", "FILTNAM", "FILT-NAM", "INSFLNAM", "FILTERID")
CAMERA = ("INSTRUME", "CAMERA", "CAMNAME", "DETNAM", "DETECTOR")
SATURATION = ("SATURATE", "SATLEVEL", "SATURLEV", "MAXLIN")
READ_NOISE = ("RDNOISE", "READNOIS", "READNOISE", "RON")
PATTERN = ("BAYERPAT", "CFAPAT", "BAYER", "COLORTYP")
#: What programs write into BAYERPAT when there is no pattern.
NO_PATTERN = ("", "NONE", "MONO", "N/A", "NO", "0", "FALSE")

#: SBIG's PICTTYPE numbers.
_PICTTYPE = {1: "light", 2: "bias", 3: "dark", 4: "flat"}
_PER_ADU = re.compile(r"\be(?:l(?:ectrons?)?)?[-⁻]?\s*(?:/|per\s)\s*(?:adu|dn|count)", re.IGNORECASE)
_SETTING_WORDS = re.compile(r"sensor|camera|setting|iso\b|gain value", re.IGNORECASE)
_LEADING_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
_SECTION = re.compile(r"\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]$")
_OLD_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{2})$")


def frame_facts(header: Header, *, shape: tuple[int, int], dtype: np.dtype, path: object) -> dict[str, Any]:
    """The fields of `FrameInfo` that the keywords give, for a stored frame of *shape* (rows, columns)."""
    kind, reason = kind_of(header)
    active = active_area(header, shape)
    y0, x0 = subframe_origin(header)
    roworder = str(header.get("ROWORDER") or "").strip().upper()
    gain, setting = gains(header)
    return {
        "shape": (active[1] - active[0], active[3] - active[2]),
        "full_shape": shape,
        "dtype": dtype,
        "active": active,
        "origin": (y0 + active[0], x0 + active[2]),
        "kind": kind,
        "kind_reason": reason,
        "master": is_master(header),
        "exposure": exposure_of(header),
        "gain": gain,
        "gain_setting": setting,
        "temperature": temperature_of(header),
        "filter": filter_of(header),
        "time": time_of(header),
        "camera": _text(header, CAMERA),
        "cfa": pattern_of_header(header, height=shape[0], origin=(y0, x0), path=path).text,
        "saturation": saturation_of(header, dtype),
        "pedestal": pedestal_of(header),
        "binning": binning_of(header),
        "read_noise": _positive(header, READ_NOISE),
        "roworder": roworder if roworder in ("TOP-DOWN", "BOTTOM-UP") else "",
        "header": dict(header),
    }


def kind_from_text(text: str) -> str:
    """The kind that a text such as ``'Light Frame'`` or ``'MasterFlat'`` names, or ""."""
    word = re.sub(r"[^a-z]", "", text.lower())
    if "flat" in word:
        return "flat dark" if "dark" in word else "flat"
    if "twilight" in word or "dome" in word:
        return "flat"
    if "dark" in word:
        return "dark"
    if any(name in word for name in ("bias", "offset", "zero")):
        return "bias"
    if any(name in word for name in ("light", "object", "science", "target", "nebula")):
        return "light"
    return ""


def kind_of(header: Header) -> tuple[str, str]:
    """Kind and the keyword that says so, or ``("", "")``."""
    for keyword in KIND:
        value = header.get(keyword)
        if value is None or isinstance(value, bool):
            continue
        kind = _PICTTYPE.get(value, "") if keyword == "PICTTYPE" else kind_from_text(str(value))
        if kind:
            return kind, f"{keyword} = {value!r}"
    return "", ""


def is_master(header: Header) -> bool:
    """Whether the header says that several frames were combined into this one."""
    named = any("master" in str(header.get(keyword, "")).lower() for keyword in KIND)
    counts = (_number(header.get(keyword)) for keyword in ("NCOMBINE", "STACKCNT", "SNAPSHOT"))
    return named or header.get("COMBINED") is True or any(count > 1 for count in counts)


def exposure_of(header: Header) -> float:
    """Exposure in seconds, NaN when it is not said."""
    for keyword, unit in EXPOSURE:
        value = _number(header.get(keyword)) * unit
        if value >= 0 and math.isfinite(value):
            return value
    return math.nan


def gains(header: Header) -> tuple[float, float]:
    """Gain in electrons per ADU, and the camera's gain setting (ISO).

    GAIN is electrons per ADU in headers of observatories and a number on the camera's own scale in those
    of amateur programs: the card's comment decides, then whether the read noise stands beside it.
    """
    gain = _positive(header, ELECTRON_GAIN)
    setting = _positive(header, GAIN_SETTING)
    plain = _number(header.get("GAIN"))
    if math.isfinite(plain) and plain >= 0:
        comment = header.comments.get("GAIN", "")
        observatory = any(name in header for name in READ_NOISE) and not _SETTING_WORDS.search(comment)
        if _PER_ADU.search(comment) or (observatory and 0 < plain < 20 and math.isnan(gain)):
            gain = gain if math.isfinite(gain) else plain or math.nan
        elif math.isnan(setting):
            setting = plain
    return gain, setting


def temperature_of(header: Header) -> float:
    """Detector temperature in °C, measured before set, NaN when it is not said."""
    for keyword in TEMPERATURE:
        value = _number(header.get(keyword))
        if value > 120:  # no camera is that hot: kelvin
            value -= 273.15
        if -200 < value <= 120:
            return value
    return math.nan


def filter_of(header: Header) -> str:
    """Name of the filter; a colour pattern written in its place is not one."""
    name = _text(header, FILTER)
    return "" if is_pattern(name) else name


def time_of(header: Header) -> np.datetime64:
    """Start of the exposure (UTC), NaT when it is not said."""
    for keyword in ("DATE-OBS", "DATE-BEG"):
        date = str(header.get(keyword) or "").strip().rstrip("Z")
        old = _OLD_DATE.match(date)
        if old:  # dd/mm/yy, as it was written before 2000
            year = int(old[3]) + (1900 if int(old[3]) >= 70 else 2000)
            date = f"{year}-{int(old[2]):02}-{int(old[1]):02}"
        if re.fullmatch(r"\d{4}-\d\d-\d\d", date):
            clock = _text(header, ("TIME-OBS", "UT", "UTC", "UT-OBS"))
            date = f"{date}T{clock}" if re.fullmatch(r"\d\d:\d\d:\d\d(\.\d*)?", clock) else date
        if not re.match(r"(1[89]|2[01])\d\d-\d\d-\d\d", date):  # what fits into nanoseconds
            continue
        try:
            return np.datetime64(date.replace(" ", "T"), "ns")
        except ValueError:
            continue
    day = _number(header.get("MJD-OBS"))
    if not math.isfinite(day):
        day = _number(header.get("JD")) - 2400000.5
    if 0 < day < 100000:
        return np.datetime64("1858-11-17", "ns") + np.timedelta64(round(day * 86400e3), "ms")
    return np.datetime64("NaT", "ns")


def binning_of(header: Header) -> tuple[int, int]:
    """Binning as (rows, columns)."""
    for y, x in (("YBINNING", "XBINNING"), ("CCDYBIN", "CCDXBIN")):
        binning = _whole(header, y, 0), _whole(header, x, 0)
        if min(binning) >= 1:
            return binning
    for keyword in ("CCDSUM", "BINNING"):
        numbers = [int(n) for n in re.findall(r"\d+", str(header.get(keyword) or "")[:20])]
        if numbers and 1 <= min(numbers) <= max(numbers) <= 99:
            return numbers[-1], numbers[0]
    return 1, 1


def saturation_of(header: Header, dtype: np.dtype) -> float:
    """Level in ADU from which a pixel is saturated.

    When the header does not say it is the largest number that the file can hold; a camera of 12 or 14
    bits may saturate earlier. DATAMAX counts only when it is 2ⁿ − 1: elsewhere it is the largest pixel.
    """
    top = float(np.iinfo(dtype).max) if dtype.kind in "iu" and dtype.itemsize <= 2 else math.nan
    level = _positive(header, SATURATION)
    if math.isnan(level):
        datamax = _number(header.get("DATAMAX"))
        if datamax >= 255 and math.log2(datamax + 1).is_integer():
            level = datamax
    return level if not level > top and math.isfinite(level) else top


def pedestal_of(header: Header) -> float:
    """Constant in the data, in ADU.

    MaxIm DL and SBFITSEXT write what has to be *added* to come to zero, PixInsight what *was* added.
    """
    value = _number(header.get("PEDESTAL"))
    if not math.isfinite(value) or value == 0:
        return 0.0
    adds = "to add" in header.comments.get("PEDESTAL", "").lower() or "SBSTDVER" in header
    adds = adds or "maxim" in str(header.get("SWCREATE") or "").lower()
    return -value if adds or value < 0 else value


def subframe_origin(header: Header) -> tuple[int, int]:
    """Sensor pixel (y, x), in binned pixels, of the first stored pixel."""
    return _whole(header, "YORGSUBF", 0), _whole(header, "XORGSUBF", 0)


def section_of(header: Header, keyword: str, shape: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """(y0, y1, x0, x1) of a keyword such as BIASSEC; None when it is missing or no part of the frame."""
    match = _SECTION.match(str(header.get(keyword) or "").strip())
    if match:
        x0, x1, y0, y1 = (int(text) for text in match.groups())
        if 1 <= x0 < x1 <= shape[1] and 1 <= y0 < y1 <= shape[0]:
            return y0 - 1, y1, x0 - 1, x1
    return None


def active_area(header: Header, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """(y0, y1, x0, x1) of TRIMSEC or DATASEC; the whole frame when neither can be a part of it."""
    found = section_of(header, "TRIMSEC", shape) or section_of(header, "DATASEC", shape)
    return found or (0, shape[0], 0, shape[1])


def is_pattern(text: str) -> bool:
    """Whether *text* can only be a Bayer pattern: red, blue and, on a diagonal, two greens."""
    text = text.strip().upper()
    return sorted(text) == ["B", "G", "G", "R"] and (text[0] == text[3] or text[1] == text[2])


def pattern_of_header(
    header: Header, *, height: int, origin: tuple[int, int] = (0, 0), path: object = ""
) -> Pattern:
    """Colour pattern anchored at sensor pixel (0, 0); mono when the header names none.

    Parameters
    ----------
    header : Header
    height : int
        Rows stored in the file.
    origin : (int, int)
        Sensor pixel (y, x) of the first stored pixel.
    path : object
        For the message.

    Raises
    ------
    FrameFileError
        BAYERPAT names something that is not a pattern.

    Notes
    -----
    XBAYROFF and YBAYROFF say at which pixel of the pattern the picture begins. The pattern is stated for
    the picture as displayed: with ROWORDER = BOTTOM-UP its top row is the file's last, so the height decides
    with which row of the pattern the file begins. Without ROWORDER the file's first row counts as the top,
    which is how capture programs that do not write it mean it.
    """
    pattern = Pattern()
    for keyword in (*PATTERN, "FILTER"):
        text = str(header.get(keyword) or "").strip().upper()
        if keyword == "BAYERPAT" and text not in NO_PATTERN:
            try:
                pattern = Pattern(text)
            except SettingError as error:
                msg = f"{path}: BAYERPAT = {text!r}: {error}"
                raise FrameFileError(msg) from error
            break
        if is_pattern(text):
            pattern = Pattern(text)
            break
    if pattern.is_mono:
        return pattern
    pattern = pattern.shifted(*(_whole(header, name, 0, low=-(2**20)) for name in ("YBAYROFF", "XBAYROFF")))
    if str(header.get("ROWORDER") or "").strip().upper() == "BOTTOM-UP":
        rows, period = pattern.letters, pattern.period[0]
        pattern = Pattern("/".join(rows[(height - 1 - y) % period] for y in range(period)))
    return pattern.shifted(-origin[0], -origin[1])


def _number(value: Any) -> float:
    """A number from a header value, also from text such as ``'13 C'``; NaN when there is none."""
    if isinstance(value, bool) or value is None:
        return math.nan
    if isinstance(value, (int, float)):
        return float(value)
    match = _LEADING_NUMBER.match(str(value))
    return float(match[1]) if match else math.nan


def _whole(header: Header, name: str, default: int, *, low: int = 0, high: int = 2**20) -> int:
    """A whole number within *low* and *high*, else *default*."""
    value = _number(header.get(name))
    return int(value) if low <= value <= high else default


def _positive(header: Header, names: tuple[str, ...]) -> float:
    for name in names:
        value = _number(header.get(name))
        if value > 0 and math.isfinite(value):
            return value
    return math.nan


def _text(header: Header, names: tuple[str, ...]) -> str:
    for name in names:
        value = header.get(name)
        if value is not None and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()
    return ""

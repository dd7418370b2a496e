"""The header of a result: what other programs look for, and what people read."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

import calibkit
from calibkit import meta
from calibkit.cfa import Pattern, pattern_of
from calibkit.io import provenance
from calibkit.io.keywords import GAIN_SETTING

if TYPE_CHECKING:
    from astropy.io.fits import Header

#: IMAGETYP for each kind.
_IMAGE_TYPE = {"bias": "Bias", "dark": "Dark", "flat": "Flat", "flat dark": "Flat Dark", "light": "Light"}
#: What still holds of the first input's header, whatever was done to its pixels.
_CAMERA = re.compile(
    r"(TELESCOP|OBSERVER|OBSERVAT|SITENAME|SITELAT|SITELONG|SITEELEV|(LAT|LONG|ALT)-OBS|LATITUDE|LONGITUD"
    r"|FOCALLEN|FOCRATIO|APTDIA|APTAREA|APERTURE|[XY]PIXSZ|PIXSIZE[12]|READOUTM|READMODE|OFFSET|SET-TEMP"
    r"|FWHEEL|USBLIMIT|MAKE|MODEL|CREATOR)$"
)
#: What holds only of a picture of the sky.
_SKY = re.compile(
    r"(OBJECT|RA|DEC|OBJCT(RA|DEC|ROT|ALT|AZ)|CENTALT|CENTAZ|AIRMASS|EQUINOX|EPOCH|RADESYS|RADECSYS|PIERSIDE"
    r"|TIMESYS|WCSAXES|WCSNAME|LONPOLE|LATPOLE|FOCNAME|FOCUSPOS|FOCPOS|FOCUSSZ|FOCTEMP|ROTNAME|ROTATOR|ROTATANG)$"
)
#: A world coordinate system over two axes, SIP distortion included.
_WCS = re.compile(
    r"(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA|CRDER|CSYER)[12]$|(CD|PC)[12]_[12]$|PV[12]_\d{1,2}$"
    r"|(A|B|AP|BP)_(ORDER|DMAX|\d_\d)$"
)
_GREEK = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "λ": "lambda",
    "μ": "u",
    "µ": "u",
    "σ": "sigma",
}
_SIGNS = {
    "−": "-",
    "–": "-",
    "—": "-",
    "°": "deg",
    "×": "x",
    "⁻": "-",
    "’": "'",
    "…": "...",
    "ß": "ss",
    "ø": "o",
}
_TO_ASCII = str.maketrans(_GREEK | _SIGNS)


def primary_header(result: xr.Dataset) -> Header:
    """Header of the signal's HDU, without the keywords of its size and type.

    Parameters
    ----------
    result : xarray.Dataset
        With dims (y, x), or (channel, y, x) in colour.

    Returns
    -------
    astropy.io.fits.Header

    Notes
    -----
    BAYERPAT names the filters of the picture's first pixel as displayed, so that XBAYROFF and YBAYROFF are 0: in
    a file with ROWORDER = TOP-DOWN that is its first pixel, with BOTTOM-UP the first pixel of its last row.
    Siril 1.0.6 reads files of all four phases, with odd and even heights, exactly so, and takes TOP-DOWN when
    ROWORDER is missing. An X-Trans pattern is written as 36 letters; Siril knows those that begin at some rows
    and columns of the cell, and takes others for Bayer.
    """
    from astropy.io import fits

    header = fits.Header()
    for keyword, value, comment in _cards(result):
        value = _card_value(value)
        if value is not None:
            text = _ascii(comment) if not (isinstance(value, str) and len(value) + len(comment) > 60) else ""
            header[keyword] = (value, text)
    for line in [f"calibkit {calibkit.__version__}", *provenance.history(result.attrs.get("provenance", []))]:
        header.add_history(line)
    return header


def _cards(result: xr.Dataset) -> Iterator[tuple[str, Any, str]]:
    attrs = result.attrs
    units = str(result["signal"].attrs.get("units", attrs.get("units", "")))
    kind, frames = str(meta.frame_value(result, "kind", "")), attrs.get("n_frames")
    single = frames in (None, 1)
    yield "EXTNAME", "SIGNAL", "calibrated signal; FLAGS and VARIANCE follow"
    yield "CALIBKIT", calibkit.__version__, "version of calibkit that wrote this"
    yield "BUNIT", {"1": ""}.get(units, units), "unit of the signal"
    yield from _carried(result, sky=kind in ("light", ""))
    yield "IMAGETYP", _image_type(kind, single=single), "kind of frame"
    yield "INSTRUME", attrs.get("camera"), "camera"
    yield "DATE-OBS", _iso(meta.frame_value(result, "time")), "start of the exposure (UTC)"
    yield "EXPTIME", meta.frame_value(result, "exposure"), "[s] exposure"
    yield "CCD-TEMP", meta.frame_value(result, "temperature"), "[deg C] temperature of the sensor"
    yield "FILTER", meta.frame_value(result, "filter"), "filter"
    yield from _detector(result, units)
    yield from _done(attrs, frames)
    yield from _place(result)


def _image_type(kind: str, *, single: bool) -> str | None:
    if kind not in _IMAGE_TYPE:
        return None
    return f"{_IMAGE_TYPE[kind]} Frame" if single else f"Master {_IMAGE_TYPE[kind]}"


def _detector(result: xr.Dataset, units: str) -> Iterator[tuple[str, Any, str]]:
    attrs = result.attrs
    if units == "electron":
        yield "EGAIN", 1.0, "[electron/unit] the signal is in electrons"
    elif units == "adu":
        yield "EGAIN", meta.frame_value(result, "gain"), "[electron/adu] gain"
    iso = any(name in attrs.get("header", {}) for name in GAIN_SETTING)
    setting = meta.frame_value(result, "gain_setting")
    yield ("ISOSPEED" if iso else "GAIN"), setting, "camera gain setting"
    yield "RDNOISE", attrs.get("read_noise"), "[electron] read noise of one frame"
    binning = attrs.get("binning")
    if binning is not None:
        yield "XBINNING", int(binning[1]), "binning along a row"
        yield "YBINNING", int(binning[0]), "binning along a column"
    subtracted = attrs.get("bias_subtracted") or attrs.get("dark_subtracted") or attrs.get("flat_divided")
    if units == "adu" and not subtracted:
        yield "SATURATE", attrs.get("saturation"), "[adu] saturated from this level"
        if (attrs.get("pedestal") or 0) > 0:
            yield "PEDESTAL", attrs["pedestal"], "[adu] constant in the data"


def _done(attrs: dict[str, Any], frames: Any) -> Iterator[tuple[str, Any, str]]:
    steps = attrs.get("provenance", [])
    yield "NCOMBINE", frames, "frames combined"
    done = {
        letter: (keyword, attrs[name], comment)
        for letter, name, keyword, comment in (
            ("B", "bias_subtracted", "BIASSUB", "bias subtracted"),
            ("D", "dark_subtracted", "DARKSUB", "dark current subtracted"),
            ("F", "flat_divided", "FLATDIV", "divided by a flat"),
        )
        if isinstance(attrs.get(name), bool | np.bool_)
    }
    for keyword, value, comment in done.values():
        yield keyword, bool(value), comment
    letters = "".join(letter for letter, (_, value, _) in done.items() if value)
    yield "CALSTAT", letters or None, "B bias, D dark, F flat applied"
    darks = [step for step in steps if step.get("step") == "subtract dark"]
    yield "DARKSCAL", provenance.last(darks, "scale"), "factor on the dark"
    yield "REJFRAC", provenance.last(steps, "rejected_fraction"), "part of the samples rejected"
    levels = attrs.get("channel_level")
    if isinstance(levels, dict) and levels and attrs.get("kind") == "flat":  # other masters have levels too
        yield "FLATNORM", float(np.mean(list(levels.values()))), "[adu] level that the flat was divided by"
        for name, level in levels.items() if len(levels) > 1 else ():
            yield f"FNORM_{name}"[:8], float(level), f"[adu] level of channel {name}"


def _place(result: xr.Dataset) -> Iterator[tuple[str, Any, str]]:
    """Where the picture lies on the sensor, and the colour of its first pixel as displayed."""
    start = first_pixel(result)
    if start is not None:
        yield "XORGSUBF", start[1], "sensor column of the first pixel"
        yield "YORGSUBF", start[0], "sensor row of the first row of the file"
    roworder = str(result.attrs.get("roworder") or "TOP-DOWN")
    yield "ROWORDER", roworder, "which way the rows are displayed"
    pattern = pattern_of(result)
    if start is None or pattern.is_mono or result["signal"].ndim > 2:
        return
    seen = displayed_pattern(pattern.shifted(*start), result.sizes["y"], roworder)
    text = seen.text.replace("/", "") if seen.period in ((2, 2), (6, 6)) else seen.text
    yield "BAYERPAT", text, "colours from the first pixel as displayed"
    yield "XBAYROFF", 0, "BAYERPAT is that of this picture"
    yield "YBAYROFF", 0, "BAYERPAT is that of this picture"


def displayed_pattern(pattern: Pattern, height: int, roworder: str) -> Pattern:
    """*pattern*, given from the file's first row on, as seen from the top row of the display."""
    if roworder != "BOTTOM-UP" or pattern.is_mono:
        return pattern
    rows, period = pattern.letters, pattern.period[0]
    return Pattern("/".join(rows[(height - 1 - y) % period] for y in range(period)))


def first_pixel(result: xr.Dataset) -> tuple[int, int] | None:
    """Sensor pixel (y, x) of the first pixel, None when the coordinates do not count single pixels."""
    start = []
    for dim in ("y", "x"):
        values = result.coords[dim].values if dim in result.coords else np.empty(0)
        if not values.size or values.dtype.kind not in "iu" or (np.diff(values) != 1).any():
            return None
        start.append(int(values[0]))
    return start[0], start[1]


def _carried(result: xr.Dataset, *, sky: bool) -> Iterator[tuple[str, Any, str]]:
    """Keywords of the first input's header that hold for the result too; the reference pixel moves with a crop."""
    header = result.attrs.get("header", {})
    start = first_pixel(result)
    moved = {}
    if start is not None:
        moved = {
            "CRPIX1": start[1] - _origin(header, "XORGSUBF"),
            "CRPIX2": start[0] - _origin(header, "YORGSUBF"),
        }
    for keyword, value in header.items():
        if not isinstance(keyword, str):
            continue
        if _CAMERA.match(keyword) or (sky and _SKY.match(keyword)):
            yield keyword, value, ""
        elif sky and moved and _WCS.match(keyword):
            shift = moved.get(keyword, 0)
            yield keyword, float(value) - shift if shift and isinstance(value, int | float) else value, ""


def _origin(header: dict[str, Any], keyword: str) -> int:
    value = header.get(keyword)
    return int(value) if isinstance(value, int | float) and 0 <= value < 2**20 else 0


def _card_value(value: Any) -> Any:
    """*value* as a card can hold it, None where there is nothing to say."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return _ascii(value)
    return value if isinstance(value, bool | int) else None


def _ascii(text: str) -> str:
    """*text* in the characters that a header allows."""
    folded = unicodedata.normalize("NFKD", text.translate(_TO_ASCII))
    plain = "".join(c for c in folded if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else " " if c.isspace() else "?" for c in plain).rstrip()


def _iso(time: Any) -> str | None:
    if time is None or np.isnat(time):
        return None
    text = str(np.datetime64(time, "ms"))
    return text.removesuffix(".000")

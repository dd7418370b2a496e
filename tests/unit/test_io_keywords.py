"""What header keywords mean."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from calibkit.cfa.pattern import Pattern
from calibkit.errors import FrameFileError
from calibkit.io import keywords
from calibkit.io.cards import Header, parse_header


def header(comments: dict[str, str] | None = None, **values: Any) -> Header:
    made = Header()
    made.update({name.replace("_", "-"): value for name, value in values.items()})
    made.comments.update(comments or {})
    return made


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Light Frame", "light"),
        ("LIGHT", "light"),
        ("object", "light"),
        ("SCIENCE", "light"),
        ("Bias Frame", "bias"),
        ("BIAS", "bias"),
        ("zero", "bias"),
        ("Offset", "bias"),
        ("Master Bias", "bias"),
        ("Dark Frame", "dark"),
        ("MASTERDARK", "dark"),
        ("Flat Field", "flat"),
        ("Flat Frame", "flat"),
        ("SKYFLAT", "flat"),
        ("Twilight", "flat"),
        ("dome flat", "flat"),
        ("FLATDARK", "flat dark"),
        ("DARKFLAT", "flat dark"),
        ("Dark Flat", "flat dark"),
        ("Tricolor", ""),
        ("", ""),
    ],
)
def test_kind(text: str, kind: str) -> None:
    assert keywords.kind_of(header(IMAGETYP=text))[0] == kind


def test_kind_gives_its_reason_and_skips_what_says_nothing() -> None:
    assert keywords.kind_of(header(IMAGETYP="?", OBSTYPE="DARK")) == ("dark", "OBSTYPE = 'DARK'")
    assert keywords.kind_of(header(PICTTYPE=2)) == ("bias", "PICTTYPE = 2")
    assert keywords.kind_of(header(FRAME=3)) == ("", "")


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (header(EXPTIME=30.5), 30.5),
        (header(EXPOSURE="120.4 s"), 120.4),
        (header(EXPTIME=0), 0.0),
        (header(EXPTIME=-1, EXPOSURE=5), 5.0),
        (header(EXPOINUS=2500), 0.0025),
        (header(IMG_EXP=1999), np.nan),
        (header(EXPTIME=True), np.nan),
        (header(), np.nan),
    ],
)
def test_exposure(made: Header, expected: float) -> None:
    assert keywords.exposure_of(made) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("made", "gain", "setting"),
    [
        (header(EGAIN=2.06), 2.06, np.nan),
        (header(EGAIN=0), np.nan, np.nan),
        (header(GAIN=80, comments={"GAIN": "Gain Value"}), np.nan, 80),
        (header(GAIN=100, EGAIN=0.25), 0.25, 100),
        (header(GAIN=1.4, comments={"GAIN": "e-/ADU"}), 1.4, np.nan),
        (header(GAIN=1.4, comments={"GAIN": "electrons per ADU"}), 1.4, np.nan),
        (header(GAIN=1.4, RDNOISE=7.0), 1.4, np.nan),
        (header(GAIN=100, RDNOISE=1.5), np.nan, 100),
        (header(GAIN=0, RDNOISE=3.0, comments={"GAIN": "Sensor gain"}), np.nan, 0),
        (header(ISO=800), np.nan, 800),
        (header(ISOSPEED="1600"), np.nan, 1600),
    ],
)
def test_gain_is_electrons_or_a_setting(made: Header, gain: float, setting: float) -> None:
    np.testing.assert_equal(keywords.gains(made), (gain, setting))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (header(CCD_TEMP=-18.8, SET_TEMP=-27.2), -18.8),
        (header(SET_TEMP=-20.0), -20.0),
        (header(CAMTEMP="13 C"), 13.0),
        (header(DETTEMP=163.15), -110.0),
        (header(CCD_TEMP=-999.0), np.nan),
        (header(CCD_TEMP="n/a"), np.nan),
    ],
)
def test_temperature(made: Header, expected: float) -> None:
    assert keywords.temperature_of(made) == pytest.approx(expected, nan_ok=True)


def test_filter_is_not_a_pattern() -> None:
    assert keywords.filter_of(header(FILTER="  Ha ")) == "Ha"
    assert keywords.filter_of(header(FILTER="RGGB")) == ""
    assert keywords.pattern_of_header(header(FILTER="RGGB"), height=10).text == "RGGB"
    assert keywords.pattern_of_header(header(FILTER="RGB"), height=10).is_mono


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (header(DATE_OBS="2017-09-08T20:45:08.464"), "2017-09-08T20:45:08.464"),
        (header(DATE_OBS="2017-09-08T20:45:08Z"), "2017-09-08T20:45:08"),
        (header(DATE_OBS="2017-09-08", TIME_OBS="20:45:08.5"), "2017-09-08T20:45:08.5"),
        (header(DATE_OBS="2017-09-08"), "2017-09-08"),
        (header(DATE_OBS="23/08/98", UT="09:00:21"), "1998-08-23T09:00:21"),
        (header(MJD_OBS=51544.5), "2000-01-01T12:00:00"),
        (header(JD=2451545.0), "2000-01-01T12:00:00"),
        (header(DATE_OBS="yesterday"), "NaT"),
        (header(DATE_OBS="0001-01-01T00:00:00"), "NaT"),
        (header(DATE_OBS="9999-12-31T00:00:00"), "NaT"),
        (header(DATE_OBS=20170908), "NaT"),
    ],
)
def test_time(made: Header, expected: str) -> None:
    np.testing.assert_equal(keywords.time_of(made), np.datetime64(expected, "ns"))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (header(XBINNING=2, YBINNING=3), (3, 2)),
        (header(CCDSUM="1 2"), (2, 1)),
        (header(BINNING="2x2"), (2, 2)),
        (header(BINNING=4), (4, 4)),
        (header(XBINNING=0, YBINNING=0), (1, 1)),
        (header(), (1, 1)),
    ],
)
def test_binning(made: Header, expected: tuple[int, int]) -> None:
    assert keywords.binning_of(made) == expected


@pytest.mark.parametrize(
    ("made", "dtype", "expected"),
    [
        (header(), "u2", 65535),
        (header(), "i2", 32767),
        (header(), "f4", np.nan),
        (header(), "i4", np.nan),
        (header(SATURATE=50000), "u2", 50000),
        (header(SATURATE=50000), "f4", 50000),
        (header(SATURATE=70000), "u2", 65535),
        (header(DATAMAX=4095), "u2", 4095),
        (header(DATAMAX=23456), "u2", 65535),
        (header(DATAMAX=float("inf")), "u2", 65535),
    ],
)
def test_saturation(made: Header, dtype: str, expected: float) -> None:
    np.testing.assert_equal(keywords.saturation_of(made, np.dtype(dtype)), expected)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (header(), 0.0),
        (header(PEDESTAL=-100), 100.0),
        (header(PEDESTAL=100), 100.0),
        (header(PEDESTAL=100, comments={"PEDESTAL": "Correction to add for zero-based ADU"}), -100.0),
        (header(PEDESTAL=-100, SWCREATE="MaxIm DL Version 6"), 100.0),
    ],
)
def test_pedestal_is_what_is_in_the_data(made: Header, expected: float) -> None:
    assert keywords.pedestal_of(made) == expected


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("[1:1536, 1:1024]", (0, 1024, 0, 1536)),
        ("[25:1536,3:1000]", (2, 1000, 24, 1536)),
        ("[4096:4109]", (0, 1024, 0, 1542)),
        ("[1:4096, :]", (0, 1024, 0, 1542)),
        ("[1:1543,1:1024]", (0, 1024, 0, 1542)),
        ("[9:3,1:1024]", (0, 1024, 0, 1542)),
        ("[0:3,1:1024]", (0, 1024, 0, 1542)),
    ],
)
def test_active_area(section: str, expected: tuple[int, int, int, int]) -> None:
    assert keywords.active_area(header(TRIMSEC=section), (1024, 1542)) == expected


def test_datasec_when_trimsec_cannot_be_used() -> None:
    made = header(TRIMSEC="[1:9999,1:10]", DATASEC="[3:10,1:10]")
    assert keywords.active_area(made, (10, 10)) == (0, 10, 2, 10)


def test_master_is_told() -> None:
    assert keywords.is_master(header(IMAGETYP="Master Dark"))
    assert keywords.is_master(header(NCOMBINE=10))
    assert keywords.is_master(header(COMBINED=True))
    assert not keywords.is_master(header(IMAGETYP="Dark", STACKCNT=1))


CELLS = {"RGGB": ("RG", "GB"), "GBRG": ("GB", "RG"), "GMYC": ("GM", "YC")}


@pytest.mark.parametrize("text", CELLS)
@pytest.mark.parametrize("order", ["", "TOP-DOWN", "BOTTOM-UP"])
@pytest.mark.parametrize("height", [10, 11])
def test_pattern_of_every_pixel(text: str, order: str, height: int) -> None:
    """Against the definition: a picture displayed with the right row on top has the pattern of its header."""
    for dy, dx, y0, x0 in itertools.product((0, 1), (0, 1), (0, 3), (0, 7)):
        made = header(BAYERPAT=text, ROWORDER=order, XBAYROFF=dx, YBAYROFF=dy)
        pattern = keywords.pattern_of_header(made, height=height, origin=(y0, x0))
        stored = [[pattern.label(y0 + y, x0 + x)[0] for x in range(6)] for y in range(height)]
        shown = stored[::-1] if order == "BOTTOM-UP" else stored
        for y, x in itertools.product(range(height), range(6)):
            assert shown[y][x] == CELLS[text][(y + dy) % 2][(x + dx) % 2]


def test_xtrans_pattern_upside_down() -> None:
    rows = ("GGRGGB", "GGBGGR", "BRGRBG", "GGBGGR", "GGRGGB", "RBGBRG")
    made = header(BAYERPAT="".join(rows), ROWORDER="BOTTOM-UP")
    pattern = keywords.pattern_of_header(made, height=14)
    for y in range(14):
        assert "".join(pattern.label(y, x) for x in range(6)) == rows[(13 - y) % 6]


@pytest.mark.parametrize("value", ["", "NONE", "Mono", None])
def test_no_pattern(value: str | None) -> None:
    assert keywords.pattern_of_header(header(BAYERPAT=value), height=10) == Pattern()


def test_unknown_pattern_is_refused_by_name() -> None:
    with pytest.raises(FrameFileError, match=r"x\.fit: BAYERPAT = 'RGQB'"):
        keywords.pattern_of_header(header(BAYERPAT="RGQB"), height=10, path="x.fit")


def test_offsets_that_are_no_numbers_are_ignored() -> None:
    for value in ("?", float("nan"), float("inf"), True, None):
        made = header(BAYERPAT="RGGB", XBAYROFF=value, XORGSUBF=value)
        assert keywords.pattern_of_header(made, height=4).text == "RGGB"
        assert keywords.subframe_origin(made) == (0, 0)


def card(text: str) -> bytes:
    return text.ljust(80).encode("latin-1")


def test_cards_as_cameras_write_them() -> None:
    parsed = parse_header(
        b"".join(
            map(
                card,
                [
                    "SIMPLE  =                    T/CCDSOFT-SOFTWARE BISQUE 3",
                    "EXPTIME = +2.300000000000E+001",
                    "OLD     = 1.5D3 / Fortran",
                    "OBJECT  = 'Barnard''s / star'  / name / remark",
                    "EMPTY   =",
                    "NOTE    = ''",
                    "COMMENT = 'not a value'",
                    "HISTORY first",
                    "HISTORY second",
                    "HIERARCH ESO DPR TYPE = 'BIAS' / kind",
                    "LONGSTR = 'one &'",
                    "CONTINUE  'two' / end",
                    "EXPTIME = 99",
                    "ODD     = 12:30:01 / text without quotes",
                    "END",
                    "AFTER   = 1",
                ],
            )
        )
    )
    assert parsed == {
        "SIMPLE": True,
        "EXPTIME": 23.0,
        "OLD": 1500.0,
        "OBJECT": "Barnard's / star",
        "EMPTY": None,
        "NOTE": "",
        "HISTORY": "first\nsecond",
        "ESO DPR TYPE": "BIAS",
        "LONGSTR": "one two",
        "ODD": "12:30:01",
    }
    assert parsed.comments["OBJECT"] == "name / remark"

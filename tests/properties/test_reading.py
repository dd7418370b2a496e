"""Reading, whatever the numbers, the bands and the damage."""

from __future__ import annotations

import gzip
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import calibkit
from calibkit import io
from calibkit.errors import FrameFileError
from calibkit.io.cards import parse_header
from calibkit.io.containers import check_container, tiff_directories
from calibkit.io.detect import detect

TYPES = ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8"]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def refusal(call: Callable[[], object]) -> str:
    """What a FrameFileError says, "" when nothing was refused; any other error ends the test."""
    try:
        call()
    except FrameFileError as error:
        return str(error)
    return ""


@st.composite
def bands(draw: st.DrawFn, height: int) -> list[tuple[int, int]]:
    """Row ranges in any order, most of them following one another."""
    cuts = sorted({0, height, *draw(st.lists(st.integers(0, height), max_size=5))})
    ranges = list(itertools.pairwise(cuts))
    return draw(st.one_of(st.just(ranges), st.permutations(ranges)))


@given(data=st.data())
@settings(max_examples=60)
def test_any_frame_in_any_bands_as_astropy_reads_it(folder: Path, data: st.DataObject) -> None:
    dtype = np.dtype(data.draw(st.sampled_from(TYPES)))
    shape = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 9)))
    elements = st.floats(-1e6, 1e6, width=32) if dtype.kind == "f" else None
    values = data.draw(hnp.arrays(dtype, shape, elements=elements))
    form = data.draw(st.sampled_from(["plain", "gz", "extension", "rice"]))
    if form == "rice" and dtype.kind in "fi" and dtype.itemsize == 1:
        form = "plain"
    path = folder / ("a.fits.gz" if form == "gz" else "a.fits")
    if form == "rice" and dtype.kind != "f":
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(values)])
    elif form == "extension":
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(values)])
    else:
        hdus = fits.HDUList([fits.PrimaryHDU(values)])
    hdus.writeto(path, overwrite=True)
    with fits.open(path) as opened:
        expected = next(np.asarray(hdu.data) for hdu in opened if hdu.data is not None)
    source = io.open_frame(path)
    for y0, y1 in data.draw(bands(shape[0])):
        got = source.read(y0, y1)
        assert got.dtype == expected.dtype.newbyteorder("=")
        assert got.dtype.isnative
        np.testing.assert_array_equal(got, expected[y0:y1])


@given(
    pattern=st.sampled_from(["RGGB", "BGGR", "GRBG", "GBRG", "GMYC", "RGGBRGGBRGGBGGRGGBGGRGGBBRGBRGRBGRBG"]),
    order=st.sampled_from(["TOP-DOWN", "BOTTOM-UP", ""]),
    place=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    height=st.integers(12, 17),
    trim=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    crop=st.tuples(st.integers(0, 5), st.integers(0, 5)),
)
@settings(max_examples=40)
def test_any_crop_keeps_every_colour(
    folder: Path,
    pattern: str,
    order: str,
    place: tuple[int, int],
    height: int,
    trim: tuple[int, int],
    crop: tuple[int, int],
) -> None:
    """A frame whose numbers are its filters' letters, as they are seen with the right row on top."""
    side = 6 if len(pattern) == 36 else 2
    cell = np.array([ord(letter) for letter in pattern]).reshape(side, side)
    shown = np.tile(cell, (9, 9))[:height, :14].astype("u2")
    hdu = fits.PrimaryHDU(shown[::-1] if order == "BOTTOM-UP" else shown)
    hdu.header["BAYERPAT"], hdu.header["ROWORDER"] = pattern, order
    hdu.header["YORGSUBF"], hdu.header["XORGSUBF"] = place
    hdu.header["TRIMSEC"] = f"[{trim[1] + 1}:14,{trim[0] + 1}:{height}]"
    path = folder / "cfa.fits"
    hdu.writeto(path, overwrite=True)
    frame = (
        calibkit.open_stack([path]).isel(frame=0, y=slice(crop[0], None), x=slice(crop[1], None)).compute()
    )
    known = calibkit.Pattern(frame.attrs["cfa"])
    labels = [[ord(known.label(int(y), int(x))[0]) for x in frame.x] for y in frame.y]
    np.testing.assert_array_equal(frame, labels)
    assert (int(frame.y[0]), int(frame.x[0])) == (place[0] + trim[0] + crop[0], place[1] + trim[1] + crop[1])


def fits_bytes(path: Path) -> bytes:
    hdu = fits.PrimaryHDU(np.arange(600, dtype="u2").reshape(20, 30))
    for keyword, value in (("EXPTIME", 3.0), ("BAYERPAT", "RGGB"), ("DATE-OBS", "2024-01-01T00:00:00")):
        hdu.header[keyword] = value
    hdu.header["TRIMSEC"], hdu.header["XBAYROFF"] = "[2:29,3:20]", 1
    hdu.writeto(path, overwrite=True)
    return path.read_bytes()


@given(
    changes=st.lists(st.tuples(st.integers(0, 1200), st.binary(min_size=1, max_size=8)), max_size=5),
    keep=st.integers(0, 6000),
    packed=st.booleans(),
)
@settings(max_examples=100)
def test_a_damaged_fits_file_is_read_or_refused(
    folder: Path, changes: list[tuple[int, bytes]], keep: int, packed: bool
) -> None:
    content = bytearray(fits_bytes(folder / "good.fits"))
    for at, data in changes:
        content[at : at + len(data)] = data
    path = folder / "damaged.fits"
    kept = bytes(content[:keep])
    path.write_bytes(gzip.compress(kept) if packed else kept)
    frames = []

    def read_whole() -> None:
        source = io.open_frame(path)
        frames.append((source.info, source.read(0, source.info.shape[0])))

    assert refusal(read_whole) or frames
    for info, rows in frames:
        assert rows.shape == info.shape
        assert rows.dtype == info.dtype


@given(text=st.binary(max_size=400))
def test_any_bytes_are_some_header(text: bytes) -> None:
    header = parse_header(text)
    assert all(isinstance(name, str) for name in header)


@given(
    start=st.sampled_from([b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"IIU\0\x08\0\0\0"]),
    rest=st.binary(max_size=300),
)
def test_any_tiff_is_walked_or_refused(folder: Path, start: bytes, rest: bytes) -> None:
    path = folder / "any.dng"
    path.write_bytes(start + rest)
    walked, checked = [], []
    said = refusal(lambda: walked.append(tiff_directories(path)))
    assert bool(walked) != said.startswith(f"{path}: ")
    said = refusal(lambda: checked.append(check_container(path, (start + rest)[:32])))
    assert bool(checked) != said.startswith(f"{path}: ")


@given(
    start=st.sampled_from(
        [
            b"FUJIFILMCCD-RAW ",
            b"\0\0\0\x18ftypcrx ",
            b"II\x1a\0\0\0HEAPCCDR",
            b"FOVb",
            b"\x89PNG",
            b"\x1f\x8b",
        ]
    ),
    rest=st.binary(max_size=200),
)
def test_any_container_is_refused_in_words(folder: Path, start: bytes, rest: bytes) -> None:
    path = folder / "any.bin"
    path.write_bytes(start + rest)
    head = (start + rest)[:32]
    if detect(path, head) == "raw":  # LibRaw is not asked
        refusal(lambda: check_container(path, head))
    else:
        assert refusal(lambda: io.read_info(path)).startswith(str(path))

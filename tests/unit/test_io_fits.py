"""FITS frames: rows against astropy, and damaged files refused."""

from __future__ import annotations

import gzip
import pickle
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from calibkit import io
from calibkit.errors import FrameFileError
from calibkit.io import fits as reader
from calibkit.io import inflate


def pixels(dtype: str = "u2", *, height: int = 37, width: int = 23) -> np.ndarray:
    values = np.random.default_rng(3).normal(1000, 30, (height, width))
    if np.dtype(dtype).kind == "u" or np.dtype(dtype).kind == "i":
        top = np.iinfo(dtype)
        values[0, 0], values[-1, -1] = top.min, min(top.max, 2**53)
        return values.clip(top.min, min(top.max, 2**53)).astype(dtype)
    return values.astype(dtype)


def write(path: Path, data: np.ndarray, **cards: Any) -> Path:
    hdu = fits.PrimaryHDU(data)
    for keyword, value in cards.items():
        hdu.header[keyword.replace("_", "-")] = value
    hdu.writeto(path)
    return path


def raw_header(*cards: str) -> bytes:
    text = "".join(line.ljust(80) for line in (*cards, "END"))
    return text.encode().ljust(-(-len(text) // 2880) * 2880)


def by_bands(source: io.FrameSource, rows: int, *, area: str = "full") -> np.ndarray:
    height = source.info.full_shape[0] if area == "full" else source.info.shape[0]
    return np.concatenate([source.read(y, min(y + rows, height), area=area) for y in range(0, height, rows)])


@pytest.mark.parametrize("suffix", [".fits", ".fits.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_number_type_exactly(tmp_path: Path, dtype: str, suffix: str) -> None:
    data = pixels(dtype)
    source = io.open_frame(write(tmp_path / f"a{suffix}", data))
    got = by_bands(source, 5)
    assert got.dtype == np.dtype(dtype)
    assert got.dtype.isnative
    assert source.info.dtype == got.dtype
    np.testing.assert_array_equal(got, data)


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4"])
@pytest.mark.parametrize(("bzero", "bscale"), [(0.0, 0.5), (100.0, 1.0), (-3.25, 2.0)])
def test_scaled_numbers_as_astropy_has_them(tmp_path: Path, dtype: str, bzero: float, bscale: float) -> None:
    path = write(tmp_path / "a.fits", pixels(dtype))
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header["BZERO"], hdus[0].header["BSCALE"] = bzero, bscale
    expected = fits.getdata(path)
    got = by_bands(io.open_frame(path), 7)
    assert got.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_blank_is_no_number(tmp_path: Path) -> None:
    data = pixels("i2")
    path = write(tmp_path / "a.fits", data, BLANK=int(data[3, 4]))
    got = by_bands(io.open_frame(path), 9)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(got), data == data[3, 4])
    np.testing.assert_array_equal(got[data != data[3, 4]], data[data != data[3, 4]])


@pytest.mark.parametrize("compression", ["RICE_1", "GZIP_1", "GZIP_2"])
@pytest.mark.parametrize("suffix", [".fits.fz", ".fits.fz.gz"])
def test_tile_compressed(tmp_path: Path, compression: str, suffix: str) -> None:
    data = pixels("u2")
    hdu = fits.CompImageHDU(data, compression_type=compression, tile_shape=(4, 23))
    hdu.header["EXPTIME"] = 30.0
    path = tmp_path / f"a{suffix}"
    hdu.writeto(path)
    source = io.open_frame(path)
    assert source.info.exposure == 30
    assert source.info.dtype == np.uint16
    np.testing.assert_array_equal(by_bands(source, 6), data)


def test_first_image_of_several_extensions_with_the_primary_header(tmp_path: Path) -> None:
    first, second = pixels("i2"), pixels("i2") + 1
    primary = fits.PrimaryHDU()
    primary.header["FILTER"] = "V"
    primary.header["EXPTIME"] = 1.0
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(1000))])
    image = fits.ImageHDU(first)
    image.header["EXPTIME"] = 2.0
    path = tmp_path / "mef.fits.gz"
    fits.HDUList([primary, table, image, fits.ImageHDU(second)]).writeto(path)
    source = io.open_frame(path)
    np.testing.assert_array_equal(by_bands(source, 11), first)
    assert (source.info.filter, source.info.exposure) == ("V", 2.0)


def test_plane_of_depth_one(tmp_path: Path) -> None:
    data = pixels("f4")
    np.testing.assert_array_equal(by_bands(io.open_frame(write(tmp_path / "a.fits", data[None])), 40), data)


def test_active_area_and_sensor_place(tmp_path: Path) -> None:
    data = pixels("u2", height=20, width=30)
    cards = {"TRIMSEC": "[4:28,3:19]", "XORGSUBF": 100, "YORGSUBF": 51, "BAYERPAT": "RGGB"}
    source = io.open_frame(write(tmp_path / "a.fits", data, **cards))
    info = source.info
    assert (info.shape, info.full_shape, info.active) == ((17, 25), (20, 30), (2, 19, 3, 28))
    assert info.origin == (53, 103)
    assert info.cfa == "GBRG"  # red on the file's first pixel, which is sensor row 51, column 100
    np.testing.assert_array_equal(by_bands(source, 3, area="active"), data[2:19, 3:28])
    np.testing.assert_array_equal(by_bands(source, 3), data)
    with pytest.raises(IndexError, match="rows 10:18 asked of a frame with 17 rows"):
        source.read(10, 18)


def test_info_says_the_same_as_the_open_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fit", pixels(), IMAGETYP="Dark Frame", CCD_TEMP=-10.0)
    info = io.read_info(path)
    assert repr(info) == repr(io.open_frame(path).info)  # NaN is not equal to itself
    assert (info.kind, info.kind_reason) == ("dark", "IMAGETYP = 'Dark Frame'")
    assert info.header["CCD-TEMP"] == -10.0


def open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def test_no_file_stays_open_and_sources_travel(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits.gz", pixels())
    before = open_files()
    sources = [io.open_frame(path) for _ in range(50)]
    for source in sources:
        source.read(0, 5)
    assert open_files() == before
    again = pickle.loads(pickle.dumps(sources[0]))
    np.testing.assert_array_equal(again.read(5, 10), sources[0].read(5, 10))


def test_gzip_in_order_is_one_pass_and_going_back_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pixels("u2", height=300, width=100)
    source = io.open_frame(write(tmp_path / "a.fits.gz", data))
    opened = []

    class Counted(inflate.InflateStream):
        def __init__(self, path: Path) -> None:
            opened.append(path)
            super().__init__(path)

    monkeypatch.setattr(reader, "InflateStream", Counted)
    np.testing.assert_array_equal(by_bands(source, 7), data)
    assert len(opened) == 1
    np.testing.assert_array_equal(source.read(20, 30), data[20:30])
    np.testing.assert_array_equal(source.read(10, 30), data[10:30])
    assert len(opened) == 3


def test_streams_beyond_the_pool_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pixels("u2", height=60)
    pool = inflate.StreamPool()
    pool.limit = 2
    monkeypatch.setattr(reader, "_pool", pool)
    sources = [io.open_frame(write(tmp_path / f"{i}.fits.gz", data + i)) for i in range(4)]
    for y in range(0, 60, 20):
        for i, source in enumerate(sources):
            np.testing.assert_array_equal(source.read(y, y + 20), data[y : y + 20] + i)
        assert len(pool._streams) <= 2
    del source
    sources.clear()
    assert not pool._streams


@pytest.mark.parametrize("suffix", [".fits", ".fits.gz", ".fits.fz"])
def test_many_threads_read_one_frame(tmp_path: Path, suffix: str) -> None:
    data = pixels("u2", height=200, width=50)
    path = tmp_path / f"a{suffix}"
    (fits.CompImageHDU(data) if suffix.endswith("fz") else fits.PrimaryHDU(data)).writeto(path)
    source = io.open_frame(path)
    wrong = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(20):
            y0, y1 = sorted(random.integers(0, 201, 2))
            if not np.array_equal(source.read(y0, y1), data[y0:y1]):
                wrong.append((y0, y1))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_gzip_of_two_members_and_padding(tmp_path: Path) -> None:
    data = pixels("u2")
    plain = write(tmp_path / "a.fits", data).read_bytes()
    path = tmp_path / "b.fits.gz"
    path.write_bytes(gzip.compress(plain[:3000]) + gzip.compress(plain[3000:]) + bytes(100))
    np.testing.assert_array_equal(by_bands(io.open_frame(path), 4), data)


@pytest.mark.parametrize("keep", [0.999, 0.6, 0.3])
def test_cut_off_plain_file(tmp_path: Path, keep: float) -> None:
    path = write(tmp_path / "cut.fits", pixels("f8", height=100, width=100))
    whole = path.read_bytes()
    end = 2880 + 80000
    path.write_bytes(whole[: int(end * keep)])
    for use in (io.read_info, io.open_frame):
        with pytest.raises(FrameFileError, match=r"cut\.fits: .*cut off.* 82880 bytes, and there are \d+"):
            use(path)


@pytest.mark.parametrize("keep", [0.999, 0.6, 0.1])
def test_cut_off_gzip_file_is_known_from_its_header(tmp_path: Path, keep: float) -> None:
    path = write(tmp_path / "cut.fits.gz", pixels("f8", height=100, width=100))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(FrameFileError, match=r"cut\.fits\.gz: the gzip file is cut off"):
        io.read_info(path)


def test_gzip_of_a_cut_off_file(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.fits", pixels("f8", height=100, width=100)).read_bytes()
    path = tmp_path / "cut.fits.gz"
    path.write_bytes(gzip.compress(plain[:50000]))
    with pytest.raises(FrameFileError, match="82880 bytes, and there are 50000"):
        io.read_info(path)


def test_damaged_gzip_data_are_noticed_by_their_checksum(tmp_path: Path) -> None:
    data = pixels("u2", height=100, width=100)
    plain = write(tmp_path / "a.fits", data).read_bytes()
    packed = bytearray(gzip.compress(plain, compresslevel=0))
    packed[9000] ^= 1
    path = tmp_path / "bad.fits.gz"
    path.write_bytes(packed)
    source = io.open_frame(path)
    with pytest.raises(FrameFileError, match=r"bad\.fits\.gz: the gzip data are damaged"):
        by_bands(source, 10)


@pytest.mark.parametrize("keep", [0.95, 0.5])
def test_cut_off_compressed_image(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "cut.fits.fz"
    fits.CompImageHDU(pixels("u2", height=300, width=300)).writeto(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(FrameFileError, match=r"cut\.fits\.fz: .*cut off"):
        io.open_frame(path)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_header_that_promises_a_trillion_pixels(tmp_path: Path, suffix: str) -> None:
    header = raw_header(
        "SIMPLE  = T", "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 1000000", "NAXIS2  = 1000000"
    )
    path = tmp_path / f"huge.fits{suffix}"
    path.write_bytes(gzip.compress(header + bytes(10000)) if suffix else header + bytes(10000))
    tracemalloc.start()
    with pytest.raises(FrameFileError, match="1000000 × 1000000"):
        io.open_frame(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


@pytest.mark.parametrize(
    ("cards", "cause"),
    [
        (("BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = -5", "NAXIS2  = 5"), "NAXIS1 = -5"),
        (("BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 5"), "NAXIS2 = None"),
        (("BITPIX  = 16", "NAXIS   = 'two'"), "NAXIS = 'two'"),
        (("BITPIX  = 17", "NAXIS   = 2", "NAXIS1  = 5", "NAXIS2  = 5"), "BITPIX = 17"),
        (("BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 9999999", "NAXIS2  = 1"), "more than any sensor"),
        (("BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 5", "NAXIS2  = 5", "BSCALE  = 0"), "BSCALE = 0"),
        (("BITPIX  = 16", "NAXIS   = 0"), "without an image"),
        (("BITPIX  = 16", "NAXIS   = 1", "NAXIS1  = 5"), "the axes 5,"),
        (("BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 0", "NAXIS2  = 5", "PCOUNT  = 'x'"), "PCOUNT"),
    ],
)
def test_headers_that_make_no_sense(tmp_path: Path, cards: tuple[str, ...], cause: str) -> None:
    path = tmp_path / "odd.fits"
    path.write_bytes(raw_header("SIMPLE  = T", *cards) + bytes(2880))
    with pytest.raises(FrameFileError, match=rf"odd\.fits: .*{cause}"):
        io.open_frame(path)


def test_header_without_end(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(raw_header("SIMPLE  = T")[:160].replace(b"END", b"   "))
    with pytest.raises(FrameFileError, match="the FITS header has no END"):
        io.open_frame(path)


@pytest.mark.parametrize(
    ("planes", "why"), [(3, "in colour already"), (5, "one plane per file")], ids=["colour", "cube"]
)
def test_more_than_one_plane_is_refused(tmp_path: Path, planes: int, why: str) -> None:
    path = write(tmp_path / "cube.fits", np.zeros((planes, 4, 5), "i2"))
    with pytest.raises(FrameFileError, match=rf"cube\.fits: .*5 × 4 × {planes}.*{why}"):
        io.open_frame(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_frame_without_any_number_is_refused(tmp_path: Path, value: float) -> None:
    path = write(tmp_path / "nan.fits", np.full((300, 4), value, "f4"))
    with pytest.raises(FrameFileError, match=r"nan\.fits: no pixel holds a number"):
        io.open_frame(path).read(0, 1)


def test_single_numbers_are_enough(tmp_path: Path) -> None:
    data = np.full((600, 4), np.nan, "f4")
    data[599, 3] = 1
    got = io.open_frame(write(tmp_path / "a.fits.gz", data)).read(0, 600)
    np.testing.assert_array_equal(got, data)


def test_file_that_shrinks_after_it_was_opened(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", pixels())
    source = io.open_frame(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(FrameFileError, match="cut off"):
        source.read(0, 37)
    path.unlink()
    with pytest.raises(FrameFileError, match="cannot be read any more"):
        source.read(0, 37)


def test_gzip_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.fits.gz"
    path.write_bytes(gzip.compress(b"hello " * 1000))
    with pytest.raises(FrameFileError, match="there is no FITS file in it"):
        io.open_frame(path)


@pytest.mark.parametrize(
    "cards", [{"GCOUNT": 2**63}, {"PCOUNT": -(10**9)}, {"NAXIS1": 10**10, "NAXIS2": 10**10}]
)
def test_an_extension_that_promises_more_than_any_file_has(tmp_path: Path, cards: dict[str, int]) -> None:
    path = tmp_path / "table.fits"
    table = fits.BinTableHDU.from_columns([fits.Column("A", "J", array=np.arange(3))])
    fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(pixels("u2"))]).writeto(path)
    data = path.read_bytes()
    for name, value in cards.items():
        place = data.index(f"{name:8}=".encode(), 2880)
        data = data[:place] + f"{name:8}= {value:>20}".ljust(80).encode() + data[place + 80 :]
    path.write_bytes(data)
    with pytest.raises(FrameFileError, match=r"table\.fits: the FITS header promises -?\d+ bytes"):
        io.open_frame(path)

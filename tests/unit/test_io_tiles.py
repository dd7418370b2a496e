"""Compressed images that end early or hold something else are refused before anything decompresses them."""

from __future__ import annotations

import gzip
import threading
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits.hdu.compressed import _compression

from calibkit import io
from calibkit.errors import FrameFileError
from calibkit.io import tiles
from calibkit.io.tiles import _FORMS, check_tiles, decompressing
from calibkit.kernels.hcompress import hcompress_is_whole
from calibkit.kernels.plio import plio_is_whole
from calibkit.kernels.rice import rice_is_whole

BLOCK = 32


def numbers(size: int, spread: str, count: int = 1000) -> np.ndarray:
    rng = np.random.default_rng(7)
    limits = np.iinfo(f"i{size}")
    made = {
        "flat": np.full(count, 5),
        "quiet": rng.normal(20, 3, count),
        "loud": rng.integers(limits.min, limits.max, count),
        "steps": np.repeat(rng.integers(0, 100, count // 50), 50),
    }[spread]
    return made.astype(f"i{size}")


def whole(data: bytes, size: int, count: int = 1000) -> bool:
    bits, raw = _FORMS[size]
    return rice_is_whole(np.frombuffer(data, np.uint8), count, BLOCK, 8 * size, bits, raw)


def decompresses(data: bytes, size: int, count: int = 1000) -> bool:
    """Whether the decompressor finds all numbers in *data*; only for what is known to be whole."""
    try:
        _compression.decompress_rice_1_c(data, BLOCK, size, count)
    except _compression.CfitsioException as error:
        return "unused bytes" in str(error)
    return True


def bits_needed(data: bytes, size: int, count: int = 1000) -> int:
    """The same from a text of zeros and ones, with ones behind it: as the standard says it, and slow."""
    bits = "".join(f"{byte:08b}" for byte in data) + "1" * 40 * count
    lead, raw = _FORMS[size]
    at = 8 * size
    for first in range(0, count, BLOCK):
        low = int(bits[at : at + lead], 2) - 1
        at += lead
        for _ in range(min(BLOCK, count - first) if low >= 0 else 0):
            at = at + 8 * size if low == raw else bits.index("1", at) + 1 + low
    return at


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("spread", ["flat", "quiet", "loud", "steps"])
def test_whole_and_cut_off_numbers(size: int, spread: str) -> None:
    data = _compression.compress_rice_1_c(numbers(size, spread).tobytes(), BLOCK, size)
    assert decompresses(data, size)
    assert whole(data, size)
    for left in range(len(data)):
        assert not whole(data[:left], size)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_damaged_numbers_end_where_the_standard_says(size: int) -> None:
    rng = np.random.default_rng(8)
    data = _compression.compress_rice_1_c(numbers(size, "quiet").tobytes(), BLOCK, size)
    told = []
    for _ in range(100):
        spoilt = bytearray(data)
        for place in rng.integers(0, len(spoilt), 2):
            spoilt[place] = rng.integers(0, 256)
        told.append(whole(bytes(spoilt), size))
        assert told[-1] == (bits_needed(bytes(spoilt), size) <= 8 * len(spoilt))
        assert not told[-1] or decompresses(bytes(spoilt), size)
    assert any(told)
    assert not all(told)


def test_zeros_at_the_end_do_not_lead_out_of_the_file(tmp_path: Path) -> None:
    """What astropy's decompressor would follow into memory that is not its own."""
    path = tmp_path / "cut.fits.fz"
    values = np.random.default_rng(9).normal(1000, 20, (24, 36)).astype("u2")
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(values)]).writeto(path)
    np.testing.assert_array_equal(io.open_frame(path).read(0, 24), values)
    with fits.open(path, disable_image_compression=True) as hdus:
        heap = len(hdus[1].data) * hdus[1].header["NAXIS1"]
    data = bytearray(path.read_bytes())
    begin = data.index(b"END" + b" " * 77, 2880) // 2880 * 2880 + 2880 + heap
    data[begin + 20 :] = bytes(len(data) - begin - 20)
    path.write_bytes(data)
    with pytest.raises(FrameFileError, match=r"cut\.fits\.fz: .*tile 1 ends early"):
        io.open_frame(path).read(0, 24)


@pytest.mark.parametrize(("name", "value"), [("BLOCKSIZE", 0), ("BYTEPIX", 3), ("BLOCKSIZE", "x")])
def test_settings_that_no_compressor_has(tmp_path: Path, name: str, value: object) -> None:
    path = tmp_path / "odd.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(np.arange(600, dtype="i2").reshape(20, 30))]).writeto(
        path
    )
    with fits.open(path, mode="update", disable_image_compression=True) as hdus:
        header = hdus[1].header
        (card,) = (key for key in header["ZNAME*"] if header[key] == name)
        header[card.replace("NAME", "VAL")] = value
    with pytest.raises(FrameFileError, match=r"odd\.fits\.fz: the compressed image is damaged"):
        io.open_frame(path).read(0, 20)


def image(shape: tuple[int, int], spread: str) -> np.ndarray:
    rng = np.random.default_rng(10)
    made = {
        "zero": np.zeros(shape),
        "one": np.eye(*shape) * 5000,
        "quiet": rng.normal(1000, 30, shape),
        "huge": rng.integers(-(2**31), 2**31, shape),
    }[spread]
    return made.astype("i8")


@pytest.mark.parametrize("shape", [(4, 5), (7, 9), (16, 36), (33, 64)])
@pytest.mark.parametrize("spread", ["zero", "one", "quiet", "huge"])
@pytest.mark.parametrize("scale", [0, 4])
def test_whole_and_cut_off_hcompress(shape: tuple[int, int], spread: str, scale: int) -> None:
    values = image(shape, spread)
    made = _compression.compress_hcompress_1_c(values.tobytes(), *shape, scale, 8)
    data = np.frombuffer(made, np.uint8)
    assert hcompress_is_whole(data, *shape)
    assert not hcompress_is_whole(data, *shape[::-1])
    assert not any(hcompress_is_whole(data[:left], *shape) for left in range(data.size))
    if not scale:
        found = _compression.decompress_hcompress_1_c(made, *shape, 0, 0, 8)
        np.testing.assert_array_equal(np.frombuffer(found, "i4").reshape(shape), values)


def test_damaged_hcompress_uses_what_is_there_and_no_more() -> None:
    """Whatever lies behind what is held to be whole changes nothing, and behind the rest it does."""
    shape = (17, 22)
    made = _compression.compress_hcompress_1_c(image(shape, "quiet").tobytes(), *shape, 0, 8)
    rng = np.random.default_rng(11)
    told = set()
    for _ in range(150):
        spoilt = bytearray(made)
        for place in rng.integers(22, len(spoilt), 2):
            spoilt[place] = rng.integers(0, 256)
        spoilt = spoilt[: len(spoilt) - rng.integers(0, 30) * rng.integers(0, 2)]
        found = []
        for behind in (b"\0", b"\xff", b"\xa5"):
            padded = bytes(spoilt) + behind * 64 * (64 + shape[0] * shape[1])
            try:
                found.append(_compression.decompress_hcompress_1_c(padded, *shape, 0, 0, 8))
            except _compression.CfitsioException:
                found.append(None)
        whole = hcompress_is_whole(np.frombuffer(bytes(spoilt), np.uint8), *shape)
        planes_fit = max(spoilt[22:25]) <= 63
        assert whole == (planes_fit and None not in found and len(set(found)) == 1)
        told.add(whole)
    assert told == {True, False}


@pytest.mark.parametrize("spread", ["flat", "zero", "mask", "steps"])
def test_whole_and_cut_off_plio(spread: str) -> None:
    rng = np.random.default_rng(12)
    values = {
        "flat": np.full(5000, 7),
        "zero": np.zeros(5000),
        "mask": rng.random(5000) < 0.02,
        "steps": np.repeat(rng.integers(0, 2**20, 100), 50),
    }[spread].astype("i4")
    made = np.frombuffer(_compression.compress_plio_1_c(values.tobytes(), 5000), "i2")
    assert plio_is_whole(made, 5000)
    assert not plio_is_whole(made, 5001)
    assert not any(plio_is_whole(made[:left], 5000) for left in range(made.size))
    found = _compression.decompress_plio_1_c(made.tobytes(), 5000)
    np.testing.assert_array_equal(np.frombuffer(found, "i4"), values)


@pytest.mark.parametrize("words", [[0, -5, -100, 8, 0, 0, 0, 20480], [0, 7, -100, 8, 0, 0, 0, 4097], [0, 7]])
def test_line_lists_that_lead_out_of_themselves(words: list[int]) -> None:
    assert not plio_is_whole(np.array(words, "i2"), 4096)


def compressed(path: Path, method: str, shape: tuple[int, int] = (24, 36)) -> np.ndarray:
    values = np.random.default_rng(13).integers(0, 4000, shape).astype("i2")
    kind = {"compression_type": method, "tile_shape": (8, shape[1])}
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(values, **kind)]).writeto(path)
    return values


@pytest.mark.parametrize("method", ["GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1"])
def test_tiles_that_were_zeroed(tmp_path: Path, method: str) -> None:
    path = tmp_path / "zeroed.fits.fz"
    values = compressed(path, method)
    np.testing.assert_array_equal(io.open_frame(path).read(0, 24), values)
    with fits.open(path, disable_image_compression=True) as hdus:
        begin = hdus[1].fileinfo()["datLoc"] + hdus[1].header["NAXIS1"] * hdus[1].header["NAXIS2"]
    data = bytearray(path.read_bytes())
    data[begin + 40 :] = bytes(len(data) - begin - 40)
    path.write_bytes(data)
    with pytest.raises(
        FrameFileError, match=r"zeroed\.fits\.fz: .*tile 1 ends early or holds something else"
    ):
        io.open_frame(path).read(0, 24)


def replaced_tile(path: Path, count: int, start: int, heap: bytes = b"") -> None:
    """Let the first tile lie elsewhere, or put *heap* behind the table."""
    with fits.open(path, disable_image_compression=True) as hdus:
        header, begin = hdus[1].header, hdus[1].fileinfo()["datLoc"]
        rows = header["NAXIS1"] * header["NAXIS2"]
        header["PCOUNT"] = max(header["PCOUNT"], len(heap))
        head = header.tostring().encode()
    data = bytearray(path.read_bytes())
    data[begin - len(head) : begin] = head
    data[begin : begin + 8] = np.array([count, start], ">i4").tobytes()
    if heap:
        data[begin + rows :] = heap + bytes(-(rows + len(heap)) % 2880)
    path.write_bytes(data)


@pytest.mark.parametrize("place", [(10**6, 0), (100, 10**7), (-5, 0), (10, -5)])
@pytest.mark.parametrize("method", ["RICE_1", "HCOMPRESS_1"])
def test_tiles_that_lie_outside_of_the_file(tmp_path: Path, method: str, place: tuple[int, int]) -> None:
    path = tmp_path / "outside.fits.fz"
    compressed(path, method)
    replaced_tile(path, *place)
    with pytest.raises(FrameFileError, match="its tiles lie outside of it"):
        io.open_frame(path).read(0, 24)


def test_a_gzipped_tile_that_holds_too_much_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.fits.fz"
    compressed(path, "GZIP_1")
    bomb = gzip.compress(bytes(50_000_000))
    replaced_tile(path, len(bomb), 0, bomb)
    with pytest.raises(FrameFileError, match="tile 1 ends early or holds something else"):
        io.open_frame(path).read(0, 24)


def test_a_tile_that_is_larger_than_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.fits.fz"
    compressed(path, "HCOMPRESS_1")
    monkeypatch.setattr(tiles, "memory_limit", lambda: 4000)
    with pytest.raises(FrameFileError, match="tiles of 288 pixels, too large for the memory"):
        io.open_frame(path).read(0, 24)


def test_hcompress_is_decompressed_by_one_thread_at_a_time(tmp_path: Path) -> None:
    """astropy's decompressor keeps its place in the file in memory that all threads share."""
    path = tmp_path / "frame.fits.fz"
    compressed(path, "HCOMPRESS_1")
    methods = check_tiles(path, 1)
    assert methods == {"HCOMPRESS_1"}
    reader = threading.Thread(target=lambda: io.open_frame(path).read(0, 24))
    with decompressing(methods):
        reader.start()
        reader.join(0.5)
        assert reader.is_alive()
    reader.join(30)
    assert not reader.is_alive()
    with decompressing(frozenset({"RICE_1"})), decompressing(frozenset({"RICE_1"})):
        pass

"""Rice-compressed images that end early are refused before anything decompresses them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits.hdu.compressed import _compression

from calibkit import io
from calibkit.errors import FrameFileError
from calibkit.io.tiles import _FORMS
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

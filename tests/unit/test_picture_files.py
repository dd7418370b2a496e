"""Pictures in files, read back by programs of others."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr
from PIL import Image

from calibkit import save_picture, stretch_picture
from calibkit.errors import OutputError, SettingError
from calibkit.io import picture_files


def picture(planes: int = 3, shape: tuple[int, int] = (37, 53), **attrs: object) -> xr.DataArray:
    values = np.random.default_rng(planes).random((planes, *shape)).astype(np.float32)
    values[:, 0, :2] = [0.0, 1.0]
    made = xr.DataArray(values, dims=("channel", "y", "x"), attrs={"roworder": "TOP-DOWN", **attrs})
    return made if planes == 3 else made.isel(channel=0)


def steps(shown: xr.DataArray, bits: int) -> np.ndarray:
    scaled = np.rint(shown.values.astype(np.float64) * (2**bits - 1)).astype(f"u{bits // 8}")
    return np.moveaxis(scaled, 0, -1) if shown.ndim == 3 else scaled


def read_png(path: Path, height: int, width: int, planes: int, bits: int) -> np.ndarray:
    """All the bits of a PNG; Pillow keeps eight of a colour. Checks every chunk's sum."""
    data, place, packed = path.read_bytes(), 8, b""
    while place < len(data):
        size, kind = struct.unpack(">L4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + size]
        assert struct.unpack(">L", data[place + 8 + size :][:4])[0] == zlib.crc32(kind + body)
        packed += body if kind == b"IDAT" else b""
        place += 12 + size
    lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, -1)
    assert (lines[:, 0] == 2).all()
    rows = np.cumsum(lines[:, 1:], axis=0, dtype=np.uint64).astype(np.uint8)
    found = np.ascontiguousarray(rows).view(f">u{bits // 8}").reshape(height, width, planes)
    return found[..., 0] if planes == 1 else found


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("bits", [8, 16])
def test_tiff(tmp_path: Path, planes: int, bits: int) -> None:
    shown = picture(planes)
    path = save_picture(shown, tmp_path / "a.tif", bits=bits)
    np.testing.assert_array_equal(tifffile.imread(path), steps(shown, bits))
    with Image.open(path) as opened:
        assert opened.size == (53, 37)
        found = np.asarray(opened)
    np.testing.assert_array_equal(found, steps(shown, bits) >> (8 if bits == 16 and planes == 3 else 0))


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("bits", [8, 16])
def test_png(tmp_path: Path, planes: int, bits: int) -> None:
    shown = picture(planes)
    path = save_picture(shown, tmp_path / "a.png", bits=bits)
    np.testing.assert_array_equal(read_png(path, 37, 53, planes, bits), steps(shown, bits))
    with Image.open(path) as opened:
        opened.load()
        assert opened.mode == {(1, 8): "L", (1, 16): "I;16", (3, 8): "RGB", (3, 16): "RGB"}[planes, bits]
        found = np.asarray(opened)
    np.testing.assert_array_equal(found, steps(shown, bits) >> (8 if bits == 16 and planes == 3 else 0))


@pytest.mark.parametrize("ending", ["tif", "png"])
def test_bands_strips_and_lazy_pictures(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = picture(3, (211, 301))
    whole = save_picture(shown, tmp_path / f"a.{ending}").read_bytes()
    monkeypatch.setattr("calibkit.memory.BAND_BYTES", 200_000)
    monkeypatch.setattr(picture_files, "_STRIP_BYTES", 9000)
    path = save_picture(shown.chunk({"y": 50}), tmp_path / f"b.{ending}")
    if ending == "png":
        np.testing.assert_array_equal(read_png(path, 211, 301, 3, 16), steps(shown, 16))
    else:
        np.testing.assert_array_equal(tifffile.imread(path), steps(shown, 16))
        assert path.read_bytes()[-1000:] == whole[-1000:]


def test_rows_that_run_upward_are_turned(tmp_path: Path) -> None:
    shown = picture(1, roworder="BOTTOM-UP")
    np.testing.assert_array_equal(
        tifffile.imread(save_picture(shown, tmp_path / "a.tif")), steps(shown, 16)[::-1]
    )


def test_the_scaling_goes_with_the_picture(tmp_path: Path) -> None:
    sky = np.random.default_rng(1).normal(500.0, 10.0, (60, 80))
    sky[:3] = np.nan
    shown = stretch_picture(sky)
    with Image.open(save_picture(shown, tmp_path / "a.png")) as opened:
        assert json.loads(opened.text["Description"])["scaling"]["L"] == shown.attrs["scaling"]["L"]
        assert (np.asarray(opened) == 0)[:3].all()  # no data is black
    with Image.open(save_picture(shown, tmp_path / "a.tif")) as opened:
        assert json.loads(opened.tag_v2[270])["curve"] == "mtf"


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"\.tif, \.tiff or \.png"):
        save_picture(picture(), tmp_path / "a.jpg")
    with pytest.raises(SettingError, match="bits=12"):
        save_picture(picture(), tmp_path / "a.png", bits=12)
    with pytest.raises(SettingError, match="stretch_picture first"):
        save_picture(picture() * 900, tmp_path / "a.png")
    with pytest.raises(SettingError, match="three channels"):
        save_picture(picture().isel(channel=[0, 1]), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
    path = save_picture(picture(), tmp_path / "a.png")
    with pytest.raises(OutputError, match="exists already"):
        save_picture(picture(), path)
    save_picture(picture(1), path, overwrite=True)
    huge = picture_files.PictureLayout(60_000, 60_000, 3, 16)
    with pytest.raises(SettingError, match="4 GB"):
        picture_files.write_tiff(tmp_path / "b.tif", huge, [], False)

"""Grey TIFF and PNG, and what is refused by its first bytes."""

from __future__ import annotations

import gzip
import io as bytes_io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from calibkit import io
from calibkit.errors import FrameFileError
from calibkit.io.detect import looks_like_frame


def values(dtype: str, shape: tuple[int, int] = (33, 21)) -> np.ndarray:
    top = np.iinfo(dtype).max if np.dtype(dtype).kind != "f" else 1e6
    return (np.random.default_rng(2).random(shape) * top).astype(dtype)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("a.png", "u1"), ("a.png", "u2"), ("a.tif", "u1"), ("a.tif", "u2"), ("a.tif", "i4"), ("a.tiff", "f4")],
)
def test_grey_pictures_exactly(tmp_path: Path, name: str, dtype: str) -> None:
    path, data = tmp_path / name, values(dtype)
    Image.fromarray(data).save(path)
    source = io.open_frame(path)
    assert (source.info.dtype, source.info.shape) == (np.dtype(dtype), data.shape)
    got = np.concatenate([source.read(0, 10), source.read(10, 33)])
    np.testing.assert_array_equal(got, data)
    assert source.info.cfa == ""


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_of_either_byte_order(tmp_path: Path, order: str) -> None:
    data = values("u2")
    height, width = data.shape
    tags = [
        (256, 3, width),
        (257, 3, height),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 200),
        (277, 3, 1),
    ]
    tags += [(278, 3, height), (279, 4, data.nbytes)]
    table = struct.pack(order + "H", len(tags))
    for tag, kind, value in tags:
        packed = struct.pack(order + "H2x" if kind == 3 else order + "I", value)
        table += struct.pack(order + "HHI", tag, kind, 1) + packed
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8) + table
    path = tmp_path / "a.tif"
    path.write_bytes(head.ljust(200, b"\0") + data.astype(order + "u2").tobytes())
    np.testing.assert_array_equal(io.open_frame(path).read(0, height), data)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(FrameFileError, match=r"a\.tif: the picture is damaged or cut off"):
        io.open_frame(path).read(0, 1)


def test_exposure_and_camera_from_exif(tmp_path: Path) -> None:
    picture = Image.fromarray(values("u2"))
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[272] = "Model 5"
    tags[0x8769] = {33434: 30.0, 34855: 400, 36867: "2024:05:06 07:08:09"}
    picture.save(tmp_path / "a.tif", tiffinfo=tags)
    info = io.read_info(tmp_path / "a.tif")
    assert (info.camera, info.exposure, info.gain_setting) == ("Model 5", 30.0, 400.0)
    assert info.time == np.datetime64("2024-05-06T07:08:09")


@pytest.mark.parametrize("mode", ["RGB", "P", "LA", "RGBA", "1"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_colour_is_refused_with_the_reason(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.new(mode, (20, 20)).save(path)
    with pytest.raises(FrameFileError, match="a converted picture cannot be calibrated"):
        io.read_info(path)


def test_several_pages_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(values("u2")) for _ in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(FrameFileError, match="it holds 3 pictures"):
        io.read_info(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_cut_off_pictures(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(values("u2", (100, 100))).save(path)
    whole = path.read_bytes()
    for keep in (10, 60, len(whole) // 2, len(whole) - 500):
        path.write_bytes(whole[:keep])
        with pytest.raises(FrameFileError, match=rf"a\{suffix}: "):
            io.open_frame(path).read(0, 1)


def test_picture_that_promises_more_than_it_can_hold(tmp_path: Path) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 1_000_000, 1_000_000, 16, 0, 0, 0, 0)
    path = tmp_path / "a.png"
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    with pytest.raises(FrameFileError, match="more than the file can hold"):
        io.read_info(path)


def jpeg() -> bytes:
    stream = bytes_io.BytesIO()
    Image.new("RGB", (20, 20)).save(stream, "jpeg")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("a.fit", b"", "the file is empty"),
        ("a.fits", b"Not a FITS file at all, only text\n", "it begins with 'Not a FITS file"),
        ("a.fits", bytes(5000), "its contents are not known"),
        ("a.RAF", jpeg(), "a JPEG picture, whatever its name"),
        ("a.cr2", jpeg(), "a JPEG picture"),
        ("a.fit", b"BZh91AY&SY", "compressed with bzip2"),
        ("a.xisf", b"XISF0100" + bytes(100), "XISF file.*save it as FITS"),
        ("a.zip", b"PK\x03\x04" + bytes(100), "a zip archive"),
        ("a.fit", gzip.compress(b""), "without an image"),
        ("a.cr2", b"II*\0\x10\0\0\0CR\x02\0", "cut off or damaged"),
        ("a.tif", b"II*\0", "ends within its header"),
        ("a.nef", b"MM\0*\0\0\0\x08\xff\xff", "goes beyond the end"),
        ("a.raf", b"FUJIFILMCCD-RAW 0201", "ends within its header"),
        ("a.x3f", b"FOVb" + bytes(100), "table of contents"),
        ("a.crw", b"II\x1a\0\0\0HEAPCCDR\x02\0" + bytes(20), "table of contents"),
        ("a.cr3", b"\0\0\0\x18ftypcrx \0\0\0\1" + bytes(8) + b"\0\1\0\0moov", "should end at byte 65560"),
        ("a.rw2", b"IIU\0\x18\0\0\0" + bytes(10), "directory should begin at byte 24 of 18"),
        ("a.raw", b"anything", "LibRaw"),
    ],
)
def test_what_is_not_a_frame_says_what_it_is(tmp_path: Path, name: str, content: bytes, cause: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for use in (io.read_info, io.open_frame):
        with pytest.raises(FrameFileError, match=f"{name}: .*({cause})"):
            use(path)


def test_folder_missing_and_forbidden_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FrameFileError, match="it is a folder"):
        io.read_info(tmp_path)
    with pytest.raises(FrameFileError, match="there is no such file"):
        io.read_info(tmp_path / "none.fit")

    (tmp_path / "a.fit").write_bytes(b"SIMPLE")

    def forbid(*_args: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbid)  # permissions do not stop a test that runs as root
    with pytest.raises(FrameFileError, match=r"a\.fit: there is no permission to read it"):
        io.read_info(tmp_path / "a.fit")


def test_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    os.mkfifo(tmp_path / "a.fit")
    with pytest.raises(FrameFileError, match="it is a pipe"):
        io.read_info(tmp_path / "a.fit")


def test_names_of_frames() -> None:
    frames = ("a.fit", "a.FITS", "a.fits.gz", "a.fits.fz", "x.y.CR2", "b.dng", "c.tiff")
    assert all(looks_like_frame(Path(name)) for name in frames)
    assert not any(looks_like_frame(Path(name)) for name in ("a.jpg", "a.tar.gz", "fits", "a.txt", ".fit"))

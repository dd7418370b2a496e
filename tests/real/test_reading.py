"""Frames that others took: headers, patterns, levels, and files that LibRaw opens but nobody should use."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import calibkit
from calibkit import io
from calibkit.errors import FrameFileError
from calibkit.io.cards import parse_header

Folder = Callable[[str], Path]

#: name → pattern at the sensor's first pixel, full size, margins above and to the left, black, white
RAW = {
    "sony_a7r3_rggb.ARW": ("RGGB", (3464, 5216), (0, 0), 512, 16383),
    "canon_d30_rggb.CRW": ("RGGB", (1456, 2224), (6, 48), 128, 4095),
    "canon_550d_margins_rggb.dng": ("RGGB", (1182, 1888), (26, 152), 2056, 15000),
    "blackmagic_gbrg.dng": ("GBRG", (1112, 1952), (0, 0), 256, 51080),
    "canon_g1_gmcy.CRW": ("GMYC", (1560, 2144), (8, 4), 31, 1023),
    "kodak_dc50_é_grbg.KDC": ("GRBG", (512, 768), (0, 0), 0, 16383),
}


@pytest.mark.parametrize("name", RAW)
def test_camera_raw(shared_data: Folder, name: str) -> None:
    pattern, shape, margins, black, white = RAW[name]
    stack = calibkit.open_stack([shared_data("raw") / name])
    assert stack.attrs["cfa"] == pattern
    assert stack.attrs["saturation"] == white
    assert (int(stack.y[0]), int(stack.x[0])) == margins
    assert io.read_info(shared_data("raw") / name).full_shape == shape
    assert set(stack.attrs["black"]) == set(calibkit.Pattern(pattern).channels)
    assert max(abs(level - black) for level in stack.attrs["black"].values()) <= 1


def test_camera_raw_pixels_are_those_of_libraw(shared_data: Folder) -> None:
    import rawpy

    path = shared_data("raw") / "canon_550d_margins_rggb.dng"
    active, full = calibkit.open_stack([path]), calibkit.open_stack([path], area="full")
    with rawpy.imread(str(path)) as raw:
        np.testing.assert_array_equal(full[0], raw.raw_image)
        np.testing.assert_array_equal(active[0], raw.raw_image_visible)
        colours = raw.raw_colors
        letters = raw.color_desc.decode()
    known = calibkit.Pattern(active.attrs["cfa"])
    for y, x in ((0, 0), (0, 1), (1, 0), (27, 153), (1181, 1887)):
        assert known.label(y, x)[0] == letters[colours[y, x]]


def test_masked_margins_hold_the_black_level(shared_data: Folder) -> None:
    """The black level of the file against the shielded columns left of the image."""
    path = shared_data("raw") / "canon_550d_margins_rggb.dng"
    full = calibkit.open_stack([path], area="full")[0].compute()
    shielded = full.isel(x=slice(0, 150), y=slice(30, None)).values
    black = calibkit.open_stack([path]).attrs["black"]["R"]
    assert np.median(shielded) == pytest.approx(black, abs=10)  # 2049: the file says 7 more than it shows
    assert np.median(full.isel(x=slice(152, 300), y=slice(30, None))) > black + 100


def test_dslr_exif(shared_data: Folder) -> None:
    info = io.read_info(shared_data("raw") / "sony_a7r3_rggb.ARW")
    assert info.camera == "Sony ILCE-7RM3"
    assert info.gain_setting == 3200
    assert info.exposure == pytest.approx(1 / 640)
    assert info.time == np.datetime64("2018-07-11T01:18:47")
    unknown = io.read_info(shared_data("raw") / "blackmagic_gbrg.dng")
    assert np.isnan(unknown.exposure)
    assert np.isnan(unknown.gain_setting)
    assert np.isnat(unknown.time)


def test_imx296(shared_data: Folder) -> None:
    stack = calibkit.open_stack(sorted(shared_data("imx296").glob("level77*.dng")))
    assert stack.shape == (10, 1088, 1456)
    assert stack.attrs["cfa"] == "BGGR"
    assert stack.attrs["black"] == {"R": 60, "G1": 60, "G2": 60, "B": 60}
    assert stack.attrs["saturation"] == 1023


ROBUST = {
    "CanonRaw.cr2": "cut off or damaged",
    "CanonRaw.cr3": "cut off or damaged",
    "DNG.dng": "1 of the 140 parts",
    "FujiFilm.raf": "22 bytes of raw data",
    "Nikon.nef": "18 bytes of raw data",
    "Panasonic.rw2": "should end at byte 20524114, and the file has 12344",
    "jpeg_named.RAF": "a JPEG picture",
}


@pytest.mark.parametrize("name", ROBUST)
def test_broken_raw_is_refused_the_same_way_every_time(shared_data: Folder, name: str) -> None:
    path = shared_data("robust") / name
    said = set()
    for use in (io.read_info, io.open_frame, lambda p: calibkit.open_stack([p])) * 2:
        with pytest.raises(FrameFileError, match=ROBUST[name]) as caught:
            use(path)
        said.add(str(caught.value))
    assert len(said) == 1
    assert str(path) in said.pop()


def test_every_broken_file_is_in_the_table(shared_data: Folder) -> None:
    assert {path.name for path in shared_data("robust").iterdir()} == set(ROBUST)


@pytest.mark.parametrize("name", RAW)
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.97])
def test_camera_raw_cut_off_anywhere_is_refused(
    shared_data: Folder, tmp_path: Path, name: str, keep: float
) -> None:
    path = tmp_path / name
    content = (shared_data("raw") / name).read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(FrameFileError, match="cut off"):
        io.read_info(path)


def test_a_damaged_stretch_inside_a_raw_file(shared_data: Folder, tmp_path: Path) -> None:
    """The container is whole and the coded pixels are not: what LibRaw only prints."""
    path = tmp_path / "damaged.dng"
    shutil.copyfile(shared_data("raw") / "blackmagic_gbrg.dng", path)
    with path.open("r+b") as file:
        file.seek(500_000)
        file.write(b"\xff" * 200_000)
    with pytest.raises(FrameFileError, match=r"damaged\.dng"):
        io.open_frame(path).read(0, 1)


FITS_FOLDERS = ("feder", "stl1001e", "seestar", "panoptes", "msdp", "msfc", "ccd_workshop")


@pytest.mark.parametrize("name", FITS_FOLDERS)
def test_fits_pixels_as_astropy_reads_them(shared_data: Folder, name: str) -> None:
    paths = sorted(path for path in shared_data(name).rglob("*") if path.is_file())
    for path in paths[:: max(1, len(paths) // 6)]:
        source = io.open_frame(path)
        height = source.info.full_shape[0]
        got = np.concatenate(
            [source.read(y, min(y + 301, height), area="full") for y in range(0, height, 301)]
        )
        expected = fits.getdata(path)
        assert got.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", FITS_FOLDERS)
def test_fits_headers_as_astropy_reads_them(shared_data: Folder, name: str) -> None:
    paths = sorted(path for path in shared_data(name).rglob("*") if path.is_file())
    for path in paths[:: max(1, len(paths) // 6)]:
        with fits.open(path) as hdus:
            expected = hdus[0].header
            ours = parse_header(expected.tostring().encode("latin-1"))
        told = {keyword for keyword in expected if keyword not in ("COMMENT", "HISTORY", "")}
        for keyword in told:
            value = expected[keyword]
            value = None if isinstance(value, fits.card.Undefined) else value
            assert ours[keyword] == (value.rstrip() if isinstance(value, str) else value), (
                path.name,
                keyword,
            )


def test_feder_session(shared_data: Folder) -> None:
    infos = [io.read_info(path) for path in sorted(shared_data("feder").iterdir())]
    kinds = [info.kind for info in infos]
    assert {kind: kinds.count(kind) for kind in sorted(set(kinds))} == {
        "bias": 10,
        "dark": 50,
        "flat": 50,
        "light": 40,
    }
    assert {info.shape for info in infos} == {(1024, 1536)}
    assert {info.full_shape for info in infos} == {(1024, 1542)}
    assert {info.filter for info in infos if info.kind == "light"} == {"B", "V", "R", "I"}
    assert {info.exposure for info in infos if info.kind == "dark"} == {5, 15, 30, 60, 120}
    assert all(-25 < info.temperature < -15 for info in infos)


def test_stl1001e(shared_data: Folder) -> None:
    folder = shared_data("stl1001e")
    stack = calibkit.open_stack(str(folder / "neg5" / "biases*"))
    assert stack.shape == (10, 1024, 1024)
    assert set(stack.gain.values) == {2.06}
    assert stack.attrs["camera"] == "SBIG STL-1001 3 CCD Camera"
    assert set(stack.kind.values) == {"bias"}
    temperatures = {
        name: [io.read_info(path).temperature for path in (folder / name).iterdir()]
        for name in ("neg10", "neg5", "zero", "plus10")
    }
    for expected, values in zip((-10, -5, 0, 10), temperatures.values(), strict=True):
        np.testing.assert_allclose(values, expected, atol=0.8)


def test_seestar_greens_agree(shared_data: Folder) -> None:
    """GRBG without ROWORDER: the two greens lie at (0, 0) and (1, 1) of the file."""
    stack = calibkit.open_stack(sorted(shared_data("seestar").glob("*.fit*")))
    assert stack.shape == (9, 1920, 1080)
    assert stack.attrs["cfa"] == "GRBG"
    assert set(stack.gain_setting.values) == {80}
    frame = stack[0].compute().values.astype(float)
    level = {(y, x): np.median(frame[y::2, x::2]) for y in (0, 1) for x in (0, 1)}
    assert level[0, 0] == pytest.approx(level[1, 1], rel=0.01)
    known = calibkit.Pattern(stack.attrs["cfa"])
    assert {known.label(0, 0), known.label(1, 1)} == {"G1", "G2"}


def test_panoptes(shared_data: Folder) -> None:
    folder = shared_data("panoptes")
    for name in ("unsolved.fits", "solved.fits.fz"):
        info = io.read_info(folder / name)
        assert (info.cfa, info.filter, info.gain_setting, info.exposure) == ("RGGB", "", 100, 120.4)
        assert info.shape == (700, 700)
    assert io.read_info(folder / "unsolved.fits").temperature == 11
    bare = io.read_info(folder / "noheader.fits")
    assert (bare.kind, bare.cfa, bare.camera, bare.dtype) == ("", "", "", np.uint16)


def test_frames_that_say_nothing_of_themselves(shared_data: Folder) -> None:
    stack = calibkit.open_stack(sorted(shared_data("msdp").glob("*_x1.fit.gz")), kind="dark")
    assert stack.dtype == np.int16
    assert set(stack.kind.values) == {"dark"}
    assert np.isnan(stack.exposure.values).all()
    msfc = calibkit.open_stack(sorted(shared_data("msfc").iterdir()))
    assert msfc.shape[1:] == (1040, 2152)
    assert np.isnan(msfc.exposure.values).all()  # IMG_EXP is this instrument's own, in milliseconds
    assert np.median(msfc[0, :520, 5:45].values) == pytest.approx(3559, abs=5)


def test_masters_are_told_from_frames(shared_data: Folder) -> None:
    folder = shared_data("ccd_workshop")
    assert io.read_info(folder / "combined_bias.fit.gz").master
    raw = io.read_info(folder / "kelt-16-b-S001-R001-C084-r.fit.gz")
    assert not raw.master
    assert raw.shape == (200, 200)  # its TRIMSEC is that of the whole chip

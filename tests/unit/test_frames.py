"""Frames as one labelled stack."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr
from astropy.io import fits

import calibkit
from calibkit import frames
from calibkit.errors import FrameFileError, MismatchError, SettingError
from calibkit.frames import open_stack, stack_source
from calibkit.meta import FRAME_COORDS


def write(
    path: Path, *, seed: int = 0, shape: tuple[int, int] = (40, 30), dtype: str = "u2", **cards: Any
) -> Path:
    data = np.random.default_rng(seed).integers(0, 4000, shape).astype(dtype)
    hdu = fits.PrimaryHDU(data)
    for keyword, value in cards.items():
        hdu.header[keyword.replace("_", "-")] = value
    hdu.writeto(path)
    return path


def several(folder: Path, count: int = 3, **cards: Any) -> list[Path]:
    return [write(folder / f"f{i}.fits", seed=i, **cards) for i in range(count)]


def test_dimensions_coordinates_attributes(tmp_path: Path) -> None:
    cards = {
        "IMAGETYP": "Dark Frame",
        "CCD_TEMP": -10.5,
        "EGAIN": 0.25,
        "GAIN": 100,
        "FILTER": "Ha",
        "DATE_OBS": "2024-05-06T07:08:09.5",
        "INSTRUME": "Camera 1",
        "BAYERPAT": "RGGB",
        "XBINNING": 2,
        "YBINNING": 2,
        "RDNOISE": 1.5,
        "PEDESTAL": -7,
        "ROWORDER": "TOP-DOWN",
        "SATURATE": 60000,
    }
    paths = [write(tmp_path / f"f{i}.fits", seed=i, EXPTIME=float(i), **cards) for i in range(3)]
    stack = open_stack(paths)
    assert stack.dims == ("frame", "y", "x")
    assert stack.shape == (3, 40, 30)
    assert stack.dtype == np.uint16
    assert dask.is_dask_collection(stack.data)
    for i, path in enumerate(paths):
        np.testing.assert_array_equal(stack[i].compute(), fits.getdata(path))
    assert {name for name, values in stack.coords.items() if values.dims == ("frame",)} == set(FRAME_COORDS)
    assert list(stack.file.values) == [str(path) for path in paths]
    assert list(stack.exposure.values) == [0, 1, 2]
    assert set(stack.kind.values) == {"dark"}
    assert set(stack.temperature.values) == {-10.5}
    assert (stack.gain.values[0], stack.gain_setting.values[0]) == (0.25, 100)
    assert stack.filter.values[0] == "Ha"
    assert stack.time.values[0] == np.datetime64("2024-05-06T07:08:09.5", "ns")
    header = stack.attrs.pop("header")
    assert header["INSTRUME"] == "Camera 1"
    assert stack.attrs == {
        "units": "adu",
        "camera": "Camera 1",
        "cfa": "RGGB",
        "saturation": 60000.0,
        "pedestal": 7.0,
        "binning": (2, 2),
        "read_noise": 1.5,
        "roworder": "TOP-DOWN",
    }


def test_y_and_x_are_sensor_pixels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", TRIMSEC="[3:28,2:40]", XORGSUBF=10, YORGSUBF=20)
    active, full = open_stack([path]), open_stack([path], area="full")
    assert (int(active.y[0]), int(active.x[0]), active.shape[1:]) == (21, 12, (39, 26))
    assert (int(full.y[0]), int(full.x[0]), full.shape[1:]) == (20, 10, (40, 30))
    xr.testing.assert_equal(full.sel(y=active.y, x=active.x).compute(), active.compute())


@pytest.mark.parametrize("pattern", ["RGGB", "GBRG"])
def test_a_crop_at_an_odd_row_keeps_its_colours(tmp_path: Path, pattern: str) -> None:
    """Every filter has its own number in the file, so the colour of a pixel can be read off."""
    cell = np.array([ord(letter) for letter in pattern]).reshape(2, 2)
    path = tmp_path / "a.fits"
    hdu = fits.PrimaryHDU(np.tile(cell, (20, 15)).astype("u2"))
    hdu.header["BAYERPAT"], hdu.header["TRIMSEC"] = pattern, "[2:30,4:40]"
    hdu.header["XORGSUBF"], hdu.header["YORGSUBF"] = 5, 8
    hdu.writeto(path)
    crop = open_stack([path]).isel(frame=0, y=slice(3, 20), x=slice(1, 9)).compute()
    known = calibkit.Pattern(crop.attrs["cfa"])
    for y in crop.y.values:
        for x in crop.x.values:
            assert known.label(y, x)[0] == chr(int(crop.sel(y=y, x=x)))


def test_paths_in_every_form(tmp_path: Path) -> None:
    paths = several(tmp_path)
    assert open_stack(str(tmp_path / "f*.fits")).file.values.tolist() == [str(path) for path in paths]
    assert open_stack(paths[1]).sizes["frame"] == 1
    assert open_stack(paths[::-1]).file.values.tolist() == [str(path) for path in paths[::-1]]
    odd = write(tmp_path / "light [1].fits")
    assert open_stack(str(odd)).sizes["frame"] == 1


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="empty list"):
        open_stack([])
    with pytest.raises(SettingError, match="no file matches"):
        open_stack(str(tmp_path / "*.fits"))
    with pytest.raises(SettingError, match=r"is a folder: .*calibkit\.scan"):
        open_stack(tmp_path)
    with pytest.raises(SettingError, match="kind='darks': allowed are 'bias', 'dark'"):
        open_stack([tmp_path], kind="darks")
    with pytest.raises(SettingError, match="area='all'"):
        open_stack([tmp_path], area="all")  # type: ignore[arg-type]
    with pytest.raises(FrameFileError, match="there is no such file"):
        open_stack([tmp_path / "none.fits"])


def test_kind_can_be_told(tmp_path: Path) -> None:
    stack = open_stack(several(tmp_path, IMAGETYP="Light"), kind="flat dark")
    assert set(stack.kind.values) == {"flat dark"}


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ({"shape": (40, 30)}, {"shape": (40, 31)}, ["size", "30 × 40", "31 × 40"]),
        ({}, {"XORGSUBF": 2}, ["place on the sensor", "2, 0"]),
        ({"BAYERPAT": "RGGB"}, {"BAYERPAT": "GBRG"}, ["colour pattern", "RGGB", "GBRG"]),
        ({"BAYERPAT": "RGGB"}, {}, ["colour pattern", "none"]),
        ({}, {"XBINNING": 2, "YBINNING": 2}, ["binning", "2 × 2"]),
        ({"PEDESTAL": -100}, {}, ["pedestal", "100 ADU"]),
        ({"ROWORDER": "TOP-DOWN"}, {"ROWORDER": "BOTTOM-UP"}, ["row order"]),
        ({"dtype": "i2"}, {"dtype": "u2"}, ["number type", "int16", "mixed=True"]),
        ({"INSTRUME": "A"}, {"INSTRUME": "B"}, ["camera", "mixed=True"]),
        ({"GAIN": 100}, {"GAIN": 200}, ["gain setting", "200", "mixed=True"]),
        ({"EGAIN": 1.5}, {"EGAIN": 0.5}, ["gain", "0.5 e⁻/ADU", "mixed=True"]),
    ],
)
def test_frames_that_do_not_belong_together(
    tmp_path: Path, one: dict[str, Any], other: dict[str, Any], said: list[str]
) -> None:
    paths = [write(tmp_path / f"a{i}.fits", **one) for i in range(5)] + [
        write(tmp_path / "odd.fits", **other)
    ]
    with pytest.raises(MismatchError) as caught:
        open_stack(paths)
    message = str(caught.value)
    for text in (*said, "a0.fits, a1.fits, a2.fits and 2 more", "odd.fits"):
        assert text in message
    if "mixed=True" in said:
        assert open_stack(paths, mixed=True).sizes["frame"] == 6
    else:
        with pytest.raises(MismatchError):
            open_stack(paths, mixed=True)


def test_what_is_not_known_does_not_disagree(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.fits", INSTRUME="A", EGAIN=2.0, GAIN=7), write(tmp_path / "b.fits")]
    stack = open_stack(paths)
    assert stack.attrs["camera"] == "A"
    np.testing.assert_array_equal(stack.gain, [2.0, np.nan])


def test_mixed_number_types_and_saturation_are_the_careful_ones(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.fits", dtype="i2"), write(tmp_path / "b.fits", dtype="u2", SATURATE=50000)]
    stack = open_stack(paths, mixed=True)
    assert stack.dtype == np.int32
    assert stack.attrs["saturation"] == 32767
    source = stack_source(stack)
    assert source is not None
    assert source.read(1, 0, 3).dtype == np.int32
    np.testing.assert_array_equal(stack[1].compute(), fits.getdata(paths[1]))


def test_bands_are_whole_cells_of_the_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calibkit.memory.BAND_BYTES", 30 * 16 * 9)
    rows = "GGRGGBGGBGGRBRGRBGGGBGGRGGRGGBRBGBRG"
    for pattern, bands in (("RGGB", 8), (rows, 6), ("", 9)):
        folder = tmp_path / (pattern or "mono")
        folder.mkdir()
        stack = open_stack(several(folder, BAYERPAT=pattern))
        assert stack.chunks is not None
        assert stack.chunks[0] == (1, 1, 1)
        assert set(stack.chunks[1][:-1]) == {bands}
        assert stack.chunks[2] == (30,)
        np.testing.assert_array_equal(stack[2].compute(), fits.getdata(folder / "f2.fits"))


def test_source_behind_an_undisturbed_stack(tmp_path: Path) -> None:
    paths = several(tmp_path)
    stack = open_stack(paths)
    source = stack_source(stack)
    assert source is not None
    assert len(source) == 3
    out = np.zeros((5, 30), np.uint16)
    assert source.read(1, 10, 15, out=out) is out
    np.testing.assert_array_equal(out, fits.getdata(paths[1])[10:15])
    assert stack_source(stack.assign_coords(kind=("frame", ["dark"] * 3))) is source
    assert stack_source(stack.copy()) is source
    for changed in (stack[1:], stack.isel(y=slice(1, None)), stack + 1, stack.astype("f4"), stack.compute()):
        assert stack_source(changed) is None


def test_source_lives_as_long_as_its_stack(tmp_path: Path) -> None:
    stack = open_stack(several(tmp_path))
    name = stack.data.name
    assert name in frames._STACKS
    (lazy,) = dask.optimize(stack.mean("frame"))
    del stack
    assert name not in frames._STACKS
    assert float(lazy.mean()) > 0


def test_stack_travels_to_other_processes(tmp_path: Path) -> None:
    stack = open_stack(several(tmp_path))
    again = pickle.loads(pickle.dumps(stack))
    xr.testing.assert_identical(again.compute(), stack.compute())


def test_headers_are_kept_once(tmp_path: Path) -> None:
    source = stack_source(open_stack(several(tmp_path)))
    assert source is not None
    assert [bool(one.info.header) for one in source.sources] == [True, False, False]


def test_xarray_engine(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", EXPTIME=12.0, BAYERPAT="RGGB", TRIMSEC="[3:28,2:40]")
    frame = xr.open_dataset(path, engine="calibkit")
    assert frame.signal.dims == ("y", "x")
    assert frame.signal.dtype == np.uint16
    assert float(frame.exposure) == 12
    assert frame.signal.attrs["cfa"] == "RGGB"
    assert frame.signal.shape == (39, 26)
    np.testing.assert_array_equal(frame.signal, fits.getdata(path)[1:, 2:28])
    full = xr.open_dataset(path, engine="calibkit", area="full", drop_variables="filter")
    assert full.signal.shape == (40, 30)
    assert "filter" not in full.coords
    with pytest.raises(FrameFileError, match="by their path"):
        xr.open_dataset(b"bytes", engine="calibkit")
    night = xr.open_mfdataset(
        several(tmp_path),
        engine="calibkit",
        combine="nested",
        concat_dim="frame",
        combine_attrs="drop_conflicts",
    )
    assert night.signal.shape == (3, 40, 30)


def test_xarray_engine_opens_results_whole(tmp_path: Path) -> None:
    shape = {"y": 6, "x": 4}
    result = xr.Dataset(
        {
            "signal": (tuple(shape), np.arange(24, dtype="f4").reshape(6, 4)),
            "variance": (tuple(shape), np.ones((6, 4), "f4")),
            "flags": (tuple(shape), np.zeros((6, 4), "u2")),
        },
        coords={"y": np.arange(6), "x": np.arange(4)},
        attrs={"units": "adu", "cfa": "", "kind": "dark"},
    )
    path = calibkit.save(result, tmp_path / "dark.fits")
    opened = xr.open_dataset(path, engine="calibkit")
    assert set(opened.data_vars) == {"signal", "variance", "flags"}
    np.testing.assert_array_equal(opened.signal, result.signal)
    assert opened.attrs["kind"] == "dark"


def test_xarray_guesses_the_engine(tmp_path: Path) -> None:
    from calibkit.io.backend import CalibkitBackend

    can = CalibkitBackend().guess_can_open
    assert all(can(name) for name in ("a.fit", "a.FITS.GZ", "a.fz", "b.CR2", "b.tif"))
    assert not any(can(name) for name in ("a.nc", "a.tar.gz", "a.jpg", b"SIMPLE  ="))

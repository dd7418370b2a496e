"""Results as files: what is in them, and that they come back exactly."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from astropy.io import fits
from astropy.wcs import WCS

import calibkit
from calibkit.cfa import Pattern
from calibkit.errors import FrameFileError, SettingError
from calibkit.io import provenance
from calibkit.io.result_file import plane_of, rows_of

XTRANS = "GGRGGB/GGBGGR/BRGRBG/GGBGGR/GGRGGB/RBGBRG"


def make_result(shape: tuple[int, int] = (37, 30), y0: int = 0, x0: int = 0, **attrs: object) -> xr.Dataset:
    rng = np.random.default_rng(5)
    ny, nx = shape
    ds = xr.Dataset(
        {
            "signal": (("y", "x"), rng.normal(100, 40, shape).astype("f4"), {"units": "adu"}),
            "variance": (("y", "x"), rng.random(shape).astype("f4"), {"units": "adu2"}),
            "flags": (("y", "x"), rng.integers(0, 2**16, shape).astype("u2")),
        },
        coords={"y": np.arange(y0, y0 + ny), "x": np.arange(x0, x0 + nx)},
        attrs={"units": "adu", "camera": "Canon EOS 550D", "cfa": "RGGB", "binning": (1, 1), "kind": "light"},
    )
    ds["signal"][0, 0], ds["variance"][1, 2] = np.nan, np.nan
    return ds.assign_attrs(attrs)


def read(path: Path) -> fits.HDUList:
    """The file as astropy sees it, which finds nothing to complain about."""
    with fits.open(path, memmap=False) as hdus:
        hdus.verify("exception")
        for hdu in hdus:
            assert hdu.data is not None
        return hdus


def test_everything_comes_back(tmp_path: Path) -> None:
    ds = make_result(
        y0=5,
        x0=3,
        exposure=240.0,
        gain=float("nan"),
        time=np.datetime64("2024-02-03T22:10:11.5", "ns"),
        provenance=[{"step": "combine", "weights": None, "inputs": ["a.fit"]}],
        black={"R": 2048.0, "G1": 2047.5},
        header={"OBJECT": "M 42", "COMPLETE": True, "NOTHING": None, "HIERARCH LONG NAME": 3, 7: "odd key"},
    )
    ds["n_kept"] = (("y", "x"), np.arange(37 * 30, dtype="i4").reshape(37, 30) - 5)
    ds["chosen"] = (("y", "x"), ds["flags"].values > 1000)
    ds["fit"] = (("y", "x"), np.full((37, 30), 1e300), {"what": ("a", "tuple")})
    ds["rejected_fraction"] = ("frame", [0.25, np.nan])
    ds["names"] = ("frame", np.array(["é", None], dtype=object))
    ds = ds.assign_coords(file=("frame", ["a", "ü"]), night=np.datetime64("2024-02-03", "D"), airmass=1.25)
    ds = ds.assign_coords(row=(("y", "x"), np.ones((37, 30), "u1")))
    path = calibkit.save(ds, tmp_path / "r.fits")
    back = calibkit.open_result(path)
    assert all(back[name].chunks for name in ("signal", "variance", "flags", "n_kept"))
    xr.testing.assert_identical(back.compute(), ds)
    assert {name: v.dtype for name, v in back.variables.items()} == {
        n: v.dtype for n, v in ds.variables.items()
    }
    assert back.attrs["binning"] == (1, 1)
    assert isinstance(back.attrs["binning"], tuple)
    xr.testing.assert_identical(xr.open_dataset(path, engine="calibkit").compute(), ds)


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", ">i2", ">u2", ">f8", "?"]
)
def test_numbers_of_every_type(tmp_path: Path, dtype: str) -> None:
    kind = np.dtype(dtype)
    values = np.array([[0, 1, 1], [1, 0, 0]], kind)
    if kind.kind in "iu":
        values[0, :2] = np.iinfo(kind).min, np.iinfo(kind).max
    ds = make_result((2, 3)).assign(extra=(("y", "x"), values))
    back = calibkit.open_result(calibkit.save(ds, tmp_path / "r.fits"))
    assert back["extra"].dtype == kind
    np.testing.assert_array_equal(back["extra"], values)
    np.testing.assert_array_equal(
        read(tmp_path / "r.fits")["EXTRA"].data, values.astype(kind.newbyteorder("="))
    )


def test_what_another_reader_sees(tmp_path: Path) -> None:
    ds = make_result(
        kind="dark",
        exposure=240.0,
        temperature=-46.0,
        gain=1.94,
        gain_setting=80.0,
        filter="Hα",
        n_frames=11,
        read_noise=13.0,
        saturation=65535.0,
        bias_subtracted=False,
        dark_subtracted=False,
        time=np.datetime64("2024-02-03T22:10:11", "ns"),
        provenance=[
            {
                "step": "combine",
                "method": "mean",
                "rejected_fraction": 0.0125,
                "inputs": ["d1.fit", "Küste.fit"],
            }
        ],
    )
    hdus = read(calibkit.save(ds, tmp_path / "r.fits"))
    assert [hdu.name for hdu in hdus] == ["SIGNAL", "FLAGS", "VARIANCE", "CALIBKIT"]
    for name in ("signal", "flags", "variance"):
        np.testing.assert_array_equal(hdus[name.upper()].data, ds[name])
        assert hdus[name.upper()].data.dtype.itemsize == ds[name].dtype.itemsize
    header = hdus[0].header
    expected = {
        "CALIBKIT": calibkit.__version__,
        "IMAGETYP": "Master Dark",
        "NCOMBINE": 11,
        "EXPTIME": 240.0,
        "CCD-TEMP": -46.0,
        "EGAIN": 1.94,
        "GAIN": 80.0,
        "RDNOISE": 13.0,
        "FILTER": "Halpha",
        "INSTRUME": "Canon EOS 550D",
        "DATE-OBS": "2024-02-03T22:10:11",
        "BUNIT": "adu",
        "SATURATE": 65535.0,
        "XBINNING": 1,
        "BIASSUB": False,
        "DARKSUB": False,
        "REJFRAC": 0.0125,
        "ROWORDER": "TOP-DOWN",
        "BAYERPAT": "RGGB",
        "XBAYROFF": 0,
        "YBAYROFF": 0,
    }
    assert {key: header[key] for key in expected} == expected
    assert all(len(key) <= 8 for key in header)
    history = "\n".join(header["HISTORY"])
    for text in ("1. combine: method = mean, rejected_fraction = 0.0125", "input d1.fit", r"K\xfcste.fit"):
        assert text in history
    assert "2 saturated: at or above" in "\n".join(hdus["FLAGS"].header["COMMENT"])


def test_keywords_that_no_longer_hold_are_left_out(tmp_path: Path) -> None:
    header = {
        "BZERO": 32768,
        "BITPIX": 16,
        "NAXIS1": 9999,
        "BIASSEC": "[1:50,1:100]",
        "TRIMSEC": "[51:100,1:100]",
        "DATASEC": "[51:100,1:100]",
        "BAYERPAT": "BGGR",
        "YBAYROFF": 1,
        "SATURATE": 12.0,
        "CHECKSUM": "x",
        "OBJECT": "M 42",
        "TELESCOP": "0.2 m",
        "RA": 12.5,
        "AIRMASS": float("nan"),
        "CALSTAT": "BDF",
    }
    ds = make_result(
        header=header, bias_subtracted=True, dark_subtracted=True, flat_divided=False, saturation=4095.0
    )
    found = read(calibkit.save(ds, tmp_path / "r.fits"))[0].header
    gone = ("BZERO", "BIASSEC", "TRIMSEC", "DATASEC", "SATURATE", "CHECKSUM", "AIRMASS")
    assert not [key for key in gone if key in found]
    assert (found["NAXIS1"], found["BAYERPAT"], found["CALSTAT"]) == (30, "RGGB", "BD")
    assert (found["OBJECT"], found["TELESCOP"], found["RA"]) == ("M 42", "0.2 m", 12.5)
    flat = read(calibkit.save(ds.assign_attrs(kind="flat"), tmp_path / "flat.fits"))[0].header
    assert "OBJECT" not in flat
    assert flat["TELESCOP"] == "0.2 m"


def test_the_sky_stays_where_it_is_after_a_crop(tmp_path: Path) -> None:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [83.8, -5.4], [40.5, 12.0]
    wcs.wcs.cd = [[1e-3, 2e-4], [-2e-4, 1e-3]]
    header = dict(wcs.to_header()) | {"XORGSUBF": 100, "YORGSUBF": 7}
    ds = make_result(y0=7, x0=100, header=header).isel(y=slice(5, None), x=slice(11, 20))
    found = WCS(read(calibkit.save(ds, tmp_path / "r.fits"))[0].header)
    np.testing.assert_allclose(
        found.pixel_to_world_values(3, 2), wcs.pixel_to_world_values(14, 7), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("roworder", ["TOP-DOWN", "BOTTOM-UP", ""])
@pytest.mark.parametrize("text", ["RGGB", "BGGR", "GRBG", "GBRG", "GMYC", "YC/GM/YC/MG", XTRANS, ""])
@pytest.mark.parametrize("crop", [(0, 0, 12, 10), (1, 0, 12, 11), (4, 3, 13, 10), (7, 5, 11, 9)])
def test_frames_read_the_same_pixels_and_colours(
    tmp_path: Path, text: str, roworder: str, crop: tuple[int, ...]
) -> None:
    y0, x0, ny, nx = crop
    ds = make_result((ny, nx), y0=y0, x0=x0, cfa=text, roworder=roworder, exposure=3.0)
    frame = calibkit.open_stack(calibkit.save(ds, tmp_path / "r.fits"))[0]
    xr.testing.assert_equal(
        frame.drop_vars([c for c in frame.coords if c not in "yx"]).compute(), ds["signal"]
    )
    assert frame.cfa.pattern == Pattern(text)
    assert frame.attrs["roworder"] == (roworder or "TOP-DOWN")
    assert frame.exposure == 3.0


def test_pattern_keywords_against_the_definition(tmp_path: Path) -> None:
    """BAYERPAT is read off the picture as displayed: its top row is the file's last with BOTTOM-UP."""
    for y0, ny, roworder in [
        (0, 8, "TOP-DOWN"),
        (3, 8, "TOP-DOWN"),
        (0, 8, "BOTTOM-UP"),
        (3, 8, "BOTTOM-UP"),
        (3, 7, "BOTTOM-UP"),
    ]:
        ds = make_result((ny, 6), y0=y0, x0=1, cfa="GRBG", roworder=roworder)
        header = read(calibkit.save(ds, tmp_path / "r.fits", overwrite=True))[0].header
        rows = list(range(y0, y0 + ny))
        top = rows if roworder == "TOP-DOWN" else rows[::-1]
        expected = "".join("GRBG"[2 * (y % 2) + x % 2] for y in top[:2] for x in (1, 2))
        assert header["BAYERPAT"] == expected
        assert header["ROWORDER"] == roworder


def test_what_was_done_is_in_keywords(tmp_path: Path) -> None:
    steps = [
        {"step": "combine", "rejected_fraction": 0.25},
        {"step": "subtract dark", "scale": 0.5, "frames": 11, "inputs": []},
        {"step": "divide flat", "scale": 9.0},
    ]
    levels = {"R": 1000.0, "G1": 2000.0, "G2": 2000.0, "B": 3000.0}
    done = {"bias_subtracted": True, "dark_subtracted": True, "flat_divided": True}
    ds = make_result(provenance=steps, channel_level=levels, **done)
    header = read(calibkit.save(ds, tmp_path / "r.fits"))[0].header
    expected = {"DARKSCAL": 0.5, "REJFRAC": 0.25, "CALSTAT": "BDF"}
    assert {key: header[key] for key in expected} == expected
    assert "FLATNORM" not in header
    flat = read(calibkit.save(ds.assign_attrs(kind="flat"), tmp_path / "f.fits"))[0].header
    assert (flat["FLATNORM"], flat["FNORM_G1"]) == (2000.0, 2000.0)
    assert [header[key] for key in ("BIASSUB", "DARKSUB", "FLATDIV")] == [True] * 3
    assert "2. subtract dark: scale = 0.5, frames = 11" in list(header["HISTORY"])


def test_electrons_are_not_converted_twice(tmp_path: Path) -> None:
    ds = make_result(units="electron", gain=1.94, saturation=65535.0)
    ds["signal"].attrs["units"] = "electron"
    path = calibkit.save(ds, tmp_path / "r.fits")
    header = read(path)[0].header
    assert (header["BUNIT"], header["EGAIN"]) == ("electron", 1.0)
    assert "SATURATE" not in header
    assert calibkit.open_result(path).attrs["gain"] == 1.94


def test_colour_is_a_cube(tmp_path: Path) -> None:
    one = make_result((9, 7), cfa="")
    ds = xr.concat([one, one + 1, one + 2], dim="channel", data_vars="all", join="exact").assign_coords(
        channel=["R", "G", "B"]
    )
    ds = ds.assign(
        flags=ds["flags"].astype("u2"), signal=ds["signal"].astype("f4"), variance=ds["variance"].astype("f4")
    )
    for given in (ds, ds.chunk({"channel": 1, "y": 4})):
        path = calibkit.save(given, tmp_path / "rgb.fits", overwrite=True)
        np.testing.assert_array_equal(read(path)[0].data, ds["signal"])
        opened = calibkit.open_result(path)
        xr.testing.assert_identical(opened.compute(), ds)
        for channel in range(3):
            plane = plane_of(opened, channel)
            xr.testing.assert_identical(plane.compute(), ds.isel(channel=channel, drop=True))
            xr.testing.assert_identical(plane_of(given, channel).compute(), plane.compute())
            for name in ("signal", "variance", "flags"):
                np.testing.assert_array_equal(rows_of(plane[name].data)(2, 7), ds[name][channel, 2:7])


def test_lazy_results_are_computed_once_and_by_bands(tmp_path: Path) -> None:
    calls: list[int] = []
    lock = threading.Lock()

    def work(block: np.ndarray) -> np.ndarray:
        with lock:
            calls.append(block.shape[0])
        return block * 2.0

    ds = make_result((64, 20))
    shared = da.from_array(ds["signal"].values, chunks=(5, -1)).map_blocks(
        work, dtype="f8", meta=np.empty((0, 0))
    )
    lazy = ds.assign(
        signal=(("y", "x"), shared.astype("f4")),
        variance=(("y", "x"), (shared + 1).astype("f4")),
        flags=(("y", "x"), (shared > 90).astype("u2")),
    )
    reports: list[tuple[int, int, str]] = []
    path = calibkit.save(lazy, tmp_path / "r.fits", progress=lambda *report: reports.append(report))
    assert sorted(calls) == [4, *[5] * 12], (
        "every block is computed once for signal, variance and flags together"
    )
    assert len(reports) > 3, "rows are written band by band"
    assert reports[-1] == (64, 64, "writing r.fits")
    np.testing.assert_array_equal(
        calibkit.open_result(path)["variance"], (ds["signal"] * 2.0 + 1).astype("f4")
    )


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """A file of 96 MB from a lazy result takes a few blocks of memory, whatever its size."""
    code = f"""
import resource, sys
import dask.array as da, xarray as xr, numpy as np, calibkit
def build(n):
    s = da.ones((n, 2000), chunks=(100, -1), dtype="f4")
    return xr.Dataset(dict(signal=(("y","x"), s), variance=(("y","x"), s * 2), flags=(("y","x"), s.astype("u2"))))
calibkit.save(build(400), {str(tmp_path / "small.fits")!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
calibkit.save(build(4800), {str(tmp_path / "large.fits")!r})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (tmp_path / "large.fits").stat().st_size > 96e6
    assert int(out.stdout) < 30_000, "kB more than for a small file"


def test_only_results_of_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "r.fits"
    with pytest.raises(
        SettingError, match=r"an xarray\.Dataset of signal, variance and flags, not DataArray"
    ):
        calibkit.save(make_result()["signal"], path)
    with pytest.raises(SettingError, match="has no variance"):
        calibkit.save(make_result().drop_vars("variance"), path)
    with pytest.raises(SettingError, match=r"isel\(frame=i\)"):
        calibkit.save(make_result().expand_dims("frame"), path)
    with pytest.raises(
        SettingError, match=r"result\['attrs'\]\['thing'\] is of type object, which a file cannot keep"
    ):
        calibkit.save(make_result(thing=object()), path)
    with pytest.raises(SettingError, match="no image that FITS can hold"):
        calibkit.save(make_result().assign(z=(("y", "x"), np.ones((37, 30), complex))), path)
    assert not list(tmp_path.iterdir())


def test_a_result_may_replace_the_file_it_comes_from(tmp_path: Path) -> None:
    path = calibkit.save(make_result(), tmp_path / "r.fits")
    before = calibkit.open_result(path)
    doubled = before.assign(signal=before["signal"] * 2)
    calibkit.save(doubled, path, overwrite=True)
    np.testing.assert_array_equal(calibkit.open_result(path)["signal"], make_result()["signal"] * 2)
    with pytest.raises(FrameFileError, match="changed after it was opened"):
        before["signal"].compute()


def test_damaged_results_are_refused(tmp_path: Path) -> None:
    path = calibkit.save(make_result(), tmp_path / "r.fits")
    whole = path.read_bytes()
    with pytest.raises(FrameFileError, match=r"none.fits: there is no such file"):
        calibkit.open_result(tmp_path / "none.fits")
    for size in (len(whole) - 2880, len(whole) // 2, 5760, 3000):
        path.write_bytes(whole[:size])
        with pytest.raises(FrameFileError, match="cut off"):
            calibkit.open_result(path)
    path.write_bytes(whole.replace(b'{"attrs":{', b'{"attrs":[['))
    with pytest.raises(FrameFileError, match="its table CALIBKIT is damaged"):
        calibkit.open_result(path)
    path.write_bytes(whole.replace(b"FORMAT  =                    1", b"FORMAT  =                    2"))
    with pytest.raises(FrameFileError, match=r"written in format 2.*update calibkit"):
        calibkit.open_result(path)


def test_names_that_are_not_ascii(tmp_path: Path) -> None:
    folder = tmp_path / "Aufnahmen für März"
    folder.mkdir()
    ds = make_result(camera="Größe – 3\n", provenance=[{"step": "open", "inputs": ["\udcff.fit", "日.fit"]}])
    path = calibkit.save(ds, folder / f"Küste 日本{'🌌' * 50}.fits")
    assert read(path)[0].header["INSTRUME"] == "Grosse - 3"
    xr.testing.assert_identical(calibkit.open_result(path).compute(), ds)


def test_inputs_are_hashed(tmp_path: Path) -> None:
    names = []
    for i in range(3):
        (tmp_path / f"{i}.fit").write_bytes(b"x" * (i + 100))
        names.append(str(tmp_path / f"{i}.fit"))
    ds = make_result(provenance=[{"step": "combine", "inputs": [*names, "gone.fit"]}, {"step": "repair"}])
    reports: list[tuple[int, int, str]] = []
    hashed = provenance.hash_inputs(ds, progress=lambda *report: reports.append(report))
    expected = {name: hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in names}
    assert hashed.attrs["provenance"] == [
        ds.attrs["provenance"][0] | {"sha256": expected},
        {"step": "repair"},
    ]
    assert "sha256" not in ds.attrs["provenance"][0], "the result given is left as it was"
    assert reports[-1] == (4, 4, "hashing the inputs")
    history = list(read(calibkit.save(hashed, tmp_path / "r.fits"))[0].header["HISTORY"])
    for name, digest in expected.items():
        at = history.index(f" input {Path(name).name}")
        assert history[at + 1] == f" sha256 {digest}", "on one card each"
    Path(names[0]).write_bytes(b"changed")
    assert provenance.sha256_of(names[0]) == hashlib.sha256(b"changed").hexdigest()
    with pytest.raises(FrameFileError, match=r"gone.fit: cannot be read"):
        provenance.sha256_of(tmp_path / "gone.fit")

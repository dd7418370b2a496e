"""The temperature of a simulated sensor from its hot pixels, and what a camera notes of its own."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit.errors import CalibkitError, CalibkitWarning, MismatchError, SettingError
from calibkit.io.makernotes import camera_temperature
from calibkit.simulate import X_TRANS, Camera, Optics, Sky, sample_session, simulate_frame, simulate_stack

CAMERA = Camera(
    shape=(150, 180), pattern="RGGB", gain=1.4, offset=512.0, bit_depth=14, dark_current=0.5, hot_fraction=0.02,
    hot_rate=3.0, reference_temperature=20.0, doubling=7.0, glow_rate=1.0, cosmic_rays=5.0, telegraph_fraction=0.002,
)  # fmt: skip
SKY = Sky(background=60.0, n_stars=150, star_flux=20_000.0, drift=(1.7, -0.8), seed=1)
TEMPERATURES = (18.0, 20.5, 22.0, 25.0, 27.5, 28.0)


def night(
    kind: str,
    temperatures=TEMPERATURES,
    *,
    camera: Camera = CAMERA,
    exposures=60.0,
    first: int = 0,
    seed: int = 3,
):
    """Frames at these temperatures, five minutes apart."""
    exposures = np.broadcast_to(exposures, len(temperatures))
    frames = [
        simulate_frame(
            camera, kind=kind, exposure=float(t), temperature=c, sky=SKY if kind == "light" else None,
            optics=Optics(vignetting=0.3), frame_index=first + i, seed=seed,
            time=np.datetime64("2026-01-15T20:00") + np.timedelta64(5 * i, "m"),
        )
        for i, (c, t) in enumerate(zip(temperatures, exposures, strict=True))
    ]  # fmt: skip
    return xr.concat(frames, "frame", combine_attrs="override")


@pytest.fixture(scope="module")
def dark() -> xr.Dataset:
    return calibkit.master_dark(
        simulate_stack(CAMERA, 9, kind="dark", exposure=60.0, temperature=20.0, frame_index=50, seed=3)
    )


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_session("dslr warming", folder=tmp_path_factory.mktemp("warm") / "s", shape=(240, 320))


def pulls(found: object, expected: np.ndarray) -> np.ndarray:
    return (found.table.change.values - expected) / found.table.change_error.values


def test_sample_that_warms_up(sample: Path) -> None:
    lights = calibkit.open_stack(str(sample / "lights" / "*.fits"))
    darks = calibkit.open_stack(str(sample / "darks" / "*.fits"))
    found = calibkit.measure_warming(lights, dark=calibkit.master_dark(darks))
    assert found.drift == pytest.approx(8.0, abs=0.1)
    assert found.hours == pytest.approx(0.505, abs=0.01)
    assert found.reference == "the dark"
    assert "warmed up by" in str(found)
    assert found.stated_doubling == pytest.approx(7.0, rel=0.02)
    np.testing.assert_allclose(found.table.change, lights.temperature - 28.0, atol=0.12)
    still = calibkit.measure_warming(darks)
    assert not still.seen
    assert np.isnan(still.stated_doubling)
    assert abs(still.drift) < 4 * still.drift_error
    assert still.table.change_error.max() < 0.05


@pytest.mark.parametrize("kind", ["dark", "light"])
def test_errors_are_honest(kind: str, dark: xr.Dataset) -> None:
    deviation = []
    for seed in (3, 4, 5):
        stack = night(kind, tuple(np.linspace(14, 26, 24)), seed=seed)
        found = calibkit.measure_warming(stack, dark=dark)
        deviation.append(pulls(found, stack.temperature.values - 20.0))
        assert found.table.change_error.max() < 0.3
    assert np.sqrt(np.mean(np.square(deviation))) == pytest.approx(1.0, abs=0.45)
    assert np.abs(deviation).max() < 4.5


@pytest.mark.parametrize("pattern", ["", "GMYC", X_TRANS])
def test_every_pattern_cropped_and_without_a_dark(pattern: str) -> None:
    camera = replace(CAMERA, pattern=pattern)
    for kind in ("dark", "light"):
        stack = night(kind, camera=camera).isel(y=slice(3, None), x=slice(5, 178))
        found = calibkit.measure_warming(stack)
        relative = found.table.change - found.table.change[0]
        np.testing.assert_allclose(relative, stack.temperature - stack.temperature[0], atol=0.5)
        assert found.drift == pytest.approx(10.0, abs=1.2)
        assert found.seen


def test_cooling_other_exposures_and_another_doubling(dark: xr.Dataset) -> None:
    stack = night("dark", (24.0, 22.0, 20.0), exposures=(30.0, 60.0, 90.0))
    found = calibkit.measure_warming(stack, dark=dark, doubling=14.0)
    np.testing.assert_allclose(found.table.change, [8.0, 4.0, 0.0], atol=0.5)
    assert "cooled down by" in str(found)
    wave = calibkit.measure_warming(night("dark", (20.0, 22.0, 20.0, 22.0, 20.0)), dark=dark)
    assert wave.spread == pytest.approx(2.0, abs=0.3)
    assert "up and down by" in str(wave)
    with_bias = night("dark", (20.0, 20.0))
    no_bias = calibkit.master_dark(
        night("dark", (20.0,) * 5, first=70), bias=calibkit.constant_bias(stack, 512.0)
    )
    assert not calibkit.measure_warming(with_bias, dark=no_bias).seen


def test_levels_and_full_pixels_are_told(dark: xr.Dataset) -> None:
    """Levels of darks over time, of lights in their shielded columns only; pixels that heat alone fills."""
    camera = replace(CAMERA, hot_rate=150.0, hot_spread=1.5, full_well=20_000.0)
    darks = night("dark", (15.0, 22.0, 29.0), camera=camera)
    found = calibkit.measure_warming(darks)
    full = (darks.values >= camera.saturation).sum(axis=(1, 2))
    assert (np.diff(full) > 0).all()
    np.testing.assert_array_equal(found.table.saturated.sum("channel"), full)
    green = darks.isel(frame=2).cfa["G1"].values
    assert int(found.table.saturated.sel(channel="G1")[2]) == (green >= camera.saturation).sum()
    assert float(found.table.level.sel(channel="G1")[2]) == pytest.approx(np.median(green), rel=0.03)
    lights = night("light", (20.0, 20.0, 20.0))
    assert np.isnan(calibkit.measure_warming(lights, dark=dark).table.level).all()
    covered = lights.copy(deep=True)
    covered.values[:, :, :20] = 700
    found = calibkit.measure_warming(covered, dark=dark, shielded={"x": slice(0, 20)})
    assert (found.table.level == 700).all()


def test_what_cannot_work_is_refused(dark: xr.Dataset) -> None:
    stack = night("dark", (20.0, 21.0))
    cold = replace(CAMERA, hot_fraction=0.0002)
    refused = [
        (stack[:1], {}, SettingError, "two frames at least"),
        (stack, {"doubling": 0.0}, SettingError, "doubling=0.0"),
        (stack, {"shielded": {"x": 3}}, SettingError, "slices of y and x"),
        (stack, {"shielded": {"x": slice(900, 999)}}, SettingError, "slices of y and x"),
        (stack.drop_vars("exposure"), {}, SettingError, "say its exposure"),
        (stack, {"dark": dark.assign_attrs(exposure=np.nan)}, SettingError, "does not say its exposure"),
        (stack, {"dark": dark.assign_attrs(cfa="BGGR")}, MismatchError, "colour pattern"),
        (night("dark", (20.0, 21.0), camera=cold), {}, CalibkitError, "hot pixels stand out"),
        (night("light", (20.0, 21.0)), {}, MismatchError, "3 lights at least"),
    ]
    for frames, options, error, words in refused:
        with pytest.raises(error, match=words):
            calibkit.measure_warming(frames, **options)


def cr2(path: Path, value: int, *, make: bytes = b"Canon\0", order: str = "<") -> Path:
    """The beginning of a Canon RAW file: a TIFF with EXIF and maker notes, whose table 4 is that of the shot."""
    shot = struct.pack(f"{order}34h", 68, *([7] * 11), value, *([9] * 21))
    at = {"ifd": 8, "make": 60, "exif": 80, "notes": 120, "shot": 160}

    def directory(*entries: tuple[int, int, int, int]) -> bytes:
        packed = b"".join(struct.pack(order + "HHII", *entry) for entry in entries)
        return struct.pack(order + "H", len(entries)) + packed + bytes(4)

    parts = {
        "ifd": directory((0x010F, 2, len(make), at["make"]), (0x8769, 4, 1, at["exif"])),
        "make": make,
        "exif": directory((0x927C, 7, 100, at["notes"])),
        "notes": directory((0x0004, 3, 34, at["shot"])),
        "shot": shot,
    }
    data = bytearray(300)
    data[:8] = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, at["ifd"])
    for name, part in parts.items():
        data[at[name] : at[name] + len(part)] = part
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize("order", ["<", ">"])
def test_temperature_from_canon_s_maker_notes(tmp_path: Path, order: str) -> None:
    assert camera_temperature(cr2(tmp_path / "a.CR2", 155, order=order)) == 27.0
    assert camera_temperature(cr2(tmp_path / "b.CR2", 118, order=order)) == -10.0
    assert np.isnan(camera_temperature(cr2(tmp_path / "c.CR2", 0, order=order)))  # the camera does not tell
    assert np.isnan(camera_temperature(cr2(tmp_path / "d.CR2", 155, make=b"Nikon\0", order=order)))


def test_temperature_from_cr3(tmp_path: Path) -> None:
    def box(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", 8 + len(content)) + name + content

    notes = bytearray(160)
    notes[:8] = b"II*\0" + struct.pack("<I", 8)
    entry = struct.pack("<HHHII", 1, 0x0004, 3, 34, 40)
    notes[8 : 8 + len(entry)] = entry
    notes[40:108] = struct.pack("<34h", 68, *([7] * 11), 166, *([9] * 21))
    uuid = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
    inner = uuid + box(b"CNCV", b"x" * 9) + box(b"CMT1", b"y" * 30) + box(b"CMT3", bytes(notes))
    movie = box(b"moov", box(b"uuid", bytes(20)) + box(b"uuid", inner) + box(b"trak", b"z"))
    path = tmp_path / "a.CR3"
    path.write_bytes(box(b"ftyp", b"crx \0\0\0\1crx isom") + movie)
    assert camera_temperature(path) == 38.0
    path.write_bytes(path.read_bytes()[:120])
    assert np.isnan(camera_temperature(path))


@pytest.mark.parametrize("keep", [0, 7, 11, 30, 90, 130, 200])
def test_cut_off_or_missing_files_tell_no_temperature(tmp_path: Path, keep: int) -> None:
    path = cr2(tmp_path / "a.CR2", 155)
    path.write_bytes(path.read_bytes()[:keep])
    told = camera_temperature(path)
    assert np.isnan(told) or keep > 160 + 2 * 13
    assert np.isnan(camera_temperature(tmp_path / "none.CR2"))


def test_camera_s_own_temperature_is_told_with_a_warning(tmp_path: Path, dark: xr.Dataset) -> None:
    stack = night("dark", (20.0, 21.0))
    names = [str(cr2(tmp_path / f"{i}.CR2", 150 + i)) for i in range(2)]
    named = stack.assign_coords(file=("frame", names))
    told = calibkit.measure_warming(named, dark=dark)  # nothing to warn of: these frames state a temperature
    assert told.table.camera_temperature.values.tolist() == [22.0, 23.0]
    with pytest.warns(CalibkitWarning, match="maker notes.*used for nothing"):
        silent = calibkit.measure_warming(named.assign_coords(temperature=np.nan), dark=dark)
    np.testing.assert_array_equal(silent.table.change, told.table.change)

"""Rows that are made where they are combined are those that the lazy arrays hold; and results that are not on the disk yet."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit import flags as fl
from calibkit.align.lights import lights_of
from calibkit.align.resampling import grid_like
from calibkit.align.stacking import _lazily, template_of
from calibkit.calibration.flat import subtracted_stack
from calibkit.combining.reading import StackReader
from calibkit.errors import OutputError
from calibkit.kernels.stars import bin_colour
from calibkit.makers import maker_of, tell_maker
from calibkit.pipeline import store as stores
from calibkit.pipeline.store import Store
from calibkit.statistics import measure_noise


def same_rows(stack: xr.Dataset) -> None:
    """A reader's bands and strips, and what dask computes."""
    computed = stack.compute()
    reader = StackReader(stack)
    assert reader._maker is not None
    for y0, y1 in [
        (0, 30),
        (30, 64),
        (64, stack.sizes["y"]),
        (0, 16),
    ]:  # in the same memory, larger and smaller
        band = reader.read(y0, y1, lambda _: None)
        np.testing.assert_array_equal(band.values, computed["signal"].values[:, y0:y1])
        flags = computed["flags"].values[:, y0:y1]
        np.testing.assert_array_equal(np.zeros_like(flags) if band.flags is None else band.flags, flags)
        if "variance" in stack:
            np.testing.assert_array_equal(band.variance, computed["variance"].values[:, y0:y1])
    places = [(2, 10), (20, 21)]
    for found, (y0, y1) in zip(reader.read_strips(1, places), places, strict=True):
        part = computed.isel(frame=1, y=slice(y0, y1))
        np.testing.assert_array_equal(found, part["signal"].where(fl.usable(part["flags"])).values)


@pytest.mark.parametrize("factor", [1.0, 0.4])
def test_flats_without_their_dark(tmp_path: Path, factor: float) -> None:
    camera = calibkit.Camera(shape=(90, 120), pattern="RGGB", offset=100.0, bit_depth=12, full_well=9000.0)
    sets = [calibkit.FrameSet(kind="flat", count=4, exposure=2.0)]
    night = calibkit.write_session(tmp_path / "night", camera, sets, lamp=calibkit.Lamp(rate=9000.0))
    flats = calibkit.open_stack(sorted(night.rglob("*.fits")))
    flats = flats.assign_attrs(saturation=float(np.quantile(flats.values, 0.9)))
    dark = calibkit.constant_bias(flats, level=100.0)
    stack = subtracted_stack(flats, None, dark, np.array([factor]))
    assert (stack["flags"].values & fl.SATURATED).any(), "some samples are full"
    same_rows(stack)
    same_rows(subtracted_stack(flats, dark, None, np.array([1.0])))
    # another stack made of it is not what the files show
    assert StackReader(stack.assign(signal=stack["signal"] * 2))._maker is None
    assert StackReader(stack.isel(frame=slice(1, None)))._maker is None


def test_aligned_lights() -> None:
    camera = calibkit.Camera(shape=(96, 130), pattern="RGGB", offset=100.0, hot_fraction=0.01)
    raw = calibkit.simulate_stack(camera, 3, exposure=30.0, sky=calibkit.Sky(n_stars=60, star_flux=20_000.0))
    lights = calibkit.calibrate(raw, bias=calibkit.constant_bias(raw, level=100.0))
    found = lights_of(lights, "test")
    angle = math.radians(0.7)
    turn = np.array(
        [[math.cos(angle), -math.sin(angle), 3.2], [math.sin(angle), math.cos(angle), -1.7], [0, 0, 1]]
    )
    stack = _lazily(
        template_of(found), found, [np.eye(3), turn, np.eye(3)], grid_like(lights, "lanczos3"), None, None
    )
    computed = stack.compute()
    reader = StackReader(stack)
    for y0, y1 in [(0, 40), (40, 96), (16, 32)]:
        band = reader.read(y0, y1, lambda _: None)
        for rows, name in ((band.values, "signal"), (band.variance, "variance"), (band.flags, "flags")):
            np.testing.assert_array_equal(rows, computed[name].values[:, y0:y1])
    assert StackReader(stack.drop_vars("variance")).read(0, 8, lambda _: None).variance is None


def test_calibrated_lights(tmp_path: Path) -> None:
    """In bands of any height, with masters in files and in memory, with and without the variance, of this and other lights."""
    camera = calibkit.Camera(
        shape=(96, 130),
        pattern="RGGB",
        offset=100.0,
        hot_fraction=0.01,
        dark_current=1.0,
        bit_depth=14,
        full_well=15_000.0,
    )
    sets = [
        calibkit.FrameSet(kind="dark", count=4, exposure=20.0),
        calibkit.FrameSet(kind="flat", count=12, exposure=2.0),
        calibkit.FrameSet(kind="light", count=2, exposure=20.0),
    ]
    night = calibkit.write_session(tmp_path / "night", camera, sets, lamp=calibkit.Lamp(rate=9000.0))
    files = {kind: sorted(night.rglob(f"{kind}*.fits")) for kind in ("dark", "flat", "light")}
    dark = calibkit.master_dark(calibkit.open_stack(files["dark"]))
    flats = calibkit.open_stack(files["flat"])
    flat = calibkit.master_flat(flats, bias=calibkit.constant_bias(flats, level=100.0))
    lights = calibkit.open_stack(files["light"])
    options = {"gain": 1.0, "read_noise": 5.0, "defects": calibkit.find_defects(flat=flat)}
    expected = calibkit.calibrate(lights.compute(), dark=dark, flat=flat, **options)
    assert (expected["flags"].values & fl.REPAIRED).any()
    saved = [
        calibkit.open_result(calibkit.save(master, tmp_path / name))
        for master, name in ((dark, "dark.fits"), (flat, "flat.fits"))
    ]
    for masters in ((dark, flat), saved):
        made = calibkit.calibrate(lights, dark=masters[0], flat=masters[1], **options)
        same_rows(made)
        xr.testing.assert_identical(made.compute(), expected)
        again = pickle.loads(pickle.dumps([light.bare() for light in lights_of(made, "test")]))
        for i, light in enumerate(again):
            assert light.maker is not None
            for y0, y1 in [(0, 96), (10, 30), (12, 20)]:
                light.maker.expect(max(0, y0 - 3), min(96, y1 + 3))
                want = [expected[name].values[i, y0:y1] for name in ("signal", "variance", "flags")]
                for found, rows in zip(light.borrow(y0, y1), want, strict=True):
                    np.testing.assert_array_equal(found, rows)
                signal, variance, flags = light.maker.read(y0, y1, variance=False)
                assert variance is None
                np.testing.assert_array_equal(signal, want[0])
                np.testing.assert_array_equal(flags, want[2])
            whole = expected["signal"].where(fl.usable(expected["flags"]))[i].values
            np.testing.assert_array_equal(light.whole(), whole)
            for y0, y1 in [(0, 96), (12, 20)]:
                made_so, good = light.maker.unrepaired().read(y0, y1), expected["flags"].values[i, y0:y1] == 0
                for found, name in zip(made_so, ("signal", "variance", "flags"), strict=True):
                    np.testing.assert_array_equal(found[good], expected[name].values[i, y0:y1][good])
                assert not (made_so[2] & fl.REPAIRED).any()
                np.testing.assert_array_equal(made_so[2] == 0, good)
        frame = made.isel(frame=1)
        tell_maker(frame, maker_of(made).frames[1])
        found, want = measure_noise(frame), measure_noise(expected.isel(frame=1))
        for name, noise in want.items():
            assert tuple(found[name].as_dict().values()) == pytest.approx(tuple(noise.as_dict().values()))
    assert lights_of(made * 2.0, "test")[0].maker is None, (
        "another stack made of it is not what the files show"
    )


@pytest.mark.parametrize("use", [[[False, True], [True, False]], [[True, False], [False, False]], [[True]]])
def test_a_colour_is_binned_as_numpy_does(use: list[list[bool]]) -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal(100, 5, (41, 63)).astype("f4")
    signal[rng.random(signal.shape) < 0.2] = np.nan
    mask = np.tile(np.array(use), (21, 32) if len(use) == 2 else signal.shape)[:41, :63]
    out = np.empty((20, 31), np.float32)
    bin_colour(signal, np.array(use), 2, out)
    blocks = np.where(mask, signal.astype(float), np.nan)[:40, :62].reshape(20, 2, 31, 2)
    count = np.isfinite(blocks).sum(axis=(1, 3))
    with np.errstate(invalid="ignore"):
        expected = np.nansum(blocks, axis=(1, 3)) / count
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    assert np.isnan(out).any() == (count == 0).any()


def test_a_result_that_is_not_on_the_disk_holds_until_the_system_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path, inputs=[])
    path = store.place("masters", "dark")
    path.write_bytes(b"1")
    monkeypatch.setattr(stores, "boot_id", lambda: "monday")
    assert store.defers
    store.remember(path, "key", {"a": 1}, flushed=False)
    assert store.finished(path, "key") == {"a": 1}
    monkeypatch.setattr(stores, "boot_id", lambda: "tuesday")
    assert store.finished(path, "key") is None
    assert path.exists()
    assert store.finished(path, "key", passing=True) == {"a": 1}, "what was made of it may be there"
    assert not path.exists(), "and if not, it is not made of bytes that were lost"
    path.write_bytes(b"1")
    monkeypatch.setattr(stores, "boot_id", lambda: "")
    assert store.finished(path, "key") is None
    assert not store.defers
    with store.locked():
        store.remember_later(path, "key", {"a": 1})
    assert store.finished(path, "key") == {"a": 1}


def test_a_record_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    store = Store(tmp_path, inputs=[])
    path = store.place("masters", "dark")
    path.write_bytes(b"1")
    row = {"a": float("nan"), "b": {1: "ü\udcff"}, "c": (1, None)}
    store.remember(path, "key", row)
    assert str(store.finished(path, "key")) == str({"a": float("nan"), "b": {"1": "ü\udcff"}, "c": [1, None]})
    assert store.finished(path, "other key") is None
    record = tmp_path / ".calibkit/masters/dark.fits.json"
    whole = record.read_bytes()
    for spoilt in (whole.replace(b"[1, ", b"[2, "), whole[:-1], b"[" * 100_000, b"{}", b"", b"null"):
        assert spoilt != whole
        record.write_bytes(spoilt)
        assert store.finished(path, "key") is None
    stores.write_record(record, {"key": "key", "sha256": "", "row": {}})  # as a library keeps them
    assert store.finished(path, "key") is None


def test_a_disk_that_does_not_take_a_result_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        msg = "the disk is full"
        raise OutputError(msg)

    monkeypatch.setattr(stores, "flush_file", fail)
    store = Store(tmp_path, inputs=[])
    path = store.place("masters", "dark")
    path.write_bytes(b"1")
    with pytest.raises(OutputError, match="the disk is full"), store.locked():
        store.remember_later(path, "key", {})
    assert store.finished(path, "key") is None, "it is made again"

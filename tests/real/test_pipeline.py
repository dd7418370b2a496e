"""Whole sessions of real frames come out right unaided; simulated ones agree with their truth."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit.cfa import channel_index
from calibkit.cli import main
from calibkit.pipeline import RunResult

SharedData = Callable[[str], Path]


def one(done: RunResult, name: str) -> xr.Dataset:
    """The result of one light, in memory."""
    (row,) = [row for row in done.lights if Path(row.file).name == name]
    return calibkit.open_result(done.out / row.path).compute()


def master(done: RunResult, name: str) -> xr.Dataset:
    """A master by its name, in memory."""
    (row,) = [row for row in done.masters if row.name == name]
    return calibkit.open_result(done.out / row.path).compute()


def raw(path: Path) -> np.ndarray:
    """Pixels of one frame, float64."""
    return calibkit.open_stack(path).isel(frame=0).values.astype(float)


@pytest.mark.slow
def test_feder_every_light_with_its_own_masters(shared_data: SharedData, tmp_path: Path) -> None:
    folder = shared_data("feder")
    done = calibkit.calibrate_session(folder, tmp_path)
    assert done.ok
    assert len(done.lights) == 40
    darks = {"B": 60, "V": 30, "R": 30, "I": 30}
    for row in done.lights:
        band = Path(row.file).name.removesuffix("1.fit.gz")[-1]
        assert row.steps == [f"− dark {darks[band]} s (bias in it)", f"÷ flat {band}"]
    for band, seconds in darks.items():
        name = f"SA112-SF1-003{band}1.fit.gz"
        found = one(done, name)
        expected = raw(folder / name) - master(done, f"dark {seconds} s").signal.values
        flat = master(done, f"flat {band}").signal.values
        plain = (found.flags.values == 0) & (flat > 0)
        assert (
            plain.mean() > 0.9
        )  # enough to compare; 3 % of these 8-bit darks stand a step above their surroundings
        np.testing.assert_allclose((found.signal.values * flat)[plain], expected[plain], atol=1e-3)
        assert found.attrs["filter"] == band
        assert found.attrs["exposure"] == seconds
    assert any("too coarse to show its noise" in text for text in done.warnings)
    assert done.report is not None
    assert done.report.stat().st_size < 6_000_000


@pytest.fixture
def stl1001e(shared_data: SharedData, tmp_path: Path) -> Path:
    """Three of the flats as lights, the other seven as flats, with the biases and darks of that temperature."""
    folder = tmp_path / "night"
    for path in sorted((shared_data("stl1001e") / "neg5").iterdir()):
        kind = "lights" if path.name.endswith(("7.FIT", "8.FIT", "9.FIT")) and "flat" in path.name else "rest"
        (folder / kind).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / kind)
    return folder


def test_stl1001e_flat_on_flat_is_flat(stl1001e: Path, tmp_path: Path) -> None:
    kinds = {"flat": "rest/flat*", "light": "lights/*"}
    done = calibkit.calibrate_session(stl1001e, tmp_path / "out", kinds=kinds, gain=1.933, report=False)
    assert done.ok
    assert done.lights[0].steps == [
        "− bias",
        "− dark 60 s without bias × 0.3833",
        "÷ flat Visible",
    ]
    for row in done.lights:
        assert row.after["L"]["measured"] == pytest.approx(row.after["L"]["predicted"], rel=0.02)
        signal = calibkit.open_result(done.out / row.path).signal
        blocks = signal.coarsen(y=64, x=64).median()
        assert float(blocks.std() / blocks.mean()) < 0.002  # the raw flat varies by some percent


def test_a_gain_that_flats_contradict_is_doubted(stl1001e: Path, tmp_path: Path) -> None:
    kinds = {"flat": "rest/flat*", "light": "lights/*"}
    done = calibkit.calibrate_session(stl1001e, tmp_path / "out", kinds=kinds, report=False)
    (doubt,) = [text for text in done.warnings if "gain" in text]
    assert "say a gain of 2.06 e⁻/ADU" in doubt
    assert "L 1.93" in doubt or "L 1.94" in doubt


def test_imx296_one_level_through_the_other(shared_data: SharedData, tmp_path: Path) -> None:
    folder = shared_data("imx296")
    kinds = {"flat": "level77*", "light": "level73*"}
    done = calibkit.calibrate_session(folder, tmp_path, kinds=kinds, report=False)
    assert done.ok
    for row in done.lights:
        assert row.steps == ["− dark 1/1008 s (bias in it)", "÷ flat"]
        for channel, found in row.after.items():
            assert 9.5 < row.gain[channel] < 11.5
            # Numbers of 10 bit: the median difference of neighbours is a whole number of steps.
            assert found["measured"] == pytest.approx(found["predicted"], rel=0.08)
    found = one(done, "level73_01.dng")
    assert found.attrs["cfa"] == "BGGR"
    flat = master(done, "flat").signal.values
    expected = raw(folder / "level73_01.dng") - master(done, "dark 1/1008 s").signal.values
    plain = (found.flags.values == 0) & (flat > 0)
    np.testing.assert_allclose((found.signal.values * flat)[plain], expected[plain], atol=1e-3)


def test_msdp_with_the_kinds_that_only_its_owner_knows(shared_data: SharedData, tmp_path: Path) -> None:
    arguments = ["--dark", "m004*", "--flat", "m003*", "--light", "m002*", "--no-report"]
    assert main(["calibrate", str(shared_data("msdp")), "-o", str(tmp_path), *arguments]) == 0
    assert len(list((tmp_path / "lights").iterdir())) == 3
    found = calibkit.open_result(next((tmp_path / "lights").iterdir()))
    assert [step["step"] for step in found.attrs["provenance"]] == [
        "calibrate",
        "subtract dark",
        "divide flat",
        "repair",
    ]
    # Sun and slits move from flat to flat: a gain from their differences would be ten times too small.
    assert np.isnan(found.variance.values).all()


RAW = {
    "blackmagic_gbrg.dng": "GBRG",
    "canon_550d_margins_rggb.dng": "RGGB",
    "canon_d30_rggb.CRW": "RGGB",
    "canon_g1_gmcy.CRW": "GMCY",
    "kodak_dc50_é_grbg.KDC": "GRBG",
    "sony_a7r3_rggb.ARW": "RGGB",
}


def test_every_raw_file_loses_its_black_level(shared_data: SharedData, tmp_path: Path) -> None:
    folder = shared_data("raw")
    done = calibkit.calibrate_session(folder, tmp_path, report=False)
    assert done.ok
    assert {row.file for row in done.lights} == set(RAW)
    for row in done.lights:
        light = calibkit.open_stack(folder / row.file).isel(frame=0)
        found = calibkit.open_result(done.out / row.path)
        assert row.steps == ["− black level"]
        assert len(found.attrs["cfa"]) == 4
        cell, channels = channel_index(found)
        black = light.attrs["black"]
        taken = (light.values.astype(float) - found.signal.values)[: cell.shape[0], : cell.shape[1]]
        np.testing.assert_allclose(taken, np.array([black[name] for name in channels])[cell], atol=1e-3)
        assert np.isnan(found.variance.values).all()  # one frame does not tell its noise
    assert any("variance of the result is NaN" in text for text in done.warnings)


@pytest.fixture
def each_broken(shared_data: SharedData) -> Iterator[Path]:
    return (path for path in sorted(shared_data("robust").iterdir()) if not path.name.startswith("."))


def test_broken_files_are_said_and_give_no_image(
    each_broken: Iterator[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number = 0
    for number, path in enumerate(each_broken, start=1):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copy(path, folder)
        assert main(["calibrate", str(folder), "-o", str(tmp_path / "out")]) == 1
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert path.name in err
        assert "Traceback" not in err
    assert number == 7
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ccd", "dslr"])
def test_simulated_sessions_agree_with_their_truth(name: str, tmp_path: Path) -> None:
    """Mean of calibrated minus truth within 1 % of the sky; pulls with standard deviation 1 ± 0.03; per channel."""
    from calibkit.simulate import session_truth

    folder = calibkit.sample_session(name, folder=tmp_path / "night")
    done = calibkit.calibrate_session(folder, tmp_path / "out", report=False)
    assert done.ok
    errors: dict[str, list[np.ndarray]] = {}
    pulls: dict[str, list[np.ndarray]] = {}
    skies: dict[str, float] = {}
    for row in done.lights:
        found = calibkit.open_result(done.out / row.path).compute()
        truth = session_truth(folder, row.file)
        cell, channels = channel_index(found)
        index = np.tile(cell, np.array(found.signal.shape) // cell.shape)
        difference = found.signal.values - truth.signal.values
        told = truth.saturated.values | truth.unstable.values | ~np.isfinite(truth.signal.values)
        assert (told | np.isfinite(difference)).all()
        for number, channel in enumerate(channels):
            here = (index == number) & ~told & (found.flags.values == 0)
            assert here.sum() > 0.95 * (index == number).sum()
            errors.setdefault(channel, []).append(difference[here])
            pulls.setdefault(channel, []).append((difference / np.sqrt(found.variance.values))[here])
            skies[channel] = float(np.median(truth.signal.values[index == number]))
    for channel, sky in skies.items():
        assert abs(np.concatenate(errors[channel]).mean()) < 0.01 * sky, channel
        for pull in pulls[channel]:
            assert abs(pull.std() - 1.0) < 0.03, channel


@pytest.mark.slow
def test_a_small_disk_that_fills_up(tmp_path: Path) -> None:
    """On a file system of 6 MB: the run says so, and what is there is whole."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system of its own wants root")
    try:
        folder = calibkit.sample_session("ccd", folder=tmp_path / "night", shape=(200, 300))
        command = [sys.executable, "-m", "calibkit", "calibrate", str(folder), "-o", str(disk / "out")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "disk is full" in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(disk.rglob("*.part"))
        written = list(disk.rglob("*.fits"))
        assert written
        for path in written:
            assert calibkit.open_result(path).signal.compute().notnull().all()
    finally:
        subprocess.run(["umount", str(disk)], check=True)

"""The sample sessions show the lecture's figures and calibrate to their truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import calibkit
from calibkit.cfa import channel_index
from calibkit.errors import Cancelled, SettingError
from calibkit.simulate import sample_session, session_truth
from calibkit.simulate.samples import PERCENTILES, dslr_night

NIGHTS = ("ccd", "dslr")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("samples")
    return {name: sample_session(name, folder=folder / name) for name in NIGHTS}


def stack(folder: Path) -> np.ndarray:
    return calibkit.open_stack(sorted(folder.iterdir())).values.astype(np.float32)


def shown(image: np.ndarray) -> np.ndarray:
    return np.percentile(image, PERCENTILES)


def test_ccd_night_has_the_frames_of_the_lecture(samples: dict[str, Path]) -> None:
    session = calibkit.scan(samples["ccd"])
    found = {group.kind: (len(group), group.exposure, group.temperature) for group in session.groups}
    assert found == {
        "bias": (10, 0.0, -46.0),
        "dark": (11, 240.0, -46.0),
        "flat": (10, 6.0, -46.0),
        "flat dark": (10, 6.0, -46.0),
        "light": (10, 240.0, -46.0),
    }
    assert not session.warnings


def test_dslr_night_has_the_frames_of_the_lecture(samples: dict[str, Path]) -> None:
    session = calibkit.scan(samples["dslr"])
    found = {group.kind: len(group) for group in session.groups}
    assert found == {"bias": 10, "dark": 11, "flat": 10, "flat dark": 10, "light": 7}
    (light,) = (group for group in session.groups if group.kind == "light")
    assert (light.filter, light.info.cfa, light.info.saturation) == ("Ha", "GBRG", 4095)
    assert not session.warnings


def test_ccd_example_is_shown_between_the_figures_of_the_lecture(samples: dict[str, Path]) -> None:
    """827–2617 raw, 715–2132 after the dark, 724–2119 after the flat; here to half a per cent."""
    lights, darks, flats, flat_darks = (
        stack(samples["ccd"] / name) for name in ("lights", "darks", "flats", "flat darks")
    )
    flat = flats.mean(axis=0) - np.median(flat_darks, axis=0)
    flat /= flat.mean()
    dark_less = lights[0] - np.median(darks, axis=0)
    assert shown(lights[0]) == pytest.approx([827, 2617], rel=0.005)
    assert shown(dark_less) == pytest.approx([715, 2132], rel=0.005)
    assert shown(dark_less / flat) == pytest.approx([724, 2119], rel=0.005)
    # The flat: black at −4.3 %, white at +3.8 %, all within 0.94–1.06, the peak near 3500–4000 pixels a bin.
    assert shown(flat) == pytest.approx([1 - 0.043, 1 + 0.038], abs=0.001)
    assert ((flat > 0.94) & (flat < 1.06)).mean() > 0.9999
    counts, _ = np.histogram(flat, bins=300, range=(0.94, 1.06))
    assert 3500 <= counts.max() <= 4000
    # One dark beside the median of eleven: σ falls by almost √11 × 0.8.
    ratio = (
        np.std(darks[0] - darks[1])
        / np.sqrt(2)
        / np.std(np.median(darks[1:], axis=0) - np.median(darks[:-1], axis=0))
    )
    assert ratio > 3


@pytest.mark.parametrize("name", NIGHTS)
def test_calibration_with_means_of_the_frames_comes_to_the_truth(samples: dict[str, Path], name: str) -> None:
    """Masters by numpy, no repair: mean within 1 % of the sky and pulls of deviation 1 ± 0.03, per channel."""
    folder = samples[name]
    lights, darks, flats, flat_darks = (
        stack(folder / kind) for kind in ("lights", "darks", "flats", "flat darks")
    )
    dark, difference = darks.mean(axis=0), flats.mean(axis=0) - flat_darks.mean(axis=0)
    perfect = session_truth(folder)
    dark_variance = (
        perfect.dark.values / perfect.gain + (perfect.read_noise / perfect.gain) ** 2 + 1 / 12
    ) / len(darks)
    flat_variance = np.var(flats, axis=0, ddof=1) / len(flats) + np.var(flat_darks, axis=0, ddof=1) / len(
        flat_darks
    )
    cell, channels = channel_index(perfect)
    py, px = cell.shape
    for number, channel in enumerate(channels):
        ((i, j),) = np.argwhere(cell == number)
        site = (slice(i, None, py), slice(j, None, px))
        good = ~(perfect.saturated | perfect.weak).values[site]
        level = difference[site][good].mean()
        flat = difference[site] / level
        signal = perfect.signal.values[site]
        error = ((lights[:, *site] - dark[site]) / flat - signal)[:, good]
        sky = signal[good].mean()
        assert abs(error.mean()) < 0.01 * sky, channel
        # The darks' and the flat's noise is the same in all lights: it stands beside that of the truth.
        variance = (
            perfect.variance.values[site]
            + (dark_variance[site] + (signal / level) ** 2 * np.median(flat_variance[site])) / flat**2
        )
        pulls = error / np.sqrt(variance[good])
        assert pulls.std() == pytest.approx(1, abs=0.03), channel


def test_dslr_shows_what_the_lecture_says_of_it(samples: dict[str, Path]) -> None:
    darks, flats, flat_darks = (stack(samples["dslr"] / kind) for kind in ("darks", "flats", "flat darks"))
    perfect = session_truth(samples["dslr"])
    # Some pixels saturate by thermal charge alone.
    assert 20 < (darks == 4095).all(axis=0).sum() < 500
    # The original filter takes five sixths of the Hα light.
    night = dslr_night()
    glass = [camera.share("R", "h-alpha") for camera in (night.camera, calibkit.Camera(pattern="GBRG"))]
    assert glass[1] / glass[0] == pytest.approx(6, rel=1e-3)
    # Red holds the light; green and blue are noise that their flats amplify.
    red, green, blue = (
        float(perfect.signal.where(perfect.cfa.channel_mask(c)).mean()) for c in ("R", "G1", "B")
    )
    assert red > 8 * green > 8 * blue
    level = (flats.mean(axis=0) - flat_darks.mean(axis=0))[1::2, 0::2].mean()
    assert level < 0.8 * 4095


def test_warming_dslr_warms_during_the_lights(tmp_path: Path) -> None:
    folder = sample_session("dslr warming", folder=tmp_path / "w", shape=(60, 80))
    lights = stack(folder / "lights")
    level = np.median(lights[:, 0::2, 0::2], axis=(1, 2))
    assert (np.diff(level) > 0).all()
    assert calibkit.open_stack(sorted((folder / "lights").iterdir())).temperature.values == pytest.approx(
        np.linspace(22, 30, 7), abs=0.06
    )


def test_a_sample_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALIBKIT_CACHE", str(tmp_path))
    folder = sample_session("ccd", shape=(40, 60))
    assert folder.parent == tmp_path / "samples"
    stamp = (folder / "simulation.json").stat().st_mtime_ns
    assert sample_session("ccd", shape=(40, 60)) == folder
    assert (folder / "simulation.json").stat().st_mtime_ns == stamp
    assert sample_session("dslr", shape=(40, 60)) != folder


def test_a_sample_with_a_frame_missing_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALIBKIT_CACHE", str(tmp_path))
    folder = sample_session("ccd", shape=(40, 60))
    lost = folder / "lights" / "light_240s_003.fits"
    content = lost.read_bytes()
    lost.unlink()
    assert sample_session("ccd", shape=(40, 60)) == folder
    assert lost.read_bytes() == content


def test_an_interrupted_sample_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALIBKIT_CACHE", str(tmp_path))

    def stop(done: int, total: int, what: str) -> None:
        if done == 7:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        sample_session("ccd", shape=(40, 60), progress=stop)
    folder = sample_session("ccd", shape=(40, 60))
    assert len(list(folder.rglob("*.fits"))) == 51


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    folder = sample_session("dslr", folder=tmp_path / "mine", shape=(40, 60))
    assert folder == tmp_path / "mine"
    assert sample_session("dslr", folder=folder, shape=(40, 60)) == folder
    for other in ("ccd", "dslr warming"):
        with pytest.raises(SettingError, match="new or an empty folder"):
            sample_session(other, folder=folder, shape=(40, 60))
    assert len(list(folder.rglob("*.fits"))) == 48


def test_a_sample_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SettingError, match="'ccd', 'dslr'"):
        sample_session("cmos")

"""The parts of the diagnosis: samples, estimators, verdicts, words; sessions, runs and refusals."""

from __future__ import annotations

import dataclasses
import math
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit.diagnosis.checks import CHECKS
from calibkit.diagnosis.finding import FAULT, OK, SUSPECT, UNCLEAR, Diagnosis, Finding, judged, unclear
from calibkit.diagnosis.patterns import Pattern, dark_share, high_pass, median_of, sky_of, without_plane
from calibkit.diagnosis.sampling import MOST_FRAMES, Grid, Sample
from calibkit.errors import CalibkitWarning, Cancelled, SettingError
from calibkit.simulate import (
    X_TRANS,
    Camera,
    FrameSet,
    Lamp,
    Optics,
    Sky,
    random_dust,
    simulate_stack,
    write_session,
)

# samples


@pytest.mark.parametrize(
    ("pattern", "origin"), [("", (0, 0)), ("RGGB", (0, 0)), ("GBRG", (5, 7)), (X_TRANS, (4, 3))]
)
def test_a_sample_holds_the_pixels_of_its_tiles_by_colour(pattern: str, origin: tuple[int, int]) -> None:
    camera = Camera(shape=(140, 180), pattern=pattern)
    frames = simulate_stack(camera, 2, kind="bias").isel(y=slice(origin[0], None), x=slice(origin[1], None))
    height, width = frames.sizes["y"], frames.sizes["x"]
    where = np.arange(height)[:, None] * 1000 + np.arange(width)
    labels = np.tile(camera.cfa.labels, (200, 200))[
        origin[0] : origin[0] + height, origin[1] : origin[1] + width
    ]
    grid = Grid.of(frames)
    placed = grid.cut(lambda y0, y1: where[y0:y1])
    assert placed.shape[:2] == (grid.period[0] * grid.period[1], grid.tiles)
    for site in range(placed.shape[0]):
        y, x = np.divmod(placed[site], 1000)
        assert set(labels[y, x].ravel()) == {grid.channels[grid.site_channel[site]]}
        # neighbours in a plane are one cell apart
        assert (np.diff(y, axis=1) == grid.period[0]).all()
        assert (np.diff(x, axis=2) == grid.period[1]).all()
    assert np.unique(placed).size == placed.size
    sample = Sample("bias", "bias", grid, frames)
    y, x = np.divmod(placed, 1000)
    np.testing.assert_array_equal(sample.frames[1], frames.values[1][y, x])


def test_a_sample_of_files_is_that_of_their_pixels(tmp_path: Path) -> None:
    camera = Camera(shape=(120, 160), pattern="RGGB")
    folder = write_session(tmp_path / "night", camera, [FrameSet(kind="bias", count=MOST_FRAMES + 4)])
    lazy = calibkit.open_stack(sorted((folder / "bias").iterdir()))
    grid = Grid.of(lazy)
    from_files, in_memory = (Sample("bias", "bias", grid, data) for data in (lazy, lazy.compute()))
    assert len(from_files.frames) == MOST_FRAMES
    np.testing.assert_array_equal(from_files.frames, in_memory.frames)
    np.testing.assert_allclose(from_files.levels, in_memory.levels)
    assert from_files.levels.shape[0] == MOST_FRAMES + 4
    shifted = Sample("bias", "bias", grid, lazy * 2)  # no longer what the reader gives
    np.testing.assert_array_equal(shifted.frames, 2 * in_memory.frames)


def test_half_masters_are_independent_and_free_of_cosmic_rays() -> None:
    rng = np.random.default_rng(1)
    frames = rng.normal(1000, 10, (8, 96, 96)).astype("f4")
    frames[3, 10:20, 10:20] += 5000
    stack = xr.DataArray(
        frames, dims=("frame", "y", "x"), coords={"y": range(96), "x": range(96)}, attrs={"cfa": ""}
    )
    sample = Sample("dark", "dark", Grid.of(stack), stack)
    a, b = sample.halves
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] < 0.05
    assert abs(a - 1000).max() < 40
    assert sample.master.std() == pytest.approx(10 / np.sqrt(8), rel=0.05)
    assert np.sqrt(median_of(sample.pair_variance)) == pytest.approx(10, rel=0.05)


# estimators


def tiles_of(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (1, 100, *shape)).astype("f4")


def test_share_of_a_pattern_is_not_pulled_down_by_noise() -> None:
    """Noise of twice the pattern: least squares would find a fifth of the share."""
    pattern, pulls = 1.0 * tiles_of(24, 24, seed=0), []
    for seed in range(1, 21):
        a, b, noise = (2.0 * tiles_of(24, 24, seed=100 * seed + i) for i in range(3))
        light = 100 + 0.7 * pattern + noise
        share = dark_share((light, light), Pattern(pattern + (a + b) / 2, (pattern + a, pattern + b)))
        fit = np.sum(high_pass(light) * high_pass(pattern + (a + b) / 2)) / np.sum(
            high_pass(pattern + (a + b) / 2) ** 2
        )
        assert fit < 0.35
        pulls.append((share.value - 0.7) / share.error)
    assert abs(np.mean(pulls)) < 4 / np.sqrt(len(pulls))
    assert 0.6 < np.std(pulls) < 1.5


def test_share_of_a_master_uses_its_variance() -> None:
    pattern, noise, light = (tiles_of(24, 24, seed=i) for i in range(3))
    master = pattern + noise
    share = dark_share((0.5 * pattern + light,) * 2, Pattern(master, (master, master), np.ones_like(master)))
    assert abs(share.value - 0.5) < 4 * share.error
    assert not Pattern(master, (master, master)).known


def test_shared_bias_is_not_taken_for_dark_current() -> None:
    bias, dark, light = (tiles_of(24, 24, seed=i) for i in range(3))
    halves = (dark + 0.3 * tiles_of(24, 24, seed=8) - bias, dark + 0.3 * tiles_of(24, 24, seed=9) - bias)
    pattern = Pattern((halves[0] + halves[1]) / 2, halves, np.ones_like(bias))
    wrong = dark_share((0.2 * dark + light - bias,) * 2, dataclasses.replace(pattern, noise=None))
    right = dark_share((0.2 * dark + light - bias,) * 2, pattern, shared=np.ones_like(bias))
    assert wrong.value > 0.4
    assert abs(right.value - 0.2) < 4 * right.error


def test_levels_do_not_see_stars_or_nan() -> None:
    values = 50 + tiles_of(24, 24, seed=3)
    values[:, :, :3, :3] += 500
    values[:, :, 10] = np.nan
    assert abs(sky_of(values) - 50).max() < 0.35
    assert np.isnan(sky_of(np.full_like(values, np.nan))).all()
    assert median_of(np.array([[1.0, np.nan, 3.0], [np.nan] * 3]), axis=1).tolist() == pytest.approx(
        [2.0, np.nan], nan_ok=True
    )


def test_a_plane_is_taken_out_whole() -> None:
    y, x = np.mgrid[:8, :10]
    plane = (3 + 0.5 * y - 0.2 * x)[None].repeat(2, axis=0)
    use = np.ones(plane.shape, bool)
    use[:, 2:5, 3:6] = False
    spoiled = np.where(use, plane, 1e3)
    assert abs(without_plane(spoiled, use)).max() < 1e-5


# verdicts and words


def finding(number: float, error: float) -> Finding:
    return judged(
        "test", "lights", number, error, "%", tolerance=3, grave=10, good="good.", bad="bad.", advice="Do."
    )


def test_verdicts_need_both_size_and_significance() -> None:
    assert finding(2.9, 0.1).verdict == OK  # significant, but small
    assert finding(5, 2).verdict == OK  # large, but not significant, and a fault would have been seen
    assert finding(5, 0.5).verdict == SUSPECT
    assert finding(-12, 0.5).verdict == FAULT
    assert finding(12, 4).verdict == UNCLEAR  # a fault as large as that could not be seen
    assert finding(math.nan, 1).verdict == UNCLEAR
    assert finding(5, 0.5).significance == pytest.approx(10)
    assert finding(5, 0.0).significance == math.inf
    assert finding(-12, 0.5).measured == "−12.0 ± 0.5 %".replace("0.5", "0.50").replace("12.0", "12.00")
    assert finding(-12, 0.5).advice == "Do."
    assert finding(1, 0.1).advice == ""


def test_summary_table_and_html() -> None:
    bad = judged("a <b>", "<script>", 12, 0.5, "%", tolerance=3, grave=10, good="", bad="x & y", advice="<i>")
    found = Diagnosis(
        "night <1>", (bad, finding(1, 0.1), unclear("c", "w", "because."), unclear("d", "w", "because."))
    )
    assert [f.name for f in found.faults] == ["a <b>"]
    assert not found.ok
    assert Diagnosis("n", (finding(1, 0.1),)).ok
    assert len(found["c"]) == 1
    text = str(found)
    assert text.startswith("night <1>: 1 fault, 2 cannot tell, 1 ok")
    assert "cannot tell: c of w, d of w\n    because." in text
    assert "ok: test" in text
    page = found._repr_html_()
    assert "<script>" not in page
    assert "night &lt;1&gt;" in page
    assert "x &amp; y" in page
    assert page.count("<tr>") == 2 + len(found)  # what is well has a table of its own, folded up
    assert page.index("<details>") < page.index('<td style="text-align:left">ok</td>')
    assert list(found.table["verdict"]) == ["fault", "ok", "cannot tell", "cannot tell"]
    for text in (str(Diagnosis("n", ())), Diagnosis("n", ())._repr_html_()):
        assert "nothing was tested" in text


# what cannot be told


@pytest.fixture(scope="module")
def plain() -> dict[str, xr.DataArray]:
    """An even sky through a flat without shading or dust."""
    camera = Camera(
        shape=(192, 240), sensitivity_spread=0.0, hot_fraction=0.0, dark_current=0.0, read_noise=5.0
    )
    kinds = {
        "bias": {},
        "dark": {"exposure": 60.0},
        "flat": {"exposure": 1.0},
        "light": {"exposure": 60.0, "sky": Sky()},
    }
    return {
        kind: simulate_stack(camera, 4, kind=kind, frame_index=100 * i, **settings)
        for i, (kind, settings) in enumerate(kinds.items())
    }


def test_what_the_frames_do_not_show_is_said(plain: dict[str, xr.DataArray]) -> None:
    found = calibkit.diagnose(**plain)
    reasons = {f.name: f.cause for f in found.unclear}
    assert "2 % are wanted" in reasons["flat shading"]
    assert "no shadows of dust" in reasons["flat shadows"]
    assert "does not stand out" in reasons["flat correction"]
    assert "no hot pixels" in reasons["dark strength"]
    assert "no glow" in reasons["amp glow"]
    assert not found.faults


def test_too_few_tiles_for_a_fit(plain: dict[str, xr.DataArray]) -> None:
    small = {kind: stack[:, :100, :100] for kind, stack in plain.items()}
    (found,) = calibkit.diagnose(**small, checks=["flat shading"])
    assert "16 tiles; 32 are wanted" in found.cause


def test_every_test_copes_with_any_part_alone(plain: dict[str, xr.DataArray]) -> None:
    for kind, stack in plain.items():
        for frames in (stack[:1], stack):
            found = calibkit.diagnose(**{kind: frames})
            assert not found.faults
            assert {f.name for f in found} == set(CHECKS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibkitWarning)
        result = calibkit.calibrate(plain["light"][0], bias=calibkit.master_bias(plain["bias"]))
    assert not calibkit.diagnose(result).faults
    assert not calibkit.diagnose(result.drop_vars(["variance", "flags"])).faults


def test_inputs_stay_as_they_are(plain: dict[str, xr.DataArray]) -> None:
    before = {kind: stack.copy(deep=True) for kind, stack in plain.items()}
    calibkit.diagnose(**plain)
    for kind, stack in plain.items():
        xr.testing.assert_identical(stack, before[kind])


def test_what_cannot_be_asked_is_refused(plain: dict[str, xr.DataArray], tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="given nothing"):
        calibkit.diagnose()
    with pytest.raises(SettingError, match="no such test; there are background clipped"):
        calibkit.diagnose(**plain, checks=["darks"])
    with pytest.raises(SettingError, match="too small"):
        calibkit.diagnose(light=plain["light"][:, :30, :30])
    with pytest.raises(SettingError, match="result="):
        calibkit.diagnose(result=plain["light"])
    with pytest.raises(SettingError, match="found ndarray"):
        calibkit.diagnose(plain["light"].values)
    with pytest.raises(SettingError, match=r"light=\) takes"):
        calibkit.diagnose(light=plain["light"].values)
    with pytest.raises(SettingError, match="brings its own frames"):
        calibkit.diagnose(tmp_path, light=plain["light"])

    def stop(done: int, total: int, what: str) -> None:
        if done == 2:
            raise Cancelled(what)

    with pytest.raises(Cancelled):
        calibkit.diagnose(**plain, progress=stop)


def test_a_dark_of_another_size_is_a_fault_not_an_error(plain: dict[str, xr.DataArray]) -> None:
    binned = plain["dark"][:, ::2, ::2].assign_coords(y=range(96), x=range(120)).assign_attrs(binning=(2, 2))
    found = calibkit.diagnose(**plain | {"dark": binned})
    (fault,) = found["mixed settings"]
    assert fault.verdict == FAULT
    assert "does not cover" in fault.cause


# sessions and runs

CAMERA = Camera(
    name="Test camera", shape=(192, 252), gain_setting=100.0, read_noise=6.0, offset=200.0, dark_current=0.5,
    hot_fraction=0.003, hot_rate=8.0, sensitivity_spread=0.015, gain=1.5,
)  # fmt: skip
OPTICS = Optics(vignetting=0.25, dust=random_dust(8, CAMERA.shape, depth=0.08, radius=10, seed=2))


def night(folder: Path, **changes: dict[str, object]) -> Path:
    sets = []
    for kind, exposure in (("bias", 0.0), ("dark", 60.0), ("flat", 1.0), ("flat dark", 1.0), ("light", 60.0)):
        settings = {"kind": kind, "count": 5, "exposure": exposure} | changes.get(kind.replace(" ", "_"), {})
        sets.append(FrameSet(**settings))
    lamp, sky = Lamp(rate=25_000.0), Sky(background=40.0, gradient=0.05, n_stars=40)
    return write_session(folder, CAMERA, sets, optics=OPTICS, sky=sky, lamp=lamp, seed=7)


def test_clean_folder_is_silent_and_a_run_of_it_too(tmp_path: Path) -> None:
    folder = night(tmp_path / "night")
    found = calibkit.diagnose(folder)
    assert found.ok, found
    assert found.subject == str(folder)
    assert len({(f.name, f.where) for f in found}) == len(found)
    run = calibkit.calibrate_session(folder, tmp_path / "out", report=False)
    again = calibkit.diagnose(run)
    assert again.ok, again
    assert any(f.where.startswith("master") for f in again["fractions"])
    assert any("lights" in f.where for f in again["noise"])


def test_headers_that_lie_do_not_hide_the_fault(tmp_path: Path) -> None:
    """Dark at another temperature, flat dark too long: the session matches them, the pixels tell."""
    home = CAMERA.reference_temperature
    changes = {
        "dark": {"temperature": home + 4, "stated": {"CCD-TEMP": home}},
        "flat_dark": {"exposure": 12.0, "stated": {"EXPTIME": 1.0}},
    }
    session = calibkit.scan(night(tmp_path / "night", **changes))
    assert session.matches[0].dark is not None
    found = calibkit.diagnose(session)
    assert {fault.name for fault in found.faults} >= {"dark temperature", "dark strength", "flat dark"}
    (temperature,) = found["dark temperature"]
    assert abs(temperature.number + 4) < 4 * temperature.error + 0.1


def test_what_the_session_refused_is_said_again(tmp_path: Path) -> None:
    old = {"stated": {"DATE-OBS": "2025-11-02T20:00:00"}}
    changes = {"flat": old, "dark": {"stated": {"GAIN": 400.0}}, "flat_dark": {"exposure": 5.0}}
    found = calibkit.diagnose(night(tmp_path / "night", **changes))
    faults = {fault.name: fault for fault in found.faults}
    assert "of the night" in faults["flat night"].cause
    assert "gain/ISO 400, the lights have 100" in faults["mixed settings"].cause


def test_flat_darks_that_are_too_long_are_scaled_or_named_though_unused(tmp_path: Path) -> None:
    folder = night(tmp_path / "night", flat_dark={"exposure": 5.0}, dark={"exposure": 5.0})
    (scaled,) = calibkit.diagnose(folder, checks=["flat dark"])
    assert scaled.verdict == OK
    assert "scaled by 0.2" in scaled.cause
    shutil.rmtree(folder / "bias")  # without it nothing can be scaled
    (refused,) = calibkit.diagnose(folder, checks=["flat dark"])
    assert refused.verdict == SUSPECT
    assert "5 s long, the flats 1 s" in refused.cause


def test_a_folder_of_calibration_frames_alone(tmp_path: Path) -> None:
    sets = [FrameSet(kind="bias", count=4), FrameSet(kind="dark", count=4, exposure=60.0)]
    found = calibkit.diagnose(write_session(tmp_path / "darks", CAMERA, sets))
    assert found.ok, found
    assert any(f.where.startswith("dark") for f in found["noise"])

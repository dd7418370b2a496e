"""Stars, quality and alignment against the simulated truth."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import calibkit as ck
from calibkit.align import Transforms
from calibkit.align import stars as stars_module
from calibkit.align.stars import survey_light
from calibkit.combining import measure_levels
from calibkit.errors import CalibkitError, CalibkitWarning, FrameFileError, MismatchError, SettingError
from calibkit.flags import HOT, REJECTED_ALL, REPAIRED, count_flags
from calibkit.simulate import X_TRANS, Camera, Sky, simulate_stack

PATTERNS = {"mono": "", "X-Trans": X_TRANS} | {p: p for p in ("RGGB", "BGGR", "GRBG", "GBRG", "RGBW")}
SHAPE = (301, 403)
CAMERA = {"shape": SHAPE, "gain": 1.5, "read_noise": 5.0, "offset": 300.0, "dark_current": 0.0}
SKY = Sky(
    background=5.0, n_stars=90, star_flux=30_000.0, fwhm=3.0, drift=(2.3, -3.7), dither=0.5, rotation=0.8
)


def lights(
    pattern: str = "RGGB", sky: Sky = SKY, count: int = 3, first: int = 0, crop: bool = True
) -> xr.Dataset:
    camera = Camera(pattern=pattern, **CAMERA)
    stack = simulate_stack(camera, count, exposure=30.0, sky=sky, frame_index=first, seed=4)
    if crop:
        stack = stack.isel(y=slice(3, None), x=slice(5, 400))
    return ck.calibrate(stack, bias=ck.constant_bias(stack, 300.0))


def true_matrix(sky: Sky, number: int) -> np.ndarray:
    """From the sky as it is drawn to frame *number*, (x, y, 1)."""
    a = math.radians(sky.turn(number))
    c, s = math.cos(a), math.sin(a)
    mx, my = (SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2
    dy, dx = sky.shift(number)
    return np.array([[c, -s, mx - c * mx + s * my + dx], [s, c, my - s * mx - c * my + dy], [0.0, 0.0, 1.0]])


def deviation(matrix: np.ndarray, sky: Sky, number: int, reference: int) -> float:
    """Root mean square over the frame of how far *matrix* puts pixels from where they belong, per axis."""
    truth = true_matrix(sky, reference) @ np.linalg.inv(true_matrix(sky, number))
    y, x = np.mgrid[0 : SHAPE[0] : 20, 0 : SHAPE[1] : 20]
    points = np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    return float(np.sqrt(np.mean(((matrix - truth) @ points)[:2] ** 2)))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_alignment_agrees_with_the_truth(pattern: str) -> None:
    transforms = ck.register(lights(PATTERNS[pattern]), reference=1)
    assert transforms.ok.all()
    assert transforms.reference == 1
    for number, frame in enumerate(transforms):
        away = deviation(frame.matrix, SKY, number, 1)
        assert away < 0.05
        assert away < 4 * frame.error + 1e-9  # and says itself how good it is
    assert transforms[0].rotation == pytest.approx(0.8, abs=0.01)


def test_a_light_is_surveyed_as_its_stars_are_found_its_flags_counted_and_its_levels_measured() -> None:
    made = lights(count=2)
    for light, stars in zip([made.isel(frame=0), made.isel(frame=1)], ck.find_stars(made), strict=True):
        flags = light["flags"].values.copy()
        flags[7:9, 11:200] |= REPAIRED | HOT | REJECTED_ALL
        found, counts, levels = survey_light(light)
        assert found.as_dict() | {"name": stars.name} == stars.as_dict()
        assert counts == count_flags(light["flags"].values)
        alone = measure_levels(light.expand_dims("frame"))
        np.testing.assert_array_equal(levels.location, alone.location)
        np.testing.assert_array_equal(levels.scale, alone.scale)
        light = light.assign(flags=(("y", "x"), flags))
        assert survey_light(light)[1] == count_flags(flags)


def test_stars_are_found_when_more_is_bright_than_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    made = lights(count=1)
    expected = ck.find_stars(made)[0]
    monkeypatch.setattr(stars_module, "_STACK", 20)
    assert ck.find_stars(made)[0].as_dict() == expected.as_dict()


def test_after_a_meridian_flip() -> None:
    sky = Sky(background=5.0, n_stars=90, star_flux=30_000.0, fwhm=3.0, drift=(6.2, -9.1), rotation=179.3)
    transforms = ck.register(lights(sky=sky, count=2))
    number = 1 - transforms.reference
    assert deviation(transforms[number].matrix, sky, number, transforms.reference) < 0.05


@pytest.mark.parametrize("model", ["translation", "euclidean", "similarity", "affine"])
def test_models(model: str) -> None:
    sky = Sky(background=5.0, n_stars=90, star_flux=30_000.0, fwhm=3.0, drift=(2.3, -3.7))
    frame = ck.register(lights(sky=sky, count=2), reference=0, model=model)[1]
    assert deviation(frame.matrix, sky, 1, 0) < 0.05
    if model == "translation":
        np.testing.assert_array_equal(frame.matrix[:2, :2], np.eye(2))


def test_frames_without_stars_are_reported_and_left_out() -> None:
    stack = lights(count=2, first=1)
    cloud = lights(sky=Sky(background=9.0), count=1)
    elsewhere = lights(sky=Sky(background=5.0, n_stars=90, star_flux=30_000.0, fwhm=3.0, seed=7), count=1)
    with pytest.warns(CalibkitWarning, match="2 of 4 frames cannot be aligned"):
        transforms = ck.register([stack, cloud, elsewhere])
    assert transforms.ok.tolist() == [True, True, False, False]
    assert "stars were found" in transforms[2].reason
    assert "pattern" in transforms[3].reason
    assert np.isnan(transforms[2].matrix).all()
    quality = ck.measure_quality([stack, cloud])
    assert quality.usable.tolist() == [True, True, False]
    with pytest.raises(CalibkitError, match="nothing to align on"):
        ck.register([cloud, cloud])


def test_quality_agrees_with_the_truth() -> None:
    sharp, wide = lights(count=3), lights(sky=Sky(**{**SKY.__dict__, "fwhm": 6.0}), count=1)
    quality = ck.measure_quality([sharp, wide])
    np.testing.assert_allclose(quality.fwhm, [3.0, 3.0, 3.0, 6.0], rtol=0.03)
    # a green pixel: light, and noise of light and readout
    green = float(lights(sky=Sky(background=5.0), count=1).isel(frame=0).cfa["G1"].signal.mean())
    expected = math.sqrt(float(np.median(sharp.variance.isel(frame=0).values)))
    # among so many stars the level is found to a tenth of the noise
    np.testing.assert_allclose(quality.sky[:3], green, atol=0.1 * expected)
    np.testing.assert_allclose(quality.noise[:3], expected, rtol=0.15)
    assert (quality.eccentricity < 0.4).all()
    assert quality.usable.tolist() == [True, True, True, False]
    assert "pixels wide" in quality.reason[3]


def test_places_of_stars_agree_with_the_truth() -> None:
    sky = Sky(background=5.0, n_stars=60, star_flux=60_000.0, fwhm=2.2)
    (found,) = ck.find_stars(lights(sky=sky, count=1, crop=False))
    truth = sky.star_list(SHAPE)
    apart = np.hypot(found.x[:, None] - truth[:, 1], found.y[:, None] - truth[:, 0])
    near = apart.min(axis=1) < 0.5
    assert near.mean() > 0.9
    rest = np.stack([found.x - truth[apart.argmin(1), 1], found.y - truth[apart.argmin(1), 0]])[:, near]
    assert np.median(np.abs(rest)) / 0.6745 < 0.05
    assert np.abs(rest.mean(axis=1)).max() < 0.02


def test_stars_behind_a_red_filter_are_found_where_there_is_light() -> None:
    camera = Camera(pattern="RGGB", **CAMERA)
    sky = Sky(background=20.0, n_stars=90, star_flux=1.2e5, fwhm=3.0, drift=(2.3, -3.7))
    stack = simulate_stack(camera, 2, exposure=60.0, sky=sky, filter="Ha", seed=4)
    frames = ck.calibrate(stack, bias=ck.constant_bias(stack, 300.0))
    stars = ck.find_stars(frames)
    assert [each.colour for each in stars] == ["R", "R"]
    transforms = ck.register(frames, stars=stars, reference=0)
    assert deviation(transforms[1].matrix, sky, 1, 0) < 0.1


def test_bad_and_saturated_pixels_do_not_pull() -> None:
    stack = lights(count=2)
    broken = stack.copy(deep=True)
    rng = np.random.default_rng(0)
    hot = rng.random(broken.signal.shape) < 0.001
    broken.signal.values[hot] = 60_000.0
    broken.flags.values[hot] |= ck.flags.HOT
    transforms = ck.register(broken, reference=0)
    assert deviation(transforms[1].matrix, SKY, 1, 0) < 0.05


def test_lists_stacks_and_lazy_lights_give_the_same() -> None:
    stack = lights(count=2)
    one = ck.register(stack, reference=0)
    two = ck.register([stack.isel(frame=0), stack.isel(frame=1).chunk(y=70)], reference=0)
    np.testing.assert_allclose(one[1].matrix, two[1].matrix, rtol=1e-12)
    stars = ck.find_stars(stack)
    three = ck.register(stack, reference=0, stars=stars)
    np.testing.assert_array_equal(one[1].matrix, three[1].matrix)


def test_transforms_are_kept_as_json(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibkitWarning)
        made = ck.register([lights(count=2), lights(sky=Sky(background=9.0), count=1)])
    back = Transforms.load(made.save(tmp_path / "t.json"))
    np.testing.assert_array_equal(back.ok, made.ok)
    for one, two in zip(made, back, strict=True):
        np.testing.assert_array_equal(one.matrix, two.matrix)
        assert (one.name, one.stars, one.reason) == (two.name, two.stars, two.reason)
    assert back.table.equals(made.table)
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(FrameFileError, match="no transforms"):
        Transforms.load(tmp_path / "t.json")


def test_what_cannot_work_is_refused() -> None:
    stack = lights(count=2)
    for options in (
        {"model": "magic"},
        {"reference": 9},
        {"reference": "best"},
        {"minimum_stars": 1},
        {"use": [True]},
    ):
        with pytest.raises(SettingError):
            ck.register(stack, **options)
    with pytest.raises(MismatchError, match="size"):
        ck.register([stack.isel(frame=0), stack.isel(frame=1, y=slice(0, 200))])
    with pytest.raises(MismatchError, match="takes results"):
        ck.register(["a.fits"])
    with pytest.raises(SettingError):
        ck.find_stars(stack, threshold=0)
    with pytest.raises(SettingError):
        ck.measure_quality(stack, widest=0.5)


def test_frames_that_are_not_to_be_used_are_no_reference() -> None:
    some = lights()
    assert ck.register(some, use=[False, True, True]).ok.tolist() == [False, True, True]
    with pytest.raises(SettingError, match="leaves out this frame"):
        ck.register(some, reference=0, use=[False, True, True])
    with pytest.raises(SettingError, match="leaves out every light"):
        ck.register(some, use=[False] * 3)

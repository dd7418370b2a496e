"""The lecture's last example: seven Hα lights of a warm colour camera become one picture, by hand and by one command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image

import calibkit
from calibkit import flags as fl
from calibkit.colour.narrowband import line_of_filter
from calibkit.errors import CalibkitWarning, SettingError
from calibkit.pipeline import RunResult
from calibkit.recipe import StackSettings


@pytest.fixture(scope="module")
def night() -> Path:
    return calibkit.sample_session("dslr")


@pytest.fixture(scope="module")
def done(night: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return calibkit.process(night, None, tmp_path_factory.mktemp("line") / "out", report=False)


def stack_of(done: RunResult) -> xr.Dataset:
    return calibkit.open_result(done.out / done.stacks[0].path).compute()


def test_one_command_keeps_red_alone(done: RunResult) -> None:
    assert done.ok
    (row,) = done.stacks
    assert (row.line, len(row.files), list(row.noise)) == ("Ha", 7, ["L"])
    stack = stack_of(done)
    assert stack["signal"].dims == ("y", "x")
    assert stack.sizes["y"] == 240, "one pixel for each cell of the grid"
    steps = [step["step"] for step in stack.attrs["provenance"]]
    assert steps[-2:] == ["stack lights", "extract line"]


def test_few_stars_are_enough_for_shifts(done: RunResult) -> None:
    row = done.stacks[0]
    assert any("only shifts are measured" in text for text in row.warnings)
    places = np.array([(frame["shift y"], frame["shift x"]) for frame in row.frames])
    assert np.sqrt(np.mean(places**2)) < 0.05, "the sample's mount does not move"


def test_the_picture_is_the_truth_within_its_noise(night: Path, done: RunResult) -> None:
    stack = stack_of(done)
    truth = calibkit.session_truth(night)
    red = truth.signal.where(truth.cfa.channel_mask("R")).values
    truth_red = np.nanmean(red.reshape(240, 2, 320, 2).transpose(0, 2, 1, 3).reshape(240, 320, 4), axis=-1)
    good = (stack["flags"].values == 0) & np.isfinite(stack["signal"].values)
    error = (stack["signal"].values - truth_red)[good]
    assert good.mean() > 0.95
    assert abs(np.median(error)) < 0.01 * np.median(truth_red)
    bright = truth_red[good] > np.quantile(truth_red, 0.8)
    assert abs(np.median(error[bright])) < 0.01 * np.median(truth_red[good][bright]), "the nebula, too"
    single = done.lights[0].after["R"]["measured"]
    predicted = float(np.sqrt(np.nanmedian(stack["variance"].values)))
    # What the seven share, the noise of the master dark, does not become less by combining them.
    scatter = 1.4826 * np.median(np.abs(error - np.median(error)))
    assert scatter < 1.25 * single / np.sqrt(7)
    assert predicted == pytest.approx(single / np.sqrt(7), rel=0.1)


def test_stars_are_bright_to_their_middle_and_the_background_is_not_black(done: RunResult) -> None:
    stack = stack_of(done)
    with Image.open(done.out / done.stacks[0].picture) as file:
        picture = np.asarray(file)
    assert picture.ndim == 2
    assert (picture == 0).mean() < 0.01
    full, mended = ((stack["flags"].values & flag) != 0 for flag in (fl.SATURATED, fl.REPAIRED))
    assert (full & ~mended).any()
    assert picture[full & ~mended].min() > 250, "a saturated star is white, not a hole"
    hot = full & mended
    around = [np.median(picture[y - 2 : y + 3, x - 2 : x + 3]) for y, x in np.argwhere(hot)]
    assert np.abs(picture[hot] - np.array(around)).max() < 60, (
        "a hot pixel that was full and mended is no star"
    )


def test_a_recipe_may_keep_the_colours(night: Path, done: RunResult) -> None:
    recipe = calibkit.Recipe(until="stack", stack=StackSettings(line="none"))
    kept = calibkit.process(night, recipe, done.out, report=False)
    assert [row.line for row in kept.stacks] == [""]
    assert list(stack_of(kept)["channel"].values) == ["R", "G", "B"]
    with pytest.raises(SettingError, match="a line is taken from the whole grid"):
        StackSettings(line="Ha", channels="drizzle")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        *(("Ha", "Ha"), ("H-alpha 7nm", "Ha"), ("Hα", "Ha"), ("[O III]", "OIII"), ("O3 8.5 nm", "OIII"), ("S II", "SII")),
        *(("", None), ("R", None), ("Ha+OIII", None), ("Hat", None), ("CLS", None), ("N II", "NII"), ("H-beta", "Hb")),
    ],
)  # fmt: skip
def test_names_of_filters(name: str, line: str | None) -> None:
    assert line_of_filter(name) == line


def test_a_drifting_mount_is_followed_and_the_line_stays_unbiased() -> None:
    """By the functions that the command uses, with stars enough for every model."""
    drift = (1.7, -2.4)
    camera = calibkit.Camera(
        shape=(320, 400),
        pattern="GBRG",
        gain=1.4,
        read_noise=7.0,
        offset=128.0,
        bit_depth=12,
        dark_current=0.05,
    )
    sky = calibkit.Sky(
        background=150.0, n_stars=400, star_flux=3e5, fwhm=3.0, h_alpha=20.0, drift=drift, seed=3
    )
    raw = calibkit.simulate_stack(camera, 7, exposure=300.0, sky=sky, filter="Ha", seed=5)
    flats = calibkit.simulate_stack(
        camera, 30, kind="flat", exposure=1.0, lamp=calibkit.Lamp(rate=20_000.0), seed=6
    )
    level = calibkit.constant_bias(raw, level=128.0)
    masters = {"bias": level, "flat": calibkit.master_flat(flats, bias=level)}
    lights = calibkit.calibrate(raw, **masters)
    transforms = calibkit.register(lights, reference=0)
    found = np.array([each.shift for each in transforms])[:, ::-1]
    wanted = -np.arange(7)[:, None] * np.array(drift)
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 0.05
    picture = calibkit.extract_line(calibkit.stack_lights(lights, transforms, channels="mosaic"), "Ha")
    alone = calibkit.extract_line(lights.isel(frame=0), "Ha")
    still = calibkit.simulate_stack(camera, 60, exposure=300.0, sky=sky.__class__(**{**vars(sky), "drift": (0, 0)}),
        filter="Ha", seed=9)  # fmt: skip
    deep = calibkit.combine(calibkit.calibrate(still, **masters))
    deep = calibkit.extract_line(deep, "Ha")
    middle = np.s_[12:-12, 16:-16]
    noise = {}
    for name, image in (("seven", picture), ("one", alone)):
        rest = (image.signal - deep.signal.values).values[middle]
        rest = rest[np.isfinite(rest)]
        noise[name] = 1.4826 * np.median(np.abs(rest - np.median(rest)))
        assert abs(np.median(rest)) < 0.01 * float(deep.signal.median())
    assert noise["seven"] < 1.1 * noise["one"] / np.sqrt(7) * 1.05, (
        "60 frames are the truth but for their own noise"
    )


def test_a_turning_field_is_told_where_stars_are_few() -> None:
    camera = calibkit.Camera(shape=(200, 240), offset=100.0)
    places = ((40.0, 50.0), (150.0, 60.0), (60.0, 200.0), (160.0, 190.0))
    sky = calibkit.Sky(stars=tuple((y, x, 3000.0) for y, x in places), rotation=3.0, fwhm=3.0)
    raw = calibkit.simulate_stack(camera, 2, exposure=30.0, sky=sky)
    lights = calibkit.calibrate(raw, bias=calibkit.constant_bias(raw, level=100.0))
    with pytest.warns(CalibkitWarning, match=r"only shifts are measured|do not agree on a shift"):
        transforms = calibkit.register(lights)
    assert [each.ok for each in transforms].count(True) == 1
    assert any("do not agree on a shift" in each.reason for each in transforms)

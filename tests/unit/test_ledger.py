"""The noise ledger: predicted and measured agree where all is known, disagree where something is not, and add up."""

from __future__ import annotations

import math
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit.calibration.pairs import tile_shape
from calibkit.cfa import channel_index
from calibkit.errors import CalibkitWarning
from calibkit.ledger import NoiseLedger
from calibkit.ledger.sample import Block, blocks_of
from calibkit.ledger.tally import block_images
from calibkit.ledger.task import make_task
from calibkit.simulate import (
    X_TRANS,
    Camera,
    FrameSet,
    Lamp,
    Optics,
    Sky,
    simulate_stack,
    truth,
    write_session,
)

GAIN, READ_NOISE, EXPOSURE, LIGHTS, DARKS = 1.6, 9.0, 120.0, 8, 9
OPTIONS = {
    "dark_scale": None,
    "gain": None,
    "read_noise": None,
    "defects": None,
    "temperature_tolerance": 2.0,
}


def camera_of(pattern: str) -> Camera:
    return Camera(
        shape=(480, 480), pattern=pattern, gain=GAIN, read_noise=READ_NOISE, offset=300, dark_current=0.5,
        dark_spread=0.15, hot_fraction=0.003, column_offsets=2.0, row_noise=1.0, seed=3,
    )  # fmt: skip


@cache
def night(pattern: str) -> tuple[xr.DataArray, dict[str, xr.Dataset]]:
    """Lights and masters of a camera with every kind of noise, under a sky with stars."""
    camera, optics = camera_of(pattern), Optics(vignetting=0.3)
    sky = Sky(background=20, n_stars=60, gradient=0.1)
    lights = simulate_stack(camera, LIGHTS, exposure=EXPOSURE, sky=sky, optics=optics, seed=2)
    biases = simulate_stack(camera, 15, kind="bias", frame_index=100, seed=2)
    darks = simulate_stack(camera, DARKS, kind="dark", exposure=EXPOSURE, frame_index=200, seed=2)
    flats = simulate_stack(
        camera, 9, kind="flat", exposure=1, lamp=Lamp(rate=60_000), optics=optics, frame_index=300, seed=2
    )
    bias = calibkit.master_bias(biases)
    dark = calibkit.master_dark(darks, bias=bias)
    # The camera states the noise of one reading; what its rows do besides is measured on the biases.
    lights.attrs["read_noise"] = math.nan
    return lights, {"bias": bias, "dark": dark, "flat": calibkit.master_flat(flats, bias=bias)}


@cache
def ledger_of(pattern: str, *, dithered: bool = False) -> NoiseLedger:
    lights, masters = night(pattern)
    return calibkit.noise_ledger(lights, **masters, dithered=dithered)


def ratio(ledger: NoiseLedger, step: str, comparison: str) -> float:
    return ledger.table["ratio"].sel(step=step, comparison=comparison).item()


def parts_of(ledger: NoiseLedger, step: str, channel: str = "L") -> dict[str, float]:
    return ledger.variance(channel, step)


@pytest.mark.parametrize("pattern", ["", "GBRG", X_TRANS])
def test_predicted_is_measured_after_every_step_in_every_channel(pattern: str) -> None:
    table = ledger_of(pattern).table
    assert table["step"].values.tolist() == ["raw", "bias", "dark", "flat", "combined"]
    assert bool((table["ratio_error"] < 0.015).all())
    assert float(abs(table["ratio"] - 1).max()) < 0.03


@pytest.mark.parametrize("name", ["ccd", "dslr"])
def test_predicted_is_measured_on_the_sample_sessions(name: str) -> None:
    folder = calibkit.sample_session(name)
    frames = {kind: calibkit.open_stack(folder / kind / "*") for kind in ("bias", "darks", "flats", "lights")}
    flat_dark = calibkit.master_dark(calibkit.open_stack(folder / "flat darks" / "*"))
    bias = calibkit.master_bias(frames["bias"])
    dark = calibkit.master_dark(frames["darks"], bias=bias)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibkitWarning)  # behind Hα two colours of the DSLR get little light
        flat = calibkit.master_flat(frames["flats"], dark=flat_dark)
    table = calibkit.noise_ledger(frames["lights"], bias=bias, dark=dark, flat=flat).table
    assert table["step"].values.tolist() == ["raw", "bias", "dark", "flat", "combined"]
    assert table["channel"].values.tolist() == (["L"] if name == "ccd" else ["R", "G1", "G2", "B"])
    assert bool((table["ratio_error"] < 0.012).all())
    assert float(abs(table["ratio"] - 1).max()) < 0.03


@pytest.mark.parametrize("pattern", ["", "GBRG"])
def test_dithered_frames_average_the_masters_noise_and_that_is_measured(pattern: str) -> None:
    table = ledger_of(pattern, dithered=True).table.sel(step="combined", comparison="pixels")
    assert float(abs(table["ratio"] - 1).max()) < 0.03
    # Told the wrong way round it is seen: the ledger can fail.
    other = ledger_of(pattern).table.sel(step="combined", comparison="pixels")
    assert bool((other["measured"] > 1.08 * table["measured"]).all())


def test_sources_are_those_of_the_truth() -> None:
    ledger = ledger_of("")
    perfect = truth(
        camera_of(""), exposure=EXPOSURE, sky=Sky(background=20, gradient=0.1), optics=Optics(vignetting=0.3)
    )
    usual = perfect.hot_rate.values == 0
    raw = parts_of(ledger, "raw")
    assert raw["sky"] == pytest.approx(float(perfect.light.values[usual].mean()) / GAIN, rel=0.01)
    assert raw["dark current"] == pytest.approx(float(perfect.dark.values[usual].mean()) / GAIN, rel=0.02)
    assert raw["readout"] == pytest.approx((READ_NOISE / GAIN) ** 2 + 1.0**2, rel=0.02)
    assert raw["quantisation"] == pytest.approx(1 / 12)
    assert parts_of(ledger, "raw")["object"] == 0
    # Masters: what they really are off by, at pixels like those of the ledger.
    _, masters = night("")
    wrong = (masters["bias"].signal - perfect.bias).values
    assert parts_of(ledger, "bias")["bias master"] == pytest.approx(np.var(wrong), rel=0.05)
    dark = masters["dark"]
    wrong = (dark.signal + masters["bias"].signal - perfect.bias - perfect.dark).values
    good = usual & (dark.flags.values == 0)
    assert parts_of(ledger, "dark")["dark master"] == pytest.approx(np.var(wrong[good]), rel=0.05)
    level = float(ledger.table["level"].sel(step="flat", channel="L"))
    wrong = (masters["flat"].signal / perfect.flat - 1).values
    brought = level**2 * np.var(wrong[masters["flat"].flags.values == 0])
    assert parts_of(ledger, "flat")["flat master"] == pytest.approx(brought, rel=0.07)


@pytest.mark.parametrize("pattern", ["", "GBRG"])
@pytest.mark.parametrize("scale", [None, 0.4])
def test_the_parts_add_up_to_the_variance_of_calibrate(pattern: str, scale: float | None) -> None:
    lights, masters = night(pattern)
    part = lights[:3, 96:293, 48:301]
    task = make_task(part, **masters, dithered=False, **OPTIONS | {"dark_scale": scale})
    everything = slice(0, part.sizes["y"]), slice(0, part.sizes["x"])
    images = block_images(task, Block(*everything, *everything), part.values)
    before = sum(
        images[name]
        for name in ("readout", "quantisation", "dark current", "photons", "bias master", "dark master")
    )
    known = {"dark_scale": scale, "repair": False}
    net = calibkit.calibrate(part, bias=masters["bias"], dark=masters["dark"], **known)
    final = calibkit.calibrate(part, **masters, **known)
    np.testing.assert_allclose(before, net.variance.values, rtol=1e-5)
    np.testing.assert_array_equal(images["final variance"], final.variance.values)
    # A bias that went into the dark too counts with (1 − k)².
    share = (1 - (1.0 if scale is None else scale)) ** 2
    expected = share * masters["bias"].variance.values[96:293, 48:301]
    rounding = 3e-7 * float(net.variance.max())  # of differences of single precision numbers
    np.testing.assert_allclose(images["bias master"], np.tile(expected, (3, 1, 1)), rtol=0, atol=rounding)


def test_total_is_the_mean_variance_of_calibrate() -> None:
    lights, masters = night("")
    result = calibkit.calibrate(lights[0], **masters, repair=False)
    typical = (result.flags == 0) & (abs(result.signal - result.signal.median()) < 5 * result.variance**0.5)
    assert ledger_of("").sigma("L", "flat") ** 2 == pytest.approx(
        float(result.variance.where(typical).mean()), rel=0.01
    )


def test_what_is_not_in_the_ledger_shows() -> None:
    lights, masters = night("")
    assert not ledger_of("").unexplained()
    wrong_gain = calibkit.noise_ledger(lights[:2], **masters, gain=2 * GAIN)
    assert ratio(wrong_gain, "flat", "frames") == pytest.approx(0.545, abs=0.03)
    assert "more than predicted" in wrong_gain.unexplained()[0]
    assert "Not in the ledger" in str(wrong_gain)
    rows = np.random.default_rng(0).normal(0, 12, (LIGHTS, 480, 1))
    striped = lights.copy(data=np.round(lights.values + rows).astype("u2"))
    found = calibkit.noise_ledger(striped, **masters).table.sel(step="flat")
    excess = found["measured"] - found["predicted"]
    np.testing.assert_allclose(excess.values, 144, rtol=0.15)  # by frames and by pixels alike


def test_without_bias_and_with_a_dark_that_holds_it() -> None:
    lights, _ = night("")
    darks = simulate_stack(camera_of(""), DARKS, kind="dark", exposure=EXPOSURE, frame_index=200, seed=2)
    dark = calibkit.master_dark(darks)
    ledger = calibkit.noise_ledger(lights[:2], dark=dark)
    assert ledger.steps == ("raw", "dark", "combined")
    assert ledger.table.attrs["readout_holds_dark_current"]
    assert "give read_noise= to tell them apart" in str(ledger)
    told = calibkit.noise_ledger(lights[:2], dark=dark, read_noise=READ_NOISE)
    assert parts_of(told, "raw")["readout"] == pytest.approx((READ_NOISE / GAIN) ** 2)
    together = sum(parts_of(told, "raw")[name] for name in ("readout", "dark current"))
    other = sum(parts_of(ledger, "raw")[name] for name in ("readout", "dark current"))
    assert together == pytest.approx(other)


def test_a_frame_alone_is_measured_between_its_pixels() -> None:
    lights, masters = night("")
    ledger = calibkit.noise_ledger(lights[0], **masters)
    assert ledger.steps[-1] == "flat"
    frames, pixels = (ledger.table.sel(comparison=c) for c in ("frames", "pixels"))
    assert bool(frames["measured"].isnull().all())
    assert float(abs(pixels["ratio"] - 1).max()) < 0.03
    assert pixels["pixels"].item() > 0.8 * lights[0].size


def test_object_is_what_lies_above_the_sky() -> None:
    lights, masters = night("")
    level = ledger_of("").table["sky_level"].item()
    ledger = calibkit.noise_ledger(lights[:2], **masters, sky=0.4 * level)
    variance = parts_of(ledger, "flat")
    assert variance["object"] / (variance["object"] + variance["sky"]) == pytest.approx(0.6, abs=0.02)
    assert sum(variance.values()) == pytest.approx(
        sum(parts_of(calibkit.noise_ledger(lights[:2], **masters), "flat").values())
    )


def test_one_more_frame_buys_what_the_formula_says() -> None:
    ledger = ledger_of("")
    bought = ledger.buys.set_index("action")
    flat, combined = parts_of(ledger, "flat"), parts_of(ledger, "combined")
    total = sum(combined.values())
    masters = sum(combined[name] for name in ("bias master", "dark master", "flat master"))
    assert combined["dark master"] == pytest.approx(flat["dark master"])
    fewer = total - combined["dark master"] / (DARKS + 1)
    assert bought.loc["one more dark", "sigma"] == pytest.approx(math.sqrt(fewer))
    assert bought.loc["one more bias", "change"] == pytest.approx(0, abs=1e-3)  # it cancels with such a dark
    more = (total - masters) * LIGHTS / (LIGHTS + 1) + masters
    assert bought.loc["one more light", "sigma"] == pytest.approx(math.sqrt(more))
    assert bought.loc["one more light", "time"] == EXPOSURE
    spread = total - masters + masters / LIGHTS
    assert bought.loc["dithering", "sigma"] == pytest.approx(math.sqrt(spread))
    assert "dithering" not in set(ledger_of("", dithered=True).buys["action"])
    # As many photons in half the frames: only the readout is halved, and the flat's and dark's shares change little.
    half = bought.loc["twice the exposure, half the lights", "sigma"] ** 2
    readout = combined["readout"] + combined["quantisation"]
    dark = combined["dark master"] * (1 - (1 + _share_of_dark(flat)) / 4)
    assert half == pytest.approx(total - readout / 2 - dark, rel=1e-6)


def _share_of_dark(variance: dict[str, float]) -> float:
    reading = variance["readout"] + variance["quantisation"]
    return variance["dark current"] / (reading + variance["dark current"])


def test_twice_the_exposure_buys_what_is_then_found() -> None:
    _, masters = night("")
    camera, optics = camera_of(""), Optics(vignetting=0.3)
    sky = Sky(background=20, n_stars=60, gradient=0.1)
    longer = {"exposure": 2 * EXPOSURE, "seed": 2}
    darks = simulate_stack(camera, DARKS, kind="dark", frame_index=500, **longer)
    taken = simulate_stack(camera, LIGHTS, sky=sky, optics=optics, frame_index=600, **longer)
    dark = calibkit.master_dark(darks, bias=masters["bias"])
    taken.attrs["read_noise"] = math.nan
    found = calibkit.noise_ledger(taken, **masters | {"dark": dark})
    promised = ledger_of("").buys.set_index("action").loc["twice the exposure", "sigma"]
    assert promised == pytest.approx(found.sigma("L") / 2, rel=0.02)


def test_it_reads_like_the_lecture() -> None:
    ledger = ledger_of("GBRG")
    text, html = str(ledger), ledger._repr_html_()
    for words in (text, html):
        assert "Noise combined = √(" in words
        assert "does not average down without dither" in words
        assert "gain 1.6 e⁻/ADU" in words
        assert words.count("Limited by") == 4
    assert html.count("<table>") == 4
    squares = text.split("√(")[1].split(")")[0]
    total = math.sqrt(sum(float(part.strip()[:-1]) ** 2 for part in squares.split("+")))
    assert total == pytest.approx(ledger.sigma("R"), rel=0.01)
    limit = ledger.limits["R"]
    assert limit.source == "sky"
    assert limit.share == pytest.approx(ledger.variance("R")["sky"] / ledger.sigma("R") ** 2)
    assert {v.attrs["units"] for v in ledger.table.data_vars.values()} <= {"adu", "adu2", "1", "electron/adu"}
    with pytest.raises(calibkit.SettingError, match="allowed are 'R', 'G1', 'G2', 'B'"):
        ledger.variance("L")


def test_lazy_files_make_the_same_ledger(tmp_path: Path) -> None:
    camera = Camera(shape=(200, 240), pattern="RGGB", seed=1)
    sets = [FrameSet(kind="bias", count=5), FrameSet(kind="light", count=3, exposure=60.0)]
    folder = write_session(tmp_path / "s", camera, sets, sky=Sky(background=20))
    biases, lights = (calibkit.open_stack(str(folder / name / "*.fits")) for name in ("bias", "lights"))
    calibkit.save(calibkit.master_bias(biases), tmp_path / "bias.fits")
    lazy = calibkit.noise_ledger(lights[:, 3:, 5:], bias=calibkit.open_result(tmp_path / "bias.fits"))
    there = calibkit.noise_ledger(lights.compute()[:, 3:, 5:], bias=calibkit.master_bias(biases))
    xr.testing.assert_allclose(lazy.table, there.table)
    whole = calibkit.noise_ledger(lights, bias=calibkit.master_bias(biases))
    assert float(whole.table["pixels"].sum()) > 0.8 * 192 * 240 * 0.9


@pytest.mark.parametrize(
    ("shape", "tile"), [((10, 4000, 6000), (48, 48)), ((3, 100, 50), (48, 48)), ((5, 47, 49), (46, 48))]
)
def test_blocks_lie_within_the_frame_on_whole_tiles_and_are_few(
    shape: tuple[int, int, int], tile: tuple[int, int]
) -> None:
    grid = [block for row in blocks_of(shape, tile, (4, 4)) for block in row]
    seen = np.zeros(shape[1:], int)
    for block in grid:
        seen[block.rows, block.columns] += 1
        assert block.rows.start % tile[0] == block.columns.start % tile[1] == 0
        assert 0 <= block.read_rows.start <= block.rows.start
        assert block.rows.stop <= block.read_rows.stop <= shape[1]
    assert seen.max() == 1
    tiles = (shape[1] // tile[0]) * (shape[2] // tile[1])
    assert seen.sum() == tiles * tile[0] * tile[1] if tiles < 200 else 400_000 < seen.sum() < 900_000


def test_many_frames_take_no_more_memory() -> None:
    for frames in (10, 100, 1000):
        rows = blocks_of((frames, 4000, 6000), (48, 48), (4, 4))
        held = max(
            sum(
                (b.read_rows.stop - b.read_rows.start) * (b.read_columns.stop - b.read_columns.start)
                for b in row
            )
            for row in rows
        )
        assert 4 * frames * held < 256 * 2**20


def test_an_empty_channel_leaves_the_others() -> None:
    lights, masters = night("GBRG")
    cell, channels = channel_index(lights)
    blue = np.tile(cell == channels.index("B"), (240, 240))
    flat = masters["flat"].copy(deep=True)
    flat["flags"].values[blue] |= calibkit.flags.BAD_FLAT
    ledger = calibkit.noise_ledger(lights[:2], **masters | {"flat": flat})
    assert list(ledger.limits) == ["R", "G1", "G2"]
    assert math.isnan(ledger.sigma("B"))
    assert set(ledger.buys["channel"]) == {"R", "G1", "G2"}
    assert "no typical pixels" in str(ledger)
    assert "no typical pixels" in ledger._repr_html_()


def test_what_cannot_be_told_is_refused() -> None:
    lights, masters = night("")
    unknown = lights.drop_vars("gain")
    with (
        pytest.warns(calibkit.CalibkitWarning, match="gain"),
        pytest.raises(calibkit.CalibkitError, match="give gain="),
    ):
        calibkit.noise_ledger(unknown, **masters)
    other = lights.assign_coords(exposure=("frame", [EXPOSURE] * 4 + [30.0] * 4))
    with pytest.raises(calibkit.MismatchError, match="each exposure apart"):
        calibkit.noise_ledger(other, **masters)
    full = lights.copy(data=np.full(lights.shape, 65535, "u2"))
    with pytest.raises(calibkit.CalibkitError, match="half of them typical"):
        calibkit.noise_ledger(full, **masters)
    with pytest.raises(calibkit.SettingError, match="not a result"):
        calibkit.noise_ledger(masters["bias"])


def test_warnings_of_calibrate_come_once_and_point_to_the_caller() -> None:
    lights, masters = night("")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        calibkit.noise_ledger(lights[:2], flat=masters["flat"], read_noise=READ_NOISE)
    assert [warning.category for warning in caught] == [calibkit.CalibkitWarning] * 2
    assert "no pedestal" in str(caught[1].message)
    assert {Path(warning.filename).name for warning in caught} == {Path(__file__).name}


def test_progress_may_cancel() -> None:
    lights, masters = night("")
    calls = []

    def stop(done: int, total: int, what: str) -> None:
        calls.append((done, total))
        if done == 2:
            raise calibkit.Cancelled(what)

    with pytest.raises(calibkit.Cancelled):
        calibkit.noise_ledger(lights, **masters, progress=stop)
    assert [done for done, _ in calls] == [0, 1, 2]


def test_small_frames_and_their_tiles() -> None:
    lights, masters = night("")
    small = lights[:2, :40, :40]
    assert tile_shape(small, np.zeros((1, 1))) == (40, 40)
    ledger = calibkit.noise_ledger(small, **masters)
    assert ratio(ledger, "flat", "frames") == pytest.approx(1, abs=0.15)


def test_a_plan_may_be_made_from_a_ledger() -> None:
    lights, _ = night("")
    rates = ledger_of("").rates("L")
    perfect = truth(
        camera_of(""), exposure=EXPOSURE, sky=Sky(background=20, gradient=0.1), optics=Optics(vignetting=0.3)
    )
    assert rates["sky"] == pytest.approx(float(perfect.light.mean()) * GAIN / EXPOSURE, rel=0.01)
    assert rates["dark_current"] == pytest.approx(0.5, rel=0.05)
    assert rates["read_noise"] == pytest.approx(math.hypot(READ_NOISE, 1.0 * GAIN, GAIN / 12**0.5), rel=0.01)
    assert rates["full_well"] == pytest.approx((lights.attrs["saturation"] - 300) * GAIN, rel=0.01)
    plan = calibkit.plan_exposures(3600, **rates, brightest=500)
    assert plan.saturation_limit == pytest.approx(
        rates["full_well"] / (500 + rates["sky"] + rates["dark_current"])
    )
    with pytest.raises(calibkit.SettingError, match="gives no rates"):
        NoiseLedger(ledger_of("").table.assign_attrs(exposure=math.nan)).rates("L")

"""Exposure plans: against a simulated night, and against their own promises."""

from __future__ import annotations

import math

import numpy as np
import pytest

import calibkit

NIGHT = {"sky": 2.0, "dark_current": 0.3, "read_noise": 6.0}


def test_noise_is_that_of_a_simulated_night() -> None:
    plan = calibkit.plan_exposures(
        600, **NIGHT, signal=0.5, exposures=[30, 60], overhead=15, darks=5, flats=4, flat_level=200.0
    )
    rng = np.random.default_rng(1)
    for t, frames in ((30, 13), (60, 8)):
        shape = (2000, 60)  # pixels
        light, heat = (2.0 + 0.5) * t, 0.3 * t
        one = rng.poisson(light + heat, (frames, *shape)) + rng.normal(0, 6.0, (frames, *shape))
        dark = (rng.poisson(heat, (5, *shape)) + rng.normal(0, 6.0, (5, *shape))).mean(axis=0)
        flat = rng.poisson(200.0, (4, *shape)).mean(axis=0) / 200.0
        # To first order in the flat's noise, as errors are propagated.
        result = one.mean(axis=0) - dark - light * (flat - 1)
        row = plan.row(t)
        assert row["frames"] == frames
        assert row["sigma"] == pytest.approx(result.std() / t, rel=0.01)


def test_readout_limit_is_where_readout_adds_that_share() -> None:
    plan = calibkit.plan_exposures(3600, **NIGHT, readout_share=0.05)
    t = plan.readout_limit
    assert math.sqrt(2.3 * t + 36.0) == pytest.approx(1.05 * math.sqrt(2.3 * t))
    rows = plan.table
    assert bool(((rows["readout"] < 0.05) == (rows["exposure"] > t)).all())


def test_counts_of_darks_and_flats_keep_their_promise() -> None:
    for dithered in (False, True):
        given = NIGHT | {"flat_level": 20_000.0, "dithered": dithered, "master_share": 0.05}
        free = calibkit.plan_exposures(7200, **given)
        for t in (10.0, 60.0, 300.0):
            row = free.row(t)
            darks, flats = int(row["darks"]), int(row["flats"])
            with_them = calibkit.plan_exposures(7200, **given, darks=darks, flats=flats, exposures=[t])
            assert with_them.row(t)["sigma"] <= 1.05 * row["sigma"] * (1 + 1e-12)
            if darks > 8:
                fewer = calibkit.plan_exposures(
                    7200, **given, darks=darks // 2, flats=max(flats // 2, 1), exposures=[t]
                )
                assert fewer.row(t)["sigma"] > 1.05 * row["sigma"]
    # Without dithering the dark's noise is the same in all frames: as many times the darks, before both are rounded up.
    for t in (10.0, 60.0, 300.0):
        apart = calibkit.plan_exposures(7200, **NIGHT).row(t)
        dithered = calibkit.plan_exposures(7200, **NIGHT, dithered=True).row(t)
        assert dithered["darks"] - 1 < apart["darks"] / apart["frames"] <= dithered["darks"]


def test_saturation_and_overhead_set_the_ends() -> None:
    plan = calibkit.plan_exposures(7200, **NIGHT, overhead=20, full_well=60_000, brightest=400)
    assert plan.saturation_limit == pytest.approx(60_000 / 402.3)
    rows = plan.table
    assert bool((rows["saturates"] == (rows["exposure"] >= plan.saturation_limit)).all())
    assert plan.best == 120
    assert plan.recommended <= plan.best
    assert plan.row(plan.recommended)["loss"] <= 0.02
    assert bool((rows["frames"] * (rows["exposure"] + 20) <= 7200).all())
    quick = calibkit.plan_exposures(7200, sky=2.0, read_noise=0.0, exposures=[10, 100])
    assert quick.recommended == 10  # without readout noise and overhead nothing speaks for long exposures
    slow = calibkit.plan_exposures(7200, sky=2.0, read_noise=0.0, exposures=[10, 100], overhead=30)
    assert slow.recommended == 100


def test_it_says_what_to_do() -> None:
    plan = calibkit.plan_exposures(
        4 * 3600, **NIGHT, overhead=10, full_well=50_000, brightest=150, flat_level=30_000
    )
    for text in (str(plan), plan._repr_html_()):
        assert f"frames of {plan.recommended:g} s" in text
        assert "Readout adds less than 5 % to the noise from" in text
        assert "saturates at" in text
        assert "not dithered" in text
    dark = calibkit.plan_exposures(3600, sky=0.0, read_noise=5.0)
    assert math.isinf(dark.readout_limit)
    assert "expose as long as you can" in str(dark)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"time": 0}, "time=0"),
        ({"sky": -1.0}, "sky=-1.0"),
        ({"read_noise": math.nan}, "read_noise=nan"),
        ({"exposures": []}, "exposures="),
        ({"exposures": [4000.0]}, "no frame fits"),
        ({"full_well": 100.0, "brightest": 1e6}, "saturates at"),
        ({"flats": 5}, "give flat_level="),
        ({"darks": 0}, "darks=0"),
    ],
)
def test_impossible_plans_are_refused(change: dict[str, object], match: str) -> None:
    options = {"time": 3600, **NIGHT, **change}
    with pytest.raises(calibkit.SettingError, match=match):
        calibkit.plan_exposures(options.pop("time"), **options)


def test_an_exposure_that_is_not_in_the_plan() -> None:
    plan = calibkit.plan_exposures(3600, **NIGHT, exposures=[10, 20])
    with pytest.raises(calibkit.SettingError, match="allowed are 10, 20"):
        plan.row(15)

"""Synthetic bias: the right model is chosen, its error is right, and it is less noisy than the mean."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit import Camera, simulate_stack
from calibkit.errors import MismatchError, SettingError
from calibkit.simulate import truth

CAMERA = Camera(shape=(96, 128), read_noise=8.0, gain=2.0)
STRUCTURES = {
    "constant": {},
    "rows": {"row_offsets": 2.0},
    "columns": {"column_offsets": 2.0},
    "rows and columns": {"row_offsets": 2.0, "column_offsets": 1.0},
}


def error_of(result: xr.Dataset, camera: Camera) -> float:
    return float(np.sqrt(((result["signal"] - truth(camera, kind="bias")["bias"]) ** 2).mean()))


@pytest.mark.parametrize("pattern", ["", "RGGB"])
@pytest.mark.parametrize("model", list(STRUCTURES))
def test_model_is_chosen_and_its_error_right(model: str, pattern: str) -> None:
    found = defaultdict(list)
    for seed in range(6):
        camera = replace(CAMERA, pattern=pattern, seed=seed, **STRUCTURES[model])
        result = calibkit.make_synthetic_bias(simulate_stack(camera, 10, kind="bias", seed=seed))
        assert result.attrs["bias_model"] == model
        found["error"].append(error_of(result, camera))
        found["stated"].append(float(np.sqrt(result["variance"].mean())))
        step = result.attrs["provenance"][-1]
        assert step["model"] == model
        assert step["error of the mean"] == pytest.approx(4 / np.sqrt(10), rel=0.03)
        assert "ADU of error, the mean of 10 frames" in step["why"]
    error, stated = (np.sqrt(np.mean(np.square(found[name]))) for name in ("error", "stated"))
    assert error < 0.25 * 4 / np.sqrt(10)
    if model != "constant":  # whose few numbers leave an error near 0
        assert error == pytest.approx(stated, rel=0.2)


def test_pixels_that_differ_ask_for_the_mean() -> None:
    rng = np.random.default_rng(0)
    camera = CAMERA
    frames = simulate_stack(camera, 20, kind="bias").astype("f4") + rng.normal(0, 3.0, camera.shape).astype(
        "f4"
    )
    result = calibkit.make_synthetic_bias(frames)
    assert result.attrs["bias_model"] == "mean"
    np.testing.assert_array_equal(result["signal"], calibkit.master_bias(frames)["signal"])
    told = re.search(r"pixels differ by ([\d.]+) ADU", result.attrs["provenance"][-1]["why"])
    assert float(told[1]) == pytest.approx(3.0, rel=0.05)
    # Asked for nevertheless, the constant says what it leaves out.
    constant = calibkit.make_synthetic_bias(frames, model="constant")
    assert float(np.sqrt(constant["variance"].mean())) == pytest.approx(3.0, rel=0.05)


def test_row_noise_is_no_row_structure() -> None:
    """Rows that jump in every frame differ in the mean by far more than pixel noise explains, and do not stay."""
    camera = replace(CAMERA, row_noise=3.0)
    result = calibkit.make_synthetic_bias(simulate_stack(camera, 10, kind="bias"))
    assert result.attrs["bias_model"] == "constant"
    assert error_of(result, camera) < error_of(
        calibkit.make_synthetic_bias(simulate_stack(camera, 10, kind="bias"), model="rows"), camera
    )


def test_single_frame_gives_a_constant() -> None:
    camera = replace(CAMERA, row_offsets=2.0)
    frame = simulate_stack(camera, 1, kind="bias")
    result = calibkit.make_synthetic_bias(frame)
    assert result.attrs["bias_model"] == "constant"
    assert "single frame" in result.attrs["provenance"][-1]["why"]
    assert float(np.sqrt(result["variance"].mean())) == pytest.approx(2.0, rel=0.2)
    assert calibkit.make_synthetic_bias(frame[0]).attrs["bias_model"] == "constant"


def test_wild_pixels_do_not_bend_the_lines() -> None:
    camera = replace(CAMERA, column_offsets=2.0)
    frames = simulate_stack(camera, 8, kind="bias")
    wild = frames.copy(deep=True)
    wild[:, 10:14, 20] += np.uint16(3000)
    here, there = (calibkit.make_synthetic_bias(f, model="columns") for f in (frames, wild))
    assert float(abs(here["signal"] - there["signal"]).max()) < 0.3


def test_it_is_a_bias_for_calibrate() -> None:
    camera = replace(CAMERA, pattern="GBRG", column_offsets=2.0)
    frames = simulate_stack(camera, 10, kind="bias")
    bias = calibkit.make_synthetic_bias(frames)
    assert bias.attrs["kind"] == "bias"
    assert bias.attrs["n_frames"] == 10
    assert not bias["flags"].any()
    assert bias.attrs["frame_noise"]["R"] == pytest.approx(4.0, rel=0.03)
    dark = simulate_stack(camera, 1, kind="dark", exposure=1.0, frame_index=40)[0]
    done = calibkit.calibrate(dark, bias=bias, gain=2.0, read_noise=8.0)
    assert abs(float(done["signal"].mean())) < 0.3
    assert float(done["variance"].median()) == pytest.approx(16 + 1 / 12, rel=0.05)


def test_lazy_crop_and_files_are_kept() -> None:
    camera = replace(CAMERA, pattern="GBRG", column_offsets=2.0)
    frames = simulate_stack(camera, 6, kind="bias")[:, 3:90, 5:]
    frames = frames.assign_coords(file=("frame", [f"bias{i}.fits" for i in range(6)]))
    here = calibkit.make_synthetic_bias(frames)
    there = calibkit.make_synthetic_bias(frames.chunk({"frame": 1, "y": 40}))
    np.testing.assert_allclose(here["signal"], there["signal"], atol=1e-3)
    np.testing.assert_array_equal(here["y"], np.arange(3, 90))
    assert here.attrs["provenance"][-1]["inputs"] == [f"bias{i}.fits" for i in range(6)]


def test_refusals() -> None:
    frames = simulate_stack(CAMERA, 2, kind="bias")
    with pytest.raises(SettingError, match="model='row'"):
        calibkit.make_synthetic_bias(frames, model="row")
    with pytest.raises(SettingError, match="32 × 32"):
        calibkit.make_synthetic_bias(frames[:, :20])
    with pytest.raises(MismatchError, match="frames of kind 'dark'"):
        calibkit.make_synthetic_bias(simulate_stack(CAMERA, 2, kind="dark", exposure=5.0))

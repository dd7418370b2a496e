"""Effects switch on and off by themselves, and the truth is what a perfect calibration finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibkit.cfa import channel_index
from calibkit.errors import SettingError
from calibkit.simulate import (
    EFFECTS,
    X_TRANS,
    Camera,
    Lamp,
    Optics,
    Reflection,
    Sky,
    chance,
    random_dust,
    simulate_frame,
    simulate_stack,
    truth,
)

SHAPE = (120, 160)
#: A camera, optics and a sky with every fault there is.
ALL = Camera(
    shape=SHAPE,
    dark_current=2.0,
    dark_spread=0.2,
    hot_fraction=0.01,
    hot_rate=20.0,
    telegraph_fraction=0.01,
    telegraph_rate=20.0,
    glow_rate=30.0,
    weak_fraction=0.01,
    bad_columns=3,
    non_linearity=0.05,
    full_well=40_000.0,
    blooming=True,
    smear=1e-3,
    cosmic_rays=5.0,
    row_offsets=3.0,
    column_offsets=3.0,
    row_noise=2.0,
    interference=5.0,
)
OPTICS = Optics(
    vignetting=0.3, dust=random_dust(4, SHAPE), reflections=[Reflection(60, 60, 30, 0.1)], light_leak=3.0
)
SKY = Sky(background=20.0, gradient=0.5, stars=[(60, 80, 1e6)], n_stars=20, h_alpha=5.0)
FRAMES = {
    "bias": {"kind": "bias"},
    "dark": {"kind": "dark", "exposure": 60.0},
    "flat": {"kind": "flat", "exposure": 1.0, "lamp": Lamp(rate=50_000)},
    "light": {"kind": "light", "exposure": 60.0, "sky": SKY},
}


def frame(kind: str, *, without: str = "", camera: Camera = ALL) -> np.ndarray:
    return simulate_frame(camera, optics=OPTICS, effects=set(EFFECTS) - {without}, **FRAMES[kind]).values


WHOLE = {kind: frame(kind) for kind in FRAMES}


@pytest.mark.parametrize("name", EFFECTS)
def test_an_effect_changes_the_frames_that_it_can_and_no_others(name: str) -> None:
    changed = {kind for kind in FRAMES if not np.array_equal(frame(kind, without=name), WHOLE[kind])}
    assert "light" in changed, "the effect does nothing"
    effect = EFFECTS[name]
    if effect.mapped_by == "bias":
        assert changed == set(FRAMES)
    elif effect.mapped_by == "dark":
        assert changed == {"dark", "flat", "light"}
    elif effect.mapped_by == "flat":
        assert {"flat", "light"} <= changed
        assert "bias" not in changed
        # Weak pixels answer less to the light that leaks into darks as well.
        assert "dark" not in changed or name in {"sensitivity", "weak pixels", "bad columns"}


def test_every_effect_says_what_it_is() -> None:
    assert {effect.mapped_by for effect in EFFECTS.values()} == {"", "bias", "dark", "flat"}
    assert {effect.origin for effect in EFFECTS.values()} == {
        "optics", "sky", "detector", "electronics", "noise",
    }  # fmt: skip
    assert all(effect.meaning and name == effect.name for name, effect in EFFECTS.items())


@pytest.mark.parametrize("name", ["vignetting", "hot pixels", "offset structure", "sky gradient", "amp glow"])
def test_noise_stays_the_same_when_something_else_is_switched_off(name: str) -> None:
    camera = replace(
        ALL, non_linearity=0.0, cosmic_rays=0.0, smear=0.0, blooming=False, full_well=1e7, interference=0.0
    )
    sky = replace(SKY, stars=())
    residuals = []
    for effects in (set(EFFECTS), set(EFFECTS) - {name}):
        settings = {
            "optics": OPTICS,
            "sky": sky,
            "exposure": 60.0,
            "effects": effects - {"row noise", "telegraph pixels"},
        }
        perfect = truth(camera, **settings)
        raw = simulate_frame(camera, **settings).values
        noise = raw - (perfect.bias + perfect.dark + perfect.light).values
        residuals.append((noise / np.sqrt(perfect.variance * perfect.flat**2)).values.ravel())
    good = np.isfinite(residuals[0]) & np.isfinite(residuals[1])
    # New numbers would give 0. Not quite 1, since less heat gives the light's noise a larger part.
    assert np.corrcoef(residuals[0][good], residuals[1][good])[0, 1] > 0.9


def test_the_same_seed_gives_the_same_frame_and_another_one_another() -> None:
    settings = {"exposure": 30.0, "sky": SKY, "optics": OPTICS}
    first = simulate_frame(ALL, seed=3, frame_index=2, **settings)
    assert first.identical(simulate_frame(ALL, seed=3, frame_index=2, **settings))
    for other in ({"seed": 4, "frame_index": 2}, {"seed": 3, "frame_index": 3}):
        noise = first.values.astype(float) - simulate_frame(ALL, **other, **settings).values
        assert (noise != 0).mean() > 0.8
    specimen = simulate_frame(replace(ALL, seed=1), seed=3, frame_index=2, **settings)
    assert not np.array_equal(first, specimen)


def test_threads_do_not_change_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chance, "_THREADS_FROM", 1)
    monkeypatch.setattr(chance, "worker_count", lambda: 3)
    for kind, alone in WHOLE.items():
        assert np.array_equal(frame(kind), alone)


def test_a_stack_is_its_frames_in_order_of_time() -> None:
    stack = simulate_stack(ALL, 3, kind="dark", exposure=60.0, frame_index=4, seed=9, temperature=-11.0)
    assert stack.dims == ("frame", "y", "x")
    for i in range(3):
        single = simulate_frame(ALL, kind="dark", exposure=60.0, frame_index=4 + i, seed=9, temperature=-11.0)
        assert np.array_equal(stack[i].values, single.values)
        assert stack[i].attrs == single.attrs
    assert (np.diff(stack.time.values) == np.timedelta64(63, "s")).all()
    assert stack.temperature.dims == ("frame",)


@pytest.mark.parametrize("pattern", ["", "RGGB", "GRBG", "GBRG", "BGGR", "GMCY", X_TRANS])
def test_perfect_calibration_leaves_noise_of_the_stated_size(pattern: str) -> None:
    """Raw frame, less true bias and dark, over the true flat: pulls of mean 0 and deviation 1 in every channel."""
    camera = Camera(
        shape=(361, 480), pattern=pattern, dark_current=1.0, dark_spread=0.2, hot_fraction=0.01, hot_rate=3.0,
        glow_rate=5.0, weak_fraction=0.001, bad_columns=1, row_offsets=1.0, column_offsets=2.0, seed=8,
    )  # fmt: skip
    sky = Sky(background=30.0, gradient=0.3, n_stars=150, star_flux=3000.0, h_alpha=60.0, o_iii=40.0)
    optics = Optics(vignetting=0.4, dust=random_dust(6, camera.shape, depth=0.2))
    settings = {"exposure": 60.0, "temperature": -12.0, "optics": optics, "sky": sky}
    perfect = truth(camera, **settings)
    raw = simulate_frame(camera, **settings)
    calibrated = (raw - perfect.bias - perfect.dark) / perfect.flat
    pulls = ((calibrated - perfect.signal) / np.sqrt(perfect.variance)).where(~perfect.saturated).values
    cell, channels = channel_index(perfect)
    py, px = cell.shape
    for number, name in enumerate(channels):
        mine = np.concatenate(
            [pulls[i::py, j::px].ravel() for i in range(py) for j in range(px) if cell[i, j] == number]
        )
        mine = mine[np.isfinite(mine)]
        assert mine.mean() == pytest.approx(0, abs=5 / np.sqrt(mine.size)), name
        assert mine.std() == pytest.approx(1, abs=0.02), name
        signal = perfect.cfa.channel_mask(name) * perfect.signal if pattern else perfect.signal
        assert float(signal.mean()) > 0
        flat = perfect.flat.values[(perfect.cfa.channel_mask(name) & ~perfect.weak).values]
        assert flat.mean() == pytest.approx(1, abs=1e-4)


def test_truth_counts_its_pixels() -> None:
    perfect = truth(ALL, exposure=60.0, sky=SKY, optics=OPTICS, temperature=-13.0)
    total = SHAPE[0] * SHAPE[1]
    assert (perfect.hot_rate > 0).sum() == round(0.01 * total)
    assert perfect.unstable.sum() == round(0.01 * total)
    assert perfect.weak.sum() >= round(0.01 * total)
    warm, cold = (truth(ALL, exposure=60.0, temperature=t).hot_rate for t in (-13.0, -20.0))
    assert np.allclose(warm, 2 * cold)
    # The star of 10⁶ electrons a second fills its pixels, and some of its column.
    assert perfect.saturated.values[60, 80]
    assert perfect.saturated.values[45:75, 80].all()
    assert not perfect.saturated.values[:, 40].any()


def test_pixels_told_saturated_are_all_that_overflow() -> None:
    camera = replace(ALL, non_linearity=0.0, cosmic_rays=0.0, smear=0.0, telegraph_fraction=0.0)
    perfect = truth(camera, exposure=60.0, sky=SKY)
    raw = simulate_stack(camera, 6, exposure=60.0, sky=SKY)
    pulls = (raw - perfect.bias - perfect.dark - perfect.light) / np.sqrt(perfect.variance * perfect.flat**2)
    assert np.abs(pulls.where(~perfect.saturated & ~perfect.weak)).max() < 8
    assert ((raw >= camera.saturation).any("frame") <= perfect.saturated).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "dome"},
        {"kind": "bias", "exposure": 1.0},
        {"kind": "dark", "exposure": -1.0},
        {"kind": "dark", "exposure": float("nan")},
        {"kind": "dark", "sky": SKY},
        {"kind": "light", "lamp": Lamp()},
        {"temperature": 500.0},
        {"effects": ["gremlins"]},
        {"seed": -1},
        {"filter": "infrared"},
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict) -> None:
    with pytest.raises(SettingError, match=r"allowed|only"):
        simulate_frame(ALL, **settings)


@pytest.mark.parametrize(
    "field",
    [
        {"gain": 0.0}, {"gain": float("nan")}, {"shape": (0, 5)}, {"shape": (5,)}, {"bit_depth": 20}, {"bit_depth": 11.5},
        {"pattern": "RGB"}, {"doubling": 0.0}, {"hot_fraction": 2.0}, {"dark_current": float("inf")},
        {"glow_corner": "middle"}, {"roworder": "sideways"}, {"responses": {"Q": None}}, {"read_noise": "low"},
        {"weak_fraction": -0.1},
    ],
)  # fmt: skip
def test_cameras_that_cannot_be_are_refused(field: dict) -> None:
    with pytest.raises(SettingError, match=r"[Aa]llowed"):
        Camera(**field)


def test_numbers_may_be_of_any_type() -> None:
    plain = {"offset": 500, "gain": 2, "read_noise": 8, "full_well": 60000, "row_offsets": 1}
    frames = [
        simulate_frame(
            Camera(shape=(9, 12), **{name: kind(value) for name, value in plain.items()}), kind="dark"
        )
        for kind in (int, float, np.float32, np.int64)
    ]
    for frame in frames[1:]:
        assert frame.identical(frames[0])


def test_a_stack_of_nothing_is_refused() -> None:
    with pytest.raises(SettingError, match="one frame or more"):
        simulate_stack(ALL, 0, kind="bias")

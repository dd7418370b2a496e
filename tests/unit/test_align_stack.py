"""Resampling, stacking and drizzle against what is known exactly."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import calibkit as ck
from calibkit import flags as fl
from calibkit.align import Transform, Transforms
from calibkit.combining import measure_levels
from calibkit.errors import CalibkitWarning, MismatchError, SettingError
from calibkit.simulate import X_TRANS

SHAPE = (120, 150)


def matrix(angle: float, dx: float, dy: float, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Rotation in degrees about the middle of the frame, then a shift."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    mx, my = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    return np.array([[c, -s, mx - c * mx + s * my + dx], [s, c, my - s * mx - c * my + dy], [0.0, 0.0, 1.0]])


def transforms_of(*matrices: np.ndarray, shape: tuple[int, int] = SHAPE) -> Transforms:
    frames = tuple(Transform(f"frame {i}", m, 0.02, 0.01, 50, True) for i, m in enumerate(matrices))
    return Transforms(frames, 0, "similarity", shape, (0, 0))


def light(
    signal: np.ndarray, *, cfa: str = "", variance: float | np.ndarray = 1.0, flags: np.ndarray | None = None
) -> xr.Dataset:
    signal = signal.astype(np.float32)
    return xr.Dataset(
        {
            "signal": (("y", "x"), signal),
            "variance": (("y", "x"), np.broadcast_to(np.float32(variance), signal.shape).copy()),
            "flags": (("y", "x"), np.zeros(signal.shape, np.uint16) if flags is None else flags),
        },
        coords={"y": np.arange(signal.shape[0]), "x": np.arange(signal.shape[1])},
        attrs={"cfa": cfa, "units": "adu", "bias_subtracted": True, "kind": "light"},
    )


def scene(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Something smooth, with periods of 14 pixels and more."""
    return 100 + 20 * np.sin(2 * np.pi * (x + 0.4 * y) / 16) + 15 * np.cos(2 * np.pi * (y - 0.3 * x) / 14)


def flat(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return 0.0 * (y + x)


def seen_through(m: np.ndarray, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """`scene` as a frame sees it whose transform to the scene is *m*."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    return scene(m[1, 0] * x + m[1, 1] * y + m[1, 2], m[0, 0] * x + m[0, 1] * y + m[0, 2])


MOVES = [
    (0.0, 0.0, 0.0),
    (0.0, 2.37, -1.61),
    (1.3, -3.2, 4.75),
    (180.0, 1.4, 0.6),
    (37.0, 0.3, 2.2),
    (-90.0, 0.0, 0.5),
]


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("cfa", ["", "RGGB"])
def test_resampled_frames_show_what_is_there(move: tuple[float, float, float], cfa: str) -> None:
    m = matrix(*move)
    made = ck.resample(light(seen_through(m), cfa=cfa), m)
    expected = scene(*np.mgrid[: SHAPE[0], : SHAPE[1]])
    inside = made.flags.values == 0
    assert inside.mean() > (0.4 if abs(move[0]) in (37, 90) else 0.85)
    away = np.abs(made.signal.values - expected)[inside]
    # the window of Lanczos lets 0.5 % of such waves go; planes have every second sample
    assert np.quantile(away, 0.9) < (0.2 if not cfa else 1.2)
    assert np.isnan(made.signal.values[made.flags.values & fl.NO_DATA > 0]).all()


@pytest.mark.parametrize("move", MOVES)
def test_lanczos_is_what_it_says(move: tuple[float, float, float]) -> None:
    """Against the definition, place by place, in double precision."""
    m = matrix(*move)
    frame = np.random.default_rng(5).normal(100, 10, SHAPE)
    spread = np.random.default_rng(6).uniform(1, 4, SHAPE)
    made = ck.resample(light(frame, variance=spread), m)
    back = np.linalg.inv(m)
    for y, x in np.random.default_rng(7).integers(30, 90, (40, 2)):
        u, v, _ = back @ [x, y, 1.0]
        i, j = math.floor(v), math.floor(u)
        if not (3 <= i < SHAPE[0] - 4 and 3 <= j < SHAPE[1] - 4):
            continue
        rows, columns = np.arange(i - 2, i + 4), np.arange(j - 2, j + 4)
        wy, wx = (np.sinc(t) * np.sinc(t / 3) * (np.abs(t) < 3) for t in (v - rows, u - columns))
        weight = np.outer(wy / wy.sum(), wx / wx.sum())
        part = np.ix_(rows, columns)
        assert float(made.signal[y, x]) == pytest.approx((weight * frame[part]).sum(), rel=1e-5)
        assert float(made.variance[y, x]) == pytest.approx((weight**2 * spread[part]).sum(), rel=1e-4)


def test_less_sharp_interpolations_are_exact_for_what_they_can() -> None:
    m = matrix(0.7, 1.3, -2.4)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    plane = 3.0 * x - 2.0 * y + 100
    frame = 3.0 * (m[0, 0] * x + m[0, 1] * y + m[0, 2]) - 2.0 * (m[1, 0] * x + m[1, 1] * y + m[1, 2]) + 100
    for name in ("linear", "bicubic"):
        made = ck.resample(light(frame), m, interpolation=name)
        inner = np.s_[10:-10, 10:-10]
        np.testing.assert_allclose(made.signal.values[inner], plane[inner], atol=2e-3)


@pytest.mark.parametrize("name", ["lanczos3", "bicubic", "linear"])
def test_flux_and_noise(name: str) -> None:
    """A star keeps its light, a constant stays one, and the variance and its correlation are those of the noise."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    star = 1e4 * np.exp(-((y - 60.3) ** 2 + (x - 70.8) ** 2) / (2 * 1.6**2))
    m = matrix(2.0, 0.37, -0.81)
    made = ck.resample(light(star + 50.0), m, interpolation=name)
    assert float(np.nansum(made.signal.values - 50.0)) == pytest.approx(star.sum(), rel=2e-3)
    noise = np.random.default_rng(3).standard_normal((600, 600))
    m = matrix(0.6, 0.4, 0.3, noise.shape)
    made = ck.resample(light(noise), m, interpolation=name)
    inner = made.isel(y=slice(20, 580), x=slice(20, 580))
    ratio = float(inner.signal.var() / inner.variance.mean())
    assert ratio == pytest.approx(1.0, abs=0.02)
    blocks = inner.signal.values.reshape(28, 20, 28, 20).mean(axis=(1, 3))
    found = blocks.var() * 400 / float(inner.variance.mean())
    # 784 blocks tell it to 5 %, and a block of 20 pixels has a rim
    assert found == pytest.approx(made.attrs["noise_correlation"], rel=0.17)


def test_bad_samples_do_not_enter_and_saturated_ones_are_told() -> None:
    m = matrix(0.0, 0.5, 0.5)
    signal = np.full(SHAPE, 10.0)
    flags = np.zeros(SHAPE, np.uint16)
    signal[30, 40], flags[30, 40] = 5000.0, fl.HOT
    signal[60, 40], flags[60, 40] = np.nan, 0
    signal[90, 40], flags[90, 40] = 5000.0, fl.SATURATED
    signal[30, 90], flags[30, 90] = 12.0, fl.HOT | fl.REPAIRED
    made = ck.resample(light(signal, flags=flags), m)
    plain = made.flags.values == 0
    assert plain.mean() > 0.95
    np.testing.assert_allclose(made.signal.values[plain & (np.abs(made.signal.values - 10) > 1)], [])
    near = made.flags.values[30:32, 40:42]
    assert (near & fl.HOT > 0).all()
    assert (made.flags.values[90:92, 40:42] & fl.SATURATED > 0).all()
    assert made.signal.values[90:92, 40:42].min() > 1000
    repaired = made.flags.values[30:32, 90:92]
    assert (repaired & fl.REPAIRED > 0).all()
    assert fl.usable(repaired).all()
    assert not fl.usable(near).any()


@pytest.mark.parametrize("cfa", ["", "RGGB"])
@pytest.mark.parametrize("name", ["lanczos3", "bicubic", "linear"])
def test_a_frame_that_is_not_moved_keeps_all_its_pixels(cfa: str, name: str) -> None:
    """The last row and column too: they need no samples from outside."""
    frame = np.random.default_rng(4).normal(100, 10, SHAPE)
    made = ck.resample(light(frame, cfa=cfa), np.eye(3), interpolation=name)
    assert not made.flags.values.any()
    np.testing.assert_allclose(made.signal.values, frame, rtol=1e-4)


@pytest.mark.parametrize("angle", [0.0, 0.8, -37.0])
@pytest.mark.parametrize(
    ("shape", "cfa"), [((121, 151), "RGGB"), ((121, 151), ""), ((120, 150), ""), ((9, 7), "")]
)
def test_a_light_that_is_upside_down_gives_the_same(angle: float, shape: tuple[int, int], cfa: str) -> None:
    """As on the other side of the meridian; with odd numbers of pixels its pattern is the same too."""
    rng = np.random.default_rng(11)
    signal, spread = rng.normal(100, 10, shape), rng.uniform(1, 4, shape)
    flags = rng.choice(
        np.array([0, fl.HOT, fl.HOT | fl.REPAIRED, fl.SATURATED, fl.NO_DATA], np.uint16),
        shape,
        p=[0.96, *[0.01] * 4],
    )
    signal[rng.random(shape) < 0.01] = np.nan
    m = matrix(angle, 1.4, -2.7, shape)
    upright = ck.resample(light(signal, cfa=cfa, variance=spread, flags=flags), m)
    turn = np.array([[-1.0, 0.0, shape[1] - 1], [0.0, -1.0, shape[0] - 1], [0.0, 0.0, 1.0]])
    over = (array[::-1, ::-1].copy() for array in (signal, spread, flags))
    turned = ck.resample(light(next(over), cfa=cfa, variance=next(over), flags=next(over)), m @ turn)
    # whether a sample lies at a place or just beside it is a matter of rounding where nothing is between them
    np.testing.assert_array_equal(turned.flags, upright.flags)
    np.testing.assert_allclose(turned.signal, upright.signal, rtol=2e-5, atol=1e-3)
    np.testing.assert_allclose(turned.variance, upright.variance, rtol=1e-4, atol=1e-4)


def test_masters_are_read_for_lights_that_overlap_and_not_for_all_that_lies_between() -> None:
    from calibkit.align.stacking import _overlapping

    assert _overlapping([(3, 9), (90, 99), (0, 5), (88, 93), (9, 9)]) == [
        (0, 9, [2, 0]),
        (9, 9, [4]),
        (88, 99, [3, 1]),
    ]


def noisy(count: int, cfa: str, moves: list[np.ndarray], shape: tuple[int, int] = SHAPE) -> list[xr.Dataset]:
    rng = np.random.default_rng(8)
    return [
        light(seen_through(m, shape) + 3 * rng.standard_normal(shape), cfa=cfa, variance=9.0)
        for m in moves[:count]
    ]


SMALL = [matrix(0.3 * i, 1.7 * i, -2.3 * i) for i in range(7)]


@pytest.mark.parametrize("channels", ["planes", "mosaic", "drizzle"])
@pytest.mark.parametrize("cfa", ["", "RGGB", "GBRG", "GMYC"])
def test_stack_agrees_with_the_scene_within_its_noise(channels: str, cfa: str) -> None:
    lights = noisy(7, cfa, SMALL)
    truth = scene
    if channels == "drizzle":  # the samples of a pixel do not lie at its middle: a slope would show
        lights = [
            one.assign(signal=one.signal - seen_through(m)) for one, m in zip(lights, SMALL, strict=True)
        ]
        truth = flat
    made = ck.stack_lights(lights, transforms_of(*SMALL), channels=channels, normalise="none", reject="none")
    y, x = np.meshgrid(made.y.values, made.x.values, indexing="ij")
    planes = made.signal.values.reshape(-1, *y.shape)
    for plane, variance, flags in zip(
        planes,
        made.variance.values.reshape(planes.shape),
        made.flags.values.reshape(planes.shape),
        strict=True,
    ):
        use = (flags == 0) & (np.maximum(np.abs(y - 60), np.abs(x - 75)) < 40)
        assert use.sum() > 500
        pull = (plane - truth(y, x))[use] / np.sqrt(variance[use])
        # a drop of a whole pixel and planes of every second pixel smooth the scene a little
        assert abs(pull.mean()) < 0.1
        assert pull.std() == pytest.approx(1.0, abs=0.12)
    assert made.attrs["n_frames"] == 7


@pytest.mark.parametrize("channels", ["planes", "drizzle"])
def test_a_cosmic_ray_is_rejected(channels: str) -> None:
    lights = noisy(7, "RGGB", SMALL)
    lights[2].signal.values[50:52, 60:62] += 900.0
    made = ck.stack_lights(lights, transforms_of(*SMALL), channels=channels, normalise="none")
    y, x = np.meshgrid(made.y.values, made.x.values, indexing="ij")
    away = np.abs(made.signal.values - scene(y, x)) / np.sqrt(made.variance.values)
    inner = (np.abs(y - 60) < 40) & (np.abs(x - 75) < 50)
    assert np.nanmax(np.where(inner, away, 0)) < 8
    assert made.rejected_fraction.values[2] > made.rejected_fraction.values[3]


def test_lazy_lights_give_the_same_in_other_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    from calibkit.align import drizzling, stacking

    lights = noisy(5, "GRBG", SMALL)
    for channels in ("planes", "drizzle"):
        whole = ck.stack_lights(lights, transforms_of(*SMALL[:5]), channels=channels)
        monkeypatch.setattr(stacking, "_BAND_BYTES", 150_000)
        monkeypatch.setattr(drizzling, "_BAND_BYTES", 300_000)
        lazy = [one.chunk(y=37) for one in lights]
        parts = ck.stack_lights(lazy, transforms_of(*SMALL[:5]), channels=channels)
        monkeypatch.undo()
        np.testing.assert_allclose(parts.signal, whole.signal, rtol=1e-4)
        np.testing.assert_array_equal(parts.flags, whole.flags)
        np.testing.assert_array_equal(parts.n_kept, whole.n_kept)


def test_frames_are_brought_to_a_common_level() -> None:
    lights = noisy(4, "RGGB", SMALL)
    for i, one in enumerate(lights):
        one.signal.values += 40.0 * i
    made = ck.stack_lights(lights, transforms_of(*SMALL[:4]), reject="none")
    y, x = np.meshgrid(made.y.values, made.x.values, indexing="ij")
    rest = (made.signal.values - scene(y, x))[:, 15:-15, 15:-15]
    assert rest.std() < 2.5
    assert abs(rest.mean() - 60.0) < 4.0


@pytest.mark.parametrize("channels", ["planes", "drizzle"])
def test_levels_that_are_known_are_not_measured_again(channels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lights = noisy(4, "RGGB", SMALL)
    for i, one in enumerate(lights):
        one.signal.values += 40.0 * i
    levels = measure_levels(xr.concat(lights, "frame"))
    options = {"channels": channels, "reject": "none"}
    lost = Transform("x", np.full((3, 3), np.nan), np.nan, np.nan, 0, False, "clouds")
    moves = transforms_of(*SMALL[:4])
    moves = Transforms((*moves.frames[:2], lost, moves.frames[3]), 0, "similarity", SHAPE, (0, 0))
    measured = ck.stack_lights(lights, moves, **options)
    by_noise = ck.stack_lights(lights, moves, weights="noise", **options)
    unknown = replace(levels, noise=np.full_like(levels.noise, np.nan))
    again = ck.stack_lights(lights, moves, weights="noise", levels=unknown, **options)
    xr.testing.assert_equal(again, by_noise)  # the noise was not known
    monkeypatch.setattr("calibkit.align.levels.measure", None)
    xr.testing.assert_equal(ck.stack_lights(lights, moves, levels=unknown, **options), measured)
    xr.testing.assert_equal(
        ck.stack_lights(lights, moves, levels=levels, weights="noise", **options), by_noise
    )
    with pytest.raises(SettingError, match=r"\(4, 4\) frames and channels for lights of \(3, 4\)"):
        ck.stack_lights(lights[:3], transforms_of(*SMALL[:3]), levels=levels)
    nothing = replace(levels, location=np.where(np.arange(4)[:, None] == 3, np.nan, levels.location))
    with pytest.raises(MismatchError, match="no usable pixel"):
        ck.stack_lights(lights, moves, levels=nothing, **options)
    assert (
        ck.stack_lights(lights, moves, levels=nothing, normalise="none", **options)["signal"].notnull().any()
    )


class TestDrizzle:
    def test_without_movement_it_is_the_mean(self) -> None:
        lights = noisy(4, "", [np.eye(3)] * 4)
        made = ck.stack_lights(
            lights, transforms_of(*[np.eye(3)] * 4), channels="drizzle", normalise="none", reject="none"
        )
        np.testing.assert_allclose(made.signal, np.mean([one.signal for one in lights], axis=0), rtol=1e-5)
        np.testing.assert_allclose(made.variance, 9 / 4, rtol=1e-5)
        assert made.attrs["noise_correlation"] == pytest.approx(1.0, abs=1e-3)

    @pytest.mark.parametrize("cfa", ["RGGB", "GBRG", X_TRANS])
    def test_every_sample_goes_to_its_own_place(self, cfa: str) -> None:
        """Frames that are moved by whole pixels show every colour everywhere, without any mixing."""
        size = 2 if len(cfa) == 4 else 6
        moves = [matrix(0.0, float(dx), float(dy)) for dy in range(size) for dx in range(size)]
        pattern = ck.Pattern(cfa)
        level = {"R": 1.0, "G": 3.0, "B": 7.0}
        letters = np.tile(pattern.label_letters, (80, 80))[: SHAPE[0], : SHAPE[1]]
        factor = np.vectorize(level.get)(letters)
        lights = [light(seen_through(m) * factor, cfa=cfa) for m in moves]
        made = ck.stack_lights(
            lights, transforms_of(*moves), channels="drizzle", normalise="none", reject="none"
        )
        y, x = np.meshgrid(made.y.values, made.x.values, indexing="ij")
        inner = np.s_[10:-10, 10:-10]
        for colour, value in level.items():
            np.testing.assert_allclose(
                made.signal.sel(channel=colour).values[inner], value * scene(y, x)[inner], rtol=1e-5
            )

    @pytest.mark.parametrize("channels", ["planes", "drizzle"])
    def test_weights_as_numbers_leave_frames_out(self, channels: str) -> None:
        rng = np.random.default_rng(4)
        lights = [light(100.0 + i + rng.standard_normal(SHAPE), cfa="RGGB") for i in range(3)]
        moves = transforms_of(*[np.eye(3)] * 3)
        made = ck.stack_lights(
            lights, moves, channels=channels, weights=[0, 1, 0], normalise="additive", reject="none"
        )
        alone = ck.stack_lights([lights[1]], transforms_of(np.eye(3)), channels=channels, reject="none")
        inner = np.s_[:, 8:-8, 8:-8]
        np.testing.assert_allclose(made.signal.values[inner], alone.signal.values[inner], atol=1e-3)

    @pytest.mark.parametrize("scale", [1.0, 2.0, 0.5])
    def test_light_noise_and_coverage(self, scale: float) -> None:
        rng = np.random.default_rng(1)
        y, x = np.mgrid[:200, :200]
        moves = [matrix(5.0 * i, 0.31 * i, 0.77 * i, (200, 200)) for i in range(4)]
        lights = []
        for m in moves:
            at = np.linalg.inv(m) @ [100.0, 90.0, 1.0]
            star = 1e4 * np.exp(-((y - at[1]) ** 2 + (x - at[0]) ** 2) / (2 * 1.8**2))
            lights.append(light(star + rng.standard_normal((200, 200))))
        made = ck.stack_lights(
            lights, transforms_of(*moves, shape=(200, 200)), channels="drizzle", scale=scale, pixfrac=0.8,
            normalise="none", reject="none",
        )  # fmt: skip
        signal = made.signal.values
        inner = (np.abs(made.y.values - 90) < 12)[:, None] & (np.abs(made.x.values - 100) < 12)
        light_of_star = float(np.nansum(signal[inner])) / scale**2
        assert light_of_star == pytest.approx(1e4 * 2 * np.pi * 1.8**2, rel=5e-3)
        sky = (np.abs(made.y.values - 140) < 30)[:, None] & (np.abs(made.x.values - 100) < 50)
        good = sky & (made.flags.values == 0)
        assert np.mean(signal[good] ** 2 / made.variance.values[good]) == pytest.approx(1.0, abs=0.06)
        # the mean over the sky has the noise of as many samples
        count = 12
        part = signal[np.ix_(np.abs(made.y.values - 140) < 30, np.abs(made.x.values - 100) < 50)]
        side = int(count * scale)
        rows, columns = part.shape[0] // side * side, part.shape[1] // side * side
        blocks = part[:rows, :columns].reshape(rows // side, side, columns // side, side).mean(axis=(1, 3))
        expected = float(np.mean(made.variance.values[good])) / side**2 * made.attrs["noise_correlation"]
        assert np.mean(blocks**2) == pytest.approx(expected, rel=0.6)
        assert expected == pytest.approx(1 / (4 * count**2), rel=0.05)

    def test_saturated_cores_are_kept_and_told(self) -> None:
        flags = np.zeros(SHAPE, np.uint16)
        signal = np.full(SHAPE, 5.0)
        signal[50, 50], flags[50, 50] = 900.0, fl.SATURATED
        made = ck.stack_lights(
            [light(signal, flags=flags)] * 3,
            transforms_of(*[np.eye(3)] * 3),
            channels="drizzle",
            normalise="none",
        )
        assert float(made.signal[50, 50]) == pytest.approx(900.0)
        assert int(made.flags[50, 50]) & fl.REJECTED_ALL


def test_what_cannot_work_is_refused() -> None:
    lights = noisy(3, X_TRANS, SMALL)
    with pytest.raises(SettingError, match="drizzle"):
        ck.stack_lights(lights, transforms_of(*SMALL[:3]))
    with pytest.raises(SettingError, match="drizzle"):
        ck.resample(lights[0], SMALL[1])
    bayer = noisy(3, "RGGB", SMALL)
    with pytest.raises(MismatchError, match="3 lights need"):
        ck.stack_lights(bayer, transforms_of(*SMALL[:2]))
    with pytest.raises(MismatchError, match="register them anew"):
        ck.stack_lights(bayer, transforms_of(*SMALL[:3], shape=(10, 10)))
    for options in (
        {"channels": "rgb"}, {"scale": 9.0}, {"interpolation": "cubic"}, {"channels": "mosaic", "scale": 2.0},
        {"channels": "drizzle", "pixfrac": 0.0}, {"channels": "drizzle", "method": "median"}, {"normalise": "x"},
    ):  # fmt: skip
        with pytest.raises(SettingError):
            ck.stack_lights(bayer, transforms_of(*SMALL[:3]), **options)
    lost = Transform("x", np.full((3, 3), np.nan), np.nan, np.nan, 0, False, "clouds")
    with pytest.raises(MismatchError, match="clouds"):
        ck.resample(bayer[0], lost)
    with pytest.raises(MismatchError, match="none of the lights"):
        ck.stack_lights(bayer, Transforms((lost,) * 3, 0, "similarity", SHAPE, (0, 0)))


def test_rows_of_saved_lights_are_read_directly(tmp_path: Path) -> None:
    """Only the rows that a band needs, not the chunks that they lie in; and with the same result."""
    from calibkit.io.result_file import rows_of

    lights = noisy(3, "RGGB", SMALL)
    for i, one in enumerate(lights):
        ck.save(one.assign_attrs(provenance=[]), tmp_path / f"{i}.fits")
    saved = [ck.open_result(tmp_path / f"{i}.fits") for i in range(3)]
    read = rows_of(saved[1].signal.data)
    assert read is not None
    np.testing.assert_array_equal(read(31, 40), lights[1].signal[31:40])
    assert rows_of(saved[1].signal.data[5:]) is None
    one, two = (ck.stack_lights(kind, transforms_of(*SMALL[:3])) for kind in (lights, saved))
    np.testing.assert_array_equal(one.signal, two.signal)
    np.testing.assert_array_equal(one.flags, two.flags)
    one, two = (
        ck.stack_lights(kind, transforms_of(*SMALL[:3]), channels="debayer") for kind in (lights, saved)
    )
    assert not one.signal.chunks
    assert two.signal.chunks  # planes of saved lights are made when they are wanted
    for name in ("signal", "variance", "flags"):
        np.testing.assert_array_equal(one[name], two[name])


@pytest.mark.parametrize(("flag", "marked"), [(fl.HOT, 4), (fl.SATURATED, 12)])
def test_bad_samples_aside_are_left_out_but_saturated_ones_are_told(flag: int, marked: int) -> None:
    """Half a pixel off, where the weights of a row are 0.61, −0.14 and 0.02: only products above 0.02 count."""
    shape = (40, 40)
    light = xr.Dataset(
        {
            "signal": (("y", "x"), np.full(shape, 100, "f4")),
            "variance": (("y", "x"), np.full(shape, 4, "f4")),
            "flags": (("y", "x"), np.zeros(shape, "u2")),
        },
        coords={"y": np.arange(40), "x": np.arange(40)},
        attrs={"cfa": "", "units": "adu", "bias_subtracted": True, "kind": "light"},
    )
    light["signal"][20, 20] = 9000
    light["flags"][20, 20] = flag
    made = ck.resample(light, np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]]))
    inner = made.isel(y=slice(4, -4), x=slice(4, -4))
    assert int((inner.flags == flag).sum()) == marked
    assert int((inner.flags != 0).sum()) == marked
    good = inner.signal.values[inner.flags.values == 0]
    if flag == fl.HOT:
        np.testing.assert_allclose(good, 100, rtol=1e-5)


def test_drizzle_says_that_it_rejects_nothing_where_the_noise_is_not_known() -> None:
    lights = [light(100.0 + np.zeros(SHAPE), variance=np.nan) for _ in range(4)]
    lights[2].signal.values[60, 70] = 5000.0
    moves = transforms_of(*[np.eye(3)] * 4)
    with pytest.warns(CalibkitWarning, match="noise of 4 of 4 lights is not known"):
        made = ck.stack_lights(lights, moves, channels="drizzle", normalise="none")
    assert made.signal[60, 70] > 1000
    assert next(s for s in made.attrs["provenance"] if s["step"] == "drizzle")["reject"] == "none"
    lights[0]["variance"] = lights[0]["variance"].fillna(1.0)
    with pytest.warns(CalibkitWarning, match="noise of 3 of 4 lights is not known"):
        ck.stack_lights(lights, moves, channels="drizzle", normalise="none")


@pytest.mark.parametrize("weights", ["exposure", "noise"])
def test_the_variance_of_a_weighted_stack_is_right_without_that_of_the_lights(weights: str) -> None:
    rng = np.random.default_rng(3)
    sigma = np.array([5.0] * 4 + [20.0] * 4)
    lights = [
        light(1000.0 + s * rng.standard_normal(SHAPE))
        .drop_vars("variance")
        .assign_coords(exposure=1e4 / s**2)
        for s in sigma
    ]
    made = ck.stack_lights(
        lights, transforms_of(*[np.eye(3)] * 8), weights=weights, normalise="none", reject="none"
    )
    truth = 1 / np.sum(1 / sigma**2)
    assert made.signal.var().item() == pytest.approx(truth, rel=0.06)
    assert made.variance.mean().item() == pytest.approx(truth, rel=0.03)


def test_the_variance_of_a_resampled_light_of_unit_1_has_the_unit_1() -> None:
    one = light(np.ones(SHAPE)).assign_attrs(units="1")
    assert ck.resample(one, np.eye(3)).variance.attrs["units"] == "1"

"""What must hold for any charge, camera and shape."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from calibkit.kernels.chance import poisson_from_normal
from calibkit.simulate import Camera, Lamp, simulate_frame, truth
from calibkit.simulate.chain import bloom

CHARGE = arrays(
    np.float32,
    st.tuples(st.integers(1, 40), st.integers(1, 5)),
    elements=st.floats(0, 5000, width=32),
)


@given(CHARGE)
def test_blooming_fills_no_pixel_above_full_and_makes_no_charge(charge: np.ndarray) -> None:
    before = charge.copy()
    bloom(charge, np.float32(1000))
    assert charge.max() <= 1000 * (1 + 1e-6)
    assert (charge >= np.minimum(before, 1000) * (1 - 1e-6)).all()  # pixels only gain up to full
    assert (charge.sum(axis=0, dtype=float) <= before.sum(axis=0, dtype=float) * (1 + 1e-6) + 1e-3).all()


@given(CHARGE)
def test_blooming_keeps_all_charge_that_has_room_to_stay(charge: np.ndarray) -> None:
    # As many empty pixels on either side as the charge could ever fill.
    room = np.zeros((charge.shape[0] * 5 + 1, charge.shape[1]), np.float32)
    charge = np.concatenate([room, charge, room])
    before = charge.sum(axis=0, dtype=float)
    bloom(charge, np.float32(1000))
    assert np.allclose(charge.sum(axis=0, dtype=float), before, rtol=1e-5)


def test_blooming_is_even_up_and_down() -> None:
    charge = np.zeros((101, 3), np.float32)
    charge[50, 1] = 11_000
    bloom(charge, np.float32(1000))
    assert np.array_equal(charge, charge[::-1])
    assert (charge[45:56, 1] == 1000).all()
    assert charge[:, [0, 2]].sum() == 0


@given(
    st.lists(st.floats(0, 1e5, width=32), min_size=2, max_size=2),
    st.floats(-5, 5, width=32),
)
def test_more_light_is_never_fewer_electrons(means: list[float], normal: float) -> None:
    """The same luck with a larger mean: what makes effects switchable without new noise."""
    low, high = sorted(means)
    counts = np.full((1, 2), normal, np.float32)
    poisson_from_normal(np.array([[low, high]], np.float32), counts)
    assert counts[0, 0] >= 0
    assert counts[0, 0] == np.floor(counts[0, 0])
    assert counts[0, 1] >= counts[0, 0] - 1  # the expansion may be one off where it begins


@settings(max_examples=25)
@given(
    shape=st.tuples(st.integers(1, 80), st.integers(1, 80)),
    pattern=st.sampled_from(["", "RGGB", "GBRG", "GMCY"]),
    bits=st.integers(8, 16),
    rate=st.floats(0, 1e6),
    seed=st.integers(0, 2**32),
)
def test_any_camera_gives_a_frame_and_its_truth(
    shape: tuple[int, int], pattern: str, bits: int, rate: float, seed: int
) -> None:
    if pattern and min(shape) < 2:
        shape = (max(shape[0], 2), max(shape[1], 2))
    camera = Camera(
        shape=shape, pattern=pattern, bit_depth=bits, hot_fraction=0.05, blooming=True, weak_fraction=0.1,
        bad_columns=1, cosmic_rays=100.0, glow_rate=1.0, seed=seed,
    )  # fmt: skip
    lamp = Lamp(rate=rate)
    frame = simulate_frame(camera, kind="flat", exposure=1.0, lamp=lamp, seed=seed)
    assert frame.shape == shape
    assert frame.dtype == np.uint16
    assert int(frame.max()) <= 2**bits - 1
    perfect = truth(camera, kind="flat", exposure=1.0, lamp=lamp)
    assert bool(np.isfinite(perfect.variance.where(perfect.flat > 0, 0)).all())
    assert float(perfect.variance.min()) > 0

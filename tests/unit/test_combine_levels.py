"""Where the levels are measured that frames are normalised by, and what is found there."""

from __future__ import annotations

import math

import numpy as np
import pytest

from calibkit.combining.normalise import SAMPLE_PIXELS, levels_in, strips


@pytest.mark.parametrize(
    ("height", "width", "period"),
    [
        (4000, 6000, 2),
        (3000, 200, 1),
        (1000, 40_000, 6),
        (601, 900, 6),
        (16, 10**6, 4),
        (7, 10**6, 4),
        (2, 10**6, 2),
    ],
)
def test_levels_are_measured_all_over_a_large_frame(height: int, width: int, period: int) -> None:
    """In the middle of each sixteenth of its height, in whole cells."""
    found = strips(height, width, period)
    rows = {stop - start for start, stop in found}
    assert len(rows) == 1
    high = rows.pop()
    assert high == period or abs(16 * high * width - SAMPLE_PIXELS) <= 8 * period * width
    assert all(start % period == 0 for start, _ in found)
    assert all(0 <= start < stop <= height for start, stop in found)
    middles = np.array([(start + stop) / 2 for start, stop in found])
    wanted = height * (np.arange(16) + 0.5) / 16
    if 16 * period <= height:
        assert len(found) == 16
        np.testing.assert_allclose(middles, wanted, atol=period)
    else:  # so low a frame is measured as a whole
        assert len(found) == len(set(found)) == height // period


def test_levels_of_a_small_frame_are_measured_in_all_of_it() -> None:
    assert strips(1, 1, 2) == [(0, 1)]
    assert strips(512, 1024, 2) == [(0, 512)]
    assert strips(512, 1026, 2) != [(0, 512)]


def test_the_level_of_a_large_frame_is_that_of_all_its_rows() -> None:
    rng = np.random.default_rng(3)
    slope = np.linspace(-30, 30, 1400)[:, None]
    frame = (
        rng.normal(500, 5, (1400, 900))
        + slope
        + np.array([[0, 100], [200, 300]])[np.arange(1400)[:, None] % 2, np.arange(900) % 2]
    )
    found = levels_in(frame, np.array([[0, 1], [2, 3]], np.uint8))
    np.testing.assert_allclose(found.location[0], [500, 600, 700, 800], atol=0.5)
    np.testing.assert_allclose(found.scale[0], math.hypot(5, 60 / math.sqrt(12)), rtol=0.05)

"""What the course says of a real camera beside the lecture's figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import calibkit


def scatter(values: np.ndarray) -> float:
    low, high = np.quantile(values, [0.1587, 0.8413])
    return float(high - low) / 2


def test_mean_and_median_of_real_darks(shared_data: Callable[[str], Path]) -> None:
    """Notebook 5: one dark 7.5 ADU, the mean of five 3.3, the median of five 3.9; halves are compared, not what is stated."""
    darks = calibkit.open_stack(sorted((shared_data("stl1001e") / "neg5").glob("darks-expos1-*"))).compute()
    assert set(darks.exposure.values) == {60.0}
    frames = darks.values.astype(float)
    one = scatter(frames[0] - frames[1]) / 2**0.5
    assert one == pytest.approx(7.5, abs=0.1)
    for method, expected in (("mean", 3.3), ("median", 3.9)):
        first, second = (
            calibkit.combine(darks[part], method=method, reject="none").signal.values
            for part in (slice(0, 5), slice(5, 10))
        )
        assert scatter(first - second) / 2**0.5 == pytest.approx(expected, abs=0.1), method


def test_photon_noise_of_real_flats(shared_data: Callable[[str], Path]) -> None:
    """Notebook 3: 36 280 electrons scatter by 192, where √(N + 13²) says 191. The gain of 1.94 e⁻/ADU is other pairs'."""
    folder, gain = shared_data("stl1001e") / "neg5", 1.94
    flats = calibkit.open_stack(sorted(folder.glob("flat*")), kind="flat")[:2].compute().values.astype(float)
    offset = calibkit.open_stack(sorted(folder.glob("bias*"))).compute().values.mean(axis=0)
    electrons = gain * float(np.median(flats[0] - offset))
    noise = gain * scatter(flats[0] - flats[1] * np.median(flats[0] / flats[1])) / 2**0.5
    assert electrons == pytest.approx(36_280, abs=50)
    assert noise == pytest.approx(192, abs=1)
    assert noise == pytest.approx((electrons + 13**2) ** 0.5, rel=0.01)

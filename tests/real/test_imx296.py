"""A colour CMOS sensor whose noise is below one ADU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import calibkit
from calibkit import CalibkitWarning
from calibkit.noise import measure_gain


def test_gain_of_every_channel(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("imx296")
    darks = calibkit.open_stack(sorted(folder.glob("dark_*.dng")), kind="dark")
    levels = calibkit.open_stack(sorted(folder.glob("level77_*.dng")), kind="flat")
    gain = measure_gain(levels, darks)
    assert list(gain.values) == ["R", "G1", "G2", "B"]
    for channel, value in gain.values.items():
        assert 9.8 < value < 11.2, channel
        assert gain.errors[channel] < 0.05


def test_flat_from_a_constant_bias(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("imx296")
    levels = calibkit.open_stack(sorted(folder.glob("level77_*.dng")), kind="flat")
    with pytest.warns(CalibkitWarning, match="weakly exposed") as found:
        flat = calibkit.master_flat(levels, bias=calibkit.constant_bias(levels))
    assert len(found) == 4
    level = flat.attrs["channel_level"]
    assert level["G1"] == pytest.approx(level["G2"], rel=0.01)
    assert level["G1"] > level["R"] > level["B"] > 5
    for channel in level:
        assert float(flat.cfa[channel]["signal"].mean()) == pytest.approx(1, abs=0.01)
    assert np.isfinite(flat["variance"]).mean() > 0.999

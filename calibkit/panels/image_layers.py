"""What the page has to know about an image besides its pixels: levels, how its values are spread, its unit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from calibkit.display.stretch import (
    CURVES,
    Levels,
    auto_levels,
    balance,
    difference_levels,
    histogram,
    quantiles,
)
from calibkit.display.view import FrameView
from calibkit.panels.image_plots import LevelsPlot, unit


@dataclass(frozen=True)
class Layer:
    """An image as it is shown in one channel, or the difference of two."""

    name: str
    units: str
    sample: np.ndarray
    pixels: int
    auto: dict[str, Levels]
    balance: list[tuple[float, float]] = field(default_factory=lambda: [(1.0, 0.0)])

    @classmethod
    def of_frame(cls, frame: FrameView, name: str, channel: str) -> Layer:
        """The frame's *channel*."""
        planes = frame.sample(channel)
        sample = np.concatenate(planes)
        auto = {curve: auto_levels(sample[::4], curve=curve) for curve in CURVES}
        return cls(name, unit(frame.units), sample, frame.shape[0] * frame.shape[1], auto, balance(planes))

    @classmethod
    def of_difference(cls, before: FrameView, after: FrameView) -> Layer:
        """After − before, pixel for pixel."""
        sample = (after.sample_grid() - before.sample_grid()).values.ravel()
        sample = sample[np.isfinite(sample)]
        levels = difference_levels(sample)
        pixels = min(frame.shape[0] * frame.shape[1] for frame in (before, after))
        return cls("difference", unit(after.units), sample, pixels, dict.fromkeys(CURVES, levels))

    def facts(self) -> dict[str, Any]:
        """For the page, as plain JSON."""
        return {
            "name": self.name,
            "units": self.units,
            "auto": {curve: list(levels) for curve, levels in self.auto.items()},
            "balance": [list(pair) for pair in self.balance],
            "quantiles": [values.tolist() for values in quantiles(self.sample)],
            "window": list(self.window()),
            "range": list(self.range()),
        }

    def window(self) -> tuple[float, float]:
        """The values of background and faint detail, where a stretch is set; not those of a few bright stars."""
        linear = self.auto["linear"]
        reach = linear.white - linear.black
        low, high = linear.black - 0.15 * reach, linear.white + 0.15 * reach
        whites = [levels.white for levels in self.auto.values() if levels.white < linear.black + 3.0 * reach]
        return low, max(high, *whites, high)

    def range(self) -> tuple[float, float]:
        """All values, with a margin."""
        if self.sample.size == 0:
            return self.window()
        low, high = float(self.sample.min()), float(self.sample.max())
        margin = 0.02 * (high - low) or 1.0
        return low - margin, high + margin

    def draw(self, plot: LevelsPlot, low: float, high: float, *, other: bool = False) -> None:
        """Draw the histogram between two values, counted up to all pixels."""
        counts, edges = histogram(self.sample, low, high)
        plot.draw(counts, edges, scale=self.pixels / max(1, self.sample.size), other=other)

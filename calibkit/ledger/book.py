"""The ledger itself: its table, what limits the image, and what more frames would buy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from calibkit.errors import SettingError

if TYPE_CHECKING:
    import pandas as pd

#: The steps in the order of the work.
STEPS = ("raw", "bias", "dark", "flat", "combined")
#: New in every frame, the same in every frame, and what is no noise but differs from pixel to pixel.
NEW = ("readout", "quantisation", "dark current", "sky", "object")
COMMON = ("bias master", "dark master", "flat master")
SOURCES = (*NEW, *COMMON, "pattern")
#: What the measured variance comes from: differences of frames, or of neighbouring pixels.
COMPARISONS = ("frames", "pixels")
#: A source in words.
IN_WORDS = {
    "readout": "readout noise",
    "quantisation": "rounding to whole numbers",
    "dark current": "noise of the dark current",
    "sky": "photon noise of the sky",
    "object": "photon noise of the object",
    "bias master": "noise of the bias master",
    "dark master": "noise of the dark master",
    "flat master": "noise of the flat master",
    "pattern": "pattern from pixel to pixel that is not removed",
}


@dataclass(frozen=True)
class Limit:
    """The source that a channel's noise comes from most.

    Attributes
    ----------
    source : str
        Its name in the table.
    share : float
        Of the variance after the last step.
    sigma : float
        Its part of the noise, ADU.
    """

    source: str
    share: float
    sigma: float

    def __str__(self) -> str:
        return f"{IN_WORDS[self.source]}, {100 * self.share:.0f} % of the variance ({self.sigma:.3g} ADU)"


@dataclass(frozen=True)
class NoiseLedger:
    """Noise of an image by source, after each step, predicted and measured; made by `noise_ledger`.

    Attributes
    ----------
    table : xarray.Dataset
        With dims ``step``, ``channel``, ``source`` and ``comparison`` ("frames", "pixels"):

        - ``variance(step, channel, source)``: predicted, ADU²; the sources add up.
        - ``predicted``, ``measured`` ``(step, channel, comparison)``: ADU². What differs between frames is the
          first five sources; between pixels it is all of them.
        - ``ratio``, ``ratio_error``: predicted over measured variance and its standard error.
        - ``level(step, channel)``: mean, ADU.
        - ``gain``, ``sky_level``, ``pixels`` ``(channel)``: electron/adu, ADU, typical pixels looked at.

        ``attrs`` hold the numbers of frames, the exposure in s, the factor of the dark, whether the lights are
        dithered, and where gain and readout noise come from.
    """

    table: xr.Dataset

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return tuple(self.table["channel"].values.tolist())

    @property
    def steps(self) -> tuple[str, ...]:
        """Names of the steps that were done."""
        return tuple(self.table["step"].values.tolist())

    def variance(self, channel: str, step: str | None = None) -> dict[str, float]:
        """Predicted variance by source, ADU², after *step*, by default the last one.

        Raises
        ------
        SettingError
            A channel or step that is not there.
        """
        channel, step = self._found("channel", channel), self._found("step", step or self.steps[-1])
        values = self.table["variance"].sel(step=step, channel=channel).values
        return dict(zip(SOURCES, values.tolist(), strict=True))

    def is_empty(self, channel: str) -> bool:
        """Whether *channel* has no typical pixel, for instance where a narrowband filter lets no light through."""
        return not float(self.table["pixels"].sel(channel=self._found("channel", channel))) > 0

    def sigma(self, channel: str, step: str | None = None) -> float:
        """Predicted noise of a pixel, everything together, in ADU."""
        return math.sqrt(sum(self.variance(channel, step).values()))

    @cached_property
    def limits(self) -> dict[str, Limit]:
        """Channel → the source that most of the variance comes from after the last step; none for an empty one."""
        found = {}
        for channel in self.channels:
            variance = self.variance(channel)
            if self.is_empty(channel):
                continue
            source = max(variance, key=variance.__getitem__)
            share = variance[source] / sum(variance.values())
            found[channel] = Limit(source, share, math.sqrt(max(variance[source], 0.0)))
        return found

    @cached_property
    def buys(self) -> pd.DataFrame:
        """What more frames or a longer exposure would buy, one row for each channel and action.

        ``sigma``: noise of the result, in ADU on the scale of the present exposure; ``change``: its relative change
        in per cent, negative is better; ``time``: seconds more of the lights' exposure that it takes, NaN for
        frames of another kind. Longer lights are thought to come with as many darks of their exposure.
        """
        from calibkit.ledger.buying import purchases

        return purchases(self)

    def rates(self, channel: str) -> dict[str, float]:
        """What `plan_exposures` wants to know of the camera and the sky, from this ledger.

        Returns
        -------
        dict
            ``sky`` and ``dark_current`` in e⁻/s per pixel, ``read_noise`` in e⁻ (rounding included), and
            ``full_well``, the electrons from the offset to saturation, where that is known.

        Raises
        ------
        SettingError
            A channel that is not there, or an exposure that is not known.
        """
        exposure = self.table.attrs["exposure"]
        if not exposure > 0:
            msg = f"the lights' exposure ({exposure:g} s) gives no rates; assign it: lights.assign_coords(exposure=…)"
            raise SettingError(msg)
        raw = self.variance(channel, "raw")
        gain = float(self.table["gain"].sel(channel=channel))
        found = {
            "sky": (raw["sky"] + raw["object"]) * gain**2 / exposure,
            "dark_current": max(raw["dark current"], 0.0) * gain**2 / exposure,
            "read_noise": math.sqrt(raw["readout"] + raw["quantisation"]) * gain,
        }
        saturation = float(self.table.attrs["saturation"])
        offset = (
            float(self.table["level"].sel(step="raw", channel=channel))
            - (found["sky"] + found["dark_current"]) * exposure / gain
        )
        if math.isfinite(saturation) and saturation > offset:
            found["full_well"] = (saturation - offset) * gain
        return found

    def _found(self, dim: str, name: str) -> str:
        names = self.table[dim].values.tolist()
        if name not in names:
            msg = f"{dim}={name!r} is not in this ledger; allowed are {', '.join(map(repr, names))}"
            raise SettingError(msg)
        return name

    def __str__(self) -> str:
        from calibkit.ledger.wording import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from calibkit.ledger.wording import as_html

        return as_html(self)

    def unexplained(self) -> list[str]:
        """Where measured and predicted variance differ by more than 3 % and three standard errors, in words."""
        found = []
        for step in self.steps:
            for channel in self.channels:
                for comparison in COMPARISONS:
                    row = self.table.sel(step=step, channel=channel, comparison=comparison)
                    ratio, error = float(row["ratio"]), float(row["ratio_error"])
                    if not abs(ratio - 1) > max(0.03, 3 * np.nan_to_num(error)):
                        continue
                    excess = float(row["measured"] - row["predicted"])
                    what = "more" if excess > 0 else "less"
                    found.append(
                        f"{step}, channel {channel}, between {comparison}: the measured noise is {what} than predicted, "
                        f"by {math.sqrt(abs(excess)):.3g} ADU in the root of squares (ratio {ratio:.3f} ± {error:.3f})"
                    )
        return found

"""What one more frame, or a longer exposure, would do to the noise of the result."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from calibkit.ledger.book import COMMON, NEW

if TYPE_CHECKING:
    import pandas as pd

    from calibkit.ledger.book import NoiseLedger


@dataclass(frozen=True)
class Effort:
    """Frames taken and how long the lights are exposed, relative to now."""

    lights: float
    bias: float
    dark: float
    flat: float
    stretch: float = 1.0
    dithered: bool = False


def purchases(ledger: NoiseLedger) -> pd.DataFrame:
    """The table `NoiseLedger.buys`."""
    import pandas as pd

    attrs = ledger.table.attrs
    now = Effort(
        *(float(attrs[name]) for name in ("lights", "bias_frames", "dark_frames", "flat_frames")),
        dithered=attrs["dithered"],
    )
    exposure = float(attrs["exposure"])
    actions = [
        ("one more light", replace(now, lights=now.lights + 1), exposure),
        ("twice the lights", replace(now, lights=2 * now.lights), now.lights * exposure),
        ("twice the exposure", replace(now, stretch=2.0), now.lights * exposure),
        ("twice the exposure, half the lights", replace(now, stretch=2.0, lights=now.lights / 2), 0.0),
    ]
    actions += [
        (f"one more {name}", replace(now, **{name: getattr(now, name) + 1}), math.nan)
        for name in ("bias", "dark", "flat")
        if getattr(now, name) >= 1
    ]
    if not now.dithered and now.lights > 1:
        actions.append(("dithering", replace(now, dithered=True), 0.0))
    rows = []
    step = [s for s in ledger.steps if s != "combined"][-1]
    for channel in (name for name in ledger.channels if not ledger.is_empty(name)):
        frame = ledger.variance(channel, step)
        light = ledger.variance(channel)  # the mean over all lights knows the sky of all of them
        if ledger.steps[-1] == "combined":
            frame |= {name: light[name] * now.lights for name in NEW}
        before = noise_after(frame, now, now)
        for action, effort, seconds in actions:
            after = noise_after(frame, now, effort)
            rows.append((channel, action, after, 100 * (after / before - 1), seconds))
    return pd.DataFrame(rows, columns=["channel", "action", "sigma", "change", "time"])


def noise_after(frame: dict[str, float], now: Effort, then: Effort) -> float:
    """Noise of the mean of the lights, ADU on the scale of the present exposure.

    Parameters
    ----------
    frame : dict
        Variance of one light by source, ADU².
    now, then : Effort
        With which *frame* holds, and that is asked about.
    """
    reading = frame["readout"] + frame["quantisation"]
    rest = sum(frame[name] for name in NEW) - reading
    variance = (reading + then.stretch * rest) / then.lights
    # Darks are exposed as long as the lights; their own noise grows by their dark current's.
    longer = (reading + then.stretch * frame["dark current"]) / (reading + frame["dark current"])
    grows = {"bias master": 1.0, "dark master": longer, "flat master": then.stretch**2}
    common = frame["pattern"] * then.stretch**2
    for name in COMMON:
        kind = name.split()[0]
        fewer = getattr(now, kind) / getattr(then, kind) if getattr(then, kind) else 0.0
        common += frame[name] * grows[name] * fewer
    variance += common / (then.lights if then.dithered else 1.0)
    return math.sqrt(variance) / then.stretch

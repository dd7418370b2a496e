"""What a plan of exposures has to know, from a ledger or from a sensor's profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibkit.errors import SettingError
from calibkit.ledger.book import NoiseLedger

if TYPE_CHECKING:
    from calibkit.sensor import SensorProfile


def shown_channel(ledger: NoiseLedger, channel: str) -> str:
    """The channel that is asked for, or the first one that has light."""
    there = [name for name in ledger.channels if not ledger.is_empty(name)]
    if channel and channel not in there:
        msg = f"channel {channel!r}: there are {', '.join(there)}"
        raise SettingError(msg)
    return channel or there[0]


def light_rates(ledger: NoiseLedger, channel: str = "") -> dict[str, float]:
    """What `plan_exposures` wants to know, for a channel of a ledger or its first one with light."""
    return ledger.rates(shown_channel(ledger, channel))


def profile_rates(profile: SensorProfile, channel: str = "") -> dict[str, float]:
    """What `plan_exposures` wants to know of a sensor, under a sky of 1 e⁻/s, until another one is given."""
    noise = profile.read_noise
    if channel and channel not in noise:
        msg = f"channel {channel!r}: there are {', '.join(noise)}"
        raise SettingError(msg)
    chosen = channel or next(iter(noise))
    rates = {"sky": 1.0, "read_noise": noise[chosen]}
    if "full_well" in profile.quantities and chosen in profile.quantities["full_well"].values:
        rates["full_well"] = profile.quantities["full_well"][chosen]
    return rates

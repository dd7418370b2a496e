"""Flats for a Bayer sensor: the colour of the lamp, behind the filter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from calibkit.simulate.camera import Camera
from calibkit.simulate.spectrum import ORIGINAL_GLASS, Spectrum
from calibkit.teach.exercise import Exercise, kind_of, number, plain_number

#: Wavelengths of the box of light's LEDs in nm.
_LEDS = {"green": 525.0, "blue": 467.0, "deep red": 660.0}
#: What is meant by even: the brightest channel over the darkest.
_EVEN = 1.1
_NAMES = {"R": "red", "G": "green", "B": "blue"}


def _adjusted(answer: Any) -> str | None:
    if isinstance(answer, Mapping) and set(answer) != set(_LEDS):
        return f"The keys {', '.join(map(repr, _LEDS))} are wanted; found {', '.join(map(repr, answer))}."
    if not isinstance(answer, Mapping):
        return (
            f"A dictionary with the keys {', '.join(map(repr, _LEDS))} is wanted; this is {kind_of(answer)}."
        )
    strengths = {led: plain_number(value) for led, value in answer.items()}
    for led, strength in strengths.items():
        if strength is None or not 0 <= strength < math.inf:
            return f"The strength of an LED is a number of 0 or more; {led!r} has {answer[led]!r}."
    if not any(strengths.values()):
        return "All LEDs are off."
    lines = tuple((_LEDS[led], float(strength or 0.0)) for led, strength in strengths.items())
    camera = Camera(pattern="GBRG", glass=ORIGINAL_GLASS)
    shares = camera.shares(Spectrum(lines=lines), "CLS")
    bright, dark = max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__)
    ratio = shares[bright] / shares[dark] if shares[dark] else math.inf
    if ratio <= _EVEN:
        return None
    return (
        f"The {_NAMES[bright]} channel gets {ratio:.2f} times the light of the {_NAMES[dark]} one. Turn the LED up that the "
        f"{_NAMES[dark]} channel sees best, or the other one down."
    )


EXERCISES = (
    Exercise(
        "bayer_flats/how many",
        "The green channel gets 5.5 times the light of the red one. Ten flats are enough for green: how many make red as "
        "good, with photon noise only and the same exposure?",
        number(
            55.0,
            within=0.02,
            unit="flats",
            mistakes={
                23.5: "Noise goes with the root, but of all the light: how many flats collect as much of it as ten do in green?",
                302.5: "Once 5.5 is enough: the noise depends on how much light is collected in all.",
                1.8: "Red is the darker one: it needs more flats, not fewer.",
                10.0: "Ten are enough for green. Red gets less light in each of them.",
            },
            hint="Red has to collect as much light in all as green does in ten flats.",
        ),
        "10 × 5.5 = 55. It is easier to change the lamp.",
    ),
    Exercise(
        "bayer_flats/adjust",
        "Find strengths of the green, blue and 660 nm LEDs such that behind the CLS filter no channel gets more than 1.1 "
        "times the light of another. The answer is a dictionary such as {'green': 1.0, 'blue': 1.0, 'deep red': 8.0}.",
        _adjusted,
        "Even. One exposure serves all channels, and none adds more noise than another.",
    ),
)

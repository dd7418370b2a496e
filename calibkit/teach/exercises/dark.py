"""The dark: thermal charge, hot pixels, and why a dark belongs to one temperature."""

from __future__ import annotations

from calibkit.teach.exercise import Exercise, choice, number

EXERCISES = (
    Exercise(
        "dark/halve the noise",
        "A master of 11 darks has a certain noise. How many darks does a master with half of that noise need?",
        number(
            44,
            within=0.01,
            mistakes={
                22.0: "Twice as many darks make it √2 = 1.4 times smaller, not twice.",
                12.0: "One more makes hardly any difference. The noise falls with √N.",
                121.0: "11² would make it √11 times smaller. Half is less than that.",
            },
            hint="The noise falls with √N: by what must N be multiplied so that √N doubles?",
        ),
        "Four times as many. That is why the first ten darks matter more than the next thirty.",
    ),
    Exercise(
        "dark/cooling",
        "A camera has 1.6 e⁻/s of dark current at 28 °C. How much is left at 0 °C, in e⁻/s, if it halves for every 7 °C?",
        number(
            0.1,
            within=0.03,
            unit="e⁻/s",
            mistakes={
                0.4: "28 is four times 7: halve it four times. 0.4 is half of a half.",
                0.057: "1.6 / 28 would be it if it fell evenly. It halves, and halves again.",
                25.6: "It grows when it gets warmer. Here it gets colder.",
                0.2: "That is three halvings. 28 / 7 is four.",
            },
            hint="28 / 7 = 4 halvings.",
        ),
        "1.6 → 0.8 → 0.4 → 0.2 → 0.1. Cooling is the cheapest way to less thermal charge.",
    ),
    Exercise(
        "dark/holes",
        "After calibration there are dark holes where the raw image has bright dots. Was the dark 'too strong' or 'too weak'?",
        choice(
            "too strong",
            {
                "too weak": "Then something of each hot pixel would be left, and it would still be bright.",
            },
        ),
        "More was subtracted than was there: the dark was too warm, or too long.",
    ),
)

"""Brightness scaling: the background cannot turn black."""

from __future__ import annotations

from calibkit.teach.exercise import Exercise, choice, number

EXERCISES = (
    Exercise(
        "brightness/black at the average",
        "Black is set to the average of the background. What percentage of the background's pixels becomes black?",
        number(
            50.0,
            within=0.1,
            unit="%",
            mistakes={
                0.0: "All that lie below the average become black. Are there none?",
                100.0: "Those above the average stay grey.",
                0.5: "That is the fraction. In per cent, please.",
            },
            hint="Noise goes up and down: how many pixels lie below the average?",
        ),
        "Half of them, and with them half of what is known about the sky.",
    ),
    Exercise(
        "brightness/measure",
        "From which do you measure how bright a star is: the 'stretched picture' or the 'calibrated image'?",
        choice(
            "calibrated image",
            {
                "stretched picture": "There, twice the number is not twice the light: the curve has bent it.",
            },
        ),
        "Only there is twice the number twice the light.",
    ),
)

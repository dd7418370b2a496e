"""Narrowband: which channels hold the line, and what it costs to keep or drop the others."""

from __future__ import annotations

from calibkit.teach.exercise import Exercise, number, several

EXERCISES = (
    Exercise(
        "narrowband/loss",
        "Red is worth 0.96 of the squared signal-to-noise ratio. By how many per cent does the signal-to-noise ratio itself "
        "fall when everything else is discarded?",
        number(
            2.02,
            within=0.03,
            unit="%",
            mistakes={
                4.0: "That is what the *squared* ratio loses. Take the root of 0.96 first.",
                0.0202: "That is the fraction. In per cent, please.",
                98.0: "That is what is left. What is lost?",
                20.0: "You took the root of 0.04. The ratio that is left is the root of 0.96.",
            },
            hint="The ratio that is left is the root of 0.96, of 1 before.",
        ),
        "1 − √0.96 = 2 %: as much as you would gain by exposing 4 % longer. Discarding is right here.",
    ),
    Exercise(
        "narrowband/amplified",
        "A channel sees 1/11 of the light that red sees, with the same noise in ADU. It is multiplied until the nebula is as "
        "bright as in red. How many times as large as red's is its noise now?",
        number(
            11.0,
            within=0.01,
            mistakes={
                121.0: "That is the variance: noise squared.",
                1.0: "The channel is multiplied as a whole, its noise with it.",
                1 / 11: "The other way round: it is multiplied, for the nebula is too faint in it.",
                3.3: "The root is right for photon noise that belongs to this light. This noise is there already, and is "
                "multiplied.",
            },
            hint="By which number is the channel multiplied? The noise is multiplied by the same.",
        ),
        "11 times: such a channel needs 121 exposures to be as good as red in one.",
    ),
    Exercise(
        "narrowband/oxygen",
        "Which channels of the Bayer grid hold light of O III (501 nm)? A set of 'R', 'G1', 'G2', 'B'.",
        several(
            {"G1", "G2", "B"},
            of={"R", "G1", "G2", "B"},
            missing="O III is blue-green. Is there another channel that sees it, even if less strongly?",
            extra="Red pixels look through a filter that stops blue and green. What are they worth in the panel?",
        ),
        "Both greens and blue. Red would add its noise, and next to nothing else.",
    ),
)

"""The challenges of a DSLR: its internal filter, its heat and its grid of colours."""

from __future__ import annotations

from calibkit.teach.exercise import Exercise, number

EXERCISES = (
    Exercise(
        "dslr_challenges/minutes",
        "With the original filter you exposed Hα for 60 minutes. With the clear one there is 6 times as much light: how "
        "many minutes give the same amount?",
        number(
            10.0,
            within=0.03,
            unit="minutes",
            mistakes={
                360.0: "You multiplied. There is more light now: do you need more time, or less?",
                6.0: "6 is the factor. What is left of 60 minutes?",
                24.5: "The root would be right for noise. The amount of light grows with time itself.",
            },
            hint="Light is rate × time. The rate is 6 times as large.",
        ),
        "60 / 6 = 10 minutes. Or, in the same hour, an image that is much less noisy.",
    ),
    Exercise(
        "dslr_challenges/full pixel",
        "A pixel stands at 4095 in the light, and at 4095 in the dark. What is left after subtraction, in ADU?",
        number(
            0.0,
            within=0.01,
            unit="ADU",
            mistakes={
                4095.0: "That is before subtraction. 4095 − 4095 = ?",
                8190.0: "You added. The dark is subtracted.",
            },
            hint="Light minus dark: 4095 − 4095.",
        ),
        "Nothing: a black hole, whatever the sky was there. Such a pixel holds no information, and has to be replaced.",
    ),
    Exercise(
        "dslr_challenges/spread",
        "Missing reds are made up as the average of the nearest red pixels. In how many pixels of the red picture does one "
        "red hot pixel leave its mark, its own place included?",
        number(
            9.0,
            within=0.01,
            mistakes={
                1.0: "Its own place is one of them. But the pixels around have no red of their own, and borrow.",
                5.0: "Left, right, above and below: right. And the corners? They borrow from four red pixels.",
                8.0: "And its own place?",
                3.0: "That is what the converter that follows edges makes of a green one. Set method='bilinear', and a red "
                "pixel.",
                4.0: "There are neighbours above, below and in the corners as well.",
                25.0: "The next red pixels are two away, and they have a red of their own: it ends before them.",
            },
            hint="Every second pixel in each row is red, in every second row. Who borrows from this one?",
        ),
        "Nine: one wrong pixel has become a blot of nine, and what was sharp and easy to find is smooth now.",
    ),
)

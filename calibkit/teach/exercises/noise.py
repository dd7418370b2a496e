"""Noise: it never disappears, and it adds up in squares."""

from __future__ import annotations

import math

from calibkit.teach.exercise import Exercise, choice, number

EXERCISES = (
    Exercise(
        "noise/eleven darks",
        "Eleven darks are averaged. By what factor is the noise of their mean smaller than that of one?",
        number(
            math.sqrt(11),
            within=0.02,
            mistakes={
                11.0: "Eleven times less would be it if noise simply added up. It adds up in squares: think of √N.",
                1 / math.sqrt(11): "You have it upside down: how many times smaller, a number above 1.",
                math.sqrt(10): "That is √10. There are eleven of them.",
            },
            hint="The noise of a mean of N frames is √N times smaller.",
        ),
        "√11 = 3.3. Four times as many frames halve the noise, whatever the number you begin with.",
    ),
    Exercise(
        "noise/sum of three",
        "Readout noise of 10, photon noise of 20 and thermal noise of 5 electrons meet in one pixel. "
        "What is the noise in all, in electrons?",
        number(
            math.sqrt(525),
            within=0.02,
            unit="electrons",
            mistakes={
                35.0: "35 is the plain sum. Noise adds up in squares: √(A² + B² + C²).",
                525.0: "525 is the sum of the squares: the variance. Take its root.",
                20.0: "20 is the largest part alone. The others add a little.",
            },
            hint="Square each, add, take the root.",
        ),
        "√(100 + 400 + 25) = 22.9. The largest part rules: leaving out the smallest changes it by only 2 %.",
    ),
    Exercise(
        "noise/after subtraction",
        "A dark is subtracted from a light. Is the noise of the result 'smaller', 'the same' or 'larger' than that "
        "of the light?",
        choice(
            "larger",
            {
                "smaller": "The pattern of the dark goes away, and the picture looks smoother. But the dark's own "
                "noise is there too, and subtracting an uncertain number makes no other number more certain.",
                "the same": "It would be so if the dark had no noise at all. It was measured, too.",
            },
        ),
        "Calibration takes patterns away and adds noise. With many darks it adds little.",
    ),
)

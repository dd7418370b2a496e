"""Combining: the mean, the median, and rejections that can and cannot reject."""

from __future__ import annotations

import math

from calibkit.teach.exercise import Exercise, choice, number

EXERCISES = (
    Exercise(
        "combining/median",
        "The noise of the median of many frames is √(π/2) times that of their mean. How many times more frames does the "
        "median need for the same noise?",
        number(
            math.pi / 2,
            within=0.01,
            mistakes={
                math.sqrt(
                    math.pi / 2
                ): "1.25 is by how much its noise is larger. Noise falls with √N: what of N?",
                2.0: "Nearly. Square √(π/2).",
            },
            hint="Noise falls with √N, so N grows with the square of the ratio.",
        ),
        "π/2 = 1.57: sixteen medians for ten means. That is the price of not caring for outliers.",
    ),
    Exercise(
        "combining/frames for 3 sigma",
        "From how many frames on can 3 σ around the mean reject anything at all?",
        number(
            11,
            within=0.001,
            mistakes={
                10.0: "(10 − 1)/√10 = 2.85, which is less than 3.",
                9.0: "(9 − 1)/√9 = 2.67, which is less than 3.",
                3.0: "With three values no one of them can be further out than 1.15 σ.",
                12.0: "It works with 12, and with one fewer as well.",
            },
            hint="(n − 1)/√n has to be larger than 3.",
        ),
        "(11 − 1)/√11 = 3.02. And even then only an outlier that is infinitely far away.",
    ),
    Exercise(
        "combining/choice",
        "Ten frames, and a satellite in one of them: 'mean without rejection', 'median' or 'mean with winsorized rejection'?",
        choice(
            "mean with winsorized rejection",
            {
                "mean without rejection": "A tenth of the satellite stays in the result.",
                "median": "It removes the satellite, but in every pixel, with or without one, it has a noise larger by a fifth.",
            },
        ),
        "The satellite goes, and where there was none hardly anything is lost.",
    ),
)

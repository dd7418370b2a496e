"""The flat: a map of the relative response, whose fractions have to be preserved."""

from __future__ import annotations

from calibkit.teach.exercise import Exercise, choice, number

EXERCISES = (
    Exercise(
        "flat/star",
        "A star gives 1000 ADU where the flat is 0.957. What would it give on an average pixel, in ADU?",
        number(
            1000 / 0.957,
            within=0.0005,
            unit="ADU",
            mistakes={
                957.0: "You multiplied. This pixel sees less than the average one, so the average one sees more.",
                1043.0: "Nearly: adding 4.3 % is not quite the same as dividing by 0.957.",
                1000.0: "That would be so if the flat were 1 there.",
            },
            hint="Divide by the flat.",
        ),
        "1000 / 0.957 = 1045. Every pixel is brought to what the average one would have seen.",
    ),
    Exercise(
        "flat/step",
        "A flat of whole numbers has an average of 20. By how many per cent does one step of it change the image?",
        number(
            5.0,
            within=0.02,
            unit="%",
            mistakes={
                20.0: "20 is the average. One step is 1 of those 20.",
                0.05: "That is the fraction. In per cent, please.",
                1.0: "One step is 1 of 20, not 1 of 100.",
            },
            hint="From 20 to 21: how much more is that?",
        ),
        "1 / 20 = 5 %, more than the whole of the vignetting. Such a flat brings in more than it takes out.",
    ),
    Exercise(
        "flat/too much subtracted",
        "Too much is subtracted from a flat. Does it correct 'too much' or 'too little'?",
        choice(
            "too much",
            {
                "too little": "That is what happens when an offset stays in it. Try it with numbers: response 0.8, "
                "level 10 000, and 1000 too much subtracted.",
            },
        ),
        "(8000 − 1000) / (10 000 − 1000) = 0.78 instead of 0.80: corners come out too bright.",
    ),
)

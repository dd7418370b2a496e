"""An image is only a set of numbers."""

from __future__ import annotations

from calibkit.teach.exercise import Exercise, number

EXERCISES = (
    Exercise(
        "numbers/brightest",
        "What is the largest number in the lecture's table?",
        number(
            56797,
            within=0.0001,
            mistakes={
                54741.0: "That is the middle of the upper star. There is a second one further down.",
                23.0: "That is a column. The number that stands there is wanted.",
                39.0: "That is a row. The number that stands there is wanted.",
            },
            hint="Ask Python: table.max().",
        ),
        "It stands in the middle of the lower star, in row 39 and column 23.",
    ),
    Exercise(
        "numbers/step",
        "Every number of the table is a multiple of one and the same number. Of which? The largest that fits is wanted.",
        number(
            257,
            within=0.0001,
            mistakes={
                1.0: "Every whole number is a multiple of 1. There is a larger one.",
                256.0: "Close, and tempting: 65536 / 256 = 256. But 56797 / 256 is no whole number.",
                255.0: "255 is the largest number of 8 bits. Divide 65535 by it.",
            },
            hint="Sort the values that occur and look at the steps between them: np.diff(np.unique(table)).",
        ),
        "257 = 65535 / 255: the picture had 8 bits, and each of its 256 shades was stretched to 16 bits.",
    ),
    Exercise(
        "numbers/depth",
        "So how many bits did the picture have when these numbers were made: 8, 12 or 16?",
        number(
            8,
            within=0.001,
            mistakes={
                16.0: "16 bits hold numbers up to 65535, and that is how they are stored now. But only every 257th "
                "is ever used: how many different ones can there be?",
                12.0: "12 bits make 4096 shades. Count those that are possible here: 65535 / 257 + 1.",
            },
            hint="Count the shades that are possible: 65535 / 257 + 1 of them, and 2 to the power of what is that?",
        ),
        "256 shades are 8 bits. Writing them as 16-bit numbers brought none of the lost shades back.",
    ),
    Exercise(
        "numbers/saved as eight bits",
        "A camera of 12 bits makes a picture, which is saved with 8 bits. How many of its shades fall together into one?",
        number(
            16,
            within=0.001,
            mistakes={
                4.0: "4 bits are lost, and 4 bits are how many shades?",
                256.0: "256 shades are left. How many were there, and how many of them share one now?",
                1.5: "12 / 8 counts bits. Count shades: 2 to the power of 12 against 2 to the power of 8.",
            },
            hint="4096 shades before, 256 after.",
        ),
        "4096 / 256 = 16. The faintest things in an image are often smaller than that: keep RAW or FITS.",
    ),
)

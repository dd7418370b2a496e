"""Start here: what many frames are good for, and what a stated noise is worth."""

from __future__ import annotations

from calibkit.teach.exercise import Exercise, choice, number

EXERCISES = (
    Exercise(
        "start/forty-four darks",
        "How many times smaller is the noise of a master of 44 darks than that of a master of 11?",
        number(
            2.0,
            within=0.01,
            mistakes={
                4.0: "There are four times as many. The noise is √n times smaller: what is the root of 4?",
                6.6: "√44 = 6.6 compares it with a single dark. Compare it with √11 = 3.3.",
                44**0.5: "√44 = 6.6 compares it with a single dark. Compare it with √11 = 3.3.",
                0.5: "You have it upside down: how many times smaller, a number above 1.",
                3.3: "√11 = 3.3 is what eleven gain over one. What do forty-four gain over eleven?",
                33.0: "There are 33 more of them, but what counts is how many times as many.",
            },
            hint="√44 over √11.",
        ),
        "√44 / √11 = √4 = 2: four times the work for half of the noise. That is true of every kind of frame.",
    ),
    Exercise(
        "start/twice the noise",
        "Error over stated noise scatters with a standard deviation of 2. 'the noise is larger than stated', 'the noise is "
        "smaller than stated', or 'the image is too bright'?",
        choice(
            "the noise is larger than stated",
            {
                "the noise is smaller than stated": "Then the errors would be smaller than what is stated, and the number below "
                "1.",
                "the image is too bright": "That would move the mean of all errors. The standard deviation tells how far they "
                "scatter.",
            },
        ),
        "The true errors are twice what is stated: somebody who trusts such numbers sees things that are not there.",
    ),
)

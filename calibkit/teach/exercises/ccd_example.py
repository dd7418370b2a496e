"""The worked CCD example: what each step does to the numbers, and what limits the image."""

from __future__ import annotations

from typing import Any

from calibkit.teach.exercise import Exercise, choice, kind_of, number
from calibkit.teach.scoring import Score


def _broken(answer: Any) -> str | None:
    if not isinstance(answer, Score):
        return f"A score is wanted, as teach.score gives it; this is {kind_of(answer)}."
    wrong = [what for what, _text, good, _why in answer.rows if not good]
    if not wrong:
        return "Everything is right with it! That is good, but not the task. What could you leave out?"
    if len(wrong) == 1:
        return f"One thing is wrong: {wrong[0]}. One more, please: leave the dark out, for instance, and the flat as well."
    return None


EXERCISES = (
    Exercise(
        "ccd_example/brighter",
        "Does dividing by a flat make an image brighter on average: 'yes' or 'no'?",
        choice(
            "no",
            {
                "yes": "What is the average of the flat? Dividing by numbers that are 1 on average changes no average.",
            },
        ),
        "The flat is 1 on average. Dark corners become brighter, and the middle becomes darker.",
    ),
    Exercise(
        "ccd_example/break it",
        "Calibrate the light wrongly, in such a way that the score finds at least two things wrong with it.",
        _broken,
        "Good. Now you know what it looks like, and will recognise it in an image of your own.",
    ),
    Exercise(
        "ccd_example/longer",
        "In exposures of 60 s readout noise makes up half of the variance. What part of it does it make up in 240 s, "
        "at the same sky? Give a fraction between 0 and 1.",
        number(
            0.2,
            within=0.02,
            mistakes={
                0.125: "Readout noise became no smaller: photon noise became four times larger. So 1 against 4, of 5 in all.",
                0.25: "1 against 4 is a quarter of the other part, but which part of the sum?",
                0.5: "Photon noise grows with time, its variance four times. Readout noise comes once in each exposure.",
                20.0: "As a fraction, please: between 0 and 1.",
            },
            hint="Variance of photon noise grows with time, that of readout noise does not: 1 and 4, so far 1 and 1.",
        ),
        "1 / (1 + 4) = 0.2. From here on longer exposures gain little; more of them still do.",
    ),
)

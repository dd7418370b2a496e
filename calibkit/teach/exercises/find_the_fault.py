"""Find the fault: what can be put right at the desk, and what has to be right at night."""

from __future__ import annotations

from calibkit.teach.exercise import Exercise, choice
from calibkit.teach.faulty import FAULTS

_REPAIRED = {
    "warm dark": "Scale the dark, or take other darks: the lights themselves are sound.",
    "no flat dark": "Take flat darks now, or use a bias: the lights themselves are sound.",
    "swapped pattern": "Say cfa='GBRG' when the frames are opened: all of their numbers are sound.",
    "bias twice": "Calibrate again, without the bias: the raw frames are sound.",
    "too few to reject": "Use the median, or take more darks: the lights themselves are sound.",
    "interference": "The wave is in every light, but nothing is lost: dithered and combined, most of it averages out.",
}

EXERCISES = (
    Exercise(
        "find_the_fault/cannot be repaired",
        f"For one of the faults nothing at all can be done afterwards: what was lost is lost. Which one? ({', '.join(FAULTS)})",
        choice("clipped background", _REPAIRED),
        "What was cut off at 0 is in no file any more. All other faults are mistakes in the calibration, or average out.",
    ),
    Exercise(
        "find_the_fault/first look",
        "An image has dark corners. Before you suspect anything else: which frames do you look at first, the 'bias', the "
        "'dark' or the 'flat' frames?",
        choice(
            "flat",
            {
                "bias": "Corners get less light. Which frame shows how light is shared out?",
                "dark": "Corners get less light. Which frame shows how light is shared out?",
            },
        ),
        "Is there a flat at all, of this very setup, freed of its offset, and was it divided by?",
    ),
)

"""Your own frames: what fits what."""

from __future__ import annotations

from calibkit.teach.exercise import Exercise, choice

EXERCISES = (
    Exercise(
        "your_own_frames/which dark",
        "Lights of 300 s at −10 °C. Which darks do you take: '300 s at -10', '300 s at 0', or '60 s at -10'?",
        choice(
            "300 s at -10",
            {
                "300 s at 0": "Ten degrees warmer have nearly three times the thermal charge.",
                "60 s at -10": "They hold a fifth of the thermal charge. With a bias they can be scaled, with five times the "
                "noise.",
            },
        ),
        "Same exposure, same temperature, same gain.",
    ),
    Exercise(
        "your_own_frames/which file",
        "Which files do you keep from a DSLR: 'JPEG', 'RAW', or 'TIFF from the camera's own program'?",
        choice(
            "RAW",
            {
                "JPEG": "8 bits, brightened, colours mixed, compressed with losses.",
                "TIFF from the camera's own program": "Colours are mixed already, before any calibration.",
            },
        ),
        "Only RAW has the numbers that were counted, with the grid whole and all bits.",
    ),
)

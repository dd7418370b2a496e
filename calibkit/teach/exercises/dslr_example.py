"""The worked DSLR example: the order of the steps, and a picture of one's own."""

from __future__ import annotations

from typing import Any

from calibkit.teach.exercise import Exercise, kind_of

_STEPS = ("dark", "repair", "flat", "red", "combine", "stretch")
#: The first has to come before the second, and why.
_BEFORE = {
    ("dark", "flat"): "The flat divides light. Thermal charge and offset are no light: they go first.",
    ("dark", "red"): "The dark has the grid in it, as the light has: subtract it while the grid is there.",
    ("flat", "red"): "The flat has the grid in it, as the light has: divide while the grid is there.",
    ("repair", "red"): "A hot pixel is replaced from neighbours of its colour while it is still one pixel.",
    ("dark", "repair"): "Most hot pixels are put right by the dark. What it cannot is replaced after it.",
    ("dark", "combine"): "Each light is calibrated for itself, and then they are combined.",
    ("flat", "combine"): "Each light is calibrated for itself, and then they are combined.",
    ("repair", "combine"): "Replace hot pixels in each light, or they will be in the picture seven times.",
}
_LAST = "Brightness scaling bends the numbers: after it they are no light any more. It comes last."


def _ordered(answer: Any) -> str | None:
    if not isinstance(answer, list | tuple) or not all(isinstance(step, str) for step in answer):
        return 'A list of words is wanted: in square brackets, such as ["dark", "flat", …].'
    given = [step.strip().lower() for step in answer]
    if sorted(given) != sorted(_STEPS):
        return f"Each of these words once, please: {', '.join(sorted(_STEPS))}."
    if given[-1] != "stretch":
        return _LAST
    for (first, second), why in _BEFORE.items():
        if given.index(first) > given.index(second):
            return f"{second!r} before {first!r}? {why}"
    return None


def _picture(answer: Any) -> str | None:
    attrs = getattr(answer, "attrs", {})
    if "signal" not in getattr(answer, "data_vars", {}):
        return (
            f"A result with signal and variance is wanted, as ck.combine gives it; this is {kind_of(answer)}."
        )
    if answer["signal"].dims != ("y", "x"):
        return f"This has the dimensions {', '.join(map(str, answer['signal'].dims))}. Combine the frames: one picture is wanted."
    if attrs.get("cfa"):
        return "The grid of colours is still in it. Extract the red channel: ck.extract_line(…, 'Ha')."
    for step, what in (("dark_subtracted", "dark"), ("flat_divided", "flat")):
        if not attrs.get(step):
            return f"The {what} was left out: ck.calibrate(lights, dark=dark, flat=flat)."
    if attrs.get("units") != "adu":
        return "This was scaled for the eye already. The combined result is wanted, in ADU."
    count = int(attrs.get("n_frames") or 1)
    if count < 7:
        return f"It is made of {count} of the seven lights."
    return None


EXERCISES = (
    Exercise(
        "dslr_example/order",
        "Put the steps into their order: a list of 'combine', 'dark', 'flat', 'red', 'repair', 'stretch'.",
        _ordered,
        "Right: offset and thermal charge first, then the response to light, then colours, many lights, and the eye at last.",
    ),
    Exercise(
        "dslr_example/picture",
        "Make a picture from the seven lights: calibrated, red extracted, combined. The answer is the result.",
        _picture,
        "A finished picture in ADU, with the noise of every pixel and the history of every step in it.",
    ),
)

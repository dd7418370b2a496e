"""What the way of the light adds to an image, and which of it calibration frames can map."""

from __future__ import annotations

from calibkit.teach.exercise import Exercise, choice, several

_WHICH = {"bias", "dark", "flat", "none"}

EXERCISES = (
    Exercise(
        "artifacts/dust",
        "Which calibration frame maps the shadows of dust: 'bias', 'dark', 'flat', or 'none' of them?",
        choice(
            "flat",
            {
                "bias": "A bias is taken with the shutter closed. A shadow needs light.",
                "dark": "A dark is taken with the shutter closed. A shadow needs light.",
                "none": "Leave only 'dust' switched on and look at the three masters: one of them shows it.",
            },
        ),
        "A shadow takes a part of the light away, and the flat tells how large a part: the light is divided by it.",
    ),
    Exercise(
        "artifacts/dark frame",
        "Which of these does a dark frame map: 'thermal charge', 'amp glow', 'vignetting', 'photon noise', 'dust'? "
        "Give a set, such as {'dust', 'vignetting'}.",
        several(
            {"thermal charge", "amp glow"},
            of={"thermal charge", "amp glow", "vignetting", "photon noise", "dust"},
            missing="One is right, and there is another that needs no light either.",
            extra="A dark sees no light: what only shows when light falls on the sensor cannot be in it. And noise is "
            "another one in every frame, so that no frame can map it.",
        ),
        "Both collect charge in the dark, more of it the longer the exposure. They are subtracted.",
    ),
    Exercise(
        "artifacts/cosmic ray",
        "A cosmic ray left a bright streak in one of your lights. Which calibration frame removes it: 'bias', 'dark', "
        "'flat' or 'none'?",
        choice(
            "none",
            {
                "dark": "The dark has cosmic rays of its own, in other places. Frames map what is the same every time.",
                "flat": "The flat tells how strongly pixels respond. The streak was there once, and never again.",
                "bias": "The bias is so short that hardly any cosmic ray hits it, and never the same one.",
            },
        ),
        "What is new in every frame has no map. Several lights and rejection take it out: that is a later chapter.",
    ),
)

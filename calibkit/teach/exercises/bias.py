"""The bias: an offset, readout noise, and what a pattern in it means."""

from __future__ import annotations

from calibkit.teach.exercise import Exercise, choice, number

EXERCISES = (
    Exercise(
        "bias/no offset",
        "If a camera added no offset at all, what percentage of the readings of a bias would be below 0 and cut off?",
        number(
            50.0,
            within=0.05,
            unit="%",
            mistakes={
                0.0: "None would be, if every reading were exactly 0. But readings scatter to both sides.",
                100.0: "Half of the readings are above the average.",
                16.0: "16 % lie more than one σ below the average. How many lie below it at all?",
                0.5: "That is the fraction. In per cent, please.",
            },
            hint="Readings scatter evenly to both sides of 0.",
        ),
        "Half of them. The average of what is left would be 0.4 σ too high, and nothing could put that right.",
    ),
    Exercise(
        "bias/interference",
        "The wave begins at another place in every frame. Does subtracting a master bias remove it from a light: 'yes', "
        "'no' or 'half of it'?",
        choice(
            "no",
            {
                "yes": "A master maps what is the same in every frame. Look at the wave in two biases, one after the other.",
                "half of it": "A third of a wave is left in the master of ten, and it is in step with no light: subtracting it "
                "takes nothing away.",
            },
        ),
        "What moves from frame to frame has no map. It has to be found and stopped at its source.",
    ),
    Exercise(
        "bias/scaled dark",
        "A dark of 100 s reads 150 ADU and the bias 100 ADU. What does a dark of 200 s read, in ADU?",
        number(
            200.0,
            within=0.005,
            unit="ADU",
            mistakes={
                300.0: "Twice 150 would double the offset as well. Only the thermal charge grows with time.",
                250.0: "The thermal charge of 100 s is 150 − 100. How much is it in 200 s? Then add the offset once.",
                100.0: "That is the thermal charge alone. The offset is in every frame, too.",
            },
            hint="Take the bias off, scale what is left, put the bias back.",
        ),
        "50 ADU of thermal charge become 100, and the offset of 100 stays. That is what a bias is needed for.",
    ),
)

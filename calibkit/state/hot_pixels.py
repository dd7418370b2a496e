"""Settings of the search for hot pixels, and of how it is looked at."""

from __future__ import annotations

import traitlets

from calibkit.state.view import CompareState


class Pixels(traitlets.List):
    """Sensor pixels (x, y), each once."""

    def validate(self, obj: object, value: object) -> list[tuple[int, int]]:
        checked = super().validate(obj, list(value) if isinstance(value, tuple | list) else value)
        if any(len(pixel) != 2 for pixel in checked):
            self.error(obj, value)
        return list(dict.fromkeys((int(x), int(y)) for x, y in checked))


class HotPixelsState(CompareState):
    """Settings of the search for hot pixels, and of how it is looked at.

    Attributes
    ----------
    sigma : float
        Hot are pixels that stand out so far, in standard deviations of good pixels.
    cold_sigma : float
    rate : float or None
        Pixels whose dark current is above so many electrons per second are hot, too.
    added, removed : list of (x, y)
        Sensor pixels that were put on the map, or taken off it, by hand.
    """

    call = "HotPixelsPanel"
    #: A mean over a block of pixels would hide the very pixels that are looked for.
    reduce = traitlets.Enum(("mean", "max"), "max")
    sigma = traitlets.Float(5.0, min=3.0, max=50.0)
    cold_sigma = traitlets.Float(5.0, min=3.0, max=50.0)
    rate = traitlets.Float(None, allow_none=True, min=0.001)
    added = Pixels(traitlets.Tuple())
    removed = Pixels(traitlets.Tuple())

    def options(self) -> dict[str, object]:
        """Those settings that `calibkit.find_defects` takes, without those at their defaults."""
        names = ("sigma", "cold_sigma", "rate")
        return {name: value for name, value in self.settings().items() if name in names}

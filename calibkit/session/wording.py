"""Numbers as people write them."""

from __future__ import annotations

import math


def seconds(value: float) -> str:
    """``30 s``, ``0.5 s``, ``1/4000 s``."""
    if not math.isfinite(value):
        return "unknown exposure"
    if 0 < value <= 0.1 and abs(round(1 / value) * value - 1) < 0.01:
        return f"1/{round(1 / value)} s"
    return f"{value:.6g} s"


def degrees(value: float) -> str:
    """``−18.7 °C``, with a true minus."""
    return f"{value:.1f} °C".replace("-", "−") if math.isfinite(value) else "unknown temperature"


def size(shape: tuple[int, int]) -> str:
    """``1536 × 1024``: width × height, from (rows, columns)."""
    return f"{shape[1]} × {shape[0]}"


def number(value: float) -> str:
    """A number without needless zeros."""
    return f"{value:g}"


def plural(count: int, noun: str) -> str:
    """``1 frame``, ``3 frames``, ``2 biases``."""
    return f"{count} {noun if count == 1 else plural_of(noun)}"


def plural_of(noun: str) -> str:
    """``biases``, ``flat darks``."""
    return noun + ("es" if noun.endswith("s") else "s")


def listed(names: list[str], limit: int = 3) -> str:
    """The first names, and how many more there are."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")

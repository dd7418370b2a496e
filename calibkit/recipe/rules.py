"""What a value of a recipe may be: one small function a rule, which gives the value as it is kept."""

from __future__ import annotations

import math
import sys
import unicodedata
from collections.abc import Callable, Collection
from difflib import get_close_matches
from typing import Any

#: Takes what was written, gives what is kept; raises ValueError with what is wanted.
Rule = Callable[[Any], Any]
_SHOWN = 60


def refuse(value: object, wanted: str) -> ValueError:
    """The error for a value that breaks a rule."""
    shown = repr(value)
    return ValueError(f"{shown[:_SHOWN]}{'…' if len(shown) > _SHOWN else ''}: wanted is {wanted}")


def yes_or_no(value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise refuse(value, "true or false")
    return value


def text(value: Any) -> str:
    """Some text that a file can hold: without control characters or halves of characters."""
    if not isinstance(value, str):
        raise refuse(value, "a text; put it in quotes")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value):
        raise refuse(value, "a text without control characters")
    return value


def number(low: float = -math.inf, high: float = math.inf) -> Rule:
    """A finite number from *low* to *high*."""

    def rule(value: Any) -> float:
        size = abs(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
        if not size <= sys.float_info.max or not low <= value <= high:
            limits = f" from {low:g} to {high:g}" if high < math.inf else f" of {low:g} or more"
            raise refuse(value, f"a number{limits if low > -math.inf else ''}")
        return float(value)

    return rule


def whole(low: int, high: int) -> Rule:
    """A whole number from *low* to *high*."""

    def rule(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise refuse(value, f"a whole number from {low} to {high}")
        return value

    return rule


def one_of(*names: str) -> Rule:
    """One of a few words."""

    def rule(value: Any) -> str:
        if value not in names or not isinstance(value, str):
            raise refuse(value, f"one of {', '.join(names)}{nearest(value, names)}")
        return value

    return rule


def optional(rule: Rule) -> Rule:
    """Nothing (null), or what *rule* allows."""
    return lambda value: None if value is None else rule(value)


def either(*rules: Rule) -> Rule:
    """What one of *rules* allows."""

    def rule(value: Any) -> Any:
        wanted = []
        for part in rules:
            try:
                return part(value)
            except ValueError as error:
                wanted.append(str(error).partition("wanted is ")[2])
        raise refuse(value, ", or ".join(wanted))

    return rule


def mapping(names: Rule, values: Rule) -> Rule:
    """Names with their values, kept as a dictionary."""

    def rule(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise refuse(value, "names with values, one a line")
        return {names(name): values(entry) for name, entry in value.items()}

    return rule


def several(rule: Rule) -> Rule:
    """One value or a list of them, kept as a tuple."""

    def kept(value: Any) -> tuple[Any, ...]:
        return tuple(rule(entry) for entry in (value if isinstance(value, list | tuple) else [value]))

    return kept


def nearest(name: object, known: Collection[str]) -> str:
    """``" (did you mean 'x'?)"``, or "" when nothing is near."""
    found = get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f" (did you mean {found[0]!r}?)" if found else ""

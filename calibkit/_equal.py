"""When two records say the same: a number that is not known (nan) is the same as another that is not known."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any


def same_fields(self: Any, other: object) -> bool:
    """``__eq__`` for a dataclass with fields that may be nan.

    What ``@dataclass`` writes compares field by field since Python 3.13, so that a record with nan in it is not even
    equal to itself; before, it was when both were the same object.
    """
    if type(self) is not type(other):
        return NotImplemented
    return all(_same(getattr(self, each.name), getattr(other, each.name)) for each in fields(self))


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, float) and isinstance(two, float) and math.isnan(one):
        return math.isnan(two)
    return one == two

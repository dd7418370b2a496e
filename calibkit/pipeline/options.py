"""What a recipe and a session say to the plan for the lights."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from calibkit.pipeline.plan import Choose
from calibkit.recipe import Recipe
from calibkit.session import Group, Match, Session
from calibkit.session.choosing import choose_dark


def plan_options(session: Session, recipe: Recipe) -> dict[str, Any]:
    """What `plan_lights` is told of the level without light, and of darks of another temperature."""
    limits = session.tolerances
    limit = math.inf if "temperature" in limits.ignore else limits.dark_temperature
    return {
        "scale": recipe.dark.scale,
        "warmer": _warmer(session),
        "limit": limit,
        "pedestal": recipe.camera.pedestal,
    }


def _warmer(session: Session) -> Choose:
    """Chooses the dark for lights whose temperature none has."""
    limits = session.tolerances
    limits = replace(limits, ignore=(*limits.ignore, "temperature"))

    def choose(match: Match) -> Group | None:
        return choose_dark(match.light, session.groups, limits, bias=match.bias).group

    return choose

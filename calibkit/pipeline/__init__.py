"""A whole session in one call: what is made of what, the making, and what becomes of a stopped run."""

from calibkit.pipeline.recipe import MasterSpec, Plan, Recipe
from calibkit.pipeline.result import LightRow, MasterRow, RunResult
from calibkit.pipeline.run import calibrate_session, plan_session

__all__ = [
    "LightRow",
    "MasterRow",
    "MasterSpec",
    "Plan",
    "Recipe",
    "RunResult",
    "calibrate_session",
    "plan_session",
]

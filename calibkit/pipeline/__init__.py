"""A whole session in one call: what is made of what, the making, and what becomes of a stopped run."""

from calibkit.pipeline.plan import LightPlan, MasterSpec, Plan
from calibkit.pipeline.result import LightRow, MasterRow, RunResult, StackRow
from calibkit.pipeline.run import calibrate_session, plan_session, process

__all__ = [
    "LightRow",
    "MasterRow",
    "MasterSpec",
    "Plan",
    "LightPlan",
    "RunResult",
    "StackRow",
    "calibrate_session",
    "plan_session",
    "process",
]

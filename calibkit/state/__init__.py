"""Settings of the panels: checked traits, no widgets."""

from calibkit.state.base import State
from calibkit.state.view import CompareState, ViewState

__all__ = ["CompareState", "State", "ViewState"]

"""Settings of the panels: checked traits, no widgets."""

from calibkit.state.base import State
from calibkit.state.numbers import NumbersState
from calibkit.state.view import CompareState, ViewState

__all__ = ["CompareState", "NumbersState", "State", "ViewState"]

"""Settings of the panels: checked traits, no widgets."""

from calibkit.state.base import State
from calibkit.state.bias import BiasState
from calibkit.state.brightness import BrightnessState
from calibkit.state.calibrate import CalibrateState
from calibkit.state.channels import ChannelsState
from calibkit.state.combine import CombineState
from calibkit.state.dark import DarkState
from calibkit.state.flat import FlatState
from calibkit.state.hot_pixels import HotPixelsState
from calibkit.state.noise import NoiseState
from calibkit.state.numbers import NumbersState
from calibkit.state.session import SessionState
from calibkit.state.signal_chain import SignalChainState
from calibkit.state.stack import StackState
from calibkit.state.view import CompareState, ViewState
from calibkit.state.workbench import WorkbenchState

__all__ = [
    "FlatState",
    "DarkState",
    "BiasState",
    "BrightnessState",
    "ChannelsState",
    "CompareState",
    "NumbersState",
    "SignalChainState",
    "State",
    "ViewState",
    "StackState",
    "SessionState",
    "CombineState",
    "WorkbenchState",
    "HotPixelsState",
    "CalibrateState",
    "NoiseState",
]

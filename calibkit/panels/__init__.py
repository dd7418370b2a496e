"""Panels for the notebook: every step as something to take hold of."""

from calibkit.panels.bias import BiasPanel
from calibkit.panels.brightness import BrightnessPanel
from calibkit.panels.calibrate import CalibratePanel
from calibkit.panels.channels import ChannelsPanel
from calibkit.panels.combine import CombinePanel
from calibkit.panels.compare import ComparePanel
from calibkit.panels.dark import DarkPanel
from calibkit.panels.flat import FlatPanel
from calibkit.panels.hot_pixels import HotPixelsPanel
from calibkit.panels.image_view import ImageView
from calibkit.panels.noise import NoisePanel
from calibkit.panels.numbers import NumbersPanel
from calibkit.panels.session import SessionPanel
from calibkit.panels.signal_chain import SignalChainPanel
from calibkit.panels.stack import StackPanel
from calibkit.panels.workbench import Workbench

__all__ = [
    "FlatPanel",
    "DarkPanel",
    "BiasPanel",
    "BrightnessPanel",
    "ChannelsPanel",
    "ComparePanel",
    "ImageView",
    "NumbersPanel",
    "SignalChainPanel",
    "StackPanel",
    "SessionPanel",
    "CombinePanel",
    "Workbench",
    "HotPixelsPanel",
    "CalibratePanel",
    "NoisePanel",
]

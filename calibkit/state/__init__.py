"""Settings of the panels: checked traits, no widgets. A panel's settings are loaded when they are first used."""

from __future__ import annotations

from calibkit._lazy import lazy_names

#: settings → their module, in the lecture's order.
_HOME = {
    "NumbersState": "numbers",
    "SignalChainState": "signal_chain",
    "BiasState": "bias",
    "DarkState": "dark",
    "FlatState": "flat",
    "CombineState": "combine",
    "HotPixelsState": "hot_pixels",
    "CalibrateState": "calibrate",
    "NoiseState": "noise",
    "CompareState": "view",
    "BrightnessState": "brightness",
    "ChannelsState": "channels",
    "StackState": "stack",
    "SessionState": "session",
    "WorkbenchState": "workbench",
    "ViewState": "view",
    "State": "base",
}

__all__ = list(_HOME)
__getattr__, __dir__ = lazy_names(__name__, _HOME)

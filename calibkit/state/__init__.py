"""Settings of the panels: checked traits, no widgets. A panel's settings are loaded when they are first used."""

from __future__ import annotations

import importlib

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


def __getattr__(name: str) -> object:
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

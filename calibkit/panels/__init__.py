"""Panels for the notebook: every step as something to take hold of.

A panel is loaded when it is first used: nobody waits for the others.
"""

from __future__ import annotations

import importlib

#: panel → its module, in the lecture's order.
_HOME = {
    "NumbersPanel": "numbers",
    "SignalChainPanel": "signal_chain",
    "BiasPanel": "bias",
    "DarkPanel": "dark",
    "FlatPanel": "flat",
    "CombinePanel": "combine",
    "HotPixelsPanel": "hot_pixels",
    "CalibratePanel": "calibrate",
    "NoisePanel": "noise",
    "ComparePanel": "compare",
    "BrightnessPanel": "brightness",
    "ChannelsPanel": "channels",
    "StackPanel": "stack",
    "SessionPanel": "session",
    "Workbench": "workbench",
    "ImageView": "image_view",
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

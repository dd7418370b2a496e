"""Panels for the notebook: every step as something to take hold of.

A panel is loaded when it is first used: nobody waits for the others.
"""

from __future__ import annotations

from calibkit._lazy import lazy_names

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
__getattr__, __dir__ = lazy_names(__name__, _HOME)

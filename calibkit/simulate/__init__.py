"""Simulated cameras, optics and skies: frames with known truth, and the sample sessions."""

from __future__ import annotations

from calibkit.simulate.camera import X_TRANS, Camera
from calibkit.simulate.deck import deck_pixels
from calibkit.simulate.effects import EFFECTS
from calibkit.simulate.frame import simulate_frame, simulate_stack
from calibkit.simulate.ground_truth import session_truth, truth
from calibkit.simulate.optics import DustShadow, Optics, Reflection, random_dust
from calibkit.simulate.samples import sample_session
from calibkit.simulate.session import FrameSet, write_session
from calibkit.simulate.sky import Lamp, Sky

__all__ = [
    "EFFECTS",
    "X_TRANS",
    "Camera",
    "DustShadow",
    "FrameSet",
    "Lamp",
    "Optics",
    "Reflection",
    "Sky",
    "deck_pixels",
    "random_dust",
    "sample_session",
    "session_truth",
    "simulate_frame",
    "simulate_stack",
    "truth",
    "write_session",
]

"""Calibrating frames: the public `calibrate`."""

from calibkit.calibration.engine import calibrate

__all__ = ["calibrate"]

"""The sensor lab: what a sensor is like, measured from its own frames."""

from __future__ import annotations

from calibkit.sensor.dark_rates import DarkRates, measure_dark_current
from calibkit.sensor.fixed_pattern import FixedPattern, measure_fixed_pattern
from calibkit.sensor.laboratory import SensorReport, measure_sensor
from calibkit.sensor.photon_transfer import PhotonTransfer, measure_photon_transfer
from calibkit.sensor.sensor_profile import SensorProfile
from calibkit.sensor.unstable_pixels import UnstablePixels, find_unstable_pixels

__all__ = [
    "DarkRates",
    "FixedPattern",
    "PhotonTransfer",
    "SensorProfile",
    "SensorReport",
    "UnstablePixels",
    "find_unstable_pixels",
    "measure_dark_current",
    "measure_fixed_pattern",
    "measure_photon_transfer",
    "measure_sensor",
]

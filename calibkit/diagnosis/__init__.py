"""What is wrong with frames, masters and results, in numbers and in plain words."""

from __future__ import annotations

from calibkit.diagnosis.engine import diagnose
from calibkit.diagnosis.finding import Diagnosis, Finding

__all__ = ["Diagnosis", "Finding", "diagnose"]

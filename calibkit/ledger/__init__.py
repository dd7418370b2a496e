"""Noise as a number: where it comes from, step by step, and which exposures are worth taking."""

from __future__ import annotations

from calibkit.ledger.book import NoiseLedger
from calibkit.ledger.making import noise_ledger
from calibkit.ledger.planning import ExposurePlan, plan_exposures

__all__ = ["ExposurePlan", "NoiseLedger", "noise_ledger", "plan_exposures"]

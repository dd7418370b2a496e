"""Teaching: exercises that answer with a hint, a score against the truth, and sessions with a hidden fault."""

from __future__ import annotations

from calibkit.teach.checking import check, exercise_names
from calibkit.teach.faulty import FAULTS, hidden_fault, reveal_fault
from calibkit.teach.scoring import Score, score

__all__ = ["FAULTS", "Score", "check", "exercise_names", "hidden_fault", "reveal_fault", "score"]

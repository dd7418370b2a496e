"""`check`: an answer to an exercise of the course, judged."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache
from typing import Any

from calibkit.errors import SettingError
from calibkit.teach import exercises
from calibkit.teach.exercise import Exercise, Verdict


def check(name: str, answer: Any = None) -> Verdict:
    """Judge the answer to an exercise: right, or a hint that fits the mistake.

    Parameters
    ----------
    name : str
        Of the exercise, as the notebook has it, e.g. ``"noise/eleven darks"``.
    answer : any
        A number, a word, a set of words, a result of calibkit or a function, as the exercise asks. None, which is what the
        notebooks hold until somebody writes something else, gives the question again.

    Returns
    -------
    Verdict
        True when the answer is right; its text is praise or a hint.

    Raises
    ------
    SettingError
        There is no such exercise.

    Examples
    --------
    >>> check("noise/eleven darks", 11)
    ✗ Not yet. Eleven times less would be it if noise simply added up. It adds up in squares: think of √N.
    >>> check("noise/eleven darks", 3.3).passed
    True
    """
    known = _exercises()
    if name not in known:
        close = difflib.get_close_matches(str(name), known, n=1)
        instead = f"did you mean {close[0]!r}?" if close else f"the first is {next(iter(known))!r}"
        msg = f"check({name!r}): there is no such exercise; {instead}"
        raise SettingError(msg)
    exercise = known[name]
    if answer is None or answer is Ellipsis:
        return Verdict(name, None, exercise.question)
    hint = exercise.judge(answer)
    return Verdict(name, hint is None, exercise.praise if hint is None else hint)


def exercise_names(chapter: str | None = None) -> list[str]:
    """Names of the exercises, of one chapter or of all, in the course's order.

    Parameters
    ----------
    chapter : str, optional
        For instance ``"noise"``.

    Returns
    -------
    list of str

    Examples
    --------
    >>> exercise_names("noise")[0]
    'noise/eleven darks'
    """
    return [name for name, exercise in _exercises().items() if chapter in (None, exercise.chapter)]


@cache
def _exercises() -> dict[str, Exercise]:
    """Every exercise by name. A module of `calibkit.teach.exercises` holds those of a chapter in ``EXERCISES``."""
    found: dict[str, Exercise] = {}
    modules = {module.name for module in pkgutil.iter_modules(exercises.__path__)}
    for chapter in sorted(modules, key=exercises.CHAPTERS.index):
        for exercise in importlib.import_module(f"{exercises.__name__}.{chapter}").EXERCISES:
            if exercise.name in found:
                msg = f"two exercises are called {exercise.name!r}"
                raise ValueError(msg)
            found[exercise.name] = exercise
    return found

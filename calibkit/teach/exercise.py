"""What an exercise is, and how an answer is judged: right, or a hint that fits the mistake."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from numbers import Real
from typing import Any

#: Takes an answer; gives None when it is right, or a hint.
Judge = Callable[[Any], str | None]


@dataclass(frozen=True)
class Exercise:
    """One exercise of the course.

    Attributes
    ----------
    name : str
        Chapter and a word or two, ``"noise/eleven darks"``; `calibkit.teach.check` is asked by it.
    question : str
        What is to be found out, in one or two sentences.
    judge : callable
        Takes the answer; gives None when it is right, a hint otherwise.
    praise : str
        Why the answer is right, and what follows from it.
    """

    name: str
    question: str
    judge: Judge
    praise: str

    @property
    def chapter(self) -> str:
        """The part of the name before the stroke."""
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Verdict:
    """How an answer was judged.

    Attributes
    ----------
    name : str
        The exercise.
    passed : bool or None
        None when nothing was answered yet.
    text : str
        Praise, a hint, or the question.
    """

    name: str
    passed: bool | None
    text: str

    def __repr__(self) -> str:
        return f"{self._sign} {self.text}"

    def __bool__(self) -> bool:
        return bool(self.passed)

    @property
    def _sign(self) -> str:
        return {True: "✓ Right.", False: "✗ Not yet.", None: "…"}[self.passed]

    def _repr_html_(self) -> str:
        colour = {True: "#009E73", False: "#D55E00", None: "#0072B2"}[self.passed]
        return (
            f'<div style="border-left:4px solid {colour};padding:0.3em 0.8em;max-width:50em">'
            f"<b>{escape(self._sign)}</b> {escape(self.text)}</div>"
        )


def number(
    right: float,
    *,
    within: float,
    unit: str = "",
    mistakes: Mapping[float, str] | None = None,
    hint: str = "",
) -> Judge:
    """Judge a number.

    Parameters
    ----------
    right : float
        The answer.
    within : float
        How far off an answer may be, as a fraction of *right* (in *unit* when *right* is 0).
    unit : str
        Told with every hint.
    mistakes : mapping of float to str
        Hints for the numbers that typical mistakes give.
    hint : str
        For any other number.

    Returns
    -------
    callable
    """
    margin = abs(within * right) if right else within

    def judge(answer: Any) -> str | None:
        value = plain_number(answer)
        if value is None:
            return f"A single number is wanted{f', in {unit}' if unit else ''}; this is {kind_of(answer)}."
        if abs(value - right) <= margin:
            return None
        nearest = min(mistakes or {}, key=lambda wrong: abs(value - wrong), default=math.inf)
        if mistakes and abs(value - nearest) <= max(margin * 0.5, abs(nearest) * 0.01):
            return mistakes[nearest]
        side = "too small" if value < right else "too large"
        return f"{value:g}{' ' + unit if unit else ''} is {side}. {hint}".strip()

    return judge


def choice(right: str, why_not: Mapping[str, str]) -> Judge:
    """Judge one word out of several.

    Parameters
    ----------
    right : str
        The answer.
    why_not : mapping of str to str
        Hint for each of the other words.

    Returns
    -------
    callable
    """
    words = [right, *why_not]

    def judge(answer: Any) -> str | None:
        word = str(answer).strip().lower() if isinstance(answer, str) else None
        if word == right.lower():
            return None
        for wrong, why in why_not.items():
            if word == wrong.lower():
                return why
        return f"One of these words is wanted: {', '.join(sorted(map(repr, words)))}."

    return judge


def several(right: set[str], *, of: set[str], missing: str = "", extra: str = "") -> Judge:
    """Judge a set of words.

    Parameters
    ----------
    right : set of str
        All that belongs to the answer.
    of : set of str
        All words that may be given.
    missing, extra : str
        Hints for an answer with too little or too much in it.

    Returns
    -------
    callable
    """

    def judge(answer: Any) -> str | None:
        words = {answer} if isinstance(answer, str) else answer
        if not isinstance(words, set | list | tuple | frozenset) or not all(
            isinstance(w, str) for w in words
        ):
            return f"A set of words is wanted, such as {{{next(iter(sorted(of)))!r}}}."
        given = {word.strip().lower() for word in words}
        unknown = given - {word.lower() for word in of}
        if unknown:
            return f"{min(unknown)!r} is none of {', '.join(sorted(map(repr, of)))}."
        wanted = {word.lower() for word in right}
        if given - wanted:
            return extra or f"{min(given - wanted)!r} does not belong to it."
        if wanted - given:
            return missing or "What is there is right, and there is more."
        return None

    return judge


def plain_number(answer: Any) -> float | None:
    """*answer* as a float: a Python number, or an array that holds a single one; None for anything else."""
    if isinstance(answer, bool):
        return None
    if isinstance(answer, Real):
        return float(answer)
    if getattr(answer, "size", None) == 1 and hasattr(answer, "item"):
        value = answer.item()
        return float(value) if isinstance(value, Real) and not isinstance(value, bool) else None
    return None


def kind_of(answer: Any) -> str:
    """What an answer is, in words for somebody who is new to Python."""
    if isinstance(answer, str):
        return f"text, {answer!r}: leave the quotation marks out"
    shape = getattr(answer, "shape", None)
    if shape:
        return f"an array of {' × '.join(str(n) for n in shape)} numbers"
    if isinstance(answer, float) and math.isnan(answer):
        return "not a number"
    return f"a {type(answer).__name__}"

"""What a diagnosis says: one finding a test, and all of them together as text, table and HTML."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

OK, SUSPECT, FAULT, UNCLEAR = "ok", "suspect", "fault", "cannot tell"
#: Worst first: the order in which findings are told.
VERDICTS = (FAULT, SUSPECT, UNCLEAR, OK)
#: A deviation smaller than this many of its errors is no deviation.
SIGMA = 4.0


@dataclass(frozen=True)
class Finding:
    """What one test found.

    Attributes
    ----------
    name : str
        What was tested, for instance ``"dark strength"``.
    where : str
        Which frames it is about.
    number, error : float
        What was measured and its standard error, in *unit*; NaN where nothing can be measured. The error is 0
        where headers were compared.
    unit : str
    expected : float
        What *number* is when all is well.
    verdict : {"ok", "suspect", "fault", "cannot tell"}
    cause : str
        What was found and what it comes from; for "cannot tell" why.
    advice : str
        What to do.

    Examples
    --------
    >>> told = ("the dark is too strong.", "Take darks at the lights' temperature.")
    >>> found = Finding("dark strength", "light 300 s", 0.8, 0.01, "", 1.0, "fault", *told)
    >>> print(found)
    fault: dark strength of light 300 s (0.800 ± 0.010): the dark is too strong. Take darks at the lights' temperature.
    >>> round(found.significance)
    20
    """

    name: str
    where: str
    number: float
    error: float
    unit: str
    expected: float
    verdict: str
    cause: str
    advice: str

    @property
    def significance(self) -> float:
        """Deviation from what is expected over its error; infinite where the error is 0."""
        deviation = abs(self.number - self.expected)
        if math.isnan(deviation):
            return math.nan
        return deviation / self.error if self.error > 0 else (math.inf if deviation else 0.0)

    @property
    def measured(self) -> str:
        """Number, error and unit in words."""
        if math.isnan(self.number):
            return ""
        digits = 1 if not self.error > 0 else max(0, 1 - math.floor(math.log10(self.error)))
        if self.error > 0:
            text = f"{self.number:.{min(digits, 6)}f} ± {self.error:.{min(digits, 6)}f}"
        else:
            text = f"{self.number:.4g}"
        return f"{text} {self.unit}".replace("-", "−").rstrip()

    def __str__(self) -> str:
        told = f" ({self.measured})" if self.measured else ""
        advice = f" {self.advice}" if self.advice and self.verdict != OK else ""
        return f"{self.verdict}: {self.name} of {self.where}{told}: {self.cause}{advice}"


def judged(
    name: str,
    where: str,
    number: float,
    error: float,
    unit: str,
    *,
    expected: float = 0.0,
    tolerance: float,
    grave: float,
    good: str,
    bad: str,
    advice: str,
) -> Finding:
    """A finding with the verdict that number and error allow.

    Parameters
    ----------
    tolerance, grave : float
        Deviations from *expected*, in *unit*, up to which it is ok, and from which it is a fault.
    good, bad, advice : str
        Cause when it is ok; cause and advice when it is not.
    """
    deviation = abs(number - expected)
    told = (name, where, number, error, unit, expected)
    if not (math.isfinite(number) and math.isfinite(error)):
        return Finding(*told, UNCLEAR, "there is nothing here to measure it from.", "")
    significant = deviation > SIGMA * error
    if significant and deviation > tolerance:
        return Finding(*told, FAULT if deviation > grave else SUSPECT, bad, advice)
    if SIGMA * error > grave:
        why = f"the error is so large that a deviation of {grave:g} {unit} could not be seen.".replace(
            "  ", " "
        )
        return Finding(*told, UNCLEAR, why, "More frames, or frames with more signal, would tell.")
    return Finding(*told, OK, good, "")


def unclear(name: str, where: str, why: str, advice: str = "", *, unit: str = "") -> Finding:
    """A test that the data do not support, and why."""
    return Finding(name, where, math.nan, math.nan, unit, math.nan, UNCLEAR, why, advice)


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """All findings of `calibkit.diagnose`, in the order of the tests.

    Attributes
    ----------
    subject : str
        What was looked at.
    findings : tuple of Finding

    Examples
    --------
    >>> print(Diagnosis("night", ()))
    night: nothing was tested.
    """

    subject: str
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> list[Finding]:
        """What is wrong."""
        return self.of(FAULT)

    @property
    def suspects(self) -> list[Finding]:
        """What should be looked at."""
        return self.of(SUSPECT)

    @property
    def unclear(self) -> list[Finding]:
        """What the frames cannot tell."""
        return self.of(UNCLEAR)

    @property
    def ok(self) -> bool:
        """Whether nothing is at fault and nothing suspect."""
        return not self.faults and not self.suspects

    def of(self, verdict: str) -> list[Finding]:
        """Findings with this verdict."""
        return [finding for finding in self.findings if finding.verdict == verdict]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __getitem__(self, name: str) -> list[Finding]:
        """The findings of the test of this name."""
        return [finding for finding in self.findings if finding.name == name]

    @property
    def table(self) -> pd.DataFrame:
        """One row a finding."""
        import pandas as pd

        rows = [asdict(finding) | {"significance": finding.significance} for finding in self.findings]
        return pd.DataFrame(rows)

    def summary(self) -> str:
        """Faults, what is suspect and what cannot be told, in words; what is ok as a count."""
        if not self.findings:
            return f"{self.subject}: nothing was tested."
        lines = [f"{self.subject}: {self._counts()}"]
        for verdict in VERDICTS[:-1]:
            for cause, alike in self._by_cause(verdict).items():
                names = ", ".join(
                    f"{f.name} of {f.where}{f' ({f.measured})' if f.measured else ''}" for f in alike
                )
                lines += [f"  {verdict}: {names}", f"    {' '.join(filter(None, (cause, alike[0].advice)))}"]
        good = list(dict.fromkeys(finding.name for finding in self.of(OK)))
        if good:
            lines.append(f"  ok: {', '.join(good)}")
        return "\n".join(lines)

    def _by_cause(self, verdict: str) -> dict[str, list[Finding]]:
        """Findings with this verdict that have the same cause."""
        found: dict[str, list[Finding]] = {}
        for finding in self.of(verdict):
            found.setdefault(finding.cause, []).append(finding)
        return found

    def _counts(self) -> str:
        counts = [(verdict, len(self.of(verdict))) for verdict in VERDICTS]
        return ", ".join(f"{count} {verdict}" for verdict, count in counts if count)

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        title = f"{self.subject}: {self._counts() or 'nothing was tested.'}"
        parts = [
            _table_html([finding for verdict in VERDICTS if verdict != OK for finding in self.of(verdict)])
        ]
        if good := self.of(OK):  # what is well is there for those who want to know, and in nobody's way
            words = f"{len(good)} test{'s' if len(good) > 1 else ''} with nothing wrong"
            parts.append(f"<details><summary>{words}</summary>{_table_html(good)}</details>")
        return f"<div><p><b>{escape(title)}</b></p>{''.join(parts)}</div>"


def _table_html(findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    heads = ("verdict", "test", "frames", "measured", "cause", "what to do")
    rows = []
    for each in findings:
        cells = (each.verdict, each.name, each.where, each.measured, each.cause, each.advice)
        rows.append(
            "<tr>" + "".join(f'<td style="text-align:left">{escape(cell)}</td>' for cell in cells) + "</tr>"
        )
    head = "".join(f'<th style="text-align:left">{title}</th>' for title in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"

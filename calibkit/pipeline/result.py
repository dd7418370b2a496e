"""What a run did: a row for every master and every light, plain enough to be kept as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from calibkit.session import Session

#: How a master or a light came out.
MADE, REUSED, GIVEN, FAILED = "made", "reused", "given", "failed"


@dataclass
class MasterRow:
    """One master.

    Attributes
    ----------
    name, kind : str
        What it is called; "bias", "dark", "flat dark" or "flat".
    how : str
        Frames and arithmetic in words.
    path : str
        Where it is, "" when it could not be made.
    status : str
        "made", "reused" (from an earlier run), "given" (was a master already) or "failed".
    frames : int
        Frames combined.
    files : list of str
        Their names.
    rejected : float
        Fraction of samples that were rejected, NaN when not known.
    units : str
    noise : dict
        Channel → level, measured and predicted noise, as `calibkit.statistics.Noise`.
    flags : dict
        Flag → pixels.
    warnings : list of str
    error : str
    seconds : float
    """

    name: str
    kind: str
    how: str = ""
    path: str = ""
    status: str = FAILED
    frames: int = 0
    files: list[str] = field(default_factory=list)
    rejected: float = float("nan")
    units: str = ""
    noise: dict[str, dict[str, float]] = field(default_factory=dict)
    flags: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    error: str = ""
    seconds: float = 0.0

    @property
    def title(self) -> str:
        """What it is called where that may not be plain: one that was given may be called a master already."""
        return self.name if self.name.startswith("master") else f"master {self.name}"


@dataclass
class LightRow:
    """One light.

    Attributes
    ----------
    file : str
        The raw frame, below the session's folder.
    group : str
        The lights that it belongs to.
    path : str
        The calibrated frame, "" when there is none.
    status : str
        "made", "reused" (from an earlier run) or "failed".
    steps : list of str
        What was done, in words.
    units : str
        Of the calibrated frame.
    before, after : dict
        Channel → level, measured and predicted noise, as `calibkit.statistics.Noise`.
    flags : dict
        Flag → pixels.
    gain, read_noise : dict or float
        In electrons per ADU and electrons, as used for the variance.
    key : str
        A digest of all that it was made from.
    stars : dict or None
        What `calibkit.find_stars` found in it, where it was read for that when it was made.
    levels : dict or None
        Likewise its ``location`` and ``scale``, a number for each channel, as `calibkit.combining.measure_levels` has them.
    warnings : list of str
    error : str
    seconds : float
    """

    file: str
    group: str
    path: str = ""
    status: str = FAILED
    steps: list[str] = field(default_factory=list)
    units: str = ""
    before: dict[str, dict[str, float]] = field(default_factory=dict)
    after: dict[str, dict[str, float]] = field(default_factory=dict)
    flags: dict[str, int] = field(default_factory=dict)
    gain: Any = float("nan")
    read_noise: Any = float("nan")
    key: str = ""
    stars: dict[str, Any] | None = None
    levels: dict[str, list[float]] | None = None
    warnings: list[str] = field(default_factory=list)
    error: str = ""
    seconds: float = 0.0


@dataclass
class StackRow:
    """Lights of one target laid upon each other.

    Attributes
    ----------
    name : str
        Of the lights.
    path, picture : str
        The stack and its picture, "" where there is none.
    status : str
        "made", "reused" (from an earlier run) or "failed".
    files : list of str
        The lights that are in it.
    left_out : dict
        Light → why it is not in it.
    frames : list of dict
        Of every light: sharpness, stars, noise, and where it lies.
    units : str
    noise : dict
        Channel → level, measured and predicted noise.
    line : str
        The line that was taken from the colours, "" for all of them.
    warnings : list of str
    error : str
    seconds : float
    """

    name: str
    path: str = ""
    picture: str = ""
    status: str = FAILED
    files: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    frames: list[dict[str, Any]] = field(default_factory=list)
    units: str = ""
    noise: dict[str, dict[str, float]] = field(default_factory=dict)
    line: str = ""
    warnings: list[str] = field(default_factory=list)
    error: str = ""
    seconds: float = 0.0


@dataclass(repr=False)
class RunResult:
    """What `calibkit.process` or `calibkit.calibrate_session` did.

    Attributes
    ----------
    session : Session
        The frames, groups and matches.
    out : Path
        The folder with the results.
    lights : list of LightRow
        One row a light, failed ones too.
    masters : list of MasterRow
        One row a master, failed ones too.
    warnings : list of str
        What somebody should look at before trusting the result.
    report : Path or None
        The HTML report.
    seconds : float
        Time that the run took.
    stacks : list of StackRow
        One row for the lights of each target and filter, where the recipe asks for stacks.
    """

    session: Session
    out: Path
    lights: list[LightRow]
    masters: list[MasterRow]
    warnings: list[str]
    report: Path | None = None
    seconds: float = 0.0
    stacks: list[StackRow] = field(default_factory=list)

    @property
    def failed(self) -> list[LightRow]:
        """Lights that could not be calibrated."""
        return [row for row in self.lights if row.status == FAILED]

    @property
    def files(self) -> dict[str, str]:
        """The path of the calibrated frame for the name of every light, "" where it failed."""
        return {row.file: str(self.out / row.path) if row.path else "" for row in self.lights}

    @property
    def ok(self) -> bool:
        """Whether every light was calibrated, every stack made, and every file that looks like a frame could be read."""
        return not self.failed and not self.session.unreadable and not any(row.error for row in self.stacks)

    @property
    def table(self) -> pd.DataFrame:
        """One row a light: file, status, steps, and level and noise of each channel before and after."""
        import pandas as pd

        return pd.DataFrame([_flat_row(row) for row in self.lights])

    def summary(self) -> str:
        """How many lights came out, from how many masters."""
        done = [row for row in self.lights if row.status != FAILED]
        old = sum(row.status == REUSED for row in done)
        text = f"{len(done)} of {len(self.lights)} lights calibrated"
        if old:
            text += f", {old} of them in an earlier run"
        made = [row for row in self.stacks if row.status != FAILED]
        if self.stacks:
            count = sum(len(row.files) for row in made)
            text += f", {count} of them in {len(made)} stack{'s' if len(made) != 1 else ''}"
        masters = sum(row.status != FAILED for row in self.masters)
        return (
            f"{text}, with {masters} master{'s' if masters != 1 else ''}, in {self.seconds:.1f} s: {self.out}"
        )

    def __repr__(self) -> str:
        lines = [self.summary(), *(f"failed: {row.file}: {row.error}" for row in self.failed)]
        lines += [f"failed: stack of {row.name}: {row.error}" for row in self.stacks if row.error]
        lines += [f"warning: {text}" for text in self.warnings]
        return "\n".join(lines + ([f"report: {self.report}"] if self.report else []))

    def _repr_html_(self) -> str:
        failed = "".join(f"<li>{escape(row.file)}: {escape(row.error)}</li>" for row in self.failed)
        failed += "".join(
            f"<li>stack of {escape(row.name)}: {escape(row.error)}</li>" for row in self.stacks if row.error
        )
        notes = "".join(f"<li>{escape(text)}</li>" for text in self.warnings)
        return (
            f"<p><b>{escape(self.summary())}</b></p>"
            + (f"<p>Failed:</p><ul>{failed}</ul>" if failed else "")
            + (f"<p>Warnings:</p><ul>{notes}</ul>" if notes else "")
            + (f"<p>Report: {escape(str(self.report))}</p>" if self.report else "")
        )


def _flat_row(row: LightRow) -> dict[str, object]:
    plain = asdict(row)
    flat: dict[str, object] = {name: plain[name] for name in ("file", "group", "status", "path", "units")}
    flat["steps"] = " ".join(row.steps)
    for when in ("before", "after"):
        for channel, found in plain[when].items():
            for name, value in found.items():
                flat[f"{when} {name} {channel}"] = value
    flat |= {f"{name} pixels": count for name, count in row.flags.items()}
    return flat | {"warnings": "; ".join(row.warnings), "error": row.error, "seconds": row.seconds}

"""A session as table, text and HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from calibkit.session.frame import Group, count_of
from calibkit.session.matching import ROLES, Match, scale_text
from calibkit.session.wording import degrees, number, plural, seconds, size

if TYPE_CHECKING:
    import pandas as pd

    from calibkit.session.session import Session

#: Columns of the group table, heading → text of a group.
_GROUP_COLUMNS = {
    "group": lambda group: group.name,
    "frames": count_of,
    "exposure": lambda group: seconds(group.exposure) if math.isfinite(group.exposure) else "",
    "temperature": lambda group: degrees(group.temperature) if math.isfinite(group.temperature) else "",
    "gain": lambda group: _gain_text(group),
    "size": lambda group: size(group.info.shape),
    "pattern": lambda group: group.info.cfa.replace("/", "")[:8],
    "night": lambda group: group.night,
    "camera": lambda group: group.info.camera,
}


def frame_table(session: Session) -> pd.DataFrame:
    """One row a frame, in the order of `Session.frames`."""
    import pandas as pd

    groups = {id(frame): group.name for group in session.groups for frame in group.frames}
    rows = [
        {
            "file": frame.relative,
            "kind": frame.kind,
            "reason": frame.reason,
            "group": groups.get(id(frame), ""),
            "exposure": frame.info.exposure,
            "gain": frame.info.gain,
            "gain_setting": frame.info.gain_setting,
            "temperature": frame.info.temperature,
            "filter": frame.info.filter,
            "time": frame.info.time,
            "night": frame.night,
            "target": frame.target,
            "width": frame.info.shape[1],
            "height": frame.info.shape[0],
            "binning": "{}×{}".format(*frame.info.binning),
            "camera": frame.info.camera,
            "pattern": frame.info.cfa,
            "master": bool(frame.master),
        }
        for frame in session.frames
    ]
    return pd.DataFrame(rows)


def group_table(groups: Iterable[Group]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the table of groups; columns without any content are left out."""
    rows = [[str(text(group)) for text in _GROUP_COLUMNS.values()] for group in groups]
    used = [i for i in range(len(_GROUP_COLUMNS)) if any(row[i] for row in rows)]
    headings = list(_GROUP_COLUMNS)
    return [headings[i] for i in used], [[row[i] for i in used] for row in rows]


def match_rows(match: Match) -> list[tuple[str, str, str]]:
    """(role, what is used, why or why not) for every role of a match."""
    scales = {"dark": match.dark_scale, "flat dark": match.flat_dark_scale}
    rows = []
    for role in ROLES:
        group = match[role]
        used = f"{group.name}{scale_text(scales.get(role))}" if group else "–"
        rows.append((role, used, match.why.get(role) or match.missing.get(role, "")))
    return rows


def summary_text(session: Session) -> str:
    """The whole session in lines of text."""
    lines = [_headline(session), ""]
    headings, rows = group_table(session.groups)
    lines += _aligned([headings, *rows])
    for match in session.matches:
        lines += ["", f"{match.light.name} ({count_of(match.light)}):"]
        lines += [f"  {role:<10} {used}: {why}" for role, used, why in match_rows(match)]
    for title, items in _sections(session):
        lines += ["", f"{title}:", *(f"  - {item}" for item in items)]
    return _printable("\n".join(lines))


def summary_html(session: Session) -> str:
    """The same for a notebook; every text from a file is escaped."""
    parts = [f"<p><b>{escape(_headline(session))}</b></p>", _html_table(*group_table(session.groups))]
    for match in session.matches:
        rows = _html_table(["for", "used", "why"], match_rows(match))
        title = escape(f"{match.light.name}: what calibrates it")
        parts.append(f"<details><summary>{title}</summary>{rows}</details>")
    for title, items in _sections(session):
        entries = "".join(f"<li>{escape(item)}</li>" for item in items)
        parts.append(f"<p>{escape(title)}:</p><ul>{entries}</ul>")
    return _printable("<div>" + "".join(parts) + "</div>")


def _printable(text: str) -> str:
    """File names may hold bytes that are no text; they become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _headline(session: Session) -> str:
    lights = sum(len(match.light) for match in session.matches)
    return (
        f"{session.folder}: {plural(len(session.frames), 'frame')} in {plural(len(session.groups), 'group')}, "
        f"{plural(lights, 'light')} to calibrate"
    )


def _sections(session: Session) -> list[tuple[str, list[str]]]:
    sections = [
        ("Warnings", session.warnings),
        ("Used by no light", [f"{group.name} ({count_of(group)})" for group in session.unused]),
        ("Unreadable", list(session.unreadable.values())),
        (
            "Passed over, written by calibkit",
            [plural(len(session.ignored), "file")] if session.ignored else [],
        ),
    ]
    return [(title, items) for title, items in sections if items]


def _gain_text(group: Group) -> str:
    if math.isfinite(group.gain_setting):
        return number(group.gain_setting)
    return f"{group.gain:.3g} e⁻/ADU" if math.isfinite(group.gain) else ""


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _html_table(headings: list[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in headings)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

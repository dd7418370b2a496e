"""The page: warnings first, then what was matched, the masters, the lights and their noise."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from bokeh.embed import components
from bokeh.model import Model
from bokeh.models import Range1d
from bokeh.resources import Resources

from calibkit import __version__
from calibkit.display.view import FrameView
from calibkit.errors import CalibkitError
from calibkit.pipeline.result import FAILED, LightRow, MasterRow, RunResult
from calibkit.pipeline.store import write_whole
from calibkit.progress import Progress, silent
from calibkit.report.pictures import frame_picture, histogram, noise_figure, unit_text, view_of_result
from calibkit.report.stacks import stacks_html
from calibkit.session.table import group_table, match_rows

_HERE = Path(__file__).parent
#: Masters that get pictures; a session with more lists the others in the table.
MOST_PICTURES = 16
#: Groups of lights whose first light is shown before and after.
MOST_PAIRS = 8
#: With more groups of lights than this their matches are folded.
MOST_OPEN = 4


def write_report(result: RunResult, path: str | Path, *, progress: Progress = silent) -> Path:
    """Write the report of a run as one HTML file that needs nothing but itself.

    Parameters
    ----------
    result : RunResult
        What `calibkit.calibrate_session` gave; its files are looked at again.
    path : path
        The file, replaced when it is there.
    progress : callable
        Called as ``progress(done, total, what)``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        It cannot be written.

    Examples
    --------
    >>> result = calibkit.calibrate_session("night", "done", report=False)  # doctest: +SKIP
    >>> write_report(result, "done/report.html")  # doctest: +SKIP
    """
    path = Path(path)
    write_whole(path, _page(result, progress).encode("utf-8", "replace"))
    return path


class _Figures:
    """Bokeh models of the page: each leaves an empty place that its script fills."""

    def __init__(self) -> None:
        self._models: list[Model] = []

    def place(self, model: Model) -> str:
        """A mark that stands for the figure until the page is put together."""
        self._models.append(model)
        return f"<!--figure {len(self._models) - 1}-->"

    def fill(self, html: str) -> tuple[str, str]:
        """The page with its places, and the script that draws the figures."""
        if not self._models:
            return html, ""
        script, places = components(self._models, wrap_script=True)
        for number, place in enumerate(places):
            html = html.replace(f"<!--figure {number}-->", place, 1)
        return html, script


def _page(result: RunResult, progress: Progress) -> str:
    figures = _Figures()
    title = f"calibkit: {result.session.folder.resolve().name}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="faint">{escape(str(result.session.folder))} → {escape(str(result.out))}</p>',
        _tiles(result),
        _problems(result),
        _matches(result),
        _masters(result, figures, progress),
        stacks_html(result, _number, _table),
        _lights(result, figures, progress),
        _noise(result, figures),
        _light_table(result),
    ]
    body, script = figures.fill("\n".join(part for part in parts if part))
    libraries = ""
    if script:
        resources = Resources(mode="inline", components=["bokeh"])
        libraries = resources.render_js()
        script += f"<script>{(_HERE / 'theme.js').read_text(encoding='utf-8')}</script>"
    when = dt.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{(_HERE / 'style.css').read_text(encoding='utf-8')}</style>\n"
        f"{libraries}\n</head>\n<body>\n{body}\n"
        f"<footer>calibkit {escape(__version__)}, {escape(when)}. Pictures are scaled down by block means and "
        "stretched; the data are untouched.</footer>\n"
        f"{script}\n</body>\n</html>\n"
    )


def _tiles(result: RunResult) -> str:
    done = len(result.lights) - len(result.failed)
    tiles = [
        (f"{done} of {len(result.lights)}", "lights calibrated", bool(result.failed)),
        (str(sum(row.status != FAILED for row in result.masters)), "masters", False),
        (str(len(result.warnings)), "warnings", False),
        (f"{result.seconds:.0f} s", "this run", False),
    ]
    cells = (
        f'<div class="tile{" bad" if bad else ""}"><b>{escape(big)}</b>{small}</div>'
        for big, small, bad in tiles
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def _problems(result: RunResult) -> str:
    failed = [f"{row.file}: {row.error}" for row in result.failed]
    failed += [f"{row.title}: {row.error}" for row in result.masters if row.status == FAILED]
    failed += list(result.session.unreadable.values())
    return _box("bad", "Could not be done", failed) + _box("warn", "Warnings", result.warnings)


def _box(kind: str, title: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    points = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f'<div class="box {kind}"><b>{title}</b><ul>{points}</ul></div>'


def _matches(result: RunResult) -> str:
    headings, rows = group_table(result.session.groups)
    parts = ["<h2>What was matched</h2>", _table(headings, rows)]
    opened = " open" if len(result.session.matches) <= MOST_OPEN else ""
    for match in result.session.matches:
        name = escape(f"{match.light.name}: what calibrates it")
        rows = _table(("for", "used", "why"), match_rows(match))
        parts.append(f"<details{opened}><summary>{name}</summary>{rows}</details>")
    unused = ", ".join(group.name for group in result.session.unused)
    if unused:
        parts.append(f'<p class="faint">Used by no light: {escape(unused)}</p>')
    return "".join(parts)


def _masters(result: RunResult, figures: _Figures, progress: Progress) -> str:
    if not result.masters:
        return ""
    parts = ["<h2>Masters</h2>"]
    shown = [row for row in result.masters if row.status != FAILED][:MOST_PICTURES]
    for number, row in enumerate(shown):
        progress(number, len(shown), "report: masters")
        parts.append(_master_card(result, row, figures))
    progress(len(shown), len(shown), "report: masters")
    parts.append(_table(_MASTER_HEADINGS, (_master_cells(row) for row in result.masters), numbers=(2,)))
    return "".join(parts)


_MASTER_HEADINGS = (
    "master",
    "how",
    "frames",
    "level",
    "noise",
    "predicted",
    "unit",
    "rejected",
    "flags",
    "came out",
)


def _master_cells(row: MasterRow) -> list[str]:
    return [
        row.name,
        row.how,
        str(row.frames or ""),
        _per_channel(row.noise, "level"),
        _per_channel(row.noise, "measured"),
        _per_channel(row.noise, "predicted"),
        unit_text(row.units) or "1",
        f"{100 * row.rejected:.3g} %" if math.isfinite(row.rejected) else "",
        _counts(row.flags),
        row.error or row.status,
    ]


def _master_card(result: RunResult, row: MasterRow, figures: _Figures) -> str:
    try:
        view = _open(result.out / row.path)
    except CalibkitError as error:
        return f'<div class="card"><h3>{escape(row.name)}</h3><p>{escape(str(error))}</p></div>'
    shown = frame_picture(view, "", width=460)
    return (
        f'<div class="card"><h3>{escape(row.name)}</h3><p class="faint">{escape(row.how)}</p>{_box("warn", "", row.warnings)}'
        f'<div class="row"><div>{figures.place(shown.plot)}<p class="caption">{escape(shown.caption)}</p></div>'
        f"<div>{figures.place(histogram(view, ''))}</div></div></div>"
    )


def _lights(result: RunResult, figures: _Figures, progress: Progress) -> str:
    firsts: dict[str, LightRow] = {}
    for row in result.lights:
        if row.status != FAILED:
            firsts.setdefault(row.group, row)
    if not firsts:
        return ""
    pairs = list(firsts.values())[:MOST_PAIRS]
    parts = ["<h2>Lights before and after</h2>"]
    for number, row in enumerate(pairs):
        progress(number, len(pairs), "report: lights")
        parts.append(_pair(result, row, figures))
    progress(len(pairs), len(pairs), "report: lights")
    return "".join(parts)


def _pair(result: RunResult, row: LightRow, figures: _Figures) -> str:
    from calibkit.frames import open_stack

    try:
        after = _open(result.out / row.path)
        frame = next(frame for frame in result.session.frames if frame.relative == row.file)
        before = view_of_result(open_stack([frame.path], cfa=frame.info.cfa).isel(frame=0))
    except CalibkitError as error:
        return f'<div class="card"><h3>{escape(row.group)}</h3><p>{escape(str(error))}</p></div>'
    left = frame_picture(before, "before")
    ranges: tuple[Range1d, Range1d] = (left.plot.x_range, left.plot.y_range)
    right = frame_picture(after, "after", ranges=ranges)
    headings = ("channel", "level before", "noise", "level after", "noise", "predicted noise")
    rows = [
        [
            channel,
            *(_number(row.before.get(channel, {}).get(name)) for name in ("level", "measured")),
            *(_number(found.get(name)) for name in ("level", "measured", "predicted")),
        ]
        for channel, found in row.after.items()
    ]
    return (
        f'<div class="card"><h3>{escape(row.group)}</h3><p class="faint">{escape(row.file)}: '
        f"{escape(' '.join(row.steps))}</p>{_box('warn', '', row.warnings)}"
        f'<div class="row"><div>{figures.place(left.plot)}<p class="caption">{escape(left.caption)}</p></div>'
        f'<div>{figures.place(right.plot)}<p class="caption">{escape(right.caption)}</p></div></div>'
        f"{_table(headings, rows, numbers=range(1, 6))}"
        f'<p class="caption">levels and noise in {escape(unit_text(row.units))}; flags: '
        f"{escape(_counts(row.flags) or 'none')}</p></div>"
    )


def _noise(result: RunResult, figures: _Figures) -> str:
    plot = noise_figure([row for row in result.lights if row.status != FAILED])
    if plot is None:
        return ""
    return (
        "<h2>Noise</h2><p>The variance that every calibrated light carries predicts its noise; the measured noise "
        "comes from differences of neighbouring pixels of one colour. Near 1, both agree. Above 1 there is more: a "
        "fixed pattern that is left, stars in a crowded field, or a gain that is not as stated.</p>"
        f"{figures.place(plot)}"
    )


def _light_table(result: RunResult) -> str:
    if not result.lights:
        return ""
    headings = (
        "",
        "light",
        "group",
        "level before",
        "level after",
        "noise",
        "predicted",
        "flags",
        "came out",
        "time",
    )
    rows = [
        [
            str(number),
            row.file,
            row.group,
            _per_channel(row.before, "level"),
            _per_channel(row.after, "level"),
            _per_channel(row.after, "measured"),
            _per_channel(row.after, "predicted"),
            _counts(row.flags),
            row.error or row.status,
            f"{row.seconds:.1f} s",
        ]
        for number, row in enumerate(result.lights, start=1)
    ]
    table = _table(headings, rows, numbers=(0, 9))
    opened = " open" if len(rows) <= 12 else ""
    units = ", ".join(dict.fromkeys(unit_text(row.units) for row in result.lights if row.units))
    table += f'<p class="caption">levels and noise in {escape(units)}</p>' if units else ""
    return f"<h2>All lights</h2><details{opened}><summary>{len(rows)} lights</summary>{table}</details>"


def _open(path: Path) -> FrameView:
    from calibkit.io.save import open_result

    return view_of_result(open_result(path))


def _per_channel(noise: dict[str, dict[str, float]], name: str) -> str:
    values = {channel: _number(found.get(name)) for channel, found in noise.items()}
    if not any(values.values()):
        return ""
    return ", ".join(value if channel == "L" else f"{channel} {value}" for channel, value in values.items())


def _number(value: float | None) -> str:
    return f"{value:.4g}".replace("-", "−") if value is not None and math.isfinite(value) else ""


def _counts(flags: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in flags.items())


def _table(headings: Sequence[str], rows: Iterable[Iterable[str]], *, numbers: Iterable[int] = ()) -> str:
    """A table without its empty columns; everything in it is escaped."""
    right = set(numbers)
    cells = [list(row) for row in rows]
    used = [i for i in range(len(headings)) if any(row[i] for row in cells) or not headings[i]]

    def cell(tag: str, i: int, text: str) -> str:
        kind = ' class="number"' if i in right else ""
        return f"<{tag}{kind}>{escape(text)}</{tag}>"

    def line(tag: str, row: Sequence[str]) -> str:
        return "".join(cell(tag, i, row[i]) for i in used)

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in cells)
    return f'<div class="wide"><table><thead><tr>{line("th", headings)}</tr></thead><tbody>{body}</tbody></table></div>'

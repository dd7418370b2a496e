"""Do the colours lie where the pattern says: a grid that is shifted, or red and blue that changed places."""

from __future__ import annotations

import numpy as np

from calibkit.cfa import Pattern, pattern_of
from calibkit.colour.narrowband import LINES, line_of_filter
from calibkit.diagnosis.evidence import Evidence
from calibkit.diagnosis.finding import FAULT, OK, SIGMA, SUSPECT, Finding, unclear
from calibkit.diagnosis.patterns import median_of, sky_of
from calibkit.diagnosis.sampling import Sample

_NAME = "colour pattern"
#: Per cent of the brightest channel by which the two greens may differ, and a part of that by which red and blue then do.
_GREENS, _ALIKE = 10.0, 0.3
#: A colour that the filter shuts out over one that it lets through: what is odd, and what is wrong.
_SHUT_OUT, _SHUT_OUT_GRAVE = 1.0, 1.5
#: ADU that the brightest channel has to have.
_LEAST = 10.0


def colour_pattern(ev: Evidence) -> list[Finding]:
    """Whether the colours are where the header says, by what is sure of them.

    Behind a filter of one line it is known which colours are bright. Without such a filter the two greens of a Bayer
    cell are alike: where they differ and red and blue do not, the grid is off by a row or a column. Red and blue that
    changed places cannot be told then.
    """
    channels = ev.grid.channels
    if len(channels) == 1:
        return [Finding(_NAME, ev.where, 1, 0.0, "colour", 1, OK, "the sensor has no grid of colours.", "")]
    if {name[0] for name in channels} != set("RGB"):
        why = f"it is not known how the colours {', '.join(channels)} of this sensor compare."
        return [unclear(_NAME, ev.where, why)]
    found = []
    for sample, values in ((ev.get("flat"), _flat(ev)), (ev.get("light") or ev.get("result"), ev.sky)):
        if sample is None or values is None:
            continue
        tiles = ev.grid.by_channel(values)
        levels = dict(zip(channels, median_of(tiles, axis=-1).tolist(), strict=True))
        if max(levels.values()) >= _LEAST:
            line = line_of_filter(str(sample.fact("filter", "")))
            found.append(_of_line(sample, levels, line) if line else _of_greens(ev, sample, tiles))
    why = "there is no light, freed of its offset, to compare the colours in."
    return found or [unclear(_NAME, ev.where, why)]


def _flat(ev: Evidence) -> np.ndarray | None:
    """Level of the flat above its offset, (site, tile); None where it is not known for each colour."""
    flat, level = ev.get("flat"), ev.flat_level
    if flat is None or level is None or not np.isfinite(level).all():
        return None
    if flat.raw and ev.flat_offset is not None:
        return sky_of(flat.master - ev.flat_offset.master)
    return level[ev.grid.site_channel][:, None]


def _of_line(sample: Sample, levels: dict[str, float], line: str) -> Finding:
    """Colours that a filter of one line shuts out against those that it lets through."""
    ratio, bright, faint = _shut_out(levels, line)
    told = (_NAME, sample.name, ratio, 0.0, f"× as much in {bright} as in {faint}", 0.0)
    if ratio <= _SHUT_OUT:
        return Finding(*told, OK, f"the colours that {line} gets through to are the bright ones.", "")
    pattern = pattern_of(sample.data)
    fitting = [
        each
        for each in _shifts(pattern)
        if _shut_out({each.label(y, x): levels[pattern.label(y, x)] for y in (0, 1) for x in (0, 1)}, line)[0]
        < 1 / _SHUT_OUT_GRAVE
    ]
    behind = f"behind the filter {sample.fact('filter')} {bright} is brighter than {faint}"
    if ratio <= _SHUT_OUT_GRAVE or not fitting:
        cause = f"{behind}, which no other pattern would explain: is it this filter?"
        return Finding(*told, SUSPECT, cause, "Look at the channels one by one (ChannelsPanel).")
    return Finding(*told, FAULT, f"{behind}: the pattern is not {pattern}.", _advice(fitting))


def _shut_out(levels: dict[str, float], line: str) -> tuple[float, str, str]:
    """The brightest colour that the filter shuts out over the faintest that it lets through, and their names."""
    through = {name: level for name, level in levels.items() if name[0] in LINES[line]}
    out = {name: level for name, level in levels.items() if name not in through}
    bright, faint = max(out, key=out.__getitem__), min(through, key=through.__getitem__)
    least = max(through[faint], 0.001 * max(levels.values()))
    return max(out[bright], 0.0) / least, bright, faint


def _of_greens(ev: Evidence, sample: Sample, tiles: np.ndarray) -> Finding:
    """The two greens of a Bayer cell against each other."""
    number = {name: i for i, name in enumerate(ev.grid.channels)}
    if set(number) != {"R", "G1", "G2", "B"}:
        return unclear(_NAME, sample.name, "in such a grid only a filter of one line would tell.")
    brightest = median_of(tiles, axis=-1).max() / 100
    red, first, second, blue = (tiles[number[name]] / brightest for name in ("R", "G1", "G2", "B"))
    differ = median_of(first - second)
    error = 1.2533 * 1.4826 * median_of(np.abs(first - second - differ)) / np.sqrt(first.size)
    told = (_NAME, sample.name, differ, error, "% from green to green", 0.0)
    if abs(differ) <= max(_GREENS, SIGMA * error):
        good = "the two greens are alike; what is red and what blue only a filter of one line would tell."
        return Finding(*told, OK, good, "")
    cause = f"the pixels that are said to be green differ by {abs(differ):.0f} %"
    if abs(median_of(red - blue)) > _ALIKE * abs(differ):
        cause += ", and red and blue differ as well: no other pattern would explain it."
        return Finding(*told, SUSPECT, cause, "Look at the channels one by one (ChannelsPanel).")
    pattern = pattern_of(sample.data)
    cause += f", and red and blue are alike: {pattern} is one row or one column off."
    return Finding(*told, FAULT, cause, _advice([pattern.shifted(1, 0), pattern.shifted(0, 1)]))


def _shifts(pattern: Pattern) -> list[Pattern]:
    """The other places that a 2 × 2 cell can have on the sensor."""
    if pattern.period != (2, 2):
        return []
    return [pattern.shifted(*by) for by in ((0, 1), (1, 0), (1, 1))]


def _advice(patterns: list[Pattern]) -> str:
    wanted = " or ".join(f"cfa={each.text!r}" for each in patterns)
    return f"Say so when frames are opened, calibkit.open_stack(…, {wanted}), and look at a frame whose colours you know."

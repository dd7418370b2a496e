"""The ledger as a text and as a table of a notebook."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from calibkit.ledger.book import COMMON, NEW, SOURCES

if TYPE_CHECKING:
    from calibkit.ledger.book import NoiseLedger

_HEADINGS = {
    "readout": "readout",
    "quantisation": "rounding",
    "dark current": "dark current",
    "sky": "sky",
    "object": "object",
    "bias master": "bias",
    "dark master": "dark",
    "flat master": "flat",
    "pattern": "pattern",
}
_STEP_IN_WORDS = {
    "raw": "raw",
    "bias": "bias subtracted",
    "dark": "dark subtracted",
    "flat": "divided by the flat",
    "combined": "combined",
}
#: A source with less than this share of the variance is left out of the written sum.
_WORTH_WRITING = 1e-4


def as_text(ledger: NoiseLedger) -> str:
    """The whole ledger, readable in a terminal."""
    lines = [title(ledger), ""]
    for channel in ledger.channels:
        rows = [["after", *heads(ledger), "together", "measured", "predicted/measured"]]
        rows += [[*row] for row in cells(ledger, channel)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        if len(ledger.channels) > 1:
            lines.append(f"Channel {channel}")
        lines += [
            "  ".join(
                cell.rjust(w) if i else cell.ljust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        lines += [*sentences(ledger, channel), ""]
    return "\n".join([*lines, *notes(ledger)]).rstrip()


def as_html(ledger: NoiseLedger) -> str:
    """The same as HTML."""
    style = "text-align:right;padding:2px 8px"
    parts = [f"<div class='calibkit-ledger'><p>{escape(title(ledger))}</p>"]
    for channel in ledger.channels:
        names = ["after", *heads(ledger), "together", "measured", "predicted/measured"]
        head = "".join(f"<th scope='col' style='{style}'>{escape(name)}</th>" for name in names)
        body = "".join(
            "<tr>"
            + "".join(
                f"<th scope='row' style='text-align:left'>{escape(cell)}</th>"
                if i == 0
                else f"<td style='{style}'>{escape(cell)}</td>"
                for i, cell in enumerate(row)
            )
            + "</tr>"
            for row in cells(ledger, channel)
        )
        caption = f"Channel {channel}: noise of a pixel, ADU"
        parts.append(
            f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )
        parts += [f"<p>{escape(sentence)}</p>" for sentence in sentences(ledger, channel)]
    parts += [f"<p>{escape(note)}</p>" for note in notes(ledger)]
    return "".join(parts) + "</div>"


def title(ledger: NoiseLedger) -> str:
    """What the ledger is of."""
    attrs = ledger.table.attrs
    count = attrs["lights"]
    lights = f"{count} light{'s' if count != 1 else ''}"
    if attrs["exposure"] > 0:
        lights += f" of {attrs['exposure']:g} s"
    masters = [
        f"{name} of {attrs[f'{name}_frames']}" for name in ("bias", "dark", "flat") if attrs[f"{name}_frames"]
    ]
    gains = ", ".join(f"{gain:.4g}" for gain in dict.fromkeys(ledger.table["gain"].values.round(6).tolist()))
    with_what = f" with {', '.join(masters)}" if masters else ""
    return f"Noise of {lights}{with_what}, in ADU per pixel (standard deviations); gain {gains} e⁻/ADU"


def heads(ledger: NoiseLedger) -> list[str]:
    """Sources that are anything but zero somewhere, by their short names."""
    return [_HEADINGS[name] for name in _present(ledger)]


def _present(ledger: NoiseLedger) -> list[str]:
    largest = ledger.table["variance"].max(("step", "channel")).values
    return [name for name, value in zip(SOURCES, largest, strict=True) if value > 0]


def cells(ledger: NoiseLedger, channel: str) -> list[list[str]]:
    """Rows of the table: step, σ of every source, together, measured, ratio with its error."""
    rows = []
    for step in ledger.steps:
        variance = ledger.variance(channel, step)
        row = ledger.table.sel(step=step, channel=channel, comparison="pixels")
        frames = ledger.table.sel(step=step, channel=channel, comparison="frames")
        measured = f"{math.sqrt(row['measured']):.3f}" if row["measured"] > 0 else "–"
        ratios = []
        for what, found in (("pixels", row), ("frames", frames)):
            if math.isfinite(found["ratio"]):
                ratios.append(f"{float(found['ratio']):.3f} ± {float(found['ratio_error']):.3f} ({what})")
        rows.append(
            [
                _STEP_IN_WORDS[step],
                *(_sigma(variance[name]) for name in _present(ledger)),
                _sigma(sum(variance.values())),
                measured,
                ", ".join(ratios) or "–",
            ]
        )
    return rows


def _sigma(variance: float) -> str:
    return f"{math.sqrt(variance):.3f}" if variance > 0 else "0"


def _change(percent: float) -> str:
    text = f"{percent:+.2f} %"
    return "nothing" if text[1:] == "0.00 %" else text.replace("-", "−")


def written_sum(ledger: NoiseLedger, channel: str, step: str) -> str:
    """σ = √(A² + B² + C² …) with the numbers in it."""
    variance = ledger.variance(channel, step)
    total = sum(variance.values())
    parts = [f"{math.sqrt(value):.2f}²" for value in variance.values() if value > _WORTH_WRITING * total]
    return f"√({' + '.join(parts)}) = {math.sqrt(total):.3g} ADU"


def sentences(ledger: NoiseLedger, channel: str) -> list[str]:
    """The sum, the limit and what more frames would buy, in words."""
    if ledger.is_empty(channel):
        return ["This channel has no typical pixels: all of them are flagged, or it got no light."]
    variance = ledger.variance(channel)
    total = sum(variance.values())
    step = ledger.steps[-1]
    names = [_HEADINGS[name] for name, value in variance.items() if value > _WORTH_WRITING * total]
    lines = [
        f"Noise {_STEP_IN_WORDS[step]} = {written_sum(ledger, channel, step)} ({', '.join(names)}).",
        f"Limited by {ledger.limits[channel]}.",
    ]
    masters = sum(variance[name] for name in COMMON)
    if masters > 0:
        new = sum(variance[name] for name in NEW)
        dithered = ledger.table.attrs["dithered"]
        way = (
            "averages down with the lights, which are dithered"
            if dithered
            else "is the same in every light and does not average down without dither"
        )
        lines.append(
            f"The masters' noise {way}: {math.sqrt(masters):.3g} ADU beside {math.sqrt(max(new, 0)):.3g} ADU that "
            "are new in every frame."
        )
    buys = ledger.buys[ledger.buys["channel"] == channel]
    bought = [
        f"{action} {_change(change)}" for action, change in zip(buys["action"], buys["change"], strict=True)
    ]
    lines.append(f"It would change the noise: {'; '.join(bought)}.")
    return lines


def notes(ledger: NoiseLedger) -> list[str]:
    """What has to be known to read it."""
    attrs = ledger.table.attrs
    origin = f"Readout noise from {attrs['floor_from']}, gain from {attrs['gain_from']}."
    how = (
        "Measured between neighbouring pixels (everything) and between frames (only what is new in every frame); "
        "ratios are of variances."
    )
    lines = [f"{origin} {how}"]
    if attrs["readout_holds_dark_current"]:
        lines.append(
            "The readout noise was measured on darks and holds the noise of the dark current; give read_noise= to "
            "tell them apart."
        )
    unexplained = ledger.unexplained()
    lines += [f"Not in the ledger: {text}." for text in unexplained]
    if unexplained:
        lines.append(
            "That may be a pattern that no master shows, interference, faint stars or clouds, or a gain or readout noise "
            "that is not the camera's."
        )
    return lines

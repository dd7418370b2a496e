"""The part of the report that shows what the lights were combined into."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from html import escape
from pathlib import Path

from PIL import Image

from calibkit.pipeline.result import FAILED, RunResult, StackRow

#: Longest side of a picture in the page, in pixels.
_SIDE = 1000
#: What is told of every light in a stack: key → heading.
_COLUMNS = {
    "file": "light",
    "fwhm": "width of stars (pixel)",
    "stars": "stars",
    "sky": "sky",
    "noise": "noise",
    "shift x": "shift in x (pixel)",
    "shift y": "shift in y (pixel)",
    "rotation": "rotation (°)",
    "rms": "error of the place (pixel)",
}


def stacks_html(result: RunResult, number: Callable[[float | None], str], table: Callable[..., str]) -> str:
    """HTML of the stacks of *result*, "" when there are none; *number* and *table* write as the page does."""
    if not result.stacks:
        return ""
    return "<h2>Stacks</h2>" + "".join(_card(result, row, number, table) for row in result.stacks)


def _card(
    result: RunResult, row: StackRow, number: Callable[[float | None], str], table: Callable[..., str]
) -> str:
    head = f'<div class="card"><h3>{escape(row.name)}</h3>'
    if row.status == FAILED:
        return f"{head}<p>{escape(row.error)}</p></div>"
    line = f", the line {row.line} of their colours" if row.line else ""
    told = f"{len(row.files)} lights aligned and combined{line}: {row.path}"
    left = "".join(f"<li>{escape(file)}: {escape(why)}</li>" for file, why in row.left_out.items())
    left = f"<p>Left out:</p><ul>{left}</ul>" if left else ""
    frames = [[_cell(frame.get(key), number) for key in _COLUMNS] for frame in row.frames]
    noise = [
        [channel, *(number(found.get(name)) for name in ("level", "measured", "predicted"))]
        for channel, found in row.noise.items()
    ]
    headings = ("channel", *(f"{what} ({row.units})" for what in ("level", "noise", "predicted noise")))
    return (
        f'{head}<p class="faint">{escape(told)}</p>{_picture(result.out / row.picture) if row.picture else ""}'
        f"{left}{table(headings, noise, numbers=range(1, 4))}"
        f"{table(tuple(_COLUMNS.values()), frames, numbers=range(1, len(_COLUMNS)))}</div>"
    )


def _cell(value: object, number: Callable[[float | None], str]) -> str:
    return value if isinstance(value, str) else number(value if isinstance(value, int | float) else None)


def _picture(path: Path) -> str:
    """The picture that was saved, small enough for a page."""
    try:
        with Image.open(path) as picture:
            small = picture.convert("I") if picture.mode.startswith("I;16") else picture
            if small.mode == "I":
                small = small.point(lambda value: value / 257).convert("L")
            small = small.convert("L" if small.mode in ("L", "1") else "RGB")
            small.thumbnail((_SIDE, _SIDE))
    except OSError as error:
        return f"<p>{escape(path.name)}: {escape(str(error))}</p>"
    file = io.BytesIO()
    small.save(file, "JPEG", quality=88)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return (
        f'<img alt="{escape(path.name)}" style="max-width:100%" src="data:image/jpeg;base64,{data}">'
        f'<p class="caption">{escape(path.name)}</p>'
    )

"""Lines of text and coloured strips as a picture, for readers who have nothing but the saved notebook."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

#: Signs that Pillow's own font has not, as it can write them. It is the only font that is there on every computer.
_PLAIN = str.maketrans(
    {
        "−": "-", "–": "-", "⁻": "-", "→": "to", "÷": "/", "×": "x", "²": "^2", "³": "^3", "σ": "sigma", "√": "root of ",
        "Δ": "Delta ", "α": "alpha", "β": "beta", "µ": "u", "≈": "about ", "≤": "<=", "≥": ">=", "⚠": "!", "\u202f": " ",
    }
)  # fmt: skip
_SIZE, _LINE, _EDGE = 14, 22, 10
_PAPER, _INK = (255, 255, 255), (33, 33, 33)


@dataclass(frozen=True)
class Line:
    """One line of a sheet: words, and behind them a strip of coloured cells.

    Attributes
    ----------
    text : str
        In front of the strip; alone it is as many lines as it needs.
    cells : sequence of (str, float)
        Colour ("#0072b2") and width, in screen pixels, of each cell.
    """

    text: str
    cells: Sequence[tuple[str, float]] = field(default=())


def draw_sheet(lines: Sequence[Line], *, width: int = 800, indent: int = 220) -> np.ndarray:
    """Draw *lines* below each other.

    Parameters
    ----------
    lines : sequence of Line
    width : int
        Of the picture, screen pixels.
    indent : int
        Where strips begin, screen pixels.

    Returns
    -------
    numpy.ndarray
        uint8 of shape (rows, *width*, 3).

    Examples
    --------
    >>> picture = draw_sheet([Line("bias, 3 frames", [("#0072b2", 9.0)] * 3)])
    >>> picture.shape, picture[21, 221].tolist()
    ((42, 800, 3), [0, 114, 178])
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_SIZE)
    # Strips are coloured; words stand before them as far as there is room, or have the whole width.
    parts = [
        (text, line.cells if first == 0 else ())
        for line in lines
        for first, text in enumerate(
            _wrapped(line.text, font, (indent if line.cells else width - _EDGE) - 2 * _EDGE)
        )
    ]
    sheet = Image.new("RGB", (width, _LINE * len(parts) + 2 * _EDGE), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, (text, cells) in enumerate(parts):
        top = _EDGE + number * _LINE
        pen.text((_EDGE, top + 2), text, font=font, fill=_INK)
        left = float(indent)
        for colour, wide in cells:
            right = min(left + wide, width - _EDGE)
            if right - left >= 1:
                pen.rectangle((left, top + 3, right - 1, top + _LINE - 4), fill=colour)
            left = right
    return np.asarray(sheet)


def _wrapped(text: str, font: object, width: float) -> list[str]:
    """*text* in lines that are not wider than *width*, where its words allow it."""
    lines = [""]
    for word in text.translate(_PLAIN).split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:  # type: ignore[attr-defined]
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def png_bytes(pixels: np.ndarray) -> bytes:
    """A picture as a PNG file.

    Parameters
    ----------
    pixels : numpy.ndarray
        uint8 of shape (rows, columns), or with 3 or 4 values per pixel (rows, columns, values).

    Returns
    -------
    bytes

    Examples
    --------
    >>> png_bytes(np.zeros((2, 3), np.uint8))[1:4]
    b'PNG'
    """
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, format="png")
    return file.getvalue()

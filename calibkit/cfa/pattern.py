"""Colour filter array patterns: which filter sits on which pixel of the sensor.

A pattern is a small cell of letters that repeats over the sensor. In calibkit its text is always
anchored at sensor pixel (0, 0): pixel (y, x) carries ``letters[y % py][x % px]``, whatever crop is
looked at, because ``y`` and ``x`` are sensor pixel numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from calibkit.errors import SettingError

#: Filters that are known: red, green, blue, cyan, magenta, yellow, emerald, white (clear).
LETTERS = "RGBCMYEW"
#: The only channel of a sensor without colour filters.
MONO_CHANNEL = "L"
_LARGEST_CELL = 16
_ALLOWED = (
    '"" or "mono" (no filters), a 2 × 2 cell row by row such as "RGGB", "BGGR", "GRBG", "GBRG" or "GMYC", '
    'or rows joined by "/" such as the six rows of an X-Trans sensor; the letters are '
    f"{', '.join(LETTERS)}"
)


def _refuse(text: object, why: str) -> SettingError:
    return SettingError(f"colour filter pattern {text!r}: {why}. Allowed are {_ALLOWED}.")


def _smallest_period(cell: np.ndarray, axis: int) -> int:
    size = cell.shape[axis]
    periods = (p for p in range(1, size + 1) if size % p == 0)
    return next(p for p in periods if (np.roll(cell, -p, axis) == cell).all())


def _parse(text: object) -> tuple[str, ...]:
    """Rows of the smallest cell that repeats to the pattern *text* describes."""
    if not isinstance(text, str):
        raise _refuse(text, f"text is wanted, not {type(text).__name__}")
    return _rows_of(text)


@lru_cache(maxsize=64)  # every light of a night asks for the same one many times
def _rows_of(text: str) -> tuple[str, ...]:
    clean = "".join(text.split()).upper()
    if clean in ("", "MONO", MONO_CHANNEL):
        return (MONO_CHANNEL,)
    rows = clean.split("/")
    if len(rows) == 1:
        side = {4: 2, 36: 6}.get(len(clean))
        if side is None:
            raise _refuse(text, f"{len(clean)} letters do not make a square cell of 2 × 2 or 6 × 6")
        rows = [clean[i : i + side] for i in range(0, len(clean), side)]
    unknown = sorted(set("".join(rows)) - set(LETTERS))
    if unknown:
        raise _refuse(text, f"{', '.join(unknown)} is not the letter of a filter")
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        raise _refuse(text, f"its rows have {', '.join(str(len(row)) for row in rows)} letters")
    if max(len(rows), len(rows[0])) > _LARGEST_CELL:
        raise _refuse(text, f"the cell is larger than {_LARGEST_CELL} × {_LARGEST_CELL}")
    cell = np.array([list(row) for row in rows])
    py, px = _smallest_period(cell, 0), _smallest_period(cell, 1)
    if py * px == 1:
        raise _refuse(text, 'one filter over the whole sensor is no pattern; give ""')
    return tuple("".join(row) for row in cell[:py, :px])


@dataclass(frozen=True)
class Pattern:
    """The colour filter pattern of a sensor, anchored at sensor pixel (0, 0).

    Parameters
    ----------
    text : str
        ``""`` or ``"mono"`` for a sensor without filters, four letters row by row for a 2 × 2 cell
        (``"RGGB"``, ``"GMYC"``), rows joined by ``"/"`` for any other cell (X-Trans: six rows of six).
        A cell that itself repeats is reduced: ``"RGRG/GBGB"`` is ``"RGGB"``.

    Raises
    ------
    SettingError
        If the text is not a pattern; the message says what is allowed.

    Notes
    -----
    *Channels* are what is calibrated apart. In a 2 × 2 cell every site is a channel of its own: a letter
    that occurs once is its name, a repeated letter is numbered. The order, and the numbers, run row by row
    from the site of red, or without red from the alphabetically first letter that occurs once. For every
    Bayer phase this gives R, G1, G2, B with G1 the green in the rows of red, and shifting a pattern never
    renames a pixel. In larger cells (X-Trans) the letters themselves are the channels.

    *Sites* are the pixels of one cell; `site_names` tells the sites of one channel apart.

    Examples
    --------
    >>> from calibkit import Pattern
    >>> Pattern("GRBG").channels
    ('R', 'G1', 'G2', 'B')
    >>> Pattern("GRBG").label(101, 200)
    'B'
    >>> Pattern("GRBG").shifted(0, 1).text
    'RGGB'
    >>> Pattern("mono").channels
    ('L',)
    """

    text: str = ""

    def __post_init__(self) -> None:
        rows = _parse(self.text)
        if rows == (MONO_CHANNEL,):
            text = ""
        else:
            square = len(rows) == len(rows[0]) == 2
            # A single row is written twice: without a "/" it would be read as a square cell.
            text = "".join(rows) if square else "/".join(rows if len(rows) > 1 else rows * 2)
        object.__setattr__(self, "text", text)

    @property
    def is_mono(self) -> bool:
        """Whether there are no filters: one channel, ``"L"``."""
        return not self.text

    @cached_property
    def _cell(self) -> np.ndarray:
        return np.array([list(row) for row in _parse(self.text)])

    @property
    def period(self) -> tuple[int, int]:
        """Rows and columns of the cell that repeats, (py, px)."""
        py, px = self._cell.shape
        return int(py), int(px)

    @property
    def letters(self) -> tuple[str, ...]:
        """The rows of the cell, e.g. ``("RG", "GB")``."""
        return tuple("".join(row) for row in self._cell)

    @cached_property
    def colours(self) -> tuple[str, ...]:
        """The letters that occur, in the order red, green, blue, others."""
        if self.is_mono:
            return (MONO_CHANNEL,)
        return tuple(letter for letter in LETTERS if (self._cell == letter).any())

    @cached_property
    def _site_order(self) -> list[tuple[int, int]]:
        """Sites of the cell row by row, from the anchor in a 2 × 2 cell, else from (0, 0)."""
        py, px = self.period
        ay = ax = 0
        if (py, px) == (2, 2):
            single = [letter for letter in self.colours if (self._cell == letter).sum() == 1]
            if single:
                anchor = min(single, key=lambda letter: (letter != "R", letter))
                ay, ax = (int(i[0]) for i in np.nonzero(self._cell == anchor))
        return [((ay + i) % py, (ax + j) % px) for i in range(py) for j in range(px)]

    @cached_property
    def sites(self) -> tuple[tuple[int, int], ...]:
        """(row, column) of every site of the cell, in the order of `site_names`."""
        return tuple(self._site_order)

    @cached_property
    def site_names(self) -> tuple[str, ...]:
        """A name of its own for every site; in a mono or 2 × 2 pattern these are the channels."""
        names: list[str] = []
        seen: dict[str, int] = {}
        for site in self.sites:
            letter = str(self._cell[site])
            seen[letter] = seen.get(letter, 0) + 1
            names.append(f"{letter}{seen[letter]}" if (self._cell == letter).sum() > 1 else letter)
        return tuple(names)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, e.g. ``("R", "G1", "G2", "B")``, X-Trans ``("R", "G", "B")``."""
        return self.site_names if max(self.period) <= 2 else self.colours

    @cached_property
    def labels(self) -> np.ndarray:
        """Channel name of every site, shape (py, px), anchored at sensor pixel (0, 0)."""
        if max(self.period) > 2:
            return self._cell.copy()
        labels = np.empty(self.period, dtype="U2")
        for site, name in zip(self.sites, self.site_names, strict=True):
            labels[site] = name
        return labels

    @property
    def label_letters(self) -> np.ndarray:
        """Letter of the filter on every site, shape (py, px), anchored at sensor pixel (0, 0)."""
        return self._cell.copy()

    @cached_property
    def index(self) -> np.ndarray:
        """Number in `channels` of every site, uint8 of shape (py, px), anchored at sensor pixel (0, 0)."""
        channels = list(self.channels)
        numbers = [[channels.index(name) for name in row] for row in self.labels.tolist()]
        return np.array(numbers, dtype=np.uint8)

    def label(self, y: int, x: int) -> str:
        """Channel of sensor pixel (y, x)."""
        py, px = self.period
        return str(self.labels[y % py, x % px])

    def shifted(self, dy: int, dx: int) -> Pattern:
        """The pattern of a file whose first pixel is sensor pixel (dy, dx) of this one."""
        cell = np.roll(self._cell, (-dy, -dx), (0, 1))
        return Pattern("" if self.is_mono else "/".join("".join(row) for row in cell))

    def __str__(self) -> str:
        return self.text or "mono"

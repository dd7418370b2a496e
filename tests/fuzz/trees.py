"""Folders such as nobody should have: odd names, links in circles, files that are something else, spoilt frames."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from pathlib import Path

from tests.fuzz.mutations import mutate, spoil_card

#: Stands in names and headers, and must not stand in any page.
MARKUP = "<img src=x onerror=alert(1)>"
_NAMES = (
    *("light_1", "DARK 60s", "-rf", "a\nb", MARKUP.replace("/", ""), "%s%n{}", "über ø 夜", "x" * 200, " "),
    *("con", "master_dark", ".hidden", "bias.fits", "*", "$(true)", "'\"", "..", "\udcff\udcfe", "flat-dark"),
)
_FOLDERS = (
    *("", "", "bias", "darks", "flats/V", "Light Frame", "<b>", "masters", "calibrated", ".calibkit/passing"),
    *("a/" * 30 + "b", "\udcff", "lights", "flat darks"),
)


def make_tree(seeds: list[Path], rng: random.Random, folder: Path) -> str:
    """Fill *folder*; what it holds, in words."""
    frames = [path for path in seeds if path.suffix in (".fits", ".fit", ".dng", ".tif", ".png")]
    made = []
    for _ in range(rng.randint(2, 12)):
        place = folder / rng.choice(_FOLDERS)
        place.mkdir(parents=True, exist_ok=True)
        origin = rng.choice(frames if rng.random() < 0.8 else seeds)
        path = place / f"{rng.choice(_NAMES)}{rng.randrange(3)}{origin.suffix}"
        if not os.path.lexists(path):
            make = rng.choice((_copy, _copy, _copy, _labelled, _labelled, _labelled, mutate, *_ODD))
            made.append(make(origin, rng, path) or f"{make.__name__} {origin.name}")
    return "; ".join(made)


def _copy(origin: Path, rng: random.Random, path: Path) -> None:
    shutil.copy(origin, path)


def _labelled(origin: Path, rng: random.Random, path: Path) -> None:
    """A sound frame whose header says odd things."""
    data = bytearray(origin.read_bytes())
    for _ in range(rng.randint(1, 4)):
        place = data.find(b"INSTRUME=")
        if place >= 0:
            text = rng.choice((MARKUP, "../../../up", "/etc/passwd", "..", "a/b", "CON", "{x}", "%n"))
            name = rng.choice(("INSTRUME", "FILTER", "OBJECT", "IMAGETYP", "READOUTM"))
            data[place : place + 80] = f"{name:8}= '{text}'".ljust(80).encode()
        data = spoil_card(data, rng) if rng.random() < 0.3 else data
    path.write_bytes(data)


def _empty(origin: Path, rng: random.Random, path: Path) -> None:
    path.touch()


def _folder(origin: Path, rng: random.Random, path: Path) -> None:
    path.mkdir()


def _link(origin: Path, rng: random.Random, path: Path) -> None:
    path.symlink_to(rng.choice((path.name, "..", ".", "nothing", path.parent)))


def _pipe(origin: Path, rng: random.Random, path: Path) -> None:
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)


_ODD = (_empty, _folder, _link, _pipe)


def contents(folder: Path) -> dict[str, str]:
    """Every entry below *folder* → what it is; links are not followed."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            plain = path.is_file() and not path.is_symlink()
            found[str(path)] = (
                hashlib.sha256(path.read_bytes()).hexdigest() if plain else oct(path.lstat().st_mode)
            )
    return found

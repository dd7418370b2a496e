"""What kind a frame is: as the user says, else its header, its folders, its file name.

Names are read by words, not by letters: ``darks-001D15`` is a dark, ``darkness`` and ``level73`` say nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import PurePosixPath

from calibkit.errors import SettingError
from calibkit.io.source import FrameInfo
from calibkit.meta import KINDS

#: Words for each kind, lower case and without accents, in the languages in which session folders are found.
WORDS = {
    "bias": (
        "bias",
        "biases",
        "biais",
        "offset",
        "offsets",
        "バイアス",
        "オフセット",
        "偏置",
        "偏置场",
        "биас",
        "оффсет",
    ),
    "dark": (
        *(
            "dark",
            "darks",
            "dunkel",
            "dunkelbild",
            "dunkelbilder",
            "noir",
            "noirs",
            "oscuro",
            "oscuros",
            "escuro",
        ),
        *("ダーク", "暗场", "дарк", "дарки"),
    ),
    "flat": ("flat", "flats", "plu", "weissbild", "weissbilder", "フラット", "平场", "флат", "флаты", "флэт"),
    "light": (
        *(
            "light",
            "lights",
            "lite",
            "lites",
            "science",
            "hellbild",
            "hellbilder",
            "brute",
            "brutes",
            "luz",
            "luces",
        ),
        *("ライト", "亮场", "лайт", "лайты"),
    ),
}
#: Beginnings and ends with which these words are written together: masterdark, skyflats, flatfields.
_BEFORE = r"(?:master|super|stacked|sky|dome|twilight|flood|panel|wall|led)?"
_AFTER = r"(?:frames?|fields?|files?|s|es)?"
_KIND_OF_WORD = {word: kind for kind, words in WORDS.items() for word in words}
_FLAT_DARK = re.compile(rf"{_BEFORE}(?:darks?flats?|flats?darks?|dflats?|dunkelflats?|flatdunkel){_AFTER}$")
_COMPOUND = re.compile(
    _BEFORE
    + "("
    + "|".join(re.escape(w) for w in sorted(_KIND_OF_WORD, key=len, reverse=True))
    + ")"
    + _AFTER
    + "$"
)
#: Two words that together mean something else.
_PHRASES = {
    ("light", "box"), ("light", "panel"), ("light", "leak"), ("light", "leaks"), ("light", "pollution"),
    ("dark", "sky"), ("dark", "site"), ("dark", "nebula"), ("dark", "nebulae"), ("dark", "shark"), ("dark", "tower"),
    ("dark", "horse"), ("dark", "matter"), ("dark", "wolf"), ("dark", "doodad"),
}  # fmt: skip
#: "lights and darks" says neither; a camera's offset setting (``gain100_offset50``) is not an offset frame.
_AND = {"and", "und", "et", "e", "y", "plus"}
_SETTING = {"offset", "offsets"}
_MASTER = re.compile(
    r"masters?$|(?:master|super)(?:bias|darks?|flats?|offset|flatdarks?|darkflats?)s?$|combined$|stacked$"
)
_PIECES = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")


@dataclass(frozen=True)
class Verdict:
    """The kind of a frame, why, and what its name says against it."""

    kind: str
    reason: str
    contradiction: str = ""  # e.g. "file name 'flat-001' says flat"
    named: str = ""  # the kind that the contradicting name gives


@lru_cache(maxsize=65536)
def words_in(text: str) -> tuple[str, ...]:
    """Words of a file or folder name: split at signs, digits and camelCase; lower case, without accents.

    >>> words_in("MasterDark_-10C"), words_in("darks-001D15")
    (('master', 'dark', '10', 'c'), ('darks', '001', 'd', '15'))
    """
    plain = "".join(
        c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c) or ord(c) > 0x3000
    )
    return tuple(word.casefold() for word in _PIECES.findall(unicodedata.normalize("NFKC", plain)))


def kind_in_name(text: str) -> str:
    """The kind that one file or folder name says, or "" when it says none, or several that exclude each other.

    Dark and flat together are a flat dark; a bias taken for flats is a bias. When a name says *light* and
    something else, the word at its very beginning counts, for that is where capture programs write it.

    >>> [kind_in_name(name) for name in ("flood-flat-001bias", "DarkFlat_5s", "Light_M42", "level73", "skyflats")]
    ['bias', 'flat dark', 'light', '', 'flat']
    """
    words = words_in(text)
    found: dict[str, int] = {}
    skip = False
    for i, word in enumerate(words):
        if skip or words[i : i + 2] in _PHRASES:
            skip = not skip
            continue
        if word in _SETTING and i and words[i - 1] not in ("master", "super"):
            continue
        kind = _kind_of_word(word)
        if kind:
            found.setdefault(kind, i)
    kinds = set(found)
    if len(kinds) <= 1:
        return next(iter(kinds), "")
    if _AND.intersection(words):
        return ""
    if "light" in kinds:
        first = min(found, key=lambda kind: found[kind])
        return first if found[first] == 0 else ""
    if kinds <= {"dark", "flat", "flat dark"}:
        return "flat dark"
    return "bias" if kinds == {"bias", "flat"} else ""


def _kind_of_word(word: str) -> str:
    if word in _KIND_OF_WORD:
        return _KIND_OF_WORD[word]
    if _FLAT_DARK.match(word):
        return "flat dark"
    match = _COMPOUND.match(word)
    return _KIND_OF_WORD[match[1]] if match else ""


def master_in_name(relative: str) -> str:
    """The word of a path that says "already combined" (master, combined, stacked), or ""."""
    path = PurePosixPath(relative)
    for part in (path.name, *reversed(path.parent.parts)):
        for word in words_in(part):
            if _MASTER.match(word):
                return part
    return ""


def kind_from_path(relative: str, root: str = "") -> tuple[str, str]:
    """(kind, reason) from the folders, innermost first, then the file name, then the scanned folder's own name."""
    path = PurePosixPath(relative)
    for folder in reversed(path.parent.parts):
        kind = kind_in_name(folder)
        if kind:
            return kind, f"folder {folder!r}"
    kind = kind_in_name(path.name)
    if kind:
        return kind, f"file name {path.name!r}"
    kind = kind_in_name(root)
    return (kind, f"folder {root!r}") if kind else ("", "")


def decide_kind(info: FrameInfo, relative: str, *, root: str = "", told: str = "") -> Verdict:
    """Kind of one frame, with the reason.

    Parameters
    ----------
    info : FrameInfo
        What the file says; its own word goes before that of any name.
    relative : str
        Path below the scanned folder, with ``/``.
    root : str
        Name of the scanned folder.
    told : str
        The kind that the user gave, which goes before everything.
    """
    if told:
        return Verdict(told, "told by the user")
    named, where = kind_from_path(relative, root)
    if info.kind:
        if not named or named == info.kind:
            return Verdict(info.kind, info.kind_reason)
        if (info.kind, named) == ("dark", "flat dark"):  # most programs know no keyword for flat darks
            return Verdict("flat dark", f"{info.kind_reason}, and {where} says that it is for flats")
        contrary = f"{where} says {named}"
        if (
            kind_in_name(PurePosixPath(relative).name) == info.kind
        ):  # header and file name agree against a folder
            contrary = named = ""
        return Verdict(info.kind, info.kind_reason, contrary, named)
    if named:
        return Verdict(named, where)
    if info.exposure == 0:
        return Verdict("bias", "exposure 0 s")
    return Verdict("", "neither header nor folder nor file name says what it is")


def told_kinds(kinds: Mapping[str, str | Iterable[str]] | None, relatives: Iterable[str]) -> dict[str, str]:
    """Relative path → kind for the files that the user's patterns name.

    A pattern is compared with the whole relative path and with the file name alone.

    Raises
    ------
    SettingError
        For a kind that does not exist, a pattern without a file, and a file with two kinds.
    """
    names = list(relatives)
    told: dict[str, tuple[str, str]] = {}
    for key, value in (kinds or {}).items():
        kind = " ".join(str(key).lower().replace("_", " ").replace("-", " ").split())
        kind = {"dark flat": "flat dark"}.get(kind, kind)
        if kind not in KINDS:
            msg = f"kinds: {key!r} is not a kind of frame; allowed are {', '.join(map(repr, KINDS))}"
            raise SettingError(msg)
        for pattern in (value,) if isinstance(value, str) else value:
            hits = [
                n for n in names if fnmatchcase(n, pattern) or fnmatchcase(PurePosixPath(n).name, pattern)
            ]
            if not hits:
                shown = ", ".join(repr(name) for name in names[:3])
                msg = f"kinds: no file fits {pattern!r} ({kind}); the files are called {shown} …"
                raise SettingError(msg)
            for name in hits:
                before = told.setdefault(name, (kind, pattern))
                if before[0] != kind:
                    msg = (
                        f"kinds: {name!r} is told to be both {before[0]} ({before[1]!r}) and {kind} ({pattern!r}); "
                        "make the patterns narrower"
                    )
                    raise SettingError(msg)
    return {name: kind for name, (kind, _) in told.items()}

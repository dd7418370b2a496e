"""FITS header cards into a plain dict: quick, and tolerant of what cameras really write."""

from __future__ import annotations

import re
from typing import Any

CARD = 80
BLOCK = 2880

_STRING = re.compile(r"\s*'((?:[^']|'')*)'?\s*(?:/(.*))?")
_BARE = re.compile(r"\s*([^/]*?)\s*(?:/(.*))?$")
_INTEGER = re.compile(r"[+-]?\d+$")
#: Keywords that hold text without a value and may occur many times.
_TEXT_KEYWORDS = ("COMMENT", "HISTORY", "")


class Header(dict[str, Any]):
    """Keyword → value (str, int, float, bool or None), with the cards' comments in `comments`."""

    def __init__(self) -> None:
        super().__init__()
        self.comments: dict[str, str] = {}


def parse_header(block: bytes) -> Header:
    """The cards of a header up to END; the first of repeated keywords counts, HISTORY is joined by lines."""
    header = Header()
    text = block.decode("latin-1")
    continued = ""
    for start in range(0, len(text), CARD):
        card = text[start : start + CARD]
        keyword = card[:8].rstrip().upper()
        if keyword == "END":
            break
        if keyword == "CONTINUE" and continued:
            value, comment = _value(card[8:])
            header[continued] = header[continued].removesuffix("&") + (
                value if isinstance(value, str) else ""
            )
            header.comments[continued] = (header.comments[continued] + " " + comment).strip()
            continue
        continued = ""
        if keyword in _TEXT_KEYWORDS:
            if keyword == "HISTORY":
                header["HISTORY"] = "\n".join(filter(None, (header.get("HISTORY"), card[8:].strip())))
            continue
        rest = card[8:]
        if keyword == "HIERARCH" and "=" in rest:
            keyword, rest = rest.split("=", 1)
            keyword = " ".join(keyword.split()).upper()
        elif rest.startswith("="):
            rest = rest[1:]
        else:
            continue
        value, comment = _value(rest)
        if keyword in header:
            continue
        header[keyword] = value
        header.comments[keyword] = comment
        if isinstance(value, str) and value.endswith("&"):
            continued = keyword
    return header


def _value(text: str) -> tuple[Any, str]:
    if text.lstrip().startswith("'"):
        match = _STRING.match(text)
        if match:
            return match[1].replace("''", "'").rstrip(), (match[2] or "").strip()
    match = _BARE.match(text)
    bare, comment = (match[1], match[2] or "") if match else (text.strip(), "")
    return _number(bare), comment.strip()


def _number(text: str) -> Any:
    if not text:
        return None
    if text in ("T", "F"):
        return text == "T"
    if _INTEGER.match(text):
        return int(text)
    try:
        return float(text.replace("D", "E").replace("d", "e"))
    except ValueError:
        return text

"""Ways to spoil a file: bytes, headers, lengths, names."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

#: Values that programs stumble over, as they stand in FITS cards, YAML, JSON and lists.
NASTY = (
    *(
        "0",
        "-1",
        "1",
        "2",
        "999999999999",
        "1E400",
        "-1E400",
        "NaN",
        "inf",
        "T",
        "F",
        "''",
        "'a'",
        "null",
        "[]",
    ),
    *("{}", "2147483648", "-2147483649", "18446744073709551616", "0.0000001", "'<script>alert(1)</script>'"),
    *("'../../../etc/passwd'", "'RGGBRGGB'", "'[1:99999,1:99999]'", "'[10:1,10:1]'", "'2026-13-45T99:99:99'"),
    *("!!python/object/apply:os.system ['true']", "&a [*a, *a]", "\\x00", "'" + "A" * 60 + "'"),
)
#: Cards that decide how much is read, and what is believed.
_CARDS = (
    *("NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "BITPIX", "BZERO", "BSCALE", "BLANK", "PCOUNT", "GCOUNT"),
    *("EXPTIME", "CCD-TEMP", "IMAGETYP", "BAYERPAT", "XBAYROFF", "GAIN", "EGAIN", "TRIMSEC", "BIASSEC"),
    *("XBINNING", "DATE-OBS", "ROWORDER", "ZCMPTYPE", "ZTILE1", "ZNAXIS1", "TFORM1", "THEAP", "EXTNAME"),
    *("CHECKSUM", "CALIBKIT", "UNITS", "BUNIT", "FILTER", "INSTRUME", "XTENSION", "SIMPLE", "END"),
)


def flip_bits(data: bytearray, rng: random.Random) -> bytearray:
    """A few bits, anywhere."""
    for _ in range(rng.choice((1, 3, 20))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def flip_early_bits(data: bytearray, rng: random.Random) -> bytearray:
    """A few bits among the first kilobytes, where headers are."""
    for _ in range(rng.choice((1, 3, 10))):
        data[rng.randrange(min(len(data), 4096))] ^= 1 << rng.randrange(8)
    return data


def truncate(data: bytearray, rng: random.Random) -> bytearray:
    """The end is missing."""
    return data[: rng.randrange(len(data))]


def lengthen(data: bytearray, rng: random.Random) -> bytearray:
    """Something follows the end."""
    return data + rng.randbytes(rng.choice((1, 100, 2880, 10_000)))


def drop_block(data: bytearray, rng: random.Random) -> bytearray:
    """A block in the middle is missing."""
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 80, 512, 2880))]
    return data or bytearray(b"\0")


def repeat_block(data: bytearray, rng: random.Random) -> bytearray:
    """A block stands twice."""
    start, size = rng.randrange(len(data)), rng.choice((1, 80, 512, 2880))
    return data[: start + size] + data[start:]


def zero_block(data: bytearray, rng: random.Random) -> bytearray:
    """A block of zeros: what a full disk or a crash leaves."""
    start, size = rng.randrange(len(data)), rng.choice((1, 80, 512, 2880, 20_000))
    part = len(data[start : start + size])
    data[start : start + size] = bytes(part)
    return data


def spoil_card(data: bytearray, rng: random.Random) -> bytearray:
    """A FITS card says something else; in text, a value does."""
    card = rng.choice(_CARDS)
    places = [
        place
        for place in range(0, min(len(data), 40_000), 80)
        if data[place : place + 8].strip() == card.encode()
    ]
    if not places:
        return spoil_text(data, rng)
    text = f"{card:8}= {rng.choice(NASTY):>20}"[:80].ljust(80)
    place = rng.choice(places)
    data[place : place + 80] = text.encode("latin-1", "replace")
    return data


def spoil_text(data: bytearray, rng: random.Random) -> bytearray:
    """A number or word of a text is replaced."""
    if b"\0" in data[:200]:
        return flip_early_bits(data, rng)
    lines = bytes(data).split(b"\n")
    line = rng.randrange(len(lines))
    words = lines[line].split(b" ")
    words[rng.randrange(len(words))] = rng.choice(NASTY).encode()
    lines[line] = b" ".join(words)
    return bytearray(b"\n".join(lines))


def swap_ends(data: bytearray, rng: random.Random) -> bytearray:
    """The head of one kind of file before the body of another."""
    magic = rng.choice(
        (
            b"SIMPLE  =",
            b"II*\0",
            b"MM\0*",
            b"\x89PNG\r\n\x1a\n",
            b"\x1f\x8b\x08",
            b"BZh9",
            b"FUJIFILM",
            b"\xff\xd8",
        )
    )
    data[: len(magic)] = magic
    return data


MUTATIONS: tuple[Callable[[bytearray, random.Random], bytearray], ...] = (
    *(flip_bits, flip_early_bits, truncate, lengthen, drop_block, repeat_block, zero_block),
    *(spoil_card, spoil_card, spoil_card, spoil_text, swap_ends),
)


def mutate(seed: Path, rng: random.Random, target: Path) -> str:
    """Write a spoilt copy of *seed* to *target*; what was done, in words."""
    data = bytearray(seed.read_bytes())
    done = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        mutation = rng.choice(MUTATIONS)
        data = mutation(data, rng) or bytearray(b"\0")
        done.append(mutation.__name__)
    target.write_bytes(data)
    return f"{seed.name}: {', '.join(done)}"

"""Make `efficiency.csv`: ``python -m calibkit.combining.make_efficiency`` (ten minutes)."""

from __future__ import annotations

import csv
from pathlib import Path

from calibkit.combining.efficiency import COUNTS, LIMITS, NAMES, simulate
from calibkit.combining.rejections import REJECTIONS

PIXELS = 400_000
SAMPLES = 10_000_000
#: Its limits are fractions of the level, so that what it does depends on the frames.
NOT_TABLED = ("percentile",)


def main() -> None:
    """Simulate every method, limit and count, and write the table beside this file."""
    lines = [["reject", "low", "high", "n", *NAMES]]
    for rejection in REJECTIONS.values():
        if rejection.name in NOT_TABLED:
            continue
        pairs = {(rejection.low, rejection.high)}
        if rejection.low_is.startswith(("standard", "mean")):
            pairs |= {(limit, limit) for limit in LIMITS}
        for low, high in sorted(pairs):
            for n in COUNTS:
                found = simulate(rejection, n, low, high, pixels=min(PIXELS, SAMPLES // n))
                numbers = (f"{getattr(found, name):.5g}" for name in NAMES)
                lines.append([rejection.name, f"{low:g}", f"{high:g}", n, *numbers])
    path = Path(__file__).with_name("efficiency.csv")
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(
            "# Made by calibkit.combining.make_efficiency; what the columns are: efficiency.Efficiency.\n"
        )
        csv.writer(file, lineterminator="\n").writerows(lines)


if __name__ == "__main__":
    main()

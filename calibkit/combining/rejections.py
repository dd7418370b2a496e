"""The rejection methods: name → kernel, defaults and source."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rejection:
    """One way to find outliers among the samples of a pixel."""

    name: str
    kernel: str  # name of the function in calibkit.kernels.rejection, "" for none
    low: float
    high: float
    iterations: int
    keep: int
    source: str


REJECTIONS: dict[str, Rejection] = {
    r.name: r
    for r in (
        Rejection("none", "", 0.0, 0.0, 0, 1, ""),
        Rejection("sigma", "reject_sigma", 3.0, 3.0, 100, 3, "kappa-sigma clipping about the median"),
    )
}

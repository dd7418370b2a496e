"""The rejection methods: name → kernel, defaults and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

#: Iterations that are as good as without limit: every one but the last rejects at least one sample.
UNTIL_DONE = 10_000


@dataclass(frozen=True)
class Rejection:
    """One way to find outliers among the samples of a pixel.

    ``kernel`` is the function's place in `calibkit.kernels`. ``low`` and ``high`` are defaults whose
    meaning ``low_is`` and ``high_is`` say. ``minimum`` is the least number of frames that it can work on.
    """

    name: str
    title: str
    kernel: str
    low: float
    high: float
    low_is: str
    high_is: str
    iterations: int
    keep: int
    minimum: int
    source: str


_SIGMAS = ("standard deviations below", "standard deviations above")

REJECTIONS: dict[str, Rejection] = {
    entry.name: entry
    for entry in (
        Rejection("none", "nothing", "", 0, 0, "", "", 0, 1, 1, ""),
        Rejection(
            "minmax",
            "lowest and highest",
            "rejection.reject_extremes",
            1,
            1,
            "samples dropped at the low end",
            "samples dropped at the high end",
            1,
            1,
            3,
            "IRAF imcombine, minmax",
        ),
        Rejection(
            "percentile",
            "percentile of the median",
            "rejection.reject_percentile",
            0.2,
            0.1,
            "fraction of the median below",
            "fraction of the median above",
            1,
            1,
            3,
            "Siril and PixInsight, for up to 6 frames",
        ),
        Rejection(
            "sigma",
            "sigma about the median",
            "rejection.reject_sigma",
            3,
            3,
            *_SIGMAS,
            UNTIL_DONE,
            3,
            3,
            "kappa-sigma clipping as in Siril; standard deviation with divisor n − 1",
        ),
        Rejection(
            "mean_sigma",
            "sigma about the mean",
            "rejection.reject_sigma",
            3,
            3,
            *_SIGMAS,
            UNTIL_DONE,
            3,
            3,
            "textbook clipping, ccdproc's default; its reach is (n − 1)/√n: Samuelson 1968, JASA 63, 1522",
        ),
        Rejection(
            "mad",
            "MAD sigma",
            "rejection_mad.reject_mad",
            3,
            3,
            *_SIGMAS,
            1,
            3,
            3,
            "1.4826 × median absolute deviation: Hampel 1974, JASA 69, 383",
        ),
        Rejection(
            "winsorized",
            "winsorized sigma",
            "rejection_winsor.reject_winsorized",
            3,
            3,
            *_SIGMAS,
            UNTIL_DONE,
            4,
            5,
            "Huber 1981, Robust Statistics; as in PixInsight and Siril",
        ),
        Rejection(
            "linear_fit",
            "line through the sorted samples",
            "rejection_line.reject_line",
            5,
            5,
            "mean absolute residuals below the line",
            "mean absolute residuals above the line",
            UNTIL_DONE,
            4,
            5,
            "Conejero 2010 (PixInsight ImageIntegration); spread as in Siril",
        ),
        Rejection(
            "gesd",
            "generalised ESD",
            "rejection.reject_gesd",
            0.3,
            0.05,
            "largest fraction of the samples that can be outliers",
            "significance of the test",
            1,
            2,
            4,
            "Rosner 1983, Technometrics 25, 165; NIST/SEMATECH e-Handbook 1.3.5.17.3",
        ),
        Rejection(
            "noise_model",
            "noise model",
            "rejection_noise.reject_noise",
            3,
            3,
            *_SIGMAS,
            UNTIL_DONE,
            1,
            3,
            "IRAF imcombine ccdclip: gain and read noise give the standard deviation",
        ),
        Rejection(
            "averaged_sigma",
            "averaged sigma",
            "rejection_noise.reject_averaged",
            3,
            3,
            *_SIGMAS,
            UNTIL_DONE,
            1,
            3,
            "IRAF imcombine avsigclip: σ² proportional to the level along a row",
        ),
        Rejection(
            "leave_one_out",
            "leave one out",
            "rejection.reject_left_out",
            3,
            3,
            "standard deviations of the other samples below their mean",
            "standard deviations of the other samples above their mean",
            1,
            2,
            4,
            "deleted residuals: Belsley, Kuh & Welsch 1980, Regression Diagnostics",
        ),
    )
}

"""Whether a rejection can reject anything at all, and what it costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from calibkit.combining.efficiency import efficiency
from calibkit.combining.rejections import REJECTIONS, Rejection
from calibkit.errors import SettingError

#: Frames up to which `Reach.minimum` is looked for.
_MOST = 10_000


@dataclass(frozen=True)
class Reach:
    """What a rejection can do with a number of frames; true where it can reject something.

    Attributes
    ----------
    can, can_low, can_high : bool
        Whether a single stray sample, however far out, can be rejected at all; below, and above.
    largest : float
        The deviation that one sample far away from all others appears to have, in the unit of the method's
        limits; infinite where the stray sample does not spoil its own yardstick.
    minimum : int or None
        The least number of frames with which the setting can reject a sample on every side that has a
        limit; None when no number is enough.
    efficiency : float
        Variance of a plain mean over that of the clipped mean, for frames without outliers.
    false_rejection : float
        Fraction of good samples that is lost.
    message : str
        All of this in one or two sentences.
    """

    reject: str
    n: int
    low: float
    high: float
    can: bool
    can_low: bool
    can_high: bool
    largest: float
    minimum: int | None
    efficiency: float
    false_rejection: float
    message: str

    def __bool__(self) -> bool:
        return self.can

    def __str__(self) -> str:
        return self.message


def can_reject(
    reject: str, n: int, low: float | None = None, high: float | None = None, *, keep: int | None = None
) -> Reach:
    """Whether a rejection setting can reject anything with *n* frames, and what it costs.

    A clip that takes its yardstick from the samples themselves is stretched by the very outlier that it
    looks for. About a mean with a standard deviation (divisor n − 1) no sample of n can lie further out
    than (n − 1)/√n, so that 3 σ on 10 frames rejects nothing, ever. About the median a stray sample reaches √n.

    Parameters
    ----------
    reject : str
        A method of `calibkit.combining.REJECTIONS`.
    n : int
        Number of frames.
    low, high : float, optional
        Limits, in the unit of the method; its defaults when left out.
    keep : int, optional
        Samples that always stay; the method's default when left out.

    Returns
    -------
    Reach

    Raises
    ------
    SettingError
        If the method does not exist or a number makes no sense.

    References
    ----------
    Samuelson, P. A. 1968, "How deviant can you be?", J. Am. Stat. Assoc. 63, 1522.
    Efficiency and false rejection come from a simulation: see `calibkit.combining.efficiency`.

    Examples
    --------
    >>> can_reject("mean_sigma", 10, 3, 3).can
    False
    >>> round(can_reject("mean_sigma", 10, 3, 3).largest, 2)
    2.85
    >>> can_reject("mean_sigma", 10, 3, 3).minimum
    11
    """
    rejection = rejection_named(reject)
    if n < 1:
        msg = f"can_reject for n={n} frames: at least 1 frame is needed"
        raise SettingError(msg)
    low, high, keep = limits_of(rejection, low, high, keep)
    can_low, can_high = _sides(rejection, n, low, high, keep)
    wanted_low, wanted_high = _sides(rejection, _MOST, low, high, keep)
    minimum = None
    if wanted_low or wanted_high:
        minimum = next(
            (
                k
                for k in range(1, _MOST)
                if _sides(rejection, k, low, high, keep) == (wanted_low, wanted_high)
            ),
            None,
        )
    cost = efficiency(reject, n, low, high, keep=keep) if _has_cost(rejection) else None
    reach = Reach(
        reject=reject,
        n=n,
        low=low,
        high=high,
        can=can_low or can_high,
        can_low=can_low,
        can_high=can_high,
        largest=largest_deviation(rejection, n),
        minimum=minimum,
        efficiency=1.0 / cost.mean**2 if cost else math.nan,
        false_rejection=cost.false if cost else math.nan,
        message="",
    )
    object.__setattr__(reach, "message", _message(rejection, reach, keep))
    return reach


def rejection_named(reject: str) -> Rejection:
    """The rejection method of this name."""
    if reject not in REJECTIONS:
        msg = f"reject={reject!r} is not known; allowed are {', '.join(map(repr, REJECTIONS))}"
        raise SettingError(msg)
    return REJECTIONS[reject]


def limits_of(
    rejection: Rejection, low: float | None, high: float | None, keep: int | None
) -> tuple[float, float, int]:
    """The limits with defaults filled in, checked."""
    low = float(rejection.low if low is None else low)
    high = float(rejection.high if high is None else high)
    keep = int(rejection.keep if keep is None else keep)
    for side, value, meaning in (("low", low, rejection.low_is), ("high", high, rejection.high_is)):
        if not value >= 0 or (rejection.name == "minmax" and value != int(value)):
            msg = f"{side}={value:g} for reject={rejection.name!r}: it is the number of {meaning}, 0 or more"
            raise SettingError(msg)
    if rejection.name == "gesd" and not (low < 1 and 0 < high < 1):
        msg = (
            f"reject='gesd' takes low = {rejection.low_is} (0 to 1) and high = {rejection.high_is} (0 to 1); "
            f"found {low:g} and {high:g}"
        )
        raise SettingError(msg)
    if keep < 1:
        msg = f"keep={keep}: at least 1 sample has to stay"
        raise SettingError(msg)
    return low, high, keep


def largest_deviation(rejection: Rejection, n: int) -> float:
    """How far out one stray sample among *n* can appear, in the unit of the method's limits."""
    if rejection.name == "none" or n < 2:
        return 0.0
    match rejection.name:
        case "sigma":
            return math.sqrt(n) if n > 2 else math.sqrt(0.5)
        case "mean_sigma":
            return (n - 1) / math.sqrt(n)
        case "linear_fit":
            # residuals of (0, …, 0, 1) from its least-squares line
            middle = 0.5 * (n - 1)
            slope = middle / (n * (n * n - 1) / 12)
            height = 1 / n - slope * middle
            residuals = [abs(height + slope * j) for j in range(n - 1)]
            last = 1 - height - slope * (n - 1)
            return last / ((sum(residuals) + last) / n) if n > 2 else 0.0
    return math.inf if n >= 3 else 0.0


def _sides(rejection: Rejection, n: int, low: float, high: float, keep: int) -> tuple[bool, bool]:
    """Whether a stray sample can be rejected below, and above."""
    if rejection.name == "none" or n <= keep or n < 3:
        return False, False
    if rejection.name == "minmax":
        return (low > 0, high > 0) if n - keep >= 2 or low + high <= n - keep else (False, False)
    if rejection.name == "gesd":
        enough = int(low * n + 1e-9) >= 1
        return enough, enough
    largest = largest_deviation(rejection, n)
    return low < largest, high < largest


def _has_cost(rejection: Rejection) -> bool:
    return rejection.name != "percentile"  # its limits are fractions of a level that is not known here


def _message(rejection: Rejection, reach: Reach, keep: int) -> str:
    if rejection.name == "none":
        return "Nothing is rejected."
    setting = f"{rejection.title} {reach.low:g}/{reach.high:g} on {reach.n} frames"
    if not reach.can:
        why = f"always keeps {keep}" if reach.n <= keep else _why_not(rejection, reach)
        more = f"; it takes {reach.minimum} frames" if reach.minimum else ""
        return f"{setting} cannot reject a stray sample, however far out: it {why}{more}."
    text = f"{setting} can reject"
    if reach.can_low != reach.can_high:
        side = "low" if reach.can_low else "high"
        text += f" {side} samples only"
    elif math.isfinite(reach.largest):
        text += f" (a stray sample can reach {reach.largest:.2f})"
    if math.isfinite(reach.efficiency):
        text += (
            f"; of good samples it loses {100 * reach.false_rejection:.2g} %, and the noise of the mean grows by "
            f"{100 * (reach.efficiency**-0.5 - 1):.1f} %"
        )
    return text + "."


def _why_not(rejection: Rejection, reach: Reach) -> str:
    if reach.largest > 0 and math.isfinite(reach.largest):
        return f"measures in a unit that the stray sample stretches, so that this is never beyond {reach.largest:.2f}"
    if rejection.name == "gesd":
        return f"may call {reach.low:g} of the samples outliers, which is less than one"
    return "needs at least 3 samples to tell which one is astray"

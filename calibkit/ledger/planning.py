"""`plan_exposures`: a given night split into frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from calibkit.errors import SettingError

if TYPE_CHECKING:
    import pandas as pd

#: Exposures in s that are tried unless some are given.
_USUAL = (
    *(0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 8, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 450, 600, 900),
    *(1200, 1800, 2700, 3600),
)
#: An exposure is as good as the best if its noise is higher by less than this.
_AS_GOOD = 0.02
_NO_LIMIT = math.inf


@dataclass(frozen=True)
class ExposurePlan:
    """Splits of a night into frames, made by `plan_exposures`.

    Attributes
    ----------
    table : pandas.DataFrame
        One row for each exposure: ``exposure`` (s), ``frames``, ``integration`` (s that the shutter is open in all),
        ``readout`` (relative, what readout adds to the noise of sky and dark current), ``sigma`` (noise of the
        mean of all frames, e⁻/s per pixel), ``loss`` (relative to the best row), ``saturates``, ``darks`` and
        ``flats`` (frames with which their masters together add no more than was asked).
    readout_limit : float
        Exposure in s from which on readout adds less than *readout_share* to the noise; infinite without any sky and
        dark current.
    saturation_limit : float
        Exposure in s at which the brightest wanted level is reached; infinite where no full well is given.
    best : float
        Exposure in s with the least noise that does not saturate.
    recommended : float
        The shortest exposure whose noise is within 2 % of the best: it loses least to a passing cloud.
    settings : dict
        What was asked.
    """

    table: pd.DataFrame
    readout_limit: float
    saturation_limit: float
    best: float
    recommended: float
    settings: dict[str, float | bool | None]

    def row(self, exposure: float) -> pd.Series:
        """The row of the table with this exposure.

        Raises
        ------
        SettingError
            It is not in the table.
        """
        found = self.table[np.isclose(self.table["exposure"], exposure)]
        if found.empty:
            listed = ", ".join(f"{t:g}" for t in self.table["exposure"])
            msg = f"exposure={exposure!r} s is not in this plan; allowed are {listed}"
            raise SettingError(msg)
        return found.iloc[0]

    def summary(self) -> list[str]:
        """The plan in a few sentences."""
        asked, row = self.settings, self.row(self.recommended)
        share = 100 * float(asked["readout_share"])
        light, night = row["integration"] / 3600, float(asked["time"]) / 3600
        what = f"Take {row['frames']:.0f} frames of {self.recommended:g} s: {light:.2f} h of light in {night:.2f} h"
        noise = (
            f"noise {row['sigma']:.3g} e⁻/s per pixel, {100 * row['loss']:.1f} % above that of the best split"
        )
        lines = [f"{what}, {noise} ({self.best:g} s)."]
        if math.isfinite(self.readout_limit):
            lines.append(
                f"Readout adds less than {share:g} % to the noise from {float(f'{self.readout_limit:.3g}'):g} s on; at "
                f"{self.recommended:g} s it is {100 * row['readout']:.1f} %."
            )
        else:
            lines.append(
                "Without sky and dark current readout is all the noise there is: expose as long as you can."
            )
        if math.isfinite(self.saturation_limit):
            lines.append(
                f"The brightest wanted level saturates at {float(f'{self.saturation_limit:.3g}'):g} s."
            )
        masters = f"{row['darks']:.0f} darks of {self.recommended:g} s"
        if np.isfinite(row["flats"]):
            masters += f" and {row['flats']:.0f} flats"
        why = (
            "dithered, so that their noise averages down with the lights"
            if asked["dithered"]
            else "not dithered: their noise is the same in every light, hence so many; dither to need fewer"
        )
        lines.append(
            f"{masters} together add less than {100 * float(asked['master_share']):g} % to the noise ({why})."
        )
        return lines

    def __str__(self) -> str:
        return "\n".join([self._shown().to_string(index=False), *self.summary()])

    def _repr_html_(self) -> str:
        from html import escape

        sentences = "".join(f"<p>{escape(line)}</p>" for line in self.summary())
        return f"<div class='calibkit-plan'>{sentences}{self._shown().to_html(index=False)}</div>"

    def _shown(self) -> pd.DataFrame:
        import pandas as pd

        table = self.table
        return pd.DataFrame(
            {
                "exposure (s)": [f"{t:g}" for t in table["exposure"]],
                "frames": table["frames"],
                "light (h)": [f"{t / 3600:.2f}" for t in table["integration"]],
                "readout adds": [f"{100 * r:.1f} %" if math.isfinite(r) else "all" for r in table["readout"]],
                "noise (e⁻/s)": [f"{s:.4g}" for s in table["sigma"]],
                "above best": [f"{100 * loss:.1f} %" for loss in table["loss"]],
                "saturates": ["yes" if s else "" for s in table["saturates"]],
                "darks": [_count(n) for n in table["darks"]],
                "flats": [_count(n) for n in table["flats"]],
            }
        )


def plan_exposures(
    time: float,
    *,
    sky: float,
    read_noise: float,
    dark_current: float = 0.0,
    signal: float = 0.0,
    overhead: float = 0.0,
    exposures: Sequence[float] | None = None,
    full_well: float | None = None,
    brightest: float = 0.0,
    flat_level: float | None = None,
    darks: int | None = None,
    flats: int | None = None,
    dithered: bool = False,
    readout_share: float = 0.05,
    master_share: float = 0.05,
) -> ExposurePlan:
    """Which split of a night into exposures × frames is best.

    Parameters
    ----------
    time : float
        Seconds of the night in all.
    sky : float
        Electrons per second and pixel of the sky; with `read_noise`, `dark_current` and `full_well` it comes from a
        ledger: ``plan_exposures(4 * 3600, **ledger.rates("G1"))``.
    read_noise : float
        Electrons.
    dark_current : float
        Electrons per second and pixel.
    signal : float
        Electrons per second and pixel of the object itself; 0 for one that is faint against the sky.
    overhead : float
        Seconds between the end of an exposure and the start of the next one: readout, download, dither.
    exposures : sequence of float, optional
        Seconds that come into question; the usual ones from 0.1 s to an hour by default.
    full_well : float, optional
        Electrons above the offset at which a pixel, or the converter, is saturated.
    brightest : float
        Electrons per second in the brightest pixel that is not to be saturated.
    flat_level : float, optional
        Electrons in a pixel of one flat; without it flats are not planned.
    darks, flats : int, optional
        Frames that the masters are made of. Without a number the master counts as free of noise, and the table
        says how many frames it takes.
    dithered : bool
        Whether the sky lies on other pixels in every frame; only then the masters' noise averages down.
    readout_share : float
        Relative increase of the noise by readout that is thought negligible.
    master_share : float
        Relative increase of the noise by both masters together that is thought negligible.

    Returns
    -------
    ExposurePlan

    Raises
    ------
    SettingError
        A number that is not possible, or the brightest level saturates at every exposure.

    Notes
    -----
    For N frames of t seconds the mean, in electrons per second, has the variance [1]_

    .. math:: \\frac{(S + D + O) t + R^2}{N t^2}
              + \\frac{1}{n t^2} \\left(\\frac{R^2 + D t}{n_D} + \\frac{((S + O) t)^2}{n_F F}\\right)

    with sky S, dark current D, object O, readout noise R, electrons F in each of the n_F flats, n_D darks of the same
    exposure, and n = N when dithered and 1 otherwise. Bias frames cancel when darks have the lights' exposure.
    Readout adds less than the share x to the noise of sky and dark current from

    .. math:: t = \\frac{R^2}{((1 + x)^2 - 1) (S + D)}

    on: ten times R² over the rate for 5 %.

    References
    ----------
    .. [1] Howell, S. B. 2006, Handbook of CCD Astronomy, 2nd ed., Cambridge University Press, section 4.4.

    Examples
    --------
    >>> plan = plan_exposures(4 * 3600, sky=1.0, read_noise=5.0, overhead=10, dithered=True)
    >>> round(plan.readout_limit), plan.recommended
    (244, 450.0)
    """
    import pandas as pd

    _check(
        time=(time, False), sky=(sky, True), read_noise=(read_noise, True), dark_current=(dark_current, True),
        signal=(signal, True), overhead=(overhead, True), brightest=(brightest, True),
        readout_share=(readout_share, False), master_share=(master_share, False),
    )  # fmt: skip
    for name, value in (
        ("full_well", full_well),
        ("flat_level", flat_level),
        ("darks", darks),
        ("flats", flats),
    ):
        if value is not None:
            _check(**{name: (value, False)})
    if flats is not None and flat_level is None:
        msg = f"flats={flats}, but how noisy they are is not known; give flat_level= (electrons in a pixel of one flat)"
        raise SettingError(msg)
    t = _exposures(exposures, time, overhead)
    frames = np.maximum(1, np.floor(time / (t + overhead) + 1e-9))
    rate = sky + dark_current
    new = (rate + signal) * t + read_noise**2
    shared = np.ones_like(frames) if dithered else frames  # variance of a mean of N frames, over 1/N
    dark_noise = read_noise**2 + dark_current * t
    flat_noise = (
        ((sky + signal) * t) ** 2 / flat_level if flat_level is not None else np.full(t.shape, math.nan)
    )
    total = new / frames
    if darks is not None:
        total = total + shared / frames * dark_noise / darks
    if flats is not None:
        total = total + shared / frames * flat_noise / flats
    sigma = np.sqrt(total) / t
    allowed = ((1 + master_share) ** 2 - 1) / 2 * new
    with np.errstate(divide="ignore", invalid="ignore"):
        readout = np.sqrt(1 + read_noise**2 / (rate * t)) - 1 if rate else np.full(t.shape, math.inf)
        needed = {
            "darks": np.where(dark_noise > 0, np.ceil(dark_noise * shared / allowed), 0.0),
            "flats": np.where(flat_noise > 0, np.ceil(flat_noise * shared / allowed), flat_noise),
        }
    limit = _saturation_limit(full_well, rate + brightest)
    saturates = t >= limit
    if saturates.all():
        msg = (
            f"the brightest level ({brightest:g} e⁻/s above the sky) saturates at {limit:.3g} s, before the shortest "
            f"exposure of {t.min():g} s; give shorter exposures=, or let it saturate with a smaller brightest="
        )
        raise SettingError(msg)
    usable = np.where(saturates, math.inf, sigma)
    best = int(usable.argmin())
    loss = sigma / sigma[best] - 1
    good = ~saturates & (loss <= _AS_GOOD)
    table = pd.DataFrame(
        {
            "exposure": t,
            "frames": frames.astype(int),
            "integration": frames * t,
            "readout": readout,
            "sigma": sigma,
            "loss": loss,
            "saturates": saturates,
            **needed,
        }
    )
    return ExposurePlan(
        table=table,
        readout_limit=read_noise**2 / (((1 + readout_share) ** 2 - 1) * rate) if rate else _NO_LIMIT,
        saturation_limit=limit,
        best=float(t[best]),
        recommended=float(t[good].min()),
        settings={
            "time": time,
            "overhead": overhead,
            "dithered": dithered,
            "readout_share": readout_share,
            "master_share": master_share,
        },
    )


def _exposures(given: Sequence[float] | None, time: float, overhead: float) -> np.ndarray:
    t = np.array(_USUAL if given is None else sorted(given), dtype=np.float64)
    if not t.size or not (np.isfinite(t) & (t > 0)).all():
        msg = f"exposures={given!r}: some numbers of seconds above 0 are wanted"
        raise SettingError(msg)
    fitting = t[t + overhead <= time * (1 + 1e-9)]
    if not fitting.size:
        msg = f"no frame fits into time={time:g} s: the shortest exposure of {t.min():g} s takes {t.min() + overhead:g} s"
        raise SettingError(msg)
    return fitting


def _saturation_limit(full_well: float | None, rate: float) -> float:
    return full_well / rate if full_well is not None and rate > 0 else _NO_LIMIT


def _check(**numbers: tuple[float, bool]) -> None:
    """Refuse what is no finite number above 0, or of at least 0 where the flag says so."""
    for name, (value, zero) in numbers.items():
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not (number and math.isfinite(value) and (value > 0 or (zero and value == 0))):
            msg = f"{name}={value!r}: a number {'of 0 or more' if zero else 'above 0'} is wanted"
            raise SettingError(msg)


def _count(frames: float) -> str:
    return f"{frames:.0f}" if math.isfinite(frames) else ""

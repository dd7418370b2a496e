"""`lamp_colour`: what each colour channel sees of a flat's source of light, and the exposure that each needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibkit.colour.flat_light import Seen, of_frames, of_master
from calibkit.errors import SettingError

#: A lamp whose channels lie within this factor does for all of them with one exposure. Daylight on most sensors does.
_EVEN = 3.0
#: From this factor on no common exposure does, as behind a narrowband filter.
_LOPSIDED = 6.0
#: The brightest pixels of a flat stay below this share of saturation.
_PEAK_LIMIT = 0.9
#: A channel of whose pixels more than this share is saturated has no level that could be trusted.
_SATURATED = 0.01
#: A channel in which the noise of a pixel is larger than its level has no light.
_EMPTY = 1.0


@dataclass(frozen=True)
class LampColour:
    """What `lamp_colour` found.

    Attributes
    ----------
    table : xarray.Dataset
        Along ``channel``: ``level`` (ADU above the offset), ``ratio`` (brightest channel = 1), ``fill`` (level over
        what a pixel holds), ``saturated`` (share of the pixels), ``exposure`` (seconds that bring this channel to the
        wanted level) and ``factor`` (the same as a multiple of this exposure), ``noise`` (relative, of one pixel of
        one frame), ``flat_noise`` (of the master of all the frames given), ``fill_common``, ``noise_common`` and
        ``frames_common``: the same at the common exposure, and the frames that it takes to reach the wanted noise.
    exposure, factor : float
        The longest exposure, in seconds and as a multiple of this one, that saturates no channel; NaN where it is not
        known.
    frames : int
        Flats that were looked at.
    filter : str
        In front of the camera.
    noise_goal : float
        Relative noise that is wanted of the flat.
    verdict : str
        One of "even", "uneven", "lopsided", "saturated", "no light".
    advice : str
        What to do, in words.
    """

    table: xr.Dataset
    exposure: float
    factor: float
    frames: int
    filter: str
    noise_goal: float
    verdict: str
    advice: str

    @property
    def ratios(self) -> dict[str, float]:
        """Channel → level over that of the brightest channel."""
        return {
            str(c): float(v) for c, v in zip(self.table.channel.values, self.table.ratio.values, strict=True)
        }

    def __str__(self) -> str:
        lines = []
        for name in self.table.channel.values:
            row = self.table.sel(channel=name)
            exposure = f", wants {float(row.exposure):.3g} s" if np.isfinite(row.exposure) else ""
            lines.append(
                f"{name}: {float(row.level):.4g} ADU, ratio {float(row.ratio):.3f}, adds {100 * float(row.flat_noise):.2g} % "
                f"of noise{exposure}"
            )
        return "\n".join([*lines, f"{self.verdict}: {self.advice}"])


def lamp_colour(
    flat: xr.DataArray | xr.Dataset,
    *,
    bias: xr.Dataset | None = None,
    dark: xr.Dataset | None = None,
    saturation: float | None = None,
    wanted: float = 0.5,
    noise_goal: float = 0.003,
) -> LampColour:
    """Measure the colour of a flat's source of light as the sensor sees it, and what to expose.

    Parameters
    ----------
    flat : xarray.DataArray or xarray.Dataset
        Raw flats ``(frame, y, x)`` or a single test shot ``(y, x)``, ADU; or a master from `master_flat`.
    bias, dark : xarray.Dataset, optional
        Masters whose level is the offset of raw flats: a flat dark with its bias in it, a bias, or both. By default the
        black level or pedestal that the frames state.
    saturation : float, optional
        Level in ADU at which raw pixels are full; by default what the frames say. A master does not hold it any more:
        give it above the offset there.
    wanted : float
        Level of the median pixel over saturation that a flat should have.
    noise_goal : float
        Relative noise of a pixel that is wanted of the combined flat; 0.003 is that of ten flats with 10 000 electrons.

    Returns
    -------
    LampColour

    Raises
    ------
    SettingError
        A setting that cannot work, a master that does not say its levels, or something that is no flat.
    MismatchError
        A bias or dark that does not belong to the flats.

    Warns
    -----
    CalibkitWarning
        The offset of raw flats is not known and taken for 0.

    Notes
    -----
    Levels grow in proportion to the exposure. The common exposure brings the brightest channel to *wanted*, and the
    brightest pixels (99.9 %) to at most 90 % of saturation; pulsed lamps want exposures of many of their periods.

    The noise of one frame is measured: from differences of two frames, or for a single one from gain and read noise,
    or where these are not known from neighbouring pixels, whose response differs besides. Towards another level its
    photon part grows with the root of the level; it is level/gain where the gain is known, else all of it.

    Within a factor of 3 between the channels one exposure serves all; up to 6 the weak ones want more frames or
    their own set of flats; beyond, as behind a narrowband filter, they hold nothing that is worth a flat
    (`channel_worth`).

    Examples
    --------
    >>> from calibkit.simulate import Camera, Lamp, simulate_stack
    >>> camera = Camera(shape=(64, 64), pattern="RGGB", offset=100)
    >>> flats = simulate_stack(camera, 4, kind="flat", exposure=1.0, lamp=Lamp(spectrum="rgb led"))
    >>> found = lamp_colour(flats.assign_attrs(pedestal=100.0))
    >>> found.verdict, round(found.ratios["B"], 1)
    ('even', 0.6)
    """
    for name, value, high in (("wanted", wanted, _PEAK_LIMIT), ("noise_goal", noise_goal, 1.0)):
        if not 0 < value <= high:
            msg = f"lamp_colour: {name}={value!r}; a number above 0 and up to {high:g} is wanted"
            raise SettingError(msg)
    if saturation is not None and not (math.isfinite(saturation) and saturation > 0):
        msg = f"lamp_colour: saturation={saturation!r}; a number of ADU above 0 is wanted"
        raise SettingError(msg)
    if isinstance(flat, xr.Dataset):
        if bias is not None or dark is not None:
            msg = "lamp_colour: a master flat has its offset taken out already; leave bias= and dark= out"
            raise SettingError(msg)
        seen = of_master(flat, saturation)
    else:
        seen = of_frames(flat, bias, dark, saturation)
    return _judged(seen, wanted, noise_goal)


def _judged(seen: Seen, wanted: float, noise_goal: float) -> LampColour:
    relative = np.divide(seen.noise, seen.level, out=np.full(seen.level.shape, np.inf), where=seen.level > 0)
    relative = np.where(
        np.isfinite(relative), relative, np.inf
    )  # a master has no noise where it has no light
    lit = relative / math.sqrt(seen.frames) <= _EMPTY
    level, peak = np.where(lit, seen.level, math.nan), np.where(lit, seen.peak, math.nan)
    factor = wanted * seen.full / level
    limit = np.fmin(factor, _PEAK_LIMIT * seen.full / peak)[lit]
    common = float(np.min(limit)) if limit.size else math.nan
    fixed = np.maximum(seen.noise**2 - seen.photons, 0.0)
    noise_then = np.sqrt(fixed + seen.photons * common) / (level * common)
    count = np.ceil((noise_then / noise_goal) ** 2)
    columns = {
        "level": (seen.level, "adu"),
        "ratio": (np.where(lit, level / np.max(level[lit], initial=0.0), 0.0), "1"),
        "fill": (seen.level / seen.full, "1"),
        "saturated": (seen.saturated, "1"),
        "exposure": (seen.exposure * factor, "s"),
        "factor": (factor, "1"),
        "noise": (relative, "1"),
        "flat_noise": (relative / math.sqrt(seen.frames), "1"),
        "fill_common": (level * common / seen.full, "1"),
        "noise_common": (noise_then, "1"),
        "frames_common": (count, "1"),
    }
    table = xr.Dataset(
        {
            name: ("channel", values.astype(np.float64), {"units": unit})
            for name, (values, unit) in columns.items()
        },
        coords={"channel": list(seen.channels)},
    )
    verdict, advice = _verdict(seen, table, lit, common, noise_goal)
    return LampColour(
        table, seen.exposure * common, common, seen.frames, seen.filter, noise_goal, verdict, advice
    )


def _verdict(
    seen: Seen, table: xr.Dataset, lit: np.ndarray, common: float, noise_goal: float
) -> tuple[str, str]:
    names = np.array(seen.channels)
    if not lit.any():
        return (
            "no light",
            "no channel shows light above its noise; is the lamp on, and does the bias belong to these?",
        )
    when = _when(seen.exposure, common)
    over = seen.saturated > _SATURATED
    if over.any():
        worst = ", ".join(
            f"{n} {100 * s:.0f} %" for n, s in zip(names[over], seen.saturated[over], strict=True)
        )
        least = "half of this exposure or less" if not common < 0.5 else f"{when} or less"
        return "saturated", (
            f"pixels at saturation in {worst}, whose levels are lower limits: expose for {least}, and measure again"
        )
    spread = float(seen.level[lit].max() / seen.level[lit].min())
    strong = names[lit][int(np.argmax(seen.level[lit]))]
    weak = names[lit][int(np.argmin(seen.level[lit]))]
    dark = (
        ""
        if lit.all()
        else f"; no light in {', '.join(names[~lit])}, which hold nothing to correct: discard them"
    )
    many = ""
    if math.isfinite(common):
        frames = table["frames_common"].sel(channel=weak).item()
        many = (
            f" ({when}: {weak} at {100 * table['fill_common'].sel(channel=weak).item():.2g} % of saturation, "
            f"{frames:.0f} flats for {100 * noise_goal:.2g} % of noise)"
        )
    elif not np.isfinite(seen.full).any():
        many = " (give saturation= for exposures)"
    if spread <= _EVEN:
        return "even", f"one exposure does for all channels{' with light' if dark else ''}{many}{dark}"
    what = f"{strong} gets {spread:.3g} times the light of {weak}"
    if spread <= _LOPSIDED:
        return "uneven", f"{what}: change the lamp's colour, or take more flats{many}{dark}"
    return "lopsided", (
        f"{what}: no common exposure does{many}. Behind a narrowband filter discard the weak channels "
        f"(calibkit.channel_worth says what they are worth); otherwise change the lamp's colour{dark}"
    )


def _when(exposure: float, common: float) -> str:
    if not math.isfinite(common):
        return "a shorter exposure"
    return f"{exposure * common:.3g} s" if math.isfinite(exposure) else f"{common:.3g} times this exposure"

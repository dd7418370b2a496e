"""Brightness scaling of a result: values between 0 and 1 to look at, and never a background that was cut off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from calibkit.background import CLIPPING_LIMIT, background_of, planes_of_picture
from calibkit.brightness.hyperbolic import factor_for, hyperbolic_curve
from calibkit.display.images import Image, open_image
from calibkit.display.stretch import BACKGROUND, CURVES, Levels, auto_levels, midtone_for, stretch
from calibkit.errors import SettingError
from calibkit.memory import band_rows
from calibkit.statistics import sample_pixels

PictureCurve = Literal["linear", "asinh", "mtf", "ghs"]
PICTURE_CURVES: tuple[PictureCurve, ...] = (*CURVES, "ghs")
Level = float | Mapping[str, float] | None


@dataclass(frozen=True)
class Hyperbola:
    """Parameters of `hyperbolic_curve`."""

    factor: float
    intensity: float
    symmetry: float
    protect: tuple[float, float]


@dataclass(frozen=True)
class Scaling:
    """How one channel becomes brightness.

    Attributes
    ----------
    curve : {"linear", "asinh", "mtf", "ghs"}
    levels : Levels
    hyperbola : Hyperbola or None
        Of "ghs".
    """

    curve: PictureCurve
    levels: Levels
    hyperbola: Hyperbola | None = None

    def shades(self, values: np.ndarray) -> np.ndarray:
        """Brightness 0 … 1 of *values*, NaN where they are."""
        if self.hyperbola is None:
            return stretch(values, *self.levels, curve=self.curve)
        return hyperbolic_curve(stretch(values, *self.levels), **asdict(self.hyperbola))

    def facts(self) -> dict[str, Any]:
        """Plain numbers, for the record."""
        black, white, midtone = (float(level) for level in self.levels)
        if self.hyperbola is not None:
            return {"black": black, "white": white, **asdict(self.hyperbola)}
        return {"black": black, "white": white} | ({} if self.curve == "linear" else {"midtone": midtone})


def stretch_picture(
    image: Image,
    *,
    curve: PictureCurve = "mtf",
    black: Level = None,
    white: Level = None,
    midtone: float | None = None,
    brightness: float = BACKGROUND,
    linked: bool = True,
    factor: float | None = None,
    intensity: float = 0.0,
    symmetry: float | None = None,
    protect: tuple[float, float] = (0.0, 1.0),
    allow_clipping: bool = False,
) -> xr.DataArray:
    """Scale the brightness of a result for the eye; the data stay as they are.

    Parameters
    ----------
    image : xarray.DataArray, xarray.Dataset, numpy.ndarray or path
        Dims (y, x) or (channel, y, x), lazy or not; of a Dataset its ``signal``, and flagged pixels do not count
        where levels are found.
    curve : {"linear", "asinh", "mtf", "ghs"}
        A straight line, inverse hyperbolic sine, midtones transfer function (the screen stretch of image
        processing programs), or generalised hyperbolic stretch.
    black, white : float or mapping of channel to float, optional
        The values shown black and white, in the unit of *image*. By default black is 2.8 σ below the median,
        lower where that would clip the background, and white the 99.98th percentile.
    midtone : float, optional
        Fraction between black and white shown at half brightness, for "asinh" and "mtf". By default such
        that the background gets *brightness*.
    brightness : float
        How bright the background becomes, between 0 and 1, where the curve is found automatically.
    linked : bool
        One scaling for all channels, which keeps their colours; otherwise each its own, which makes the
        background grey.
    factor, intensity, symmetry, protect : float, float, float, (float, float)
        Of "ghs", see `hyperbolic_curve`: D, b, SP and (LP, HP). By default SP is the median's place between black
        and white, and D brings it to *brightness*.
    allow_clipping : bool
        Make the picture although its background clips.

    Returns
    -------
    xarray.DataArray
        float32 between 0 and 1, with the dims and coordinates of *image*, NaN where it has none; lazy if it is.
        ``attrs["scaling"]``: per channel black, white and the parameters of the curve. ``attrs["clipped"]``: per
        channel the fraction of the ``background``'s pixels and of all pixels shown entirely ``black`` or
        ``white``, from a sample of a million.

    Raises
    ------
    SettingError
        More than 1 % of the background's pixels of a channel would be black, unless *allow_clipping*: the
        message says how many, and what black point is allowed. Or a setting that cannot be or has no effect.

    Notes
    -----
    The background cannot turn black: its noise lies on both sides of the sky's level and holds what is fainter than
    the noise of a pixel. Once cut off, no later averaging brings that back. The background is what remains of the
    sample when values 3 robust standard deviations above the median are left out until no more are found.

    References
    ----------
    asinh: Lupton et al. 2004, PASP 116, 133. ghs: Payne and Cranfield 2021, https://ghsastro.co.uk

    Examples
    --------
    >>> import numpy as np
    >>> sky = np.random.default_rng(1).normal(500.0, 10.0, (200, 300))
    >>> sky[40:50, 60:70] += 4000.0
    >>> shown = stretch_picture(sky)
    >>> round(float(shown.median()), 2), shown.attrs["clipped"]["L"]["background"] < 0.01
    (0.25, True)
    >>> stretch_picture(sky, black=495.0)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    calibkit.errors.SettingError: black=495 cuts off ... % of the background's pixels, ...
    """
    image = _opened(image)
    sampled = Sampled(image)
    scalings = sampled.scalings(
        curve=curve,
        black=black,
        white=white,
        midtone=midtone,
        brightness=brightness,
        linked=linked,
        factor=factor,
        intensity=intensity,
        symmetry=symmetry,
        protect=protect,
    )
    if not allow_clipping:
        sampled.refuse_clipping(scalings)
    return _picture(image, scalings, sampled.clipped(scalings))


class Sampled:
    """Pixels of a picture from which its scaling is found, kept so that it can be found again and again.

    Parameters
    ----------
    image : xarray.DataArray or xarray.Dataset
        Dims (y, x) or (channel, y, x).

    Attributes
    ----------
    samples : dict
        Channel → values without flags, float64; ``"L"`` where there is one channel only.
    backgrounds : dict
        Channel → `Background`.

    Raises
    ------
    SettingError
        It is not one picture, or has no good pixel.
    """

    def __init__(self, image: xr.DataArray | xr.Dataset) -> None:
        self.samples = {name: sample_pixels(plane) for name, plane in planes_of_picture(image).items()}
        if not any(sample.size for sample in self.samples.values()):
            msg = "this picture has no finite pixel without a flag: there is nothing to scale"
            raise SettingError(msg)
        self.backgrounds = {name: background_of(sample) for name, sample in self.samples.items()}

    def scalings(
        self,
        *,
        curve: PictureCurve = "mtf",
        black: Level = None,
        white: Level = None,
        midtone: float | None = None,
        brightness: float = BACKGROUND,
        linked: bool = True,
        factor: float | None = None,
        intensity: float = 0.0,
        symmetry: float | None = None,
        protect: tuple[float, float] = (0.0, 1.0),
    ) -> dict[str, Scaling]:
        """The scaling of every channel; see `stretch_picture`."""
        _check_curve(curve, midtone, factor, intensity, symmetry, protect, brightness)
        if linked:
            whole = np.concatenate(list(self.samples.values()))
            deepest = float(np.nanmin([background.lowest_black for background in self.backgrounds.values()]))
        return {
            name: _scaling(
                whole if linked else sample,
                deepest if linked else self.backgrounds[name].lowest_black,
                curve,
                (_of_channel(black, name, "black"), _of_channel(white, name, "white")),
                midtone=midtone,
                brightness=brightness,
                factor=factor,
                intensity=intensity,
                symmetry=symmetry,
                protect=protect,
            )
            for name, sample in self.samples.items()
        }

    def clipped(self, scalings: Mapping[str, Scaling]) -> dict[str, dict[str, float]]:
        """Per channel the fraction of the ``background`` cut off, and of all pixels shown ``black`` and ``white``."""
        found = {}
        for name, sample in self.samples.items():
            black, white, _ = scalings[name].levels
            found[name] = {
                "background": self.backgrounds[name].clipped(black),
                "black": float(np.mean(sample <= black)) if sample.size else 0.0,
                "white": float(np.mean(sample >= white)) if sample.size else 0.0,
            }
        return found

    def refuse_clipping(self, scalings: Mapping[str, Scaling]) -> None:
        """Raise SettingError where more than `CLIPPING_LIMIT` of a channel's background is cut off."""
        for name, scaling in scalings.items():
            background, black = self.backgrounds[name], scaling.levels.black
            part = background.clipped(black)
            if part > CLIPPING_LIMIT:
                of = "" if name == "L" else f" in {name}"
                percent = f"{100 * part:.0f}" if part >= 0.1 else f"{100 * part:.2g}"
                msg = (
                    f"black={black:.6g} cuts off {percent} % of the background's pixels{of}, which lies at "
                    f"{background.level:.6g} ± {background.sigma:.3g}: the background cannot turn black, there is "
                    f"information in it. Allowed is black={background.lowest_black:.6g} or less (at most "
                    f"{100 * CLIPPING_LIMIT:g} % cut off); pass allow_clipping=True to insist"
                )
                raise SettingError(msg)


def _opened(image: Image) -> xr.DataArray | xr.Dataset:
    if isinstance(image, xr.DataArray | xr.Dataset):
        return image
    if isinstance(image, np.ndarray):
        if image.ndim != 2:
            msg = f"a bare array is one plane (y, x); this one has the shape {image.shape}: pass a DataArray with named dims"
            raise SettingError(msg)
        return xr.DataArray(image, dims=("y", "x"))
    return open_image(image)


def _check_curve(
    curve: str,
    midtone: float | None,
    factor: float | None,
    intensity: float,
    symmetry: float | None,
    protect: tuple[float, float],
    brightness: float,
) -> None:
    if curve not in PICTURE_CURVES:
        msg = f"curve={curve!r}: allowed are {', '.join(map(repr, PICTURE_CURVES))}"
        raise SettingError(msg)
    if midtone is not None and curve not in ("asinh", "mtf"):
        msg = f"midtone has no effect on curve={curve!r}; it belongs to 'asinh' and 'mtf'"
        raise SettingError(msg)
    if curve != "ghs" and (
        factor is not None or symmetry is not None or intensity or tuple(protect) != (0.0, 1.0)
    ):
        msg = (
            f"factor, intensity, symmetry and protect have no effect on curve={curve!r}; they belong to 'ghs'"
        )
        raise SettingError(msg)
    if not 0.0 < brightness < 1.0:
        msg = (
            f"brightness={brightness:g}: how bright the background becomes is above 0 and below 1, e.g. 0.25"
        )
        raise SettingError(msg)


def _of_channel(level: Level, channel: str, what: str) -> float | None:
    if not isinstance(level, Mapping):
        return level
    if channel not in level:
        msg = f"{what} for channel {channel} is missing; given are {dict(level)}"
        raise SettingError(msg)
    return float(level[channel])


def _scaling(
    sample: np.ndarray,
    lowest_black: float,
    curve: PictureCurve,
    given: tuple[float | None, float | None],
    *,
    midtone: float | None,
    brightness: float,
    factor: float | None,
    intensity: float,
    symmetry: float | None,
    protect: tuple[float, float],
) -> Scaling:
    auto = auto_levels(sample, curve="mtf" if curve == "ghs" else curve, brightness=brightness)
    black = np.fmin(auto.black, lowest_black) if given[0] is None else given[0]
    white = auto.white if given[1] is None else given[1]
    levels = Levels(float(black), float(white))
    # White above black is checked where the values are scaled; here it is needed for the place of the median.
    middle = float(stretch(np.median(sample) if sample.size else levels.black, *levels))
    if curve == "ghs":
        point = float(np.clip(middle, *protect)) if symmetry is None else symmetry
        options = {
            "intensity": intensity,
            "symmetry": point,
            "protect": (float(protect[0]), float(protect[1])),
        }
        strength = factor_for(middle, brightness, **options) if factor is None else factor
        hyperbolic_curve(0.0, strength, **options)
        return Scaling(curve, levels, Hyperbola(float(strength), **options))
    if midtone is None:
        midtone = midtone_for(middle, curve, brightness)
    stretch(levels.black, *levels[:2], midtone, curve=curve)
    return Scaling(curve, Levels(levels.black, levels.white, float(midtone)))


def _picture(
    image: xr.DataArray | xr.Dataset,
    scalings: Mapping[str, Scaling],
    clipped: Mapping[str, dict[str, float]],
) -> xr.DataArray:
    shown = []
    for name, plane in planes_of_picture(image).items():
        signal = plane["signal"] if isinstance(plane, xr.Dataset) else plane
        signal = signal.transpose("y", "x").reset_coords(drop=True)
        work = scalings[name].shades
        if signal.chunks is None:
            data = _by_bands(signal.values, work)
        else:
            data = signal.data.map_blocks(lambda block, work=work: _by_bands(block, work), dtype=np.float32)
        shown.append(signal.copy(data=data))
    if "channel" in image.dims:
        out = xr.concat(shown, xr.Variable("channel", list(scalings)), join="exact")
    else:
        out = shown[0]
    first = next(iter(scalings.values()))
    step = {"step": "scale brightness", "curve": first.curve}
    out.attrs = {
        "units": "1",
        **{name: image.attrs[name] for name in ("roworder", "filter") if name in image.attrs},
        "curve": first.curve,
        "scaling": {name: scaling.facts() for name, scaling in scalings.items()},
        "clipped": dict(clipped),
        "provenance": [*image.attrs.get("provenance", []), step],
    }
    return out.rename("picture")


def _by_bands(values: np.ndarray, work: Any) -> np.ndarray:
    out = np.empty(values.shape, np.float32)
    rows = max(1, band_rows(*values.shape, bytes_per_pixel=48)) if values.size else 1
    for start in range(0, values.shape[0], rows):
        out[start : start + rows] = work(values[start : start + rows])
    return out

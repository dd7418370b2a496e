"""Aligning lights on their stars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from calibkit.align.lights import Lights, lights_of, place_of
from calibkit.align.matching import MODELS, fit, match, move
from calibkit.align.quality import score
from calibkit.align.stars import Stars, find_stars
from calibkit.align.transforms import Transform, Transforms
from calibkit.errors import CalibkitError, SettingError
from calibkit.progress import Progress, silent
from calibkit.warned import warn

#: A star is no better placed than this in pixels, whatever its light: images differ a little over the field.
_FLOOR = 0.02
#: Stars that have to agree, where it is not said otherwise; and for a shift alone, where no light shows plenty of them.
_ENOUGH, _FEW, _PLENTY = 6, 3, 12
#: A shift whose stars scatter by more than so many of their errors is none.
_SHIFTED = 5.0


def register(
    lights: Lights,
    *,
    reference: int | Literal["auto"] = "auto",
    model: str = "similarity",
    stars: Sequence[Stars] | None = None,
    use: Sequence[bool] | None = None,
    minimum_stars: int | None = None,
    progress: Progress = silent,
) -> Transforms:
    """Find where every light lies with respect to a reference, from the stars in it.

    Parameters
    ----------
    lights : Dataset, DataArray or sequence of them
        Calibrated lights, ``(y, x)`` or ``(frame, y, x)``, in memory or lazy, mosaics as they are.
    reference : int or "auto"
        Number of the frame to which the others are brought; the one with the most and sharpest stars when ``"auto"``.
    model : {"translation", "euclidean", "similarity", "affine"}
        What may differ between frames: places; and rotation; and scale; and shear.
    stars : list of Stars, optional
        From `find_stars`, so that the pixels are not read again.
    use : sequence of bool, optional
        Frames that are not to be used (False), from ``measure_quality(...)["usable"]`` for instance, are left out.
    minimum_stars : int, optional
        So many stars have to agree. By default 6; where no light shows 12, as behind a narrow filter, and not all can be
        aligned so, 3 for a shift alone.
    progress : callable
        ``progress(done, total, what)``; may raise `Cancelled`.

    Returns
    -------
    Transforms
        One `Transform` for each light, in their order; a frame that cannot be aligned is there with the reason.

    Raises
    ------
    CalibkitError
        No light has stars enough to be the reference.
    MismatchError
        The lights do not lie on the same pixels.
    SettingError
        A setting that cannot work.

    Warns
    -----
    CalibkitWarning
        Frames cannot be aligned and are left out; or there are stars for a shift only.

    Notes
    -----
    Triangles of stars [1]_ [2]_ find the pairs, whatever the rotation: after a meridian flip it is 180°. The map is
    fitted by least squares, weighted by how well each star is placed, and pairs beyond 3.5 robust standard deviations
    leave it. Its error is what a simulation with the same stars would show, not the scatter of single stars.

    References
    ----------
    .. [1] Groth, E. J. 1986, AJ 91, 1244.
    .. [2] Beroiz, M. et al. 2020, Astronomy and Computing 32, 100384.

    Examples
    --------
    >>> import calibkit
    >>> camera = calibkit.Camera(shape=(200, 300), offset=100.0)
    >>> sky = calibkit.Sky(n_stars=60, star_flux=20_000.0, drift=(2.0, -3.0))
    >>> raw = calibkit.simulate_stack(camera, 3, exposure=30.0, sky=sky)
    >>> lights = calibkit.calibrate(raw, bias=calibkit.constant_bias(raw, level=100.0))
    >>> transforms = calibkit.register(lights)
    >>> [each.ok for each in transforms]
    [True, True, True]
    """
    found = lights_of(lights, "register")
    if model not in MODELS:
        msg = f"model={model!r} is not known; allowed are {', '.join(map(repr, MODELS))}"
        raise SettingError(msg)
    if minimum_stars is not None and minimum_stars < 3:
        msg = f"minimum_stars={minimum_stars!r}: triangles need 3 or more"
        raise SettingError(msg)
    stars = find_stars(lights, progress=progress) if stars is None else list(stars)
    wanted = np.ones(len(found), bool) if use is None else np.asarray(use, bool)
    if len(stars) != len(found) or wanted.shape != (len(found),):
        msg = f"{len(found)} lights, but stars of {len(stars)} and use= for {wanted.size}: give one for each light"
        raise SettingError(msg)
    if not wanted.any():
        msg = "use= leaves out every light, so there is nothing to align; look at the reasons in measure_quality"
        raise SettingError(msg)
    most = max((len(s) for s, used in zip(stars, wanted, strict=True) if used), default=0)
    few = minimum_stars is None and len(stars) > 1 and _FEW <= most < _PLENTY
    chosen, frames = 0, []
    if not few or most >= _ENOUGH:
        chosen, frames = _all(stars, wanted, reference, model, minimum_stars or _ENOUGH, progress)
    if few and _aligned_count(frames) < wanted.sum():
        shifted = _all(stars, wanted, reference, "translation", _FEW, progress)
        if _aligned_count(shifted[1]) > _aligned_count(frames):
            chosen, frames = shifted
            model = "translation"
            msg = (
                f"register: the lights show few stars that can be measured (most: {most}), so that only shifts are "
                "measured; if the field turned from frame to frame, its edges do not fit"
            )
            warn(msg, stacklevel=2)
    lost = [f for n, f in enumerate(frames) if not f.ok and wanted[n]]
    if lost:
        lines = "; ".join(f"{frame.name}: {frame.reason}" for frame in lost[:5])
        more = f"; and {len(lost) - 5} more" if len(lost) > 5 else ""
        msg = (
            f"register: {len(lost)} of {len(frames)} frames cannot be aligned and are left out: {lines}{more}"
        )
        warn(msg, stacklevel=2)
    return Transforms(tuple(frames), chosen, model, found[0].shape, place_of(found[0].labelled))


def _all(
    stars: list[Stars],
    wanted: np.ndarray,
    reference: int | str,
    model: str,
    least: int,
    progress: Progress,
) -> tuple[int, list[Transform]]:
    """The number of the reference, and every frame's transform to it."""
    chosen = _reference(reference, stars, wanted, least)
    target = stars[chosen]
    frames = []
    for number, mine in enumerate(stars):
        if not wanted[number]:
            frames.append(_failed(mine, 0, "it was not to be used"))
        elif number == chosen:
            frames.append(Transform(mine.name, np.eye(3), 0.0, 0.0, len(mine), True))
        else:
            frames.append(_aligned(mine, target, model, least))
        progress(number + 1, len(stars), f"align {len(stars)} frame{'s' if len(stars) > 1 else ''}")
    return chosen, frames


def _aligned_count(frames: list[Transform]) -> int:
    return sum(frame.ok for frame in frames)


def _reference(reference: int | str, stars: list[Stars], wanted: np.ndarray, least: int) -> int:
    if isinstance(reference, str):
        if reference != "auto":
            msg = f"reference={reference!r}: allowed are 'auto' or the number of a frame"
            raise SettingError(msg)
        scores = np.where(wanted, [score(s) for s in stars], -np.inf)
        chosen = int(np.argmax(scores))
    else:
        if not -len(stars) <= reference < len(stars):
            msg = f"reference={reference!r}: there are {len(stars)} frames, numbered from 0"
            raise SettingError(msg)
        chosen = int(reference) % len(stars)
        if not wanted[chosen]:
            msg = f"reference={reference!r}: use= leaves out this frame; take one that is used, or reference='auto'"
            raise SettingError(msg)
    if len(stars) > 1 and len(stars[chosen]) < least:
        who = "no light" if reference == "auto" else stars[chosen].name
        msg = (
            f"register: {who} has {least} stars that can be measured (most: {max(map(len, stars))}), so there is nothing "
            "to align on; look at measure_quality, or lower the threshold of find_stars"
        )
        raise CalibkitError(msg)
    return chosen


def _failed(stars: Stars, count: int, reason: str) -> Transform:
    return Transform(stars.name, np.full((3, 3), math.nan), math.nan, math.nan, count, False, reason)


def _aligned(mine: Stars, target: Stars, model: str, least: int) -> Transform:
    if len(mine) < least:
        return _failed(mine, len(mine), f"{len(mine)} stars were found, {least} are needed")
    pairs = match(mine.xy, target.xy, least=least)
    if pairs is None:
        return _failed(mine, 0, f"none of its {len(mine)} stars form a pattern that is in the reference")
    i, j = pairs
    source, goal = mine.xy[i], target.xy[j]
    spread = mine.error[i] ** 2 + target.error[j] ** 2 + _FLOOR**2
    weight = 1 / spread
    keep = np.ones(i.size, bool)
    matrix = np.eye(3)
    for _ in range(10):
        matrix = fit(model, source[keep], goal[keep], weight[keep])
        rest = np.hypot(*(move(matrix, source) - goal).T) * np.sqrt(weight)
        # of a Rayleigh distribution the median is 1.1774 σ
        limit = 3.5 * max(float(np.median(rest[keep])) / 1.1774, 1.0)
        following = rest <= limit
        if following.sum() < least:
            return _failed(mine, int(following.sum()), "its stars do not agree on a common map")
        if (following == keep).all():
            break
        keep = following
    away = move(matrix, source[keep]) - goal[keep]
    rms = float(np.sqrt(np.mean(away**2)))
    free = {"translation": 2, "euclidean": 3, "similarity": 4, "affine": 6}[model]
    excess = max(1.0, float(np.mean(away**2 * weight[keep, None])))
    if model == "translation" and excess > _SHIFTED**2:
        return _failed(
            mine, int(keep.sum()), f"its stars do not agree on a shift (they scatter by {rms:.1f} pixels)"
        )
    # mean variance of the map over the stars: parameters / (2 n) of a star's, as of every fit
    error = math.sqrt(excess * free / 2 / weight[keep].sum())
    return Transform(mine.name, matrix, rms, error, int(keep.sum()), True)

"""Pixels that stand out alone after calibration."""

from __future__ import annotations

import math

import numpy as np

from calibkit.diagnosis.evidence import Evidence
from calibkit.diagnosis.finding import Finding, judged, unclear
from calibkit.diagnosis.patterns import high_pass, inner, level_of, median_of, spread_of
from calibkit.flags import REPAIRED, usable

#: Of a million pixels.
_TOLERANCE, _GRAVE = 50.0, 200.0
#: A hot pixel stands out by so many sigma, and what is beside it by less than this share or so many sigma.
_SIGMA, _SHARE, _BESIDE = 7.0, 0.25, 3.0
#: calibkit's own limit for hot pixels in a dark: those are flagged and repaired.
_FLAGGED = 3.8
#: Without a flat only a pixel that is so much brighter than the sky counts: others may respond more.
_STRONGER = 1.25
#: Where one colour of the sky is so much fainter than another, stars have one colour too.
_FAINT = 0.25


def hot_pixels(ev: Evidence) -> list[Finding]:
    """Pixels that stand out alone after calibration, of a million."""
    name, unit = "hot pixels", "of a million pixels"
    result, light = ev.get("result"), ev.get("light")
    if result is None and ev.net is None:
        return [unclear(name, ev.where, "there is no light, or neither bias nor dark for it.", unit=unit)]
    values, good = _calibrated(ev)
    level = level_of(np.where(good, values, np.nan))
    sky = median_of(ev.grid.by_channel(level[..., 0, 0]), axis=-1)
    if sky.size > 1 and not np.nanmin(sky) > _FAINT * np.nanmax(sky):
        why = "the colours differ so much that a star on one pixel of its colour cannot be told from a hot pixel."
        return [unclear(name, ev.where, why, unit=unit)]
    divided = result.data.attrs.get("flat_divided", False) if result is not None else ev.response is not None
    above = values > (level if divided else _STRONGER * level)
    count, seen = _alone(ev, values - level, good, above)
    if not seen:
        return [unclear(name, ev.where, "every pixel is flagged.", unit=unit)]
    number, error = 1e6 * count / seen, 1e6 * math.sqrt(max(count, 1)) / seen
    single = result is not None or len(light.frames) < 3
    also = " Cosmic rays are among them: a single frame cannot tell." if single else ""
    bad = f"{number:.0f} of a million pixels stand out alone by more than {_SIGMA:g} σ.{also}"
    advice = "Subtract a dark of the same temperature and repair what is left: calibrate(…, defects=find_defects(dark=…))."
    limits = {"tolerance": _TOLERANCE, "grave": _GRAVE}
    good_text = "no pixels stand out alone."
    return [judged(name, ev.where, number, error, unit, **limits, good=good_text, bad=bad, advice=advice)]


def _calibrated(ev: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated values and which of them count: not what is flagged, repaired, or would be."""
    result = ev.get("result")
    if result is not None:
        values = result.signal.astype(np.float32)
        good = np.isfinite(values)
        if result.flags is not None:
            good &= usable(result.flags) & ((result.flags & REPAIRED) == 0)
    else:
        values = ev.even
        good = np.isfinite(values)
        if ev.thermal is not None:
            passed = high_pass(ev.thermal.values)
            inner(good)[np.abs(passed) > _FLAGGED * spread_of(passed)] = False
    return values, good if ev.full is None else good & ~ev.full


def _alone(ev: Evidence, excess: np.ndarray, good: np.ndarray, above: np.ndarray) -> tuple[int, int]:
    """How many pixels stand out while nothing beside them does, of whatever colour; and how many were looked at."""
    scatter = _of_channel(ev, spread_of(high_pass(np.where(good, excess, np.nan))))
    stands = np.divide(excess, scatter, out=np.zeros_like(excess), where=np.isfinite(excess) & (scatter > 0))
    looked = np.zeros_like(
        good
    )  # not at the rim of a tile, where nobody has compared the dark with neighbours
    inner(looked)[...] = inner(good)
    stands, fine, above = (_mosaic(ev, part) for part in (stands, looked, above))
    centre, fine, above = (part[:, 1:-1, 1:-1] for part in (stands, fine, above))
    beside = np.full(centre.shape, -np.inf, np.float32)
    for dy, dx in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)):
        beside = np.maximum(beside, stands[:, dy : dy + centre.shape[1], dx : dx + centre.shape[2]])
    alone = fine & above & (centre > _SIGMA) & (beside < np.maximum(_SHARE * centre, _BESIDE))
    return int(alone.sum()), int(fine.sum())


def _of_channel(ev: Evidence, scatter: np.ndarray) -> np.ndarray:
    """Mean over the sites of a channel: a tile has few pixels of a site whose cell is as large as X-Trans'."""
    return ev.grid.by_channel(scatter)[ev.grid.site_channel].astype(np.float32)


def _mosaic(ev: Evidence, values: np.ndarray) -> np.ndarray:
    """The tiles as they are on the sensor, (tile, row, column)."""
    py, px = ev.grid.period
    _, tile, height, width = values.shape
    cells = values.reshape(py, px, tile, height, width).transpose(2, 3, 0, 4, 1)
    return cells.reshape(tile, height * py, width * px)

"""Does the flat fit? Its fine pattern, its shading and its shadows are looked for in the light."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from calibkit.diagnosis.evidence import Evidence
from calibkit.diagnosis.finding import FAULT, OK, SUSPECT, Finding, judged, unclear
from calibkit.diagnosis.patterns import (
    CLIP,
    Share,
    blocks,
    grown,
    high_pass,
    inner,
    mean_of,
    median_of,
    share_of,
    sky_of,
    spread_of,
    tile_sums,
    usual,
    variance_passed,
    without_plane,
)

#: Per cent of the light: an offset up to the first is ok, from the second on a fault.
_TOLERANCE, _GRAVE = 3.0, 8.0
#: A pattern has to stand so many sigma above its noise.
_SEEN = 8.0
#: Fewer tiles, or a flat that varies by less than this fraction, do not tell an offset from the sky (seiza's limits).
_LEAST_TILES, _LEAST_SPAN = 32, 0.02
#: Independent patches, at least, that structure of the sky is taken to consist of.
_LEAST_PATCHES = 4.0
#: Structure of the sky that is let pass, over the flat's shading.
_PLAIN = 0.25
#: A mistake that leaves less than this share of the light is none to look for.
_WORTH = 0.01
_STRUCTURE = "the sky has structure of its own (nebula, moonlight, stars) that could as well be the flat's."
_TELLS_MORE = "The fine pattern (flat correction) tells more."
#: Share of the flat's shadows that may be missing in the light.
_SHADOW_TOLERANCE, _SHADOW_GRAVE = 0.25, 0.5
#: A tile has a shadow in it when its pattern is so much stronger than the usual tile's.
_SHADOW = 6.0


def flat_correction(ev: Evidence) -> list[Finding]:
    """Offset left in light or flat, from how strong the flat's pixel-to-pixel pattern is in the light."""
    name, unit = "flat correction", "% of the light"
    lacking = _lacking(ev)
    if lacking:
        return [unclear(name, ev.where, lacking)]
    light, offset = fine_pattern(ev)
    if not light.significance > _SEEN or not light.value > _SEEN * light.error:
        why = "the flat's pattern from pixel to pixel does not stand out of the noise of flat and light."
        return [unclear(name, ev.where, why, "More flats and more lights would tell.", unit=unit)]
    level = light.value + offset.value
    number = 100 * offset.value / light.value
    error = 100 * abs(level) * offset.error / light.value**2
    bad, advice = _explained(ev, offset.value, offset.error, light.value)
    good = "the flat's pattern from pixel to pixel is as strong in the light as its level demands."
    limits = {"tolerance": _TOLERANCE, "grave": _GRAVE}
    return [judged(name, ev.where, number, error, unit, **limits, good=good, bad=bad, advice=advice)]


def fine_pattern(ev: Evidence) -> tuple[Share, Share]:
    """(light, offset): what of the level varies with the flat from pixel to pixel, and what does not, in ADU.

    The level N of a tile is light S, which the flat's pattern f modulates, and an offset p that it does not. The
    high-passed frame is ``S f``, so that ``p = Σ f (N f − frame) / Σ f²``, with two half flats for the two f.
    """
    net, pattern = ev.net, ev.response
    level = ev.sky[..., None, None]
    first, second = (high_pass(half) / sky_of(half)[..., None, None] for half in pattern.halves)
    middle = 0.5 * (first + second)
    passed = high_pass(net)
    scatter, flat_scatter = spread_of(passed), spread_of(middle)
    use = (np.abs(passed) < CLIP * scatter) & (np.abs(middle) < CLIP * flat_scatter)
    if ev.full is not None:
        use &= ~inner(ev.full)
    use &= np.isfinite(level) & (scatter > 0)
    weight = np.divide(1, usual(scatter) ** 2, out=np.zeros(use.shape), where=use)
    power = first * second
    chance = (spread_of(first - second) ** 2 / 2) ** 2 if pattern.split else 2 * flat_scatter**4
    if pattern.noise is not None:
        power = power - variance_passed(pattern.noise) / sky_of(pattern.values)[..., None, None] ** 2
    power, chance = np.where(use, power, 0), np.where(use, chance, 0)
    product = passed * middle
    if ev.shared_with_flat is not None and ev.flat_level is not None:
        height = (ev.flat_level[ev.grid.site_channel][:, None] * sky_of(pattern.values))[..., None, None]
        product = product - variance_passed(ev.shared_with_flat) / height
    product = np.where(use, product, 0)
    seen, bottom = tile_sums(weight * product), tile_sums(weight * power)
    wanted = tile_sums(weight * np.where(use, level, 0) * power)
    noise = tile_sums(weight**2 * chance)
    return share_of(seen, bottom, noise), share_of(wanted - seen, bottom, noise)


def flat_shading(ev: Evidence) -> list[Finding]:
    """Offset left in light or flat, from the sky of tiles against the flat's response there."""
    name, unit = "flat shading", "% of the light"
    lacking = _lacking(ev)
    if lacking:
        return [unclear(name, ev.where, lacking)]
    tiles = ev.grid.tiles
    if tiles < _LEAST_TILES:
        why = f"the frame is covered by {tiles} tiles; {_LEAST_TILES} are wanted for a fit."
        return [unclear(name, ev.where, why, unit=unit)]
    sky, response = ev.grid.by_channel(ev.sky), ev.grid.by_channel(sky_of(ev.response.values))
    spread = spread_of(ev.net)[..., 0, 0] / math.sqrt(ev.net[0, 0].size)
    noise = ev.grid.by_channel(spread**2) / np.bincount(ev.grid.site_channel)[:, None]
    fits = [_pedestal(ev, *part) for part in zip(sky, response, noise, strict=True)]
    fits = [fit for fit in fits if fit is not None]
    if not fits:
        spans = ", ".join(f"{100 * _span(part):.1f} %" for part in response)
        why = f"the flat varies by {spans} over the frame; {100 * _LEAST_SPAN:.0f} % are wanted."
        return [unclear(name, ev.where, why, unit=unit)]
    offset, error, light, plain = np.array(fits).T
    offset, error, light = (part[plain > 0] for part in (offset, error, light))
    if not offset.size:
        return [unclear(name, ev.where, _STRUCTURE, _TELLS_MORE, unit=unit)]
    weight = 1 / error**2
    offset, light = (float((weight * part).sum() / weight.sum()) for part in (offset, light))
    error = float(weight.sum() ** -0.5)
    if not light > 4 * error:
        return [unclear(name, ev.where, _STRUCTURE, _TELLS_MORE, unit=unit)]
    number, error = 100 * offset / light, 100 * (light + abs(offset)) * error / light**2
    bad, advice = _explained(ev, offset, error * light / 100, light)
    good = "the sky does not follow the flat's shading."
    limits = {"tolerance": _TOLERANCE, "grave": _GRAVE}
    finding = judged(name, ev.where, number, error, unit, **limits, good=good, bad=bad, advice=advice)
    if finding.verdict == FAULT and _fine_is_ok(ev, number):
        cause = (
            "the sky follows the flat's shading, but not its fine pattern, so that no offset is left: the lamp lit the "
            "flats unevenly, stray light fell in, or the sky itself is brighter in the middle."
        )
        advice = "Compare with flats of another lamp or of the twilight sky."
        return [replace(finding, verdict=SUSPECT, cause=cause, advice=advice)]
    return [finding]


def _fine_is_ok(ev: Evidence, number: float) -> bool:
    """Whether the fine pattern excludes the offset that the shading tells."""
    fine = flat_correction(ev)[0]
    return fine.verdict == OK and abs(fine.number - number) > 4 * fine.error


def _span(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.subtract(*np.percentile(known, (98, 2)))) if known.size else 0.0


def _pedestal(
    ev: Evidence, sky: np.ndarray, response: np.ndarray, noise: np.ndarray
) -> tuple[float, float, float, bool] | None:
    """Offset, its error and the light of one channel, and whether the sky is plain: sky = response × (plane) + offset."""
    y, x = ev.grid.place
    use = np.isfinite(sky) & np.isfinite(response) & np.isfinite(noise)
    if _span(response) < _LEAST_SPAN or use.sum() < _LEAST_TILES:
        return None
    columns = np.stack([response, response * x, response * y], axis=1)
    for _ in range(3):
        design = columns[use]
        basis = np.linalg.qr(design)[0]
        template = 1 - basis @ basis.sum(axis=0)  # what of an offset is not a tilted sky
        leverage = float(template @ template)
        if not leverage > 1e-12 * use.sum():
            return None
        offset = float(template @ sky[use] / leverage)
        rest = np.full(sky.shape, np.nan)
        fit = np.linalg.lstsq(design, sky[use] - offset, rcond=None)[0]
        rest[use] = sky[use] - offset - design @ fit
        off = np.abs(rest - median_of(rest))
        keep = use & (off <= 3.5 * max(1.4826 * median_of(off), 1e-12))
        if keep.sum() == use.sum() or keep.sum() < _LEAST_TILES:
            break
        use = keep
    count = int(use.sum())
    variance = float(np.nansum(rest[use] ** 2)) / max(count - 4, 1)
    structure = max(0.0, variance - float(noise[use].mean()))
    patches = _patches(np.where(use, rest, np.nan).reshape(ev.grid.rows.size, -1), count)
    error = math.sqrt((noise[use].mean() + structure * count / patches) / leverage)
    light = float(sky[use].mean()) - offset
    plain = math.sqrt(structure) < _PLAIN * abs(light) * math.sqrt(leverage / count)
    return offset, error, light, plain


def _patches(rest: np.ndarray, count: int) -> float:
    """How many of the tiles are independent of each other, from how alike neighbours are."""
    power = mean_of(rest**2)
    alike = 1.0
    for a, b in ((rest[1:], rest[:-1]), (rest[:, 1:], rest[:, :-1])):
        both = np.isfinite(a) & np.isfinite(b)
        share = float((a[both] * b[both]).mean() / power) if both.any() and power > 0 else 1.0
        share = min(max(share, 0.0), 0.99)
        alike *= (1 - share) / (1 + share)
    return min(max(_LEAST_PATCHES, alike * count), float(count))


def flat_shadows(ev: Evidence) -> list[Finding]:
    """Whether the shadows of dust in the flat are in the light: not so if one of them was moved or turned."""
    name = "flat shadows"
    lacking = _lacking(ev)
    if lacking:
        return [unclear(name, ev.where, lacking)]
    side = max(1, 4 // max(ev.grid.period))
    light, first, second = (blocks(part, side) for part in _grey(ev))
    use = ~_stars(light, 0.5 * (first + second))
    light, first, second = (without_plane(part, use) for part in (light, first, second))
    lit = _lit(ev)
    light, first, second = (part[lit] for part in (light, first, second))
    power = (first * second).sum(axis=(-2, -1))
    shadowed = power > _SHADOW * median_of(np.abs(power))
    rest = np.flatnonzero(~shadowed)
    if shadowed.sum() < 2 or rest.size < 16:
        return [
            unclear(
                name, ev.where, "the flat shows no shadows of dust that could be looked for in the light."
            )
        ]
    pattern, weight = 0.5 * (first + second)[shadowed], power[shadowed]
    share, spread = _middle(_per_tile(light[shadowed], pattern, weight), weight)
    # What the same shadows find in tiles that have none: noise and structure of the sky.
    order = np.random.default_rng(0)
    none = [
        _middle(_per_tile(light[order.choice(rest, weight.size)], pattern, weight), weight)[0]
        for _ in range(64)
    ]
    error = math.hypot(float(np.sqrt(np.mean(np.square(none)))), spread)
    if error > 0.15:
        why = "the flat's shadows are too faint to be seen in these lights."
        return [unclear(name, ev.where, why, "More lights would tell.")]
    bad = (
        f"of the dust shadows in the flat {100 * share:.0f} % are in the light: dust, focus, camera angle or filter "
        "changed in between, or the flats are of another night."
    )
    advice = "Take flats in the same night, without touching camera, focus or filter; then calibrate again."
    limits = {"expected": 1.0, "tolerance": _SHADOW_TOLERANCE, "grave": _SHADOW_GRAVE}
    good = "the dust shadows of the flat are in the light, at the same places."
    return [
        judged(name, ev.where, share, error, "of the shadows", **limits, good=good, bad=bad, advice=advice)
    ]


def _lit(ev: Evidence) -> np.ndarray:
    """Tiles that are not much darker than the others, in the channel with most light."""
    sky = ev.grid.by_channel(ev.sky)
    brightest = sky[np.argmax(np.nan_to_num(median_of(sky, axis=1), nan=-np.inf))]
    return brightest > 0.3 * median_of(brightest)


def _per_tile(light: np.ndarray, pattern: np.ndarray, power: np.ndarray) -> np.ndarray:
    return (light * pattern).sum(axis=(-2, -1)) / power


def _middle(values: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Weighted median, which one tile with a star does not move, and its error from the scatter of the tiles."""
    order = np.argsort(values)
    sums = np.cumsum(weight[order])
    middle = float(values[order][np.searchsorted(sums, 0.5 * sums[-1])])
    scatter = np.sqrt(np.sum(weight * np.minimum((values - middle) ** 2, 1)) / sums[-1])
    return middle, float(1.2533 * scatter * np.sqrt(np.sum(weight**2)) / sums[-1])


def _stars(light: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """Blocks that a star covers: brighter than their neighbours by more than the flat's shadows make them."""
    passed, shadow = (
        high_pass(np.pad(part, ((0, 0), (1, 1), (1, 1)), mode="edge")) for part in (light, flat)
    )
    scatter = 1.4826 * median_of(np.abs(passed))
    return grown(np.abs(passed) > CLIP * scatter + 1.5 * np.abs(shadow))


def _grey(ev: Evidence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Light and half flats relative to their tiles, (tile, row, column): sites averaged by what they can tell."""
    level = np.maximum(ev.sky, 0)
    scatter = spread_of(ev.net)[..., 0, 0]
    weight = np.nan_to_num(np.divide(level, scatter, out=np.zeros_like(level), where=scatter > 0)) ** 2
    weight = weight.mean(axis=1)[:, None, None, None]
    if ev.full is not None:
        weight = np.where(ev.full, 0, weight)

    def relative(values: np.ndarray, tile: np.ndarray) -> np.ndarray:
        tile = tile[..., None, None]
        part = np.divide(values, tile, out=np.ones_like(values, np.float64), where=tile > 0)
        return np.where(np.isfinite(part), part, 1.0)

    parts = [relative(ev.net, ev.sky), *(relative(half, sky_of(half)) for half in ev.response.halves)]
    total = np.sum(weight * np.ones_like(parts[0]), axis=0)
    found = [
        np.divide(np.sum(weight * p, axis=0), total, out=np.ones_like(total), where=total > 0) for p in parts
    ]
    return found[0], found[1], found[2]


def _lacking(ev: Evidence) -> str:
    """Why light and flat cannot be compared, "" when they can."""
    if ev.get("flat") is None:
        return "there is no flat."
    if ev.get("light") is None and ev.get("result") is None:
        return "there is no light."
    if ev.net is None:
        return "there is neither bias nor dark, so that the light's level is not known."
    if ev.response is None:
        return "the flat shows no light above its offset."
    if not ev.response.known:
        return "it takes two flats, or a master flat with its variance, to tell the flat's pattern from its noise."
    return ""


def _explained(ev: Evidence, offset: float, error: float, light: float) -> tuple[str, str]:
    """Cause and advice for an offset in ADU below the light, by what it agrees with."""
    over = offset > 0
    text = (
        f"the flat corrects too {'much' if over else 'little'}, as if {abs(offset):.3g} ADU "
        f"{'too little' if over else 'too much'} had been subtracted from the light"
    )
    likely = [
        cause
        for value, cause in _candidates(ev, light)
        if abs(value - offset) < max(4 * error, 0.15 * abs(value))
    ]
    usual = (
        "bias or dark missing in the light, or subtracted from the flat twice; or stray light, which the flat must not divide"
        if over
        else "bias or dark subtracted from the light twice, or missing in the flat"
    )
    text += f": {likely[0]}." if likely else f": {usual}."
    return (
        text,
        "Check that bias and dark go once from the lights and once from the flats, and make the flat again.",
    )


def _candidates(ev: Evidence, light: float) -> list[tuple[float, str]]:
    """Offsets that usual mistakes leave, with the mistake; what was measured first."""
    found = []
    bias, dark, share, level = ev.bias_level, ev.get("dark"), ev.dark_share, ev.flat_level
    if dark is not None and ev.thermal_is_free:
        thermal = median_of(dark.sky) - (0.0 if dark.bias_subtracted else bias)
        if share is not None and share.value > 4 * share.error:
            left = (share.value - ev.scale) * thermal
            found.append((left, "that is what the dark leaves, being too strong or too weak"))
        found.append((thermal, "that is the dark current: no dark was subtracted"))
        found.append((-thermal, "that is the dark current: the dark was subtracted twice"))
    if math.isfinite(bias):
        found.append((-bias, "that is the bias: it was subtracted twice"))
        found.append((bias, "that is the bias: it is still in the light"))
        if level is not None and mean_of(level) > bias:
            found.append((-light * bias / mean_of(level), "the flat's bias is still in it"))
            found.append((light * bias / mean_of(level), "the flat's bias was subtracted twice"))
    return [(value, cause) for value, cause in found if abs(value) > _WORTH * abs(light)]

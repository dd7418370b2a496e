"""Defects and single pixels, colours and pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import calibkit as ck
from calibkit.errors import CalibkitError
from tests.every_pattern.scene import COLOURS, NOT_MONO, PATTERNS, Scene, Work, same


def find_defects(s: Scene) -> None:
    found = ck.find_defects(dark=s.dark, flat=s.flat)
    hot = s.perfect.hot_rate.values > 0
    assert found.mask[hot].mean() > 0.99
    told = {name: kinds.get("hot", 0) for name, kinds in found.counts().items()}
    same(told, {c: float((hot & (s.names == c)).sum()) for c in s.channels}, rel=0.15, abs=2)
    in_lights = ck.find_defects(lights=s.lights)
    assert in_lights.flags.shape == hot.shape


def repair(s: Scene) -> None:
    raw = ck.calibrate(s.lights[0], dark=s.dark, flat=s.flat, repair=False)
    mended = ck.repair(raw)
    touched = (mended.flags.values & ck.flags.REPAIRED) != 0
    assert touched.sum() > 50
    np.testing.assert_allclose(mended.signal.values, s.frame.signal.values, rtol=1e-6)
    away = np.abs(mended.signal.values - s.perfect.signal.values)[touched]
    assert np.median(away) < 0.1 * np.median(s.perfect.signal.values)


def defect_map(s: Scene) -> None:
    empty = ck.DefectMap.empty(s.frame)
    x, y = int(s.frame.x[7]), int(s.frame.y[4])
    told = empty.add(points=[(x, y)]).counts()
    assert {name for name, kinds in told.items() if kinds} == {s.names[4, 7]}


def find_cosmic_rays(s: Scene) -> None:
    found = ck.find_cosmic_rays(s.frame)
    assert int(((found.flags.values & ck.flags.COSMIC_RAY) != 0).sum()) < 20


def channel_worth(s: Scene) -> None:
    worth = ck.channel_worth(s.flat, light=s.frame)
    lamp, most = s.lamp, max(s.lamp.values())
    found = dict(zip(worth.channel.values, worth.response.values, strict=True))
    same(found, {c: lamp[c] / most for c in s.channels}, rel=0.01)


def lamp_colour(s: Scene) -> None:
    lamp, most = s.lamp, max(s.lamp.values())
    found = ck.lamp_colour(s.flats, bias=s.bias)
    same(found.ratios, {c: lamp[c] / most for c in s.channels}, rel=0.01)


def converted(method: str) -> Callable[[Scene], None]:
    def check(s: Scene) -> None:
        colour = ck.debayer(s.frame, method=method)
        found = {c: float(colour.signal.sel(channel=c).median()) for c in "RGB"}
        same(found, s.colours, rel=0.03)

    return check


def convert_too_early(s: Scene) -> None:
    colour = ck.convert_too_early(s.lights[0], dark=s.dark, flat=s.flat, method="superpixel")
    same({c: float(colour.signal.sel(channel=c).median()) for c in "RGB"}, s.colours, rel=0.03)


def extract_line(s: Scene) -> None:
    for size in ("half", "full"):
        made = ck.extract_line(s.frame, "Ha", size=size)
        assert float(made.signal.median()) == pytest.approx(s.colours["R"], rel=0.03)
    weights = ck.channel_worth(s.flat, light=s.frame)
    made = ck.extract_line(s.frame, "OIII", worth=weights)
    assert made.sizes["y"] < s.frame.sizes["y"]


def white_balance(s: Scene) -> None:
    colour = ck.debayer(s.frame, method="superpixel")
    grey = ck.white_balance(colour, {c: s.colours["G"] / s.colours[c] for c in "RGB"})
    same(
        {c: float(grey.signal.sel(channel=c).median()) for c in "RGB"},
        dict.fromkeys("RGB", s.colours["G"]),
        rel=0.03,
    )
    swapped = ck.colour_matrix(colour, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    np.testing.assert_allclose(swapped.signal.sel(channel="R"), colour.signal.sel(channel="B"), rtol=1e-6)


def stretch_picture(s: Scene) -> None:
    shown = ck.stretch_picture(s.frame)
    assert shown.shape == s.frame.signal.shape
    assert shown.attrs["clipped"]["L"]["background"] <= 0.01
    weakest = min(s.sky, key=s.sky.get)
    noise = float(np.sqrt(s.frame.variance.values[s.names == weakest].mean()))
    with pytest.raises(CalibkitError, match="cannot turn black"):
        ck.stretch_picture(s.frame, black=s.sky[weakest] + 2 * noise)


def pictures_in_colour(s: Scene) -> None:
    colour = ck.debayer(s.frame, method="superpixel")
    grey = ck.neutralise_background(colour, level=0.0)
    noise = float(np.sqrt(colour.variance.median()))
    assert np.abs(grey.signal.median(("y", "x")).values).max() < 0.3 * noise
    lines = {name: colour.sel(channel=name, drop=True) for name in "RGB"}
    put = ck.combine_channels({"Ha": lines["R"], "OIII": lines["B"]}, "HOO")
    np.testing.assert_array_equal(put.signal.sel(channel="G"), colour.signal.sel(channel="B"))
    whole = ck.combine_channels(lines)
    np.testing.assert_array_equal(whole.signal, colour.signal)


WORK: Work = {
    "find_defects": (find_defects, {}),
    "DefectMap": (defect_map, {}),
    "repair": (repair, {}),
    "find_cosmic_rays": (find_cosmic_rays, dict.fromkeys({*PATTERNS} - {"mono"}, "colour filters")),
    "channel_worth": (channel_worth, NOT_MONO),
    "lamp_colour": (lamp_colour, {}),
    "debayer superpixel": (converted("superpixel"), COLOURS),
    "debayer bilinear": (converted("bilinear"), COLOURS),
    "debayer edge": (converted("edge"), {**COLOURS, "X-Trans": "6 × 6"}),
    "convert_too_early": (convert_too_early, COLOURS),
    "extract_line": (extract_line, COLOURS),
    "white_balance": (white_balance, COLOURS),
    "colour_matrix": (white_balance, COLOURS),
    "stretch_picture": (stretch_picture, {}),
    "neutralise_background": (pictures_in_colour, COLOURS),
    "combine_channels": (pictures_in_colour, COLOURS),
}

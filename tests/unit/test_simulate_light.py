"""Light on its way: spectra, filters, optics, sky, and the pattern on the sensor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import integrate, stats

from calibkit.cfa import Pattern
from calibkit.errors import SettingError
from calibkit.simulate import (
    X_TRANS,
    Camera,
    DustShadow,
    Lamp,
    Optics,
    Reflection,
    Sky,
    random_dust,
    simulate_frame,
    simulate_stack,
    truth,
)
from calibkit.simulate.optics import _disc
from calibkit.simulate.spectrum import (
    CLEAR_GLASS,
    FILTERS,
    H_ALPHA,
    ORIGINAL_GLASS,
    RESPONSES,
    SPECTRA,
    Curve,
    Spectrum,
)

PLAIN = Camera(
    shape=(90, 120), dark_current=0.0, hot_fraction=0.0, sensitivity_spread=0.0, read_noise=1.0, full_well=1e6
)


def test_original_filter_lets_a_sixth_of_h_alpha_through() -> None:
    clear, original = (
        Camera(pattern="RGGB", glass=glass).share("R", "h-alpha") for glass in (CLEAR_GLASS, ORIGINAL_GLASS)
    )
    assert clear / original == pytest.approx(6.0, rel=1e-3)


def test_share_of_a_line_is_the_product_of_the_curves() -> None:
    product = float(FILTERS["Ha"](H_ALPHA) * CLEAR_GLASS(H_ALPHA) * RESPONSES["R"](H_ALPHA))
    assert Camera(pattern="RGGB").share("R", "h-alpha", "Ha") == pytest.approx(product, rel=1e-12)


@pytest.mark.parametrize("letter", ["R", "G", "B"])
@pytest.mark.parametrize("filter", ["", "CLS", "R"])
def test_share_of_a_continuum_is_its_integral(letter: str, filter: str) -> None:
    lamp = SPECTRA["white led"].continuum

    def weighted(nm: float) -> float:
        return float(lamp(nm) * FILTERS[filter](nm) * CLEAR_GLASS(nm) * RESPONSES[letter](nm))

    corners = sorted(
        {nm for c in (lamp, FILTERS[filter], CLEAR_GLASS, RESPONSES[letter]) for nm, _ in c.points}
    )
    corners = [nm for nm in corners if 380 < nm < 740]
    through, _ = integrate.quad(weighted, 380, 740, points=corners, limit=300)
    sent, _ = integrate.quad(lamp, 380, 740, points=corners, limit=300)
    found = Camera(pattern="RGGB").share(letter, "white led", filter)
    assert found == pytest.approx(through / sent, rel=0.01, abs=1e-5)


def test_narrow_filters_leave_light_in_the_channels_that_the_lecture_names() -> None:
    camera = Camera(pattern="RGGB")
    ha, oiii = camera.shares("h-alpha", "Ha"), camera.shares("o iii", "OIII")
    assert ha["R"] > 8 * max(ha["G"], ha["B"])
    assert min(oiii["G"], oiii["B"]) > 5 * oiii["R"]


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG", X_TRANS, "GMCY"])
@pytest.mark.parametrize("shape", [(90, 120), (91, 119)])
def test_every_pixel_sees_through_the_filter_of_its_pattern(pattern: str, shape: tuple[int, int]) -> None:
    camera = replace(PLAIN, pattern=pattern, shape=shape)
    flat = simulate_frame(camera, kind="flat", exposure=1.0, lamp=Lamp(rate=50_000)).values - 100.0
    cells = Pattern(pattern)
    seen = {
        letter: flat[[[cells.letters[y % cells.period[0]][x % cells.period[1]] == letter for x in range(shape[1])]
                      for y in range(shape[0])]]
        for letter in cells.colours
    }  # fmt: skip
    for letter, values in seen.items():
        level = 50_000 * camera.share(letter, "white led") / camera.gain
        assert values.mean() == pytest.approx(level, rel=5e-3)
        assert values.std() == pytest.approx(
            np.sqrt(level / camera.gain + 1 / camera.gain**2 + 1 / 12), rel=0.06
        )


def test_vignetting_is_1_in_the_centre_and_as_stated_in_the_farthest_corner() -> None:
    optics = Optics(vignetting=0.4, centre=(0.25, 0.75))
    passed = optics.throughput((201, 401))
    assert passed[50, 300] == pytest.approx(1.0)
    assert passed.max() <= 1.0
    assert passed[200, 0] == pytest.approx(0.6, abs=1e-6)
    assert passed.argmin() == np.ravel_multi_index((200, 0), passed.shape)
    assert passed[70, 320] == pytest.approx(passed[30, 280], rel=1e-6)  # even about the centre


def test_dust_takes_its_depth_of_the_light_and_leaves_the_middle() -> None:
    passed = Optics(dust=[DustShadow(60, 80, radius=20, depth=0.1, hole=0.4)]).throughput((120, 160))
    assert passed[60, 80] == pytest.approx(1.0)
    assert passed[60, 94] == pytest.approx(0.9)
    assert passed[60, 104] == 1.0
    area = np.pi * 20**2 * (1 - 0.4**2)
    assert (1 - passed).sum() / 0.1 == pytest.approx(area, rel=0.01)


def test_dust_at_the_edge_is_cut_and_beyond_it_is_nothing() -> None:
    specks = [DustShadow(0, 0, 20, 0.1), DustShadow(500, 500, 20, 0.1), DustShadow(-100, 50, 20, 0.1)]
    passed = Optics(dust=specks).throughput((60, 70))
    whole = Optics(dust=specks[:1]).throughput((60, 70))
    assert np.array_equal(passed, whole)
    assert len(random_dust(5, (60, 70), seed=1)) == 5


def test_disc_has_its_area() -> None:
    y, x = np.mgrid[0:200, 0:200].astype(np.float32)
    assert _disc(y[:, :1], x[:1], 100.0, 99.5, 60.0).sum() == pytest.approx(np.pi * 60**2, rel=2e-3)


def test_reflection_is_added_and_not_weakened_by_vignetting() -> None:
    optics = Optics(vignetting=0.5, reflections=[Reflection(0, 0, 12, strength=0.1)])
    flat = {
        effects: truth(PLAIN, kind="flat", exposure=1.0, optics=optics, effects=set(effects)).light.values
        for effects in (("vignetting",), ("vignetting", "reflection"))
    }
    added = flat["vignetting", "reflection"] - flat[("vignetting",)]
    level = truth(PLAIN, kind="flat", exposure=1.0, effects=set()).light.values.mean()
    assert added[2, 2] == pytest.approx(0.1 * level, rel=1e-4)
    assert added[40, 60] == 0


def test_light_leak_reaches_darks_too() -> None:
    optics = Optics(light_leak=40.0)
    dark = simulate_frame(PLAIN, kind="dark", exposure=100.0, optics=optics).values.astype(float)
    left = 40.0 * PLAIN.share("L", "white") * 100 / 2
    assert dark[:, 0].mean() == pytest.approx(100 + left, rel=0.01)
    assert dark[:, -1].mean() == pytest.approx(100, abs=0.5)


def test_a_star_keeps_its_light_wherever_it_falls_in_its_pixels() -> None:
    for y, x in ((45.0, 60.0), (45.49, 60.01), (44.7, 59.3)):
        ((_, light),) = list(Sky(background=0, stars=[(y, x, 900.0)], fwhm=3.0).components((90, 120)))[1:]
        assert light.sum() == pytest.approx(900.0, rel=1e-4)
        rows, columns = np.indices(light.shape)
        assert (light * rows).sum() / 900 == pytest.approx(y, abs=1e-3)
        assert (light * columns).sum() / 900 == pytest.approx(x, abs=1e-3)
        spread = np.sqrt((light * (columns - x) ** 2).sum() / 900)
        assert spread * np.sqrt(8 * np.log(2)) == pytest.approx(
            np.hypot(3.0, np.sqrt(8 * np.log(2) / 12)), rel=0.01
        )


def test_stars_at_the_edge_are_cut() -> None:
    (_, light) = list(
        Sky(background=0, stars=[(0, 0, 100.0), (-300, 5, 1e6), (89, 119.49, 1.0)]).components((90, 120))
    )[1]
    inside = stats.norm.cdf(0.5 / (2.8 / np.sqrt(8 * np.log(2))))
    assert light.sum() == pytest.approx(100 * inside**2 + inside * stats.norm.cdf(0.01 / 1.189), rel=1e-4)
    assert light[0, 0] == light.max()


def test_stars_are_as_many_as_asked_and_many_of_them_faint() -> None:
    stars = Sky(n_stars=2000, star_flux=500.0, stars=[(1, 2, 3)]).star_list((90, 120))
    assert stars.shape == (2001, 3)
    flux = stars[:-1, 2]
    assert flux.max() <= 500.0
    assert ((stars[:, 0] > -1) & (stars[:, 0] < 90) & (stars[:, 1] > -1) & (stars[:, 1] < 120)).all()
    ratio = (flux > 1.0).sum() / (flux > 10.0).sum()
    assert 7 < ratio < 14  # ten times as many for a tenth of the brightness


@pytest.mark.parametrize(("setting", "number"), [({"h_alpha": 7.0}, 1), ({"o_iii": 7.0}, 1)])
def test_nebula_is_as_bright_as_stated_and_fades(setting: dict[str, float], number: int) -> None:
    parts = list(Sky(background=1.0, nebula_size=0.3, **setting).components((200, 300)))
    assert len(parts) == 1 + number
    cloud = parts[1][1]
    assert cloud.max() == pytest.approx(7.0, rel=0.05)
    assert cloud.min() >= 0
    assert cloud[:10].mean() < 0.02 * cloud[80:120, 130:170].mean()


def test_sky_moves_by_its_drift_and_dither_only() -> None:
    sky = Sky(background=2.0, h_alpha=3.0, stars=[(40, 50, 100.0)], drift=(1.0, 2.0))
    still, moved = (sum(light for _, light in sky.components((90, 120), shift=sky.shift(i))) for i in (0, 3))
    assert np.allclose(moved[3:, 6:], still[:-3, :-6], atol=1e-5)
    spread = np.std([Sky(dither=2.5).shift(i) for i in range(400)])
    assert spread == pytest.approx(2.5, rel=0.1)
    stack = simulate_stack(PLAIN, 2, exposure=10.0, sky=sky, frame_index=7).values
    assert not np.array_equal(stack[0], stack[1])
    single = simulate_frame(PLAIN, exposure=10.0, sky=sky, frame_index=8).values
    assert np.array_equal(stack[1], single)


def test_gradient_is_its_share_from_edge_to_edge() -> None:
    for angle, along in ((0.0, 1), (90.0, 0)):
        ((_, light),) = Sky(background=10.0, gradient=0.3, gradient_angle=angle).components((90, 120))
        profile = light.mean(axis=1 - along)
        assert profile[-1] - profile[0] == pytest.approx(3.0, rel=1e-5)
        assert light.mean() == pytest.approx(10.0, rel=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Curve(()),
        lambda: Curve(((500, 1), (400, 1))),
        lambda: Curve(((400, -1),)),
        lambda: Spectrum(),
        lambda: Spectrum(lines=((500, -1.0),)),
        lambda: Optics(vignetting=1.0),
        lambda: Optics(light_leak=-1),
        lambda: DustShadow(1, 1, radius=0, depth=0.1),
        lambda: Reflection(1, 1, radius=5, strength=-1),
        lambda: Sky(background=-1),
        lambda: Sky(fwhm=0.1),
        lambda: Sky(stars=[(1, 2)]),
        lambda: Sky(spectrum="candle"),
        lambda: Lamp(rate=-5),
        lambda: Lamp(spectrum="candle"),
        lambda: Camera(pattern="RGGB").share("R", "white", "Hb"),
        lambda: simulate_frame(PLAIN, filter="../elsewhere"),
    ],
)
def test_what_cannot_be_is_refused(make) -> None:
    with pytest.raises(SettingError, match=r"allowed|needs|given"):
        make()

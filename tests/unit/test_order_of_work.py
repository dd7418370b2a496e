"""Calibrate first and convert then, or the other way round: what it costs, on a simulated warm DSLR."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import calibkit
from calibkit.errors import CalibkitWarning, MismatchError, SettingError
from calibkit.simulate import X_TRANS, Camera, Lamp, Optics, Sky, simulate_frame, simulate_stack, truth

OPTICS = Optics(vignetting=0.3)
SKY = Sky(background=40.0, gradient=0.2)
#: The least factor between the errors: (colour conversion) → (of all pixels, of those beside hot ones).
FACTORS = {"superpixel": (1.1, 2.0), "bilinear": (1.1, 2.0), "edge": (1.4, 3.0)}


class Night:
    """A light and its masters; some pixels are filled by thermal charge alone."""

    def __init__(self, pattern: str) -> None:
        camera = Camera(
            shape=(180, 240), pattern=pattern, gain=1.4, read_noise=7.0, offset=512.0, bit_depth=14,
            full_well=45_000.0, dark_current=0.6, dark_spread=0.1, hot_fraction=0.009, hot_rate=16.0, hot_spread=1.2,
            reference_temperature=28.0, glow_rate=1.0, seed=3,
        )  # fmt: skip
        self.light = simulate_frame(camera, exposure=300.0, sky=SKY, optics=OPTICS, seed=1)
        darks = simulate_stack(camera, 9, kind="dark", exposure=300.0, frame_index=10, seed=1)
        flats = simulate_stack(
            camera,
            9,
            kind="flat",
            exposure=1.0,
            lamp=Lamp(rate=70_000),
            optics=OPTICS,
            frame_index=30,
            seed=1,
        )
        self.dark = calibkit.master_dark(darks)
        self.flat = calibkit.master_flat(flats, bias=calibkit.constant_bias(flats, 512.0))
        perfect = truth(camera, exposure=300.0, sky=SKY, optics=OPTICS)
        self.hot = perfect.hot_rate.values > 0
        self.full = int(perfect.saturated.sum())
        blank = xr.zeros_like(perfect.signal)
        self.perfect = xr.Dataset(
            {
                "signal": perfect.signal.fillna(0.0).astype("f4"),
                "variance": blank.astype("f4") + 1,
                "flags": blank.astype("u2"),
            },
            attrs=perfect.attrs,
        )

    def errors(self, method: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Errors of the right and of the wrong order, (channel, y, x), and which pixels are beside hot ones."""
        # The light is smooth, so that its colours between the pixels are known as well.
        smooth = "superpixel" if method == "superpixel" else "bilinear"
        expected = calibkit.debayer(self.perfect, method=smooth).signal.values
        right = calibkit.debayer(
            calibkit.calibrate(self.light, dark=self.dark, flat=self.flat), method=method
        )
        with pytest.warns(CalibkitWarning, match="calibrate first"):
            wrong = calibkit.convert_too_early(self.light, dark=self.dark, flat=self.flat, method=method)
        assert wrong.signal.dims == right.signal.dims
        assert wrong.variance.isnull().all()
        reached = self.hot if method == "superpixel" else ndimage.binary_dilation(self.hot, np.ones((3, 3)))
        block = self.hot.shape[0] // expected.shape[1]
        rows, columns = (n * block for n in expected.shape[1:])
        beside = reached[:rows, :columns].reshape(expected.shape[1], block, -1, block).any(axis=(1, 3))
        return right.signal.values - expected, wrong.signal.values - expected, beside


def rms(error: np.ndarray) -> float:
    return float(np.sqrt(np.nanmean(error**2)))


@pytest.fixture(scope="module", params=["RGGB", "BGGR", "GRBG", "GBRG", X_TRANS])
def night(request: pytest.FixtureRequest) -> Night:
    return Night(request.param)


@pytest.mark.parametrize("method", FACTORS)
def test_calibrating_first_is_better_by_a_measured_factor(night: Night, method: str) -> None:
    if method == "edge" and night.light.cfa.pattern.period != (2, 2):
        pytest.skip("no edges are followed on X-Trans")
    assert night.full > 20
    right, wrong, beside = night.errors(method)
    everywhere, at_hot_pixels = FACTORS[method]
    for i, colour in enumerate("RGB"):
        assert rms(wrong[i]) > everywhere * rms(right[i]), colour
        assert rms(wrong[i][beside]) > at_hot_pixels * rms(right[i][beside]), colour
        assert rms(wrong[i][~beside]) > 0.99 * rms(right[i][~beside]), colour
        # Done in the right order, what lies beside hot pixels is hardly noisier than the rest.
        assert rms(right[i][beside]) < 1.15 * rms(right[i][~beside]), colour
        assert abs(right[i].mean()) < 0.2 * rms(right[i])


def test_where_edges_are_followed_all_of_the_sky_is_noisier(night: Night) -> None:
    """Light and dark are interpolated in directions of their own, so that their fixed pattern does not cancel."""
    if night.light.cfa.pattern.period != (2, 2):
        pytest.skip("no edges are followed on X-Trans")
    right, wrong, beside = night.errors("edge")
    for i in range(3):
        assert rms(wrong[i][~beside]) > 1.1 * rms(right[i][~beside])


def test_what_cannot_be_done_even_wrongly() -> None:
    light = simulate_frame(Camera(shape=(24, 24), pattern="RGGB"), exposure=1.0)
    dark = calibkit.constant_bias(light, 100.0)
    with pytest.raises(MismatchError, match="one frame"):
        calibkit.convert_too_early(light.expand_dims("frame"))
    with pytest.raises(MismatchError, match="colour pattern"):
        calibkit.convert_too_early(light, dark=dark.assign_attrs(cfa="BGGR"))
    with pytest.raises(SettingError, match="mono"):
        calibkit.convert_too_early(light.assign_attrs(cfa=""))
    with pytest.warns(CalibkitWarning, match="calibrate first"):
        both = calibkit.convert_too_early(light, bias=dark)
    assert float(both.signal.median()) == pytest.approx(float(light.median()) - 100.0, abs=1)

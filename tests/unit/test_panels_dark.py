"""DarkPanel, its state and what it draws from, without a page."""

from __future__ import annotations

import math

import numpy as np
import pytest
import traitlets
import xarray as xr

from calibkit import Camera, find_defects, fit_dark_current, master_dark, simulate_stack
from calibkit.dark.summary import fitted_rates, noise_by_frames
from calibkit.errors import SettingError
from calibkit.panels import DarkPanel
from calibkit.state import DarkState

CAMERA = Camera(shape=(96, 128), gain=2.0, read_noise=10.0, dark_current=0.2, dark_spread=0.0, hot_rate=20.0, doubling=6.0,
                reference_temperature=-10.0)  # fmt: skip


@pytest.fixture(scope="module")
def darks() -> xr.DataArray:
    return simulate_stack(CAMERA, 8, kind="dark", exposure=100.0)


@pytest.fixture(scope="module")
def panel(darks: xr.DataArray) -> DarkPanel:
    return DarkPanel(darks)


def series(camera: Camera) -> xr.DataArray:
    """Darks of three temperatures and two exposures."""
    parts = [
        simulate_stack(camera, 2, kind="dark", exposure=t, temperature=c, frame_index=10 * i + 100 * j)
        for i, t in enumerate((100.0, 600.0))
        for j, c in enumerate((-16.0, -10.0, -4.0))
    ]
    return xr.concat(parts, "frame")


def test_state_refuses() -> None:
    for name, value in {"frames": 1, "frame": -1, "method": "sum", "hot_sigma": 0.0}.items():
        with pytest.raises(traitlets.TraitError):
            DarkState(**{name: value})


@pytest.mark.parametrize(("method", "loss"), [("mean", 1.0), ("median", 1.1)])
def test_noise_by_frames_is_that_of_the_camera(darks: xr.DataArray, method: str, loss: float) -> None:
    found = noise_by_frames(darks, method=method)
    single = math.sqrt((10.0**2 + 0.2 * 100) / 4 + 1 / 12)
    assert found["count"].values.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    np.testing.assert_allclose(found.ideal.values[:, 0], single / np.sqrt(np.arange(1, 9)), rtol=0.03)
    # Halves of 4 frames: the median of four has 1.1 times the noise of their mean (order statistics of a Gaussian).
    assert float(found.measured.sel(count=8)[0]) == pytest.approx(loss * single / math.sqrt(8), rel=0.04)
    assert np.isnan(found.measured.sel(count=7)).all()


def test_the_fit_goes_through_its_points() -> None:
    fit = fit_dark_current([-20.0, 0.0], [1.0, 8.0])
    t, rate = fitted_rates(fit, np.array([-20.0, 0.0]), points=131)
    assert (t[0], t[-1]) == (-23.0, 3.0)
    assert np.interp([-20.0, 0.0], t, rate) == pytest.approx([1.0, 8.0], rel=1e-3)


def test_one_frame_beside_the_master(panel: DarkPanel, darks: xr.DataArray) -> None:
    one, master = panel.view.frames
    assert one.pixel(5, 6)["value"] == darks.values[0, 5, 6]
    assert master.pixel(5, 6)["value"] == np.median(darks.values[:, 5, 6].astype(float))
    assert panel.state.mode == "split"


def test_hot_pixels_are_counted_and_named(panel: DarkPanel, darks: xr.DataArray) -> None:
    expected = find_defects(dark=master_dark(darks, method="median", hot_sigma=None), sigma=5.0)
    number = expected.counts()["L"]["hot"]
    assert number > 5
    assert f"{number} hot pixels" in panel._note.text


def test_number_of_frames_moves_master_and_mark(darks: xr.DataArray) -> None:
    panel = DarkPanel(darks)
    panel.state.frames = 3
    assert panel.errors.text == ""
    assert panel._now.location == 3.0
    assert panel.view.frames[1].pixel(5, 6)["value"] == np.median(darks.values[:3, 5, 6])
    assert panel.result.attrs["n_frames"] == 3
    panel.state.frame = 7
    assert panel.view.frames[0].pixel(5, 6)["value"] == darks.values[7, 5, 6]
    panel.state.frames = 9
    assert "8 frames" in panel.errors.text
    assert panel.state.frames == 3


def test_without_other_temperatures_it_says_so(panel: DarkPanel) -> None:
    assert not panel._rates_plot.visible
    assert "not shown" in panel._rate_note.text


def test_doubling_of_the_camera(darks: xr.DataArray) -> None:
    panel = DarkPanel(darks, temperatures=series(CAMERA))
    assert panel._rates_plot.visible
    assert len(panel._sources["rates"].data["x"]) == 3
    fit = panel.rates.fits["L"]
    assert fit.doubling == pytest.approx(6.0, abs=4 * fit.doubling_error + 0.1)
    assert "doubles every" in panel._rate_note.text


def test_what_cannot_be_is_refused(darks: xr.DataArray) -> None:
    with pytest.raises(SettingError, match="8 frames"):
        DarkPanel(darks, frame=8)
    with pytest.raises(SettingError, match="two or more"):
        DarkPanel(darks.isel(frame=0))

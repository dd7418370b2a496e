"""SignalChainPanel, its state and the demonstration behind it, without a page."""

from __future__ import annotations

import numpy as np
import pytest
import traitlets

from calibkit.errors import SettingError
from calibkit.panels import SignalChainPanel
from calibkit.simulate import EFFECTS
from calibkit.simulate.demonstration import PICTURES, demonstrate_chain
from calibkit.state import SignalChainState


def test_effects_are_checked_and_ordered() -> None:
    state = SignalChainState(effects=["read noise", "dust", "dust"])
    assert state.effects == ("dust", "read noise")
    assert state.settings() == {"effects": ("dust", "read noise")}
    for wrong in (["dandruff"], 3):
        with pytest.raises(traitlets.TraitError, match="vignetting"):
            state.effects = wrong
    with pytest.raises(SettingError, match="dandruff"):
        demonstrate_chain(["dandruff"])


def test_without_effects_nothing_remains() -> None:
    found = demonstrate_chain([], frames=2)
    assert set(PICTURES) == set(found.data_vars)
    assert float(abs(found.remains).max()) == 0.0
    assert found.attrs["scatter_before"] == 0.0
    assert not found.bias.any()


@pytest.mark.parametrize(("frame", "picture"), [("bias", "bias"), ("dark", "dark"), ("flat", "flat")])
def test_what_a_frame_maps_shows_in_it_and_goes(frame: str, picture: str) -> None:
    names = [n for n, e in EFFECTS.items() if e.mapped_by == frame]
    # Rounding and weak pixels apart nothing is left: noise is off. A real camera has an offset below it all.
    found = demonstrate_chain({*names, "offset"}, frames=3)
    without = demonstrate_chain(["offset"], frames=3)
    assert found[picture].std() > 5 * without[picture].std() + 1e-3
    assert found.attrs["scatter_before"] > 2.0
    assert found.attrs["scatter_after"] < 0.6


@pytest.mark.parametrize("name", ["light leak", "sky gradient", "photon noise", "cosmic rays", "reflection"])
def test_what_no_frame_maps_remains(name: str) -> None:
    found = demonstrate_chain([name], frames=3)
    clean = demonstrate_chain([], frames=3)
    assert np.abs(found.remains - clean.remains).max() > 10.0


def test_switches_move_the_setting_and_the_pictures() -> None:
    panel = SignalChainPanel(effects=["offset"], frames=1)
    before = panel._sources["light"].data["value"][0].copy()
    panel._boxes["vignetting"].value = True
    assert panel.state.effects == ("vignetting", "offset")
    after = panel._sources["light"].data["value"][0]
    assert after[0, 0] < before[0, 0]
    assert after[90, 135] == pytest.approx(before[90, 135], rel=0.01)
    panel.state.effects = ()
    assert not any(box.value for box in panel._boxes.values())
    assert panel.errors.text == ""
    assert "0.0 ADU in the calibrated" in panel._says.value


def test_marks_are_those_of_the_effects() -> None:
    panel = SignalChainPanel(effects=[], frames=1)
    for name, box in panel._boxes.items():
        assert box.description.endswith(f"→ {EFFECTS[name].mapped_by}") == bool(EFFECTS[name].mapped_by)


def test_code_and_result() -> None:
    panel = SignalChainPanel(effects=["dust", "hot pixels"], frames=2, temperature=-20.0)
    names: dict = {}
    exec(panel.code, names)  # noqa: S102 (the very thing that is tested)
    assert names["result"].identical(panel.result)
    assert panel.png().startswith(b"\x89PNG")
    assert repr(panel) == "SignalChainPanel(2 of 25 effects on)"

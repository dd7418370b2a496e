"""Which bias, dark, flat and flat dark a light gets, and why it gets none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibkit.io.source import FrameInfo
from calibkit.session.frame import Frame, make_frame
from calibkit.session.grouping import group_frames
from calibkit.session.matching import ROLES, Match, match_lights, unused_groups
from calibkit.session.tolerances import Tolerances

NAN = math.nan
NIGHT = {"2024-01-01": "2024-01-01T22:00:00", "2024-01-20": "2024-01-20T22:00:00"}


def take(
    name: str, kind: str, count: int = 3, *, master: str = "", night: str = "2024-01-01", **facts: Any
) -> list[Frame]:
    """*count* frames of a cooled camera at −10 °C, gain 100, unless told otherwise."""
    plain = {
        "shape": (4, 6),
        "dtype": np.dtype("u2"),
        "full_shape": (4, 6),
        "active": (0, 4, 0, 6),
        "time": np.datetime64(NIGHT[night], "ns"),
        "camera": "C",
        "temperature": -10.0,
        "gain_setting": 100.0,
        "exposure": 0.0 if kind == "bias" else 60.0,
        "filter": "V" if kind in ("flat", "light") else "",
    }
    names = [f"{name}-{i}.fit" for i in range(count)]
    infos = [FrameInfo(**{**plain, "path": Path(name), **facts}) for name in names]
    return [
        make_frame(info, name, kind=kind, reason="test", night=night, master=master)
        for name, info in zip(names, infos, strict=True)
    ]


def match(*sets: list[Frame], **limits: Any) -> Match:
    """The one match of a session made of these frames."""
    tolerances = Tolerances(**limits)
    (found,) = match_lights(
        group_frames([frame for frames in sets for frame in frames], tolerances), tolerances
    )
    assert set(found.why) == {role for role in ROLES if found[role] is not None}
    assert set(found.missing) == {role for role in ROLES if found[role] is None}
    return found


LIGHT = take("light", "light", exposure=60.0)


def test_a_plain_session() -> None:
    found = match(
        LIGHT,
        take("bias", "bias"),
        take("dark", "dark", 10),
        take("dark5", "dark", exposure=5.0),
        take("flat", "flat", exposure=5.0),
        take("flatB", "flat", exposure=5.0, filter="B"),
    )
    names = [found[role] and found[role].name for role in ROLES]  # type: ignore[union-attr]
    assert names == ["bias", "dark 60 s", "flat V", "dark 5 s", "bias"]
    assert found.dark_scale is found.flat_dark_scale is None
    assert found.why["dark"] == "10 frames, 60 s, −10.0 °C (light: −10.0 °C)"
    assert found.why["flat"] == "3 frames, 5 s, filter V, same night"


def test_flat_darks_go_before_darks_for_flats_and_behind_them_for_lights() -> None:
    sets = (LIGHT, take("a", "dark"), take("b", "flat dark"), take("flat", "flat", exposure=60.0))
    found = match(*sets)
    assert (found.dark.kind, found.flat_dark.kind) == ("dark", "flat dark")  # type: ignore[union-attr]
    found = match(sets[0], sets[2])
    assert found.dark is not None
    assert found.dark.kind == "flat dark"


@pytest.mark.parametrize(
    ("kind", "facts", "words"),
    [
        ("dark", {"shape": (4, 8)}, "size 8 × 4, wanted 6 × 4"),
        ("bias", {"shape": (4, 8)}, "size 8 × 4, wanted 6 × 4"),
        ("flat", {"shape": (4, 8)}, "size 8 × 4, wanted 6 × 4"),
        ("dark", {"origin": (2, 1)}, "its first pixel is sensor pixel (x 1, y 2), wanted (x 0, y 0)"),
        ("flat", {"cfa": "RGGB"}, "colour pattern RGGB, wanted none"),
        ("dark", {"binning": (2, 2)}, "binning 2×2, wanted 1×1"),
        ("dark", {"gain_setting": 200.0}, "gain/ISO 200, wanted 100"),
        ("bias", {"gain_setting": 200.0}, "gain/ISO 200, wanted 100"),
        ("flat", {"gain_setting": 200.0}, "gain/ISO 200, wanted 100"),
        ("dark", {"temperature": -5.0}, "temperature −5.0 °C, wanted −10.0 °C (± 3)"),
        ("bias", {"temperature": 5.0}, "temperature 5.0 °C, wanted −10.0 °C (± 10)"),
        ("dark", {"camera": "D"}, "camera 'D', wanted 'C'"),
        ("flat", {"filter": "B"}, "filter B, wanted V"),
        ("dark", {"exposure": 30.0}, "exposure 30 s, wanted 60 s"),
        ("dark", {"temperature": NAN}, "does not say its temperature, wanted −10.0 °C"),
        ("bias", {"gain_setting": NAN}, "does not say its gain/ISO, wanted 100"),
        ("flat", {"filter": ""}, "does not say its filter, wanted V"),
        ("dark", {"exposure": NAN}, "does not say its exposure, wanted 60 s"),
        ("flat", {"night": "2024-01-20"}, "of the night 2024-01-20, 19 days away (limit 24 h)"),
    ],
)
def test_a_wrong_mix_is_refused_with_the_reason(kind: str, facts: dict[str, Any], words: str) -> None:
    found = match(LIGHT, take("other", kind, **facts))
    assert found[kind] is None
    assert words in found.missing[kind]
    assert found.missing[kind].startswith(f"3 {kind} frames found, none fits: ")


def test_header_facts_beside_the_frame_are_compared_too() -> None:
    light = take("light", "light", header={"OFFSET": 10, "READOUTM": "Low noise"})
    found = match(light, take("dark", "dark", header={"OFFSET": 50, "READOUTM": "Fast"}))
    assert "camera offset 50, wanted 10, readout mode 'Fast', wanted 'Low noise'" in found.missing["dark"]
    assert match(light, take("dark", "dark")).dark is not None


def test_two_unlike_gains_in_electrons() -> None:
    light = take("light", "light", gain_setting=NAN, gain=1.5)
    dark = take("dark", "dark", gain_setting=NAN, gain=2.06)
    assert "gain 2.06 e⁻/ADU, wanted 1.5 e⁻/ADU" in match(light, dark).missing["dark"]


def test_nothing_at_all() -> None:
    found = match(LIGHT)
    assert found.missing["bias"] == "there are no biases in the session"
    assert found.missing["dark"] == "there are no darks in the session"
    assert found.missing["flat dark"] == "there is no flat that would need one"


def test_what_the_light_does_not_say_excludes_nothing() -> None:
    light = take("light", "light", temperature=NAN, gain_setting=NAN, filter="")
    found = match(light, take("dark", "dark"), take("flat", "flat"))
    assert found.dark is not None
    assert found.flat is not None
    assert (found.dark.kind, found.flat.kind) == ("dark", "flat")


def test_but_it_must_not_be_guessed_either() -> None:
    light = take("light", "light", filter="", temperature=NAN, exposure=NAN)
    found = match(light, take("b", "flat", filter="B"), take("v", "flat", filter="V"))
    assert found.missing["flat"].startswith(
        "the light does not say its filter, and flats of several are here (B, V)"
    )
    found = match(light, take("a", "dark", exposure=30.0), take("b", "dark", exposure=60.0))
    assert "does not say its exposure, and darks of several are here (30 s, 60 s)" in found.missing["dark"]
    found = match(
        take("light", "light", temperature=NAN), take("a", "dark"), take("b", "dark", temperature=5.0)
    )
    assert "does not say its temperature, and darks of several are here" in found.missing["dark"]


def test_the_unknown_may_be_accepted_and_is_told() -> None:
    darks = take("dark", "dark", temperature=NAN)
    assert "Tolerances(unknown='accept') would take" in match(LIGHT, darks).missing["dark"]
    found = match(LIGHT, darks, unknown="accept")
    assert found.dark is not None
    assert found.doubts["dark"] == ("it does not say its temperature",)
    assert found.why["dark"].endswith("but it does not say its temperature")


def test_lights_that_drift_away_from_their_dark_are_told() -> None:
    lights = [frame for i in range(7) for frame in take(f"l{i}", "light", 1, temperature=20.0 + 1.1 * i)]
    found = match(lights, take("dark", "dark", temperature=25.0))
    assert found.dark is not None
    assert found.doubts["dark"] == ("the lights drift between 20.0 °C and 26.6 °C, it is of 25.0 °C",)


def test_properties_can_be_ignored() -> None:
    dark = take("dark", "dark", camera="D", gain_setting=200.0, temperature=10.0)
    assert match(LIGHT, dark, ignore=("camera", "gain")).dark is None
    assert match(LIGHT, dark, ignore=("camera", "gain", "temperature")).dark is not None


def test_the_nearest_temperature_then_the_nearest_time() -> None:
    warm, cold = take("warm", "dark", temperature=-8.0), take("cold", "dark", temperature=-11.5)
    found = match(LIGHT, warm, cold)
    assert found.dark is not None
    assert found.dark.temperature == -11.5
    assert found.why["dark"].endswith("; before dark 60 s −8.0 °C")
    old = take("old", "bias", dtype=np.dtype("i2"), night="2024-01-20")
    near = take("near", "bias")
    assert match(LIGHT, old, near).bias.frames[0].relative == "near-0.fit"  # type: ignore[union-attr]


def test_flats_of_the_same_night_first_and_of_the_next_morning_at_all() -> None:
    def flats(name: str, night: str, time: str) -> list[Frame]:
        infos = take(name, "flat", night="2024-01-01", time=np.datetime64(time, "ns"), exposure=2.0)
        return [make_frame(f.info, f.relative, kind="flat", reason="test", night=night) for f in infos]

    morning = flats("morning", "2024-01-02", "2024-01-02T20:00:00")
    assert match(LIGHT, morning).why["flat"].endswith(", night of 2024-01-02")
    same = flats("same", "2024-01-01", "2024-01-01T18:00:00")
    assert match(LIGHT, morning, same).flat.night == "2024-01-01"  # type: ignore[union-attr]


def test_a_dark_of_another_exposure_is_scaled_when_there_are_biases() -> None:
    darks = take("long", "dark", 12, exposure=300.0)
    found = match(LIGHT, darks)
    assert found.dark is None
    assert found.missing["dark"].endswith(
        "exposure 300 s, wanted 60 s; it could be scaled if there were biases"
    )
    found = match(LIGHT, darks, take("bias", "bias"))
    assert found.dark is not None
    assert found.dark_scale == pytest.approx(0.2)
    assert "none of 60 s, so it is scaled by 0.2 after its bias is subtracted" in found.why["dark"]


def test_the_camera_s_black_level_serves_as_bias() -> None:
    light = take("light", "light", black={"L": 60.0})
    found = match(light, take("long", "dark", exposure=300.0))
    assert found.bias is None
    assert found.dark_scale == pytest.approx(0.2)


def test_of_several_scalable_darks_the_least_noisy() -> None:
    sets = [take(f"d{t}", "dark", n, exposure=float(t)) for t, n in ((100, 20), (300, 1), (200, 4))]
    found = match(LIGHT, take("bias", "bias"), *sets)
    assert found.dark is not None
    assert found.dark.exposure == 100.0  # 0.6/√20 = 0.134 beats 0.3/√4 = 0.15; one frame alone comes last


def test_darks_are_scaled_down_only() -> None:
    short = take("short", "dark", exposure=30.0)
    found = match(LIGHT, take("bias", "bias"), short)
    assert found.dark is None
    assert (
        "its noise would be multiplied by 2: Tolerances(max_dark_scale=2) allows it" in found.missing["dark"]
    )
    assert match(LIGHT, take("bias", "bias"), short, max_dark_scale=2).dark_scale == 2.0
    assert match(LIGHT, take("bias", "bias"), take("l", "dark", exposure=90.0), max_dark_scale=0).dark is None


def test_scaled_darks_need_the_right_temperature_too() -> None:
    found = match(LIGHT, take("bias", "bias"), take("warm", "dark", exposure=300.0, temperature=0.0))
    assert found.dark is None
    assert "temperature 0.0 °C, wanted −10.0 °C" in found.missing["dark"]


def test_a_very_short_flat_needs_no_scaled_dark() -> None:
    found = match(LIGHT, take("bias", "bias"), take("dark", "dark"), take("flat", "flat", exposure=0.2))
    assert found.flat_dark is None
    assert found.flat_bias is not None
    assert found.missing["flat dark"].endswith("for so short an exposure the bias is enough")


def test_no_single_dark_fits_sky_flats() -> None:
    sky = [frame for i in range(6) for frame in take(f"sky{i}", "flat", 1, exposure=1.5**i)]
    found = match(LIGHT, sky, take("dark1", "dark", exposure=1.0), take("bias", "bias"))
    assert len(found.flat or ()) == 6
    assert "exposure 1 s, wanted 1 s to 7.59375 s" in found.missing["flat dark"]


def test_ready_masters() -> None:
    master = {"master": "COMBINED", "count": 1}
    found = match(
        LIGHT,
        take("mbias", "bias", **master),
        take("mdark", "dark", **master, header={"SUBBIAS": "yes"}),
        take("mflat", "flat", **master, header={"CALSTAT": "BD"}),
    )
    assert [found[role] and found[role].name for role in ROLES] == [  # type: ignore[union-attr]
        "master bias",
        "master dark 60 s",
        "master flat V",
        None,
        None,
    ]
    assert (
        found.missing["flat dark"] == "not needed: it was subtracted from the flat already (CALSTAT = 'BD')"
    )


def test_a_bias_subtracted_dark_needs_a_bias() -> None:
    found = match(LIGHT, take("m", "dark", 1, master="COMBINED", header={"SUBBIAS": "yes"}))
    assert "its bias is subtracted already, and there is no bias for the light" in found.missing["dark"]


def test_raw_frames_enough_to_reject_from_go_before_a_master_and_that_before_two() -> None:
    master = take("m", "dark", 1, master="COMBINED")
    assert not match(LIGHT, master, take("raw", "dark", 3)).dark.master  # type: ignore[union-attr]
    assert match(LIGHT, master, take("raw", "dark", 2)).dark.master == "COMBINED"  # type: ignore[union-attr]


def test_calibrated_lights_and_combined_lights_are_left_alone() -> None:
    done = take("done", "light", header={"CALSTAT": "BDF"})
    found = match(done, take("dark", "dark"))
    assert found.dark is None
    assert "calibrated already: bias (CALSTAT = 'BDF')" in found.missing["dark"]
    assert match_lights(group_frames(take("stack", "light", 1, master="STACKCNT"))) == []


def test_unused_groups_are_named() -> None:
    frames = [
        *LIGHT,
        *take("dark", "dark"),
        *take("other", "dark", exposure=5.0),
        *take("flat", "flat", filter="B"),
    ]
    groups = group_frames(frames)
    assert [group.name for group in unused_groups(groups, match_lights(groups))] == ["dark 5 s", "flat B"]

"""What holds for any session: order does not matter, groups are a partition, nothing is left unexplained."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from calibkit.io.source import FrameInfo
from calibkit.session.clusters import by_gap, by_tolerance
from calibkit.session.kinds import kind_in_name, words_in
from calibkit.session.matching import ROLES
from calibkit.session.scanning import assemble
from calibkit.session.session import Session

NAN = math.nan


@st.composite
def frames(draw: st.DrawFn) -> list[tuple[str, FrameInfo]]:
    """Up to 25 frames of two cameras that say what they are, in part."""
    found = []
    for i in range(draw(st.integers(1, 25))):
        kind = draw(st.sampled_from(["bias", "dark", "flat", "flat dark", "light", ""]))
        shape = draw(st.sampled_from([(4, 6), (4, 8)]))
        minutes = draw(st.integers(0, 4000))
        info = FrameInfo(
            path=Path(f"{i}.fit"),
            shape=shape,
            dtype=np.dtype("u2"),
            full_shape=shape,
            active=(0, shape[0], 0, shape[1]),
            kind=kind,
            kind_reason="IMAGETYP" if kind else "",
            exposure=draw(st.sampled_from([0.0, 1.0, 30.0, 30.02, 60.0, NAN])),
            gain_setting=draw(st.sampled_from([100.0, 200.0, NAN])),
            temperature=draw(st.one_of(st.just(NAN), st.floats(-25, 5))),
            filter=draw(st.sampled_from(["", "V", "B"])),
            time=np.datetime64("2024-01-01T12:00", "ns") + np.timedelta64(minutes, "m"),
            cfa=draw(st.sampled_from(["", "RGGB"])),
            camera=draw(st.sampled_from(["", "C"])),
        )
        found.append((f"{draw(st.sampled_from(['', 'darks/', 'x/']))}{i}.fit", info))
    return found


def facts(session: Session) -> list[object]:
    """Everything that a session concludes, as plain values."""
    groups = [
        (group.name, [frame.relative for frame in group.frames], group.notes) for group in session.groups
    ]
    matches = [
        (m.light.name, {r: m[r] and m[r].name for r in ROLES}, m.why, m.missing, m.dark_scale)  # type: ignore[union-attr]
        for m in session.matches
    ]
    return [
        groups,
        matches,
        session.warnings,
        [(f.relative, f.kind, f.reason, f.night) for f in session.frames],
    ]


@settings(max_examples=60)
@given(found=frames(), seed=st.integers(0, 2**16))
def test_the_order_of_files_does_not_matter(found: list[tuple[str, FrameInfo]], seed: int) -> None:
    shuffled = random.Random(seed).sample(found, len(found))
    assert facts(assemble(found, folder=Path("night"))) == facts(assemble(shuffled, folder=Path("night")))


@settings(max_examples=60)
@given(found=frames())
def test_groups_are_a_partition_and_all_is_explained(found: list[tuple[str, FrameInfo]]) -> None:
    session = assemble(found, folder=Path("night"))
    grouped = [frame.relative for group in session.groups for frame in group.frames]
    assert sorted(grouped + [frame.relative for frame in session.unknown]) == sorted(
        name for name, _ in found
    )
    assert len({group.slug.casefold() for group in session.groups}) == len(session.groups)
    for frame in session.frames:
        assert frame.reason
    for group in session.groups:
        assert len({(f.kind, f.info.shape, f.info.cfa, f.info.camera) for f in group.frames}) == 1
    lights = [frame for group in session.groups if group.kind == "light" for frame in group.frames]
    assert sum(len(match.light) for match in session.matches) == len(lights)
    for match in session.matches:
        for role in ROLES:
            assert bool(match.why.get(role)) == (match[role] is not None)
            assert bool(match.missing.get(role)) == (match[role] is None)


@settings(max_examples=100)
@given(found=frames())
def test_no_match_mixes_what_must_not_be_mixed(found: list[tuple[str, FrameInfo]]) -> None:
    """Size, pattern and known gains agree in every match, and so does a dark's exposure and temperature."""
    for match in assemble(found, folder=Path("night")).matches:
        pairs = [(match[role], match.light) for role in ("bias", "dark", "flat")]
        pairs += [(match[role], match.flat) for role in ("flat dark", "flat bias")]
        for chosen, target in pairs:
            if chosen is None or target is None:
                continue
            assert chosen.info.shape == target.info.shape
            assert chosen.info.cfa == target.info.cfa
            assert chosen.gain_setting == target.gain_setting or math.isnan(
                chosen.gain_setting + target.gain_setting
            )
        if match.dark is not None:
            scale = match.dark_scale or 1.0
            assert (
                math.isnan(match.light.exposure)
                or abs(match.dark.exposure * scale - match.light.exposure) <= 0.06
            )
            assert match.dark_scale is None or (match.bias is not None and match.dark_scale <= 1)
            assert not abs(match.dark.temperature - match.light.temperature) > 3.0001
        if match.flat is not None and match.light.filter:
            assert match.flat.filter == match.light.filter


@given(
    st.lists(st.one_of(st.just(NAN), st.floats(-50, 50)), max_size=30), st.floats(0, 10), st.floats(0.1, 20)
)
def test_clusters_are_a_partition_within_their_limits(values: list[float], gap: float, span: float) -> None:
    for clusters in (by_gap(values, jump=gap, span=span), by_tolerance(values, lambda _: gap)):
        assert sorted(i for cluster in clusters for i in cluster) == list(range(len(values)))
    for cluster in by_gap(values, jump=gap, span=span):
        inside = sorted(values[i] for i in cluster)
        if not math.isnan(inside[0]):
            assert inside[-1] - inside[0] <= span + 1e-6
            assert all(b - a <= gap + 1e-6 for a, b in pairwise(inside))


@given(st.text(max_size=40))
def test_any_name_can_be_read(name: str) -> None:
    assert kind_in_name(name) in ("", "bias", "dark", "flat", "flat dark", "light")
    assert all(word == word.casefold() and word for word in words_in(name))

"""Every public function on every kind of colour filter array, at odd sizes, cropped at odd places.

Each either gives what the simulated truth says, in every channel under its own name, or refuses with the reason.
"""

from __future__ import annotations

import inspect
import warnings

import pytest

import calibkit as ck
from calibkit.errors import CalibkitError, CalibkitWarning
from tests.every_pattern import colour, lights, measuring
from tests.every_pattern.scene import PATTERNS, Scene, Work

WORK: Work = {**measuring.WORK, **colour.WORK, **lights.WORK}
#: Public functions that are given no frames, whose frames every row uses, or that their own files test so.
ELSEWHERE = {
    *("can_reject", "fit_dark_current", "plan_exposures"),
    *("open_stack", "scan", "open_result", "sample_session", "deck_pixels"),
    *("simulate_frame", "simulate_stack", "write_session", "truth", "session_truth"),
    *("open_image", "difference", "view_of"),
    *("read_recipe", "write_recipe", "process"),
    *("hyperbolic_curve", "save_picture"),
}


@pytest.fixture(scope="module", params=PATTERNS)
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(PATTERNS[request.param])


def test_no_public_function_is_forgotten() -> None:
    public = {name for name in ck.__all__ if inspect.isfunction(getattr(ck, name))}
    table = {name.split()[0] for name in WORK}
    assert public - ELSEWHERE <= table, "add a row to a table of tests/every_pattern for each"
    assert (table | ELSEWHERE) <= set(ck.__all__)


@pytest.mark.parametrize("work", WORK)
def test_odd_sizes_at_odd_places(scene: Scene, work: str) -> None:
    check, refused = WORK[work]
    name = next(name for name, pattern in PATTERNS.items() if pattern == scene.camera.pattern)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", CalibkitWarning)
        if name not in refused:
            check(scene)
            return
        with pytest.raises(CalibkitError, match=refused[name]):
            check(scene)

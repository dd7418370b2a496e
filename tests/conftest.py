"""Fixtures shared by every kind of test."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

#: A kernel may be compiled by any example, and the machine may be busy: nothing is judged by the clock.
hypothesis.settings.register_profile("calibkit", deadline=None)
hypothesis.settings.load_profile("calibkit")

pytest.register_assert_rewrite("tests.every_pattern")

ROOT = Path(__file__).resolve().parents[1]
#: Real frames by others: never part of the repository, so tests that want them skip without them.
REAL_FRAMES = Path(os.environ.get("CALIBKIT_REAL_FRAMES", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """``shared_data("feder")`` is the folder of that name, or skips the test by name."""

    def folder(name: str) -> Path:
        path = REAL_FRAMES / name
        if not path.exists():
            pytest.skip(f"real frames {name!r} are not here ({REAL_FRAMES})")
        return path

    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests come last: the page's driver keeps an event loop running that others would meet."""
    browser = Path(__file__).parent / "browser"
    items.sort(key=lambda item: browser in item.path.parents)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """``pytest -n 2``: whole files, since their tests share what they make, and in our order."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # by number of tests, which would bring browser tests in between
    return LoadFileScheduling(config, log)

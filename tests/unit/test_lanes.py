"""Several pieces of work at once: their order, what is done besides, and how they end."""

from __future__ import annotations

import threading
import time

import pytest

from calibkit.combining.cluster import _MOST_BANDS, _together
from calibkit.errors import Cancelled
from calibkit.pipeline.lanes import Lanes, waited_for
from calibkit.progress import silent


def test_who_has_no_job_does_what_is_spare() -> None:
    done: list[str] = []
    met = threading.Event()

    def job(name: str, *_: object) -> str:
        if name == "first":
            assert met.wait(20), "the second thread is idle, for the other job waits for this one"
        done.append(name)
        return name

    def spare(name: str) -> None:
        done.append(name)
        met.set()
        raise OSError(name)  # of no interest: who needs it finds out

    found = Lanes(silent).run(
        job,
        [("first",), ("second",)],
        "jobs",
        before=0,
        total=2,
        after=[(), (0,)],
        at_once=3,
        spare=(spare, [("spare",)]),
    )
    assert found == ["first", "second"]
    assert done == ["spare", "first", "second"]


def test_what_is_spare_is_dropped_when_the_rest_is_done() -> None:
    begun: list[int] = []

    def spare(number: int) -> None:
        begun.append(number)
        time.sleep(0.01)

    lanes = Lanes(silent)
    others = [(number,) for number in range(1000)]
    assert lanes.run(str, [(1,), (2,)], "jobs", before=0, total=2, at_once=1, spare=(spare, others)) == [
        "1",
        "2",
    ]
    assert len(begun) < 1000
    assert begun == sorted(begun)


@pytest.mark.parametrize("at_once", [1, 4])
def test_the_first_error_ends_the_work(at_once: int) -> None:
    begun: list[int] = []

    def job(number: int) -> None:
        begun.append(number)
        if number == 1:
            msg = "no"
            raise ValueError(msg)
        time.sleep(0.01)

    with pytest.raises(ValueError, match="no"):
        Lanes(silent).run(job, [(n,) for n in range(1000)], "jobs", before=0, total=1000, at_once=at_once)
    assert len(begun) < 1000


def test_progress_is_told_in_the_thread_that_asked() -> None:
    """What the jobs tell themselves, and how many of them are done, counted on."""
    told: list[tuple[int, int, str]] = []
    threads: set[int] = set()
    heard = threading.Event()

    def progress(*how_far: object) -> None:
        told.append(how_far)
        threads.add(threading.get_ident())
        if how_far == (2, 3, "rows"):
            heard.set()

    lanes = Lanes(progress)

    def job(number: int) -> int:
        assert threading.get_ident() not in threads
        lanes(number, 3, "rows")
        assert number < 2 or heard.wait(20), "what is told in one thread is heard in the other"
        return 2 * number

    lanes(0, 9, "here")
    assert lanes.run(job, [(0,), (1,), (2,)], "jobs", before=4, total=9, at_once=2) == [0, 2, 4]
    assert threads == {threading.get_ident()}
    assert told[0] == (0, 9, "here")
    counts = [done for done, _, what in told if what == "jobs"]
    assert counts == sorted(set(counts))
    assert counts[-1] == 7


@pytest.mark.parametrize("error", [Cancelled("enough"), KeyboardInterrupt()])
def test_a_progress_that_raises_stops_what_has_begun(error: BaseException) -> None:
    stopped: list[str] = []
    begun = threading.Barrier(2)

    def progress(_done: int, _total: int, what: str) -> None:
        if what == "rows":
            raise error

    lanes = Lanes(progress)

    def job(name: str) -> None:
        begun.wait(20)
        end = time.monotonic() + 20
        try:
            while time.monotonic() < end:
                lanes.heed(3, 8, name) if name == "quiet" else lanes(3, 8, "rows")
                time.sleep(0.001)
        except Cancelled as stop:
            stopped.append(str(stop))

    with pytest.raises(type(error)) as raised:
        lanes.run(job, [("quiet",), ("telling",)], "jobs", before=0, total=2, at_once=2)
    assert raised.value is error
    assert sorted(stopped) == ["quiet: stopped after 3 of 8", "rows: stopped after 3 of 8"]


@pytest.mark.parametrize("count", [1, 2, 7, 73, 400])
@pytest.mark.parametrize("threads", [1, 2, 16])
def test_bands_go_to_workers_in_groups_that_end_small(count: int, threads: int) -> None:
    bands = [(3 * i, 3 * i + 3) for i in range(count)]
    jobs = _together(bands, threads)
    assert [band for job in jobs for band in job] == bands
    sizes = [len(job) for job in jobs]
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) <= _MOST_BANDS
    assert sum(size == 1 for size in sizes) >= min(threads, count), (
        "at the end everyone still has something to do"
    )


def test_what_others_wait_for_directly_or_not() -> None:
    assert waited_for([]) == []
    assert waited_for([(), (), (0,), (2, 1), (0,)]) == [3, 1, 1, 0, 0]

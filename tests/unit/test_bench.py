"""The ring's benchmark measures what it says: every peer delivers what was sent, or is found out.

Nothing here looks at how long anything took.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.records import TICK
from tests.perf.ring.bare import loops
from tests.perf.ring.pair import Inbox, Pair, Peer, numbered, outcome
from tests.perf.ring.peers import peers
from tests.perf.ring.rings import rings
from tests.perf.ring.schedules import BURST_SPACING_NS, SCHEDULES, bursts, steady
from tests.perf.ring.throughput import BATCH, rate

RECORDS = 200
PEERS = [*rings(), *loops(), *peers()]

two_cpus = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")


@two_cpus
@pytest.mark.parametrize("peer", PEERS, ids=[peer.name for peer in PEERS])
def test_a_peer_delivers_every_record_as_it_was_sent_run_after_run(
    peer: Peer, tmp_path: Path
) -> None:
    if missing := peer.missing():
        pytest.skip(missing)
    with Pair([peer], tmp_path, RECORDS) as pair:
        for _ in range(2):
            found = pair.run(peer, steady(20_000, RECORDS))
            assert (found.sent, found.lost) == (RECORDS, 0)
            assert len(found.latency_ns) == RECORDS
            assert (found.latency_ns > 0).all()


@two_cpus
def test_peers_take_turns_in_the_same_two_processes(tmp_path: Path) -> None:
    present = [peer for peer in [*rings(), *loops()] if not peer.missing()]
    with Pair(present, tmp_path, RECORDS) as pair:
        for peer in [*present, *reversed(present)]:
            assert pair.run(peer, steady(20_000, RECORDS)).lost == 0


class _Failing(Peer):
    """A peer whose reader ends."""

    name = "failing"

    def be_reader(self) -> None:
        os._exit(3)

    def be_writer(self) -> None:
        """There is none."""


@two_cpus
def test_a_reader_that_ends_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    peer = _Failing()
    everywhere = os.sched_getaffinity(0)
    with (
        pytest.raises(RuntimeError, match="failing: its reader ended"),
        Pair([peer], tmp_path, RECORDS) as pair,
    ):
        pair.run(peer, steady(20_000, RECORDS))
    assert os.sched_getaffinity(0) == everywhere


def _received(rows: NDArray[np.void]) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    return rows, np.arange(len(rows), dtype=np.int64) * 10 + 7


def test_a_latency_counts_from_the_intended_time() -> None:
    sent = numbered(3)[:-1]
    due = np.array([0, 10, 20], np.int64)
    assert outcome(sent, due, *_received(sent.copy())).latency_ns.tolist() == [7, 7, 7]


def test_a_lost_record_is_counted_and_shifts_no_other() -> None:
    sent = numbered(3)[:-1]
    due = np.array([0, 10, 20], np.int64)
    found = outcome(sent, due, sent[[0, 2]].copy(), np.array([7, 27], np.int64))
    assert (found.sent, found.lost, found.latency_ns.tolist()) == (3, 1, [7, 7])


def test_a_record_that_was_not_sent_so_is_found() -> None:
    sent = numbered(3)[:-1]
    torn = sent.copy()
    torn["price_e4"][1] += 1
    with pytest.raises(AssertionError, match="was not sent so"):
        outcome(sent, np.zeros(3, np.int64), *_received(torn))


def test_a_record_that_arrives_twice_is_found() -> None:
    sent = numbered(3)[:-1]
    with pytest.raises(AssertionError, match="twice"):
        outcome(sent, np.zeros(3, np.int64), *_received(sent[[0, 1, 1]]))


def test_an_inbox_gives_each_record_the_time_of_its_receive() -> None:
    inbox, rows = Inbox(4), numbered(3)
    inbox.log[: rows.nbytes] = rows.tobytes()
    np.frombuffer(inbox.times, np.int64)[:2] = (100, 200)
    np.frombuffer(inbox.sizes, np.int64)[:2] = (3 * TICK.itemsize, TICK.itemsize)
    inbox.finish(2)
    records, times = inbox.records()
    assert records.tobytes() == rows[:-1].tobytes()
    assert times.tolist() == [100, 100, 100]


def test_the_schedules_are_the_rates_they_are_called() -> None:
    per_second = {"1 k/s": 1_000, "10 k/s": 10_000, "100 k/s": 100_000, "1 M/s": 1_000_000}
    named = {schedule.name: schedule.offsets_ns for schedule in SCHEDULES}
    for name, rate_wanted in per_second.items():
        assert set(np.diff(named[name]).tolist()) == {1_000_000_000 // rate_wanted}
    assert (np.diff(bursts()) >= BURST_SPACING_NS).all()


def _spoil(rows: NDArray[np.void]) -> None:
    rows["price_e4"][0] += 1


def _fail(rows: NDArray[np.void]) -> None:
    raise ValueError("no more")


@pytest.mark.parametrize("consume", [_spoil, _fail])
def test_throughput_tells_of_a_reader_that_failed_or_got_another_tick(
    consume: Callable[[NDArray[np.void]], None],
) -> None:
    with pytest.raises(RuntimeError, match="lost ticks or failed"):
        rate([consume], BATCH, seconds=0.01)


def test_throughput_counts_what_all_readers_got() -> None:
    assert rate([len, len], BATCH, seconds=0.01) > 0

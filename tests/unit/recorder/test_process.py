"""The recorder beside a feed that waits for nobody: complete, killed, shut out, without room."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.brokers.recorded.journal import JOURNAL, LOCK, unsettled_days, write_journal
from pipeline.brokers.recorded.parquet import recorded
from pipeline.brokers.recorded.recording import read_recording, symbols_of
from pipeline.channels.feed_line import FeedLine
from pipeline.channels.line import READER_NAMES
from pipeline.channels.locks import lock_is_held
from pipeline.channels.rundir import own_run
from pipeline.channels.watch import Watch
from pipeline.errors import AlreadyRunning, RecordingFailed
from pipeline.recorder import process
from pipeline.records import ProcessState
from pipeline.settings import Settings
from tests.money import guide
from tests.rig import Processes, until, without_seq
from tests.rig import processes as processes
from tests.rig import ticks as numbered

DAY_NS = 1_767_583_800 * 10**9  # 2026-01-05 09:00 IST
FOLDER = "2026-01-05"
Make = Callable[..., Settings]


def ticks(first: int, count: int) -> np.ndarray:
    """Return ticks of one instrument on one day, told apart by their price."""
    rows = without_seq(numbered(first, count))
    rows["instrument"] = 0
    rows["price_e4"] = np.arange(first, first + count)
    rows["ts_event_ns"] = DAY_NS + rows["price_e4"]
    return rows


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def settings(*overrides: str) -> Settings:
        return guide(
            f"channels.directory='{tmp_path / 'tickpipe-tests' / 'one'}'",
            f"recorder.directory='{tmp_path / 'rec'}'",
            *overrides,
        )

    return settings


class Feeds:
    """Opens feeds, and closes those that a test has not ended."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._opened: list[FeedLine] = []

    def start(self, *overrides: str) -> FeedLine:
        self._opened.append(FeedLine(self._make(*overrides)))
        return self._opened[-1]

    def publish(self, rows: np.ndarray) -> None:
        self._opened[-1].ticks.publish(rows)

    def end_all(self) -> None:
        while self._opened:
            self._opened.pop().close()


@pytest.fixture
def feeds(make: Make) -> Iterator[Feeds]:
    """Own a run; return what opens its feed. None of its readers is there."""
    with own_run(make().run_directory, READER_NAMES, print):
        opened = Feeds(make)
        yield opened
        opened.end_all()


def seqs_recorded(directory: Path) -> list[int]:
    (rows,) = symbols_of(directory / FOLDER).values()
    assert (rows["price_e4"] == rows["seq"]).all(), "intact"
    return [int(seq) for seq in rows["seq"]]


def counts(directory: Path) -> dict[str, object]:
    newest = max(directory.glob("recording-*.json"), key=lambda path: path.name)
    found: dict[str, object] = json.loads(newest.read_text())
    return found


def parts(directory: Path) -> int:
    return len(list(directory.glob(f"*/{JOURNAL}/*.parquet")))


def test_a_recorder_that_comes_late_has_every_tick_that_the_ring_still_has(
    make: Make, feeds: Feeds, processes: Processes, tmp_path: Path
) -> None:
    line = feeds.start("channels.ring_capacity=1024")
    line.ticks.publish(ticks(1, 600))
    line.ticks.publish(ticks(601, 600))
    recorder = processes.fork(lambda: int(process.run(make())))
    watch = Watch(make().run_directory)
    until(lambda: "recorder" in watch.latest() and watch.latest()["recorder"]["ticks"][0] > 0)
    line.ticks.publish(ticks(1201, 100))
    feeds.end_all()
    assert recorder.result() == 0
    assert seqs_recorded(tmp_path / "rec") == list(range(177, 1301))
    beat = watch.latest()["recorder"]
    assert int(beat["ticks"][0]) + int(beat["lost"][0]) == int(beat["last_seq"][0]) == 1300
    assert int(beat["state"][0]) == ProcessState.STOPPED
    found = counts(tmp_path / "rec")
    assert found["state"] == "ended"
    ticks_counted = found["counted"]["ticks"]  # type: ignore[index]
    assert ticks_counted == {"published": 1300, "recorded": 1124, "lost": 176}
    watch.close()


def test_the_feed_waits_for_no_recorder(make: Make, feeds: Feeds) -> None:
    line = feeds.start()
    line.ticks.publish(ticks(1, 10))
    assert line.unread == 0
    assert "recorder" not in [slot.name for slot in line._places.values()]


def test_killed_twenty_times_each_goes_on_where_the_one_before_came_to(
    make: Make, feeds: Feeds, processes: Processes, tmp_path: Path
) -> None:
    chance = random.Random(20)
    line = feeds.start()
    settings = make("recorder.flush_ticks_max=200", "recorder.flush_seconds_max=0.05")
    published = 0
    for _ in range(20):
        written = recorded_ticks(tmp_path / "rec")
        recorder = processes.fork(lambda: int(process.run(settings)))
        for _ in range(chance.randrange(1, 60)):
            line.ticks.publish(ticks(published + 1, 20))
            published += 20
        if chance.random() < 0.8:  # else perhaps before it has written anything
            until(lambda: recorded_ticks(tmp_path / "rec") > written)  # noqa: B023
        for _ in range(chance.randrange(1, 200)):
            line.ticks.publish(ticks(published + 1, 5))
            published += 5
        recorder.send(signal.SIGKILL)
        if (tmp_path / "rec" / FOLDER).exists():
            _assert_without_holes(tmp_path / "rec")
    last = processes.fork(lambda: int(process.run(settings)))
    until(lambda: recorded_ticks(tmp_path / "rec") == published)
    feeds.end_all()
    assert last.result() == 0
    assert unsettled_days(tmp_path / "rec") == []
    assert seqs_recorded(tmp_path / "rec") == list(range(1, published + 1))
    (found,) = [json.loads(path.read_text()) for path in tmp_path.glob("rec/recording-*.json")]
    assert found["state"] == "ended"
    assert found["counted"]["ticks"] == {"published": published, "recorded": published, "lost": 0}


def test_what_was_only_on_a_ring_that_is_gone_is_counted_as_lost(
    make: Make, feeds: Feeds, processes: Processes, tmp_path: Path
) -> None:
    settings = make("recorder.flush_ticks_max=100")
    feeds.start().ticks.publish(ticks(1, 100))
    recorder = processes.fork(lambda: int(process.run(settings)))
    until(lambda: recorded_ticks(tmp_path / "rec") == 100)
    recorder.send(signal.SIGKILL)
    recorder.wait_for_death()
    feeds.publish(ticks(101, 50))
    feeds.end_all()
    feeds.start().ticks.publish(ticks(151, 10))
    last = processes.fork(lambda: int(process.run(settings)))
    watch = Watch(settings.run_directory)
    until(lambda: int(watch.latest()["recorder"]["last_seq"][0]) == 160)
    watch.close()
    feeds.end_all()
    assert last.result() == 0
    assert seqs_recorded(tmp_path / "rec") == [*range(1, 101), *range(151, 161)]
    found = counts(tmp_path / "rec")["counted"]["ticks"]  # type: ignore[index]
    assert found == {"published": 160, "recorded": 110, "lost": 50}


def _assert_without_holes(directory: Path) -> None:
    """Of every recording there is all from where it began to the end of its last part."""
    (rows,) = symbols_of(directory / FOLDER).values()
    assert (rows["price_e4"] == rows["seq"]).all(), "intact"
    for recording in np.unique(rows["recording_ns"]):
        seqs = rows["seq"][rows["recording_ns"] == recording].astype(np.int64)
        assert (np.diff(seqs) == 1).all()


def test_the_next_start_says_what_a_killed_one_may_have_missed(
    make: Make,
    feeds: Feeds,
    processes: Processes,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = feeds.start()
    settings = make("recorder.flush_ticks_max=100")
    recorder = processes.fork(lambda: int(process.run(settings)))
    line.ticks.publish(ticks(1, 150))
    until(lambda: recorded_ticks(tmp_path / "rec") == 150)
    recorder.send(signal.SIGKILL)
    recorder.wait_for_death()
    line.ticks.publish(ticks(151, 10))
    until(lambda: not lock_is_held(tmp_path / "rec" / LOCK))
    settings = make("recorder.flush_ticks_max=100", "run.name='another'")
    stop_soon = processes.fork(lambda: stop_when_recorded(tmp_path / "rec", 160, os.getppid()))
    process.run(settings)
    assert stop_soon.result() == 160
    assert "cut short" in caplog.text
    assert "up to seq 150 150 ticks are recorded and 0 lost" in caplog.text


def stop_when_recorded(directory: Path, count: int, recorder_pid: int) -> int:
    until(lambda: recorded_ticks(directory) == count)
    os.kill(recorder_pid, signal.SIGTERM)
    return recorded_ticks(directory)


def recorded_ticks(directory: Path) -> int:
    """Return what the newest recording says that it has on the disk."""
    if not any(directory.glob("recording-*.json")):
        return 0
    return int(counts(directory)["counted"]["ticks"]["recorded"])  # type: ignore[index]


def test_a_living_journal_is_read_and_left_alone(
    make: Make, feeds: Feeds, processes: Processes, tmp_path: Path
) -> None:
    line = feeds.start()
    settings = make("recorder.flush_ticks_max=100")
    recorder = processes.fork(lambda: int(process.run(settings)))
    line.ticks.publish(ticks(1, 150))
    until(lambda: recorded_ticks(tmp_path / "rec") == 150)
    there = parts(tmp_path / "rec")
    assert len(read_recording(tmp_path / "rec" / FOLDER, settings.instruments)) == 150
    with pytest.raises(AlreadyRunning, match="records there"):
        process.run(settings)
    assert parts(tmp_path / "rec") == there
    recorder.assert_alive()
    feeds.end_all()
    assert recorder.result() == 0


def test_a_damaged_part_of_yesterday_does_not_keep_today_from_being_recorded(
    make: Make, feeds: Feeds, processes: Processes, tmp_path: Path
) -> None:
    settings = make()
    yesterday = ticks(1, 5)
    yesterday["ts_event_ns"] -= 86_400 * 10**9
    rows = recorded("ticks", yesterday, 1)
    write_journal(tmp_path / "rec", "1-000001", "ticks", rows, settings.instruments)
    (part,) = (tmp_path / "rec").glob("*/journal/*.parquet")
    part.write_bytes(part.read_bytes()[:100])
    line = feeds.start()
    line.ticks.publish(ticks(1, 50))
    feeds.end_all()
    assert processes.fork(lambda: int(process.run(settings))).result() == 0
    assert len(seqs_recorded(tmp_path / "rec")) == 50
    assert part.exists()


def test_what_a_killed_one_left_is_settled_at_the_end_and_not_before_the_first_tick(
    make: Make, feeds: Feeds, processes: Processes, tmp_path: Path
) -> None:
    settings = make("recorder.flush_ticks_max=50")
    yesterday = ticks(1, 5)
    yesterday["seq"] = np.arange(1, 6)
    yesterday["ts_event_ns"] -= 86_400 * 10**9
    rows = recorded("ticks", yesterday, 1)
    write_journal(tmp_path / "rec", "1-000001", "ticks", rows, settings.instruments)
    (part,) = (tmp_path / "rec").glob("*/journal/*.parquet")
    line = feeds.start()
    recorder = processes.fork(lambda: int(process.run(settings)))
    line.ticks.publish(ticks(1, 60))
    until(lambda: recorded_ticks(tmp_path / "rec") == 60)
    assert part.exists()
    feeds.end_all()
    assert recorder.result() == 0
    assert unsettled_days(tmp_path / "rec") == []
    assert len(read_recording(part.parent.parent, settings.instruments)) == 5


def test_a_full_disk_ends_the_recorder_with_its_message_and_leaves_what_was_whole(
    make: Make, feeds: Feeds, small_disk: Path, processes: Processes
) -> None:
    settings = make(f"recorder.directory='{small_disk}'", "recorder.flush_ticks_max=50")

    def record() -> str:
        with pytest.raises(RecordingFailed) as caught:
            process.run(settings)
        return str(caught.value)

    line = feeds.start()
    recorder = processes.fork(record)
    published = 0
    while not recorder_ended(recorder.pid):
        line.ticks.publish(ticks(published + 1, 50))
        published += 50
        until(
            lambda: recorder_ended(recorder.pid) or recorded_ticks(small_disk) == published  # noqa: B023
        )
    message = recorder.result()
    assert "No space left on device" in message
    assert "cure: make room" in message
    seqs = seqs_recorded(small_disk)
    assert len(seqs) > 0
    assert not list(small_disk.glob("*/*/.*")), "no half of a file is left"


def recorder_ended(pid: int) -> bool:
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return ended is not None

"""The liveness file: its content in each phase of a session, and its age."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.host.process import this_process
from hybrid_platform.maintenance.lease import Lease, read_holder
from hybrid_platform.observability.liveness import LIVENESS_FILE, LivenessWriter, SessionPhase, read_liveness
from hybrid_platform.security.paths import DataDir
from hybrid_platform.testing import ListLog, TestClock
from hybrid_platform_tests.support import run_in_process, synthetic_feed, wait_until


def test_liveness_from_start_to_end(tmp_path: Path):
    seen = []
    ended = run_in_process(
        tmp_path / "data",
        {"seconds": 0.2, "isolation": "thread"},
        synthetic_feed(50),
        before_postflight=lambda artifacts: seen.append(read_liveness(DataDir(artifacts.data_dir))),
        with_report=False,
    )
    (record,) = seen
    assert record is not None
    assert (record.session_id, record.owner, record.phase) == (ended.session_id, this_process(), SessionPhase.ENDED)
    assert record.n == 2, "one at the start, one at the end"
    assert read_holder(tmp_path / "data" / "bot.db.lease") is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"session_id": 1}', "\x00"])
def test_unreadable_liveness_file_gives_none(tmp_path: Path, content: str):
    data_dir = DataDir(tmp_path)
    assert read_liveness(data_dir) is None
    data_dir.write_atomic(LIVENESS_FILE, content.encode())
    assert read_liveness(data_dir) is None


def test_record_ages_without_a_polling_supervisor(tmp_path: Path):
    data_dir, clock = DataDir(tmp_path), TestClock()
    with Lease(tmp_path / "bot.db.lease", "s") as lease:
        pulse = LivenessWriter(data_dir, lease, "s", "run", clock, ListLog(), beat_seconds=0.01)
        pulse.start()
        pulse.watch(clock.monotonic_ns, lambda error: None)
        clock.advance(100)
        wait_until(lambda: (record := read_liveness(data_dir)) and record.at_ns == clock.wall_ns(), "a new record")
        assert read_liveness(data_dir).age_s(clock.wall_ns() + 2 * NS_PER_S) == 2
        polled = clock.monotonic_ns()
        pulse.watch(lambda: polled, lambda error: None)
        clock.advance(50)
        wait_until(lambda: read_liveness(data_dir).unsupervised_ms == 50_000, "a record without polling")
        assert read_liveness(data_dir).age_s(clock.wall_ns()) == 50
        pulse.enter_closing()
        wait_until(lambda: read_liveness(data_dir).phase is SessionPhase.CLOSING, "the closing phase")
        assert read_liveness(data_dir).age_s(clock.wall_ns()) == 0
        pulse.stop()
        pulse.stop()
    assert read_liveness(data_dir).phase is SessionPhase.ENDED


def test_lease_lost_during_start_is_reported_once_running(tmp_path: Path):
    losses: list[BaseException] = []
    data_dir = DataDir(tmp_path)
    with Lease(tmp_path / "bot.db.lease", "s") as lease:
        pulse = LivenessWriter(data_dir, lease, "s", "run", TestClock(), ListLog(), beat_seconds=0.01)
        pulse.start()
        (tmp_path / "bot.db.lease").unlink()
        wait_until(lambda: read_liveness(data_dir).n > 6, "checks that find the lease missing")
        pulse.watch(lambda: 0, losses.append)
        wait_until(lambda: losses, "the loss")
        count = read_liveness(data_dir).n
        wait_until(lambda: read_liveness(data_dir).n > count + 3, "more records")
        pulse.stop()
    assert len(losses) == 1


def test_lost_lease_is_reported_once(tmp_path: Path):
    losses: list[BaseException] = []
    data_dir = DataDir(tmp_path)
    with Lease(tmp_path / "bot.db.lease", "s") as lease:
        pulse = LivenessWriter(data_dir, lease, "s", "run", TestClock(), ListLog(), beat_seconds=0.01)
        pulse.watch(lambda: 0, losses.append)
        pulse.start()
        (tmp_path / "bot.db.lease").unlink()
        wait_until(lambda: losses, "the loss")
        count = read_liveness(data_dir).n
        wait_until(lambda: read_liveness(data_dir).n > count + 3, "more records")
        pulse.stop()
    assert len(losses) == 1 and "expected this session to hold the lease" in str(losses[0])


def test_failed_write_is_logged_once(tmp_path: Path):
    data_dir, log = DataDir(tmp_path / "data"), ListLog()
    data_dir.make_dir(LIVENESS_FILE)
    with Lease(tmp_path / "bot.db.lease", "s") as lease:
        pulse = LivenessWriter(data_dir, lease, "s", "run", TestClock(), log, beat_seconds=0.01)
        pulse.start()
        wait_until(
            lambda: (holder := read_holder(tmp_path / "bot.db.lease")) and holder.beat > 3, "more beats of the lease"
        )
        pulse.stop()
    assert len(log.of("liveness file not written")) == 1

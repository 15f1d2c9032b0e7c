"""A session under load: its readings, log lines, counts and end (S15)."""

from __future__ import annotations

from collections import deque
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from hybrid_platform.domain.clocks import NS_PER_MS
from hybrid_platform.domain.errors import ExitCode, OverloadError
from hybrid_platform.domain.records import (
    CpuPressure,
    PressureAverages,
    PressureSource,
    ResourcePressure,
)
from hybrid_platform.evidence.chain import EventChain
from hybrid_platform.evidence.records import OverloadFigures, ProofVerdict
from hybrid_platform.gates.session_checks import judge_overload
from hybrid_platform.log.events import LogEvent
from hybrid_platform.observability.counters import FeedCounters
from hybrid_platform.observability.session_view import ChannelStats
from hybrid_platform.security.paths import DataDir
from hybrid_platform.session.overload.monitor import OverloadMonitor, build_limits, can_throttle
from hybrid_platform.session.overload.sampling import Sampler
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.testing import Drop, ListLog, LocalVenue, Repeat, Send, Skip, TestClock
from hybrid_platform.testing.frames import binance_trades
from hybrid_platform_tests.support import (
    InProcessRun,
    make_csv_rows,
    replay_feed,
    run_in_process,
    synthetic_feed,
    write_csv,
)

pytestmark = pytest.mark.scenario("S15")


class Host:
    """A host, a feed and channels whose load a test sets, under a clock that it moves."""

    def __init__(self, **overload: Any) -> None:
        settings = load_settings({"overload": overload, **synthetic_feed(100)}, environ={})
        self.clock, self.log, self.sampler = TestClock(), ListLog(), Sampler()
        self.counters = FeedCounters(lag_ns=deque([0]))
        self.failures: list[tuple[str, BaseException]] = []
        self.pressure, self.left, self.dropped, self.rate, self.came = 0.0, 0, 0, 100.0, 0.0
        self.watch = OverloadMonitor(
            settings,
            self.sampler,
            read_pressure=lambda: psi(self.pressure),
            channels=lambda: (
                ChannelStats("tick", 256, "DROP_OLDEST", 0, 0, self.dropped, self.left, 0, 0),
                ChannelStats("persist", 512, "DROP_OLDEST", 0, 0, 0, 0, 0, 0),
            ),
            counters=self.counters,
            clock=self.clock,
            log=self.log,
            on_failure=lambda *told: self.failures.append(told),
        )

    def run(self, seconds: float, **load: Any) -> Host:
        for name, value in load.items():
            setattr(self, name, value)
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.came += self.rate / 10
            self.counters.received = int(self.came)
            self.watch.poll()
        return self

    @property
    def figures(self) -> OverloadFigures:
        return self.watch.figures(self.clock.monotonic_ns())


def psi(percent: float) -> CpuPressure:
    line = PressureAverages(percent, percent, percent, 0)
    return CpuPressure(0, PressureSource.PSI, 0.0, ResourcePressure(line, None), None, None)


def test_lasting_pressure_throttles_and_a_calm_host_recovers():
    host = Host().run(30, pressure=59.9)
    assert (host.sampler.every, host.figures.stepped) == (1, 0)
    host.run(45, pressure=85)
    assert host.sampler.every == 10
    host.run(70, pressure=12)
    assert host.sampler.every == 1
    assert [(line["before"], line["sample_every"]) for line in host.log.of(LogEvent.LADDER_STEPPED)] == [
        (1, 2), (2, 5), (5, 10), (10, 5), (5, 2), (2, 1),
    ]  # fmt: skip
    assert host.log.of(LogEvent.LADDER_STEPPED)[0]["why"] == "CPU pressure 85 %, limit 60 %"
    assert [entry.level for entry in host.log.entries] == ["WARNING"] * 3 + ["INFO"] * 3
    figures = host.figures
    assert [(step.before, step.after) for step in figures.steps] == [(1, 2), (2, 5), (5, 10), (10, 5), (5, 2), (2, 1)]
    assert figures.steps[0].elapsed_s == pytest.approx(41, abs=1)
    assert sum(figures.seconds_at.values()) == pytest.approx(145)
    assert figures.above_s == figures.longest_above_s == pytest.approx(45, abs=1)
    assert not host.failures


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"pressure": 99.0}, "CPU pressure 99 %"),
        ({"left": 256}, "queue 100 %"),
    ],
    ids=["pressure", "queue"],
)
def test_each_kind_of_load_climbs_and_ends_in_overload(load, words):
    host = Host(stop_seconds=30).run(60, **load)
    assert not host.failures and host.sampler.every == 10
    host.run(30)
    ((stage, error),) = host.failures
    assert stage == "overload" and isinstance(error, OverloadError) and error.exit_code == ExitCode.OVERLOAD
    assert "top of the throttle ladder (every 10th tick) within 30 s" in str(error) and words in str(error)
    assert host.figures.stopped


def test_a_channel_that_dropped_counts_as_full():
    host = Host()
    for _ in range(15):
        host.dropped += 1
        host.run(1)
    assert host.sampler.every == 2


def test_a_backlog_climbs_and_a_constant_lag_does_not():
    host = Host()
    host.counters.lag_ns[0] = 5_000 * NS_PER_MS
    host.run(40)
    assert host.sampler.every == 1, "five seconds of distance or clock difference are not a backlog"
    for _ in range(40):
        host.counters.lag_ns[0] += 900 * NS_PER_MS
        host.run(1)
    assert host.sampler.every > 1
    assert "lag" in host.log.of(LogEvent.LADDER_STEPPED)[0]["why"]


def test_a_slow_feed_is_monitored_but_never_sampled():
    host = Host().run(300, pressure=100.0, rate=9)
    assert (host.sampler.every, host.failures) == (1, [])
    assert host.figures.exempt_s == host.figures.above_s == pytest.approx(300, abs=2)
    verdict = judge_overload(host.figures)[2]
    assert verdict is ProofVerdict.NOT_RUN


def test_a_feed_that_becomes_slow_recovers():
    host = Host().run(15, pressure=100.0)
    assert host.sampler.every == 2
    host.run(30, rate=2)
    assert host.sampler.every == 1
    assert host.log.of(LogEvent.LADDER_STEPPED)[-1]["why"].startswith("CPU pressure 100 %")


def test_sampling_can_be_switched_off():
    host = Host(sample=False).run(300, pressure=100.0)
    assert (host.sampler.every, host.failures) == (1, [])
    assert host.figures.above_s > 290


def test_a_gate_switched_off_switches_pressure_off():
    """Unless the overload settings set a limit of their own."""
    off = {"gates": {"cpu_pressure_limit": 100}}
    assert build_limits(load_settings(environ={})).pressure == 60
    assert build_limits(load_settings(off, environ={})).pressure is None
    assert build_limits(load_settings({**off, "overload": {"pressure_limit": 30}}, environ={})).pressure == 30
    assert build_limits(load_settings({"overload": {"pressure_limit": 100}}, environ={})).pressure is None
    assert build_limits(load_settings({"overload": {"queue_limit": 101}}, environ={})).queue is None


@pytest.mark.parametrize(
    ("feed", "has"),
    [(synthetic_feed(2), True), (synthetic_feed("max"), False), (replay_feed("x.csv"), False)],
    ids=["synthetic", "as fast as it goes", "replay"],
)
def test_only_a_paced_live_feed_can_be_throttled(feed, has):
    assert can_throttle(load_settings(feed, environ={})) is has


def test_sampling_is_part_of_trading_sha256():
    base, other = (load_settings({"overload": {"pressure_limit": n}}, environ={}).trading_sha256 for n in (60, 61))
    assert base != other


def test_the_proof_states_the_readings():
    calm = Host().run(20, pressure=3.0)
    _, actual, verdict = judge_overload(calm.figures)
    assert verdict is ProofVerdict.PASS
    assert actual.startswith("CPU pressure at most 3 % of 60 %, ")
    acted = judge_overload(Host().run(30, pressure=70).figures)
    assert acted[2] is ProofVerdict.PASS and "steps, at most every 5th tick, 0 sampled out" in acted[1]
    assert judge_overload(None)[2] is ProofVerdict.NOT_RUN
    off = Host(pressure_limit=100).run(20)
    assert judge_overload(off.figures)[2] is ProofVerdict.NOT_RUN


# Whole sessions

QUICK = {"step_up_seconds": 0.3, "step_down_seconds": 0.3}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> InProcessRun:
    """A session on a host that is always above the limit, which ends at the top."""
    settings = {"seconds": 30, "isolation": "thread", "overload": {"pressure_limit": 0, "stop_seconds": 0.5, **QUICK}}
    return run_in_process(
        tmp_path_factory.mktemp("loaded") / "data", synthetic_feed(200, symbols=["A/USD", "B/USD"]), settings
    )


def test_an_overloaded_session_climbs_and_stops(loaded: InProcessRun):
    assert loaded.code == 13
    assert (loaded.session["state"], loaded.session["exit_reason"]) == ("FAILED", "OverloadError")
    assert loaded.evidence("session")["failure"].startswith("overload: expected the load to fall below its limits")
    steps = [(line["before"], line["sample_every"]) for line in loaded.logged(LogEvent.LADDER_STEPPED)]
    assert steps == [(1, 2), (2, 5), (5, 10)]
    overload = loaded.evidence("session")["overload"]
    assert [(step["before"], step["after"]) for step in overload["steps"]] == steps
    assert overload["stopped"] and overload["seconds_at"]["10"] >= 0.5


@pytest.mark.scenario("S6")
def test_sampled_out_ticks_are_counted_by_level(loaded: InProcessRun):
    """They are neither shown to the strategy nor persisted."""
    ledger = loaded.ledger()
    out = ledger["feed", "synthetic", "sampled_out"]
    assert out > 20
    assert ledger["feed", "synthetic", "received"] == ledger["feed", "synthetic", "accepted"] + out
    assert loaded.count("ticks") == ledger["channel", "tick", "received"] == ledger["feed", "synthetic", "accepted"]
    by_rung = {name: count for (kind, name, _), count in ledger.items() if kind == "ladder"}
    assert sum(by_rung.values()) == out and set(by_rung) == {"every 2", "every 5", "every 10"}
    assert loaded.evidence("session")["ledger"]["balances"]
    assert [row["seq"] for row in loaded.rows("SELECT seq FROM ticks ORDER BY seq")] == [
        *range(1, loaded.count("ticks") + 1)
    ]
    assert loaded.logged("FINAL METRICS")[0]["sampled_out"] == out


def test_each_step_is_in_the_event_chain_and_the_proof(loaded: InProcessRun):
    chain = (loaded.data_dir / "evidence" / loaded.session_id / "events.jsonl").read_text()
    assert chain.count(LogEvent.LADDER_STEPPED) == 3
    (proof,) = [proof for proof in loaded.evidence("postflight")["proofs"] if proof["id"] == "S15"]
    assert proof["verdict"] == "PASS" and "3 steps, at most every 10th tick" in proof["actual"]


def test_a_replay_is_never_sampled(tmp_path: Path):
    path = write_csv(tmp_path / "trades.csv", make_csv_rows(300))
    settings = {"isolation": "thread", "overload": {"pressure_limit": 0, "min_ticks_per_second": 0, **QUICK}}
    ended = run_in_process(tmp_path / "data", replay_feed(path), settings, with_report=False)
    assert ended.count("ticks") == 300
    assert ended.evidence("session")["overload"] is None
    (proof,) = [proof for proof in ended.evidence("postflight")["proofs"] if proof["id"] == "S15"]
    assert proof["verdict"] == "NOT_RUN"


def test_a_step_down_is_in_the_event_chain_too(tmp_path: Path):
    chain = EventChain(DataDir(tmp_path), "20260102T030405Z-1a2b3c4d", TestClock())
    chain.watch({"level": "info", "message": LogEvent.LADDER_STEPPED, "sample_every": 1})
    chain.flush()
    (events,) = tmp_path.rglob("events.jsonl")
    assert LogEvent.LADDER_STEPPED in events.read_text()


def test_both_reports_show_the_ladder(loaded: InProcessRun):
    assert "## Load and sampling" in loaded.report
    for step in ("1 → 2", "2 → 5", "5 → 10"):
        assert step in loaded.report
    page = (loaded.data_dir / "evidence" / loaded.session_id / "report.html").read_text()
    assert "Throttle ladder (S15)" in page and "5 → 10" in page and "yes: OVERLOAD" in page


@pytest.mark.scenario("S3", "I3")
def test_duplicates_and_gaps_are_not_taken_for_sampling(tmp_path: Path):
    """A venue sends 300 trades, loses 7 with the connection, repeats its last 60 on the next one, and continues."""
    script = [[Send(300, per_second=300), Skip(7), Drop()], [Repeat(60), Send(200, per_second=300)]]
    ladder = {"pressure_limit": 0, "step_up_seconds": 0.3, "stop_seconds": None}
    with LocalVenue(islice(binance_trades(["BTCUSDT"]), 507), script) as venue:
        source = {"venue": "binance", "symbols": ["BTCUSDT"], "url": venue.url}
        feed = {"sources": [source], "backoff_seconds": 0.01, "backoff_max_seconds": 0.02}
        settings = {"feed": {"websocket": feed}, "seconds": 5, "isolation": "thread", "overload": ladder}
        ended = run_in_process(tmp_path / "data", settings, with_report=False)
    assert ended.code == 0, ended.output
    feed_rows = {reason: count for (kind, _, reason), count in ended.ledger().items() if kind == "feed"}
    assert feed_rows["sampled_out"] > 100
    # A reset line may lose some that were under way: those are among the sixty that come again.
    assert 0 < feed_rows["duplicate"] <= 60
    assert feed_rows["accepted"] + feed_rows["sampled_out"] == 500, "an id that was left out is known when it returns"
    assert feed_rows["received"] == 500 + feed_rows["duplicate"]
    gaps = ended.rows("SELECT missing FROM gaps WHERE missing > 0")
    assert [gap["missing"] for gap in gaps] == [7], "and not a gap"

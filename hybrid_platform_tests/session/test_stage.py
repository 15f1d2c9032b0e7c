"""A stage ends in one of three ways, and the stages before and after it end too (S13, L3)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.session.channel import Channel, EndOfStream
from hybrid_platform.session.heartbeat import Heartbeats
from hybrid_platform.session.overload.watchdog import StageStuck, Watchdog
from hybrid_platform.session.stage import Stage, StageStatus
from hybrid_platform.session.supervisor import Supervisor
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.settings.runtime import OnFull
from hybrid_platform.testing import ListLog

WAIT = 30.0


class One:
    """A message of one event."""

    events = 1

    def split(self, first: int) -> None:
        return None


class Source(Stage):
    """Puts messages until it is stopped."""

    def __init__(self, output: Channel[Any], stop: threading.Event, failures: list[Any]) -> None:
        super().__init__("source", (), (output,), lambda *told: failures.append(told))
        self._output, self._stop = output, stop

    def work(self) -> None:
        while not self._stop.is_set():
            self._output.send(One())


class Relay(Stage):
    """Forwards messages, and calls ``then`` on one of them."""

    def __init__(self, inp: Channel[Any], output: Channel[Any], failures: list[Any], then: Any = None) -> None:
        super().__init__("relay", (inp,), (output,), lambda *told: failures.append(told))
        self._input, self._output, self._then = inp, output, then

    def work(self) -> None:
        forwarded = 0
        while True:
            self.progress.mark_idle()
            try:
                messages = self._input.receive()
            except EndOfStream:
                return
            self.progress.mark_busy()
            for message in messages:
                self._output.send(message)
                forwarded += 1
                if forwarded > 100 and self._then is not None:
                    self._then()


class Sink(Stage):
    """Takes everything, and counts."""

    def __init__(self, inp: Channel[Any], failures: list[Any]) -> None:
        super().__init__("sink", (inp,), (), lambda *told: failures.append(told))
        self._input, self.taken = inp, 0

    def work(self) -> None:
        while True:
            try:
                self.taken += len(self._input.receive())
            except EndOfStream:
                return


class Line:
    """source -> relay -> sink, over channels that block: a pipeline as its supervisor and watchdog see it."""

    def __init__(self, then: Any = None) -> None:
        self.stop, self.failures, self.stop_reasons = threading.Event(), [], []
        self.first = Channel[Any]("first", 10, OnFull.BLOCK)
        self.second = Channel[Any]("second", 10, OnFull.BLOCK, producers=2)
        self.source = Source(self.first, self.stop, self.failures)
        self.relay = Relay(self.first, self.second, self.failures, then)
        self.sink = self.persist = Sink(self.second, self.failures)
        self.stages = (self.source, self.relay)
        self.all_stages = (*self.stages, self.sink)
        self.persist_channel = self.second
        self.rows_received = 0
        self.log = ListLog()

    @property
    def is_stopping(self) -> bool:
        return self.stop.is_set()

    def statuses(self) -> list[StageStatus]:
        return [stage.status for stage in reversed(self.all_stages)]

    def metrics(self) -> dict[str, Any]:
        return {}

    def drain_progress(self) -> object:
        return None

    def poll(self) -> None:
        pass

    def after_heartbeat(self) -> None:
        pass

    def request_stop(self, reason: str) -> None:
        self.stop_reasons.append(reason)
        self.stop.set()

    def fail(self, part: str, error: BaseException) -> None:
        self.failures.append((part, error))
        self.stop.set()

    def supervised(self, *, starts_late: bool = False, watchdog: dict[str, Any] | None = None, **options: Any) -> Any:
        """Start the stages and a supervisor; ``starts_late``: its thread first runs when the stages have ended."""
        clock = SystemClock()
        defaults: dict[str, Any] = {
            "watchdog": Watchdog(
                load_settings({"watchdog": watchdog or {}}, environ={}),
                self,
                feed="source",
                started=clock.monotonic_ns(),
            ),
            "heartbeats": Heartbeats(0.05, 30),
            "time_limit_seconds": None,
            "drain_timeout_seconds": WAIT,
            "clock": clock,
            "log": self.log,
        }
        supervisor = Supervisor(self, **{**defaults, **options})
        for stage in reversed(self.all_stages):
            stage.start()
        if starts_late:
            self.stop.set()
            assert self.source.join(WAIT) and self.relay.join(WAIT)
        supervisor.start()
        return supervisor


def relay_fails() -> None:
    raise ZeroDivisionError("no idea")


@pytest.mark.scenario("S13")
def test_a_stop_drains_every_stage_and_loses_no_event():
    line = Line()
    supervisor = line.supervised(time_limit_seconds=0.2)
    assert supervisor.ended.wait(WAIT)
    assert line.failures == []
    first, second = line.first.stats(), line.second.stats()
    assert first.sent == first.received > 0
    assert first.depth == second.depth == 0
    beats = len(line.log.of("HEARTBEAT (G4)"))
    assert line.sink.taken == first.sent + beats, "heartbeats go the same way"


@pytest.mark.scenario("G4")
def test_a_very_short_session_has_its_heartbeat():
    """It is over before the supervisor polls for the first time."""
    line = Line()
    supervisor = line.supervised(starts_late=True)
    assert supervisor.ended.wait(WAIT)
    assert line.failures == []
    assert len(line.log.of("HEARTBEAT (G4)")) == 1
    assert line.sink.taken == line.first.stats().sent + 1


@pytest.mark.scenario("L3", "S13")
def test_a_failed_stage_stops_its_source_and_drains_its_sink():
    line = Line(relay_fails)
    supervisor = line.supervised()
    assert supervisor.ended.wait(WAIT)
    assert not any(stage.is_alive for stage in (line.source, line.relay, line.sink))
    ((stage, error),) = line.failures
    assert stage == "relay" and isinstance(error, ZeroDivisionError)
    assert line.second.stats().depth == 0
    first = line.first.stats()
    assert first.sent == first.received + first.dropped + first.depth


@pytest.mark.scenario("S13", "G4")
def test_a_stuck_stage_is_named_and_heartbeats_continue():
    """The heartbeats continue until the drain has failed."""
    release = threading.Event()
    line = Line(lambda: release.wait(WAIT))
    supervisor = line.supervised(time_limit_seconds=0.2, drain_timeout_seconds=0.5)
    assert supervisor.ended.wait(WAIT)
    ((stage, error),) = line.failures
    assert stage == "supervisor" and isinstance(error, StageStuck)
    assert str(error).endswith("got stuck for 0.5 s: relay")
    assert len(line.log.of("HEARTBEAT (G4)")) > 3
    assert not line.sink.is_alive
    release.set()


@pytest.mark.scenario("S13")
def test_a_stage_stuck_during_a_run_is_named_as_its_failure():
    release = threading.Event()
    line = Line(lambda: release.wait(WAIT))
    supervisor = line.supervised(watchdog={"stuck_seconds": 0.5})
    assert supervisor.ended.wait(WAIT)
    ((stage, error),) = line.failures
    assert stage == "relay" and isinstance(error, StageStuck)
    assert str(error).startswith("expected progress of a stage at work, got none for 0.")
    assert not line.source.is_alive and not line.sink.is_alive, "who waited for it was woken"
    release.set()


def test_a_time_limit_is_asked_for_once():
    line = Line()
    supervisor = line.supervised(time_limit_seconds=0.1)
    assert supervisor.ended.wait(WAIT)
    assert line.stop_reasons == ["TIME_LIMIT"]

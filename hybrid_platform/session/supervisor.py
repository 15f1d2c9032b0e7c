"""The supervising thread: heartbeats, the time limit, the drain and the end of the other threads (G4, S13).

It does nothing that could make it late: it polls, counts, and asks for a stop. After ingest, strategy and
execution have ended it closes persist's last producer, waits for the last commit and sets ``ended``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from hybrid_platform.domain.clocks import NS_PER_S, Clock
from hybrid_platform.domain.log import Log
from hybrid_platform.domain.orders import HeartbeatRecord
from hybrid_platform.log.events import LogEvent
from hybrid_platform.session.channel import Channel, ChannelAborted, ChannelClosed
from hybrid_platform.session.heartbeat import Heartbeats
from hybrid_platform.session.messages import RecordMessage
from hybrid_platform.session.outcome import StopReason
from hybrid_platform.session.overload.watchdog import Finding, StageStuck, Watchdog
from hybrid_platform.session.stage import Stage

POLL_INTERVAL_S = 0.1
ABORT_TIMEOUT_S = 1.0
"""How long an aborted stage may take to end."""


class Supervised(Protocol):
    """A pipeline as its supervisor sees it."""

    @property
    def stages(self) -> Sequence[Stage]:
        """Every stage but persist, ingest first."""

    @property
    def persist(self) -> Stage:
        """The persist stage."""

    @property
    def persist_channel(self) -> Channel[Any]:
        """The channel to persist, of which the supervisor is the last producer."""

    @property
    def is_stopping(self) -> bool:
        """Whether a stop was requested."""

    def metrics(self) -> Mapping[str, Any]:
        """Return the fields of a heartbeat."""

    def drain_progress(self) -> object:
        """Return a value that changes whenever work was done."""

    def poll(self) -> None:
        """Do what is due several times a second: kill switch and overload."""

    def after_heartbeat(self) -> None:
        """Do what is due after each heartbeat but the first."""

    def request_stop(self, reason: str) -> None:
        """Ask for a drain."""

    def fail(self, part: str, error: BaseException) -> None:
        """Record a failure and ask for a drain."""


class Supervisor:
    """Owns the heartbeats and the deadline of the drain."""

    def __init__(
        self,
        pipeline: Supervised,
        *,
        watchdog: Watchdog,
        heartbeats: Heartbeats,
        time_limit_seconds: float | None,
        drain_timeout_seconds: float,
        clock: Clock,
        log: Log,
    ) -> None:
        self._pipeline = pipeline
        self._watchdog = watchdog
        self._finding: Finding | None = None
        self._heartbeats = heartbeats
        self._last_progress: object = None
        self._time_limit_ns = None if time_limit_seconds is None else int(time_limit_seconds * NS_PER_S)
        self._drain_timeout_ns = int(drain_timeout_seconds * NS_PER_S)
        self._clock = clock
        self._log = log
        self._started_ns = 0
        self._progressed_ns: int | None = None
        self._unsent: list[HeartbeatRecord] = []
        self.last_poll_ns = clock.monotonic_ns()
        """The monotonic instant of the last poll; reported from outside as the sign that this thread lives."""
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._started_ns = self._clock.monotonic_ns()
        self._thread.start()

    def _run(self) -> None:
        try:
            # Before the first poll, because a short session may have ended by then.
            self._beat(self._clock.monotonic_ns())
            self._watch()
        except BaseException as error:
            self._fail(error)
        finally:
            self._send_heartbeats()
            self._pipeline.persist_channel.close()
            self._await_last_commit()
            self.ended.set()

    def _fail(self, error: BaseException) -> None:
        self._pipeline.fail("supervisor", error)

    def _await_last_commit(self) -> None:
        """Wait for persist, with heartbeats: a locked database makes this long (S12)."""
        deadline_ns = self._clock.monotonic_ns() + self._drain_timeout_ns
        while not self._pipeline.persist.join(POLL_INTERVAL_S):
            now_ns = self._clock.monotonic_ns()
            self._beat(now_ns)
            if self._is_persist_stuck(now_ns):
                return
            if now_ns > deadline_ns:
                self._fail(StageStuck("stage persist did not end within the drain's time"))
                return

    def _watch(self) -> None:
        pipeline, stages = self._pipeline, self._pipeline.stages
        while any(stage.is_alive for stage in stages):
            now_ns = self._clock.monotonic_ns()
            self._beat(now_ns)
            self._send_heartbeats()
            pipeline.poll()
            if self._is_time_up(now_ns) and not pipeline.is_stopping:
                pipeline.request_stop(StopReason.TIME_LIMIT)
            # The drain begins with a request to stop or with the end of the feed.
            is_draining = pipeline.is_stopping or not stages[0].is_alive
            if self._is_stage_stuck(now_ns, is_draining) or (is_draining and self._is_overdue(now_ns)):
                return
            alive = next((stage for stage in stages if stage.is_alive), None)
            if alive is not None:
                alive.join(POLL_INTERVAL_S)

    def _is_time_up(self, now_ns: int) -> bool:
        return self._time_limit_ns is not None and now_ns - self._started_ns >= self._time_limit_ns

    def _is_overdue(self, now_ns: int) -> bool:
        """Return whether the drain has made no progress for its whole timeout; then end it."""
        progress = self._pipeline.drain_progress()
        if self._progressed_ns is None or progress != self._last_progress:
            self._progressed_ns, self._last_progress = now_ns, progress
        if now_ns - self._progressed_ns < self._drain_timeout_ns:
            return False
        waiting = [stage.name for stage in self._pipeline.stages if stage.is_alive]
        # Stages that only waited for another one end now; those that remain are stuck.
        stuck = ", ".join(self._abort() or waiting)
        seconds = self._drain_timeout_ns / NS_PER_S
        self._fail(StageStuck(f"expected every stage to drain, got stuck for {seconds:g} s: {stuck}"))
        self._pipeline.persist_channel.close_all()
        return True

    def _is_stage_stuck(self, now_ns: int, is_draining: bool) -> bool:
        """Ask the watchdog; fail on its finding, and end the stages if they cannot drain."""
        finding = None if self._finding else self._watchdog.check(now_ns, is_draining=is_draining)
        if finding is None:
            return False
        self._finding = finding
        self._pipeline.fail(finding.name, finding.error)
        if finding.can_drain:
            return False
        self._abort()
        self._pipeline.persist_channel.close_all()
        return True

    def _is_persist_stuck(self, now_ns: int) -> bool:
        if self._finding is None and (finding := self._watchdog.check(now_ns, is_draining=True)) is not None:
            self._finding = finding
            self._pipeline.fail(finding.name, finding.error)
        return self._finding is not None and self._finding.name == self._pipeline.persist.name

    def _abort(self) -> list[str]:
        """Abort every stage; return the names of those that do not end."""
        for stage in self._pipeline.stages:
            stage.abort()
        return [stage.name for stage in self._pipeline.stages if not stage.join(ABORT_TIMEOUT_S)]

    def _beat(self, now_ns: int) -> None:
        self.last_poll_ns = now_ns
        beat = self._heartbeats.due(now_ns)
        if beat is None:
            return
        fields = self._pipeline.metrics()
        self._log.info(LogEvent.HEARTBEAT, n=beat.n, late_ms=beat.late_ms, **fields)
        if beat.is_late:
            self._log.warning("heartbeat late (G4)", n=beat.n, late_ms=beat.late_ms)
        detail = json.dumps(fields, default=str)
        self._unsent.append(HeartbeatRecord(beat.n, self._clock.wall_ns(), beat.late_ms, beat.is_late, detail))
        if beat.n:
            self._pipeline.after_heartbeat()

    def _send_heartbeats(self) -> None:
        """Send heartbeats to persist without waiting; if the channel is full, they are sent at a later poll."""
        channel = self._pipeline.persist_channel
        with suppress(ChannelAborted, ChannelClosed):
            while self._unsent and channel.try_send(RecordMessage((self._unsent[0],)), guaranteed=True):
                self._unsent.pop(0)

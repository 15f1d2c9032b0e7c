"""The supervising thread: heartbeats, the time limit, the drain, and the end of the other threads (G4, S13).

It does no work that could make it late: it looks, counts, and sets ``stop``. When ingest, strategy and
execution have ended, it closes persist's last producer, waits for the last commit and sets ``ended``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from hybrid_platform.domain.clocks import NS_PER_S, Clock
from hybrid_platform.domain.log import Log
from hybrid_platform.domain.orders import HeartbeatRecord
from hybrid_platform.log.events import LogEvent
from hybrid_platform.session.channel import Channel, ChannelAborted, ChannelClosed
from hybrid_platform.session.heartbeat import Heartbeats
from hybrid_platform.session.messages import RecordMessage
from hybrid_platform.session.overload.watchdog import Finding, StageStuck, Watchdog
from hybrid_platform.session.stage import OnFailure, Stage

POLL_INTERVAL_S = 0.1
ABORT_TIMEOUT_S = 1.0
"""How long a stage that was told to abort may take to end."""


class Supervisor:
    """Owns the heartbeats and the drain's deadline."""

    def __init__(  # noqa: PLR0913
        self,
        stages: Sequence[Stage],
        persist: Stage,
        persist_channel: Channel[Any],
        *,
        watchdog: Watchdog,
        heartbeats: Heartbeats,
        counters: Callable[[], Mapping[str, Any]],
        progress: Callable[[], object],
        time_limit_seconds: float | None,
        drain_timeout_seconds: float,
        on_time_limit: Callable[[], None],
        on_interval: Callable[[], None],
        on_poll: Callable[[], None],
        stop: threading.Event,
        clock: Clock,
        log: Log,
        on_failure: OnFailure,
    ) -> None:
        """Watch ``stages``, ingest first.

        ``counters``: the fields of a heartbeat. ``progress``: differs when work was done. ``on_interval``:
        called after each beat but the first; ``on_poll``: at every look, some times a second.
        """
        self._stages = stages
        self._persist = persist
        self._persist_channel = persist_channel
        self._watchdog = watchdog
        self._found: Finding | None = None
        self._heartbeats = heartbeats
        self._counters = counters
        self._progress = progress
        self._last_progress: object = None
        self._time_limit = None if time_limit_seconds is None else int(time_limit_seconds * NS_PER_S)
        self._drain_timeout = int(drain_timeout_seconds * NS_PER_S)
        self._on_time_limit = on_time_limit
        self._on_interval = on_interval
        self._on_poll = on_poll
        self._stop = stop
        self._clock = clock
        self._log = log
        self._on_failure = on_failure
        self._started = 0
        self._stopping: int | None = None
        self._waiting: list[HeartbeatRecord] = []
        self.last_poll_ns = clock.monotonic_ns()
        """The monotonic instant (ns) of the last look: what the pulse reports."""
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._started = self._clock.monotonic_ns()
        self._thread.start()

    def _run(self) -> None:
        try:
            # Before the first look: a session may have ended by then.
            self._beat(self._clock.monotonic_ns())
            self._watch()
        except BaseException as error:
            self._on_failure("supervisor", error)
        finally:
            self._send_heartbeats()
            self._persist_channel.close()
            self._await_last_commit()
            self.ended.set()

    def _await_last_commit(self) -> None:
        """Wait for persist, still beating: a locked database makes this long (S12)."""
        deadline = self._clock.monotonic_ns() + self._drain_timeout
        while not self._persist.join(POLL_INTERVAL_S):
            now = self._clock.monotonic_ns()
            self._beat(now)
            if self._persist_is_given_up(now):
                return
            if now > deadline:
                self._on_failure("supervisor", StageStuck("stage persist did not end within the drain's time"))
                return

    def _watch(self) -> None:
        while any(stage.is_alive for stage in self._stages):
            now = self._clock.monotonic_ns()
            self._beat(now)
            self._send_heartbeats()
            self._on_poll()
            if self._time_limit is not None and now - self._started >= self._time_limit and not self._stop.is_set():
                self._on_time_limit()
            # Whether it was told to, or its feed ended: from here on the session drains.
            is_draining = self._stop.is_set() or not self._stages[0].is_alive
            if self._is_given_up(now, is_draining) or (is_draining and self._is_overdue(now)):
                return
            alive = next((stage for stage in self._stages if stage.is_alive), None)
            if alive is not None:
                alive.join(POLL_INTERVAL_S)

    def _is_overdue(self, now: int) -> bool:
        progress = self._progress()
        if self._stopping is None or progress != self._last_progress:
            self._stopping, self._last_progress = now, progress
        if now - self._stopping < self._drain_timeout:
            return False
        waiting = [stage.name for stage in self._stages if stage.is_alive]
        # Those that only waited for another one end now: the rest is what is stuck.
        stuck = ", ".join(self._abort() or waiting)
        seconds = self._drain_timeout / NS_PER_S
        self._on_failure(
            "supervisor", StageStuck(f"expected every stage to drain, got stuck for {seconds:g} s: {stuck}")
        )
        self._persist_channel.close_all()
        return True

    def _is_given_up(self, now: int, is_draining: bool) -> bool:
        """Ask the watchdog; end what it found, as far as it can be ended."""
        found = None if self._found else self._watchdog.check(now, is_draining=is_draining)
        if found is None:
            return False
        self._found = found
        self._on_failure(found.name, found.error)
        if found.can_drain:
            return False
        self._abort()
        self._persist_channel.close_all()
        return True

    def _persist_is_given_up(self, now: int) -> bool:
        if self._found is None and (found := self._watchdog.check(now, is_draining=True)) is not None:
            self._found = found
            self._on_failure(found.name, found.error)
        return self._found is not None and self._found.name == self._persist.name

    def _abort(self) -> list[str]:
        """Abort every stage; return the names of those that do not end."""
        for stage in self._stages:
            stage.abort()
        return [stage.name for stage in self._stages if not stage.join(ABORT_TIMEOUT_S)]

    def _beat(self, now: int) -> None:
        self.last_poll_ns = now
        beat = self._heartbeats.due(now)
        if beat is None:
            return
        fields = self._counters()
        self._log.info(LogEvent.HEARTBEAT, n=beat.n, late_ms=beat.late_ms, **fields)
        if beat.is_late:
            self._log.warning("heartbeat late (G4)", n=beat.n, late_ms=beat.late_ms)
        detail = json.dumps(fields, default=str)
        record = HeartbeatRecord(beat.n, self._clock.wall_ns(), beat.late_ms, beat.is_late, detail)
        self._waiting.append(record)
        if beat.n:
            self._on_interval()

    def _send_heartbeats(self) -> None:
        """Put the beats on the persist channel without ever waiting for it: a full one gets them at the next look."""
        with suppress(ChannelAborted, ChannelClosed):
            while self._waiting and self._persist_channel.try_send(RecordMessage((self._waiting[0],)), guaranteed=True):
                self._waiting.pop(0)

"""The op's side of ``isolation: process``: two stages that continue the channels through pipes (I1, S13).

`TickSender` sends ticks down, never more than a window ahead of what the strategy has worked on, so that a
live channel stays the place where the oldest tick is dropped. `ResultReceiver` takes audit records up. A
guarded process that dies, or says what does not decode, ends the session and leaves evidence of it.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, cast

import msgspec

from hybrid_platform.domain.errors import ConfigError, ExitCode, IsolationError, OverloadError, PlatformError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.isolation import IsolationEvidence
from hybrid_platform.live.execution import LiveExecution
from hybrid_platform.log.session_log import SessionLog
from hybrid_platform.maintenance.lease import LEASE_SUFFIX
from hybrid_platform.observability.session_view import ChannelStats
from hybrid_platform.sandbox.grants import grants_for
from hybrid_platform.sandbox.guarded import GuardedChild
from hybrid_platform.sandbox.spawn import spawn
from hybrid_platform.security.paths import DataDir
from hybrid_platform.session.channel import Channel, ChannelAborted, EndOfStream
from hybrid_platform.session.messages import ControlMessage, RecordMessage, TickMessage, coalesce
from hybrid_platform.session.stage import OnFailure, Stage, StageStatus
from hybrid_platform.session.stages.decision_sink import DecisionSink
from hybrid_platform.session.strategy_host.frames import (
    Ack,
    CommandFrame,
    EndOfTicks,
    InstrumentsFrame,
    PipeReader,
    PipeWriter,
    RecordsFrame,
    ReportFrame,
    RequestsFrame,
    StageFailed,
    StatusFrame,
    StrategyReady,
    StrategyRefused,
    Summary,
    UpFrame,
    encode_ticks,
)
from hybrid_platform.settings.runtime import OnFull
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.storage.location import FILE_SUFFIXES, sqlite_path
from hybrid_platform.strategies.loader import is_built_in, resolve_strategy_path
from hybrid_platform.trading.order import Report

MODULE = "hybrid_platform.session.strategy_host.child"
LIVE_WINDOW, LIVE_FRAME = 64, 64
REPLAY_WINDOW, REPLAY_FRAME = 16_384, 1_024
"""A frame is acknowledged whole: small ones show that a slow strategy moves."""
PIPE_BYTES = 1 << 20
START_TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.5


class SandboxedStageError(PlatformError):
    """A stage of the guarded process failed; it carries that stage's exit code, and the type of its error."""

    def __init__(self, message: str, exit_code: int, kind: str) -> None:
        super().__init__(message)
        self.exit_code = ExitCode(exit_code)
        self.kind = kind


class StrategyProcess:
    """A started guarded process with its strategy made; close it."""

    def __init__(
        self,
        settings: SessionSettings,
        private: tuple[Path, ...],
        log: SessionLog | None,
        *,
        check_only: bool = False,
        module: str = MODULE,
        plan: Mapping[str, Any] | None = None,
    ) -> None:
        """Start it and wait until the strategy is made; ``plan`` is what else its ``module`` is told.

        ``private``: what it must not read, the data directory first. Raises ConfigError where the strategy cannot be
        made, IsolationError where the process does not come up, or its guard is weaker than required.
        """
        arguments = {"settings": settings.model_dump(mode="json"), "check_only": check_only, **(plan or {})}
        self._output = _Output(log)
        try:
            self.child: GuardedChild = spawn(
                module,
                code=_code_of(settings.strategy.name),
                private=private,
                down=("down",),
                up=("up",),
                arguments=msgspec.json.encode(arguments).decode(),
                output=self._output.descriptor,
            )
        except BaseException:
            self._output.close()
            raise
        self.done: Summary | None = None
        try:
            self._require(settings)
            for descriptor in self.child.pipes.values():
                with suppress(OSError):  # a smaller pipe works too
                    fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            self.writer = PipeWriter(self.child.pipes["down"])
            self.reader = PipeReader(self.child.pipes["up"], UpFrame)
            self._await_strategy()
        except BaseException:
            self.close()
            raise

    def close_out(self, timeout_s: float) -> IsolationEvidence:
        """Read the guard back a last time and return all that was read back; then the process is gone."""
        self.child.close_out(timeout_s)
        evidence = self.child.evidence()
        self.close()
        return evidence

    def close(self) -> None:
        """End the process, whatever it does."""
        self.child.close()
        self._output.close()

    def _require(self, settings: SessionSettings) -> None:
        evidence = self.child.evidence()
        if settings.require_isolation and evidence.enforced != "kernel-process":
            raise ConfigError(
                f"require_isolation: expected kernel-process, got {evidence.enforced}: {'; '.join(evidence.why)}"
            )

    def _await_strategy(self) -> None:
        try:
            frame = self.reader.read(START_TIMEOUT_S)
        except EOFError:
            raise IsolationError("the guarded process ended before the strategy was made") from None
        if isinstance(frame, StrategyRefused):
            raise ConfigError(frame.message)
        if not isinstance(frame, StrategyReady):
            raise IsolationError(f"strategy: expected to be made within {START_TIMEOUT_S:g} s, got not")


class CreditWindow:
    """How many ticks may be on their way: what was sent less what was worked on stays below the window."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._open = 0
        self.acknowledged = 0
        """Ticks that the strategy has worked on."""
        self._aborted = False
        self._changed = threading.Condition()

    def acquire(self, wanted: int) -> int:
        """Wait for room and take up to ``on_requests`` of it; raise ChannelAborted when the other side is gone."""
        with self._changed:
            self._changed.wait_for(lambda: self._open < self._window or self._aborted)
            if self._aborted:
                raise ChannelAborted("pipe")
            taken = min(wanted, self._window - self._open)
            self._open += taken
            return taken

    def acknowledge(self, events: int) -> None:
        """Take note that so many ticks were worked on."""
        self.acknowledged += events
        self.release(events)

    def release(self, events: int) -> None:
        """Return room."""
        with self._changed:
            self._open -= events
            self._changed.notify_all()

    def abort(self) -> None:
        """Wake whoever waits."""
        with self._changed:
            self._aborted = True
            self._changed.notify_all()


class TickSender(Stage):
    """tick channel -> pipe."""

    def __init__(
        self,
        process: StrategyProcess,
        ticks: Channel[TickMessage | ControlMessage],
        credit: CreditWindow,
        table: InstrumentTable,
        *,
        last_seq: Callable[[], int],
        live: bool,
        on_failure: OnFailure,
        venue: LiveExecution | None = None,
    ) -> None:
        super().__init__("pump", (ticks,), (), on_failure)
        self._writer = process.writer
        self._child = process.child
        self._ticks = ticks
        self._credit = credit
        self._table = table
        self._known = 0
        self._last_seq = last_seq
        self._frame = LIVE_FRAME if live else REPLAY_FRAME
        self._venue = venue
        self.sent = 0

    def work(self) -> None:
        """Send until the ticks end."""
        try:
            while True:
                self.progress.mark_idle()
                # Room first: what waits for it waits in the channel, where the oldest can still be dropped.
                room = self._credit.acquire(self._frame)
                try:
                    messages = self._ticks.receive(room)
                except EndOfStream:
                    self._writer.write(EndOfTicks(self._last_seq()))
                    return
                self.progress.mark_busy()
                for message in coalesce(messages):
                    self._send(message)
                self._credit.release(room - sum(message.events for message in messages))
        except BrokenPipeError:
            # The receiver sees the same end, and says why.
            raise ChannelAborted("pipe") from None
        except ChannelAborted:
            # The end of the pipe, not a last frame: nobody may be reading it any more.
            self._child.close_pipe("down")
            raise

    def _send(self, message: TickMessage | ControlMessage) -> None:
        if isinstance(message, ControlMessage):
            content = message.content
            self._writer.write(ReportFrame(content) if isinstance(content, Report) else CommandFrame(content))
            return
        if self._venue is not None:
            self._venue.see(message.batch)
        if len(self._table) > self._known:
            entries = tuple(self._table)[self._known :]
            self._writer.write(InstrumentsFrame(entries))
            self._known += len(entries)
        self._writer.write(encode_ticks(message.batch))
        self.sent += len(message.batch)


class ResultReceiver(Stage):
    """pipe -> decisions."""

    def __init__(
        self,
        process: StrategyProcess,
        ticks: Channel[TickMessage | ControlMessage],
        credit: CreditWindow,
        decisions: DecisionSink,
        *,
        on_failure: OnFailure,
        venue: LiveExecution | None = None,
    ) -> None:
        outputs = (decisions,) if venue is None else (decisions, venue)
        super().__init__("guarded process", (ticks, credit), outputs, on_failure)
        self._venue = venue
        self._process = process
        self._credit = credit
        self._decisions = decisions
        self.received = 0
        self._inside: tuple[StageStatus, ...] = ()

    def work(self) -> None:
        """Take what comes until the process says that it is done."""
        while self._process.done is None:
            try:
                frame = cast("UpFrame | None", self._process.reader.read(POLL_INTERVAL_S))
            except EOFError:
                raise IsolationError(f"the guarded process ended in the middle: {self._how_it_ended()}") from None
            if frame is not None:
                self.progress.mark_busy()
            if isinstance(frame, RecordsFrame):
                self._pass_on(frame)
            elif isinstance(frame, StatusFrame):
                self._inside = frame.stages
            elif isinstance(frame, RequestsFrame) and self._venue is not None:
                self._pass_to_venue(self._venue, frame)
            elif isinstance(frame, Ack):
                self._credit.acknowledge(frame.events)
            elif isinstance(frame, StageFailed):
                # It drains what it has, and then says that it is done.
                self._on_failure(frame.stage, SandboxedStageError(frame.message, frame.exit_code, frame.kind))
                self.abort()
            elif isinstance(frame, Summary):
                self._process.done = frame
            elif frame is not None:
                raise IsolationError(f"pipe: expected decisions, got {type(frame).__name__}")

    @property
    def statuses(self) -> tuple[StageStatus, ...]:
        """What the stages inside were at when they last said so; and the process itself, which says so every second."""
        is_awaited = self.is_alive and self._process.done is None
        return (
            *self._inside,
            StageStatus(self.name, is_awaited, self.progress.iterations, expectation="a sign of life, each second"),
        )

    @property
    def acknowledged(self) -> int:
        """Ticks that the strategy has worked on."""
        return self._credit.acknowledged

    def _pass_on(self, decided: RecordsFrame) -> None:
        """Put records; where there is no room for them the session fails, but the pipe is read on until `Summary`."""
        self.received += len(decided.records)
        try:
            self._decisions.send(RecordMessage(decided.records))
            if self._venue is not None:
                self._venue.note(decided.records)
        except OverloadError as error:
            self._on_failure(self.name, error)
            self.abort()
        except ChannelAborted:
            self.abort()

    def _pass_to_venue(self, venue: LiveExecution, frame: RequestsFrame) -> None:
        """Hand on what was decided, once its records are on their way; a way that ended takes nothing more."""
        try:
            venue.on_requests(frame.requests)
        except OverloadError as error:
            self._on_failure(self.name, error)
            self.abort()
        except ChannelAborted:
            return

    def _how_it_ended(self) -> str:
        status = self._process.child.wait(POLL_INTERVAL_S)
        return "unknown" if status is None else f"killed by signal {-status}" if status < 0 else f"exit status {status}"


def pipe_stats(
    pump: TickSender, receiver: ResultReceiver, done: Summary | None, live: bool, signal: ChannelStats
) -> tuple[ChannelStats, ...]:
    """Return the two pipes, and the signal channel behind them, as channels of the ledger."""
    ticks, records = (done.ticks, done.records) if done else (receiver.acknowledged, receiver.received)
    window = LIVE_WINDOW if live else REPLAY_WINDOW
    inside = done.signal_channel if done else (0, 0, 0, 0, 0, 0)
    sent, received, dropped, depth, max_depth, blocked = inside
    return (
        ChannelStats("pipe_ticks", window, OnFull.BLOCK, pump.sent, ticks, 0, pump.sent - ticks, 0, 0),
        signal._replace(
            sent=sent, received=received, dropped=dropped, depth=depth, max_depth=max_depth, blocked=blocked
        ),
        ChannelStats(
            "pipe_records", window, OnFull.BLOCK, records, receiver.received, 0, records - receiver.received, 0, 0
        ),
    )


def check_strategy(settings: SessionSettings) -> None:
    """Raise ConfigError where the strategy cannot be made; a user's code is imported behind the guard only."""
    StrategyProcess(settings, (), None, check_only=True).close()


def check_reach(settings: SessionSettings, private: tuple[Path, ...]) -> None:
    """Raise ConfigError where code that the guarded process needs lies in what it must not read."""
    grants_for(_code_of(settings.strategy.name), private)


def private_paths(settings: SessionSettings, data_dir: DataDir, database_url: str) -> tuple[Path, ...]:
    """Return what strategy code must not read: all that the platform writes (first), and the key that signs it."""
    places = [data_dir.root]
    if settings.keys.signing_key is not None:
        places.append(Path(settings.keys.signing_key).absolute())
    database = sqlite_path(database_url)
    if not database.is_relative_to(places[0]):
        # Its files, not its folder: that may be the checkout, or hold the virtual environment.
        places += [database.with_name(database.name + end) for end in (*FILE_SUFFIXES, LEASE_SUFFIX)]
    return tuple(places)


def _code_of(name: str) -> tuple[Path, ...]:
    """Return the file or package that holds a user's strategy, found without importing any of it."""
    if is_built_in(name):
        return ()
    top = resolve_strategy_path(name).partition(":")[0].partition(".")[0]
    spec = PathFinder.find_spec(top)
    if spec is None or spec.origin is None:
        return tuple(Path(place) for place in spec.submodule_search_locations or ()) if spec else ()
    origin = Path(spec.origin)
    return (origin.parent if spec.submodule_search_locations else origin,)


class _Output:
    """What user code prints, into the log line by line, bounded."""

    def __init__(self, log: SessionLog | None) -> None:
        self._log = log
        reading, self.descriptor = os.pipe()
        self._thread = threading.Thread(target=self._drain, args=(reading,), name="strategy-output", daemon=True)
        self._thread.start()

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
            self._thread.join(POLL_INTERVAL_S)

    def _drain(self, reading: int) -> None:
        with os.fdopen(reading, encoding="utf-8", errors="replace") as lines:
            while line := lines.readline(4_096):
                if self._log is not None:
                    self._log.limited("info", "strategy said", line=line.rstrip())

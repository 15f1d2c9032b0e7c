"""The host process's side of a reproduction: it sends journal and ticks to the sandbox and receives decisions (I1, S8).

A batch is sent only when the previous one was acknowledged, so that the two sides never block on full pipes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from hybrid_platform.domain.errors import IsolationError, StrategyError
from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.isolation import IsolationEvidence
from hybrid_platform.domain.orders import InputRecord, Record
from hybrid_platform.domain.ticks import TickBatch
from hybrid_platform.reproduce.child import ROWS
from hybrid_platform.reproduce.replay import NotReproducibleError
from hybrid_platform.session.outcome import SandboxedStageError
from hybrid_platform.session.stage import StageStatus
from hybrid_platform.session.strategy_host.frames import (
    Ack,
    DownFrame,
    EndOfTicks,
    InstrumentsFrame,
    JournalFrame,
    RecordsFrame,
    StageFailed,
    StatusFrame,
    Summary,
    encode_ticks,
)
from hybrid_platform.session.strategy_host.process import REPLAY_FRAME, StrategyProcess, start_strategy_process
from hybrid_platform.settings.session import SessionSettings

MODULE = "hybrid_platform.reproduce.child"
JOURNAL_BATCH = 4_096
CLOSE_OUT_TIMEOUT_S = 10.0


class SandboxedReplay:
    """A sandboxed process that recomputes one session; used once, then closed."""

    def __init__(self, process: StrategyProcess, table: InstrumentTable, max_silence_s: float | None) -> None:
        self._process = process
        self._table = table
        self._known = 0
        self._is_done = False
        self.shown = 0
        """Number of ticks that the strategy received, known at the end."""
        self._max_silence_s = max_silence_s

    def send_journal(self, inputs: Iterable[InputRecord]) -> None:
        """Send the inputs of the session, before its ticks."""
        records = tuple(inputs)
        for start in range(0, len(records), JOURNAL_BATCH):
            self._write(JournalFrame(records[start : start + JOURNAL_BATCH]))

    def run(self, batches: Iterable[TickBatch]) -> Iterator[tuple[Record, ...]]:
        """Yield the decisions in order.

        Raises StrategyError if the strategy does, NotReproducibleError for rows that this platform cannot have
        written, and IsolationError if the process ends early, sends an unexpected frame, or makes no progress for
        ``watchdog.stuck_seconds``.
        """
        for batch in self._frames(batches):
            if len(self._table) > self._known:
                self._write(InstrumentsFrame(tuple(self._table)[self._known :]))
                self._known = len(self._table)
            self._write(encode_ticks(batch))
            yield from self._receive(Ack)
            if self._is_done:
                return
        self._write(EndOfTicks(0))
        yield from self._receive(Summary)

    @staticmethod
    def _frames(batches: Iterable[TickBatch]) -> Iterator[TickBatch]:
        """Cut batches to the size that a session uses, so that each one shows progress of a vectorised strategy."""
        for batch in batches:
            for start in range(0, len(batch), REPLAY_FRAME):
                yield batch[start : start + REPLAY_FRAME]

    def close_out(self) -> IsolationEvidence:
        """Read the sandbox back a last time, end the process, and return all readings."""
        return self._process.close_out(CLOSE_OUT_TIMEOUT_S)

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def _receive(self, until: type[Ack | Summary]) -> Iterator[tuple[Record, ...]]:
        """Yield the records before the expected frame, or before the summary that ends the reproduction."""
        moved = time.monotonic()
        statuses: tuple[StageStatus, ...] = ()
        while not self._is_done:
            left_s = None if self._max_silence_s is None else max(0.0, moved + self._max_silence_s - time.monotonic())
            try:
                frame = self._process.reader.read(left_s)
            except EOFError:
                raise IsolationError("the reproducing process ended before the last tick") from None
            # A status shows that the process is alive; only a changed status shows that its strategy makes progress.
            if isinstance(frame, StatusFrame) and (frame.stages != statuses or left_s is None or left_s > 0):
                if frame.stages != statuses:
                    moved, statuses = time.monotonic(), frame.stages
                continue
            if frame is None or isinstance(frame, StatusFrame):
                limit = f"watchdog.stuck_seconds ({self._max_silence_s:g} s)"
                raise IsolationError(f"the reproducing process: expected progress within {limit}, got none")
            if isinstance(frame, RecordsFrame):
                yield frame.records
            elif isinstance(frame, StageFailed):
                raise _build_error(frame)
            elif isinstance(frame, Summary):
                self.shown, self._is_done = frame.ticks, True
            elif isinstance(frame, until):
                return
            else:
                raise IsolationError(f"pipe: expected decisions, got {type(frame).__name__}")
            moved = time.monotonic()

    def _write(self, frame: DownFrame) -> None:
        try:
            self._process.writer.write(frame)
        except BrokenPipeError:
            raise IsolationError("the reproducing process ended before the last tick") from None


def start_sandboxed_replay(
    settings: SessionSettings,
    private: tuple[Path, ...],
    table: InstrumentTable,
    inputs: Iterable[InputRecord],
    until: int | None,
) -> SandboxedReplay:
    """Start the process of a replay and send it the journal. Raises what `start_strategy_process` raises.

    ``private``: paths that the process must not read. ``until``: stop before this tick, because it is missing.
    """
    process = start_strategy_process(settings, private, None, module=MODULE, plan={"until": until})
    replay = SandboxedReplay(process, table, settings.watchdog.stuck_seconds)
    try:
        replay.send_journal(inputs)
    except BaseException:
        replay.close()
        raise
    return replay


def _build_error(failed: StageFailed) -> Exception:
    if failed.stage == ROWS:
        return NotReproducibleError(failed.message)
    if failed.stage == "strategy":
        return StrategyError(failed.message)
    return SandboxedStageError(failed.message, failed.exit_code, failed.kind)

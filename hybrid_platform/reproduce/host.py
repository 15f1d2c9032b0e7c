"""The op's side of a reproduction: sends journal and ticks to the guarded process, takes what it decides (I1, S8).

In step: a batch goes down when the one before was taken, so neither side ever waits for the other's pipe.
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
from hybrid_platform.reproduce.replay import UndecidableError
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
from hybrid_platform.session.strategy_host.process import REPLAY_FRAME, start_strategy_process
from hybrid_platform.settings.session import SessionSettings

MODULE = "hybrid_platform.reproduce.child"
INPUTS_AT_ONCE = 4_096
CLOSE_OUT_TIMEOUT_S = 10.0


class GuardedReplay:
    """A guarded process that decides one session again; used once, then closed."""

    def __init__(
        self,
        settings: SessionSettings,
        private: tuple[Path, ...],
        table: InstrumentTable,
        inputs: Iterable[InputRecord],
        until: int | None,
    ) -> None:
        """Start it, and give it the journal. Raises what `start_strategy_process` raises.

        ``private``: what it must not read. ``until``: the first tick that cannot be shown, if there is one.
        """
        self._guarded = start_strategy_process(settings, private, None, module=MODULE, plan={"until": until})
        self._table = table
        self._known = 0
        self._is_done = False
        self.shown = 0
        """Ticks that the strategy was shown, once all is decided."""
        self._silence_s = settings.watchdog.stuck_seconds
        try:
            records = tuple(inputs)
            for start in range(0, len(records), INPUTS_AT_ONCE):
                self._write(JournalFrame(records[start : start + INPUTS_AT_ONCE]))
        except BaseException:
            self.close()
            raise

    def run(self, batches: Iterable[TickBatch]) -> Iterator[tuple[Record, ...]]:
        """Yield what is decided, in order.

        Raises StrategyError where the strategy does, UndecidableError for rows that make no session,
        IsolationError where the process ends, says what it should not, or does not move for ``watchdog.stuck_seconds``.
        """
        for batch in self._frames(batches):
            if len(self._table) > self._known:
                self._write(InstrumentsFrame(tuple(self._table)[self._known :]))
                self._known = len(self._table)
            self._write(encode_ticks(batch))
            yield from self._take(Ack)
            if self._is_done:
                return
        self._write(EndOfTicks(0))
        yield from self._take(Summary)

    @staticmethod
    def _frames(batches: Iterable[TickBatch]) -> Iterator[TickBatch]:
        """Cut batches as a session's are: a strategy that takes them whole shows that it moves by each."""
        for batch in batches:
            for start in range(0, len(batch), REPLAY_FRAME):
                yield batch[start : start + REPLAY_FRAME]

    def close_out(self) -> IsolationEvidence:
        """Read the guard back a last time and return all that was read back; then the process is gone."""
        return self._guarded.close_out(CLOSE_OUT_TIMEOUT_S)

    def close(self) -> None:
        """End the process."""
        self._guarded.close()

    def _take(self, until: type[Ack | Summary]) -> Iterator[tuple[Record, ...]]:
        """Yield what comes before the message that is waited for, or before it says that it is done."""
        moved = time.monotonic()
        statuses: tuple[StageStatus, ...] = ()
        while not self._is_done:
            left_s = None if self._silence_s is None else max(0.0, moved + self._silence_s - time.monotonic())
            try:
                frame = self._guarded.reader.read(left_s)
            except EOFError:
                raise IsolationError("the reproducing process ended in the middle") from None
            # A process that lives is not yet one that moves: what it says of its strategy has to change.
            if isinstance(frame, StatusFrame) and (frame.stages != statuses or left_s is None or left_s > 0):
                if frame.stages != statuses:
                    moved, statuses = time.monotonic(), frame.stages
                continue
            if frame is None or isinstance(frame, StatusFrame):
                raise IsolationError(
                    f"the reproducing process: expected to move within watchdog.stuck_seconds ({self._silence_s:g} s), "
                    "was silent"
                )
            if isinstance(frame, RecordsFrame):
                yield frame.records
            elif isinstance(frame, StageFailed):
                raise _error_of(frame)
            elif isinstance(frame, Summary):
                self.shown, self._is_done = frame.ticks, True
            elif isinstance(frame, until):
                return
            else:
                raise IsolationError(f"pipe: expected decisions, got {type(frame).__name__}")
            moved = time.monotonic()

    def _write(self, frame: DownFrame) -> None:
        try:
            self._guarded.writer.write(frame)
        except BrokenPipeError:
            raise IsolationError("the reproducing process ended in the middle") from None


def _error_of(failed: StageFailed) -> Exception:
    if failed.stage == ROWS:
        return UndecidableError(failed.message)
    if failed.stage == "strategy":
        return StrategyError(failed.message)
    return SandboxedStageError(failed.message, failed.exit_code, failed.kind)

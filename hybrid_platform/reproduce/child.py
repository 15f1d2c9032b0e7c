"""Entry point of the sandboxed process of a reproduction: the strategy runs again, isolated as in a session (I1).

in: over the pipe ``down`` the journal, then instruments, ticks and their end · out: over ``up`` the audit records, the
stage status once a second, and an acknowledgement of each batch. The process reads no database and holds no key.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hybrid_platform.session.strategy_host.bootstrap import ChildContext, run_sandboxed

if TYPE_CHECKING:
    from hybrid_platform.domain.orders import InputRecord
    from hybrid_platform.domain.ticks import TickBatch
    from hybrid_platform.reproduce.replay import Replay
    from hybrid_platform.sandbox.child import Sandbox
    from hybrid_platform.session.strategy_host.frames import PipeWriter

ROWS = "rows"
"""The stage in a `StageFailed` frame for rows that this platform cannot have written."""


def _work(guard: Sandbox, context: ChildContext) -> None:
    from hybrid_platform.domain.errors import PlatformError, StrategyError
    from hybrid_platform.session.strategy_host.frames import DownFrame, PipeReader, StageFailed

    down, up = PipeReader(guard.pipes["down"], DownFrame), context.up
    try:
        _decide(context, down)
    except PlatformError as error:
        stage = "strategy" if isinstance(error, StrategyError) else "execution"
        up.write(StageFailed(stage, str(error), int(error.exit_code), type(error).__name__))
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, ArithmeticError) as error:
        up.write(StageFailed(ROWS, f"{type(error).__name__}: {error}", 1, type(error).__name__))


def _decide(context: ChildContext, down: Any) -> None:
    from hybrid_platform.domain.instruments import InstrumentTable
    from hybrid_platform.reproduce.journal import parse_journal
    from hybrid_platform.reproduce.replay import build_replay
    from hybrid_platform.session.strategy_host.frames import (
        Ack,
        InstrumentsFrame,
        JournalFrame,
        RecordsFrame,
        Summary,
        TickFrame,
        decode_ticks,
    )

    up, table = context.up, InstrumentTable()
    inputs: list[InputRecord] = []
    while isinstance(frame := down.read(), JournalFrame):
        inputs += frame.records
    replay, engine = build_replay(
        context.settings, context.strategy, table, parse_journal(inputs), context.plan["until"]
    )

    def batches(frame: Any) -> Iterator[TickBatch]:
        while isinstance(frame, InstrumentsFrame | TickFrame):
            if isinstance(frame, InstrumentsFrame):
                for instrument in frame.entries:
                    table.add(instrument)
            else:
                yield decode_ticks(frame, table)
                up.write(Ack(frame.count))
            frame = down.read()

    threading.Thread(target=_send_status, args=(replay, up), name="status", daemon=True).start()
    sent = 0
    for records in replay.run(batches(frame)):
        if records:
            up.write(RecordsFrame(tuple(records)))
            sent += len(records)
    up.write(Summary(replay.shown, sent, (0, 0, 0, 0, 0, 0), engine.account.snapshot()))


def _send_status(replay: Replay, up: PipeWriter) -> None:
    """Send the status once a second, because one batch may take longer than the parent waits without progress."""
    from hybrid_platform.session.strategy_host.frames import STATUS_INTERVAL_S, StatusFrame

    never = threading.Event()
    with suppress(OSError):  # the deciding thread notices that the parent is gone
        while not never.wait(STATUS_INTERVAL_S):
            up.write(StatusFrame((replay.status,)))


if __name__ == "__main__":
    run_sandboxed(_work)

"""The guarded process of a reproduction: the strategy's code decides again behind the guard that a session has (I1).

in: over the pipe ``down`` the journal, then instruments, ticks and the end · out: over ``up`` the audit
records that follow, and after each batch that it was taken. It reads no database and holds no key.
"""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hybrid_platform.safety.guard.child import enter

if TYPE_CHECKING:
    from hybrid_platform.domain.orders import InputRecord
    from hybrid_platform.domain.ticks import TickBatch
    from hybrid_platform.safety.guard.child import Guard

ROWS = "rows"
"""The stage that `Failed` names where rows that this platform never wrote cannot be decided again."""


def main() -> None:
    """Guard this process, make the strategy, then decide until the ticks end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    guard = enter()
    _work(guard)
    guard.leave()
    # User threads must not keep the process: what counts was sent and read back.
    os._exit(0)


def _work(guard: Guard) -> None:
    from hybrid_platform.config import SessionSettings
    from hybrid_platform.domain.errors import ConfigError, PlatformError, StrategyError
    from hybrid_platform.pipeline.guarded.wire import Down, Failed, FrameReader, FrameWriter, Ready, Refused
    from hybrid_platform.strategies.loader import build_strategy

    up, down = FrameWriter(guard.pipes["up"]), FrameReader(guard.pipes["down"], Down)
    plan: dict[str, Any] = json.loads(guard.arguments)
    settings = SessionSettings.model_validate(plan["settings"])
    if settings.isolation_memory_mb is not None:
        most = settings.isolation_memory_mb << 20
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    guard.stage("strategy")
    try:
        strategy = build_strategy(settings.strategy)
    except ConfigError as error:
        up.write(Refused(str(error), int(error.exit_code)))
        return
    up.write(Ready())
    try:
        _decide(settings, strategy, plan["until"], down, up)
    except PlatformError as error:
        stage = "strategy" if isinstance(error, StrategyError) else "execution"
        up.write(Failed(stage, str(error), int(error.exit_code), type(error).__name__))
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, ArithmeticError) as error:
        up.write(Failed(ROWS, f"{type(error).__name__}: {error}", 1, type(error).__name__))


def _decide(settings: Any, strategy: Any, until: int | None, down: Any, up: Any) -> None:
    from hybrid_platform.domain.instruments import InstrumentTable
    from hybrid_platform.pipeline.guarded.wire import Decided, Done, Instruments, Journalled, Taken, TickFrame, batch_of
    from hybrid_platform.pipeline.reproduce.journal import read_journal
    from hybrid_platform.pipeline.reproduce.replay import replay_of

    table = InstrumentTable()
    inputs: list[InputRecord] = []
    while isinstance(message := down.read(), Journalled):
        inputs += message.records
    replay, engine = replay_of(settings, strategy, table, read_journal(inputs), until)

    def batches(message: Any) -> Iterator[TickBatch]:
        while isinstance(message, Instruments | TickFrame):
            if isinstance(message, Instruments):
                for instrument in message.entries:
                    table.add(instrument)
            else:
                yield batch_of(message, table)
                up.write(Taken(message.count))
            message = down.read()

    sent = 0
    for records in replay.run(batches(message)):
        if records:
            up.write(Decided(tuple(records)))
            sent += len(records)
    up.write(Done(replay.shown, sent, (0, 0, 0, 0, 0, 0), engine.account.snapshot()))


if __name__ == "__main__":
    main()

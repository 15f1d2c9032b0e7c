"""The guarded process of a reproduction: the strategy's code decides again behind the guard that a session has (I1).

in: over the pipe ``down`` the journal, then instruments, ticks and the end · out: over ``up`` the audit
records that follow, each second how far it is, and after each batch that it was taken. It reads no database and
holds no key.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hybrid_platform.session.strategy_host.bootstrap import Begun, run_guarded

if TYPE_CHECKING:
    from hybrid_platform.domain.orders import InputRecord
    from hybrid_platform.domain.ticks import TickBatch
    from hybrid_platform.reproduce.replay import Replay
    from hybrid_platform.sandbox.child import Guard
    from hybrid_platform.session.strategy_host.frames import FrameWriter

ROWS = "rows"
"""The stage that `Failed` names where rows that this platform never wrote cannot be decided again."""


def _work(guard: Guard, begun: Begun) -> None:
    from hybrid_platform.domain.errors import PlatformError, StrategyError
    from hybrid_platform.session.strategy_host.frames import Down, Failed, FrameReader

    down, up = FrameReader(guard.pipes["down"], Down), begun.up
    try:
        _decide(begun, down)
    except PlatformError as error:
        stage = "strategy" if isinstance(error, StrategyError) else "execution"
        up.write(Failed(stage, str(error), int(error.exit_code), type(error).__name__))
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, ArithmeticError) as error:
        up.write(Failed(ROWS, f"{type(error).__name__}: {error}", 1, type(error).__name__))


def _decide(begun: Begun, down: Any) -> None:
    from hybrid_platform.domain.instruments import InstrumentTable
    from hybrid_platform.reproduce.journal import read_journal
    from hybrid_platform.reproduce.replay import replay_of
    from hybrid_platform.session.strategy_host.frames import (
        Decided,
        Done,
        Instruments,
        Journalled,
        Taken,
        TickFrame,
        batch_of,
    )

    up, table = begun.up, InstrumentTable()
    inputs: list[InputRecord] = []
    while isinstance(message := down.read(), Journalled):
        inputs += message.records
    replay, engine = replay_of(begun.settings, begun.strategy, table, read_journal(inputs), begun.plan["until"])

    def batches(message: Any) -> Iterator[TickBatch]:
        while isinstance(message, Instruments | TickFrame):
            if isinstance(message, Instruments):
                for instrument in message.entries:
                    table.add(instrument)
            else:
                yield batch_of(message, table)
                up.write(Taken(message.count))
            message = down.read()

    threading.Thread(target=_show_signs, args=(replay, up), name="signs", daemon=True).start()
    sent = 0
    for records in replay.run(batches(message)):
        if records:
            up.write(Decided(tuple(records)))
            sent += len(records)
    up.write(Done(replay.shown, sent, (0, 0, 0, 0, 0, 0), engine.account.snapshot()))


def _show_signs(replay: Replay, up: FrameWriter) -> None:
    """Say each second how far it is: a batch may take longer than silence is borne, as long as it moves."""
    from hybrid_platform.session.strategy_host.frames import ALIVE_SECONDS, Alive

    never = threading.Event()
    with suppress(OSError):  # a parent that is gone is noticed by whoever decides
        while not never.wait(ALIVE_SECONDS):
            up.write(Alive((replay.sign,)))


if __name__ == "__main__":
    run_guarded(_work)

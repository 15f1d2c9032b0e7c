"""The guarded process: strategy and execution as threads, behind the guard, before any user code is imported (I1).

in: ticks and commands over the pipe ``down`` · out: audit records over the pipe ``up``. It holds no
socket, no database, no key; what it says is decoded strictly and only counted by the parent.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from hybrid_platform.safety.guard.child import enter

if TYPE_CHECKING:
    from hybrid_platform.safety.guard.child import Guard


def main() -> None:
    """Guard this process, then run the two stages until the ticks end."""
    # The parent drains; a signal meant for it must not end the strategy in the middle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # What a strategy prints goes to the log as it comes; the end of this process flushes nothing.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    guard = enter()
    _work(guard)
    guard.leave()
    # User threads must not keep the process: what counts was sent and read back.
    os._exit(0)


def _work(guard: Guard) -> None:
    from hybrid_platform.config import SessionSettings
    from hybrid_platform.domain.errors import ConfigError
    from hybrid_platform.domain.instruments import InstrumentTable
    from hybrid_platform.pipeline.guarded.wire import FrameWriter, Ready, Refused
    from hybrid_platform.strategies.loader import build_strategy

    up = FrameWriter(guard.pipes["up"])
    plan: dict[str, Any] = json.loads(guard.arguments)
    settings = SessionSettings.model_validate(plan["settings"])
    table = InstrumentTable()
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
    if not plan["check_only"]:
        _run(guard, settings, table, strategy, up)


def _run(guard: Guard, settings: Any, table: Any, strategy: Any, up: Any) -> None:
    from hybrid_platform.domain.clocks import SystemClock
    from hybrid_platform.domain.errors import ExitCode, PlatformError
    from hybrid_platform.pipeline.execution import ExecutionStage
    from hybrid_platform.pipeline.guarded.pipes import PipeSink, PipeSource
    from hybrid_platform.pipeline.guarded.wire import ALIVE_SECONDS, Alive, Done, Failed
    from hybrid_platform.pipeline.stage import SWITCH_SECONDS
    from hybrid_platform.pipeline.strategy import StrategyStage
    from hybrid_platform.pipeline.wiring import build_channels, build_decider

    def on_failure(stage: str, error: BaseException) -> None:
        code = error.exit_code if isinstance(error, PlatformError) else ExitCode.CRASH
        message = str(error) if isinstance(error, PlatformError) else f"{type(error).__name__}: {error}"
        up.write(Failed(stage, message, int(code), type(error).__name__))

    @contextmanager
    def named(stage: str) -> Iterator[None]:
        guard.stage(stage)
        yield

    sys.setswitchinterval(SWITCH_SECONDS)
    clock = SystemClock()
    signals = build_channels(settings).signal
    source = PipeSource(guard.pipes["down"], up, table)
    sink = PipeSink(up)
    runner, engine = build_decider(settings, strategy, table)
    live = settings.is_live_feed
    stages = (
        ExecutionStage(
            engine, signals, sink, live=live, clock=clock, on_failure=on_failure, guard=named, wanted=sink.want
        ),
        StrategyStage(
            runner,
            source,
            signals,
            last_seq=lambda: source.last_seq,
            live=live,
            clock=clock,
            on_failure=on_failure,
            guard=named,
        ),
    )
    for stage in stages:
        stage.start()
    for stage in stages:
        while not stage.join(ALIVE_SECONDS):
            with suppress(OSError):  # a parent that is gone is noticed by the stages
                up.write(Alive(tuple(stage.sign for stage in stages)))
    stats = signals.stats()
    up.write(
        Done(
            ticks=source.received,
            records=sink.sent,
            signal_channel=(stats.sent, stats.received, stats.dropped, stats.left, stats.high_water, stats.blocked),
            account=engine.account.snapshot(),
        )
    )


if __name__ == "__main__":
    main()

"""The sandboxed process: strategy and execution as threads, sandboxed before any user code is imported (I1).

in: ticks and commands on the pipe ``down`` · out: audit records on the pipe ``up``. It holds no socket, no
database and no key; the parent decodes its frames strictly and believes nothing else of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from hybrid_platform.session.strategy_host.bootstrap import ChildContext, run_sandboxed

if TYPE_CHECKING:
    from hybrid_platform.sandbox.child import Sandbox


def _run(sandbox: Sandbox, context: ChildContext) -> None:
    if context.plan["check_only"]:
        return
    from hybrid_platform.domain.clocks import SystemClock
    from hybrid_platform.domain.errors import ExitCode, PlatformError
    from hybrid_platform.domain.instruments import InstrumentTable
    from hybrid_platform.session.factories import build_channels, build_runner_and_engine
    from hybrid_platform.session.interpreter import tune_interpreter
    from hybrid_platform.session.outcome import format_error
    from hybrid_platform.session.stages.execution import ExecutionStage
    from hybrid_platform.session.stages.strategy import StrategyStage
    from hybrid_platform.session.strategy_host.frames import STATUS_INTERVAL_S, StageFailed, StatusFrame, Summary
    from hybrid_platform.session.strategy_host.pipes import PipeSink, PipeSource

    settings, up, table = context.settings, context.up, InstrumentTable()

    def on_failure(stage: str, error: BaseException) -> None:
        code = error.exit_code if isinstance(error, PlatformError) else ExitCode.CRASH
        up.write(StageFailed(stage, format_error(error), int(code), type(error).__name__))

    @contextmanager
    def named(stage: str) -> Iterator[None]:
        sandbox.stage(stage)
        yield

    tune_interpreter()
    clock = SystemClock()
    signals = build_channels(settings).signal
    source = PipeSource(sandbox.pipes["down"], up, table, clock)
    sink = PipeSink(up)
    runner, engine = build_runner_and_engine(settings, context.strategy, table)
    live = settings.is_live_feed
    stages = (
        ExecutionStage(
            engine,
            signals,
            sink,
            live=live,
            clock=clock,
            on_failure=on_failure,
            scope=named,
            on_requests=sink.on_requests,
        ),
        StrategyStage(
            runner,
            source,
            signals,
            last_seq=lambda: source.last_seq,
            live=live,
            clock=clock,
            on_failure=on_failure,
            scope=named,
        ),
    )
    for stage in stages:
        stage.start()
    for stage in stages:
        while not stage.join(STATUS_INTERVAL_S):
            with suppress(OSError):  # the stages notice that the parent is gone
                up.write(StatusFrame(tuple(stage.status for stage in stages)))
    stats = signals.stats()
    up.write(
        Summary(
            ticks=source.received,
            records=sink.sent,
            signal_channel=(stats.sent, stats.received, stats.dropped, stats.depth, stats.max_depth, stats.blocked),
            account=engine.account.snapshot(),
        )
    )


if __name__ == "__main__":
    run_sandboxed(_run)

"""Start and end of every sandboxed process: first the sandbox, then settings, memory limit and strategy (I1).

in: the plan of `start_strategy_process` · out: `StrategyReady` or `StrategyRefused` on the pipe ``up``. Nothing that
user code could have changed is imported before the sandbox is on.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from hybrid_platform.sandbox.child import enter

if TYPE_CHECKING:
    from hybrid_platform.sandbox.child import Sandbox
    from hybrid_platform.session.strategy_host.frames import PipeWriter
    from hybrid_platform.settings.session import SessionSettings
    from hybrid_platform.strategies.base import Strategy


class ChildContext(NamedTuple):
    """The plan, settings and strategy of a sandboxed process, and its pipe to the parent."""

    plan: dict[str, Any]
    settings: SessionSettings
    strategy: Strategy[Any]
    up: PipeWriter


def run_sandboxed(work: Callable[[Sandbox, ChildContext], None]) -> None:
    """Enter the sandbox, build the strategy, do the work and exit; report a strategy that cannot be built."""
    # The parent drains the session; a signal meant for it must not end the strategy halfway.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Prints of a strategy go to the log line by line, because this process exits without flushing.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sandbox = enter()
    context = _build_context(sandbox)
    if context is not None:
        work(sandbox, context)
    sandbox.leave()
    # User threads must not keep the process alive; everything that counts was sent and read back.
    os._exit(0)


def _build_context(sandbox: Sandbox) -> ChildContext | None:
    from hybrid_platform.domain.errors import ConfigError
    from hybrid_platform.session.strategy_host.frames import PipeWriter, StrategyReady, StrategyRefused
    from hybrid_platform.settings.session import SessionSettings
    from hybrid_platform.strategies.loader import build_strategy

    up = PipeWriter(sandbox.pipes["up"])
    plan: dict[str, Any] = json.loads(sandbox.arguments)
    settings = SessionSettings.model_validate(plan["settings"])
    if settings.isolation_memory_mb is not None:
        most = settings.isolation_memory_mb << 20
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    sandbox.stage("strategy")
    try:
        strategy = build_strategy(settings.strategy)
    except ConfigError as error:
        up.write(StrategyRefused(str(error), int(error.exit_code)))
        return None
    up.write(StrategyReady())
    return ChildContext(plan, settings, strategy, up)

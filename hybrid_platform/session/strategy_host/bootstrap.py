"""How every guarded process begins and ends: the guard first, then its settings, its memory's bound, its strategy (I1).

in: the plan that `StrategyProcess` gave · out: over the pipe ``up`` Ready, or Refused and why. Nothing that user code
could have changed is imported before the guard is on.
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
    """What a guarded process works with."""

    plan: dict[str, Any]
    settings: SessionSettings
    strategy: Strategy[Any]
    up: PipeWriter


def run_sandboxed(work: Callable[[Sandbox, ChildContext], None]) -> None:
    """Enter the sandbox, make the strategy, do the work, and end; a strategy that cannot be made is told instead."""
    # The parent drains; a signal meant for it must not end the strategy in the middle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # What a strategy prints goes to the log as it comes; the end of this process flushes nothing.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    guard = enter()
    context = _begin(guard)
    if context is not None:
        work(guard, context)
    guard.leave()
    # User threads must not keep the process: what counts was sent and read back.
    os._exit(0)


def _begin(guard: Sandbox) -> ChildContext | None:
    from hybrid_platform.domain.errors import ConfigError
    from hybrid_platform.session.strategy_host.frames import PipeWriter, StrategyReady, StrategyRefused
    from hybrid_platform.settings.session import SessionSettings
    from hybrid_platform.strategies.loader import build_strategy

    up = PipeWriter(guard.pipes["up"])
    plan: dict[str, Any] = json.loads(guard.arguments)
    settings = SessionSettings.model_validate(plan["settings"])
    if settings.isolation_memory_mb is not None:
        most = settings.isolation_memory_mb << 20
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    guard.stage("strategy")
    try:
        strategy = build_strategy(settings.strategy)
    except ConfigError as error:
        up.write(StrategyRefused(str(error), int(error.exit_code)))
        return None
    up.write(StrategyReady())
    return ChildContext(plan, settings, strategy, up)

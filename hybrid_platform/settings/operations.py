"""Settings of operations: metrics, notifications, retention, supervision. None of them decides a trade.

Addresses of notifications are secrets. Settings hold only the name of the environment variable, or the path of the file
(readable by its owner only), that holds an address.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.settings.base import Section

OWN_PREFIX = "HYBRID_PLATFORM_"
"""Variables of this prefix are settings: their values are written down, so no secret may be in one."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def _named(value: object) -> object:
    # An address that somebody put here by mistake must not be shown, as a fault of pydantic would.
    if isinstance(value, str) and (not _VARIABLE.fullmatch(value) or value.upper().startswith(OWN_PREFIX)):
        expected = f"the NAME of an environment variable, not the address itself, and none that begins {OWN_PREFIX}"
        raise ConfigError([Fault("notify.webhook_env or notify.slack_env", expected, "something else (not shown)")])
    return value


def _place(value: object) -> object:
    if isinstance(value, str) and "://" in value:
        expected = "the path of a file that holds the address, not the address itself"
        raise ConfigError([Fault("notify.webhook_file or notify.slack_file", expected, "an address (not shown)")])
    return value


Variable = Annotated[str, BeforeValidator(_named)]
Days = Annotated[int, Field(ge=0, le=36_500)]
Span = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
SecretFile = Annotated[str, BeforeValidator(_place), Field(min_length=1, max_length=4096)]


class MetricsSettings(Section):
    """Figures of the running session for Prometheus; see docs/operations.md."""

    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Served on 127.0.0.1 at this port, path ``/metrics``; 0: any free one, said in the log; null: not at all."""


class NotifySettings(Section):
    """Whom to tell of failure, overload, halts and recovery; see docs/operations.md. With nothing set: nobody."""

    webhook_env: Variable | None = None
    """Name of the environment variable that holds the address of a webhook, which is sent JSON."""
    webhook_file: SecretFile | None = None
    """Or a file (0600) that holds it."""
    slack_env: Variable | None = None
    """Name of the environment variable that holds the address of a Slack incoming webhook."""
    slack_file: SecretFile | None = None
    """Or a file (0600) that holds it."""
    ui_url: Annotated[str, Field(pattern=r"^https?://[^\s/@?#]+(/[^\s@?#]*)?$", max_length=500)] | None = None
    """Where the Dagster UI is, for links; e.g. ``http://127.0.0.1:3000``."""
    timeout_seconds: Annotated[float, Field(gt=0, le=20)] = 5.0
    """How long one try may wait for the receiver."""
    attempts: Annotated[int, Field(ge=1, le=5)] = 3
    """Tries, the next one after 1, 2, 4 … seconds."""


class RetentionSettings(Section):
    """What ``hybrid-platform retain`` and the job ``retention`` clear away; see docs/retention.md. Unset: nothing."""

    ticks_days: Days | None = None
    """Ticks of sessions that ended so long ago move to ``archive/ticks`` in the data directory; null: never."""
    logs_days: Days | None = None
    """Logs, and evidence of checks that ran alone, last written so long ago are removed; null: never."""
    dagster_days: Annotated[Days, Field(ge=1)] | None = None
    """Runs of this platform that ended so long ago are removed from Dagster's own storage; null: never."""
    wait_seconds: Annotated[float, Field(ge=0, le=86_400)] = 3_900.0
    """How long to wait for a running session's end: only between sessions may somebody else write."""


class SupervisionSettings(Section):
    """What the sensor `shadow_run_supervisor` does with the wanted session; a launch of your own ignores it."""

    max_session_seconds: Span = 3600.0
    """Where ``seconds`` is null, a live session ends after so long and the next begins, so that evidence appears."""
    backoff_seconds: Span = 10.0
    """Wait so long after a failure; twice as long after the next in a row …"""
    max_backoff_seconds: Span = 900.0
    """… up to so long."""
    healthy_seconds: Span = 600.0
    """A session that ran so long was well: the failure that ends it counts as the first again."""
    restart_budget: Annotated[int, Field(ge=1, le=10_000)] = 20
    """So many restarts after failures …"""
    budget_seconds: Span = 21_600.0
    """… within so long; then it waits until the oldest of them is as old as that."""
    preflight_max_age_seconds: Span = 1200.0
    """A preflight that passed is fresh for so long; without one the supervisor runs the job `preflight` first."""
    stale_seconds: Span = 60.0
    """A sign of life is old after so long; where the process cannot be looked at, the run is then given up."""
    start_timeout_seconds: Span = 300.0
    """How long a launched run may show no process, and a process no sign of life."""

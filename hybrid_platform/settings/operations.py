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
"""Variables with this prefix are settings, whose values are recorded, so they must not hold secrets."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def _named(value: object) -> object:
    # An address that was put here by mistake must not appear in a message, as it would in a fault of pydantic.
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
    """Metrics of the running session for Prometheus; see docs/operations.md."""

    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Port on 127.0.0.1, path ``/metrics``; 0: any free port, which is logged; null: not served."""


class NotifySettings(Section):
    """Receivers of notifications about failure, overload, halts, and recovery; see docs/operations.md."""

    webhook_env: Variable | None = None
    """Name of the environment variable with the address of a webhook, which receives JSON."""
    webhook_file: SecretFile | None = None
    """Path of a file (0600) with the address, instead of a variable."""
    slack_env: Variable | None = None
    """Name of the environment variable with the address of a Slack incoming webhook."""
    slack_file: SecretFile | None = None
    """Path of a file (0600) with the address, instead of a variable."""
    ui_url: Annotated[str, Field(pattern=r"^https?://[^\s/@?#]+(/[^\s@?#]*)?$", max_length=500)] | None = None
    """Address of the Dagster UI for links, e.g. ``http://127.0.0.1:3000``."""
    timeout_seconds: Annotated[float, Field(gt=0, le=20)] = 5.0
    """How long one attempt may wait for the receiver."""
    attempts: Annotated[int, Field(ge=1, le=5)] = 3
    """Number of attempts, the next one after 1, 2, 4 … seconds."""


class RetentionSettings(Section):
    """Data that ``hybrid-platform retain`` and the job ``retention`` archive or delete; see docs/retention.md."""

    ticks_days: Days | None = None
    """Days after the end of a session until its ticks move to ``archive/ticks`` in the data directory; null: never."""
    logs_days: Days | None = None
    """Days after the last write until logs, and evidence of checks that ran alone, are deleted; null: never."""
    dagster_days: Annotated[Days, Field(ge=1)] | None = None
    """Days after the end of a run of this platform until it is deleted from Dagster's storage; null: never."""
    wait_seconds: Annotated[float, Field(ge=0, le=86_400)] = 3_900.0
    """How long to wait for a running session to end, because other writers are allowed only between sessions."""


class SupervisionSettings(Section):
    """Rules of the sensor `shadow_run_supervisor`; runs that you launch yourself ignore them."""

    max_session_seconds: Span = 3600.0
    """Length of a live session if ``seconds`` is null; then the next begins, so that evidence appears."""
    backoff_seconds: Span = 10.0
    """Wait after a failure, doubled after each further failure in a row …"""
    max_backoff_seconds: Span = 900.0
    """… up to this limit."""
    healthy_seconds: Span = 600.0
    """A session that ran this long was healthy: the failure that ends it counts as the first again."""
    restart_budget: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Number of restarts after failures …"""
    budget_seconds: Span = 21_600.0
    """… within this time; beyond it the supervisor waits until the oldest of them is older."""
    preflight_max_age_seconds: Span = 1200.0
    """How long a passed preflight is fresh; without a fresh one the supervisor runs the job `preflight` first."""
    stale_seconds: Span = 60.0
    """Age at which a liveness file is old; if the process cannot be observed, the run is then reaped."""
    start_timeout_seconds: Span = 300.0
    """How long a launched run may have no process, and a process no liveness file."""

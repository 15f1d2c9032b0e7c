"""The settings of watching: where metrics are served, and whom to notify. Neither decides a trade.

Where to notify is a secret, so that settings hold only the name of what holds it: an environment
variable, or a file that only its owner may read.
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

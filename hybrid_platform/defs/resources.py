"""The resource `session`: the settings of all four assets, as they were launched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import dagster as dg

from hybrid_platform.defs.schema import shape_of
from hybrid_platform.settings.session import SessionSettings


class SessionConfig(NamedTuple):
    """What was asked for; not validated yet, so that preflight can name every fault at once."""

    stated: Mapping[str, Any]


@dg.resource(
    config_schema=shape_of(SessionSettings),
    description="Settings of a session. What is left out comes from HYBRID_PLATFORM_… variables, then the defaults.",
)
def session(context: dg.InitResourceContext) -> SessionConfig:
    """Hand the launch's settings on as they are."""
    return SessionConfig(context.resource_config or {})

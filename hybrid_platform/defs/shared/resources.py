"""The resource `session`: the settings of a run as they were launched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import dagster as dg

from hybrid_platform.defs.shared.schema import build_config_fields
from hybrid_platform.settings.session import SessionSettings


class SessionConfig(NamedTuple):
    """Settings that a run was launched with. They are not validated yet, so that preflight can report every fault."""

    stated: Mapping[str, Any]


@dg.resource(
    config_schema=build_config_fields(SessionSettings),
    description="Settings of a session. Missing keys come from HYBRID_PLATFORM_… variables, then the defaults.",
)
def session(context: dg.InitResourceContext) -> SessionConfig:
    """Return the launch's settings unchanged."""
    return SessionConfig(context.resource_config or {})

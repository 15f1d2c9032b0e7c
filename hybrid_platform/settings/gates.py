"""Settings of the gates, of the keys, and of the evidence that LIVE requires (G1, G2, S14).

None of them decides a trade. They are left out of ``trading_sha256``, so that a proof made in SHADOW is valid for the
same trading in LIVE.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from hybrid_platform.settings.base import Exact, Seconds, Section

Path = Annotated[str, Field(min_length=1, max_length=4096)]


class KeySettings(Section):
    """Ed25519 keys: paths of PEM files and of directories with ``*.pub`` files."""

    signing_key: Path | None = None
    """Key that signs bundles; null: ``<data_dir>/keys/signing.pem``, created on first use."""
    trusted: Path | None = None
    """Keys whose bundles the LIVE gate trusts; null: ``<data_dir>/keys``."""
    operators: Path | None = None
    """Keys whose authorization tokens the LIVE gate trusts; null: ``<data_dir>/keys/operators``."""


class LiveSettings(Section):
    """Requirements of the LIVE gate; see docs/live-gate.md."""

    bundles: tuple[Path, ...] = ()
    """Bundles of SHADOW and PAPER sessions that are the proof, as session ids or paths."""
    token: Path | None = None
    """The authorization token that an operator signed (``hybrid-platform arm``)."""
    account: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The account at the venue that the token must name."""
    adapter: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Entry point of the live adapter; null: the only one installed."""
    call_seconds: Annotated[Exact, Field(gt=0, le=60)] = Decimal(5)
    """Time limit of one call of the adapter, which fails the session, and of its construction, which refuses it."""
    close_seconds: Annotated[Exact, Field(gt=0, le=600)] = Decimal(10)
    """How long an ending session waits for the venue to confirm cancels."""
    max_age_hours: Annotated[Exact, Field(gt=0, le=24 * 365)] = Decimal(24)
    """Maximum age of a bundle."""
    min_sessions: Annotated[int, Field(ge=1, le=10_000)] = 3
    min_seconds: Annotated[int, Field(ge=1)] = 8 * 3600
    """Running time of the pipelines of all sessions together."""
    min_ticks: Annotated[int, Field(ge=1)] = 10_000
    min_trades: Annotated[int, Field(ge=1)] = 30


class GateSettings(Section):
    """Conditions on the host before and after a session."""

    cpu_pressure_limit: Annotated[float, Field(ge=0)] = 20.0
    """Percent of `some avg10`; 100 or more switches the gate off."""
    pressure_wait_seconds: Seconds = 60.0
    """How long both checks wait for the pressure to fall below the limit."""
    dashboard_port: Annotated[int, Field(ge=1, le=65535)] = 8501
    """Reported by the healthcheck, not required."""
    min_free_disk_mb: Annotated[int, Field(ge=0)] = 100
    require_clock_sync: bool = False
    """Whether the healthcheck fails if the kernel does not report a synchronised clock."""
    live: LiveSettings = LiveSettings()
    """Additional requirements of LIVE (G1)."""

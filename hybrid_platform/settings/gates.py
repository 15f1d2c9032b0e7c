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
    """Ed25519 keys, as paths of PEM files and of directories of ``*.pub`` files."""

    signing_key: Path | None = None
    """Signs bundles; null: ``<data_dir>/keys/signing.pem``, made on first use."""
    trusted: Path | None = None
    """Whose bundles the LIVE gate believes; null: ``<data_dir>/keys``."""
    operators: Path | None = None
    """Whose arming tokens the LIVE gate believes; null: ``<data_dir>/keys/operators``."""


class LiveSettings(Section):
    """What the LIVE gate demands of its proof, and whom it arms; see docs/live-gate.md."""

    bundles: tuple[Path, ...] = ()
    """The proof: bundles of SHADOW and PAPER sessions, as session ids or paths."""
    token: Path | None = None
    """The arming token that an operator signed (``hybrid-platform arm``)."""
    account: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The venue's account that the token must name."""
    adapter: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Entry point of the live adapter; null: the only one installed."""
    call_seconds: Annotated[Exact, Field(gt=0, le=60)] = Decimal(5)
    """How long one call of the adapter may take before the session is failed, and its making before it is refused."""
    close_seconds: Annotated[Exact, Field(gt=0, le=600)] = Decimal(10)
    """How long a session that ends waits for the venue to end what it was asked to cancel."""
    max_age_hours: Annotated[Exact, Field(gt=0, le=24 * 365)] = Decimal(24)
    """How old a bundle may be."""
    min_sessions: Annotated[int, Field(ge=1, le=10_000)] = 3
    min_seconds: Annotated[int, Field(ge=1)] = 8 * 3600
    """Of all sessions together, as their pipelines ran."""
    min_ticks: Annotated[int, Field(ge=1)] = 10_000
    min_trades: Annotated[int, Field(ge=1)] = 30


class GateSettings(Section):
    """What must hold on the host before and after."""

    cpu_pressure_limit: Annotated[float, Field(ge=0)] = 20.0
    """Percent of `some avg10`; 100 or more switches the gate off."""
    pressure_wait_seconds: Seconds = 60.0
    """How long both checks wait for the pressure to fall."""
    dashboard_port: Annotated[int, Field(ge=1, le=65535)] = 8501
    """Reported, not required."""
    min_free_disk_mb: Annotated[int, Field(ge=0)] = 100
    require_clock_sync: bool = False
    """Whether the healthcheck fails where the kernel does not say that somebody keeps the clock right."""
    live: LiveSettings = LiveSettings()
    """What LIVE demands on top (G1)."""

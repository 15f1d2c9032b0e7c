"""Settings of a session: one validated, frozen, hashable object, from Dagster, YAML, or the environment.

Every key has its default, bounds, and meaning in the classes of this package and nowhere else.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, field_validator

from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.text import deterministic_json
from hybrid_platform.settings.base import Section
from hybrid_platform.settings.feeds import Feed, SyntheticFeed
from hybrid_platform.settings.gates import GateSettings, KeySettings
from hybrid_platform.settings.instruments import InstrumentSettings
from hybrid_platform.settings.operations import MetricsSettings, NotifySettings, RetentionSettings, SupervisionSettings
from hybrid_platform.settings.runtime import (
    ChannelSettings,
    HeartbeatSettings,
    OverloadSettings,
    StorageSettings,
    WatchdogSettings,
)
from hybrid_platform.settings.trading import ExecutionSettings, PaperSettings, RiskSettings, StrategySettings


class Mode(StrEnum):
    """Where orders go."""

    SHADOW = "SHADOW"
    PAPER = "PAPER"
    LIVE = "LIVE"

    @classmethod
    def _missing_(cls, value: object) -> Mode | None:
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None


NOT_TRADING = frozenset(
    {
        "mode",
        "live_armed",
        "seconds",
        "data_dir",
        "database_url",
        "gates",
        "keys",
        "metrics",
        "notify",
        "watchdog",
        "retention",
        "supervision",
        "isolation_memory_mb",
    }
)

_GUARDED_HOST = sys.platform == "linux" and platform.machine() in {"x86_64", "aarch64"}
DEFAULT_ISOLATION: Literal["process", "thread"] = "process" if _GUARDED_HOST else "thread"


class SessionSettings(Section):
    """All settings of a session."""

    mode: Mode = Mode.SHADOW
    """SHADOW, PAPER or LIVE."""
    live_armed: bool = False
    """LIVE requires this too, and much more (G1)."""
    seconds: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Time limit; null: until the feed ends or a stop (30 for a synthetic feed without ``ticks``)."""
    data_dir: Annotated[str, Field(min_length=1, max_length=4096)] = "data"
    """Directory of everything that is written."""
    database_url: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """null: SQLite at ``<data_dir>/bot.db``."""
    isolation: Literal["process", "thread"] = DEFAULT_ISOLATION
    """Where strategy and execution run: in a process that the kernel confines, or as threads."""
    require_isolation: bool = False
    """Refuse to start if the kernel cannot confine a process completely."""
    isolation_memory_mb: Annotated[int, Field(ge=256, le=1_048_576)] | None = 2_048
    """Memory limit of the sandboxed process, so that a leaking strategy ends itself; null: no limit."""
    feed: Feed = Feed(synthetic=SyntheticFeed())
    strategy: StrategySettings = StrategySettings()
    risk: RiskSettings = RiskSettings()
    execution: ExecutionSettings = ExecutionSettings()
    paper: PaperSettings = PaperSettings()
    instruments: tuple[InstrumentSettings, ...] = ()
    """Stated instruments; an instrument that is not stated has no rules that could refuse an order."""
    instruments_file: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """A YAML or CSV file with more instruments, read once; its rows become part of ``instruments``."""
    channels: ChannelSettings = ChannelSettings()
    gates: GateSettings = GateSettings()
    keys: KeySettings = KeySettings()
    heartbeat: HeartbeatSettings = HeartbeatSettings()
    storage: StorageSettings = StorageSettings()
    overload: OverloadSettings = OverloadSettings()
    watchdog: WatchdogSettings = WatchdogSettings()
    metrics: MetricsSettings = MetricsSettings()
    retention: RetentionSettings = RetentionSettings()
    notify: NotifySettings = NotifySettings()
    supervision: SupervisionSettings = SupervisionSettings()
    warm_start_ticks: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    """Number of first ticks that the strategy sees as history; its signals at them are not taken."""
    drain_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Time limit of a drain, after which the session ends as a crash."""

    @field_validator("instruments")
    @classmethod
    def _each_instrument_once(cls, items: tuple[InstrumentSettings, ...]) -> tuple[InstrumentSettings, ...]:
        keys = [(item.venue, item.symbol) for item in items]
        if len(set(keys)) < len(keys):
            raise ValueError("each instrument once")
        return items

    def to_deterministic_json(self, exclude: frozenset[str] = frozenset()) -> str:
        """Return the settings as compact JSON with sorted keys, the text of the digests."""
        return deterministic_json(self.model_dump(mode="json", exclude=set(exclude)), compact=True)

    @property
    def config_sha256(self) -> str:
        """Digest of all settings."""
        return hashlib.sha256(self.to_deterministic_json().encode()).hexdigest()

    @property
    def trading_sha256(self) -> str:
        """Digest of the settings that decide trading, which leaves out `NOT_TRADING` (see docs/contract.md)."""
        return hashlib.sha256(self.to_deterministic_json(NOT_TRADING).encode()).hexdigest()

    def stated_instruments(self) -> dict[tuple[str, str], Instrument]:
        """Return the stated instruments by ``(venue, symbol)``, the form that `InstrumentTable` takes."""
        venue = self.feed.replay.venue if self.feed.replay else self.feed.kind.upper()
        stated = (item.instrument(venue, self.default_quote) for item in self.instruments)
        return {instrument.key: instrument for instrument in stated}

    @property
    def default_quote(self) -> str:
        """Currency of prices that neither symbol nor instrument states."""
        return self.feed.replay.quote if self.feed.replay else "USD"

    @property
    def is_live_feed(self) -> bool:
        """Whether ticks arrive at their own pace, so that fresh data matters more than every tick."""
        return self.feed.replay is None

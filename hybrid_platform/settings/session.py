"""The session's settings: one validated, frozen, hashable object, from Dagster, YAML or environment.

Every key has its default, bounds and meaning here and nowhere else; Dagster's launchpad schema is
derived from these classes. ``load_settings`` turns any mapping into settings or raises one
`ConfigError` that names every fault (path, expected, was).
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from hybrid_platform.domain.errors import ConfigError, Fault
from hybrid_platform.domain.instruments import Instrument
from hybrid_platform.domain.text import deterministic_json
from hybrid_platform.settings.base import Exact as Exact  # noqa: PLC0414 (strategies import it from here)
from hybrid_platform.settings.base import Seconds, Symbol
from hybrid_platform.settings.base import Section as _Section
from hybrid_platform.settings.base import faults_of as faults_of  # noqa: PLC0414
from hybrid_platform.settings.base import shown as shown  # noqa: PLC0414
from hybrid_platform.settings.evidence import KeySettings, LiveSettings
from hybrid_platform.settings.instruments import InstrumentSettings, SignedBps, read_instruments
from hybrid_platform.settings.operations import MetricsSettings, NotifySettings
from hybrid_platform.settings.overload import OverloadSettings, WatchdogSettings
from hybrid_platform.settings.retention import RetentionSettings
from hybrid_platform.settings.supervision import SupervisionSettings
from hybrid_platform.settings.websocket import FrameFormat, WebsocketFeed
from hybrid_platform.settings.yaml_files import YAML_ERRORS, load_yaml

ENV_PREFIX = "HYBRID_PLATFORM_"
SUPERVISED_RUN = ENV_PREFIX + "SUPERVISED_RUN"
"""Names the file of the run that the supervisor keeps alive."""
NOT_SETTINGS = (ENV_PREFIX + "DEBUG_", ENV_PREFIX + "TEST_", SUPERVISED_RUN)
NEVER_FROM_ENVIRONMENT = ("mode", "live_armed")
"""Arming is a deed, not an ambience: these two must be written into the run's own settings."""


class Mode(StrEnum):
    """What may happen to an order."""

    SHADOW = "SHADOW"
    PAPER = "PAPER"
    LIVE = "LIVE"

    @classmethod
    def _missing_(cls, value: object) -> Mode | None:
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None


class OnFull(StrEnum):
    """What a bounded channel does with an event that finds it full."""

    DROP_OLDEST = "DROP_OLDEST"
    BLOCK = "BLOCK"
    FAIL = "FAIL"


class SyntheticFeed(_Section):
    """A random walk that follows from its seed alone."""

    ticks_per_second: Annotated[float, Field(gt=0, le=10_000_000)] | Literal["max"] = 2.0
    """Ticks a second, all symbols together; ``max``: as fast as the pipeline takes them."""
    symbols: Annotated[tuple[Symbol, ...], Field(min_length=1, max_length=1000)] = ("SOL/USDC",)
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 7
    start_price: Annotated[Exact, Field(gt=0, le=1_000_000)] = Decimal(100)
    ticks: Annotated[int, Field(ge=1)] | None = None
    """Stop after so many ticks; null: only time or a stop ends it."""


class Columns(_Section):
    """Which column of a file holds what; positions (from 0) where a file has no header."""

    ts: str | int
    price: str | int
    size: str | int | None = None
    """Without one, every size is 0."""
    symbol: str | int | None = None
    trade_id: str | int | None = None
    side: str | int | None = None
    """buy/sell, b/s, 1/-1; or whether the buyer was the maker (true, false)."""
    ts_recv: str | int | None = None


class ReplayFeed(_Section):
    """Recorded trades from files, or from an earlier session in the database."""

    path: str | tuple[str, ...] | None = None
    """A file, a glob pattern, or several of either: CSV, JSONL (also .gz), Parquet, or a preset's zip."""
    session: str | None = None
    """Instead of a path: the id of an earlier session in the database."""
    format: str | None = None
    """A preset's name instead of ``columns``; see docs/feeds.md."""
    columns: Columns | None = None
    frames: FrameFormat | None = None
    """The path holds recorded websocket frames of this venue, to be read by its own decoder; see docs/live-data.md."""
    ts_unit: Literal["s", "ms", "us", "ns", "iso"] = "ms"
    recv_unit: Literal["s", "ms", "us", "ns", "iso"] | None = None
    """Unit of ``columns.ts_recv``; null: as ``ts_unit``."""
    symbol: Symbol | None = None
    """The symbol, where the file has no such column."""
    venue: Symbol = "REPLAY"
    quote: Symbol = "USD"
    """The currency that prices are in, where the symbol does not say."""
    speed: Annotated[float, Field(gt=0, le=1e9)] | Literal["max"] = "max"
    """``max``, or a factor of real time (1: as it happened)."""
    order: Literal["time", "listed"] = "time"
    """Several files: merged by event time, or one after the other as listed. Within a file, never reordered."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Stop after so many accepted ticks."""

    @model_validator(mode="after")
    def _one_source(self) -> ReplayFeed:
        if (self.path is None) == (self.session is None):
            raise ValueError("exactly one of `path` and `session`")
        if sum(way is not None for way in (self.format, self.columns, self.frames)) > 1:
            raise ValueError("at most one of `format`, `columns` and `frames`")
        if self.frames is not None and self.path is None:
            raise ValueError("a `path` with `frames`")
        if self.path is not None and not self.paths:
            raise ValueError("at least one path")
        return self

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths as a tuple, however they were written."""
        if self.path is None:
            return ()
        return (self.path,) if isinstance(self.path, str) else self.path


class Feed(_Section):
    """Where ticks come from: exactly one of these."""

    synthetic: SyntheticFeed | None = None
    replay: ReplayFeed | None = None
    websocket: WebsocketFeed | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Feed:
        if (
            len(self.model_fields_set & {name for name in type(self).model_fields if getattr(self, name) is not None})
            != 1
        ):
            raise ValueError("exactly one feed: " + ", ".join(type(self).model_fields))
        return self

    @property
    def kind(self) -> str:
        """The name of the feed that is set."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)


class StrategySettings(_Section):
    """Which strategy, and its parameters (each strategy validates its own)."""

    name: Annotated[str, Field(min_length=1, max_length=200)] = "periodic"
    """A built-in or installed name, or an import path ``package.module:Class``."""
    params: dict[str, Any] = Field(default_factory=dict)


Bps = Annotated[Exact, Field(ge=0, lt=10_000, decimal_places=8)]
"""Basis points, 1/10,000. Decimal places are bounded so that money stays exact however it is multiplied."""


class RiskSettings(_Section):
    """Caps in USD, pending orders included (I2), the age beyond which data is stale (S7), and limits that start off."""

    max_exposure_usd: Annotated[Exact, Field(ge=0)] = Decimal(10_000)
    max_symbol_exposure_usd: Annotated[Exact, Field(ge=0)] = Decimal(5_000)
    max_open_orders: Annotated[int, Field(ge=0, le=1_000_000)] = 10
    max_staleness_ms: Annotated[int, Field(ge=0, le=10**12)] = 2_000
    """Event to receipt, or receipt to decision."""
    usd_rates: dict[Symbol, Annotated[Exact, Field(gt=0, lt=1e9, decimal_places=18)]] = Field(
        default_factory=lambda: {"USD": Decimal(1), "USDC": Decimal(1), "USDT": Decimal(1)}
    )
    """USD for one unit of a quote currency; an unknown quote is vetoed."""
    price_collar_bps: Bps | None = None
    """How far a limit price may be from the last price; also the margin in exposures where it exceeds the slippage."""
    max_order_notional_usd: Annotated[Exact, Field(ge=0)] | None = None
    max_orders_per_second: Annotated[Exact, Field(gt=0, le=1_000_000)] | None = None
    """A token bucket on the session clock …"""
    order_burst: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """… that holds so many orders when full."""
    max_daily_loss_usd: Annotated[Exact, Field(gt=0)] | None = None
    """Loss since midnight UTC (or the last resume), open positions marked; beyond it trading halts."""
    max_drawdown_usd: Annotated[Exact, Field(gt=0)] | None = None
    """Equity below its peak (since the last resume); beyond it trading halts."""
    halt_after_vetoes: Annotated[int, Field(ge=1)] | None = None
    """So many vetoes in a row halt trading."""
    halt_after_rejects: Annotated[int, Field(ge=1)] | None = None
    """So many rejects by the venue in a row halt trading."""


class ExecutionSettings(_Section):
    """The shadow adapter's stated model: a fill at the last seen price, worsened and charged."""

    slippage_bps: Bps = Decimal(10)
    fee_bps: Bps = Decimal(10)
    starting_cash_usd: Annotated[Exact, Field(ge=0, lt=1e15, decimal_places=8)] = Decimal(10_000)
    """What the account begins with: returns and drawdowns in percent are measured against it."""


class PaperSettings(_Section):
    """The simulated venue of mode PAPER; null takes what the preset or the execution settings say."""

    latency: Literal["none", "colocated", "cloud", "home"] = "cloud"
    """A named preset of the three delays and their jitter; see docs/trading.md."""
    submit_ms: Annotated[Exact, Field(ge=0, le=60_000)] | None = None
    """An order's way to the venue."""
    cancel_ms: Annotated[Exact, Field(ge=0, le=60_000)] | None = None
    """A cancel's way to the venue."""
    report_ms: Annotated[Exact, Field(ge=0, le=60_000)] | None = None
    """A report's way back."""
    jitter: Annotated[Exact, Field(ge=0, le=10)] | None = None
    """Each delay is drawn between itself and itself × (1 + jitter)."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 7
    slippage_bps: Bps | None = None
    """What a taking fill is worse than the print it takes."""
    participation: Annotated[Exact, Field(gt=0, le=1, decimal_places=8)] = Decimal("0.1")
    """The share of a print's size that an order may take."""
    limit_fills: Literal["through", "at"] = "through"
    """Resting orders fill when the market trades through their price, or also at it, behind a queue."""
    queue_prints: Annotated[Exact, Field(ge=0, le=1_000_000, decimal_places=8)] = Decimal(10)
    """For ``at``: what stands before a resting order, in mean print sizes of the instrument so far."""
    maker_fee_bps: SignedBps | None = None
    """Below zero is a rebate; null: ``execution.fee_bps``, as for takers."""
    reject_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The share of orders that the venue rejects for no reason of ours."""


Capacity = Annotated[int, Field(ge=1, le=10_000_000)]


class ChannelSettings(_Section):
    """Capacities in events; null follows the feed (SPEC 4)."""

    tick: Capacity | None = None
    signal: Capacity | None = None
    persist: Capacity | None = None
    on_full: OnFull | None = None
    """One policy for all three channels instead of each one's own."""


class GateSettings(_Section):
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


class HeartbeatSettings(_Section):
    """Signs of life (G4)."""

    interval_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    late_seconds: Annotated[float, Field(gt=0, le=3600)] = 2.0


class StorageSettings(_Section):
    """How the writer commits."""

    batch_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 16_384
    """Commit when so many rows wait …"""
    flush_interval_ms: Annotated[int, Field(ge=1, le=60_000)] = 500
    """… or after so long, whichever comes first."""
    busy_timeout_ms: Annotated[int, Field(ge=5_000, le=600_000)] = 5_000


_GUARDED_HOST = sys.platform == "linux" and platform.machine() in {"x86_64", "aarch64"}
DEFAULT_ISOLATION: Literal["process", "thread"] = "process" if _GUARDED_HOST else "thread"


class SessionSettings(_Section):
    """Everything that decides what a session does."""

    mode: Mode = Mode.SHADOW
    """SHADOW, PAPER or LIVE."""
    live_armed: bool = False
    """LIVE needs this too, and much more (G1)."""
    seconds: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Time limit; null: until the feed ends or somebody stops it (30 for a synthetic feed without ``ticks``)."""
    data_dir: Annotated[str, Field(min_length=1, max_length=4096)] = "data"
    """Everything that is written goes below it."""
    database_url: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """null: SQLite at ``<data_dir>/bot.db``."""
    isolation: Literal["process", "thread"] = DEFAULT_ISOLATION
    """Where strategy and execution run: behind the kernel's guard in a process of their own, or as threads."""
    require_isolation: bool = False
    """Start nothing where the kernel's guard around a process cannot be had."""
    isolation_memory_mb: Annotated[int, Field(ge=256, le=1_048_576)] | None = 2_048
    """What the guarded process may allocate; a strategy that leaks ends itself, not the machine. null: no limit."""
    feed: Feed = Feed(synthetic=SyntheticFeed())
    strategy: StrategySettings = StrategySettings()
    risk: RiskSettings = RiskSettings()
    execution: ExecutionSettings = ExecutionSettings()
    paper: PaperSettings = PaperSettings()
    instruments: tuple[InstrumentSettings, ...] = ()
    """Stated instruments; one that is not stated has no rules that could deny an order."""
    instruments_file: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """A YAML or CSV file of more of them, read once: its rows stand in ``instruments`` from then on."""
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
    """Ticks that feed the strategy history before its signals are taken."""
    drain_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """How long a stop may take before the session is given up as a crash."""

    @field_validator("instruments")
    @classmethod
    def _each_instrument_once(cls, items: tuple[InstrumentSettings, ...]) -> tuple[InstrumentSettings, ...]:
        keys = [(item.venue, item.symbol) for item in items]
        if len(set(keys)) < len(keys):
            raise ValueError("each instrument once")
        return items

    def to_deterministic_json(self, exclude: frozenset[str] = frozenset()) -> str:
        """Return the settings as compact JSON with sorted keys, the text that the digests are taken of."""
        return deterministic_json(self.model_dump(mode="json", exclude=set(exclude)), compact=True)

    @property
    def config_sha256(self) -> str:
        """Digest of all settings."""
        return hashlib.sha256(self.to_deterministic_json().encode()).hexdigest()

    @property
    def trading_sha256(self) -> str:
        """Digest of what decides trading: without mode, arming, time, places, gates, keys and who watches (SPEC 3)."""
        return hashlib.sha256(self.to_deterministic_json(NOT_TRADING).encode()).hexdigest()

    def stated_instruments(self) -> dict[tuple[str, str], Instrument]:
        """Return the stated instruments by ``(venue, symbol)``, as `InstrumentTable` takes them."""
        venue = self.feed.replay.venue if self.feed.replay else self.feed.kind.upper()
        stated = (item.instrument(venue, self.default_quote) for item in self.instruments)
        return {instrument.key: instrument for instrument in stated}

    @property
    def default_quote(self) -> str:
        """The currency of prices where neither symbol nor instrument says."""
        return self.feed.replay.quote if self.feed.replay else "USD"

    @property
    def is_live_feed(self) -> bool:
        """Whether ticks come at their own pace, so that fresh data matters more than every tick."""
        return self.feed.replay is None


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
REFERENCE_SECONDS = 30.0


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; raise ConfigError where there is none to be had.

    A Dagster run config is accepted too: its ``resources.session.config`` is taken.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError([Fault(str(path), "a readable YAML file", f"{type(error).__name__}: {error}")]) from None
    try:
        loaded = load_yaml(text)
    except YAML_ERRORS as error:
        raise ConfigError([Fault(str(path), "valid YAML", " ".join(str(error).split()))]) from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError([Fault(str(path), "a mapping of settings", type(loaded).__name__)])
    if "resources" in loaded and set(loaded) <= {"resources", "ops"}:
        try:
            loaded = loaded["resources"]["session"]["config"]
        except (KeyError, TypeError):
            raise ConfigError([Fault(str(path), "resources.session.config", "no such key")]) from None
        if not isinstance(loaded, dict):
            raise ConfigError([Fault(f"{path}: resources.session.config", "a mapping", type(loaded).__name__)])
    return loaded


def parse_assignment(text: str) -> dict[str, Any]:
    """Turn ``key.path=value`` (the value is YAML) into a nested mapping; raise ConfigError."""
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError([Fault("--set", "key.path=value", repr(text))])
    try:
        parsed = load_yaml(value)
    except YAML_ERRORS as error:
        raise ConfigError([Fault(path, "a YAML value", " ".join(str(error).split()))]) from None
    for key in reversed(keys):
        parsed = {key: parsed}
    return parsed if isinstance(parsed, dict) else {}


def environment_layer(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that ``HYBRID_PLATFORM_<KEY>[__<KEY>…]`` variables give; values are YAML."""
    layer: dict[str, Any] = {}
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX) or name.startswith(NOT_SETTINGS):
            continue
        path = name.removeprefix(ENV_PREFIX).lower().replace("__", ".")
        if path.split(".")[0] in NEVER_FROM_ENVIRONMENT:
            raise ConfigError([Fault(name, "to be set in the run's own settings", "an environment variable")])
        layer = merge(layer, parse_assignment(f"{path}={environ[name]}"))
    return layer


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``below`` with ``above`` laid over it, mapping by mapping.

    ``feed`` is a choice of one: another feed's name replaces it whole. So does another strategy's: the
    parameters below were not meant for it.
    """
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            other_feed = key == "feed" and value and not set(value) & set(old)
            other_strategy = key == "strategy" and "name" in value and old.get("name", value["name"]) != value["name"]
            if other_feed or other_strategy:
                merged[key] = dict(value)
            else:
                merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def load_settings(*layers: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> SessionSettings:
    """Return validated settings: defaults, then environment, then ``layers``, the last one on top.

    Raises ConfigError with one fault per wrong setting, before anything starts or is written.
    """
    merged = environment_layer(os.environ if environ is None else environ)
    for layer in layers:
        merged = merge(merged, layer)
    if merged.get("instruments_file") is not None:
        merged = _with_instruments_file(merged)
    if _endless_synthetic(merged):
        merged = {**merged, "seconds": REFERENCE_SECONDS} if "seconds" not in merged else merged
    try:
        return SessionSettings.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(faults_of(error, SessionSettings)) from None


def _with_instruments_file(merged: Mapping[str, Any]) -> dict[str, Any]:
    """Put the file's rows before what is stated beside it, which then comes first where both state the same."""
    rows = read_instruments(merged["instruments_file"])
    stated = merged.get("instruments") or ()
    if not isinstance(stated, list | tuple):
        return dict(merged)
    return {**merged, "instruments_file": None, "instruments": [*rows, *stated]}


def _endless_synthetic(merged: Mapping[str, Any]) -> bool:
    feed = merged.get("feed")
    if not isinstance(feed, Mapping):
        return feed is None
    synthetic = feed.get("synthetic")
    return "synthetic" in feed and not (isinstance(synthetic, Mapping) and synthetic.get("ticks"))

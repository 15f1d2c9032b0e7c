"""A world in which the LIVE gate opens, made of real files, keys and signatures, for tests to break.

The bundles are a real session's evidence, edited as if it had traded a venue's feed at a commit, in the sandbox. The
product's own code writes, chains and seals them.

`World`        everything that a LIVE request refers to; a test changes its fields before `build`
`BundleStore`  keys, and proof bundles that are built once and copied
`SessionSpec`  the properties of one proof session
`ADAPTER`      source of an installed package with one good adapter and four bad ones
`replaced`     a copy of a record with other fields; `unchanged` returns it as it is
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from hybrid_platform.domain.clocks import NS_PER_S, iso_utc
from hybrid_platform.domain.contract import CONTRACT_IDS
from hybrid_platform.domain.isolation import Enforced
from hybrid_platform.domain.records import CodeIdentity, CpuPressure, PressureGate, PressureSource, Verdict
from hybrid_platform.evidence.bundle import MANIFEST, seal
from hybrid_platform.evidence.chain import EventChain
from hybrid_platform.evidence.code_digest import strategy_sha256
from hybrid_platform.evidence.files import sha256_bytes, write_json
from hybrid_platform.evidence.keys import Signer, create_key, load_signer
from hybrid_platform.evidence.matrix import Matrix, MatrixRow, write_matrix
from hybrid_platform.evidence.predicate import STEPS
from hybrid_platform.evidence.records import Evidence, SessionFiles, evidence_name
from hybrid_platform.live.authorization import LiveAuthorization, new_nonce, sign_authorization
from hybrid_platform.live.inputs import ADAPTERS, LiveRequest
from hybrid_platform.security.paths import DataDir
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.settings.session import SessionSettings
from hybrid_platform.testing import TestClock

CODE = CodeIdentity("0.1.0", "c0ffee" * 6 + "cafe", False, "5" * 64)
ACCOUNT = "main-account"
KEYS = ("ours", "operator", "stranger")
NOW = time.time_ns()
MODES = ("SHADOW", "PAPER", "SHADOW")
ADAPTER = """
import time
class TestAdapter:
    def __init__(self, account, max_notional_usd):
        self.made_for = (account, max_notional_usd)
    def open(self, session_id): ...
    def submit(self, approved, now): ...
    def cancel(self, order_id, now): ...
    def reports(self): return ()
    def close(self, now): return ()
class Half:
    def submit(self, approved, now): ...
class Raises:
    open = submit = cancel = reports = close = lambda self: None
    def __init__(self, account, max_notional_usd):
        raise RuntimeError("no line to the venue")
class Hangs(Half):
    open = cancel = reports = close = lambda self: None
    def __init__(self, account, max_notional_usd):
        time.sleep(60)
class Exits(Hangs):
    def __init__(self, account, max_notional_usd):
        raise SystemExit(3)
"""
Change = Callable[[Any], Any]


def pressure(verdict: Verdict = Verdict.PASS) -> PressureGate:
    reading = CpuPressure(0, PressureSource.PSI, 1.0)
    return PressureGate(20.0, reading, reading, 0.0, verdict, "")


def unchanged(value: Any) -> Any:
    return value


def replaced(record: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(record, **fields)


class SessionSpec(NamedTuple):
    """The properties of one proof session."""

    session_id: str
    settings: SessionSettings
    mode: str
    sealed_s_ago: float
    key: str


class BundleStore:
    """Keys, and good bundles that are built once for each specification."""

    def __init__(self, folder: Path, template: SessionFiles) -> None:
        self.folder, self._template = folder, template
        self._digest = strategy_sha256("periodic")
        self._made: dict[tuple[Any, ...], Path] = {}
        for name in KEYS:
            create_key(folder / f"{name}.pem")

    def signer(self, name: str) -> Signer:
        return load_signer(self.folder / f"{name}.pem", "key")

    def bundle(self, make: SessionSpec) -> Path:
        """Return the path of a good bundle; a test must copy it before changing it."""
        known = (make.session_id, make.settings.trading_sha256, make.sealed_s_ago, make.key)
        if known not in self._made:
            data = DataDir(self.folder / str(len(self._made)))
            self.write(make, data, {})
            self._made[known] = data.root / "evidence" / make.session_id
        return self._made[known]

    def write(self, make: SessionSpec, data: DataDir, change: Mapping[str, Change]) -> None:
        """Write, chain and seal a session's evidence, with each record changed by ``change``."""
        clock = TestClock(wall_ns=NOW - int(make.sealed_s_ago * NS_PER_S))
        chain = EventChain(data, make.session_id, clock)
        for kind, record in zip(STEPS, self._template[: len(STEPS)], strict=True):
            chain.watch({"ts": iso_utc(clock.wall_ns()), "level": "info", "message": f"{kind} PASS"})
            chain.flush()
            changed = change.get(kind, unchanged)(self._as_if_live(kind, record, make))
            write_json(data, evidence_name(make.session_id, kind), changed)
        seal(data, make.session_id, self.signer(make.key), clock)

    def _as_if_live(self, kind: str, record: Any, make: SessionSpec) -> Evidence:
        common = {"session_id": make.session_id, "trading_sha256": make.settings.trading_sha256, "code": CODE}
        record = replaced(record, **common)
        if kind == "preflight":
            stated = {**make.settings.model_dump(mode="json"), "mode": make.mode}
            return replaced(record, settings=stated, pressure=pressure(), strategy_sha256=self._digest)
        if kind == "postflight":
            return replaced(record, pressure=pressure())
        if kind == "session":
            isolation = replaced(record.isolation, enforced=Enforced.KERNEL_PROCESS, kernel_counts=True, denied=())
            figures = {"counters": {**record.counters, "tick_count": 100, "trade_count": 10}, "pipeline_s": 20.0}
            return replaced(record, mode=make.mode, isolation=isolation, strategy_sha256=self._digest, **figures)
        return record


@dataclass
class World:
    """Everything that a LIVE request refers to; a test changes fields before `build`."""

    folder: Path
    bundle_store: BundleStore
    settings: dict[str, Any] = field(default_factory=dict)
    live: dict[str, Any] = field(default_factory=dict)
    code: CodeIdentity = CODE
    host: PressureGate = field(default_factory=pressure)
    kill_switch: str | None = None
    sessions: int = 3
    change: Mapping[str, Change] = field(default_factory=dict)
    """Change of a record by its kind; applied to the last session."""
    sealed_s_ago: float = 3600.0
    bundle_key: str = "ours"
    matrix: Change = unchanged
    matrix_key: str = "ours"
    arming: Change = unchanged
    operator_key: str = "operator"
    operators: tuple[str, ...] = ("operator",)
    adapters: dict[str, str] = field(default_factory=lambda: {"test": "hp_test_adapter:TestAdapter"})
    now_ns: int = NOW
    late: list[Callable[[World], None]] = field(default_factory=list)
    """Called after everything was written."""

    def build(self) -> LiveRequest:
        """Write everything and return the request."""
        self.data = DataDir(self.folder / "data")
        keys = self.folder / "data/keys"
        (keys / "operators").mkdir(parents=True)
        for name in KEYS:
            shutil.copy(self.bundle_store.folder / f"{name}.pem", self.folder / f"{name}.pem")
        shutil.copy(self.bundle_store.folder / "ours.pub", keys / "ours.pub")
        for name in self.operators:
            shutil.copy(self.bundle_store.folder / f"{name}.pub", keys / "operators" / f"{name}.pub")
        self._install_adapters()
        plain = self._settings()
        self.bundles = [self._session(number, plain) for number in range(self.sessions)]
        self._matrix()
        self._token()
        for happen in self.late:
            happen(self)
        bundles = {"bundles": [str(path) for path in self.bundles], "token": str(self.folder / "token.json")}
        return LiveRequest(
            self._settings({**bundles, **self.live}), self.data, self.code, self.now_ns, self.host, self.kill_switch
        )

    def _settings(self, live: Mapping[str, Any] | None = None) -> SessionSettings:
        demands = {"account": ACCOUNT, "min_sessions": 3, "min_seconds": 60, "min_ticks": 300, "min_trades": 30}
        stated = {
            "mode": "LIVE",
            "live_armed": True,
            "feed": {"websocket": {"sources": [{"venue": "binance", "symbols": ["BTCUSDT"]}]}},
            "gates": {"live": {**demands, **(live or {})}},
            **self.settings,
        }
        return load_settings({"data_dir": str(self.folder / "data"), **stated}, environ={})

    def _session(self, number: int, settings: SessionSettings) -> Path:
        """Copy a session's bundle from the store, or write one with a change."""
        session_id = f"20260102T03040{number}Z-0000000{number}"
        change = self.change if number == self.sessions - 1 else {}
        make = SessionSpec(session_id, settings, MODES[number % 3], self.sealed_s_ago, self.bundle_key)
        place = self.folder / "proof" / session_id
        if change:
            self.bundle_store.write(make, DataDir(self.folder / "made"), change)
            shutil.copytree(self.folder / "made/evidence" / session_id, place)
        else:
            shutil.copytree(self.bundle_store.bundle(make), place)
        return place

    def _matrix(self) -> None:
        rows = tuple(MatrixRow(each, "", "pytest", "passed", "1 passed", 0.1, Verdict.PASS) for each in CONTRACT_IDS)
        matrix = Matrix(
            version="0.1.0",
            commit=CODE.commit,
            dirty=False,
            code_sha256=str(CODE.sha256),
            python="3.11",
            started_at="",
            ended_at="",
            rows=rows,
        )
        write_matrix(self.data, self.matrix(matrix), self.bundle_store.signer(self.matrix_key))

    def _token(self) -> None:
        authorization = LiveAuthorization(
            nonce=new_nonce(),
            bundles=tuple(sorted({sha256_bytes((path / MANIFEST).read_bytes()) for path in self.bundles})),
            account=ACCOUNT,
            max_notional_usd=Decimal(10_000),
            data_dir=str(self.data.root),
            issued_ns=self.now_ns - NS_PER_S,
            expires_ns=self.now_ns + 60 * NS_PER_S,
        )
        self.armed = self.arming(authorization)
        (self.folder / "token.json").write_bytes(
            sign_authorization(self.armed, self.bundle_store.signer(self.operator_key))
        )

    def _install_adapters(self) -> None:
        """Put a distribution with entry points on ``sys.path``."""
        site = self.folder / "site"
        info = site / "hp_test_adapter-1.0.dist-info"
        info.mkdir(parents=True)
        (site / "hp_test_adapter.py").write_text(ADAPTER)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hp-test-adapter\nVersion: 1.0\n")
        points = "".join(f"{name} = {value}\n" for name, value in self.adapters.items())
        (info / "entry_points.txt").write_text(f"[{ADAPTERS}]\n{points}")
        sys.path.insert(0, str(site))

    def forget(self) -> None:
        """Remove the adapter's distribution again."""
        sys.modules.pop("hp_test_adapter", None)
        sys.path[:] = [entry for entry in sys.path if entry != str(self.folder / "site")]

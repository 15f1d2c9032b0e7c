"""The imports of trading, and what its adapters hold and accept (I1, I2, S9)."""

from __future__ import annotations

import ast
import importlib
import types
import typing
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

import hybrid_platform.trading
from hybrid_platform.domain.orders import OrderType, Side, TimeInForce, VetoReason
from hybrid_platform.trading.accounts import Account
from hybrid_platform.trading.adapters.live import Outbox
from hybrid_platform.trading.adapters.paper.model import build_paper_model
from hybrid_platform.trading.adapters.paper.venue import PaperVenue
from hybrid_platform.trading.adapters.shadow import ShadowAdapter
from hybrid_platform.trading.audit_journal import AuditJournal
from hybrid_platform.trading.market_state import MarketState
from hybrid_platform.trading.order import Order
from hybrid_platform.trading.order_manager import OrderManager
from hybrid_platform.trading.risk.engine import Approved, Denied, NotApprovedError, RiskEngine
from hybrid_platform.trading.risk.exposure import Exposure
from hybrid_platform_tests.trading.market import make_settings, make_table

TRADING = Path(hybrid_platform.trading.__file__).parent
PACKAGE = TRADING.parent
PROGRAM = TRADING / "reference.py"
"""Generates the tables of docs/trading.md; no module imports it."""
ALLOWED = {
    "__future__", "collections", "dataclasses", "decimal", "heapq", "itertools", "json", "random", "typing", "msgspec",
    "numpy",
}  # fmt: skip
"""Modules that trading may import: none opens a socket, a pipe, a file or a process."""
NETWORK_MODULES = {
    "socket", "_socket", "ssl", "http", "urllib", "ftplib", "smtplib", "asyncio", "selectors", "subprocess", "ctypes",
    "multiprocessing", "websockets", "requests", "aiohttp", "httpx", "sqlalchemy", "dagster", "ccxt", "psycopg",
}  # fmt: skip
"""Modules that must not be imported indirectly either."""
PURE = {"urllib.parse"}
"""Harmless modules of those packages."""


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            yield node.module or ""


def file_of(module: str) -> Path | None:
    path = PACKAGE.parent.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@pytest.mark.scenario("I1")
def test_no_import_of_trading_can_open_a_socket():
    """Neither trading nor any module that it imports, directly or indirectly, imports a network module."""
    modules = [path for path in TRADING.rglob("*.py") if path != PROGRAM]
    todo, done = sorted(modules), set()
    while todo:
        path = todo.pop()
        done.add(path)
        for module in imports_of(path):
            if module.startswith("hybrid_platform"):
                todo += [file for file in [file_of(module)] if file and file not in done]
            elif module not in PURE:
                assert module.split(".")[0] not in NETWORK_MODULES, (path, module)
                assert TRADING not in path.parents or module.split(".")[0] in ALLOWED, (path, module)
    assert PROGRAM not in done
    rooms = {path.relative_to(PACKAGE).parts[0] for path in done}
    assert rooms <= {"trading", "settings", "domain"}


@pytest.mark.scenario("I1")
def test_trading_reads_no_clock_and_opens_no_file():
    for path in sorted(TRADING.rglob("*.py")):
        called = {node.func.id for node in ast.walk(ast.parse(path.read_text()))
                  if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
        assert not called & {"open", "exec", "eval", "__import__", "compile", "print", "input"}


@pytest.mark.scenario("I1", "S9")
def test_the_shadow_adapter_holds_two_numbers_and_nothing_else():
    fields = {field.name: field.type for field in msgspec.structs.fields(ShadowAdapter)}
    assert fields == {"slippage_bps": Decimal, "fee_bps": Decimal}
    adapter = ShadowAdapter(Decimal(10), Decimal(10))
    assert not hasattr(adapter, "__dict__")
    with pytest.raises(AttributeError):
        adapter.slippage_bps = Decimal(0)
    with pytest.raises(AttributeError):
        adapter.client = object()


def every_adapter():
    """Return the adapters of SHADOW, PAPER and LIVE, and the order manager in front of each."""
    table = make_table("ABC")
    market = MarketState(table)
    adapters = [
        ShadowAdapter(Decimal(10), Decimal(10)),
        PaperVenue(build_paper_model(make_settings("PAPER")), market),
        Outbox(),
    ]
    account = Account(lambda venue, symbol: table[0])
    exposure = Exposure(account, market, {"USD": Decimal(1)}, Decimal(0))
    return [(adapter, OrderManager(AuditJournal(), account, exposure, adapter)) for adapter in adapters]


def an_order() -> Order:
    return Order(
        "O1", "S1", 1, 0, make_table("ABC")[0], Side.BUY, OrderType.MARKET, Decimal(1), Decimal(100), None,
        TimeInForce.GTC, None, False, 1,
    )  # fmt: skip


@pytest.mark.scenario("I1", "I2", "S9")
def test_every_adapter_refuses_unapproved_orders():
    """A plain order, a look-alike and a denial all raise NotApprovedError, at the adapter and before it."""
    denied = Denied(an_order(), VetoReason.RISK_CAP, "too much")
    look_alike = types.SimpleNamespace(item=an_order())
    for adapter, manager in every_adapter():
        hints = typing.get_type_hints(type(adapter).submit)
        assert typing.get_origin(hints["approved"]) is Approved
        for unapproved in (an_order(), look_alike, denied, None):
            for submit in (lambda item, adapter=adapter: adapter.submit(item, 1), manager.place):
                with pytest.raises(NotApprovedError, match="expected an order approved by the risk engine, got"):
                    submit(unapproved)
        assert manager.open_orders == manager.trades == 0
        adapter.submit(RiskEngine([]).judge(an_order(), None), 1)


@pytest.mark.scenario("I2")
def test_only_the_risk_engine_makes_approvals():
    """No other module of the product calls `Approved`, so an approval cannot come about by accident."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path == TRADING / "risk" / "engine.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = node.func.value if isinstance(node.func, ast.Subscript) else node.func
                assert getattr(called, "id", getattr(called, "attr", "")) != "Approved", (path, node.lineno)


@pytest.mark.scenario("I1")
def test_no_network_module_is_in_reach_of_an_adapter():
    for name in ("adapters.shadow", "adapters.paper.venue", "adapters.live", "order_manager", "engine"):
        module = importlib.import_module(f"hybrid_platform.trading.{name}")
        names = {getattr(value, "__module__", "") or "" for value in vars(module).values()}
        assert not {part.split(".")[0] for part in names} & {"socket", "_socket", "ssl", "asyncio", "urllib", "http"}

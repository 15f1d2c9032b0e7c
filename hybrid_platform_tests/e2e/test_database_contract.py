"""Tables, columns and values that users' queries rely on (docs/contract.md), in the reference run."""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal

import pytest

from hybrid_platform_tests.e2e.conftest import FinishedRun

COLUMNS = {
    "sessions": "session_id run_id mode state exit_code exit_reason started_at ended_at config_sha256 code_version "
    "strategy feed",
    "ticks": "session_id seq venue symbol price volume side trade_id ts_event ts_recv",
    "signals": "session_id signal_id seq symbol side size confidence reason ts",
    "vetoes": "session_id signal_id seq symbol reason detail ts",
    "orders": "session_id order_id signal_id seq symbol side type qty price status is_shadow ts",
    "order_events": "session_id n order_id status reason ts",
    "trades": "session_id n trade_id order_id symbol side fill_qty fill_price fees is_shadow ts",
    "inputs": "session_id n after_seq kind ts detail",
    "ledger": "session_id kind name reason count",
}


@pytest.mark.parametrize("table", COLUMNS)
def test_every_table_has_at_least_its_columns(reference: FinishedRun, table: str):
    found = {row["name"] for row in reference.artifacts.rows(f"SELECT name FROM pragma_table_info('{table}')")}
    assert set(COLUMNS[table].split()) <= found
    if "symbol" in found:
        assert "venue" in found


@pytest.mark.scenario("S9", "S10")
def test_reference_run_has_its_row_counts(reference: FinishedRun):
    """61 ticks, 6 signals, 6 shadow orders and 6 trades."""
    artifacts = reference.artifacts
    counts = {table: artifacts.count(table) for table in ("ticks", "signals", "orders", "trades", "vetoes", "inputs")}
    assert counts == {"ticks": 61, "signals": 6, "orders": 6, "trades": 6, "vetoes": 0, "inputs": 0}
    assert reference.process.code == 0


def test_session_row_describes_the_whole_session(reference: FinishedRun):
    session = reference.artifacts.session
    assert re.fullmatch(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}", session["session_id"])
    fixed = {
        name: session[name] for name in ("mode", "state", "exit_code", "exit_reason", "strategy", "feed", "is_clean")
    }
    assert fixed == {
        "mode": "SHADOW", "state": "COMPLETE", "exit_code": 0, "exit_reason": "TIME_LIMIT",
        "strategy": "periodic", "feed": "synthetic", "is_clean": 1,
    }  # fmt: skip
    assert 10**18 < session["started_at"] < session["ended_at"] < 10**19
    assert re.fullmatch(r"[0-9a-f]{64}", session["config_sha256"])
    assert session["code_version"].startswith("0.")


def test_ticks_are_numbered_without_gaps(reference: FinishedRun):
    """Ticks count from one, and prices, volumes and times are stored as numbers."""
    ticks = reference.artifacts.rows(
        "SELECT * FROM ticks WHERE session_id = ? ORDER BY seq", reference.artifacts.session_id
    )
    assert [tick["seq"] for tick in ticks] == list(range(1, 62))
    for tick in ticks:
        assert (tick["venue"], tick["symbol"]) == ("SYNTHETIC", "SOL/USDC")
        assert isinstance(tick["price"], float) and tick["price"] > 0
        assert isinstance(tick["volume"], float) and tick["volume"] >= 0
        assert tick["side"] in {"BUY", "SELL", None}
        assert isinstance(tick["ts_event"], int) and isinstance(tick["ts_recv"], int)


@pytest.mark.scenario("S9")
def test_signals_come_at_every_tenth_tick(reference: FinishedRun):
    """Sides alternate, and size, confidence and reason are the strategy's."""
    signals = reference.artifacts.rows(
        "SELECT * FROM signals WHERE session_id = ? ORDER BY n", reference.artifacts.session_id
    )
    told = [(s["signal_id"], s["seq"], s["side"], s["size"], s["confidence"], s["reason"]) for s in signals]
    assert told == [
        (f"S{seq}", seq, side, "0.1", 0.75, "PERIODIC_TRIGGER")
        for seq, side in zip((10, 20, 30, 40, 50, 60), ["BUY", "SELL"] * 3, strict=True)
    ]


@pytest.mark.scenario("S9", "I1")
def test_orders_and_trades_agree_with_their_signals(reference: FinishedRun):
    """Every order and trade is marked as shadow and agrees with its signal."""
    chain = reference.artifacts.rows(
        """SELECT s.symbol, s.venue, s.side, s.size, o.qty, o.status, o.type, o.is_shadow AS order_marked,
             t.fill_qty, t.fill_price, t.fees, t.is_shadow AS trade_marked, k.price
           FROM signals s
           JOIN orders o ON o.session_id = s.session_id AND o.signal_id = s.signal_id AND o.symbol = s.symbol
             AND o.venue = s.venue AND o.side = s.side AND o.seq = s.seq AND o.ts = s.ts
           JOIN trades t ON t.session_id = o.session_id AND t.order_id = o.order_id AND t.symbol = o.symbol
             AND t.venue = o.venue AND t.side = o.side AND t.ts = o.ts
           JOIN ticks k ON k.session_id = s.session_id AND k.seq = s.seq AND k.ts_recv = s.ts
           WHERE s.session_id = ?""",
        reference.artifacts.session_id,
    )
    assert len(chain) == 6
    for link in chain:
        assert (link["order_marked"], link["trade_marked"]) == (1, 1)
        assert link["size"] == link["qty"] == link["fill_qty"] == "0.1"
        assert (link["status"], link["type"]) == ("FILLED", "MARKET")
        # Filled at the last seen price, 10 bps worse, with fees of 10 bps; all three are exact decimal text.
        worse = Decimal("1.001") if link["side"] == "BUY" else Decimal("0.999")
        price = Decimal(repr(link["price"])) * worse
        assert Decimal(link["fill_price"]) == price
        assert Decimal(link["fees"]) == price * Decimal("0.1") * Decimal("0.001")


@pytest.mark.scenario("S10")
def test_order_events_have_status_time_and_reason(reference: FinishedRun):
    artifacts = reference.artifacts
    events = artifacts.rows("SELECT * FROM order_events WHERE session_id = ? ORDER BY n", artifacts.session_id)
    assert [event["n"] for event in events] == list(range(1, len(events) + 1))
    walks: dict[str, list[str]] = {}
    for event in events:
        walks.setdefault(event["order_id"], []).append(event["status"])
        assert event["reason"] and isinstance(event["ts"], int)
    assert set(walks) == {f"O{seq}" for seq in range(10, 61, 10)}
    assert set(map(tuple, walks.values())) == {("INITIALIZED", "SUBMITTED", "ACCEPTED", "FILLED")}
    assert [row["n"] for row in artifacts.rows("SELECT n FROM trades ORDER BY n")] == list(range(1, 7))


@pytest.mark.scenario("S6")
def test_ledger_has_every_kind_and_balances(reference: FinishedRun):
    ledger = reference.artifacts.ledger()
    assert {kind for kind, _, _ in ledger} == {"channel", "feed", "table"}
    for name in ("tick", "signal", "persist"):
        flow = {reason: ledger["channel", name, reason] for reason in ("sent", "received", "dropped", "left")}
        assert flow["sent"] == flow["received"]
        assert flow["dropped"] == flow["left"] == 0
    assert ledger["channel", "tick", "sent"] == 61
    assert ledger["channel", "signal", "sent"] == 6
    reasons = ("received", "accepted", "rejected", "duplicate", "sampled_out", "history")
    assert [ledger["feed", "synthetic", reason] for reason in reasons] == [61, 61, 0, 0, 0, 0]
    tables = {name for kind, name, _ in ledger if kind == "table"}
    assert {"ticks", "signals", "vetoes", "orders", "order_events", "trades", "inputs"} <= tables
    for name in tables:
        assert ledger["table", name, "written"] == ledger["table", name, "counted"] == reference.artifacts.count(name)


@pytest.mark.scenario("I5", "G3")
def test_database_file_is_in_wal_mode(reference: FinishedRun):
    assert reference.artifacts.rows("PRAGMA journal_mode")[0]["journal_mode"] == "wal"


def test_files_are_readable_by_their_owner_only(reference: FinishedRun):
    modes = Counter(
        ("folder" if path.is_dir() else "file", oct(path.stat().st_mode & 0o777))
        for path in (reference.folder / "data").rglob("*")
    )
    assert set(modes) == {("folder", "0o700"), ("file", "0o600")}

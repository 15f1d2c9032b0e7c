"""The ledger balances for any channel capacity and policy, and for any file (S5, S6, I3)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybrid_platform_tests.support import InProcessRun, make_csv_rows, run_in_process, write_csv

GARBAGE = ["garbage", ",,,", "1700000000000,-1,1,SPY,9", "x,1,1,SPY,9", "1700000000000,1e999,1,SPY,9"]
COLUMNS = {"ts": "ts", "price": "price", "size": "size", "symbol": "symbol", "trade_id": "id"}


@st.composite
def files(draw: st.DrawFn) -> tuple[list[str], int, int, int]:
    """Return rows, and how many of them are valid, duplicates, and garbage."""
    count = draw(st.integers(1, 300))
    rows = [f"{row},{100 + n}" for n, row in enumerate(make_csv_rows(count))]
    twice = draw(st.integers(0, min(count, 20)))
    bad = draw(st.lists(st.sampled_from(GARBAGE), max_size=10))
    mixed = [*rows, *rows[count - twice :]]
    for line in bad:
        mixed.insert(draw(st.integers(0, len(mixed))), line)
    return mixed, count, twice, len(bad)


CHANNELS = st.fixed_dictionaries(
    {name: st.one_of(st.none(), st.integers(1, 64)) for name in ("tick", "signal", "persist")}
    | {"on_full": st.sampled_from([None, "DROP_OLDEST", "BLOCK", "FAIL"])}
)


@pytest.mark.scenario("S5", "S6", "I3")
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(file=files(), channels=CHANNELS, every=st.integers(1, 30))
def test_every_row_and_event_is_accounted_for(
    file: tuple[list[str], int, int, int], channels: dict[str, Any], every: int
):
    rows, good, twice, bad = file
    with tempfile.TemporaryDirectory() as folder:
        path = write_csv(Path(folder) / "trades.csv", rows, "ts,price,size,symbol,id")
        run = run_in_process(
            Path(folder) / "data",
            {"feed": {"replay": {"path": str(path), "columns": COLUMNS}}, "isolation": "thread"},
            {"channels": channels, "strategy": {"params": {"every": every}}},
            with_report=False,
        )
        assert run.code in ({0} if channels["on_full"] in {None, "BLOCK"} else {0, 13})
        require_balanced(run)
        if run.code == 0:
            ledger = run.ledger()
            reasons = ("received", "accepted", "duplicate", "rejected")
            assert [ledger["feed", "replay", reason] for reason in reasons] == [len(rows), good, twice, bad]


def require_balanced(run: InProcessRun) -> None:
    """Compare the ledger with the database."""
    ledger = run.ledger()
    for name in ("tick", "signal", "persist"):
        flow = {reason: ledger["channel", name, reason] for reason in ("sent", "received", "dropped", "left")}
        assert flow["sent"] == flow["received"] + flow["dropped"] + flow["left"]
        assert run.code or flow["left"] == 0
    for kind, name, reason in ledger:
        if kind == "table":
            assert ledger[kind, name, reason] == run.count(name)
    if run.code == 0:
        assert run.count("ticks") == ledger["feed", "replay", "accepted"] - ledger["channel", "persist", "dropped"]
        assert run.count("signals") == run.count("orders") + run.count("vetoes")

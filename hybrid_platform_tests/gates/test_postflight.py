"""Postflight recounts the database and finds rows that were changed after the session (G5)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hybrid_platform_tests.support import Artifacts, make_csv_rows, replay_feed, run_in_process, write_csv

THREAD = {"isolation": "thread"}


def tampering(statement: str) -> Callable[[Artifacts], None]:
    def tamper(artifacts: Artifacts) -> None:
        with closing(sqlite3.connect(artifacts.database)) as connection, connection:
            assert connection.execute(statement).rowcount > 0

    return tamper


@pytest.mark.scenario("G5", "S9", "S10", "S12")
@pytest.mark.parametrize(
    ("statement", "proof"),
    [
        ("DELETE FROM tick_rows WHERE seq = 7", "S12"),
        ("DELETE FROM trade_rows WHERE n = 1", "S12"),
        ("UPDATE order_rows SET is_shadow = 0 WHERE n = 1", "S9"),
        ("UPDATE trade_rows SET is_shadow = 0 WHERE n = 1", "S9"),
        ("UPDATE trade_rows SET side = 'SELL' WHERE side = 'BUY'", "S10"),
        ("UPDATE order_rows SET qty = '0.2' WHERE n = 1", "S10"),
        ("UPDATE signal_rows SET seq = seq + 1 WHERE n = 1", "S10"),
        ("UPDATE order_event_rows SET order_id = 'O999' WHERE n = 1", "S10"),
    ],
)
def test_rows_changed_after_the_session_fail_it(tmp_path: Path, statement: str, proof: str):
    path = write_csv(tmp_path / "trades.csv", make_csv_rows(40))
    run = run_in_process(
        tmp_path / "data", replay_feed(path), THREAD, before_postflight=tampering(statement), with_report=False
    )
    assert run.steps["session"].verdict == "PASS"
    assert (run.last.verdict, run.last.exit_code) == ("FAIL", 1)
    failed = {row["id"] for row in run.evidence("postflight")["proofs"] if row["verdict"] == "FAIL"}
    assert {proof, "G5"} <= failed
    assert any(reason.startswith(f"{proof}: expected ") for reason in run.last.reasons)


@pytest.mark.scenario("G5")
def test_ids_that_a_session_cannot_prove_are_not_run(tmp_path: Path):
    path = write_csv(tmp_path / "trades.csv", make_csv_rows(40))
    run = run_in_process(tmp_path / "data", replay_feed(path), THREAD, with_report=False)
    verdicts = {row["id"]: row["verdict"] for row in run.evidence("postflight")["proofs"]}
    assert set(verdicts.values()) == {"PASS", "NOT_RUN"}
    assert verdicts["S3"] == verdicts["S14"] == "NOT_RUN", "no connection dropped, and LIVE was not asked for"


@pytest.mark.scenario("G5")
@pytest.mark.parametrize("kind", ["pragma", "session"])
def test_missing_evidence_fails_the_run(tmp_path: Path, kind: str):
    path = write_csv(tmp_path / "trades.csv", make_csv_rows(40))

    def lose(artifacts: Artifacts) -> None:
        (artifacts.data_dir / "evidence" / artifacts.session_id / f"{kind}.json").unlink()

    run = run_in_process(tmp_path / "data", replay_feed(path), THREAD, before_postflight=lose)
    assert (run.last.verdict, run.last.exit_code) == ("FAIL", 1)
    assert any(reason.startswith(f"{kind}: expected its evidence, got none") for reason in run.last.reasons)
    assert run.report

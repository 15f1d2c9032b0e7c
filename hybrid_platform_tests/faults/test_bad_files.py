"""Damaged or wrong replay files: a clear message, the right exit code, and every valid row kept (S5)."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hybrid_platform_tests.support import (
    Artifacts,
    ProcessResult,
    make_csv_rows,
    merge_settings,
    replay_feed,
    run_cli_in_process,
    write_csv,
)

pytestmark = pytest.mark.scenario("S5")

THREAD = {"isolation": "thread"}
GARBAGE = [
    "garbage",
    "1700000000000,,1,SPY",
    "soon,100,1,SPY",
    "1700000000000,-5,1,SPY",
    "1700000000000,nan,1,SPY",
    "\0\0",
]


def run(tmp_path: Path, name: str = "trades.csv") -> tuple[ProcessResult, Artifacts]:
    ended = run_cli_in_process(tmp_path, "shadow-run", settings=merge_settings(THREAD, replay_feed(name)))
    assert "Traceback" not in ended.text
    return ended, Artifacts(tmp_path / "data")


def require_balanced(artifacts: Artifacts, *, ticks: int, rejected: int) -> None:
    assert artifacts.count("ticks") == ticks
    assert artifacts.evidence("session")["ledger"]["balances"]
    ledger = artifacts.ledger()
    assert ledger["feed", "replay", "accepted"] == ticks
    assert ledger["feed", "replay", "rejected"] == rejected
    assert sum(count for (kind, _, _), count in ledger.items() if kind == "rejected") == rejected


def test_garbage_lines_are_rejected_and_counted(tmp_path: Path):
    """The valid rows are kept, and the log samples each cause of rejection."""
    rows = make_csv_rows(30)
    for place, line in enumerate(GARBAGE):
        rows.insert(5 * place, line)
    write_csv(tmp_path / "trades.csv", rows)
    ended, artifacts = run(tmp_path)
    assert ended.code == 0, ended.text
    require_balanced(artifacts, ticks=30, rejected=len(GARBAGE))
    assert artifacts.session["state"] == "COMPLETE"
    samples = artifacts.logged("row rejected (S5)")
    causes = {name for kind, name, _ in artifacts.ledger() if kind == "rejected"}
    assert {line["cause"] for line in samples} == causes
    assert all(line["level"] == "warning" and "trades.csv" in line["where"] for line in samples)
    assert artifacts.evidence("postflight")["verdict"] == "PASS"


@pytest.mark.parametrize("text", ["ts,price,size,symbol\n", ""], ids=["header", "empty"])
def test_file_without_rows_completes_with_a_warning(tmp_path: Path, text: str):
    (tmp_path / "trades.csv").write_text(text)
    ended, artifacts = run(tmp_path)
    assert ended.code == 0, ended.text
    require_balanced(artifacts, ticks=0, rejected=0)
    assert [line["message"] for line in artifacts.log if line["level"] == "warning"] == [
        "no ticks received from the feed"
    ]


def test_file_of_only_bad_rows_is_a_parse_error(tmp_path: Path):
    write_csv(tmp_path / "trades.csv", GARBAGE[:4])
    ended, artifacts = run(tmp_path)
    assert ended.code == 11, ended.text
    require_balanced(artifacts, ticks=0, rejected=4)
    assert (artifacts.session["state"], artifacts.session["exit_code"]) == ("FAILED", 11)
    assert artifacts.evidence("postflight")["verdict"] == "FAIL"


def test_truncated_gzip_is_a_parse_error(tmp_path: Path):
    """The rows before the cut are kept and were decided on."""
    whole = gzip.compress(write_csv(tmp_path / "whole.csv", make_csv_rows(20_000)).read_bytes())
    (tmp_path / "trades.csv.gz").write_bytes(whole[: len(whole) // 2])
    ended, artifacts = run(tmp_path, "trades.csv.gz")
    assert ended.code == 11, ended.text
    kept = artifacts.count("ticks")
    assert 1_000 < kept < 20_000
    assert artifacts.rows("SELECT max(seq) AS last FROM ticks")[0]["last"] == kept
    assert artifacts.evidence("session")["ledger"]["balances"]
    assert "trades.csv.gz" in artifacts.evidence("session")["failure"]
    assert artifacts.count("signals") == kept // 10, "every row that was read reached the strategy"


def _missing(path: Path) -> None:
    return


def _directory(path: Path) -> None:
    path.mkdir()


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _other_columns(path: Path) -> None:
    path.write_text("when,what\n1,2\n")


def _not_gzip(path: Path) -> None:
    path.with_suffix(".csv").write_text("ts,price,size,symbol\n")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))


@pytest.mark.parametrize("make", [_missing, _directory, _fifo, _other_columns, _not_gzip])
def test_unusable_file_is_a_config_error(tmp_path: Path, make: Callable[[Path], None]):
    """One line per fault, and nothing is written."""
    make(tmp_path / "trades.csv")
    ended = run_cli_in_process(tmp_path, "shadow-run", settings=merge_settings(THREAD, replay_feed("trades.csv")))
    assert ended.code == 12, ended.text
    for line in ended.err.splitlines():
        assert line.startswith("error: feed.replay.")
        assert "trades.csv" in line
        assert "expected" in line and "got" in line
    assert not (tmp_path / "data").exists()

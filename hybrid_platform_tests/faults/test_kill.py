"""kill -9 at random points: nothing reported is lost, nothing is there twice, the next start goes on (S12, S13)."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest

from hybrid_platform.storage.schema import COUNTED
from hybrid_platform_tests.support import Left, Running, cli, layered, start_cli, synthetic

ROUNDS = 5
LONG = layered(
    synthetic(2_000),
    {"seconds": 600, "isolation": "thread", "storage": {"flush_interval_ms": 20}},
    {"heartbeat": {"interval_seconds": 0.1}},
)
TABLES = tuple(COUNTED)


def acknowledged(running: Running) -> int:
    """Return how many rows the session has reported as committed."""
    beats = [line for line in running.lines if line["message"] == "HEARTBEAT (G4)"]
    return int(beats[-1]["persist_count"])


@pytest.mark.scenario("S12", "S13", "I3", "L4")
def test_a_session_that_is_killed_is_found_marked_and_loses_nothing_that_it_had_reported(tmp_path: Path):
    seed = random.randrange(2**32)
    chance, left = random.Random(seed), Left(tmp_path / "data")
    reported: dict[str, int] = {}
    for _ in range(ROUNDS):
        with start_cli(tmp_path, "shadow-run", settings=LONG) as running:
            running.wait_for("HEARTBEAT (G4)", times=2)
            time.sleep(chance.uniform(0, 0.4))
            running.process.kill()
            running.end()
        reported[left.session_id] = acknowledged(running)
    ended = cli(tmp_path, "shadow-run", settings={**LONG, "seconds": 0.2})
    assert ended.code == 0, (seed, ended.text)
    *crashed, last = left.sessions
    assert [row["session_id"] for row in crashed] == list(reported), seed
    assert last["state"] == "COMPLETE"
    for row in crashed:
        assert (row["state"], row["exit_code"], row["exit_reason"], row["is_clean"]) == (
            "CRASHED",
            1,
            "PROCESS_GONE",
            0,
        )
        require_whole(left, row["session_id"], reported[row["session_id"]], seed)
    found = left.said("an earlier session had crashed")
    assert [line["crashed"] for line in found] == [crashed[-1]["session_id"]]
    assert found[0]["kept"] == {table: left.count(table, crashed[-1]["session_id"]) for table in TABLES}
    assert left.evidence("session")["crashed"] == [crashed[-1]["session_id"]]
    assert left.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}]


def require_whole(left: Left, session_id: str, committed: int, seed: int) -> None:
    """Check that a crashed session kept every row it had reported, none twice, and no decision without its cause."""
    counts = {table: left.count(table, session_id) for table in TABLES}
    assert sum(counts.values()) >= committed > 0, seed
    assert left.ledger(session_id) == {("table", table, "counted"): count for table, count in counts.items()}, seed
    of_session: dict[str, Any] = left.rows(
        """SELECT count(DISTINCT seq) AS different, min(seq) AS first, max(seq) AS last FROM ticks
           WHERE session_id = ?""",
        session_id,
    )[0]
    assert of_session == {"different": counts["ticks"], "first": 1, "last": counts["ticks"]}, seed
    orphans = left.rows(
        """SELECT order_id FROM trades WHERE session_id = ?1
           EXCEPT SELECT order_id FROM orders WHERE session_id = ?1""",
        session_id,
    )
    assert orphans == [], seed

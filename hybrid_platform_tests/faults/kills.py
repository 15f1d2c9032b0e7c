"""Rounds of kill -9: start a session, kill a process at a random instant, record the acknowledged rows.

The number of acknowledged rows is outside the database: ``persist_count`` of the last heartbeat in the session's
log. `KillRounds.check` compares the database with these numbers at the end.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hybrid_platform.storage.schema import COUNTED_TABLES
from hybrid_platform_tests.code_server import Ui
from hybrid_platform_tests.support import (
    Artifacts,
    Settings,
    merge_settings,
    run_cli,
    start_cli,
    synthetic_feed,
    wait_until,
)

ROUNDS = int(os.environ.get("HYBRID_PLATFORM_TEST_KILLS", "5"))
"""Total number of rounds; `make faults` runs 100."""
LONG = merge_settings(
    synthetic_feed(1_000),
    {"seconds": 600, "storage": {"flush_interval_ms": 20}, "heartbeat": {"interval_seconds": 0.1}},
    {"channels": {"persist": 65_536}},  # large enough that no tick is evicted, so every gap is a loss
)
TABLES = tuple(COUNTED_TABLES)


class KillRound(NamedTuple):
    """One round: the killed process, its session, and the rows that must survive."""

    victim: str
    session_id: str
    acknowledged: int
    """Rows that the session had reported as committed."""
    state: str
    """Expected final state of the session's row."""


class KillRounds:
    """Consecutive rounds on one data directory; each start finds the state that the previous round left behind."""

    def __init__(self, data_dir: Path) -> None:
        self.artifacts = Artifacts(data_dir)
        self.seed = random.randrange(2**32)
        self._chance = random.Random(self.seed)
        self.rounds: list[KillRound] = []

    def kill_the_run(self, folder: Path, settings: Settings) -> None:
        """Kill the process that the CLI started; its sandboxed child ends with it."""
        with start_cli(folder, "shadow-run", settings=settings) as running:
            running.wait_for("HEARTBEAT (G4)", times=2)
            children = list(children_of(running.process.pid))
            self._wait()
            running.process.kill()
            running.end()
        wait_until(lambda: not any(map(is_alive, children)), "the end of the sandboxed process", 30)
        self._note("run", "CRASHED")

    def kill_the_child(self, folder: Path, settings: Settings) -> None:
        """Kill the sandboxed process: the session fails and names the cause."""
        with start_cli(folder, "shadow-run", settings=settings) as running:
            running.wait_for("HEARTBEAT (G4)", times=2)
            (child,) = children_of(running.process.pid)
            self._wait()
            os.kill(child, signal.SIGKILL)
            ended = running.end()
        assert ended.code == 1, (self.seed, ended.text)
        assert "Traceback" not in ended.err
        session = self.artifacts.evidence("session")
        assert session["exit_reason"] == "IsolationError", self.seed
        assert "killed by signal 9" in session["failure"], self.seed
        assert ended.logged("FINAL METRICS")[0]["persist_count"] == sum(
            self._counts(self.artifacts.session_id).values()
        )
        self._note("child", "FAILED")

    def kill_the_worker(self, ui: Ui, settings: Settings) -> None:
        """Kill the process in which Dagster runs the job, so that nothing can be recorded."""
        os.kill(self._launched(ui, settings), signal.SIGKILL)
        self._note("worker", "CRASHED")

    def kill_the_code_server(self, ui: Ui, settings: Settings) -> None:
        """Kill the code server, which only launched the run: the session continues and drains on SIGTERM."""
        worker = self._launched(ui, settings)
        (server,) = [pid for pid in children_of(ui.server.process.pid, deep=True) if b"api\0grpc" in parse_command(pid)]
        os.kill(server, signal.SIGKILL)
        before = self._acknowledged()
        wait_until(lambda: self._acknowledged() > before, "further commits of the session")
        os.kill(worker, signal.SIGTERM)
        wait_until(
            lambda: self.artifacts.has_evidence("postflight") and not is_alive(worker), "the postflight evidence"
        )
        session = self.artifacts.evidence("session")
        # The verdict is not checked: ten heartbeats per second may be late on a busy machine.
        assert (session["exit_code"], session["exit_reason"], session["clean"]) == (0, "TERMINATED", True), self.seed
        assert session["ledger"]["balances"], self.seed
        self._note("code server", "COMPLETE")
        wait_until(ui.reload, "another code server")

    def check(self, folder: Path, settings: Settings) -> str:
        """Start once more, compare every session with its acknowledged rows, and return a summary in one line."""
        ended = run_cli(folder, "shadow-run", settings={**settings, "seconds": 0.2})
        assert ended.code == 0, (self.seed, ended.text)
        *killed, last = self.artifacts.sessions
        assert last["state"] == "COMPLETE"
        assert [row["session_id"] for row in killed] == [each.session_id for each in self.rounds], self.seed
        reported = {line["crashed"]: line["kept"] for line in self._logged_in_all("an earlier session had crashed")}
        assert not list(self._logged_in_all("rows that were reported as committed are missing (L4)")), self.seed
        promised = kept = 0
        for row, each in zip(killed, self.rounds, strict=True):
            counts = self._counts(each.session_id)
            promised, kept = promised + each.acknowledged, kept + sum(counts.values())
            assert row["state"] == each.state, (self.seed, each)
            if each.state == "CRASHED":
                assert (row["exit_code"], row["exit_reason"], row["is_clean"]) == (1, "PROCESS_GONE", 0)
                assert reported[each.session_id] == counts, "the next start reports the kept rows"
            self._check_rows(each, counts)
        assert self.artifacts.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}], self.seed
        victims = [each.victim for each in self.rounds]
        by_victim = ", ".join(f"{victims.count(name)} x {name}" for name in dict.fromkeys(victims))
        return f"{len(self.rounds)} rounds ({by_victim}): {promised} rows acknowledged, {kept} kept, 0 lost, 0 twice"

    def _check_rows(self, each: KillRound, counts: dict[str, int]) -> None:
        """Check that no acknowledged row is lost, none exists twice, and no decision lacks its cause."""
        where = (self.seed, each)
        assert sum(counts.values()) >= each.acknowledged > 0, where
        ticks: dict[str, Any] = self.artifacts.rows(
            "SELECT count(DISTINCT seq) AS n, min(seq) AS first, max(seq) AS last FROM ticks WHERE session_id = ?",
            each.session_id,
        )[0]
        assert ticks == {"n": counts["ticks"], "first": 1, "last": counts["ticks"]}, where
        for table, key, of in (("trades", "order_id", "orders"), ("orders", "signal_id", "signals")):
            own = "WHERE session_id = ?1"
            query = f"SELECT {key} FROM {table} {own} EXCEPT SELECT {key} FROM {of} {own}"
            assert self.artifacts.rows(query, each.session_id) == [], where
        for table, key in (("signals", "signal_id"), ("orders", "order_id"), ("trades", "trade_id")):
            query = f"SELECT count(DISTINCT {key}) AS n FROM {table} WHERE session_id = ?"
            assert self.artifacts.rows(query, each.session_id) == [{"n": counts[table]}], where

    def _launched(self, ui: Ui, settings: Settings) -> int:
        """Launch a session from the UI, wait a random time, and return its process id."""
        run_id = ui.launch(dict(settings))

        def row() -> dict[str, Any] | None:
            found = [row for row in self.artifacts.sessions if row["run_id"] == run_id] if self._is_there() else []
            return found[0] if found and found[0]["state"] == "RUNNING" else None

        session = wait_until(row, "the session's row")
        wait_until(
            lambda: self.artifacts.session_id == session["session_id"] and self._acknowledged() > 100, "some commits"
        )
        self._wait()
        return int(session["pid"])

    def _is_there(self) -> bool:
        return self.artifacts.database.exists() and bool(
            self.artifacts.rows("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'")
            and self.artifacts.rows("SELECT 1 FROM alembic_version")
        )

    def _wait(self) -> None:
        time.sleep(self._chance.uniform(0, 0.4))

    def _acknowledged(self) -> int:
        return max((int(line["persist_count"]) for line in self.artifacts.logged("HEARTBEAT (G4)")), default=0)

    def _note(self, victim: str, state: str) -> None:
        self.rounds.append(KillRound(victim, self.artifacts.session_id, self._acknowledged(), state))

    def _counts(self, session_id: str) -> dict[str, int]:
        return {table: self.artifacts.count(table, session_id) for table in TABLES}

    def _logged_in_all(self, message: str) -> Iterator[dict[str, Any]]:
        for each in self.artifacts.sessions:
            yield from (line for line in self.artifacts.read_log(each["session_id"]) if line["message"] == message)


def children_of(pid: int, *, deep: bool = False) -> Iterator[int]:
    """Yield the children of a process; with ``deep`` also their children."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children = (task / "children").read_text()
        except FileNotFoundError:
            continue  # a thread that just ended
        for child in map(int, children.split()):
            yield child
            if deep:
                yield from children_of(child, deep=True)


def parse_command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False

"""Rounds of kill -9: a session is started, somebody is killed at a random instant, and it is noted what was promised.

What a session reported as committed stands outside the database: ``persist_count`` of the last heartbeat in
its log. `Rounds.require` holds the database against it when all is over.
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
"""How many in all; `make faults` has 100."""
LONG = merge_settings(
    synthetic_feed(1_000),
    {"seconds": 600, "storage": {"flush_interval_ms": 20}, "heartbeat": {"interval_seconds": 0.1}},
    {"channels": {"persist": 65_536}},  # so that no tick is evicted, and every hole is a loss
)
TABLES = tuple(COUNTED_TABLES)


class Killed(NamedTuple):
    """One round."""

    victim: str
    session_id: str
    acknowledged: int
    """Rows that the session had reported as committed."""
    state: str
    """What its row has to say in the end."""


class Rounds:
    """Rounds on one data directory, one after the other: each start finds what the one before left."""

    def __init__(self, data_dir: Path) -> None:
        self.artifacts = Artifacts(data_dir)
        self.seed = random.randrange(2**32)
        self._chance = random.Random(self.seed)
        self.rounds: list[Killed] = []

    def kill_the_run(self, folder: Path, settings: Settings) -> None:
        """Kill a session's own process, as the CLI started it; a guarded child goes with it."""
        with start_cli(folder, "shadow-run", settings=settings) as running:
            running.wait_for("HEARTBEAT (G4)", times=2)
            children = list(children_of(running.process.pid))
            self._wait()
            running.process.kill()
            running.end()
        wait_until(lambda: not any(map(is_alive, children)), "the end of the guarded process", 30)
        self._note("run", "CRASHED")

    def kill_the_child(self, folder: Path, settings: Settings) -> None:
        """Kill the guarded process: the session ends by itself, and says so."""
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
        """Kill the process that Dagster runs the job in: nobody is left to say anything."""
        os.kill(self._launched(ui, settings), signal.SIGKILL)
        self._note("worker", "CRASHED")

    def kill_the_code_server(self, ui: Ui, settings: Settings) -> None:
        """Kill the process that started the run: the session does not notice, and still drains when it is told to."""
        worker = self._launched(ui, settings)
        (server,) = [pid for pid in children_of(ui.server.process.pid, deep=True) if b"api\0grpc" in parse_command(pid)]
        os.kill(server, signal.SIGKILL)
        before = self._acknowledged()
        wait_until(lambda: self._acknowledged() > before, "the session going on")
        os.kill(worker, signal.SIGTERM)
        wait_until(lambda: self.artifacts.has_evidence("postflight") and not is_alive(worker), "the judgement")
        session = self.artifacts.evidence("session")
        # Not the verdict: ten heartbeats a second are too many for a busy machine.
        assert (session["exit_code"], session["exit_reason"], session["clean"]) == (0, "TERMINATED", True), self.seed
        assert session["ledger"]["balances"], self.seed
        self._note("code server", "COMPLETE")
        wait_until(ui.reload, "another code server")

    def require(self, folder: Path, settings: Settings) -> str:
        """Start once more, then hold every session against its word; return the sum of it in one line."""
        ended = run_cli(folder, "shadow-run", settings={**settings, "seconds": 0.2})
        assert ended.code == 0, (self.seed, ended.text)
        *killed, last = self.artifacts.sessions
        assert last["state"] == "COMPLETE"
        assert [row["session_id"] for row in killed] == [each.session_id for each in self.rounds], self.seed
        told = {line["crashed"]: line["kept"] for line in self._said_by_all("an earlier session had crashed")}
        assert not list(self._said_by_all("rows that were reported as committed are missing (L4)")), self.seed
        promised = kept = 0
        for row, each in zip(killed, self.rounds, strict=True):
            counts = self._counts(each.session_id)
            promised, kept = promised + each.acknowledged, kept + sum(counts.values())
            assert row["state"] == each.state, (self.seed, each)
            if each.state == "CRASHED":
                assert (row["exit_code"], row["exit_reason"], row["is_clean"]) == (1, "PROCESS_GONE", 0)
                assert told[each.session_id] == counts, "the next start says what was kept"
            self._require_whole(each, counts)
        assert self.artifacts.rows("PRAGMA integrity_check") == [{"integrity_check": "ok"}], self.seed
        victims = [each.victim for each in self.rounds]
        by_victim = ", ".join(f"{victims.count(name)} x {name}" for name in dict.fromkeys(victims))
        return f"{len(self.rounds)} rounds ({by_victim}): {promised} rows acknowledged, {kept} kept, 0 lost, 0 twice"

    def _require_whole(self, each: Killed, counts: dict[str, int]) -> None:
        """Check that nothing acknowledged is lost, nothing is there twice, and no decision is without its cause."""
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
        """Launch a session from the UI and return its process, at a random instant of its life."""
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
        self.rounds.append(Killed(victim, self.artifacts.session_id, self._acknowledged(), state))

    def _counts(self, session_id: str) -> dict[str, int]:
        return {table: self.artifacts.count(table, session_id) for table in TABLES}

    def _said_by_all(self, message: str) -> Iterator[dict[str, Any]]:
        for each in self.artifacts.sessions:
            yield from (line for line in self.artifacts.read_log(each["session_id"]) if line["message"] == message)


def children_of(pid: int, *, deep: bool = False) -> Iterator[int]:
    """Yield a process's children; ``deep``: theirs too."""
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
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False

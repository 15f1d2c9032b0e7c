"""Real processes and what they leave: the CLI or Dagster in a folder of their own, waited for by their log lines.

A test starts a process (`cli`, `start_cli`, `job`), or runs the same steps in its own (`run_here`), and
reads rows, evidence and log back from below the data directory (`Left`).
"""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.evidence.records import Evidence, SessionEvidence
from hybrid_platform.run.open import open_run
from hybrid_platform.run.steps import Step, run_steps
from hybrid_platform.session.runner import SessionRunner
from hybrid_platform.settings.loading import load_settings, merge

REPOSITORY = Path(__file__).resolve().parents[1]
PATIENCE = 120.0
"""Seconds after which a process on a busy machine is given up; nothing is ever asserted about speed."""
LOOK_SECONDS = 0.02
ANY_PRESSURE = {"gates": {"cpu_pressure_limit": 100}}
"""The machine that runs the tests is busy with them; the gate has tests of its own."""
Settings = Mapping[str, Any]


def environment(folder: Path, **changes: str) -> dict[str, str]:
    """Return a child's environment: nothing that whoever runs the tests has set, and the folder's modules."""
    foreign = ("HYBRID_PLATFORM_", "DAGSTER_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    path = os.pathsep.join([str(REPOSITORY), str(folder)])
    return kept | {"PYTHONPATH": path, "HYBRID_PLATFORM_GATES__CPU_PRESSURE_LIMIT": "100"} | changes


@dataclass(frozen=True)
class Ended:
    """A process that ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log lines on its output."""
        return log_lines(self.out)

    def said(self, message: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["message"] == message]


def log_lines(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects of a log that end in a line end."""
    whole = text[: text.rfind("\n") + 1]
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


class Running:
    """A started process in a group of its own; its output goes to files, so it never waits for whoever reads."""

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        environ: Mapping[str, str],
        before: Callable[[], None] | None = None,
    ) -> None:
        """Start it; ``before`` runs in the child, for its limits."""

        def in_child() -> None:
            # Whoever started the tests in the background may have had these ignored, and that is inherited.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            if before is not None:
                before()

        name = uuid.uuid4().hex[:8]
        self._files = [folder / f".{name}.{end}" for end in ("out", "err")]
        self._ended: Ended | None = None
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                preexec_fn=in_child,
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        return self._files[0].read_text(errors="replace")

    @property
    def err(self) -> str:
        return self._files[1].read_text(errors="replace")

    def wait_for(self, message: str, times: int = 1) -> dict[str, Any]:
        """Wait until it has logged a message so often, and return the last of these lines."""
        found = until(lambda: self._said(message, times) or not self.is_alive, f"{message!r} of {self.process.args}")
        found = self._said(message, times)
        assert found, f"ended without saying {message!r}: {self.out}\n{self.err}"
        return found

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log lines so far."""
        return log_lines(self.out)

    def has_said(self, message: str) -> bool:
        return self._said(message, 1) is not None

    def _said(self, message: str, times: int) -> dict[str, Any] | None:
        found = [line for line in self.lines if line["message"] == message]
        return found[times - 1] if len(found) >= times else None

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, seconds: float = PATIENCE) -> Ended:
        """Wait for its end."""
        code = self.process.wait(seconds)
        return Ended(code, self.out, self.err)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_alive:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Return what a condition returns as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(LOOK_SECONDS)
    return found


def cli_command(folder: Path, *arguments: str, settings: Settings | None = None) -> list[str]:
    """Return the command line; ``settings`` become a file that ``--config`` names."""
    command = [sys.executable, "-m", "hybrid_platform.cli", *arguments]
    if settings is None:
        return command
    path = folder / f"settings-{uuid.uuid4().hex[:8]}.yaml"
    path.write_text(yaml.safe_dump(dict(settings)))
    return [*command, "--config", str(path)]


def start_cli(
    folder: Path,
    *arguments: str,
    settings: Settings | None = None,
    before: Callable[[], None] | None = None,
    **environ: str,
) -> Running:
    """Start ``hybrid-platform …`` in a folder."""
    return Running(folder, cli_command(folder, *arguments, settings=settings), environment(folder, **environ), before)


def cli(folder: Path, *arguments: str, **options: Any) -> Ended:
    """Run ``hybrid-platform …`` in a folder to its end."""
    with start_cli(folder, *arguments, **options) as running:
        return running.end()


def start_job(
    folder: Path,
    settings: Settings,
    job: str = "shadow_run",
    module: Sequence[str] = ("-m", "hybrid_platform.definitions"),
    **environ: str,
) -> Running:
    """Start ``dagster job execute`` in a folder that has the repository's dagster.yaml."""
    (folder / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text())
    config = folder / f"run-{uuid.uuid4().hex[:8]}.yaml"
    config.write_text(yaml.safe_dump(run_config(settings)))
    command = [sys.executable, "-W", "ignore", "-m", "dagster", "job", "execute"]
    command += [*module, "-j", job, "-c", str(config)]
    return Running(folder, command, environment(folder, **environ))


def run_config(settings: Settings) -> dict[str, Any]:
    """Return settings as the run config of every job here."""
    return {"resources": {"session": {"config": dict(settings)}}}


def layered(*layers: Settings) -> dict[str, Any]:
    """Lay settings over each other, the last on top, over a pressure gate that is switched off."""
    merged: dict[str, Any] = dict(ANY_PRESSURE)
    for layer in layers:
        merged = merge(merged, layer)
    return merged


def synthetic(ticks_per_second: float | str = 200, **more: Any) -> dict[str, Any]:
    """Return the settings of a synthetic feed."""
    return {"feed": {"synthetic": {"ticks_per_second": ticks_per_second, **more}}}


def replay(path: Path | str, **more: Any) -> dict[str, Any]:
    """Return the settings of a replay of a file with columns ``ts,price,size,symbol``."""
    columns = {"ts": "ts", "price": "price", "size": "size", "symbol": "symbol"}
    return {"feed": {"replay": {"path": str(path), **({} if "format" in more else {"columns": columns}), **more}}}


def write_csv(path: Path, rows: Iterable[str], header: str = "ts,price,size,symbol") -> Path:
    """Write a file that `replay` reads."""
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def good_rows(count: int, first: int = 0) -> list[str]:
    """Return so many good rows, one a second."""
    return [f"{1_700_000_000_000 + 1000 * k},{100 + k % 7}.25,{1 + k % 3},SPY" for k in range(first, first + count)]


class Left:
    """What runs left below a data directory."""

    def __init__(self, data_dir: Path, database: Path | None = None) -> None:
        self.data_dir = data_dir
        self.database = database or data_dir / "bot.db"

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Return what a query finds, through a connection of its own that only reads."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    def count(self, table: str, session_id: str | None = None) -> int:
        """Count a table's rows of one session, the last by default."""
        where = session_id or self.session_id
        return int(self.rows(f"SELECT count(*) AS n FROM {table} WHERE session_id = ?", where)[0]["n"])

    @property
    def sessions(self) -> list[dict[str, Any]]:
        """All sessions' rows, in their order."""
        return self.rows("SELECT * FROM sessions ORDER BY started_at, session_no")

    @property
    def session(self) -> dict[str, Any]:
        """The last session's row."""
        return self.sessions[-1]

    @property
    def session_id(self) -> str:
        """The id of the last session that left evidence."""
        return sorted(
            path.name for path in (self.data_dir / "evidence").iterdir() if path.name not in {"checks", "matrix"}
        )[-1]

    def ledger(self, session_id: str | None = None) -> dict[tuple[str, str, str], int]:
        """Return a session's ledger."""
        rows = self.rows("SELECT * FROM ledger WHERE session_id = ?", session_id or self.session_id)
        return {(row["kind"], row["name"], row["reason"]): row["count"] for row in rows}

    def evidence(self, kind: str) -> dict[str, Any]:
        """Return one of the last session's evidence files."""
        found = json.loads((self.data_dir / "evidence" / self.session_id / f"{kind}.json").read_text())
        assert isinstance(found, dict)
        return found

    def has_evidence(self, kind: str) -> bool:
        return (self.data_dir / "evidence" / self.session_id / f"{kind}.json").exists()

    @property
    def log(self) -> list[dict[str, Any]]:
        """The last session's log, from its file."""
        return self.log_of(self.session_id)

    def log_of(self, session_id: str) -> list[dict[str, Any]]:
        """Return a session's log."""
        return log_lines((self.data_dir / "logs" / f"{session_id}.jsonl").read_text())

    def said(self, message: str) -> list[dict[str, Any]]:
        return [line for line in self.log if line["message"] == message]

    @property
    def report(self) -> str:
        return (self.data_dir / "evidence" / self.session_id / "report.md").read_text()


class Here(Left):
    """A run in this process: its steps' evidence, and what it left."""

    def __init__(self, data_dir: Path, steps: Sequence[Evidence], output: str) -> None:
        super().__init__(data_dir)
        self.steps = {step.kind: step for step in steps}
        self.last = steps[-1]
        self.output = output

    @cached_property
    def code(self) -> int:
        """What the CLI would exit with."""
        return next((step.exit_code for step in self.steps.values() if step.exit_code), 0)


def run_here(
    data_dir: Path,
    *layers: Settings,
    before_postflight: Callable[[Left], None] | None = None,
    with_report: bool = True,
) -> Here:
    """Run all steps in this process, as the CLI does; raise what they raise.

    ``with_report``: write the report and seal the evidence too, which takes longer than a short session.
    """
    settings = load_settings(layered({"data_dir": str(data_dir)}, *layers), environ={})
    clock, output = SystemClock(), io.StringIO()
    with open_run(settings, run_id=str(uuid.uuid4()), created_ns=clock.wall_ns(), clock=clock, stream=output) as run:

        def drive(runner: SessionRunner) -> SessionEvidence:
            runner.start()
            assert runner.wait(PATIENCE)
            evidence = runner.finish()
            if before_postflight is not None:
                before_postflight(Left(data_dir))
            return evidence

        result = run_steps(run, drive, last=Step.REPORT if with_report else Step.POSTFLIGHT)
    return Here(data_dir, list(result.steps), output.getvalue())

"""Helpers for tests of real processes: start the CLI or Dagster in a folder, wait for log lines, read the results.

* `run_cli`, `start_cli`: run ``hybrid-platform …`` to its end, or start it; `start_job`: ``dagster job execute``.
* `run_cli_in_process`: the same command in the test's own process, which saves the start of an interpreter.
* `run_in_process`: only the steps of a run, also in the test's own process.
* `RunningProcess`: a started process; `wait_for` a log message, `send` a signal, `end` waits for the exit.
* `ProcessResult`: exit code, output and log lines of a process that ended.
* `Artifacts`: rows, evidence, log and report below a data directory; `InProcessRun` adds the steps of its run.
* `wait_until`: poll a condition until it holds.
* `merge_settings`, `synthetic_feed`, `replay_feed`, `run_config`: settings of a run.
* `write_csv`, `make_csv_rows`: a file that `replay_feed` reads.
* `child_environment`: the environment of every started process.
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
from contextlib import chdir, closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from hybrid_platform.cli.main import main
from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.evidence.records import Evidence, SessionEvidence
from hybrid_platform.run.open import open_run
from hybrid_platform.run.steps import Step, run_steps
from hybrid_platform.session.runner import SessionRunner
from hybrid_platform.settings.loading import load_settings, merge

REPOSITORY = Path(__file__).resolve().parents[1]
PROCESS_TIMEOUT_S = 120.0
"""Time limit of each wait for a process, long enough for a busy machine; no test asserts speed with it."""
POLL_INTERVAL_S = 0.02
NO_PRESSURE_LIMIT = {"gates": {"cpu_pressure_limit": 100}}
"""Settings that switch the pressure gate off, because the tests themselves load the machine."""
Settings = Mapping[str, Any]


def child_environment(folder: Path, **changes: str) -> dict[str, str]:
    """Return a child's environment: no settings of the caller's shell, and the folder on the module path."""
    foreign = ("HYBRID_PLATFORM_", "DAGSTER_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    path = os.pathsep.join([str(REPOSITORY), str(folder)])
    return kept | {"PYTHONPATH": path, "HYBRID_PLATFORM_GATES__CPU_PRESSURE_LIMIT": "100"} | changes


@dataclass(frozen=True)
class ProcessResult:
    """Exit code and output of a process that ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def log(self) -> list[dict[str, Any]]:
        """The log lines of its output."""
        return log_lines(self.out)

    def logged(self, message: str) -> list[dict[str, Any]]:
        """Return the log lines with a message."""
        return [line for line in self.log if line["message"] == message]


def log_lines(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects of a log, without a last line that is still incomplete."""
    whole = text[: text.rfind("\n") + 1]
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


class RunningProcess:
    """A started process in its own process group; its output goes to files, so it never waits for a reader."""

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        environ: Mapping[str, str],
        before: Callable[[], None] | None = None,
    ) -> None:
        """Start the process; ``before`` runs in the child before the command, for example to set limits."""

        def in_child() -> None:
            # A shell that runs the tests in the background ignores these signals, and children inherit that.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            if before is not None:
                before()

        name = uuid.uuid4().hex[:8]
        self._files = [folder / f".{name}.{end}" for end in ("out", "err")]
        self._ended: ProcessResult | None = None
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
        """Wait until the process has logged a message ``times`` times, and return the last of these lines."""
        found = wait_until(
            lambda: self._find(message, times) or not self.is_alive, f"{message!r} of {self.process.args}"
        )
        found = self._find(message, times)
        assert found, f"ended without logging {message!r}: {self.out}\n{self.err}"
        return found

    @property
    def log(self) -> list[dict[str, Any]]:
        """The log lines so far."""
        return log_lines(self.out)

    def has_logged(self, message: str) -> bool:
        return self._find(message, 1) is not None

    def _find(self, message: str, times: int) -> dict[str, Any] | None:
        found = [line for line in self.log if line["message"] == message]
        return found[times - 1] if len(found) >= times else None

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, seconds: float = PROCESS_TIMEOUT_S) -> ProcessResult:
        """Wait for the process to end."""
        code = self.process.wait(seconds)
        return ProcessResult(code, self.out, self.err)

    def __enter__(self) -> RunningProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_alive:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PROCESS_TIMEOUT_S) -> Any:
    """Poll a condition until its result is true, and return that result."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(POLL_INTERVAL_S)
    return found


def cli_command(folder: Path, *arguments: str, settings: Settings | None = None) -> list[str]:
    """Return a command line; ``settings`` are written to a file and passed with ``--config``."""
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
) -> RunningProcess:
    """Start ``hybrid-platform …`` in a folder."""
    return RunningProcess(
        folder, cli_command(folder, *arguments, settings=settings), child_environment(folder, **environ), before
    )


def run_cli(folder: Path, *arguments: str, **options: Any) -> ProcessResult:
    """Run ``hybrid-platform …`` in a folder to its end."""
    with start_cli(folder, *arguments, **options) as running:
        return running.end()


def run_cli_in_process(folder: Path, *arguments: str, settings: Settings | None = None) -> ProcessResult:
    """Run ``hybrid-platform …`` in a folder to its end, in this process."""
    command = cli_command(folder, *arguments, settings=settings)[3:]
    with pytest.MonkeyPatch.context() as patch, chdir(folder):
        patch.setenv("HYBRID_PLATFORM_GATES__CPU_PRESSURE_LIMIT", "100")
        patch.syspath_prepend(str(folder))
        result = CliRunner().invoke(main, command)
    return ProcessResult(result.exit_code, result.stdout, result.stderr)


def start_job(
    folder: Path,
    settings: Settings,
    job: str = "shadow_run",
    module: Sequence[str] = ("-m", "hybrid_platform.definitions"),
    **environ: str,
) -> RunningProcess:
    """Start ``dagster job execute`` in a folder that has the repository's dagster.yaml."""
    (folder / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text())
    config = folder / f"run-{uuid.uuid4().hex[:8]}.yaml"
    config.write_text(yaml.safe_dump(run_config(settings)))
    command = [sys.executable, "-W", "ignore", "-m", "dagster", "job", "execute"]
    command += [*module, "-j", job, "-c", str(config)]
    return RunningProcess(folder, command, child_environment(folder, **environ))


def run_config(settings: Settings) -> dict[str, Any]:
    """Return settings as the run config of a job."""
    return {"resources": {"session": {"config": dict(settings)}}}


def merge_settings(*layers: Settings) -> dict[str, Any]:
    """Merge settings, later ones take precedence, over a pressure gate that is switched off."""
    merged: dict[str, Any] = dict(NO_PRESSURE_LIMIT)
    for layer in layers:
        merged = merge(merged, layer)
    return merged


def synthetic_feed(ticks_per_second: float | str = 200, **more: Any) -> dict[str, Any]:
    """Return the settings of a synthetic feed."""
    return {"feed": {"synthetic": {"ticks_per_second": ticks_per_second, **more}}}


def replay_feed(path: Path | str, **more: Any) -> dict[str, Any]:
    """Return the settings of a replay of a file with columns ``ts,price,size,symbol``."""
    columns = {"ts": "ts", "price": "price", "size": "size", "symbol": "symbol"}
    return {"feed": {"replay": {"path": str(path), **({} if "format" in more else {"columns": columns}), **more}}}


def write_csv(path: Path, rows: Iterable[str], header: str = "ts,price,size,symbol") -> Path:
    """Write a file that `replay_feed` reads, and return its path."""
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def make_csv_rows(count: int, first: int = 0) -> list[str]:
    """Return ``count`` valid rows, one per second."""
    return [f"{1_700_000_000_000 + 1000 * k},{100 + k % 7}.25,{1 + k % 3},SPY" for k in range(first, first + count)]


class Artifacts:
    """Everything that sessions wrote below a data directory: rows, evidence, logs, reports."""

    def __init__(self, data_dir: Path, database: Path | None = None) -> None:
        self.data_dir = data_dir
        self.database = database or data_dir / "bot.db"

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Return the rows of a query, over a separate read-only connection."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    def count(self, table: str, session_id: str | None = None) -> int:
        """Return the number of a table's rows of one session, the last by default."""
        where = session_id or self.session_id
        return int(self.rows(f"SELECT count(*) AS n FROM {table} WHERE session_id = ?", where)[0]["n"])

    @property
    def sessions(self) -> list[dict[str, Any]]:
        """The rows of all sessions, oldest first."""
        return self.rows("SELECT * FROM sessions ORDER BY started_at, session_no")

    @property
    def session(self) -> dict[str, Any]:
        """The row of the last session."""
        return self.sessions[-1]

    @property
    def session_id(self) -> str:
        """The id of the last session with evidence."""
        return sorted(
            path.name for path in (self.data_dir / "evidence").iterdir() if path.name not in {"checks", "matrix"}
        )[-1]

    def ledger(self, session_id: str | None = None) -> dict[tuple[str, str, str], int]:
        """Return a session's ledger as counts by kind, name and reason."""
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
        """The log lines of the last session, from its file."""
        return self.read_log(self.session_id)

    def read_log(self, session_id: str) -> list[dict[str, Any]]:
        """Return the log lines of a session."""
        return log_lines((self.data_dir / "logs" / f"{session_id}.jsonl").read_text())

    def logged(self, message: str) -> list[dict[str, Any]]:
        """Return the log lines with a message."""
        return [line for line in self.log if line["message"] == message]

    @property
    def report(self) -> str:
        return (self.data_dir / "evidence" / self.session_id / "report.md").read_text()


class InProcessRun(Artifacts):
    """A run in this process: its artifacts, the evidence of its steps, and its output."""

    def __init__(self, data_dir: Path, steps: Sequence[Evidence], output: str) -> None:
        super().__init__(data_dir)
        self.steps = {step.kind: step for step in steps}
        self.last = steps[-1]
        self.output = output

    @cached_property
    def code(self) -> int:
        """The exit code that the CLI would return."""
        return next((step.exit_code for step in self.steps.values() if step.exit_code), 0)


def run_in_process(
    data_dir: Path,
    *layers: Settings,
    before_postflight: Callable[[Artifacts], None] | None = None,
    with_report: bool = True,
) -> InProcessRun:
    """Run all steps in this process, as the CLI does; errors propagate.

    ``with_report=False`` skips the report and the signed bundle, which take longer than a short session.
    """
    settings = load_settings(merge_settings({"data_dir": str(data_dir)}, *layers), environ={})
    clock, output = SystemClock(), io.StringIO()
    with open_run(settings, run_id=str(uuid.uuid4()), created_ns=clock.wall_ns(), clock=clock, stream=output) as run:

        def drive(runner: SessionRunner) -> SessionEvidence:
            runner.start()
            assert runner.wait(PROCESS_TIMEOUT_S)
            evidence = runner.finish()
            if before_postflight is not None:
                before_postflight(Artifacts(data_dir))
            return evidence

        result = run_steps(run, drive, last=Step.REPORT if with_report else Step.POSTFLIGHT)
    return InProcessRun(data_dir, list(result.steps), output.getvalue())

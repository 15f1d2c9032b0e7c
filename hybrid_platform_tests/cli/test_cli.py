"""`hybrid-platform`: help of every command, exit codes, layers of settings, and commands on finished sessions."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import pandas as pd
import pyarrow.csv
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from hybrid_platform import __version__
from hybrid_platform.cli.main import main
from hybrid_platform.host.process import this_process
from hybrid_platform.settings.loading import load_settings
from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import sqlite_url
from hybrid_platform.storage.migrate import migrate
from hybrid_platform.storage.session_records import SessionStart
from hybrid_platform.storage.sessions import SessionStore
from hybrid_platform.storage.views import PUBLIC_TABLES
from hybrid_platform_tests.support import (
    PROCESS_TIMEOUT_S,
    Artifacts,
    InProcessRun,
    child_environment,
    cli_command,
    make_csv_rows,
    merge_settings,
    replay_feed,
    run_cli,
    run_in_process,
    start_cli,
    synthetic_feed,
    write_csv,
)

HEAVY = {"dagster", "pandas", "pyarrow", "matplotlib", "alembic", "sqlalchemy", "numpy", "websockets"}
NEEDED = {"shadow-run", "healthcheck", "preflight", "sessions", "report", "export"}


def invoke(*arguments: str | Path) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> InProcessRun:
    """Return a finished session for the commands that read one."""
    folder = tmp_path_factory.mktemp("ended")
    return run_in_process(folder / "data", synthetic_feed("max", ticks=61), {"isolation": "thread"})


# Help and usage


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_explains_itself(name: str):
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    command = main.commands[name]
    assert command.help, name
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.name}"


def test_the_help_lists_the_commands_and_exit_codes():
    assert set(main.commands) >= NEEDED
    text = invoke("--help").stdout
    for code in ("0 complete", "1 crash", "10 network", "11 parse", "12 config", "13 overload", "64 usage"):
        assert code.replace(" ", "") in "".join(text.split())
    assert __version__ in invoke("--version").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["shadow-run", "--no-such-option"],
        ["shadow-run", "--seconds", "soon"],
        ["shadow-run", "--seconds"],
        ["export"],
        ["export", "some-session"],
        ["export", "some-session", "--to", "x", "--format", "xml"],
        ["sessions", "--last", "0"],
        ["healthcheck", "unexpected"],
    ],
    ids=" ".join,
)
def test_a_usage_error_exits_64_and_explains_itself(arguments: list[str]):
    result = invoke(*arguments)
    assert result.exit_code == 64
    assert "Error: " in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("arguments", [["--help"], ["shadow-run", "--help"], ["healthcheck"]], ids=" ".join)
def test_help_and_healthcheck_load_nothing_heavy(ended: InProcessRun, arguments: list[str]):
    script = (
        "import sys\n"
        "from hybrid_platform.cli.main import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "finally:\n"
        "    print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    folder = ended.data_dir.parent
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env=child_environment(folder),
        capture_output=True,
        text=True,
        timeout=PROCESS_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert "hybrid_platform" in loaded
    assert loaded & HEAVY == set()


# Layers of settings


def test_settings_layers_override_in_the_documented_order(tmp_path: Path):
    settings = {
        "seconds": 8,
        "data_dir": "mine",
        "strategy": {"params": {"every": 7}},
        "isolation": "thread",
        **synthetic_feed(100),
    }
    arguments = ["--mode", "shadow", "--seconds", "0.2", "--set", "strategy.params.every=5", "--db", "here.db"]
    layers = {
        "HYBRID_PLATFORM_SECONDS": "9",
        "HYBRID_PLATFORM_HEARTBEAT__LATE_SECONDS": "3",
        "HYBRID_PLATFORM_RISK__MAX_OPEN_ORDERS": "77",
    }
    ended = run_cli(tmp_path, "shadow-run", *arguments, settings=settings, **layers)
    assert ended.code == 0, ended.text
    artifacts = Artifacts(tmp_path / "mine", tmp_path / "here.db")
    used = artifacts.evidence("preflight")["settings"]
    assert used["seconds"] == 0.2, "a flag, over the file, over the environment"
    assert used["strategy"]["params"] == {"every": 5}, "--set, over the file"
    assert (used["heartbeat"]["late_seconds"], used["risk"]["max_open_orders"]) == (3, 77), "the environment alone"
    assert used["mode"] == "SHADOW"
    assert artifacts.count("ticks") == 21
    assert not (tmp_path / "mine" / "bot.db").exists()


@pytest.mark.scenario("G0")
def test_the_default_is_a_shadow_run_into_data(tmp_path: Path):
    with start_cli(tmp_path, "shadow-run") as running:
        running.wait_for("HEARTBEAT (G4)")
        running.send(signal.SIGTERM)
        ended = running.end()
    artifacts = Artifacts(tmp_path / "data")
    assert ended.code == 0, ended.text
    used = artifacts.evidence("preflight")["settings"]
    assert (used["mode"], used["live_armed"], used["seconds"]) == ("SHADOW", False, 30)
    assert artifacts.session["mode"] == "SHADOW"


def test_a_database_may_be_next_to_the_strategys_code(tmp_path: Path):
    """The working directory contains the strategy, the recording and the database, as is usual."""
    (tmp_path / "mine.py").write_text(
        "from hybrid_platform.strategies import Params, Strategy, buy\n"
        "class Mine(Strategy[Params]):\n"
        "    def on_tick(self, tick):\n"
        "        return buy(tick, '0.1', 'EACH') if tick.seq % 10 == 0 else None\n"
    )
    write_csv(tmp_path / "trades.csv", make_csv_rows(30))
    settings = merge_settings(replay_feed("trades.csv"), {"strategy": {"name": "mine:Mine"}})
    ended = run_cli(tmp_path, "shadow-run", "--db", "bot.db", settings=settings)
    assert ended.code == 0, ended.text
    assert Artifacts(tmp_path / "data", tmp_path / "bot.db").count("signals") == 3


# Output


def test_a_reader_that_goes_away_does_not_stop_the_session(tmp_path: Path):
    command = cli_command(
        tmp_path, "shadow-run", settings=merge_settings(synthetic_feed(100), {"seconds": 1, "isolation": "thread"})
    )
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=child_environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("{")
        process.stdout.close()
        error = process.stderr.read()
        assert process.wait(PROCESS_TIMEOUT_S) == 0, error
    assert "Traceback" not in error
    artifacts = Artifacts(tmp_path / "data")
    assert artifacts.count("ticks") == 101
    assert artifacts.logged("postflight PASS"), "the file has what the pipe could not take"


def test_a_terminal_gets_text_and_progress_instead_of_json(tmp_path: Path):
    command = cli_command(
        tmp_path, "shadow-run", settings=merge_settings(synthetic_feed(100), {"seconds": 1, "isolation": "thread"})
    )
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, cwd=tmp_path, env=child_environment(tmp_path), stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        text = "".join(_read_terminal(ours))
        assert process.wait(PROCESS_TIMEOUT_S) == 0, text
    assert "{" not in text.splitlines()[0]
    assert re.search(r"^\d\d:\d\d:\d\d\.\d{3} INFO +HEARTBEAT \(G4\) ", text, re.MULTILINE)
    assert re.search(r"\r\x1b\[K +\d+\.\d s  [\d,]+ ticks  [\d,]+/s  .* dropped  \d s left", text)
    assert "PASS: session " in text
    assert all(line["message"] for line in Artifacts(tmp_path / "data").log), "the file has JSON nevertheless"


def _read_terminal(descriptor: int) -> Iterator[str]:
    with os.fdopen(descriptor, "rb", buffering=0) as terminal:
        while True:
            try:
                some = terminal.read(65536)
            except OSError:  # how Linux reports that the other side closed
                return
            if not some:
                return
            yield some.decode(errors="replace")


# Commands on finished sessions


@pytest.mark.scenario("G1")
def test_a_healthcheck_prints_one_line_an_item_and_exits_0(ended: InProcessRun):
    result = invoke("healthcheck", "--data-dir", ended.data_dir)
    assert result.exit_code == 0, result.output
    *items, last = result.stdout.splitlines()
    assert [line.partition(": ")[0] for line in items][:4] == [
        f"[health] {name}" for name in ("time", "db", "port", "ticks")
    ]
    assert re.fullmatch(r"\[health\] time: \d{4}-\d\d-\d\dT.*Z", items[0])
    assert re.fullmatch(r"\[health\] ticks: \d+", items[3])
    assert last == "[health] PASS"


@pytest.mark.scenario("G1")
def test_a_healthcheck_of_no_database_fails_and_makes_none(tmp_path: Path):
    result = invoke("healthcheck", "--data-dir", tmp_path / "data")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1].startswith("[health] FAIL: db: ")
    assert not (tmp_path / "data").exists()


@pytest.mark.scenario("G1")
def test_a_database_copied_out_of_wal_mode_is_healthy(ended: InProcessRun, tmp_path: Path):
    """The next session continues in it."""
    (tmp_path / "data").mkdir()
    copy = tmp_path / "data" / "bot.db"
    with closing(sqlite3.connect(ended.database)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    assert invoke("healthcheck", "--data-dir", copy.parent).exit_code == 0
    run = run_in_process(copy.parent, synthetic_feed("max", ticks=20), {"isolation": "thread"})
    assert run.code == 0
    assert [row["state"] for row in run.sessions] == ["COMPLETE", "COMPLETE"]


@pytest.mark.scenario("G1", "S1")
@pytest.mark.parametrize("header", [False, True], ids=["empty", "header alone"])
def test_a_database_without_any_table_counts_as_new(tmp_path: Path, header: bool):
    """Its first session was killed before it created a table; the next one continues."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    with closing(sqlite3.connect(data_dir / "bot.db")) as connection:
        if header:
            connection.execute("PRAGMA journal_mode = WAL")
    assert ((data_dir / "bot.db").stat().st_size > 0) is header
    assert invoke("healthcheck", "--data-dir", data_dir).exit_code == 1, "the command alone fails on it"
    run = run_in_process(data_dir, synthetic_feed("max", ticks=20), {"isolation": "thread"}, with_report=False)
    assert (run.code, run.count("ticks")) == (0, 20)


def test_sessions_lists_them_newest_first(ended: InProcessRun):
    shown = invoke("sessions", "--data-dir", ended.data_dir)
    assert shown.exit_code == 0
    for word in (ended.session_id, "SHADOW", "COMPLETE", "END_OF_FEED", "periodic", "synthetic"):
        assert word in shown.stdout
    (line,) = invoke("sessions", "--data-dir", ended.data_dir, "--json").stdout.splitlines()
    row = json.loads(line)
    assert (row["session_id"], row["exit_code"]) == (ended.session_id, 0)


def test_sessions_lists_a_running_session(tmp_path: Path):
    """The session is running, or was killed and is not marked yet."""
    engine = open_engine(sqlite_url(tmp_path / "bot.db"), role="write")
    migrate(engine)
    SessionStore(engine).start(SessionStart("runs", "run", load_settings({}, environ={}), "0", 1, this_process()))
    engine.dispose()
    shown = invoke("sessions", "--data-dir", tmp_path)
    assert shown.exit_code == 0, shown.output
    assert "RUNNING" in shown.stdout and "nan" not in shown.stdout.lower()
    row = json.loads(invoke("sessions", "--data-dir", tmp_path, "--json").stdout)
    assert (row["state"], row["exit_code"], row["exit_reason"], row["ended_at"]) == ("RUNNING", None, None, None)


def test_a_report_is_written_again_from_its_evidence(ended: InProcessRun):
    for which in ([], [ended.session_id]):
        result = invoke("report", *which, "--data-dir", ended.data_dir)
        assert result.exit_code == 0, result.output
        path = Path(result.stdout.strip())
        assert path.read_text() == ended.report


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_an_export_holds_every_row_of_the_session(ended: InProcessRun, tmp_path: Path, kind: str):
    result = invoke(
        "export", ended.session_id, "--to", tmp_path / "out", "--format", kind, "--data-dir", ended.data_dir
    )
    assert result.exit_code == 0, result.output
    counts = dict(re.findall(r"(\w+)\.\w+: ([\d,]+) rows?\b", result.stdout))
    assert set(counts) == set(PUBLIC_TABLES) == {path.stem for path in (tmp_path / "out").iterdir()}
    for name in PUBLIC_TABLES:
        path = tmp_path / "out" / f"{name}.{kind}"
        read = pyarrow.parquet.read_table(path) if kind == "parquet" else pyarrow.csv.read_csv(path)
        assert read.num_rows == int(counts[name].replace(",", "")) == ended.count(name), name
    trades = tmp_path / "out" / f"trades.{kind}"
    frame = pd.read_parquet(trades) if kind == "parquet" else pd.read_csv(trades, dtype=str)
    assert list(frame["fill_price"]) == [
        row["fill_price"] for row in ended.rows("SELECT fill_price FROM trades ORDER BY n")
    ]


def test_an_export_of_some_tables_writes_those_alone(ended: InProcessRun, tmp_path: Path):
    arguments = ["--table", "signals", "--table", "ledger", "--data-dir", ended.data_dir]
    assert invoke("export", ended.session_id, "--to", tmp_path / "out", *arguments).exit_code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"signals.parquet", "ledger.parquet"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export", "unknown", "--to", "out"], "the id of a session"),
        (["export", "SESSION", "--to", "out", "--table", "secrets"], "secrets"),
        (["report", "../../etc"], "a session with evidence"),
        (["report", "20200101T000000Z-00000000"], "a session with evidence"),
    ],
    ids=["export unknown", "export no table", "report outside", "report unknown"],
)
def test_a_missing_session_or_table_is_one_config_error(
    ended: InProcessRun, tmp_path: Path, arguments: list[str], words: str
):
    named = [ended.session_id if argument == "SESSION" else argument for argument in arguments]
    named = [str(tmp_path / "out") if argument == "out" else argument for argument in named]
    result = invoke(*named, "--data-dir", ended.data_dir)
    assert result.exit_code == 12
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and words in line


@pytest.mark.parametrize(
    "command", [["sessions"], ["report"], ["export", "x", "--to", "out"]], ids=lambda words: words[0]
)
def test_a_missing_data_directory_is_an_error(tmp_path: Path, command: list[str]):
    """It is not created."""
    result = invoke(*command, "--data-dir", tmp_path / "none")
    assert result.exit_code == 12
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.scenario("G1", "G2")
def test_preflight_alone_checks_the_host_and_starts_nothing(tmp_path: Path):
    settings = ["--data-dir", str(tmp_path / "data"), "--set", "gates.cpu_pressure_limit=100"]
    result = invoke("preflight", *settings)
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[-1] == "preflight PASS"
    (path,) = (tmp_path / "data" / "evidence" / "checks").iterdir()
    assert json.loads(path.read_text())["verdict"] == "PASS"
    assert not (tmp_path / "data" / "bot.db").exists()
    assert invoke("preflight", *settings[:2], "--set", "gates.cpu_pressure_limit=0").exit_code == 13


def test_a_bundle_of_a_session_verifies_from_the_command_line(ended: InProcessRun, tmp_path: Path):
    bundle = ended.data_dir / "evidence" / ended.session_id
    result = invoke("verify", bundle, "--trusted-keys", ended.data_dir / "keys")
    assert result.exit_code == 0, result.output
    (tmp_path / "unknown").mkdir()
    assert invoke("verify", bundle, "--trusted-keys", tmp_path / "unknown").exit_code == 2

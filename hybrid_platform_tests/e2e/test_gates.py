"""Gates that stop a run before it begins: nothing starts, and evidence and exit code give the reason."""

from __future__ import annotations

import ctypes
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hybrid_platform.storage.engine import open_engine
from hybrid_platform.storage.location import sqlite_url
from hybrid_platform.storage.migrate import migrate
from hybrid_platform_tests.support import (
    REPOSITORY,
    Artifacts,
    merge_settings,
    run_cli,
    run_cli_in_process,
    start_job,
    synthetic_feed,
)

SHORT = merge_settings({"seconds": 1, "isolation": "thread"}, synthetic_feed(20))
STARTED = "channels created (S6: bounded)"


@pytest.mark.scenario("G2")
def test_pressure_above_the_limit_exits_with_overload(tmp_path: Path):
    """No session starts, and evidence, database and report carry the reason."""
    ended = run_cli(tmp_path, "shadow-run", "--set", "gates.cpu_pressure_limit=0", settings=SHORT)
    assert ended.code == 13
    assert not ended.logged(STARTED)
    artifacts = Artifacts(tmp_path / "data")
    assert (artifacts.session["state"], artifacts.session["exit_code"]) == ("REFUSED", 13)
    assert artifacts.evidence("preflight")["reasons"] == [artifacts.session["exit_reason"]]
    assert artifacts.session["exit_reason"] in ended.err
    assert artifacts.report.startswith(f"# Shadow run {artifacts.session_id}: FAIL")
    assert all(artifacts.count(table) == 0 for table in ("ticks", "signals", "orders", "trades"))


@pytest.mark.scenario("S14", "G1", "L1")
@pytest.mark.parametrize("mode", ["live", "LIVE"])
def test_cli_refuses_live_with_every_unmet_condition(tmp_path: Path, mode: str):
    ended = run_cli(tmp_path, "shadow-run", "--mode", mode, settings=SHORT)
    assert ended.code == 12
    assert not ended.logged(STARTED)
    artifacts = Artifacts(tmp_path / "data")
    assert (artifacts.session["state"], artifacts.session["mode"], artifacts.session["exit_code"]) == (
        "REFUSED",
        "LIVE",
        12,
    )
    conditions = artifacts.evidence("preflight")["live_gate"]
    assert len(conditions) >= 3
    for condition in conditions:
        if not condition["met"]:
            assert condition["detail"] in ended.err
    assert not all(condition["met"] for condition in conditions)


def _without_override() -> None:
    """Make file permissions apply to root too: drop CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for capability in (1, 2):
        if os.geteuid() == 0 and prctl(24, capability, 0, 0, 0) != 0:
            os._exit(99)


def _read_only_database(folder: Path) -> Path:
    """Return a migrated database in a read-only folder, not in WAL mode."""
    path = folder / "medium" / "bot.db"
    engine = open_engine(sqlite_url(path), role="write")
    migrate(engine)
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    path.chmod(0o400)
    path.parent.chmod(0o500)
    return path


@pytest.mark.scenario("S1", "G3", "I5")
def test_unsettable_pragma_stops_the_run(tmp_path: Path):
    """The asset is tested in defs/session/test_assets.py."""
    path = _read_only_database(tmp_path)
    settings = {**SHORT, "database_url": sqlite_url(path)}
    ended = run_cli(tmp_path, "shadow-run", settings=settings, before=_without_override)
    assert ended.code == 12, ended.text
    assert "Traceback" not in ended.text
    assert [line["message"] for line in ended.log if line["message"].endswith((" PASS", " FAIL"))] == [
        "preflight PASS",
        "pragma FAIL",
    ]
    artifacts = Artifacts(tmp_path / "data", path)
    evidence = artifacts.evidence("pragma")
    (reason,) = evidence["reasons"]
    assert str(path) in reason and "readonly" in reason
    assert (evidence["verdict"], evidence["exit_code"]) == ("FAIL", 12)
    assert not ended.logged(STARTED)
    assert not artifacts.has_evidence("session")
    assert artifacts.rows("SELECT * FROM sessions") == [], "a refusal is stored only if the database can be opened"
    assert [line["level"] for line in ended.logged("the refusal could not be written to the database")] == ["warning"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--set", "risk.max_exposure=1"],
            ["risk.max_exposure: expected no such setting (did you mean `max_exposure_usd`?)"],
        ),
        (
            ["--set", "seconds=0", "--set", "feed.synthetic.seed=-1"],
            ["seconds: expected", "feed.synthetic.seed: expected"],
        ),
        (["--mode", "demo"], ["mode: expected 'SHADOW', 'PAPER' or 'LIVE', got 'demo'"]),
        (["--set", "strategy.name=none"], ["strategy.name: expected one of periodic, sma_crossover"]),
        (["--set", "strategy.name=no.such:Thing"], ["strategy.name: expected an importable class"]),
        (["--set", "strategy.params={every: 0}"], ["strategy.params.every: expected"]),
        (["--set", "strategy.params={evry: 3}"], ["strategy.params.evry: expected no such setting"]),
        (["--config", "none.yaml"], ["none.yaml: expected a readable YAML file, got no such file or directory\n"]),
        (["--db", ":memory:"], ["database_url: expected a file that outlives the process"]),
        (["--set", "database_url=mysql://u:secret@h/d"], ["database_url: expected"]),
        (["--db", "file:x.db?mode=rwc"], ["database_url: expected a plain path, not a URI"]),
        (["--data-dir", str(REPOSITORY)], ["which stays closed to strategies"]),
        (["--set", "feed={replay: {path: missing.csv}}"], ["missing.csv"]),
    ],
    ids=lambda value: " ".join(value)[:40].strip() if isinstance(value, list) else None,
)
def test_wrong_settings_give_one_message_per_fault(tmp_path: Path, arguments: list[str], words: list[str]):
    """Exit code 12, and nothing is written."""
    ended = run_cli_in_process(tmp_path, "shadow-run", *arguments)
    assert ended.code == 12, ended.text
    lines = ended.err.splitlines()
    assert len(lines) == len(words)
    assert all(line.startswith("error: ") for line in lines)
    for word in words:
        assert word in ended.err
    assert "secret" not in ended.err
    assert ended.out == ""
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == [], (
        "not even a data directory"
    )


def test_wrong_settings_fail_a_dagster_run(tmp_path: Path):
    """The environment names the definitions, as documented in the README."""
    settings = {"seconds": 0, "risk": {"max_open_orders": -1}}
    by_environment = {"DAGSTER_CLI_JOB_EXECUTE_MODULE_NAME": "hybrid_platform.definitions"}
    with start_job(tmp_path, settings, module=(), **by_environment) as running:
        ended = running.end()
    assert ended.code == 1
    messages = [(line["message"], line["exit_code"]) for line in ended.log]
    assert messages == [
        ("seconds: expected greater than 0, got 0.0", 12),
        ("risk.max_open_orders: expected greater than or equal to 0, got -1", 12),
    ]
    assert "Traceback" not in ended.text
    assert not (tmp_path / "data").exists()

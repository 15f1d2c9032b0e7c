"""Reports of runs that failed early, and of unknown sessions (G5)."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_platform.domain.errors import ConfigError
from hybrid_platform.report.writer import find_last_session, write_reports
from hybrid_platform.security.paths import DataDir
from hybrid_platform_tests.support import make_csv_rows, replay_feed, run_in_process, synthetic_feed, write_csv


def test_a_refused_run_has_a_report(tmp_path: Path):
    run = run_in_process(tmp_path / "data", synthetic_feed("max", ticks=10), {"gates": {"cpu_pressure_limit": 0}})
    assert run.report.startswith(f"# Shadow run {run.session_id}: FAIL")
    assert "The run did not get so far." in run.report
    conclusion = run.report[run.report.index("## Conclusion") :]
    assert "**FAIL**" in conclusion and "CPU pressure" in conclusion


def test_a_hostile_symbol_stays_text_in_a_report(tmp_path: Path):
    rows = [row.replace("SPY", "<B>|X") for row in make_csv_rows(30)]
    path = write_csv(tmp_path / "trades.csv", [*make_csv_rows(30), *rows])
    run = run_in_process(tmp_path / "data", replay_feed(path), {"isolation": "thread"})
    assert run.count("ticks") == 30, "rejected, not cleaned"
    assert "<B>" not in run.report


def test_a_report_of_an_unknown_session_is_a_config_error(tmp_path: Path):
    data_dir = DataDir(tmp_path / "data")
    with pytest.raises(ConfigError, match="a session with evidence"):
        find_last_session(data_dir)
    for session_id in ("20200101T000000Z-00000000", "../../etc", ""):
        with pytest.raises(ConfigError, match="a session with evidence"):
            write_reports(data_dir, session_id)
    assert not (tmp_path / "data").exists()

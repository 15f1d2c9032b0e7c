"""A second session on the same database: refused with the holder's name; the first one is not affected.

The same from Dagster: defs/session/test_failed_start.py.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from hybrid_platform_tests.support import Artifacts, merge_settings, run_cli, start_cli, synthetic_feed

LONG = merge_settings({"seconds": 600, "isolation": "thread"}, synthetic_feed(50))


@pytest.mark.scenario("I6")
def test_second_session_is_refused_from_any_folder(tmp_path: Path):
    artifacts = Artifacts(tmp_path / "data")
    with start_cli(tmp_path, "shadow-run", settings=LONG) as first:
        first.wait_for("signal generated")
        session_id, pid = artifacts.session_id, first.process.pid
        elsewhere = ["--data-dir", "other", "--db", str(artifacts.database)]
        refused = [
            run_cli(tmp_path, "shadow-run", settings=LONG),
            run_cli(tmp_path, "shadow-run", *elsewhere, settings=LONG),
        ]
        assert first.is_alive
        first.send(signal.SIGTERM)
        ended = first.end()
    assert [one.code for one in refused] == [12, 12]
    for one in refused:
        assert "Traceback" not in one.text
        assert len(one.err.splitlines()) < 10
        assert "another session holds the lease" in one.text
        assert session_id in one.text and str(pid) in one.text
        assert not one.logged("channels created (S6: bounded)")
    assert ended.code == 0, ended.text
    rows = [(row["state"], row["exit_code"]) for row in artifacts.sessions]
    assert sorted(rows) == [("COMPLETE", 0), ("REFUSED", 12), ("REFUSED", 12)]
    assert (artifacts.evidence("session")["state"], artifacts.evidence("session")["exit_code"]) == ("REFUSED", 12)
    assert Artifacts(tmp_path / "other", artifacts.database).evidence("postflight")["verdict"] == "FAIL"
    assert "another session holds the lease" in Artifacts(tmp_path / "other", artifacts.database).report


@pytest.mark.scenario("I6")
def test_removed_lease_admits_no_second_session(tmp_path: Path):
    """The second session is refused, and the first one ends because it no longer holds the lease."""
    artifacts = Artifacts(tmp_path / "data")
    with start_cli(tmp_path, "shadow-run", settings=LONG) as first:
        first.wait_for("signal generated")
        pid = first.process.pid
        (artifacts.data_dir / "bot.db.lease").unlink()
        refused = run_cli(tmp_path, "shadow-run", settings=LONG)
        ended = first.end()
    assert refused.code == 12, refused.text
    assert f"process {pid} on this host" in refused.text
    assert ended.code == 1, "it can no longer be sure to be the only session"
    assert "expected this session to hold the lease" in ended.text
    assert sorted(row["state"] for row in artifacts.sessions) == ["FAILED", "REFUSED"]

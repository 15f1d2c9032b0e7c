"""A run that the UI launches and terminates, over GraphQL and the code server of `dagster dev` (S13)."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_platform_tests.code_server import Ui
from hybrid_platform_tests.e2e.test_drain import LONG, require_drained
from hybrid_platform_tests.support import Artifacts, log_lines, wait_until


@pytest.mark.scenario("S13")
def test_terminate_in_the_ui_drains_the_session(ui: Ui):
    """Postflight judges it."""
    run_id = ui.launch(LONG)
    artifacts = Artifacts(ui.folder / "data")
    logs = ui.folder / "data" / "logs"
    wait_until(lambda: any(_said(path, "signal generated") for path in logs.glob("*.jsonl")), "the first signal")
    assert ui.run(run_id)["status"] == "STARTED"
    ui.terminate(run_id)
    wait_until(lambda: ui.run(run_id)["status"] not in {"STARTED", "CANCELING"}, "the run's end")
    require_drained(artifacts, "TERMINATED")
    tags = {tag["key"]: tag["value"] for tag in ui.run(run_id)["tags"]}
    assert tags["hybrid_platform/exit_code"] == "0"
    assert tags["hybrid_platform/exit_reason"] == "TERMINATED"
    assert artifacts.session["run_id"] == run_id


def _said(path: Path, message: str) -> bool:
    return any(line["message"] == message for line in log_lines(path.read_text()))


def test_ui_shows_the_jobs_assets_and_checks(ui: Ui):
    found = ui.ask("{ assetNodes { opNames assetKey { path } hasAssetChecks jobNames } }")["assetNodes"]
    nodes = {node["assetKey"]["path"][-1]: node for node in found}
    for name in ("preflight_healthcheck", "pragma_verification", "shadow_run", "postflight_evidence"):
        assert "shadow_run" in nodes[name]["jobNames"]
        assert nodes[name]["hasAssetChecks"]

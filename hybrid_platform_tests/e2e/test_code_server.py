"""A run as the UI launches and terminates it: `dagster dev`, its code server and daemon, and GraphQL (S13)."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hybrid_platform_tests.e2e.test_drain import LONG, require_drained
from hybrid_platform_tests.support import REPOSITORY, Left, Running, environment, log_lines, run_config, until

LOCATION = {"repositoryLocationName": "hybrid_platform", "repositoryName": "__repository__"}
LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }"""
STATUS = "query($run: ID!) { runOrError(runId: $run) { ... on Run { status tags { key value } } } }"
TERMINATE = "mutation($run: String!) { terminateRun(runId: $run) { __typename } }"


class Ui:
    """The web server's GraphQL endpoint."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/graphql"

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            found = json.load(response)
        assert "errors" not in found, found
        return dict(found["data"])

    def is_up(self) -> bool:
        try:
            return bool(self.ask("{ version }"))
        except OSError:
            return False

    def launch(self, settings: dict[str, Any]) -> str:
        selector = {**LOCATION, "pipelineName": "shadow_run"}
        params = {"selector": selector, "runConfigData": run_config(settings), "mode": "default"}
        launched = self.ask(LAUNCH, params=params)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def run(self, run_id: str) -> dict[str, Any]:
        return dict(self.ask(STATUS, run=run_id)["runOrError"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code-server")
    for name in ("dagster.yaml", "workspace.yaml"):
        (folder / name).write_text((REPOSITORY / name).read_text())
    return folder


@pytest.fixture(scope="module")
def ui(folder: Path) -> Iterator[Ui]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dagster", "dev", "--host", "127.0.0.1", "--port", str(port)]
    with Running(folder, command, environment(folder)) as server:
        ui = Ui(port)
        until(lambda: ui.is_up() or not server.is_alive, "the web server")
        assert server.is_alive, server.out + server.err
        yield ui
        server.send(signal.SIGTERM)
        until(lambda: not server.is_alive, "the end of `dagster dev`", 60)
        _end_group(server.process.pid)


def _end_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.mark.scenario("S13")
def test_the_uis_terminate_drains_the_session_and_postflight_judges_it(ui: Ui, folder: Path):
    run_id = ui.launch(LONG)
    left = Left(folder / "data")
    logs = folder / "data" / "logs"
    until(lambda: any(_said(path, "signal generated") for path in logs.glob("*.jsonl")), "the first signal")
    assert ui.run(run_id)["status"] == "STARTED"
    assert ui.ask(TERMINATE, run=run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"
    until(lambda: ui.run(run_id)["status"] not in {"STARTED", "CANCELING"}, "the run's end")
    require_drained(left, "TERMINATED")
    tags = {tag["key"]: tag["value"] for tag in ui.run(run_id)["tags"]}
    assert tags["hybrid_platform/exit_code"] == "0"
    assert tags["hybrid_platform/exit_reason"] == "TERMINATED"
    assert left.session["run_id"] == run_id


def _said(path: Path, message: str) -> bool:
    return any(line["message"] == message for line in log_lines(path.read_text()))


def test_the_ui_shows_the_job_its_four_assets_and_its_checks(ui: Ui):
    found = ui.ask("{ assetNodes { opNames assetKey { path } hasAssetChecks jobNames } }")["assetNodes"]
    nodes = {node["assetKey"]["path"][-1]: node for node in found}
    for name in ("preflight_healthcheck", "pragma_verification", "shadow_run", "postflight_evidence"):
        assert "shadow_run" in nodes[name]["jobNames"]
        assert nodes[name]["hasAssetChecks"]

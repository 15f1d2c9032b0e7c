"""`dagster dev` in a separate folder: web server, daemon and code server, with the UI's GraphQL requests."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hybrid_platform_tests.support import REPOSITORY, RunningProcess, child_environment, run_config, wait_until

LOCATION = {"repositoryLocationName": "hybrid_platform", "repositoryName": "__repository__"}
LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }"""
STATUS = "query($run: ID!) { runOrError(runId: $run) { ... on Run { status tags { key value } } } }"
TERMINATE = "mutation($run: String!) { terminateRun(runId: $run) { __typename } }"
RELOAD = """mutation($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) {
  __typename ... on WorkspaceLocationEntry { loadStatus locationOrLoadError { __typename } } } }"""


class Ui:
    """The web server's GraphQL endpoint."""

    def __init__(self, port: int, server: RunningProcess, folder: Path) -> None:
        self._url = f"http://127.0.0.1:{port}/graphql"
        self.server = server
        self.folder = folder

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
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

    def terminate(self, run_id: str) -> None:
        assert self.ask(TERMINATE, run=run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"

    def reload(self) -> bool:
        """Restart the code server; return whether it is loaded."""
        entry = self.ask(RELOAD, name=LOCATION["repositoryLocationName"])["reloadRepositoryLocation"]
        return bool(entry.get("locationOrLoadError", {}).get("__typename") == "RepositoryLocation")


@contextmanager
def dagster_dev(folder: Path) -> Iterator[Ui]:
    """Start `dagster dev`, wait until it answers, and end all of its processes at the end."""
    for name in ("dagster.yaml", "workspace.yaml"):
        (folder / name).write_text((REPOSITORY / name).read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dagster", "dev", "--host", "127.0.0.1", "--port", str(port)]
    with RunningProcess(folder, command, child_environment(folder)) as server:
        ui = Ui(port, server, folder)
        wait_until(lambda: ui.is_up() or not server.is_alive, "the web server")
        assert server.is_alive, server.out + server.err
        yield ui
        server.send(signal.SIGTERM)
        wait_until(lambda: not server.is_alive, "the end of `dagster dev`", 60)
        _end_group(server.process.pid)


def _end_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return

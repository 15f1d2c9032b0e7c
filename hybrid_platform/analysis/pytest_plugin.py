"""Pytest plugin: run the tests of given ids of the contract, and record the result of each test (G5).

    python -m pytest -p hybrid_platform.analysis.pytest_plugin --scenario S5

in: tests marked ``@pytest.mark.scenario("S5", …)`` · out: ``--outcomes FILE``, JSON, for `analysis.matrix`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

_IDS_PROPERTY = "scenario"
"""Property of each test report: the ids that the test proves."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's options."""
    group = parser.getgroup("scenarios")
    group.addoption("--scenario", action="append", default=[], metavar="ID", help="Only tests that prove this id.")
    group.addoption("--outcomes", metavar="FILE", help="Where to write how each test ended, as JSON.")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the recorder if its output was requested."""
    config.addinivalue_line("markers", "scenario(*ids): the ids of the contract that a test proves")
    # With several processes, only the controller receives all results.
    if config.getoption("--outcomes") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_OutcomeRecorder(Path(str(config.getoption("--outcomes")))), "scenario-outcomes")


def contract_ids(item: pytest.Item) -> list[str]:
    """Return the ids that a test proves."""
    return sorted({str(each) for marker in item.iter_markers("scenario") for each in marker.args})


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests without a requested id, or without any id."""
    wanted = set(config.getoption("--scenario"))
    kept = [item for item in items if (ids := set(contract_ids(item))) and (not wanted or ids & wanted)]
    for item in kept:
        item.user_properties.append((_IDS_PROPERTY, contract_ids(item)))
    left_out = [item for item in items if item not in set(kept)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


class _OutcomeRecorder:
    """Recorder of test results."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tests: dict[str, dict[str, Any]] = {}
        self._errors: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._errors.append(report.nodeid or "collection")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = self._tests.setdefault(report.nodeid, {"ids": [], "outcome": "passed", "duration_s": 0.0})
        found["ids"] = dict(report.user_properties).get(_IDS_PROPERTY, [])
        found["duration_s"] += report.duration
        if report.outcome != "passed":
            found["outcome"] = "xfailed" if hasattr(report, "wasxfail") and report.skipped else report.outcome
            crash = getattr(report.longrepr, "reprcrash", None)
            found["why"] = crash.message.split("\n")[0] if crash is not None else ""

    def pytest_sessionfinish(self) -> None:
        tests = [{"test": name, **found} for name, found in self._tests.items()]
        self._path.write_text(json.dumps({"tests": tests, "errors": self._errors}))

"""The reference run by ``dagster job execute``: the same contract, with tags, checks and metadata for the UI."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from hybrid_platform_tests.e2e.conftest import FinishedRun

STEPS = ("preflight_healthcheck", "pragma_verification", "shadow_run", "postflight_evidence")
CHECKS = {
    "preflight_healthcheck": {"host_ready"},
    "pragma_verification": {"pragmas_applied"},
    "shadow_run": {"session_complete", "ledger_balances", "heartbeats_on_time", "nothing_lost"},
    "postflight_evidence": {"verdict"},
}


@pytest.fixture(scope="module")
def run(by_dagster: FinishedRun) -> Iterator[tuple[dg.DagsterInstance, Any]]:
    """The instance of the run's dagster.yaml, as `dagster dev` in that folder would open it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(by_dagster.folder)
        with dg.DagsterInstance.from_config(str(by_dagster.folder)) as instance:
            (found,) = instance.get_runs()
            yield instance, found


def events(run: tuple[dg.DagsterInstance, Any], kind: dg.DagsterEventType) -> list[Any]:
    instance, found = run
    return [
        record.event_log_entry.dagster_event
        for record in instance.get_records_for_run(found.run_id, of_type=kind).records
    ]


def test_job_prints_only_the_sessions_log_lines(by_dagster: FinishedRun):
    assert by_dagster.process.code == 0
    assert by_dagster.process.out.splitlines() == [
        line for line in by_dagster.process.out.splitlines() if line.startswith("{")
    ]
    assert "Traceback" not in by_dagster.process.text
    assert by_dagster.process.log == by_dagster.artifacts.log
    (final,) = by_dagster.artifacts.logged("FINAL METRICS")
    counters = ("tick_count", "signal_count", "shadow_orders", "trade_count", "persist_errors", "bp_drops_tick")
    assert [final[name] for name in counters] == [61, 6, 6, 6, 0, 0]


def test_dagster_and_cli_leave_the_same(reference: FinishedRun, by_dagster: FinishedRun):
    for table in ("ticks", "signals", "vetoes", "orders", "order_events", "trades"):
        assert by_dagster.artifacts.count(table) == reference.artifacts.count(table)
    assert by_dagster.artifacts.evidence("session")["signals"] == reference.artifacts.evidence("session")["signals"]
    assert by_dagster.artifacts.ledger().keys() == reference.artifacts.ledger().keys()
    names = {
        path.name for path in (reference.artifacts.data_dir / "evidence" / reference.artifacts.session_id).iterdir()
    }
    assert {
        path.name for path in (by_dagster.artifacts.data_dir / "evidence" / by_dagster.artifacts.session_id).iterdir()
    } == names


def test_run_is_in_the_storage_that_the_ui_reads(run: tuple[dg.DagsterInstance, Any]):
    _, found = run
    assert (found.job_name, found.status) == ("shadow_run", dg.DagsterRunStatus.SUCCESS)


def test_run_tags_carry_session_exit_code_and_reason(run: tuple[dg.DagsterInstance, Any], by_dagster: FinishedRun):
    _, found = run
    tags = {name: value for name, value in found.tags.items() if name.startswith("hybrid_platform/")}
    assert tags == {
        "hybrid_platform/session_id": by_dagster.artifacts.session_id,
        "hybrid_platform/exit_code": "0",
        "hybrid_platform/exit_reason": "TIME_LIMIT",
    }
    assert by_dagster.artifacts.session["run_id"] == found.run_id


def test_four_assets_are_materialized_in_order(run: tuple[dg.DagsterInstance, Any]):
    keys = [event.asset_key.to_user_string() for event in events(run, dg.DagsterEventType.ASSET_MATERIALIZATION)]
    assert [key for key in keys if not key.startswith("database/")] == list(STEPS)
    assert {"database/ticks", "database/orders", "database/trades"} <= set(keys)


@pytest.mark.scenario("G1", "G3", "G4")
def test_every_check_passes_under_its_name(run: tuple[dg.DagsterInstance, Any]):
    found: dict[str, set[str]] = {}
    for event in events(run, dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        evaluation = event.asset_check_evaluation_data
        assert evaluation.passed, evaluation.check_name
        found.setdefault(evaluation.asset_key.to_user_string(), set()).add(evaluation.check_name)
    assert found == CHECKS


def test_metadata_has_stable_names_and_types(run: tuple[dg.DagsterInstance, Any], by_dagster: FinishedRun):
    """Metadata are numbers, tables and files under the names that dashboards rely on."""
    metadata = {
        event.asset_key.to_user_string(): event.step_materialization_data.materialization.metadata
        for event in events(run, dg.DagsterEventType.ASSET_MATERIALIZATION)
    }
    numbers = {
        name: metadata["shadow_run"][name].value
        for name in ("ticks", "signals", "shadow_orders", "trades", "vetoes", "dropped")
    }
    assert numbers == {"ticks": 61, "signals": 6, "shadow_orders": 6, "trades": 6, "vetoes": 0, "dropped": 0}
    ledger = metadata["shadow_run"]["ledger"]
    assert [column.name for column in ledger.schema.columns] == ["kind", "name", "reason", "count"]
    assert metadata["postflight_evidence"]["report"].value == by_dagster.artifacts.report
    for step in STEPS:
        assert metadata[step]["session_id"].value == by_dagster.artifacts.session_id
        path = metadata[step]["evidence"].path
        assert path.startswith(str(by_dagster.artifacts.data_dir.resolve()))
    assert metadata["preflight_healthcheck"]["cpu_pressure_limit"].value == 100
    assert "journal_mode" in {row.data["pragma"] for row in metadata["pragma_verification"]["pragmas"].records}

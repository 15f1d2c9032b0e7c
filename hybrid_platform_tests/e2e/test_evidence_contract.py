"""The evidence files, the flight recorder and the report of the reference run (docs/contract.md)."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from hybrid_platform.settings.session import DEFAULT_ISOLATION
from hybrid_platform_tests.e2e.conftest import FinishedRun

KINDS = ("preflight", "pragma", "session", "postflight")
GATES = ("G0", "G1", "G2", "G3", "G4", "G5")
ENFORCED = {"kernel-process", "kernel-network-only", "kernel-thread", "audit-hook-only", "none"}
PROVED = {*GATES, "S1", "S6", "S9", "S10", "S12", "S13", "I5"}
"""Ids that a single undisturbed session proves; more may be added, none may be removed."""


def test_session_folder_has_all_evidence_files(reference: FinishedRun):
    """Four JSON files, both reports and the signed bundle, each with the digest in the manifest."""
    folder = reference.artifacts.data_dir / "evidence" / reference.artifacts.session_id
    names = {path.name for path in folder.iterdir() if path.is_file()}
    assert {
        *(f"{kind}.json" for kind in KINDS),
        "report.md",
        "report.html",
        "manifest.json",
        "bundle.dsse.json",
    } <= names
    manifest = json.loads((folder / "manifest.json").read_text())
    named = {subject["name"]: subject["digest"]["sha256"] for subject in manifest["subject"]}
    for name, digest in named.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    assert {f"{kind}.json" for kind in KINDS} <= set(named)


@pytest.mark.parametrize("kind", KINDS)
def test_each_step_writes_one_json_file(reference: FinishedRun, kind: str):
    evidence = reference.artifacts.evidence(kind)
    assert (evidence["kind"], evidence["session_id"]) == (kind, reference.artifacts.session_id)
    assert (evidence["verdict"], evidence["reasons"], evidence["exit_code"]) == ("PASS", [], 0)
    assert evidence["run_id"] == reference.artifacts.session["run_id"]
    assert evidence["config_sha256"] == reference.artifacts.session["config_sha256"]
    assert evidence["started_at"] <= evidence["ended_at"]
    assert evidence["code"].keys() == {"version", "commit", "dirty", "sha256"}


@pytest.mark.scenario("G1", "G2")
def test_host_health_is_recorded_before_and_after(reference: FinishedRun):
    for kind in ("preflight", "postflight"):
        evidence = reference.artifacts.evidence(kind)
        assert evidence["healthcheck"]["verdict"] == "PASS"
        assert {item["name"] for item in evidence["healthcheck"]["items"]} >= {"time", "db", "port", "ticks"}
        pressure = evidence["pressure"]
        assert pressure.keys() >= {"limit", "first", "last", "verdict", "waited_s"}
        if pressure["last"]["source"] == "PSI":
            assert pressure["last"]["cpu"]["some"].keys() == {"avg10", "avg60", "avg300", "total"}
        assert {"hostname", "load", "uptime_s", "git_commit", "package_version"} <= evidence["system"].keys()
    before = {
        item["name"]: item["detail"] for item in reference.artifacts.evidence("preflight")["healthcheck"]["items"]
    }
    after = {
        item["name"]: item["detail"] for item in reference.artifacts.evidence("postflight")["healthcheck"]["items"]
    }
    assert (before["db"], before["ticks"], after["ticks"]) == ("new", "0", "61")


@pytest.mark.scenario("G3", "I5", "S1")
def test_pragma_file_has_the_values_of_both_connections(reference: FinishedRun):
    evidence = reference.artifacts.evidence("pragma")
    found = {(r["connection"], r["name"]): (r["expected"], r["was"]) for r in evidence["pragmas"]["readings"]}
    for connection in ("write", "read"):
        assert found[connection, "journal_mode"] == ("wal", "wal")
        assert found[connection, "synchronous"] == (1, 1)
        assert found[connection, "busy_timeout"] == (5000, 5000)
        assert found[connection, "temp_store"] == (2, 2)
    snapshot = evidence["pragmas"]["snapshot"]
    assert snapshot["rows_seen_by_writer"] > snapshot["rows_seen_by_reader"] == snapshot["rows_after"] == 0
    assert evidence["migrations"], "a new database was migrated"


def test_session_file_has_the_keys_that_scripts_rely_on(reference: FinishedRun):
    session = reference.artifacts.evidence("session")
    assert session["isolation"].keys() >= {"requested", "enforced"}
    assert session["isolation"]["requested"] == DEFAULT_ISOLATION
    assert session["isolation"]["enforced"] in ENFORCED
    assert (session["state"], session["exit_code"], session["exit_reason"]) == ("COMPLETE", 0, "TIME_LIMIT")
    assert session["counters"]["tick_count"] == 61
    assert session["ledger"]["balances"] is True
    rows = {(row["kind"], row["name"], row["reason"]): row["count"] for row in session["ledger"]["rows"]}
    assert rows == reference.artifacts.ledger()
    assert session["signals"] | {"sha256": ""} == {"count": 6, "buy": 3, "sell": 3, "sha256": ""}
    assert (session["heartbeats"]["late"], session["heartbeats"]["missing"]) == (0, 0)
    assert session["clean"] is True


@pytest.mark.scenario("G5")
def test_postflight_has_one_proof_per_contract_id(reference: FinishedRun):
    proofs = {proof["id"]: proof for proof in reference.artifacts.evidence("postflight")["proofs"]}
    assert set(proofs) == {f"S{n}" for n in range(1, 16)} | {f"I{n}" for n in range(1, 8)} | set(GATES)
    verdicts = {name: proof["verdict"] for name, proof in proofs.items()}
    assert "FAIL" not in verdicts.values()
    assert {name for name in PROVED if verdicts[name] != "PASS"} == set()
    assert all(proof["actual"] for proof in proofs.values())


def test_evidence_has_no_nan_or_infinity(reference: FinishedRun):
    def refuse(text: str) -> None:
        raise AssertionError(text)

    for path in reference.artifacts.data_dir.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=refuse)


@pytest.mark.scenario("G2")
def test_flight_recorder_has_all_blocks(reference: FinishedRun):
    """One block before the session, one at each interval, one after it."""
    text = (reference.artifacts.data_dir / "logs" / "health_snapshots.log").read_text()
    blocks = text.split("\n\n")[:-1]
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
    line = r"avg10=\d+\.\d\d avg60=\d+\.\d\d avg300=\d+\.\d\d total=\d+"
    shape = (
        rf"=== \[{time}\] Flight Recorder Snapshot ===\nUPTIME: .+\nLOAD: .+\n"
        rf"CPU_PRESSURE:(\nsome {line}\nfull {line}| UNAVAILABLE .+)\nHEALTHCHECK: (PASS|FAIL)"
    )
    for block in blocks:
        assert re.fullmatch(shape, block), block
    assert len(blocks) == 3, "before, at the one interval, after"


def test_report_has_every_section(reference: FinishedRun):
    report = reference.artifacts.report
    parts = [line.removeprefix("## ") for line in report.splitlines() if line.startswith("## ")]
    assert {
        "System state", "Healthcheck and CPU pressure", "Behaviour map", "Verification matrix", "Key log lines",
        "Results", "Ledger", "Database before and after", "Guardrails", "Conclusion",
    } <= set(parts)  # fmt: skip
    assert report.startswith(f"# Shadow run {reference.artifacts.session_id}: PASS\n")
    for gate in GATES:
        assert re.search(rf"^- \[x\] \*\*{gate}\*\* .*: PASS", report, re.MULTILINE)
    assert "| tick\\_count | 61 |" in report
    assert reference.artifacts.evidence("session")["signals"]["sha256"] in report
    assert '"message":"FINAL METRICS"' in report
    assert report.rstrip().endswith("**PASS**")


def test_stderr_ends_with_verdict_and_report_path(reference: FinishedRun):
    last = reference.process.err.splitlines()[-1]
    assert last.startswith(f"PASS: session {reference.artifacts.session_id}, report ")
    assert last.endswith("report.md")
    assert "Traceback" not in reference.process.text

"""Sealing covers every file of the evidence directory, once, also for a run that was refused."""

from __future__ import annotations

import json

import pytest

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.errors import ConfigError, EvidenceError
from hybrid_platform.evidence.bundle import ENVELOPE, MANIFEST, seal
from hybrid_platform.evidence.code_digest import strategy_sha256
from hybrid_platform.evidence.keys import create_key, load_trusted_keys
from hybrid_platform.evidence.verify import Expectations, VerifyCode, verify_bundle
from hybrid_platform.report.writer import write_reports
from hybrid_platform.security.paths import DataDir
from hybrid_platform_tests.support import run_in_process, synthetic_feed


def test_the_bundle_lists_every_file_and_its_session(bundle):
    statement = bundle.statement
    named = {subject["name"] for subject in statement["subject"]}
    there = {path.relative_to(bundle.path).as_posix() for path in bundle.path.rglob("*") if path.is_file()}
    assert named == there - {MANIFEST, ENVELOPE}
    predicate = statement["predicate"]
    assert (statement["_type"], statement["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "urn:hybrid-platform:session:v1",
    )
    assert predicate["counts"]["ticks"] == predicate["durability"]["rows_counted"]["ticks"] == 76
    assert predicate["gates"] == dict.fromkeys(("G0", "G1", "G2", "G3", "G4", "G5"), "PASS")
    assert predicate["durability"]["pragmas"]["write.journal_mode"] == "wal"
    assert len(predicate["code"]["sha256"]) == 64
    assert (
        predicate["strategy"]["sha256_before"] == predicate["strategy"]["sha256_after"] == strategy_sha256("periodic")
    )
    for moment in (predicate["times"]["first_event"], predicate["times"]["last_event"], predicate["sealed"]):
        assert set(moment) == {"wall", "monotonic_ns"}


def test_the_chain_has_the_events_that_matter(bundle):
    """Gates, heartbeats, drops, counted vetoes and the exit are in it."""
    events = [json.loads(line)["event"] for line in (bundle.path / "events.jsonl").read_text().splitlines()]
    said = [event["message"] for event in events]
    for message in ("preflight PASS", "pragma PASS", "session ended", "postflight PASS"):
        assert message in said
    beats = [event for event in events if event["message"] == "HEARTBEAT (G4)"]
    assert [beat["n"] for beat in beats] == [0, 1]
    assert all({"risk_vetoes", "bp_drops_tick", "bp_drops_persist"} <= set(beat) for beat in beats)
    ended = events[said.index("session ended")]
    assert (ended["state"], ended["exit_code"]) == ("COMPLETE", 0)
    written = {event["kind"]: event["sha256"] for event in events if event["message"] == "evidence written"}
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in bundle.statement["subject"]}
    assert {f"{kind}.json": sha256 for kind, sha256 in written.items()}.items() <= subjects.items()


@pytest.mark.scenario("G2", "G5")
def test_a_refused_run_is_sealed_too_and_its_gates_did_not_pass(tmp_path):
    run = run_in_process(tmp_path / "data", {"gates": {"cpu_pressure_limit": 0, "pressure_wait_seconds": 0}})
    assert run.code != 0
    path = tmp_path / "data/evidence" / run.session_id
    result = verify_bundle(path, load_trusted_keys(tmp_path / "data/keys"), Expectations(SystemClock().wall_ns()))
    assert result.code is VerifyCode.GATES
    assert "preflight FAIL" in result.failed[0].detail


def test_a_configured_key_signs_the_bundle(tmp_path):
    """A configured key that is wrong stops the run before anything starts."""
    signer = create_key(tmp_path / "ours.pem")
    settings = {"seconds": 0.2, "keys": {"signing_key": str(tmp_path / "ours.pem")}}
    run = run_in_process(tmp_path / "data", settings, synthetic_feed(50))
    path = tmp_path / "data/evidence" / run.session_id
    assert verify_bundle(path, load_trusted_keys(tmp_path), Expectations(0)).code is VerifyCode.VALID
    assert json.loads((path / ENVELOPE).read_text())["signatures"][0]["keyid"] == signer.keyid
    assert not (tmp_path / "data/keys").exists()
    assert str(tmp_path / "ours.pem") not in (path / "preflight.json").read_text()
    (tmp_path / "ours.pem").chmod(0o644)
    with pytest.raises(ConfigError, match=r"keys\.signing_key"):
        run_in_process(tmp_path / "other", settings, synthetic_feed(50))
    assert not (tmp_path / "other").exists()


def test_a_sealed_report_is_not_overwritten(session_of_evidence, monkeypatch):
    """A later report of the same session is written to another place."""
    data = DataDir(session_of_evidence)
    session_id = next(path.name for path in (session_of_evidence / "evidence").iterdir())
    sealed = write_reports(data, session_id)
    before = sealed.read_bytes()
    assert sealed.parent.parent.name == "evidence"
    monkeypatch.setattr("hybrid_platform.report.markdown.render_report", lambda *_: "another wording")
    other = write_reports(data, session_id)
    assert other.parent.parent.name == "reports"
    assert sealed.read_bytes() == before


def test_evidence_of_several_runs_is_not_sealed(bundle):
    """The directory is copied to another session's name: its chain does not fit."""
    data = DataDir(bundle.path.parent / "data")
    (bundle.path / ENVELOPE).unlink()
    target = bundle.path.parent / "data/evidence/20260102T030405Z-1a2b3c4d"
    target.parent.mkdir(parents=True)
    bundle.path.rename(target)
    with pytest.raises(EvidenceError, match=r"events.jsonl line 1"):
        seal(data, target.name, bundle.signer, SystemClock())
    assert not (target / ENVELOPE).exists()

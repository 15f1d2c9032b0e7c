"""Verification accepts an untouched bundle, and rejects each way of changing, removing, adding or re-signing."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from hybrid_platform.domain.contract import GATE_IDS
from hybrid_platform.evidence.bundle import ENVELOPE, MANIFEST
from hybrid_platform.evidence.chain import EVENTS
from hybrid_platform.evidence.code_digest import find_package, tree_sha256
from hybrid_platform.evidence.files import encode_record, sha256_bytes
from hybrid_platform.evidence.keys import create_key
from hybrid_platform.evidence.verify import VerifyCode
from hybrid_platform.settings.loading import load_settings, read_yaml
from hybrid_platform_tests.evidence.conftest import BundleCopy
from hybrid_platform_tests.support import REPOSITORY, merge_settings, run_cli, synthetic_feed

Tamper = Callable[[BundleCopy], None]


def lines_of(bundle: BundleCopy) -> list[bytes]:
    return (bundle.path / EVENTS).read_bytes().splitlines(keepends=True)


def put_lines(bundle: BundleCopy, lines: list[bytes]) -> None:
    (bundle.path / EVENTS).write_bytes(b"".join(lines))


def with_digests_mended(bundle: BundleCopy) -> None:
    """Sign the files as they are now: what only a signer who lies could do."""

    def change(statement: dict[str, Any]) -> None:
        for subject in statement["subject"]:
            subject["digest"]["sha256"] = sha256_bytes((bundle.path / subject["name"]).read_bytes())

    bundle.change_statement(change)


def one_byte(name: str, at: int) -> Tamper:
    def tamper(bundle: BundleCopy) -> None:
        content = bytearray((bundle.path / name).read_bytes())
        content[at] ^= 1
        (bundle.path / name).write_bytes(content)

    return tamper


def remove(name: str) -> Tamper:
    return lambda bundle: (bundle.path / name).unlink()


def add(name: str, content: bytes = b"{}\n") -> Tamper:
    def tamper(bundle: BundleCopy) -> None:
        (bundle.path / name).parent.mkdir(exist_ok=True)
        (bundle.path / name).write_bytes(content)

    return tamper


def as_link(bundle: BundleCopy) -> None:
    shutil.move(bundle.path / "session.json", bundle.path.parent / "elsewhere.json")
    (bundle.path / "session.json").symlink_to(bundle.path.parent / "elsewhere.json")


def linked_envelope(bundle: BundleCopy) -> None:
    shutil.move(bundle.path / ENVELOPE, bundle.path.parent / ENVELOPE)
    (bundle.path / ENVELOPE).symlink_to(bundle.path.parent / ENVELOPE)


def linked_folder(bundle: BundleCopy) -> None:
    (bundle.path / "elsewhere").symlink_to(bundle.path.parent)


def hard_link(bundle: BundleCopy) -> None:
    os.link(bundle.path / "pragma.json", bundle.path.parent / "again.json")


def fifo(bundle: BundleCopy) -> None:
    os.mkfifo(bundle.path / "pipe")


def other_key(bundle: BundleCopy) -> None:
    bundle.sign_again((bundle.path / MANIFEST).read_bytes(), create_key(bundle.path.parent / "mallory.pem"))


def other_key_with_our_name(bundle: BundleCopy) -> None:
    ours = bundle.signer.keyid
    other_key(bundle)
    bundle.change_envelope(lambda envelope: envelope["signatures"][0].update(keyid=ours))


def our_signature_other_keyid(bundle: BundleCopy) -> None:
    bundle.change_envelope(lambda envelope: envelope["signatures"][0].update(keyid="0" * 64))


def no_signature(bundle: BundleCopy) -> None:
    bundle.change_envelope(lambda envelope: envelope.update(signatures=[]))


def second_signature(bundle: BundleCopy) -> None:
    bundle.change_envelope(lambda envelope: envelope["signatures"].append(envelope["signatures"][0]))


def unknown_field(bundle: BundleCopy) -> None:
    bundle.change_envelope(lambda envelope: envelope.update(comment="trust me"))


def cut_signature(bundle: BundleCopy) -> None:
    bundle.change_envelope(lambda envelope: envelope["signatures"][0].update(sig=""))


def other_payload(bundle: BundleCopy) -> None:
    """A better story under the old signature."""
    better = (bundle.path / MANIFEST).read_bytes().replace(b'"trades": ', b'"trades": 9')
    bundle.change_envelope(lambda envelope: envelope.update(payload=base64.b64encode(better).decode()))
    (bundle.path / MANIFEST).write_bytes(better)


def other_payload_type(bundle: BundleCopy) -> None:
    bundle.change_envelope(lambda envelope: envelope.update(payloadType="application/json"))


def signed_as_another_type(bundle: BundleCopy) -> None:
    bundle.sign_again((bundle.path / MANIFEST).read_bytes(), kind="application/vnd.hybrid-platform.arming+json")


def loose_base64(bundle: BundleCopy) -> None:
    bundle.change_envelope(lambda envelope: envelope.update(payload=envelope["payload"] + "\n"))


def spare_bits(bundle: BundleCopy) -> None:
    """64 bytes end in ``==``, and leave four bits that a lax decoder ignores."""

    def change(envelope: dict[str, Any]) -> None:
        sig = envelope["signatures"][0]["sig"]
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        envelope["signatures"][0]["sig"] = sig[:-3] + alphabet[alphabet.index(sig[-3]) + 1] + "=="

    bundle.change_envelope(change)


def twice_the_same_key(bundle: BundleCopy) -> None:
    text = (bundle.path / ENVELOPE).read_text()
    (bundle.path / ENVELOPE).write_text(text.replace("{", '{"payloadType": "x", ', 1))


def not_json(bundle: BundleCopy) -> None:
    (bundle.path / ENVELOPE).write_bytes(b"\x80" * 100)


def deep_json(bundle: BundleCopy) -> None:
    (bundle.path / ENVELOPE).write_bytes(b"[" * 100_000)


def huge_envelope(bundle: BundleCopy) -> None:
    (bundle.path / ENVELOPE).write_bytes(b" " * (17 * 1024 * 1024))


def event_changed(bundle: BundleCopy) -> None:
    lines = lines_of(bundle)
    put_lines(bundle, [line.replace(b'"preflight PASS"', b'"preflight FAIL"') for line in lines])
    with_digests_mended(bundle)


def event_cut_out(bundle: BundleCopy) -> None:
    lines = lines_of(bundle)
    put_lines(bundle, lines[:3] + lines[4:])
    with_digests_mended(bundle)


def events_in_another_order(bundle: BundleCopy) -> None:
    lines = lines_of(bundle)
    lines[2], lines[3] = lines[3], lines[2]
    put_lines(bundle, lines)
    with_digests_mended(bundle)


def end_cut_off(bundle: BundleCopy) -> None:
    put_lines(bundle, lines_of(bundle)[:-1])
    with_digests_mended(bundle)


def no_events(bundle: BundleCopy) -> None:
    put_lines(bundle, [])
    with_digests_mended(bundle)


def gate_painted_over(bundle: BundleCopy) -> None:
    """Sign a predicate that claims more than the files show."""
    bundle.change_statement(lambda statement: statement["predicate"]["counts"].update(trades=1_000))


def record_with_nan(bundle: BundleCopy) -> None:
    bundle.replace("session.json", '"pipeline_s": ', '"pipeline_s": NaN, "was": ')
    with_digests_mended(bundle)


def record_with_two_keys(bundle: BundleCopy) -> None:
    bundle.replace("session.json", '"exit_code": 0', '"exit_code": 1, "exit_code": 0')
    with_digests_mended(bundle)


def record_of_another_kind(bundle: BundleCopy) -> None:
    bundle.replace("session.json", '"kind": "session"', '"kind": "postflight"')
    with_digests_mended(bundle)


def record_of_another_run(bundle: BundleCopy) -> None:
    run_id = bundle.statement["predicate"]["session"]["run_id"]
    bundle.replace("pragma.json", run_id, "00000000-0000-0000-0000-000000000000")
    with_digests_mended(bundle)


def subject_outside(bundle: BundleCopy) -> None:
    bundle.change_statement(lambda statement: statement["subject"][0].update(name="../keys/signing.pem"))


def subject_twice(bundle: BundleCopy) -> None:
    bundle.change_statement(lambda statement: statement["subject"].insert(0, statement["subject"][0]))


def other_predicate(bundle: BundleCopy) -> None:
    bundle.change_statement(lambda statement: statement.update(predicateType="https://slsa.dev/provenance/v1"))


def statement_with_nan(bundle: BundleCopy) -> None:
    payload = (bundle.path / MANIFEST).read_bytes().replace(b'"pipeline_s": ', b'"pipeline_s": NaN, "was": ')
    bundle.sign_again(payload)


def statement_with_two_keys(bundle: BundleCopy) -> None:
    payload = (bundle.path / MANIFEST).read_bytes().replace(b'"G2": "PASS"', b'"G2": "FAIL", "G2": "PASS"')
    bundle.sign_again(payload)


def no_manifest_but_signed(bundle: BundleCopy) -> None:
    (bundle.path / MANIFEST).write_bytes((bundle.path / MANIFEST).read_bytes() + b" ")


TAMPERED: dict[str, tuple[Tamper, str]] = {
    "one bit of a record": (one_byte("session.json", 100), "files"),
    "one bit of the report": (one_byte("report.md", 50), "files"),
    "one bit of an event": (one_byte(EVENTS, 300), "files"),
    "one bit of the manifest": (one_byte(MANIFEST, 40), "manifest"),
    "a record is missing": (remove("pragma.json"), "files"),
    "the events are missing": (remove(EVENTS), "files"),
    "the manifest is missing": (remove(MANIFEST), "manifest"),
    "the manifest is longer": (no_manifest_but_signed, "manifest"),
    "the envelope is missing": (remove(ENVELOPE), "envelope"),
    "a file more": (add("note.txt"), "files"),
    "a file more, deeper": (add("plots/equity.png"), "files"),
    "a hidden file more": (add(".hidden"), "files"),
    "a file that is a link": (as_link, "files"),
    "an envelope that is a link": (linked_envelope, "envelope"),
    "a folder that is a link": (linked_folder, "files"),
    "a file with another name elsewhere": (hard_link, "files"),
    "a named pipe": (fifo, "files"),
    "signed by a stranger": (other_key, "signature"),
    "signed by a stranger under our key's id": (other_key_with_our_name, "signature"),
    "our signature under another id": (our_signature_other_keyid, "signature"),
    "no signature": (no_signature, "envelope"),
    "a second signature": (second_signature, "envelope"),
    "an empty signature": (cut_signature, "signature"),
    "a field more in the envelope": (unknown_field, "envelope"),
    "another payload under the old signature": (other_payload, "signature"),
    "another type of payload": (other_payload_type, "signature"),
    "a signature made for another purpose": (signed_as_another_type, "signature"),
    "base64 with a line end": (loose_base64, "signature"),
    "base64 with spare bits": (spare_bits, "signature"),
    "a key twice in the envelope": (twice_the_same_key, "envelope"),
    "an envelope that is not JSON": (not_json, "envelope"),
    "an envelope of 100,000 levels": (deep_json, "envelope"),
    "an envelope of 17 MB": (huge_envelope, "envelope"),
    "an event changed, digests mended": (event_changed, "chain"),
    "an event cut out, digests mended": (event_cut_out, "chain"),
    "events in another order, digests mended": (events_in_another_order, "chain"),
    "the last event cut off, digests mended": (end_cut_off, "chain"),
    "no events, digests mended": (no_events, "chain"),
    "signed counts that the files do not say": (gate_painted_over, "records"),
    "a record with NaN, digests mended": (record_with_nan, "records"),
    "a record with a key twice, digests mended": (record_with_two_keys, "records"),
    "a record of another kind, digests mended": (record_of_another_kind, "records"),
    "a record of another run, digests mended": (record_of_another_run, "records"),
    "a subject outside the bundle": (subject_outside, "statement"),
    "a subject twice": (subject_twice, "statement"),
    "another predicate": (other_predicate, "statement"),
    "a signed NaN": (statement_with_nan, "statement"),
    "a signed key twice": (statement_with_two_keys, "statement"),
}


@pytest.mark.scenario("G5")
def test_the_bundle_of_a_session_that_passed_is_valid(bundle):
    result = bundle.verify()
    assert result.code is VerifyCode.VALID, result.failed
    assert [check.passed for check in result.checks] == [True] * len(result.checks)
    assert result.sha256 == sha256_bytes((bundle.path / MANIFEST).read_bytes())


@pytest.mark.scenario("G5")
@pytest.mark.parametrize("what", TAMPERED)
def test_a_tampered_bundle_fails_the_check_that_detects_it(bundle, what):
    tamper, seen_by = TAMPERED[what]
    tamper(bundle)
    result = bundle.verify()
    assert result.code is VerifyCode.UNTRUSTED
    assert [check.name for check in result.failed] == [seen_by], result.failed
    assert (result.sha256, result.key, result.predicate) == (None, None, {})


def test_there_are_at_least_twenty_ways_to_tamper():
    assert len(TAMPERED) >= 20


def test_checks_after_a_failed_one_are_not_judged(bundle):
    other_key(bundle)
    judged = {check.name: check.passed for check in bundle.verify(max_age_s=1e9).checks}
    assert judged["envelope"] is True
    assert judged["signature"] is False
    assert {judged[name] for name in ("statement", "files", "chain", "records", "gates", "age")} == {None}


def test_the_payload_is_not_parsed_before_its_signature(bundle):
    payload = base64.b64encode(b"[" * 1_000_000).decode()
    bundle.change_envelope(lambda envelope: envelope.update(payload=payload))
    assert [check.name for check in bundle.verify().failed] == ["signature"]


def test_without_a_pinned_key_nothing_is_trusted(bundle, tmp_path):
    (tmp_path / "none").mkdir()
    bundle.keys = tmp_path / "none"
    assert bundle.verify().code is VerifyCode.UNTRUSTED


def test_files_that_are_not_keys_are_ignored_and_listed(bundle, tmp_path):
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "rubbish.pub").write_text("ssh-ed25519 AAAA stranger")
    (keys / "notes.txt").write_text("never read")
    bundle.keys = keys
    assert "rubbish.pub" in bundle.verify().failed[0].detail


@pytest.mark.scenario("G5")
@pytest.mark.parametrize("gate", GATE_IDS)
def test_a_failed_gate_and_a_forgery_exit_differently(bundle, gate):
    text = (bundle.path / "postflight.json").read_text()
    record = json.loads(text)
    for proof in record["proofs"]:
        if proof["id"] == gate:
            proof["verdict"] = "FAIL"
    (bundle.path / "postflight.json").write_bytes(encode_record(record))
    with_digests_mended(bundle)
    bundle.change_statement(lambda statement: statement["predicate"]["gates"].update({gate: "FAIL"}))
    result = bundle.verify(max_age_s=-1.0, trading_sha256="0")
    assert result.code is VerifyCode.GATES
    assert f"{gate} FAIL" in next(check.detail for check in result.checks if check.name == "gates")


def test_a_gate_more_or_less_than_the_exact_set_does_not_pass(bundle):
    record = json.loads((bundle.path / "postflight.json").read_text())
    record["proofs"] = [proof for proof in record["proofs"] if proof["id"] != "G3"]
    (bundle.path / "postflight.json").write_bytes(encode_record(record))
    with_digests_mended(bundle)
    bundle.change_statement(lambda statement: statement["predicate"]["gates"].pop("G3"))
    assert "G3 missing" in bundle.verify().failed[0].detail


def test_age_settings_and_code_are_compared_with_the_expected(bundle):
    predicate = bundle.statement["predicate"]
    right = {
        "max_age_s": 86_400.0,
        "trading_sha256": predicate["config"]["trading_sha256"],
        "code_sha256": predicate["code"]["sha256"],
    }
    assert bundle.verify(**right).code is VerifyCode.VALID
    assert bundle.verify(**right | {"max_age_s": 0.0}).code is VerifyCode.STALE
    assert bundle.verify(**right | {"trading_sha256": "0" * 64}).code is VerifyCode.MISMATCH
    assert bundle.verify(**right | {"code_sha256": "0" * 64}).code is VerifyCode.MISMATCH
    assert bundle.verify(max_age_s=0.0, code_sha256="0").code is VerifyCode.STALE


def test_differing_settings_are_listed_by_key(bundle):
    found = json.loads((bundle.path / "preflight.json").read_text())["settings"]
    asked = {"strategy": found["strategy"] | {"params": {"every": 10}}, "default": 1}
    (check,) = bundle.verify(trading_sha256="0" * 64, settings=asked).failed
    assert check.detail.startswith(
        "default: expected 1, got null; strategy.params.every: expected 10, got not stated: "
    )
    assert "trading_sha256 0000" in check.detail


def test_the_spelled_out_reference_run_equals_the_default():
    spelled = load_settings(read_yaml(REPOSITORY / "run_configs/reference.yaml"), environ={})
    nothing = load_settings({}, environ={})
    assert (spelled.config_sha256, spelled.trading_sha256) == (nothing.config_sha256, nothing.trading_sha256)


def test_a_bundle_from_the_future_is_stale(bundle):
    bundle.change_statement(
        lambda statement: statement["predicate"]["sealed"].update(wall="2999-01-01T00:00:00.000000Z")
    )
    assert bundle.verify().code is VerifyCode.VALID
    assert bundle.verify(max_age_s=1e12).code is VerifyCode.STALE


def test_the_command_prints_each_check_and_exits_by_verdict(bundle, tmp_path):
    keys = str(bundle.keys)
    good = run_cli(tmp_path, "verify", str(bundle.path), "--trusted-keys", keys)
    assert good.code == 0
    assert [line.split()[:2] for line in good.out.splitlines()[:3]] == [
        ["PASS", "envelope"],
        ["PASS", "signature"],
        ["PASS", "statement"],
    ]
    settings = merge_settings({"seconds": 99, "heartbeat": {"interval_seconds": 1}}, synthetic_feed(50))
    assert (
        load_settings(settings, environ={}).trading_sha256 == bundle.statement["predicate"]["config"]["trading_sha256"]
    )
    matching = run_cli(
        tmp_path, "verify", str(bundle.path), "--trusted-keys", keys, "--max-age", "7d", settings=settings
    )
    assert matching.code == 0, matching.text
    other = run_cli(
        tmp_path, "verify", str(bundle.path), "--trusted-keys", keys, settings=merge_settings(synthetic_feed(51))
    )
    assert other.code == 4
    assert "config     feed.synthetic.ticks_per_second: expected 51" in other.out
    stale = run_cli(
        tmp_path, "verify", str(bundle.path / ENVELOPE), "--trusted-keys", keys, "--max-age", "0s", "--json"
    )
    assert (stale.code, json.loads(stale.out)["verdict"]) == (3, "STALE")
    (bundle.path / "report.md").write_text("all is well")
    assert run_cli(tmp_path, "verify", str(bundle.path), "--trusted-keys", keys).code == 2
    usage = run_cli(tmp_path, "verify", str(bundle.path), "--trusted-keys", keys, "--max-age", "soon")
    assert (usage.code, "90s, 30m" in usage.err) == (64, True)


def test_compiled_caches_do_not_change_the_code_digest(tmp_path):
    copy = tmp_path / "checkout"
    shutil.copytree(REPOSITORY / "hybrid_platform", copy / "hybrid_platform")
    before = tree_sha256(find_package(copy))
    (copy / "hybrid_platform" / "__pycache__").mkdir(exist_ok=True)
    (copy / "hybrid_platform" / "__pycache__" / "x.pyc").write_bytes(b"cache")
    assert tree_sha256(find_package(copy / "hybrid_platform")) == before
    with (copy / "hybrid_platform" / "config.py").open("a") as file:
        file.write("\n")
    assert tree_sha256(find_package(copy)) != before


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_openssl_verifies_the_signature(bundle, tmp_path):
    """The commands in docs/evidence.md for an auditor who has only openssl."""
    envelope = json.loads((bundle.path / ENVELOPE).read_text())
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    (tmp_path / "signed").write_bytes(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload))
    (tmp_path / "signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    key = next(bundle.keys.glob("signing-*.pub"))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(key), "-rawin"]
    command += ["-in", str(tmp_path / "signed"), "-sigfile", str(tmp_path / "signature")]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    (tmp_path / "signed").write_bytes(b"x")
    assert subprocess.run(command, check=False, capture_output=True).returncode != 0

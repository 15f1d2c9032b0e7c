"""Tests of real sandboxed children: a clean start, readings from outside at both ends, and how they end (I1)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hybrid_platform.domain.errors import ConfigError, IsolationError
from hybrid_platform.domain.isolation import Enforced, Kind
from hybrid_platform.sandbox import _linux, landlock, seccomp
from hybrid_platform.sandbox.bpf import Filter
from hybrid_platform.sandbox.spawn import KEPT_ENVIRONMENT, SpawnOptions, spawn
from hybrid_platform_tests.sandbox.conftest import needs_landlock, needs_linux, needs_seccomp, spawn_action

TIMEOUT_S = 60.0


def read_answer(running) -> object:
    return json.loads(os.read(running.pipes["up"], 65_536))


def run(action: str, **options):
    """Run a child to its end; return its answer and the evidence."""
    with spawn_action(action, **options) as running:
        running.close_out(TIMEOUT_S)
        return read_answer(running), running.evidence()


@needs_seccomp
@needs_landlock
@pytest.mark.scenario("I1")
def test_an_honest_strategy_computes_without_attempts():
    answer, evidence = run("honest")
    assert answer == 2.0
    assert evidence.enforced is Enforced.KERNEL_PROCESS, evidence.why
    assert evidence.why == ()
    assert evidence.denied == ()
    assert evidence.ending == "exited with 0"
    assert evidence.filter_sha256 == Filter(_linux.machine(), notify=evidence.kernel_counts).sha256
    for reading in (evidence.start, evidence.end):
        assert reading.sockets == 0
        assert all(thread.is_filtered and int(thread.capabilities, 16) == 0 for thread in reading.threads)
    assert len(evidence.end.threads) > len(evidence.start.threads)
    for selftest in (evidence.selftest_start, evidence.selftest_end):
        assert selftest.held and len(selftest.attempts) > 100


@needs_seccomp
@pytest.mark.scenario("I1")
def test_an_attempt_is_denied_counted_and_attributed():
    answer, evidence = run("rogue")
    assert answer == [1]
    kernel = [entry for entry in evidence.denied if entry.source == "kernel"]
    hook = [entry for entry in evidence.denied if entry.source == "audit-hook"]
    if evidence.kernel_counts:
        assert [(entry.kind, entry.name, entry.stage, entry.count) for entry in kernel] == [
            (Kind.SOCKET, "socket", "strategy", 1)
        ]
    assert [(entry.kind, entry.name, entry.stage, entry.count) for entry in hook] == [
        (Kind.SOCKET, "socket.__new__", "strategy", 1)
    ]
    assert evidence.enforced is Enforced.KERNEL_PROCESS  # a denied attempt does not weaken the sandbox


@needs_linux
@pytest.mark.scenario("I1")
def test_a_dishonest_child_is_exposed():
    with spawn("hybrid_platform_tests.sandbox.dishonest_child", SpawnOptions()) as running:
        running.close_out(TIMEOUT_S)
        evidence = running.evidence()
    assert evidence.enforced is Enforced.AUDIT_HOOK_ONLY
    assert not evidence.control.network
    for words in ("nothing was heard", "is not under a filter", "sockets 1 held"):
        assert any(words in why for why in evidence.why), evidence.why


@needs_seccomp
@pytest.mark.scenario("I1")
def test_forged_closing_messages_are_rejected():
    _, evidence = run("forge")
    assert [(entry.source, entry.name, entry.stage) for entry in evidence.denied] == [
        ("audit-hook", "socket.connect", "?b???31m" * 4)
    ]
    assert evidence.enforced is Enforced.AUDIT_HOOK_ONLY
    assert evidence.why == ("end: the self-test tried nothing",)


@needs_seccomp
def test_an_uncaught_error_is_not_an_attempt():
    answer, evidence = run("careless")
    assert answer == "continued"
    assert evidence.denied == ()


@needs_linux
@pytest.mark.scenario("I1")
def test_a_child_holds_only_its_pipes(tmp_path):
    with socket.socket() as endpoint, (tmp_path / "spare").open("w") as spare:
        for inherited in (endpoint, spare):
            os.set_inheritable(inherited.fileno(), True)
        _, evidence = run("look_around")
    assert [entry.split()[1] for entry in evidence.start.descriptors] == ["device"] * 3 + ["pipe"] * 3


@pytest.mark.scenario("I1")
def test_a_child_gets_no_secret_of_the_environment(monkeypatch):
    monkeypatch.setenv("EXCHANGE_TOKEN", "a-token")
    monkeypatch.setenv("PYTHONSTARTUP", "evil.py")
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("TZ", "UTC")
    answer, _ = run("look_around", environment={"OMP_NUM_THREADS": "1"})
    assert set(answer["environment"]) <= {*KEPT_ENVIRONMENT, "PYTHONHASHSEED", "HOME", "LOGNAME", "OMP_NUM_THREADS"}
    assert answer["environment"]["TZ"] == "UTC" and answer["environment"]["OMP_NUM_THREADS"] == "1"
    assert answer["leader"] and not answer["dumps"]


@pytest.mark.scenario("S8")
def test_children_share_hash_seed_and_import_path(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(tmp_path), "", *sys.path])
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    first, second = run("look_around")[0], run("look_around", own_network=False)[0]
    assert first["hash"] == second["hash"]
    assert first["path"][:2] == [str(tmp_path), str(Path.cwd())]


def test_pipes_carry_bytes_until_one_is_closed():
    with spawn_action("echo", pipes_to_child=("ticks",)) as running:
        os.write(running.pipes["ticks"], b"tick by tick")
        running.close_pipe("ticks")
        running.close_out(TIMEOUT_S)
        assert read_answer(running) == "tick by tick"
        assert running.wait(TIMEOUT_S) == 0


@needs_seccomp
@pytest.mark.scenario("I1")
@pytest.mark.parametrize(
    ("action", "ending"),
    [("kill_itself", "killed by SIGKILL before"), ("leave_early", "exited with 3 before")],
)
def test_evidence_tells_how_a_child_died(action, ending):
    with spawn_action(action) as running:
        running.close_out(TIMEOUT_S)
        evidence = running.evidence()
    assert evidence.ending.startswith(ending)
    assert evidence.end is None and evidence.selftest_end is None
    assert evidence.start.sockets == 0


def test_a_hanging_child_is_killed():
    running = spawn_action("hang")
    assert os.read(running.pipes["up"], 100) == b"running"
    assert running.wait(0.01) is None
    running.close_out(0.05)
    assert running.evidence().ending.startswith("still running before the closing self-test")
    running.close()
    running.close()
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)


def test_a_child_killed_from_outside_is_evidence():
    with spawn_action("hang") as running:
        os.read(running.pipes["up"], 100)
        os.kill(running.pid, signal.SIGKILL)
        running.close_out(TIMEOUT_S)
        assert running.evidence().ending.startswith("killed by SIGKILL")


@pytest.mark.parametrize("module", ["hybrid_platform_tests.no_such_module", "this", "json.tool"])
def test_a_main_module_must_enter_the_sandbox(module):
    with pytest.raises(IsolationError, match="did not start"):
        spawn(module, SpawnOptions(timeout_s=20))


@pytest.mark.scenario("I1")
def test_an_output_that_is_a_socket_or_a_file_is_refused(tmp_path):
    with socket.socket() as endpoint, pytest.raises(IsolationError, match="got a socket"):
        spawn_action("careless", output=endpoint.fileno())
    with (tmp_path / "log").open("wb") as log, pytest.raises(IsolationError, match="got a file"):
        spawn_action("careless", output=log.fileno())


def test_code_in_a_private_directory_is_refused_at_start(tmp_path):
    with pytest.raises(ConfigError, match="stays closed"):
        spawn("mine", SpawnOptions(code=[tmp_path / "mine.py"], private=[tmp_path]))


def test_a_missing_private_directory_is_an_error(tmp_path):
    with pytest.raises(IsolationError, match="to put the canary in"):
        spawn_action("careless", private=[tmp_path / "missing"])


@needs_landlock
def test_the_canary_is_removed_afterwards(tmp_path):
    _, evidence = run("careless", private=[tmp_path])
    assert evidence.control.file
    assert list(tmp_path.iterdir()) == []


def test_output_of_a_child_goes_to_its_pipe():
    read, write = os.pipe()
    try:
        run("careless", output=write)
        assert b"ZeroDivisionError" in os.read(read, 65_536)
    finally:
        os.close(read)
        os.close(write)


@needs_linux
@pytest.mark.scenario("I1")
@pytest.mark.parametrize("wanted", [True, False])
def test_a_network_namespace_is_optional_and_read_back(wanted):
    _, evidence = run("careless", own_network=wanted)
    refused = any("network namespace" in fault for fault in evidence.faults)
    assert evidence.start.own_network is (wanted and not refused)
    if seccomp.is_available() and landlock.read_abi():
        assert evidence.enforced is Enforced.KERNEL_PROCESS


ORPHAN = """
import os, sys
from hybrid_platform.sandbox import process
from hybrid_platform.sandbox.spawn import spawn
from hybrid_platform_tests.sandbox.conftest import spawn_action
running = spawn_action("hang", hide_parent=True)
os.read(running.pipes["up"], 100)
print(running.pid, process.is_dumpable(), running.evidence().enforced, flush=True)
os.kill(os.getpid(), 9)
"""


@needs_linux
@pytest.mark.scenario("I1")
def test_a_child_dies_with_its_hidden_parent():
    done = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid, dumpable, enforced = done.stdout.split()
    assert dumpable == "False"
    if seccomp.is_available() and landlock.read_abi():
        assert enforced == "kernel-process"
    for _ in range(600):
        if not Path(f"/proc/{pid}").exists() or "Z (zombie)" in Path(f"/proc/{pid}/status").read_text():
            break
        time.sleep(0.05)
    else:
        pytest.fail(f"child {pid} outlived its parent")

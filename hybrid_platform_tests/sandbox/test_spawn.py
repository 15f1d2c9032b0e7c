"""Real guarded children: clean at the start, read back from outside at both ends, honest about how they end (I1)."""

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


def said_by(running) -> object:
    return json.loads(os.read(running.pipes["up"], 65_536))


def run(action: str, **options):
    """Run a child to its end; return what it said and the evidence."""
    with spawn_action(action, **options) as running:
        running.close_out(TIMEOUT_S)
        return said_by(running), running.evidence()


@needs_seccomp
@needs_landlock
@pytest.mark.scenario("I1")
def test_an_honest_strategy_computes_and_is_accused_of_nothing():
    said, evidence = run("honest")
    assert said == 2.0
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
def test_an_attempt_is_denied_counted_by_the_kernel_and_attributed():
    said, evidence = run("rogue")
    assert said == [1]
    kernel = [entry for entry in evidence.denied if entry.source == "kernel"]
    hook = [entry for entry in evidence.denied if entry.source == "audit-hook"]
    if evidence.kernel_counts:
        assert [(entry.kind, entry.name, entry.stage, entry.count) for entry in kernel] == [
            (Kind.SOCKET, "socket", "strategy", 1)
        ]
    assert [(entry.kind, entry.name, entry.stage, entry.count) for entry in hook] == [
        (Kind.SOCKET, "socket.__new__", "strategy", 1)
    ]
    assert evidence.enforced is Enforced.KERNEL_PROCESS  # denied is not broken


@needs_linux
@pytest.mark.scenario("I1")
def test_a_child_that_says_it_is_guarded_is_not_believed():
    with spawn("hybrid_platform_tests.sandbox.dishonest_child", SpawnOptions()) as running:
        running.close_out(TIMEOUT_S)
        evidence = running.evidence()
    assert evidence.enforced is Enforced.AUDIT_HOOK_ONLY
    assert not evidence.control.network
    for words in ("nothing was heard", "is not under a filter", "sockets 1 held"):
        assert any(words in why for why in evidence.why), evidence.why


@needs_seccomp
@pytest.mark.scenario("I1")
def test_what_a_strategy_forges_at_the_end_is_not_taken():
    _, evidence = run("forge")
    assert [(entry.source, entry.name, entry.stage) for entry in evidence.denied] == [
        ("audit-hook", "socket.connect", "?b???31m" * 4)
    ]
    assert evidence.enforced is Enforced.AUDIT_HOOK_ONLY
    assert evidence.why == ("end: the self-test tried nothing",)


@needs_seccomp
def test_an_uncaught_error_is_no_attempt():
    said, evidence = run("careless")
    assert said == "went on"
    assert evidence.denied == ()


@needs_linux
@pytest.mark.scenario("I1")
def test_a_child_holds_its_pipes_and_nothing_else(tmp_path):
    with socket.socket() as endpoint, (tmp_path / "spare").open("w") as spare:
        for inherited in (endpoint, spare):
            os.set_inheritable(inherited.fileno(), True)
        _, evidence = run("look_around")
    assert [entry.split()[1] for entry in evidence.start.descriptors] == ["device"] * 3 + ["pipe"] * 3


@pytest.mark.scenario("I1")
def test_no_secret_of_the_environment_reaches_a_child(monkeypatch):
    monkeypatch.setenv("EXCHANGE_TOKEN", "a-token")
    monkeypatch.setenv("PYTHONSTARTUP", "evil.py")
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("TZ", "UTC")
    said, _ = run("look_around", environment={"OMP_NUM_THREADS": "1"})
    assert set(said["environment"]) <= {*KEPT_ENVIRONMENT, "PYTHONHASHSEED", "HOME", "LOGNAME", "OMP_NUM_THREADS"}
    assert said["environment"]["TZ"] == "UTC" and said["environment"]["OMP_NUM_THREADS"] == "1"
    assert said["leader"] and not said["dumps"]


@pytest.mark.scenario("S8")
def test_two_children_hash_alike_and_import_what_their_parent_could(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(tmp_path), "", *sys.path])
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    first, second = run("look_around")[0], run("look_around", own_network=False)[0]
    assert first["hash"] == second["hash"]
    assert first["path"][:2] == [str(tmp_path), str(Path.cwd())]


def test_pipes_carry_bytes_down_and_up_until_one_is_closed():
    with spawn_action("echo", pipes_to_child=("ticks",)) as running:
        os.write(running.pipes["ticks"], b"tick by tick")
        running.close_pipe("ticks")
        running.close_out(TIMEOUT_S)
        assert said_by(running) == "tick by tick"
        assert running.wait(TIMEOUT_S) == 0


@needs_seccomp
@pytest.mark.scenario("I1")
@pytest.mark.parametrize(
    ("action", "ending"),
    [("kill_itself", "killed by SIGKILL before"), ("leave_early", "exited with 3 before")],
)
def test_a_child_that_dies_leaves_evidence_that_says_so(action, ending):
    with spawn_action(action) as running:
        running.close_out(TIMEOUT_S)
        evidence = running.evidence()
    assert evidence.ending.startswith(ending)
    assert evidence.end is None and evidence.selftest_end is None
    assert evidence.start.sockets == 0


def test_a_child_that_hangs_is_given_up_and_killed():
    running = spawn_action("hang")
    assert os.read(running.pipes["up"], 100) == b"running"
    assert running.wait(0.01) is None
    running.close_out(0.05)
    assert running.evidence().ending.startswith("still running before the closing self-test")
    running.close()
    running.close()
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)


def test_a_child_killed_from_outside_is_no_error_here():
    with spawn_action("hang") as running:
        os.read(running.pipes["up"], 100)
        os.kill(running.pid, signal.SIGKILL)
        running.close_out(TIMEOUT_S)
        assert running.evidence().ending.startswith("killed by SIGKILL")


@pytest.mark.parametrize("module", ["hybrid_platform_tests.no_such_module", "this", "json.tool"])
def test_a_main_module_that_does_not_enter_is_an_error_and_leaves_no_process(module):
    with pytest.raises(IsolationError, match="did not start"):
        spawn(module, SpawnOptions(timeout_s=20))


@pytest.mark.scenario("I1")
def test_an_output_that_is_a_socket_or_a_file_is_refused(tmp_path):
    with socket.socket() as endpoint, pytest.raises(IsolationError, match="got a socket"):
        spawn_action("careless", output=endpoint.fileno())
    with (tmp_path / "log").open("wb") as log, pytest.raises(IsolationError, match="got a file"):
        spawn_action("careless", output=log.fileno())


def test_code_in_a_private_directory_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(ConfigError, match="stays closed"):
        spawn("mine", SpawnOptions(code=[tmp_path / "mine.py"], private=[tmp_path]))


def test_a_private_directory_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(IsolationError, match="to put the canary in"):
        spawn_action("careless", private=[tmp_path / "missing"])


@needs_landlock
def test_the_canary_is_gone_afterwards(tmp_path):
    _, evidence = run("careless", private=[tmp_path])
    assert evidence.control.file
    assert list(tmp_path.iterdir()) == []


def test_what_a_child_prints_goes_down_the_pipe_it_was_given():
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
def test_a_network_namespace_is_read_back_and_not_required(wanted):
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
def test_a_child_dies_with_its_parent_which_hid_itself():
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

"""Tests on hosts with fewer facilities: each runs the child and claims only what was read back (I1)."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from hybrid_platform.domain.isolation import Enforced, IsolationEvidence
from hybrid_platform.sandbox import seccomp
from hybrid_platform_tests.sandbox.conftest import needs_landlock, needs_seccomp


def host_without(*missing: str) -> IsolationEvidence:
    module = "hybrid_platform_tests.sandbox.limited_host"
    done = subprocess.run([sys.executable, "-m", module, *missing], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return msgspec.json.decode(done.stdout, type=IsolationEvidence)


@needs_seccomp
@needs_landlock
@pytest.mark.scenario("I1")
def test_without_landlock_the_network_is_still_closed():
    evidence = host_without("landlock")
    assert evidence.enforced is Enforced.KERNEL_NETWORK_ONLY
    assert evidence.landlock.abi == 0
    assert "no Landlock" in evidence.why[0]
    assert evidence.selftest_start.held


@needs_seccomp
@pytest.mark.scenario("I1")
def test_without_seccomp_only_the_audit_hook_remains():
    evidence = host_without("seccomp")
    assert evidence.enforced is Enforced.AUDIT_HOOK_ONLY
    assert evidence.filter_sha256 is None and not evidence.kernel_counts
    assert evidence.why == ("seccomp: no filter could be loaded",)
    assert any(fault.startswith("seccomp: ") for fault in evidence.faults)


@needs_seccomp
@needs_landlock
@pytest.mark.scenario("I1")
def test_without_namespaces_the_filter_is_enough():
    evidence = host_without("unshare")
    assert evidence.enforced is Enforced.KERNEL_PROCESS
    assert evidence.start.own_network is False
    assert any("network namespace" in fault for fault in evidence.faults)


@needs_seccomp
@needs_landlock
@pytest.mark.scenario("I1")
def test_without_pidfd_getfd_the_filter_answers_itself():
    evidence = host_without("pidfd_getfd")
    assert evidence.enforced is Enforced.KERNEL_PROCESS
    assert not evidence.kernel_counts


@pytest.mark.scenario("I1")
def test_an_unknown_system_has_audit_hook_only():
    evidence = host_without("riscv64")
    assert evidence.enforced is Enforced.AUDIT_HOOK_ONLY
    assert evidence.machine is None
    assert evidence.ending == "exited with 0"
    assert "no filter for this system" in evidence.why[0]


@pytest.mark.skipif(seccomp.is_available(), reason="this host has seccomp")
def test_this_host_without_seccomp_has_audit_hook_only():
    assert host_without().enforced is Enforced.AUDIT_HOOK_ONLY

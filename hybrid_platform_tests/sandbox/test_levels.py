"""Tests of the level: it follows from the readings, and each broken reading lowers it and is named (I1)."""

from __future__ import annotations

import msgspec
import pytest

from hybrid_platform.domain.isolation import (
    Attempt,
    Enforced,
    IsolationEvidence,
    Kind,
    LandlockStatus,
    PositiveControl,
    Reading,
    SelfTest,
    ThreadStatus,
)
from hybrid_platform.sandbox.levels import decide_level

FILTERED = ThreadStatus(tid=7, name="strategy", no_new_privs=True, seccomp=2, filters=1, capabilities="0")
READING = Reading(threads=(FILTERED,), sockets=0, descriptors=("0 device", "3 pipe"), own_network=True)
CONNECT = Attempt("connect", Kind.SOCKET, "EPERM", "EPERM")
READ = Attempt("read a private file", Kind.FILE, "EACCES", "EACCES")
SELFTEST = SelfTest((CONNECT, READ))
WHOLE = IsolationEvidence(
    requested="process",
    enforced=Enforced.NONE,
    why=(),
    machine="x86_64",
    filter_sha256="ab" * 32,
    kernel_counts=True,
    control=PositiveControl(network=True, file=True),
    landlock=LandlockStatus(abi=7, handled_fs=0xFFFF, handled_net=3, scoped=3, all_threads=True),
    start=READING,
    end=READING,
    selftest_start=SELFTEST,
    selftest_end=SELFTEST,
    ending="exited with 0",
)


def replace(record, **changes):
    return msgspec.structs.replace(record, **changes)


@pytest.mark.scenario("I1")
def test_all_readings_give_kernel_process():
    assert decide_level(WHOLE, hook_alive=True) == (Enforced.KERNEL_PROCESS, ())


NETWORK_BREAKS = {
    "seccomp: no filter for this system": {"machine": None, "filter_sha256": None},
    "seccomp: no filter could be loaded": {"filter_sha256": None},
    "positive control": {"control": PositiveControl(network=False, file=True, detail="nothing was heard")},
    "start: nothing was read back": {"start": None},
    "end: nothing was read back": {"end": None},
    "start: no thread's status": {"start": replace(READING, threads=())},
    "end: no thread's status": {"end": replace(READING, threads=None)},
    "thread 7 (strategy) is not under a filter": {
        "end": replace(READING, threads=(FILTERED, replace(FILTERED, seccomp=0)))
    },
    "start: thread 7": {"start": replace(READING, threads=(replace(FILTERED, no_new_privs=False),))},
    "sockets 1 held": {"start": replace(READING, sockets=1)},
    "sockets could not be counted": {"end": replace(READING, sockets=None)},
    "the listener heard 2": {"selftest_end": replace(SELFTEST, heard=2)},
    "connect: expected EPERM, got OK": {"selftest_start": SelfTest((replace(CONNECT, outcome="OK"), READ))},
    "connect: expected EPERM, got ENETUNREACH": {
        "selftest_end": SelfTest((replace(CONNECT, outcome="ENETUNREACH"), READ))
    },
    "the self-test tried nothing": {"selftest_start": SelfTest(())},
}


@pytest.mark.scenario("I1")
@pytest.mark.parametrize("words", NETWORK_BREAKS)
def test_each_broken_reading_lowers_the_level(words):
    broken = replace(WHOLE, **NETWORK_BREAKS[words])
    enforced, why = decide_level(broken, hook_alive=True)
    assert enforced is Enforced.AUDIT_HOOK_ONLY
    assert any(words in reason for reason in why), why
    assert decide_level(broken, hook_alive=False)[0] is Enforced.NONE


FILE_BREAKS = {
    "not available": {"landlock": LandlockStatus(abi=0)},
    "the kernel said no": {"landlock": LandlockStatus(abi=7, error="the kernel said no")},
    "other threads ran": {"landlock": replace(WHOLE.landlock, all_threads=False)},
    "the canary was not read": {"control": PositiveControl(network=True, file=False)},
    "start: no file was tried": {"selftest_start": SelfTest((CONNECT,))},
    "expected EACCES, got OK": {"selftest_end": SelfTest((CONNECT, replace(READ, outcome="OK")))},
}


@pytest.mark.scenario("I1")
@pytest.mark.parametrize("words", FILE_BREAKS)
def test_each_landlock_gap_leaves_network_only(words):
    enforced, why = decide_level(replace(WHOLE, **FILE_BREAKS[words]), hook_alive=True)
    assert enforced is Enforced.KERNEL_NETWORK_ONLY
    assert any(words in reason for reason in why), why


@pytest.mark.scenario("I1")
def test_a_killed_process_keeps_its_level():
    # No filter can be removed; `end` and `ending` show that there is no reading at the end.
    killed = replace(WHOLE, end=None, selftest_end=None, ending="killed by SIGKILL")
    assert decide_level(killed, hook_alive=True)[0] is Enforced.KERNEL_PROCESS


@pytest.mark.scenario("I1")
def test_threads_reach_at_most_kernel_thread():
    enforced, why = decide_level(replace(WHOLE, requested="thread", start=replace(READING, sockets=5)), hook_alive=True)
    assert enforced is Enforced.KERNEL_THREAD
    assert "another of its threads" in why[0]
    assert (
        decide_level(replace(WHOLE, requested="thread", filter_sha256=None), hook_alive=True)[0]
        is Enforced.AUDIT_HOOK_ONLY
    )


def test_the_evidence_survives_json():
    assert msgspec.json.decode(msgspec.json.encode(WHOLE), type=IsolationEvidence) == WHOLE

"""Tests with attacks: each gets out without a sandbox, none from a process, and only known ones from a thread (I1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_platform.domain.isolation import Enforced
from hybrid_platform_tests.sandbox.attacks.catalogue import ATTACKS
from hybrid_platform_tests.sandbox.attacks.runner import AttackRunner
from hybrid_platform_tests.sandbox.conftest import needs_landlock, needs_seccomp

pytestmark = [needs_seccomp, needs_landlock, pytest.mark.scenario("I1")]
NEEDS_MORE = {"requests_get", "curl_child", "bash_dev_tcp", "dns", "io_uring", "linux_aio", "i386_numbers"}
"""A host may lack the program, library or kernel option; on other hosts they must work without a sandbox."""
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "isolation.md"


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    made = AttackRunner(tmp_path_factory.mktemp("attacks"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def unconfined(runner):
    """Name → whether the attack gets out without a sandbox, which is its positive control."""
    return {attack.name: runner.run(attack, "nothing").got_out for attack in ATTACKS}


@pytest.fixture
def attack(request, unconfined):
    """An attack that works on this host; any other would prove nothing."""
    if not unconfined[request.param.name]:
        assert request.param.name in NEEDS_MORE, "an attack that works nowhere proves nothing"
        pytest.skip("does not work on this host even without a sandbox")
    return request.param


def each(*, thread: bool = False):
    known = pytest.mark.xfail(strict=True, reason="known leak: the stages share the host process")
    return [
        pytest.param(attack, id=attack.name, marks=[known] if thread and attack.leaks_under_thread else [])
        for attack in ATTACKS
    ]


@pytest.mark.parametrize("attack", each(), indirect=True)
def test_a_sandboxed_process_has_no_leak(attack, runner):
    outcome = runner.run(attack, "process")
    assert not outcome.got_out, outcome.result
    assert outcome.evidence.enforced is Enforced.KERNEL_PROCESS, outcome.evidence.why
    assert outcome.evidence.end is not None, "the closing self-test did not run"


@pytest.mark.parametrize("attack", each(thread=True), indirect=True)
def test_a_sandboxed_thread_has_only_known_leaks(attack, runner):
    outcome = runner.run(attack, "thread")
    assert outcome.evidence.enforced is Enforced.KERNEL_THREAD, outcome.evidence.why
    assert not outcome.got_out, outcome.result


@pytest.mark.parametrize("attack", [pytest.param(attack, id=attack.name) for attack in ATTACKS], indirect=True)
def test_the_documented_table_is_true(attack):
    row = f"| `{attack.name}` | got out | {'got out' if attack.leaks_under_thread else 'held'} | held |"
    assert row in DOCUMENT.read_text(encoding="utf-8")

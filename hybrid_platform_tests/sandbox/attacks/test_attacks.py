"""The attack suite: what gets out without a guard is held by the process, and the threads' leaks are known (I1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_platform.domain.isolation import Enforced
from hybrid_platform_tests.sandbox.attacks.catalogue import ATTACKS
from hybrid_platform_tests.sandbox.attacks.runner import AttackRunner
from hybrid_platform_tests.sandbox.conftest import needs_landlock, needs_seccomp

pytestmark = [needs_seccomp, needs_landlock, pytest.mark.scenario("I1")]
NEEDS_MORE = {"requests_get", "curl_child", "bash_dev_tcp", "dns", "io_uring", "linux_aio", "i386_numbers"}
"""A host may lack the program, the library or the kernel's option; anywhere else they must work unguarded."""
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "isolation.md"


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    made = AttackRunner(tmp_path_factory.mktemp("stand"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def unguarded(stand):
    """Name → whether the attack gets out without a guard: the positive control of each."""
    return {attack.name: stand.run(attack, "nothing").got_out for attack in ATTACKS}


@pytest.fixture
def attack(request, unguarded):
    """An attack that works on this host; one that cannot would prove nothing."""
    if not unguarded[request.param.name]:
        assert request.param.name in NEEDS_MORE, "an attack that works nowhere shows nothing"
        pytest.skip("does not get out of this host even without a guard")
    return request.param


def each(*, thread: bool = False):
    known = pytest.mark.xfail(strict=True, reason="known leak: the stages share the op's process")
    return [
        pytest.param(attack, id=attack.name, marks=[known] if thread and attack.leaks_under_thread else [])
        for attack in ATTACKS
    ]


@pytest.mark.parametrize("attack", each(), indirect=True)
def test_a_guarded_process_lets_nothing_out(attack, stand):
    outcome = stand.run(attack, "process")
    assert not outcome.got_out, outcome.result
    assert outcome.evidence.enforced is Enforced.KERNEL_PROCESS, outcome.evidence.why
    assert outcome.evidence.end is not None, "the closing self-test did not run"


@pytest.mark.parametrize("attack", each(thread=True), indirect=True)
def test_a_guarded_thread_lets_nothing_out_but_what_is_known(attack, stand):
    outcome = stand.run(attack, "thread")
    assert outcome.evidence.enforced is Enforced.KERNEL_THREAD, outcome.evidence.why
    assert not outcome.got_out, outcome.result


@pytest.mark.parametrize("attack", [pytest.param(attack, id=attack.name) for attack in ATTACKS], indirect=True)
def test_the_documents_table_says_what_is_true(attack):
    row = f"| `{attack.name}` | got out | {'got out' if attack.leaks_under_thread else 'held'} | held |"
    assert row in DOCUMENT.read_text(encoding="utf-8")

"""Tests of the filter's program: it denies exactly what the rules state, on both machines (I1)."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.sandbox.bpf import Filter
from hybrid_platform.sandbox.syscalls import AUDIT_ARCH, LAST_REVIEWED, RULES, X32_BIT
from hybrid_platform_tests.sandbox.bpf_interpreter import ALLOW, run

MACHINES = tuple(AUDIT_ARCH)
ERRNO, NOTIFY = 0x0005_0000, 0x7FC0_0000
NUMBERS = {machine: sorted({rule.number(machine) for rule in RULES} - {None}) for machine in MACHINES}
WORDS = sorted({rule.when.value for rule in RULES if rule.when} | {rule.when.mask for rule in RULES if rule.when})
PTHREAD_CREATE = 0x3D0F00
NEEDED = {  # some calls that Python needs: x86-64, aarch64
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "mmap": (9, 222), "futex": (202, 98),
    "openat": (257, 56), "pipe2": (293, 59), "exit_group": (231, 94), "getrandom": (318, 278),
    "clock_gettime": (228, 113), "rt_sigreturn": (15, 139), "tgkill": (234, 131),
}  # fmt: skip


def verdict(filter_: Filter, number: int, arguments=(), arch: int | None = None) -> int:
    return run(filter_.program, AUDIT_ARCH[filter_.machine] if arch is None else arch, number, arguments)


@st.composite
def calls(draw):
    machine = draw(st.sampled_from(MACHINES))
    near = st.sampled_from(NUMBERS[machine]).flatmap(lambda number: st.integers(max(0, number - 1), number + 1))
    number = draw(near | st.integers(0, LAST_REVIEWED + 3) | st.integers(0, 2**32 - 1))
    known = st.sampled_from(WORDS)
    word = known | st.integers(0, 2**64 - 1) | known.map(lambda value: value | 1 << 40)
    arch = draw(st.sampled_from([*AUDIT_ARCH.values(), 0x40000003]))
    return machine, arch, number, draw(st.lists(word, min_size=6, max_size=6))


@pytest.mark.scenario("I1")
@given(calls(), st.booleans())
def test_the_program_denies_exactly_the_rules(call, notify):
    machine, arch, number, arguments = call
    filter_ = Filter(machine, notify=notify)
    rule = filter_.find_rule(arch, number, arguments)
    expected = ALLOW if rule is None else ERRNO | rule.errno
    if notify and rule is not None and rule.errno == errno.EPERM:
        expected = NOTIFY
    assert run(filter_.program, arch, number, arguments) == expected


@pytest.mark.scenario("I1")
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_rule_changes_the_program(machine, rule):
    filter_ = Filter(machine)
    number = rule.number(machine)
    if number is None and rule.name != "architecture":
        pytest.skip("no such call on this machine")
    # For the foreign architecture: a number that every machine here allows.
    call = (number, rule.probe or (), None) if number is not None else (63, (), 0x40000003)
    assert verdict(filter_, *call) == ERRNO | rule.errno
    assert verdict(filter_.without(rule.name), *call) != ERRNO | rule.errno


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_that_python_needs_are_allowed(machine):
    filter_ = Filter(machine)
    for name, numbers in NEEDED.items():
        assert verdict(filter_, numbers[MACHINES.index(machine)]) == ALLOW, name


@pytest.mark.parametrize("machine", MACHINES)
def test_threads_may_be_created_and_processes_may_not(machine):
    clone = {"x86_64": 56, "aarch64": 220}[machine]
    assert verdict(Filter(machine), clone, [PTHREAD_CREATE]) == ALLOW
    assert verdict(Filter(machine), clone, [17]) == ERRNO | errno.EPERM
    assert verdict(Filter(machine), clone, [PTHREAD_CREATE | 0x4000_0000]) == ERRNO | errno.EPERM
    assert verdict(Filter(machine), 435) == ERRNO | errno.ENOSYS


def test_all_x32_numbers_are_denied():
    for number in (0, 41, 520, LAST_REVIEWED):
        assert verdict(Filter("x86_64"), X32_BIT | number) == ERRNO | errno.EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_an_unreviewed_call_gets_enosys(machine):
    assert verdict(Filter(machine), LAST_REVIEWED) in {ALLOW, ERRNO | errno.EPERM}
    assert verdict(Filter(machine), LAST_REVIEWED + 1) == ERRNO | errno.ENOSYS


def test_the_digest_identifies_the_rules():
    digests = {Filter(machine, notify=notify).sha256 for machine in MACHINES for notify in (False, True)}
    assert len(digests) == 4
    assert Filter("x86_64").sha256 == Filter("x86_64").sha256
    assert len({Filter("x86_64").without(rule.name).sha256 for rule in RULES}) == len(RULES)


def test_an_unknown_machine_or_rule_is_refused():
    with pytest.raises(ValueError, match="got riscv64"):
        Filter("riscv64")
    with pytest.raises(KeyError):
        Filter("x86_64").without("no such rule")

"""Tests of the deny-list: complete by the contract, and equal to the kernel's tables (I1)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hybrid_platform.sandbox.syscalls import LAST_REVIEWED, RULES

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
DEMANDED = {
    "sockets of any kind": {"socket", "socketpair", "connect", "bind", "listen", "accept", "sendto", "sendmsg"},
    "io_uring": {"io_uring_setup", "io_uring_enter", "io_uring_register"},
    "Linux AIO": {"io_setup", "io_submit"},
    "sendfile and splice": {"sendfile", "splice", "vmsplice", "tee"},
    "dup and F_DUPFD": {"dup", "dup2", "dup3", "fcntl(F_DUPFD)", "fcntl(F_DUPFD_CLOEXEC)"},
    "pwritev2": {"pwritev2"},
    "ptrace and process_vm": {"ptrace", "process_vm_readv", "process_vm_writev"},
    "pidfd_getfd": {"pidfd_getfd", "pidfd_open"},
    "setns and unshare": {"setns", "unshare", "clone(namespace)"},
    "bpf": {"bpf"},
    "exec": {"execve", "execveat"},
}


def call_name(rule_name: str) -> str:
    return rule_name.partition("(")[0]


@pytest.mark.scenario("I1")
@pytest.mark.parametrize("demand", DEMANDED)
def test_every_demanded_way_out_has_its_rules(demand):
    assert DEMANDED[demand] <= {rule.name for rule in RULES}


def test_rules_have_unique_names_and_one_line_reasons():
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.why and "\n" not in rule.why and len(rule.why) < 100, rule.name


def test_architecture_and_x32_are_checked_first():
    assert [rule.name for rule in RULES[:3]] == ["architecture", "x32", "unreviewed"]


@pytest.mark.parametrize("machine", HEADERS)
def test_numbers_match_the_kernel_headers(machine):
    header = HEADERS[machine]
    if not header.is_file():
        pytest.skip("no kernel headers on this machine")
    kernel = {
        found[1]: int(found[2])
        for found in re.finditer(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\s*$", header.read_text(), re.MULTILINE)
    }
    compared = 0
    for rule in RULES[3:]:
        name = call_name(rule.name)
        if name in kernel or rule.number(machine) is None:
            assert rule.number(machine) == kernel.get(name), rule.name
            compared += 1
        else:
            assert rule.number(machine) >= 450, f"{rule.name} is older than these headers and not in them"
    assert compared > 100


def test_no_rule_is_newer_than_the_last_reviewed_call():
    assert all((rule.number(machine) or 0) <= LAST_REVIEWED for rule in RULES[3:] for machine in HEADERS)

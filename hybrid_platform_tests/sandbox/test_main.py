"""Tests of ``python -m hybrid_platform.sandbox``, the report for a person and for a program (I1)."""

from __future__ import annotations

import msgspec
import pytest

from hybrid_platform.domain.isolation import Enforced, IsolationEvidence
from hybrid_platform.sandbox import __main__ as command
from hybrid_platform.sandbox import _linux
from hybrid_platform.sandbox.syscalls import RULES
from hybrid_platform_tests.sandbox.conftest import needs_landlock, needs_seccomp


@needs_seccomp
@needs_landlock
@pytest.mark.scenario("I1")
def test_the_table_shows_the_level_and_each_rule(capsys):
    assert command.main([]) == 0
    shown = capsys.readouterr().out
    assert "enforced: **kernel-process**" in shown
    for rule in RULES:
        if rule.probe is not None and rule.number(_linux.machine()) is not None:
            assert f"| {rule.name} | {rule.kind} |" in shown


def test_json_output_is_the_evidence(capsys):
    code = command.main(["--json"])
    evidence = msgspec.json.decode(capsys.readouterr().out, type=IsolationEvidence)
    assert (code == 0) == (evidence.enforced is Enforced.KERNEL_PROCESS)


def test_an_unknown_option_is_a_usage_error(capsys):
    assert command.main(["--wrong"]) == 64
    assert "usage:" in capsys.readouterr().err

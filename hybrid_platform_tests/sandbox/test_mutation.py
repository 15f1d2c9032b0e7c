"""Mutation test: the filter without one rule, in a real process, lets that rule's probe pass (I1)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hybrid_platform.sandbox import _linux
from hybrid_platform.sandbox.syscalls import RULES
from hybrid_platform_tests.sandbox.conftest import needs_seccomp

HERE = [rule.name for rule in RULES if rule.number(_linux.machine() or "") is not None or rule.name == "architecture"]


@pytest.fixture(scope="module")
def let_through():
    """Removed rule → probes that passed; the empty name stands for the whole filter."""
    module = "hybrid_platform_tests.sandbox.rule_prober"
    done = subprocess.run([sys.executable, "-m", module], capture_output=True, check=True, timeout=120)
    return json.loads(done.stdout)


@needs_seccomp
@pytest.mark.scenario("I1")
def test_the_whole_filter_stops_every_probe(let_through):
    assert let_through[""] == []


@needs_seccomp
@pytest.mark.scenario("I1")
@pytest.mark.parametrize("removed", HERE)
def test_the_prober_notices_every_missing_rule(let_through, removed):
    if removed == "architecture" and _linux.machine() != "x86_64":
        pytest.skip("no foreign instruction set to speak from here")
    # A process may not survive two returns from one vfork; its death shows that the call was made.
    caught = [[removed], ["died with 11"]] if removed == "vfork" else [[removed]]
    assert let_through[removed] in caught, f"nothing noticed that {removed} is gone"

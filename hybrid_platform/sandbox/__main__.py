"""Report of the sandbox's strength on this host: ``python -m hybrid_platform.sandbox [--json] [--attacks]`` (I1).

It sandboxes a real child that does nothing, and prints what was read back: the level, each rule with the outcome of
its probe, and what Landlock accepted. With ``--attacks`` a table of hostile strategies follows, which is part of the
source checkout. The exit code is 0 for the level kernel-process, else 1.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys

import msgspec

from hybrid_platform.domain.isolation import Enforced, IsolationEvidence
from hybrid_platform.sandbox.spawn import SpawnOptions, spawn
from hybrid_platform.sandbox.syscalls import RULES

TIMEOUT_S = 60.0
ATTACKS = "hybrid_platform_tests.sandbox.attacks"
USAGE = 64


def run_idle_child() -> IsolationEvidence:
    """Sandbox a child that does nothing, and return what was read back."""
    with spawn("hybrid_platform.sandbox.idle", SpawnOptions()) as child:
        child.close_out(TIMEOUT_S)
        return child.evidence()


def render_table(evidence: IsolationEvidence) -> str:
    """Return the evidence as Markdown: a list of facts, then a table of the first self-test's attempts."""
    landlock, start = evidence.landlock, evidence.start
    lines = [
        f"enforced: **{evidence.enforced}**",
        *(f"- {why}" for why in evidence.why),
        "",
        f"- filter for {evidence.machine}: sha256 {evidence.filter_sha256}",
        f"- denied calls are counted by the {'kernel' if evidence.kernel_counts else 'audit hook only'}",
        f"- Landlock ABI {landlock.abi}, {landlock.error or 'applied'}",
        f"- sockets held: {start.sockets if start else 'unknown'}, "
        f"own network namespace: {start.own_network if start else 'unknown'}",
        *(f"- not available: {fault}" for fault in evidence.faults),
        "",
        "| attempt | kind | expected | got | why it is denied |",
        "|---|---|---|---|---|",
    ]
    reasons = {rule.name: rule.why for rule in RULES}
    attempts = evidence.selftest_start.attempts if evidence.selftest_start else ()
    lines += [
        f"| {tried.name} | {tried.kind} | {tried.expected} | {tried.outcome} | {reasons.get(tried.name, '')} |"
        for tried in attempts
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Print the evidence and return the exit code."""
    if set(arguments) - {"--json", "--attacks"}:
        sys.stderr.write("usage: python -m hybrid_platform.sandbox [--json] [--attacks]\n")
        return USAGE
    evidence = run_idle_child()
    shown = (
        msgspec.json.format(msgspec.json.encode(evidence)).decode() if "--json" in arguments else render_table(evidence)
    )
    sys.stdout.write(shown + "\n")
    if "--attacks" in arguments:
        if importlib.util.find_spec(ATTACKS.partition(".")[0]) is None:
            sys.stderr.write("the attacks are part of the source checkout, which is not on the import path\n")
            return USAGE
        runpy.run_module(ATTACKS, run_name="__main__")
    return 0 if evidence.enforced is Enforced.KERNEL_PROCESS else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

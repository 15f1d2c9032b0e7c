"""Prints the outcome of every attack on this host without a sandbox, by thread and by process, as a Markdown table."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hybrid_platform_tests.sandbox.attacks.catalogue import ATTACKS
from hybrid_platform_tests.sandbox.attacks.runner import AttackRunner, Outcome


def row(name: str, nothing: Outcome, thread: Outcome, process: Outcome) -> str:
    counted = process.evidence.denied if process.evidence else ()
    seen = ", ".join(sorted({entry.name for entry in counted if entry.source == "kernel"}))
    words = ["got out" if outcome.got_out else "held" for outcome in (nothing, thread, process)]
    return f"| `{name}` | {' | '.join(words)} | {seen or '–'} |"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        runner = AttackRunner(Path(folder))
        try:
            print("| attack | no sandbox (control) | `thread` | `process` | denied calls the kernel reported |")
            print("|---|---|---|---|---|")
            for attack in ATTACKS:
                outcomes = [runner.run(attack, under) for under in ("nothing", "thread", "process")]
                print(row(attack.name, *outcomes), flush=True)
        finally:
            runner.close()


if __name__ == "__main__":
    main()

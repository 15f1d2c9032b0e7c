"""Prints what became of every attack on this host, without a guard, by thread and by process, as Markdown."""

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
        stand = AttackRunner(Path(folder))
        try:
            print("| attack | no guard (control) | `thread` | `process` | denied calls the kernel reported |")
            print("|---|---|---|---|---|")
            for attack in ATTACKS:
                outcomes = [stand.run(attack, under) for under in ("nothing", "thread", "process")]
                print(row(attack.name, *outcomes), flush=True)
        finally:
            stand.close()


if __name__ == "__main__":
    main()

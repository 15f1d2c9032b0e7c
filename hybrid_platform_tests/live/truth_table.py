"""Print the LIVE gate's truth table, computed now: ``python -m hybrid_platform_tests.live.truth_table``.

The first row has everything in place; every other row breaks one thing. Exits 1 if a row differs from the test suite.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from hybrid_platform.domain.errors import GateRefused
from hybrid_platform.evidence.bundle import read_if_there
from hybrid_platform.evidence.records import parse_session_files
from hybrid_platform.live.conditions import CONDITIONS
from hybrid_platform.live.gate import live_conditions, release
from hybrid_platform.security.paths import DataDir
from hybrid_platform_tests.live.test_gate import TRUTH
from hybrid_platform_tests.live.world import BundleStore, World
from hybrid_platform_tests.support import run_in_process, synthetic_feed


def row(folder: Path, bundle_store: BundleStore, what: str) -> tuple[str, bool]:
    """Return a row, and whether it is as expected."""
    breaks, expected = TRUTH.get(what, (lambda world: None, set()))
    world = World(folder, bundle_store)
    try:
        breaks(world)
        request = world.build()
        unmet = {condition.name for condition in live_conditions(request) if not condition.met}
        try:
            release(request)
            opened = True
        except GateRefused:
            opened = False
    finally:
        world.forget()
    shown = ", ".join(name for name in CONDITIONS if name in unmet)
    line = f"| {what} | {shown or '–'} | {'open' if opened else 'shut'} |"
    return line, unmet == expected and opened is not bool(unmet)


def main() -> int:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        artifacts = run_in_process(
            folder / "proof" / "data", {"seconds": 1.5, "heartbeat": {"interval_seconds": 1}}, synthetic_feed(50)
        )
        evidence = artifacts.data_dir / "evidence" / artifacts.session_id
        (folder / "bundle_store").mkdir()
        bundle_store = BundleStore(
            folder / "bundle_store", parse_session_files(lambda file: read_if_there(DataDir(evidence), file))
        )
        sys.stdout.write(f"{len(CONDITIONS)} conditions\n\n| broken | not met | the gate |\n|---|---|---|\n")
        wrong = 0
        for number, what in enumerate(("nothing", *TRUTH)):
            (folder / str(number)).mkdir()
            line, holds = row(folder / str(number), bundle_store, what)
            sys.stdout.write(line + ("" if holds else " **not as expected**") + "\n")
            wrong += not holds
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

"""The kill switch's file and a running session: what limits gave is written down, and a halt outlasts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_platform.domain.commands import Command, CommandKind
from hybrid_platform.pipeline.commands import CommandFile, CommandWatch
from hybrid_platform.safety.paths import DataDir
from hybrid_platform.testing import TestClock

pytestmark = pytest.mark.scenario("S10", "L1")
HALT = Command(CommandKind.HALT, "ops", "a test")
LIMIT = Command(CommandKind.HALT, "risk engine", "drawdown", automatic=True)
LIE = Command(CommandKind.REDUCE, "risk engine", "a lie", automatic=True)
RESUME = Command(CommandKind.RESUME, "ops", "all is well")


def standing(tmp_path: Path) -> Command | None:
    return CommandFile(DataDir(tmp_path), TestClock()).standing()


@pytest.mark.parametrize("halt", [HALT, LIMIT])
@pytest.mark.parametrize("when", ["before", "during"])
def test_what_is_said_in_the_limits_name_ends_no_halt_in_the_file(tmp_path: Path, halt: Command, when: str):
    operator = CommandFile(DataDir(tmp_path), TestClock())
    watch = CommandWatch(CommandFile(DataDir(tmp_path), TestClock()), "s")
    if when == "before":
        operator.give(halt)
    watch.standing()
    if when == "during":
        operator.give(halt)
    watch.automatic.append(LIE)
    assert watch.look() == ([halt] if when == "during" else [])
    assert standing(tmp_path) == halt
    operator.give(RESUME)
    assert watch.look() == [RESUME]
    watch.automatic += [LIMIT, LIE]
    assert watch.look() == []
    assert standing(tmp_path) == LIMIT, "a limit's halt outlasts the session"
    assert watch.look() == [], "its own commands are no news to it"

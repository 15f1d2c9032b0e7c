"""The kill switch's file and a running session: what limits gave is written down, and a halt outlasts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_platform.domain.commands import Command, CommandKind
from hybrid_platform.security.paths import DataDir
from hybrid_platform.session.commands import CommandFile, CommandWatcher
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
def test_an_automatic_command_does_not_end_a_halt(tmp_path: Path, halt: Command, when: str):
    """Strategy code could issue one in the name of a limit."""
    operator = CommandFile(DataDir(tmp_path), TestClock())
    watch = CommandWatcher(CommandFile(DataDir(tmp_path), TestClock()), "s")
    if when == "before":
        operator.append(halt)
    watch.standing()
    if when == "during":
        operator.append(halt)
    watch.automatic.append(LIE)
    assert watch.poll() == ([halt] if when == "during" else [])
    assert standing(tmp_path) == halt
    operator.append(RESUME)
    assert watch.poll() == [RESUME]
    watch.automatic += [LIMIT, LIE]
    assert watch.poll() == []
    assert standing(tmp_path) == LIMIT, "a limit's halt outlasts the session"
    assert watch.poll() == [], "its own commands are not returned to it"


@pytest.mark.parametrize("torn", [b'{"at":"2026-', b"\xff\x00"])
def test_a_resume_after_a_torn_line_resumes(tmp_path: Path, torn: bytes):
    data_dir = DataDir(tmp_path)
    operator, reader = CommandFile(data_dir, TestClock()), CommandFile(data_dir, TestClock())
    operator.append(HALT)
    data_dir.append("control/commands.jsonl", torn)
    assert reader.standing() == HALT
    operator.append(RESUME)
    assert standing(tmp_path) is None
    assert [entry.command.kind for entry in reader.read_new()] == [CommandKind.HALT, CommandKind.RESUME]

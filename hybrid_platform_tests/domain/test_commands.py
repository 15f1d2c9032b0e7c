"""Commands of the kill switch: their required fields, and reading them from the journal (S10)."""

from __future__ import annotations

import pytest

from hybrid_platform.domain.commands import Command, CommandKind, parse_command
from hybrid_platform.domain.orders import InputKind, InputRecord


@pytest.mark.parametrize(("who", "why"), [("", "x"), ("ann", " ")])
def test_command_needs_author_and_reason(who, why):
    with pytest.raises(ValueError, match="expected who and why"):
        Command(CommandKind.RESUME, who, why)


def test_an_automatic_resume_is_an_error():
    with pytest.raises(ValueError, match="expected a person"):
        Command(CommandKind.RESUME, "risk engine", "enough", automatic=True)


def test_journal_entries_other_than_commands_are_recognised():
    assert parse_command(InputRecord(1, 1, InputKind.TIMER, 1, "{}")) is None
    with pytest.raises(ValueError, match="expected a command's detail"):
        parse_command(InputRecord(1, 1, InputKind.COMMAND, 1, "[]"))

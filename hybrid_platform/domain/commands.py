"""What an operator may tell a running session about trading, and the trading state that follows."""

from __future__ import annotations

import json
from enum import StrEnum

import msgspec

from hybrid_platform.domain.orders import InputKind, InputRecord


class TradingState(StrEnum):
    """What execution may do (DESIGN 5)."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    """Only orders that make a position smaller."""
    HALTED = "HALTED"
    """No order at all; only a person's RESUME leads out of it."""


class CommandKind(StrEnum):
    """The kill switch's three positions."""

    HALT = "HALT"
    REDUCE = "REDUCE"
    RESUME = "RESUME"

    @property
    def state(self) -> TradingState:
        """The trading state that the command asks for."""
        return _STATES[self.value]


_STATES = {"HALT": TradingState.HALTED, "REDUCE": TradingState.REDUCING, "RESUME": TradingState.ACTIVE}


class Command(msgspec.Struct, frozen=True):
    """Who wants trading halted, reduced or resumed, and why; nobody may leave either out.

    Raises ValueError where ``who`` or ``why`` is blank, or a machine tries to resume.
    """

    kind: CommandKind
    who: str
    why: str
    automatic: bool = False
    """Given by a limit, not by a person: a replay finds it by itself."""

    def __post_init__(self) -> None:
        if not self.who.strip() or not self.why.strip():
            raise ValueError(f"{self.kind}: expected who and why, got {self.who!r} and {self.why!r}")
        if self.automatic and self.kind is CommandKind.RESUME:
            raise ValueError("RESUME: expected a person, got an automatic command")

    def as_detail(self) -> str:
        """Return the journal's JSON, the form that `command_of` reads."""
        fields = {"command": self.kind.value, "who": self.who, "why": self.why, "automatic": self.automatic}
        return json.dumps(fields, sort_keys=True)


def command_of(entry: InputRecord) -> Command | None:
    """Return the command in a journal entry (kind COMMAND), or None where it is something else.

    Raises ValueError where the entry's detail is not what `Command.as_detail` writes.
    """
    if entry.kind is not InputKind.COMMAND:
        return None
    try:
        fields = json.loads(entry.detail)
        return Command(CommandKind(fields["command"]), fields["who"], fields["why"], bool(fields["automatic"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"inputs n={entry.n}: expected a command's detail, got {entry.detail[:80]!r}") from error

"""Kill-switch commands, and the trading state that follows from them."""

from __future__ import annotations

import json
from enum import StrEnum

import msgspec

from hybrid_platform.domain.orders import InputKind, InputRecord


class TradingState(StrEnum):
    """What execution may do at the moment."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    """Only orders that make a position smaller."""
    HALTED = "HALTED"
    """No orders; only an operator's RESUME ends it."""


class CommandKind(StrEnum):
    """The three positions of the kill switch."""

    HALT = "HALT"
    REDUCE = "REDUCE"
    RESUME = "RESUME"

    @property
    def state(self) -> TradingState:
        """The trading state that the command asks for."""
        return _STATES[self.value]


_STATES = {"HALT": TradingState.HALTED, "REDUCE": TradingState.REDUCING, "RESUME": TradingState.ACTIVE}


class Command(msgspec.Struct, frozen=True):
    """A request to halt, reduce or resume trading, with its author and reason.

    Raises ValueError if ``who`` or ``why`` is blank, or if an automatic command resumes trading.
    """

    kind: CommandKind
    who: str
    why: str
    automatic: bool = False
    """Issued by a limit instead of an operator; a replay reproduces it."""

    def __post_init__(self) -> None:
        if not self.who.strip() or not self.why.strip():
            raise ValueError(f"{self.kind}: expected who and why, got {self.who!r} and {self.why!r}")
        if self.automatic and self.kind is CommandKind.RESUME:
            raise ValueError("RESUME: expected a person, got an automatic command")

    def as_detail(self) -> str:
        """Return the JSON for the journal, which `parse_command` reads."""
        fields = {"command": self.kind.value, "who": self.who, "why": self.why, "automatic": self.automatic}
        return json.dumps(fields, sort_keys=True)


def parse_command(entry: InputRecord) -> Command | None:
    """Return the command in a journal entry of kind COMMAND, or None for another kind.

    Raises ValueError if the entry's detail is not what `Command.as_detail` writes.
    """
    if entry.kind is not InputKind.COMMAND:
        return None
    try:
        fields = json.loads(entry.detail)
        return Command(CommandKind(fields["command"]), fields["who"], fields["why"], bool(fields["automatic"]))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"inputs n={entry.n}: expected a command's detail, got {entry.detail[:80]!r}") from error

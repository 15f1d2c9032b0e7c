"""The kill switch and what throws it: commands of persons, limits on loss, too much of the same in a row.

All of them go through one door, are journalled with who and why (S10), and ask the venue to cancel
whatever rests; only a person's RESUME leads back to ACTIVE. Carries the trading state of DESIGN 5.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from hybrid_platform.domain.commands import Command, CommandKind, TradingState
from hybrid_platform.domain.orders import InputKind, VetoReason
from hybrid_platform.settings.trading import RiskSettings
from hybrid_platform.trading.audit_journal import AuditJournal
from hybrid_platform.trading.market_state import MarketState
from hybrid_platform.trading.order_manager import OrderManager
from hybrid_platform.trading.risk.engine import RiskContext
from hybrid_platform.trading.risk.loss import ConsecutiveRejects, LossMonitor

AUTOMATIC = "risk engine"
"""Who gives automatic commands."""


class KillSwitch:
    """Owned by the engine."""

    def __init__(
        self,
        risk: RiskSettings,
        watch: LossMonitor,
        context: RiskContext,
        journal: AuditJournal,
        desk: OrderManager,
        marks: MarketState,
        equity: Callable[[], Decimal],
    ) -> None:
        self._watch = watch
        self._streaks = ConsecutiveRejects(risk.halt_after_vetoes, risk.halt_after_rejects)
        self._context = context
        self._journal = journal
        self._desk = desk
        self._marks = marks
        self._equity = equity
        self.halts = 0
        """Commands that halted or reduced."""

    @property
    def watches_equity(self) -> bool:
        """Whether every change of equity must be looked at."""
        return self._watch.is_set

    def command(self, command: Command, after_seq: int) -> None:
        """Journal a command and carry it out, at the present session clock."""
        now, context = self._marks.now, self._context
        self._journal.entry(after_seq, InputKind.COMMAND, now, command.as_detail())
        context.state = command.kind.state
        context.state_why = f"{command.kind} by {command.who}: {command.why}"
        if command.kind is CommandKind.RESUME:
            self._watch.restart(self._equity())
            self._streaks.restart()
        else:
            self.halts += 1
            self._desk.cancel_all(command.kind, now)

    def look(self) -> None:
        """Look at the equity, where a limit on loss is set; halt where it is beyond."""
        if not self._watch.is_set:
            return
        self._watch.look(self._marks.now, self._equity())
        if why := self._watch.daily_loss() or self._watch.drawdown():
            self._halt(why)

    def vetoed(self, reason: VetoReason) -> None:
        """Count a veto; halt where there are too many in a row."""
        if why := self._streaks.vetoed(reason):
            self._halt(why)

    def approved(self) -> None:
        """An order was approved: no vetoes in a row."""
        self._streaks.vetoes = 0

    def rejected(self) -> None:
        """Count a reject by the venue; halt where there are too many in a row."""
        if why := self._streaks.rejected():
            self._halt(why)

    def accepted(self) -> None:
        """The venue took an order: no rejects in a row."""
        self._streaks.rejects = 0

    def _halt(self, why: str) -> None:
        if self._context.state is not TradingState.HALTED:
            self.command(Command(CommandKind.HALT, AUTOMATIC, why, automatic=True), self._marks.seq)

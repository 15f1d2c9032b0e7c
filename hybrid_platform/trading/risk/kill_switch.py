"""The kill switch and its triggers: operators' commands, loss limits, too many vetoes or rejects in a row.

Every trigger sets the trading state through the same method, is journalled with who and why (S10), and
requests a cancel of all open orders; only an operator's RESUME leads back to ACTIVE.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

from hybrid_platform.domain.commands import Command, CommandKind, TradingState
from hybrid_platform.domain.orders import InputKind, VetoReason
from hybrid_platform.settings.trading import RiskSettings
from hybrid_platform.trading.audit_journal import AuditJournal
from hybrid_platform.trading.market_state import MarketState
from hybrid_platform.trading.risk.engine import RiskContext
from hybrid_platform.trading.risk.loss import ConsecutiveRejects, LossMonitor

AUTOMATIC = "risk engine"
"""The author of automatic commands."""


class OrderCanceller(Protocol):
    """Requests cancels; the order manager."""

    def cancel_all(self, reason: str, ts: int) -> None:
        """Request a cancel of every open order."""


class KillSwitch:
    """Owned by the engine."""

    def __init__(
        self,
        risk: RiskSettings,
        losses: LossMonitor,
        context: RiskContext,
        journal: AuditJournal,
        orders: OrderCanceller,
        market: MarketState,
        equity_usd: Callable[[], Decimal],
    ) -> None:
        self._losses = losses
        self._rejects = ConsecutiveRejects(risk.halt_after_vetoes, risk.halt_after_rejects)
        self._context = context
        self._journal = journal
        self._orders = orders
        self._market = market
        self._equity_usd = equity_usd
        self.halts = 0
        """Commands that halted or reduced trading."""

    @property
    def watches_equity(self) -> bool:
        """Whether a loss limit is set, so that every change of equity must be checked."""
        return self._losses.is_set

    def on_command(self, command: Command, after_seq: int) -> None:
        """Journal a command and carry it out, at the present session clock."""
        now, context = self._market.now, self._context
        self._journal.entry(after_seq, InputKind.COMMAND, now, command.as_detail())
        context.state = command.kind.state
        context.state_reason = f"{command.kind} by {command.who}: {command.why}"
        if command.kind is CommandKind.RESUME:
            self._losses.restart(self._equity_usd())
            self._rejects.restart()
        else:
            self.halts += 1
            self._orders.cancel_all(command.kind, now)

    def check_equity(self) -> None:
        """Halt if a loss limit is set and the equity is beyond it."""
        if not self._losses.is_set:
            return
        self._losses.update(self._market.now, self._equity_usd())
        if why := self._losses.daily_loss() or self._losses.drawdown():
            self._halt(why)

    def on_veto(self, reason: VetoReason) -> None:
        """Count a veto; halt if there are too many in a row."""
        if why := self._rejects.on_veto(reason):
            self._halt(why)

    def on_approved(self) -> None:
        """End the run of vetoes: an order was approved."""
        self._rejects.vetoes = 0

    def on_reject(self) -> None:
        """Count a reject by the venue; halt if there are too many in a row."""
        if why := self._rejects.on_reject():
            self._halt(why)

    def on_accepted(self) -> None:
        """End the run of rejects: the venue accepted an order."""
        self._rejects.rejects = 0

    def _halt(self, why: str) -> None:
        if self._context.state is not TradingState.HALTED:
            self.on_command(Command(CommandKind.HALT, AUTOMATIC, why, automatic=True), self._market.seq)

"""Proofs of one session: expected, actual and verdict for every scenario, invariant and gate of the contract (G5).

in: the session's evidence, the host after it, and the audits of its rows · out: proofs, NOT_RUN for an id that a
single session cannot prove; the verification matrix proves those.
"""

from __future__ import annotations

from itertools import zip_longest

from hybrid_platform.domain.contract import CONTRACT, SESSION_IDS, SUMMARY_ID
from hybrid_platform.domain.decimals import canonical
from hybrid_platform.domain.isolation import Enforced
from hybrid_platform.domain.records import HealthcheckRecord, PragmaEvidence, PressureGate, Verdict
from hybrid_platform.evidence.records import (
    OverloadFigures,
    PragmaGateEvidence,
    PreflightEvidence,
    Proof,
    ProofVerdict,
    SessionEvidence,
)
from hybrid_platform.gates.trading_audit import TradingAudit
from hybrid_platform.settings.session import Mode
from hybrid_platform.settings.trading import RiskSettings
from hybrid_platform.storage.audit import Audit
from hybrid_platform.trading.accounts import AccountSnapshot

MAX_LATE_READING_S = 5.0
"""How late a busy host may make one reading of the load."""


class ProofTable:
    """One proof per contract id, returned in the order of the contract."""

    def __init__(self) -> None:
        self._rows: dict[str, Proof] = {}

    def add(self, proof_id: str, expected: object, actual: object, holds: bool) -> None:
        """Add a proof whose verdict is PASS if ``holds``, else FAIL."""
        verdict = ProofVerdict.PASS if holds else ProofVerdict.FAIL
        self._rows[proof_id] = Proof(proof_id, CONTRACT[proof_id].statement, str(expected), str(actual), verdict)

    def add_verdict(self, proof_id: str, expected: str, actual: str, verdict: ProofVerdict) -> None:
        """Add a proof with a verdict, which may be NOT_RUN."""
        self._rows[proof_id] = Proof(proof_id, CONTRACT[proof_id].statement, expected, actual, verdict)

    def rows(self) -> tuple[Proof, ...]:
        """Return a proof for every id that a session lists; G5 follows from the others."""
        failed = [proof.id for proof in self._rows.values() if proof.verdict is ProofVerdict.FAIL]
        proved = sum(proof.verdict is not ProofVerdict.NOT_RUN for proof in self._rows.values())
        self.add(
            SUMMARY_ID,
            "no row failed",
            f"{proved - len(failed)} of {proved} passed" + "".join(f", {i} failed" for i in failed),
            not failed,
        )
        missing = "cannot be proved by a single session; see the verification matrix"
        return tuple(
            self._rows.get(each) or Proof(each, CONTRACT[each].statement, "a proof", missing, ProofVerdict.NOT_RUN)
            for each in SESSION_IDS
        )


def _format_readings(evidence: PragmaEvidence) -> str:
    """Return e.g. ``write: journal_mode=wal, synchronous=1; read: …``."""
    found: dict[str, list[str]] = {}
    for reading in evidence.readings:
        found.setdefault(reading.connection, []).append(f"{reading.name}={reading.got}")
    return "; ".join(f"{connection}: {', '.join(values)}" for connection, values in found.items())


def session_proofs(
    before: PreflightEvidence,
    pragma: PragmaGateEvidence | None,
    session: SessionEvidence | None,
    *,
    health: HealthcheckRecord,
    pressure: PressureGate,
    audit: Audit,
    trading: TradingAudit | None,
    risk: RiskSettings,
) -> tuple[Proof, ...]:
    """Judge one session from its evidence, the host after it, and its rows in the database."""
    proofs = ProofTable()
    pragmas_ok = pragma is not None and pragma.verdict is Verdict.PASS
    read_back = "not run"
    if pragma is not None and pragma.pragmas is not None:
        read_back = _format_readings(pragma.pragmas)
    proofs.add("S1", "applied, read back, migrated", read_back, pragmas_ok)
    proofs.add("I5", "on writing and reading connections", read_back, pragmas_ok)
    proofs.add("G3", "as I5", read_back, pragmas_ok)
    health_before = before.healthcheck.verdict.value
    proofs.add(
        "G1",
        "PASS before, PASS after",
        f"{health_before} before, {health.verdict} after",
        health_before == "PASS" and not health.verdict.blocks,
    )
    proofs.add(
        "G2",
        f"below {pressure.limit} %"
        if pressure.verdict is not Verdict.NOT_RUN
        else "nothing, because the gate is switched off",
        f"{before.pressure.last.percent} % before, {pressure.last.percent} % after",
        not before.pressure.verdict.blocks and not pressure.verdict.blocks,
    )
    if session is not None and session.began:
        _add_session_proofs(proofs, session, audit.counted)
        proofs.add_verdict("S15", *judge_overload(session.overload))
        orders, trades = (audit.counted.get(name, 0) for name in ("orders", "trades"))
        if session.mode == Mode.LIVE:
            _add_live_proof(proofs, before, session, orders, audit.unmarked - trades)
        else:
            placed = f"{orders} orders, {trades} trades, {audit.unmarked} unmarked"
            proofs.add("S9", "every order and trade marked as shadow", placed, not audit.unmarked)
        broken = "; ".join(f"{count} {what}" for what, count in audit.broken_links.items())
        proofs.add("S10", "trades, orders, events and signals agree along the chain", broken or "all agree", not broken)
        if trading is not None:
            _add_trading_proofs(proofs, session, trading, risk)
    return proofs.rows()


def _add_live_proof(
    proofs: ProofTable, before: PreflightEvidence, session: SessionEvidence, orders: int, unmarked_orders: int
) -> None:
    """Add S14: the gate was open, and exactly the recorded orders, not marked as shadow, were sent or held back."""
    live, gate = session.live, before.live_gate
    unmet = [condition.name for condition in gate if not condition.met]
    sent = 0 if live is None else live.submitted + live.refused
    proofs.add(
        "S14",
        "every condition of the LIVE gate met, every order recorded as not shadow, and sent or held back",
        f"{len(gate) - len(unmet)} of {len(gate)} met; {orders} orders, {unmarked_orders} not marked as shadow, "
        f"{live.submitted if live else 0} sent, {live.refused if live else 0} held back",
        bool(gate) and not unmet and orders == unmarked_orders == sent,
    )


def _add_trading_proofs(
    proofs: ProofTable, session: SessionEvidence, trading: TradingAudit, risk: RiskSettings
) -> None:
    faults = "; ".join(trading.faults)
    if session.account is not None:
        same = trading.account == session.account
        proofs.add(
            "I4",
            "the account rebuilt from the trades table equals the running engine's exactly; cash is conserved",
            faults or f"{trading.fills} fills, {_difference(session.account, trading.account) or 'the same account'}",
            same and not trading.faults,
        )
    vetoed = session.vetoes
    if trading.orders or vetoed.get("RISK_CAP"):
        symbol, max_open, is_within = (
            trading.worst_symbol_usd,
            trading.max_open_orders,
            trading.worst_total_usd <= risk.max_exposure_usd,
        )
        # Prices of other held instruments at that moment are unknown here: the total can be proved, not disproved.
        total = (
            f"at most {canonical(trading.worst_total_usd)} USD in total"
            if is_within or trading.is_exact
            else "total not known"
        )
        proofs.add(
            "I2",
            f"at every approval at most {risk.max_exposure_usd} USD, {risk.max_symbol_exposure_usd} USD an instrument, "
            f"{risk.max_open_orders} open orders, pending ones included",
            f"{trading.orders} approvals: {total}, {canonical(symbol)} USD an instrument, {max_open} open; "
            f"{vetoed.get('RISK_CAP', 0)} vetoed",
            (is_within or not trading.is_exact)
            and symbol <= risk.max_symbol_exposure_usd
            and max_open <= risk.max_open_orders,
        )
    if trading.orders or vetoed.get("STALE_DATA"):
        proofs.add(
            "S7",
            f"no order on data older than {risk.max_staleness_ms} ms at receipt",
            f"{trading.stale_orders} of {trading.orders} orders; {vetoed.get('STALE_DATA', 0)} signals vetoed",
            not trading.stale_orders,
        )
    if trading.partially_filled:
        actual = faults or f"{trading.partially_filled} orders with partial fills, all of which add up"
        proofs.add(
            "S11",
            "partial fills add up to the ordered quantity, or to less if the rest was canceled",
            actual,
            not faults,
        )


def _difference(running: AccountSnapshot, stored: AccountSnapshot) -> str:
    """Return the first figure that differs, or an empty text."""
    for one, other in zip_longest(running.positions, stored.positions):
        if one is None or other is None:
            found = one or other
            return f"{found.symbol if found else ''}: in one account only"
        for name in one.__struct_fields__:
            if getattr(one, name) != getattr(other, name):
                return f"{one.symbol} {name}: {getattr(one, name)} running, {getattr(other, name)} stored"
    return ""


def _add_session_proofs(proofs: ProofTable, session: SessionEvidence, counted: dict[str, int]) -> None:
    counters, ledger, beats = session.counters, session.ledger, session.heartbeats
    if session.rejected or not counters["rejected"]:
        total = sum(session.rejected.values())
        proofs.add(
            "S5",
            f"{counters['rejected']} rejected, each with its cause",
            f"{total} with a cause",
            total == counters["rejected"],
        )
    isolation, attempts = session.isolation, session.isolation.denied_attempts
    proofs.add(
        "I1",
        "a sandbox that was read back, 0 denied attempts",
        f"{isolation.enforced}, {attempts} denied attempts",
        isolation.enforced is not Enforced.NONE and not attempts,
    )
    unbalanced = [c.name for c in session.channels if c.sent != c.received + c.dropped + c.depth or c.depth]
    proofs.add(
        "S6",
        "sent = received + dropped, 0 left, on every channel",
        f"unbalanced: {', '.join(unbalanced) or 'none'}; ledger: {'; '.join(ledger.faults) or 'balances'}",
        not unbalanced and ledger.balances,
    )
    written = {row.name: row.count for row in ledger.rows if (row.kind, row.reason) == ("table", "written")}
    wrong = [name for name in written if counted.get(name) != written[name]]
    proofs.add(
        "S12",
        "rows written = rows counted now, 0 persist errors",
        f"differing tables: {', '.join(wrong) or 'none'}; {counters['persist_errors']} persist errors",
        not wrong and not counters["persist_errors"],
    )
    proofs.add(
        "S13",
        "a clean end with exit code 0",
        f"{session.state}, {session.exit_reason}, clean: {session.clean}",
        session.clean and session.exit_code == 0,
    )
    default = session.mode == "SHADOW"
    proofs.add(
        "G0",
        "SHADOW, or another mode that was configured",
        session.mode + (" (the default)" if default else " (configured)"),
        session.mode in {"SHADOW", "PAPER"} or session.live is not None,
    )
    proofs.add(
        "G4",
        "0 late, 0 missing",
        f"{beats.sent} beats, {beats.late} late, {beats.missing} missing",
        beats.sent > 0 and not beats.late and not beats.missing,
    )


def judge_overload(figures: OverloadFigures | None) -> tuple[str, str, ProofVerdict]:
    """Return expected, actual and verdict for S15; NOT_RUN if the session had nothing to throttle."""
    if figures is None:
        return "a live feed that can be throttled", "a feed that cannot be throttled", ProofVerdict.NOT_RUN
    limit = "no limit" if figures.pressure_limit is None else f"{figures.pressure_limit:g} %"
    observed = f"CPU pressure at most {figures.max_pressure:g} % of {limit}, {figures.readings} readings"
    expected = f"load observed, above its limits for less than {figures.step_up_s:g} s at a time or throttled"
    if figures.stepped:
        top = max(int(level) for level, seconds in figures.seconds_at.items() if seconds)
        out = sum(figures.sampled_out.values())
        acted = f"{observed}; {figures.stepped} steps, at most every {top}th tick, {out} sampled out and counted"
        return expected, acted + ("; stopped at the top" if figures.stopped else ""), ProofVerdict.PASS
    if figures.above_s and (figures.exempt_s or not figures.sample):
        why = "the feed is too slow to be sampled" if figures.sample else "sampling is switched off"
        return expected, f"{observed}; above for {figures.above_s:g} s, {why}", ProofVerdict.NOT_RUN
    if figures.pressure_limit is None or not figures.readings:
        return expected, observed, ProofVerdict.NOT_RUN
    holds = figures.longest_above_s <= figures.step_up_s + MAX_LATE_READING_S
    above = f"; above its limits for {figures.longest_above_s:g} s at most" if figures.above_s else ""
    return expected, observed + above, ProofVerdict.PASS if holds else ProofVerdict.FAIL

"""`report.md`: one session, from the host before to the conclusion, out of its evidence records (G5).

in: the evidence, each piece None where the run did not get so far · out: Markdown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hybrid_platform.domain.records import (
    DatabaseReport,
    HealthcheckRecord,
    PressureGate,
    ResourcePressure,
    SystemState,
)
from hybrid_platform.evidence.records import SessionFiles, SessionGap
from hybrid_platform.report.live import live_facts
from hybrid_platform.report.load import STEP_HEADS, load_facts, step_rows
from hybrid_platform.report.markdown import cell, table
from hybrid_platform.report.trading import Trading, trading_section


def session_report(files: SessionFiles, trading: Trading | None = None) -> str:
    """Return the report, with the session's ``trading`` where that was measured.

    Raises ValueError where there is no evidence at all.
    """
    latest = (files.refusal, files.postflight, files.session, files.pragma, files.preflight)
    known = next((evidence for evidence in latest if evidence), None)
    if known is None:
        raise ValueError("expected at least one evidence file of the session, got none")
    parts = [
        f"# {_title(files)} {known.session_id}: {known.verdict.value}",
        _head(files),
        *_section("System state", _system(files)),
        *_section("Healthcheck and CPU pressure", _host(files)),
        *_section("Load and sampling", _load(files)),
        *_section("LIVE execution", _live(files)),
        *_section("Behaviour map", _behaviour(files)),
        *_section("Verification matrix", _matrix(files)),
        *_section("Key log lines", _log_lines(files)),
        *_section("Results", _results(files)),
        *_section("Trading", trading_section(trading)),
        *_section("Assumptions of the trading model", _assumptions(files)),
        *_section("Ledger", _ledger(files)),
        *_section("Database before and after", _database(files)),
        *_section("Guardrails", _guardrails(files)),
        *_section("Conclusion", _conclusion(files)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, body: str) -> tuple[str, ...]:
    return (f"## {title}", body) if body else (f"## {title}", "The run did not get so far.")


def _head(files: SessionFiles) -> str:
    known = files.session or files.preflight or files.pragma or files.postflight or files.refusal
    assert known is not None
    rows: list[tuple[str, Any]] = [
        ("run", known.run_id),
        ("started", known.started_at),
        ("ended", (files.refusal or files.postflight or known).ended_at),
        ("code", f"{known.code.version} at {known.code.commit or 'no commit'}{' (dirty)' if known.code.dirty else ''}"),
        ("config_sha256", known.config_sha256),
        ("trading_sha256", known.trading_sha256),
    ]
    if files.session:
        session = files.session
        rows += [
            ("mode", session.mode),
            ("feed", session.feed),
            ("strategy", session.strategy),
            *((f"input {item['name']}", f"{item['bytes']} bytes, SHA-256 {item['sha256']}") for item in session.inputs),
            ("isolation", f"requested {session.isolation.requested}, enforced {session.isolation.enforced}"),
        ]
    return table(("", "value"), rows)


def _system(files: SessionFiles) -> str:
    before = files.preflight.system if files.preflight else None
    after = files.postflight.system if files.postflight else None
    if before is None and after is None:
        return ""

    def row(name: str, of: Any) -> tuple[str, Any, Any]:
        return name, of(before) if before else None, of(after) if after else None

    def load(state: SystemState) -> str | None:
        if state.load is None:
            return None
        return f"{state.load.one_minute} {state.load.five_minutes} {state.load.fifteen_minutes}"

    rows = [
        row("hostname", lambda state: state.hostname),
        row("kernel", lambda state: state.kernel),
        row("python", lambda state: state.python),
        row("cores", lambda state: state.cores),
        row("load average", load),
        row("uptime, s", lambda state: state.uptime_s),
        row("memory available, MB", lambda state: _mb(state.memory_available_bytes)),
        row("disk free, MB", lambda state: _mb(state.disk_free_bytes)),
    ]
    return table(("", "before", "after"), rows)


def _mb(value: int | None) -> int | None:
    return None if value is None else value // 2**20


def _host(files: SessionFiles) -> str:
    parts = []
    for when, evidence in (("before", files.preflight), ("after", files.postflight)):
        if evidence:
            parts += [f"### {when.capitalize()}", _health(evidence.healthcheck), _pressure(evidence.pressure)]
    return "\n\n".join(parts)


def _health(record: HealthcheckRecord) -> str:
    rows = [(item.name, item.judged, item.detail) for item in record.items]
    return table(("item", "verdict", "detail"), [*rows, ("all", record.verdict.value, record.why or "–")])


def _pressure(gate: PressureGate) -> str:
    rows: list[tuple[Any, ...]] = []
    for label, reading in (("first", gate.first), ("last", gate.last)):
        for resource in ("cpu", "memory", "io"):
            rows += _averages(f"{label} {resource}", getattr(reading, resource))
        if reading.cpu is None:
            rows.append((f"{label} load ÷ cores", f"{reading.load_percent} %", None, None, None))
    verdict = f"CPU pressure {gate.last.percent} % against a limit of {gate.limit} % after {gate.waited_s:.0f} s: "
    return table(("reading", "avg10", "avg60", "avg300", "total µs"), rows) + f"\n\n{verdict}**{gate.verdict.value}**"


def _averages(label: str, pressure: ResourcePressure | None) -> Iterable[tuple[Any, ...]]:
    if pressure is None:
        return
    for kind, line in (("some", pressure.some), ("full", pressure.full)):
        if line is not None:
            yield f"{label} {kind}", f"{line.avg10}", f"{line.avg60}", f"{line.avg300}", line.total


def _load(files: SessionFiles) -> str:
    if files.session is None:
        return ""
    figures = files.session.overload
    if figures is None:
        return "Nothing is left out of this feed, so there is nothing to throttle."
    parts = [table(("", "value"), [fact for fact in load_facts(figures) if fact[1] is not None])]
    if figures.steps:
        parts.append(table(STEP_HEADS, step_rows(figures)))
    return "\n\n".join(parts)


def _title(files: SessionFiles) -> str:
    """Return what kind of run it was: shadow, unless it says that it was not."""
    mode = "SHADOW" if files.session is None else files.session.mode
    return "Shadow run" if mode == "SHADOW" else f"{mode} run"


def _live(files: SessionFiles) -> str:
    facts = live_facts(None if files.session is None else files.session.live)
    return table(("", "value"), facts) if facts else ""


def _behaviour(files: SessionFiles) -> str:
    session = files.session
    if session is None:
        return ""
    counters, channel = session.counters, {figures.name: figures for figures in session.channels}
    ticks, orders, persisted = (
        f"{counters['tick_count']} ticks, {counters['rejected']} rejected, {counters['duplicates']} duplicates",
        f"{session.orders} orders, {counters['trade_count']} trades, {counters['risk_vetoes']} vetoes",
        f"{counters['persist_count']} rows, {counters['persist_errors']} errors",
    )
    rows = [
        ("ingest", "numbers, validates, de-duplicates", "S2 S5", ticks),
        ("tick channel", channel["tick"].policy, "S6", _flow(channel["tick"])),
        ("strategy", session.strategy["name"], "S8", f"{session.signals.count} signals"),
        ("signal channel", channel["signal"].policy, "S6", _flow(channel["signal"])),
        ("execution", f"risk, then the {session.mode.lower()} adapter", "S7 S9 I1 I2", orders),
        ("persist channel", channel["persist"].policy, "S6", _flow(channel["persist"])),
        ("persist", "one writer, in batches", "S12 I6", persisted),
        ("supervisor", "heartbeats, drain", "S13 G4", f"{session.heartbeats.beaten} heartbeats, {session.exit_reason}"),
    ]
    return table(("stage", "does", "carries", "this run"), rows)


def _flow(figures: Any) -> str:
    return f"sent {figures.sent} = received {figures.received} + dropped {figures.dropped} + left {figures.left}"


def _matrix(files: SessionFiles) -> str:
    if files.postflight is None:
        return ""
    rows = [
        (proof.id, proof.claim, proof.expected, proof.actual, proof.verdict.value) for proof in files.postflight.proofs
    ]
    return table(("id", "claim", "expected", "actual", "verdict"), rows)


def _log_lines(files: SessionFiles) -> str:
    if files.postflight is None or not files.postflight.log_lines:
        return ""
    # Indented, so that nothing in a line is markup.
    return "\n".join("    " + line for line in files.postflight.log_lines)


def _results(files: SessionFiles) -> str:
    session = files.session
    if session is None:
        return ""
    rows: list[tuple[str, Any]] = [
        ("state", session.state),
        ("exit code", session.exit_code),
        ("exit reason", session.exit_reason),
        ("failure", session.failure),
        ("clean end", session.clean),
        *((name, value) for name, value in session.counters.items()),
        ("BUY signals", session.signals.buy),
        ("SELL signals", session.signals.sell),
        ("signals digest", session.signals.sha256),
        ("first event", session.first_event),
        ("last event", session.last_event),
        *_since_last(session.since_last),
        *(("left out by a restore", loss) for loss in session.left_out),
        ("pipeline, s", f"{session.pipeline_s:.3f}"),
        ("ticks a second", f"{session.ticks_per_second:,.0f}"),
        ("rows a second", f"{session.rows_per_second:,.0f}"),
        ("lag, ms", session.lag_ms or None),
        ("receive → order, µs", session.latency_us or None),
        *((f"veto {reason}", count) for reason, count in sorted(session.vetoes.items())),
        *((f"rejected {cause}", count) for cause, count in sorted(session.rejected.items())),
    ]
    return table(("", "value"), rows)


def _since_last(since: SessionGap | None) -> Iterable[tuple[str, Any]]:
    if since is None:
        return
    yield "session before", f"{since.session_id}, {since.state}, ended {since.seconds:.1f} s before this one began"
    for gap in since.instruments:
        missing = "not known" if gap.missing is None else gap.missing
        yield f"no tick of {gap.venue} {gap.symbol}, s", f"{gap.seconds:.1f}; trades missing: {missing}"


def _assumptions(files: SessionFiles) -> str:
    if files.preflight is None:
        return ""
    settings = files.preflight.settings
    rows = [(f"{part}.{key}", value) for part in ("risk", "execution") for key, value in settings[part].items()]
    if settings["mode"] == "PAPER":
        rows += [(f"paper.{key}", value) for key, value in settings["paper"].items()]
    return table(("assumption", "value"), rows)


def _ledger(files: SessionFiles) -> str:
    if files.session is None:
        return ""
    ledger = files.session.ledger
    rows = [(row.kind, row.name, row.reason, row.count) for row in ledger.rows]
    told = (
        "It balances."
        if ledger.balances
        else "It does not balance:\n\n" + "\n".join(f"- {cell(f)}" for f in ledger.faults)
    )
    return table(("kind", "name", "reason", "count"), rows) + "\n\n" + told


def _database(files: SessionFiles) -> str:
    before = files.pragma.before if files.pragma else None
    after = files.postflight.after if files.postflight else None
    if before is None and after is None:
        return ""

    def row(name: str, of: Any) -> tuple[str, Any, Any]:
        return name, of(before) if before else None, of(after) if after else None

    def exists(report: DatabaseReport) -> str:
        return "readable" if report.readable else "unreadable" if report.exists else "new"

    rows = [
        row("state", exists),
        row("schema", lambda report: report.schema),
        row("ticks, all sessions", lambda report: report.ticks),
    ]
    parts = [table(("", "before", "after"), rows)]
    if files.pragma and files.pragma.migrations:
        parts.append("Migrations applied: " + ", ".join(map(cell, files.pragma.migrations)) + ".")
    if files.postflight and files.postflight.counted:
        parts.append(table(("table", "rows of this session, counted now"), sorted(files.postflight.counted.items())))
    return "\n\n".join(parts)


def _guardrails(files: SessionFiles) -> str:
    if files.postflight is None:
        return ""
    marks = {"PASS": "[x]", "FAIL": "[ ]", "NOT_RUN": "[ ]"}
    gates = [proof for proof in files.postflight.proofs if proof.id.startswith("G")]
    return "\n".join(
        f"- {marks[g.verdict.value]} **{g.id}** {cell(g.claim)}: {g.verdict.value} ({cell(g.actual)})" for g in gates
    )


def _conclusion(files: SessionFiles) -> str:
    evidence = [part for part in files if part is not None]
    reasons = [f"{part.kind}: {reason}" for part in evidence for reason in part.reasons]
    verdict = "PASS" if files.postflight and files.postflight.verdict.value == "PASS" else "FAIL"
    if not reasons and verdict == "FAIL":
        reasons = ["the run did not get to its end"]
    return f"**{verdict}**" + "".join(f"\n\n- {cell(reason)}" for reason in reasons)

"""The view model of a session's report: built once from the evidence, rendered by `markdown` and `html` (G5).

in: the evidence (each piece None if the run did not get so far), its attachments and its measured trading · out: a
`SessionReport`. The Dagster UI shows single tables of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from hybrid_platform.domain.isolation import SelfTest
from hybrid_platform.domain.records import (
    DatabaseReport,
    HealthcheckRecord,
    PragmaReading,
    PressureGate,
    ResourcePressure,
    SystemState,
)
from hybrid_platform.evidence.matrix import Matrix, MatrixRow
from hybrid_platform.evidence.records import PostflightEvidence, PreflightEvidence, Proof, SessionEvidence, SessionFiles
from hybrid_platform.report.attachments import ReportAssets
from hybrid_platform.report.blocks import (
    Badge,
    Block,
    Columns,
    Lines,
    Note,
    Picture,
    Pictures,
    Section,
    SessionReport,
    Table,
    facts,
)
from hybrid_platform.report.diagrams import draw_event_flow, draw_host_plots
from hybrid_platform.report.trading import Trading, assumption_table, trading_tables

Rows = Iterable[tuple[Any, ...]]


def build_report(files: SessionFiles, assets: ReportAssets, trading: Trading | None = None) -> SessionReport:
    """Return the view model of a session's report, with the session's ``trading`` if it was measured.

    Raises ValueError without any evidence.
    """
    evidence = [record for record in files if record is not None]
    if not evidence:
        raise ValueError("expected at least one evidence file of the session, got none")
    session, postflight = files.session, files.postflight
    passed = postflight is not None and postflight.verdict.value == "PASS" and files.refusal is None
    reasons: dict[str, str] = {}
    for record in reversed(evidence):
        for reason in record.reasons:
            reasons.setdefault(reason, f"{record.kind}: {reason}")
    settings = files.preflight.settings if files.preflight else {}
    proofs = postflight.proofs if postflight else ()
    contents: dict[str, Iterable[Block]] = {
        "Guardrails": _guardrails(files),
        "Verification matrix": _matrix(proofs, assets.matrix),
        "Isolation": _isolation(session),
        "Behaviour map": _behaviour(session),
        "Ledger": _ledger(session),
        "System state": _system(files),
        "Healthcheck and CPU pressure": _host(files),
        "Load and sampling": _load(files, assets),
        "Results": _results(session),
        "LIVE execution": _live(session),
        "Trading": _trading(files, assets, trading),
        "Assumptions of the trading model": [assumption_table(settings)] if settings else [],
        "Database before and after": _database(files),
        "Evidence, and how to check it": _identity(files, assets),
        "Key log lines": [Lines(postflight.log_lines)] if postflight and postflight.log_lines else [],
    }
    return SessionReport(
        session_id=evidence[0].session_id,
        mode=settings.get("mode") or (session.mode if session else None),
        verdict="PASS" if passed else "FAIL",
        subtitle=_subtitle(session, evidence[0].started_at, evidence[-1].ended_at),
        reasons=tuple(reasons.values()) or (() if passed else ("the run did not get to its end",)),
        figures=facts(*(_figures(session) if session else ())),
        sections=tuple(Section(title, tuple(blocks)) for title, blocks in contents.items()),
    )


def proof_table(rows: Sequence[Proof | MatrixRow], title: str = "", *, is_folded: bool = False) -> Table:
    """Return rows of a verification matrix; those of the full matrix also show how long they took."""
    timed = any(isinstance(row, MatrixRow) for row in rows)
    cells = (
        (
            *(row.id, Badge(row.verdict.value), row.claim, row.expected, row.actual),
            *((f"{row.duration_s:.1f}",) if isinstance(row, MatrixRow) else ()),
        )
        for row in rows
    )
    heads = ("id", "verdict", "claim", "expected", "actual", *(("seconds",) if timed else ()))
    return Table(heads, tuple(cells), title, is_folded)


def select_gates(proofs: Iterable[Proof]) -> tuple[Proof, ...]:
    """Return the proofs of the gates G0 to G5."""
    return tuple(proof for proof in proofs if proof.id.startswith("G"))


def channel_table(session: SessionEvidence) -> Table:
    """Return the figures of every channel."""
    return Table(
        ("channel", "capacity", "policy", "sent", "received", "dropped", "left", "most waiting"),
        tuple(
            (c.name, c.capacity, c.policy, c.sent, c.received, c.dropped, c.depth, c.max_depth)
            for c in session.channels
        ),
    )


def ledger_table(session: SessionEvidence) -> Table:
    """Return every row of the ledger."""
    rows = tuple((row.kind, row.name, row.reason, row.count) for row in session.ledger.rows)
    return Table(("kind", "name", "reason", "count"), rows, "All rows of the ledger", is_folded=True)


def health_table(records: Mapping[str, HealthcheckRecord | None]) -> Table:
    """Return healthchecks side by side, each under its heading."""

    def judged(record: HealthcheckRecord) -> dict[str, str]:
        items = {item.name: f"{item.judged} {item.detail}" for item in record.items}
        return {**items, "all": f"{record.verdict.value} {record.why}".strip()}

    return _compare({when: judged(record) if record else {} for when, record in records.items()}, "item")


def pragma_table(readings: Iterable[PragmaReading]) -> Table:
    """Return the PRAGMAs as every connection read them back (I5)."""
    rows = tuple((reading.connection, reading.name, str(reading.expected), str(reading.got)) for reading in readings)
    return Table(("connection", "pragma", "expected", "read back"), rows, "PRAGMAs", is_folded=True)


def _subtitle(session: SessionEvidence | None, started: str, ended: str) -> str:
    if session is None:
        return f"{started} to {ended}"
    source = f"{session.strategy['name']} on the {next(iter(session.feed))} feed"
    return f"{source}, {started} to {ended}: {session.state}, {session.exit_reason}"


def _figures(session: SessionEvidence) -> Rows:
    counters = session.counters
    yield "ticks", counters["tick_count"]
    yield "signals", session.signals.count
    yield "orders", session.orders
    yield "trades", counters["trade_count"]
    yield "vetoes", counters["risk_vetoes"]
    yield "dropped", sum(channel.dropped for channel in session.channels)
    yield "ticks a second", f"{session.ticks_per_second:,.0f}"
    yield "seconds", f"{session.pipeline_s:,.1f}"


def _guardrails(files: SessionFiles) -> Iterable[Block]:
    if files.postflight:
        yield Note("Gates of the contract, judged over the whole run.")
        yield replace(proof_table(select_gates(files.postflight.proofs)), is_checklist=True)
    conditions = files.preflight.live_gate if files.preflight else ()
    if conditions:
        rows = tuple((Badge("PASS" if each.met else "FAIL"), each.name, each.detail) for each in conditions)
        yield Table(("verdict", "condition", "found"), rows, "The LIVE gate (G1, S14)")


def _matrix(proofs: Sequence[Proof], full: Matrix | None) -> Iterable[Block]:
    judged = [proof for proof in proofs if not proof.id.startswith("G")]
    not_run = [proof for proof in judged if proof.verdict.value == "NOT_RUN"]
    if judged:
        yield Note("Proved by this session itself:")
        yield proof_table([proof for proof in judged if proof not in not_run])
    if not_run:
        ids = ", ".join(proof.id for proof in not_run)
        yield Note(f"Not proved by a single session, but by the full matrix: {ids}", Badge("NOT_RUN"))
        yield proof_table(not_run, "The rows that were not judged", is_folded=True)
    if full is None:
        yield Note("No full matrix of this commit was found; the command 'hybrid-platform matrix' makes it.")
    else:
        proved = f"{len(full.rows) - len(full.unproved)} of {len(full.rows)} ids proved"
        verdict = Badge("PASS" if full.is_full else "FAIL")
        yield Note(f"The full matrix of this commit, {full.started_at}: {proved}.", verdict)
        yield proof_table(full.rows, "The rows of the full matrix", is_folded=True)


def _isolation(session: SessionEvidence | None) -> Iterable[Block]:
    if session is None:
        return
    isolation = session.isolation
    control, landlock = isolation.control, isolation.landlock
    enforced = f"Enforced {isolation.enforced}, requested {isolation.requested}"
    verdict = Badge("PASS" if isolation.enforced == "kernel-process" else "UNAVAILABLE")
    yield Note(f"{enforced}, {isolation.denied_attempts} denied attempts, as read back (I1).", verdict)
    yield facts(
        *(("not higher, because", why) for why in isolation.why),
        ("filter SHA-256", isolation.filter_sha256),
        ("denied calls counted by the kernel", isolation.kernel_counts),
        ("positive control", f"network {'reached' if control.network else 'not reached'} before sandboxing"),
        ("Landlock", f"ABI {landlock.abi}, over all threads: {'yes' if landlock.all_threads else 'no'}"),
        ("the process", isolation.ending),
        *(("refused by the host", fault) for fault in isolation.faults),
    )
    readings = tuple(
        (when, f"{thread.name} {thread.tid}", thread.no_new_privs, thread.seccomp, thread.filters, reading.sockets)
        for when, reading in (("start", isolation.start), ("end", isolation.end))
        if reading
        for thread in reading.threads or ()
    )
    if readings:
        heads = ("when", "thread", "no new privileges", "seccomp", "filters", "sockets in the process")
        yield Table(heads, readings, "Every thread of the sandboxed process")
    yield from _self_tests({"at the start": isolation.selftest_start, "at the end": isolation.selftest_end})
    if isolation.denied:
        denied = tuple((each.stage, each.kind.value, each.name, each.source, each.count) for each in isolation.denied)
        yield Table(("stage", "kind", "call", "seen by", "count"), denied, "Denied attempts")


def _self_tests(tests: Mapping[str, SelfTest | None]) -> Iterable[Block]:
    """Yield each attempt with its expected outcome, and its outcome in each self-test."""
    outcomes: dict[tuple[str, str], dict[str, str]] = {}
    for when, test in tests.items():
        for attempt in test.attempts if test else ():
            outcomes.setdefault((attempt.name, attempt.expected), {})[when] = attempt.outcome
    if not outcomes:
        return
    heard = sum(test.heard for test in tests.values() if test)
    yield Note(
        f"Self-test: {len(outcomes)} attempts that must fail, at the start and at the end; "
        f"a listener outside heard {heard} of them.",
        Badge("PASS" if all(test is not None and test.held for test in tests.values()) else "FAIL"),
    )
    rows = tuple((*attempt, *map(found.get, tests)) for attempt, found in outcomes.items())
    yield Table(("attempt", "expected", *tests), rows, "Each attempt", is_folded=True)


def _behaviour(session: SessionEvidence | None) -> Iterable[Block]:
    if session is None:
        return
    counters, channels = session.counters, {figures.name: figures for figures in session.channels}

    def channel(name: str) -> tuple[str, ...]:
        c = channels[name]
        flow = f"sent {c.sent} = received {c.received} + dropped {c.dropped} + left {c.depth}"
        return f"{name} channel", c.policy, "S6", flow

    ticks, orders, persisted = (
        f"{counters['tick_count']} ticks, {counters['rejected']} rejected, {counters['duplicates']} duplicates",
        f"{session.orders} orders, {counters['trade_count']} trades, {counters['risk_vetoes']} vetoes",
        f"{counters['persist_count']} rows, {counters['persist_errors']} errors",
    )
    rows = (
        ("ingest", "numbers, validates, de-duplicates", "S2 S5", ticks),
        channel("tick"),
        ("strategy", session.strategy["name"], "S8", f"{session.signals.count} signals"),
        channel("signal"),
        ("execution", f"risk, then the {session.mode.lower()} adapter", "S7 S9 I1 I2", orders),
        channel("persist"),
        ("persist", "one writer, in batches", "S12 I6", persisted),
        ("supervisor", "heartbeats, drain", "S13 G4", f"{session.heartbeats.sent} heartbeats, {session.exit_reason}"),
    )
    yield Table(("stage", "does", "carries", "this run"), rows)


def _ledger(session: SessionEvidence | None) -> Iterable[Block]:
    if session is None:
        return
    ledger = session.ledger
    yield Note("Where every event went.")
    yield Pictures((Picture("", draw_event_flow(session)),))
    balance = "The ledger balances." if ledger.balances else "The ledger does not balance:"
    yield Note(balance, Badge("PASS" if ledger.balances else "FAIL"))
    yield from (Note(fault, Badge("FAIL")) for fault in ledger.faults)
    yield channel_table(session)
    yield ledger_table(session)


def _compare(columns: Mapping[str, Mapping[str, Any]], first_head: str = "") -> Table:
    """Return figures side by side; a column without figures stays empty."""
    names = dict.fromkeys(name for figures in columns.values() for name in figures)
    return Table(
        (first_head, *columns), tuple((name, *(each.get(name) for each in columns.values())) for name in names)
    )


def _around(files: SessionFiles) -> dict[str, PreflightEvidence | PostflightEvidence | None]:
    """Return the evidence of the host before and after the session."""
    return {"before": files.preflight, "after": files.postflight}


def _system(files: SessionFiles) -> Iterable[Block]:
    columns = {when: _system_figures(each.system) if each else {} for when, each in _around(files).items()}
    if any(columns.values()):
        yield Note("The host before and after the session.")
        yield _compare(columns)


def _system_figures(state: SystemState) -> dict[str, Any]:
    load, up = state.load, state.uptime_s
    sizes = {"memory available": state.memory_available_bytes, "disk free": state.disk_free_bytes}
    return {
        "hostname": state.hostname,
        "kernel": state.kernel,
        "python": state.python,
        "cores": state.cores,
        "load average": load and f"{load.one_minute:.2f} {load.five_minutes:.2f} {load.fifteen_minutes:.2f}",
        "up for": None if up is None else f"{up:,.0f} s",
        **{name: None if size is None else f"{size // 2**20:,} MB" for name, size in sizes.items()},
    }


def _host(files: SessionFiles) -> Iterable[Block]:
    around = _around(files)
    if any(around.values()):
        yield health_table({when: each.healthcheck if each else None for when, each in around.items()})
    for when, evidence in around.items():
        if evidence:
            gate = evidence.pressure
            reading = f"{gate.last.percent:g} % against a limit of {gate.limit:g} %"
            how = f"by {gate.last.source.value}, after {gate.waited_s:.0f} s"
            yield Note(f"CPU pressure (G2) {when} the session: {reading}, {how}.", Badge(gate.verdict.value))
            yield _pressure(gate, f"Pressure {when} the session")


def _pressure(gate: PressureGate, title: str) -> Table:
    rows: list[tuple[Any, ...]] = []
    for label, reading in (("first", gate.first), ("last", gate.last)):
        for resource in ("cpu", "memory", "io"):
            rows += _averages(f"{label} {resource}", getattr(reading, resource))
        if reading.cpu is None:
            rows.append((f"{label} load ÷ cores", f"{reading.load_percent} %", None, None, None))
    return Table(("reading", "avg10", "avg60", "avg300", "total µs"), tuple(rows), title, is_folded=True)


def _averages(label: str, pressure: ResourcePressure | None) -> Rows:
    for kind, line in (("some", pressure.some), ("full", pressure.full)) if pressure else ():
        if line is not None:
            yield f"{label} {kind}", f"{line.avg10}", f"{line.avg60}", f"{line.avg300}", line.total


def _load(files: SessionFiles, assets: ReportAssets) -> Iterable[Block]:
    """Yield the load, and the steps of the throttle ladder (S15)."""
    if plots := draw_host_plots(assets.timeline, files):
        yield Pictures(tuple(Picture(*each) for each in plots))
    if files.session is None:
        return
    found = files.session.overload
    if found is None:
        yield Note("Nothing is left out of this feed, so there is nothing to throttle.")
        return
    bounds = {
        "CPU pressure": (found.pressure_limit, "%"),
        "queue": (found.queue_limit, "%"),
        "lag": (found.lag_limit_ms, "ms"),
    }
    limits = ", ".join(f"{name} {'off' if at is None else f'{at:g} {unit}'}" for name, (at, unit) in bounds.items())
    source = found.source or "no reading"
    rows = (
        ("CPU pressure", f"mean {found.mean_pressure:g} %, most {found.max_pressure:g} % ({source})"),
        ("channels, most waiting", f"{found.max_queue:g} %"),
        ("ingest behind, most", f"{found.max_lag_ms:g} ms"),
        ("limits", limits if found.sample else f"{limits}; only watched"),
        ("at or above a limit", f"{found.above_s:g} s, at most {found.longest_above_s:g} s at a time"),
        ("… while the feed was too slow to be sampled", f"{found.exempt_s:g} s" if found.exempt_s else None),
        *((f"one tick in {n}", f"{seconds:g} s") for n, seconds in _by_level(found.seconds_at) if seconds),
        *((f"sampled out at one in {n}", count) for n, count in _by_level(found.sampled_out)),
        ("stopped at the top", "yes: OVERLOAD" if found.stopped else None),
    )
    yield facts(*(row for row in rows if row[1] is not None))
    if found.steps:
        steps = tuple(
            (step.at, f"{step.elapsed_s:.1f}", f"{step.before} → {step.after}", step.why, f"{step.held_s:.1f}")
            for step in found.steps
        )
        yield Table(("at", "after, s", "one tick in", "because", "held for, s"), steps, "Throttle ladder (S15)")


def _by_level(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(values.items(), key=lambda item: int(item[0]))


def _results(session: SessionEvidence | None) -> Iterable[Block]:
    if session is not None:
        yield facts(
            ("state", session.state),
            ("exit code", session.exit_code),
            ("exit reason", session.exit_reason),
            ("failure", session.failure),
            ("clean end", session.clean),
            *session.counters.items(),
            ("BUY signals", session.signals.buy),
            ("SELL signals", session.signals.sell),
            ("signals digest", session.signals.sha256),
            ("first event", session.first_event),
            ("last event", session.last_event),
            *_gap_since_last(session),
            *(("left out by a restore", loss) for loss in session.left_out),
            ("pipeline, s", f"{session.pipeline_s:.3f}"),
            ("ticks a second", f"{session.ticks_per_second:,.0f}"),
            ("rows a second", f"{session.rows_per_second:,.0f}"),
            ("lag, ms", _quantiles(session.lag_ms)),
            ("receive → order, µs", _quantiles(session.latency_us)),
            *((f"veto {reason}", count) for reason, count in sorted(session.vetoes.items())),
            *((f"rejected {cause}", count) for cause, count in sorted(session.rejected.items())),
        )


def _gap_since_last(session: SessionEvidence) -> Rows:
    since = session.since_last
    if since is None:
        return
    yield "session before", f"{since.session_id}, {since.state}, ended {since.seconds:.1f} s before this one began"
    for gap in since.instruments:
        missing = "not known" if gap.missing is None else gap.missing
        yield f"no tick of {gap.venue} {gap.symbol}, s", f"{gap.seconds:.1f}; trades missing: {missing}"


def _quantiles(values: Mapping[str, float]) -> str | None:
    return ", ".join(f"{name} {value:g}" for name, value in values.items()) or None


def _live(session: SessionEvidence | None) -> Iterable[Block]:
    """Yield the orders that a LIVE session sent to a venue, and their outcome (S14)."""
    if session is None:
        return
    live = session.live
    if live is None:
        yield Note(f"Nothing is sent to a venue in mode {session.mode}.")
        return
    still_open = ", ".join(f"{order_id} {status}" for order_id, status in live.open_orders.items())
    yield facts(
        ("LIVE account", live.account),
        ("LIVE adapter", live.adapter),
        ("armed maximum notional, USD", live.max_notional_usd),
        ("orders sent to the venue", live.submitted),
        ("orders held back by the independent check or the kill switch", live.refused),
        ("cancels requested", live.cancels),
        ("reports of the venue", live.reports),
        ("exposure at the end, USD", live.exposure_usd),
        ("may still be open at the venue", still_open or "none"),
    )


def _trading(files: SessionFiles, assets: ReportAssets, trading: Trading | None) -> Iterable[Block]:
    if trading is not None:
        yield Note(f"Money in USD at the session's stated rates. {trading.measures.sampling.capitalize()}.")
    elif files.session:
        yield Note("The trading of this session was not measured.")
    if assets.images:
        images = tuple(Picture(PurePosixPath(name).name, content=content) for name, content in assets.images)
        yield Pictures(images, tuple(trading.plots) if trading else ())
    if trading is not None:
        yield Columns(tuple(trading_tables(trading.measures)))


def _database(files: SessionFiles) -> Iterable[Block]:
    pragma, postflight = files.pragma, files.postflight
    if pragma or postflight:
        before, after = pragma.before if pragma else None, postflight.after if postflight else None
        yield _compare({"before": _database_figures(before), "after": _database_figures(after)})
    if pragma and pragma.migrations:
        yield Note(f"Migrations applied: {', '.join(pragma.migrations)}.")
    if pragma and pragma.pragmas:
        yield pragma_table(pragma.pragmas.readings)
    if postflight and postflight.counted:
        rows = ((f"rows in {table}", count) for table, count in sorted(postflight.counted.items()))
        yield facts(*rows, title="Rows of this session, counted after it")


def _database_figures(report: DatabaseReport | None) -> dict[str, Any]:
    if report is None:
        return {}
    state = "readable" if report.readable else "unreadable" if report.exists else "new"
    return {"state": state, "schema": report.schema, "ticks, all sessions": report.ticks}


def _identity(files: SessionFiles, assets: ReportAssets) -> Iterable[Block]:
    known = next(record for record in files if record is not None)
    code, session = known.code, files.session
    entries, head = assets.chain or (0, None)
    yield Note(
        "This report was made from the files below and is signed together with them. To check it without trusting "
        "it or the machine it came from, take the whole directory, and the public key from elsewhere:"
    )
    yield Lines(
        (
            f"hybrid-platform verify evidence/{known.session_id} --trusted-keys KEYS",
            "sha256sum manifest.json        # the bundle's digest: signed, and armed by an operator",
        )
    )
    yield facts(
        ("run", known.run_id),
        ("code", f"{code.version} at {code.commit or 'no commit'}{' (dirty)' if code.dirty else ''}"),
        ("code SHA-256", code.sha256),
        ("strategy SHA-256", files.preflight.strategy_sha256 if files.preflight else None),
        ("config_sha256", known.config_sha256),
        ("trading_sha256", known.trading_sha256),
        *((("mode", session.mode), ("feed", session.feed), ("strategy", session.strategy)) if session else ()),
        *(
            (f"input {item['name']}", f"{item['bytes']:,} bytes, SHA-256 {item['sha256']}")
            for item in (session.inputs if session else ())
        ),
        ("chain of events", f"{entries:,} events, head {head}" if head else None),
        ("signed by", assets.keyid),
    )
    if assets.digests:
        yield Table(("file", "SHA-256"), assets.digests)

"""`report.html`: one file that an auditor can read and print, and that asks for nothing from anywhere.

in: a session's records, its chain, its pictures · out: HTML. Templates escape everything; what is shown of
the outside is one printable line first. The page forbids scripts and requests by its own policy.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from hybrid_platform.domain.contract import CONTRACT_IDS
from hybrid_platform.domain.isolation import SelfTest
from hybrid_platform.domain.records import HealthcheckRecord, PressureGate, SystemState
from hybrid_platform.evidence.matrix import Matrix
from hybrid_platform.evidence.records import Proof, SessionEvidence, SessionFiles
from hybrid_platform.report.diagrams import flow_of, host_plots
from hybrid_platform.report.live import live_facts
from hybrid_platform.report.load import STEP_HEADS, load_facts, step_rows
from hybrid_platform.report.timeline import Timeline
from hybrid_platform.report.trading import Trading, trading_tables
from hybrid_platform.security.redaction import to_printable

CELL, LINE = 400, 600
IMAGES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}

Rows = Sequence[tuple[Any, ...]]


class Extras(NamedTuple):
    """What a session's page shows beside its records."""

    timeline: Timeline = Timeline()
    images: tuple[tuple[str, bytes], ...] = ()
    """File name and content; names end in a known image ending."""
    digests: tuple[tuple[str, str], ...] = ()
    """File name and SHA-256 of what is signed with the page."""
    keyid: str | None = None
    """Of the key that signs."""
    chain: tuple[int, str] | None = None
    """Entries and head."""
    matrix: Matrix | None = None
    """The full matrix of the session's commit, if there is one."""


def session_page(files: SessionFiles, extras: Extras, trading: Trading | None = None) -> str:
    """Return a session's page; raise ValueError where there is no evidence at all."""
    return _render("session.html", page=_page(files, extras, trading))


def matrix_page(matrix: Matrix) -> str:
    """Return the page of a verification matrix."""
    return _render(
        "matrix.html", matrix=matrix, total=len(CONTRACT_IDS), proved=len(CONTRACT_IDS) - len(matrix.unproved)
    )


def _render(name: str, **context: Any) -> str:
    templates = PackageLoader("hybrid_platform.report")
    environment = Environment(loader=templates, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"shown": _shown, "line": lambda text: to_printable(str(text), LINE)}
    return environment.get_template(name).render(**context)


def _shown(value: object) -> str:
    """Return a value as one printable line; the template escapes it."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return to_printable(str(value), CELL)


def _page(files: SessionFiles, extras: Extras, trading: Trading | None) -> dict[str, Any]:
    evidence = [record for record in files if record is not None]
    if not evidence:
        raise ValueError("expected at least one evidence file of the session, got none")
    known, last = evidence[0], evidence[-1]
    session, postflight = files.session, files.postflight
    passed = postflight is not None and postflight.verdict.value == "PASS" and files.refusal is None
    reasons = tuple(dict.fromkeys(reason for record in reversed(evidence) for reason in record.reasons))
    proofs: Sequence[Proof] = postflight.proofs if postflight else ()
    settings = files.preflight.settings if files.preflight else {}
    return {
        "session_id": known.session_id,
        "verdict": "PASS" if passed else "FAIL",
        "headline": f"{settings.get('mode', 'Session')} session {known.session_id}",
        "subtitle": _subtitle(files, known.started_at, last.ended_at),
        "reasons": reasons or (() if passed else ("the run did not get to its end",)),
        "figures": _figures(files),
        "gates": [proof for proof in proofs if proof.id.startswith("G")],
        "proofs": [proof for proof in proofs if not proof.id.startswith("G") and proof.verdict.value != "NOT_RUN"],
        "not_run": [proof.id for proof in proofs if proof.verdict.value == "NOT_RUN"],
        "live_gate": files.preflight.live_gate if files.preflight else (),
        "matrix": extras.matrix,
        **_isolation(files),
        "flow": flow_of(session) if session else None,
        "ledger_balances": session.ledger.balances if session else None,
        "ledger_faults": session.ledger.faults if session else (),
        "channels": [
            (c.name, c.capacity, c.policy, c.sent, c.received, c.dropped, c.left, c.high_water)
            for c in (session.channels if session else ())
        ],
        "ledger": [(row.kind, row.name, row.reason, row.count) for row in session.ledger.rows] if session else [],
        "plots": host_plots(extras.timeline, files),
        "host": _host(files),
        **_load(session),
        "results": _results(files),
        "tables": trading_tables(trading.measures) if trading else (),
        "sampling": trading.measures.sampling if trading else "",
        "images": [(name.rpartition(".")[0], _uri(name, content)) for name, content in extras.images],
        "assumptions": [
            (f"{part}.{key}", value)
            for part in ("risk", "execution", *(("paper",) if settings.get("mode") == "PAPER" else ()))
            for key, value in settings.get(part, {}).items()
        ],
        "identity": _identity(files, extras),
        "digests": extras.digests,
        "log_lines": postflight.log_lines if postflight else (),
    }


def _subtitle(files: SessionFiles, started: str, ended: str) -> str:
    session = files.session
    if session is None:
        return f"{started} to {ended}"
    feed = next(iter(session.feed))
    return (
        f"{session.strategy['name']} on the {feed} feed, {started} to {ended}: {session.state}, {session.exit_reason}"
    )


def _figures(files: SessionFiles) -> Rows:
    session = files.session
    if session is None:
        return ()
    counters = session.counters
    return (
        ("ticks", counters["tick_count"]),
        ("signals", session.signals.count),
        ("orders", session.orders),
        ("trades", counters["trade_count"]),
        ("vetoes", counters["risk_vetoes"]),
        ("dropped", sum(channel.dropped for channel in session.channels)),
        ("ticks a second", f"{session.ticks_per_second:,.0f}"),
        ("seconds", f"{session.pipeline_s:,.1f}"),
    )


def _isolation(files: SessionFiles) -> dict[str, Any]:
    isolation = files.session.isolation if files.session else None
    if isolation is None:
        return {"isolation": None}
    looks = (("start", isolation.start), ("end", isolation.end))
    tests = (("start", isolation.selftest_start), ("end", isolation.selftest_end))
    control, landlock = isolation.control, isolation.landlock
    return {
        "isolation": isolation,
        "isolation_facts": [
            *(("not higher, because", why) for why in isolation.why),
            ("filter SHA-256", isolation.filter_sha256),
            ("denied calls counted by the kernel", isolation.kernel_counts),
            ("positive control", f"network {'reached' if control.network else 'not reached'} before the guard"),
            ("Landlock", f"ABI {landlock.abi}, over all threads: {'yes' if landlock.all_threads else 'no'}"),
            ("the process", isolation.ending),
            *(("refused by the host", fault) for fault in isolation.faults),
        ],
        "isolation_readings": [
            (when, f"{thread.name} {thread.tid}", thread.no_new_privs, thread.seccomp, thread.filters, look.sockets)
            for when, look in looks
            if look
            for thread in look.threads or ()
        ],
        "selftests": _attempts(tests),
        "selftests_held": all(test is not None and test.held for _, test in tests),
        "selftests_heard": sum(test.heard for _, test in tests if test),
        "denied": [(each.stage, each.kind.value, each.name, each.source, each.count) for each in isolation.denied],
    }


def _attempts(tests: Sequence[tuple[str, SelfTest | None]]) -> Rows:
    """Return each attempt with what was expected, and how it ended in each of the self-tests."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for when, test in tests:
        for attempt in test.attempts if test else ():
            found.setdefault((attempt.name, attempt.expected), {})[when] = attempt.outcome
    return [(*attempt, *(ended.get(when) for when, _ in tests)) for attempt, ended in found.items()]


def _host(files: SessionFiles) -> Rows:
    before, after = files.preflight, files.postflight

    def row(name: str, of: Any) -> tuple[Any, ...]:
        return name, of(before) if before else None, of(after) if after else None

    def load(state: SystemState) -> str | None:
        if state.load is None:
            return None
        return f"{state.load.one_minute:.2f} {state.load.five_minutes:.2f} {state.load.fifteen_minutes:.2f}"

    def health(record: HealthcheckRecord) -> str:
        return f"{record.verdict.value} {record.why}".strip()

    def pressure(gate: PressureGate) -> str:
        return f"{gate.verdict.value}: {gate.last.percent:g} % of {gate.limit:g} %, by {gate.last.source.value}"

    names = dict.fromkeys(item.name for part in (before, after) if part for item in part.healthcheck.items)

    def item(name: str) -> Any:
        return lambda part: next(
            (f"{each.judged} {each.detail}" for each in part.healthcheck.items if each.name == name), None
        )

    return [
        row("healthcheck (G1)", lambda part: health(part.healthcheck)),
        *(row(f"… {name}", item(name)) for name in names),
        row("CPU pressure (G2)", lambda part: pressure(part.pressure)),
        row("load average", lambda part: load(part.system)),
        row("host", lambda part: f"{part.system.hostname}, {part.system.cores} cores, {part.system.kernel}"),
        row("memory available", lambda part: _megabytes(part.system.memory_available_bytes)),
        row("disk free", lambda part: _megabytes(part.system.disk_free_bytes)),
        row("up for", lambda part: None if part.system.uptime_s is None else f"{part.system.uptime_s:,.0f} s"),
    ]


def _megabytes(count: int | None) -> str | None:
    return None if count is None else f"{count // 2**20:,} MB"


def _load(session: SessionEvidence | None) -> dict[str, Any]:
    figures = session.overload if session else None
    return {
        "load": [fact for fact in load_facts(figures) if fact[1] is not None] if figures else [],
        "step_heads": STEP_HEADS,
        "steps": step_rows(figures) if figures else [],
    }


def _results(files: SessionFiles) -> Rows:
    session = files.session
    if session is None:
        return ()
    counted = files.postflight.counted if files.postflight else {}
    return [
        ("state", f"{session.state}, exit code {session.exit_code}, {session.exit_reason}"),
        ("clean end", session.clean),
        ("failure", session.failure),
        *live_facts(session.live),
        ("signals", f"{session.signals.buy:,} BUY, {session.signals.sell:,} SELL"),
        ("signals digest", session.signals.sha256),
        *((f"vetoed {reason}", count) for reason, count in sorted(session.vetoes.items())),
        *((f"rejected {cause}", count) for cause, count in sorted(session.rejected.items())),
        ("first event", session.first_event),
        ("last event", session.last_event),
        ("lag, ms", _quantiles(session.lag_ms)),
        ("receive → order, µs", _quantiles(session.latency_us)),
        *((f"rows in {table}", count) for table, count in sorted(counted.items())),
    ]


def _quantiles(values: dict[str, float]) -> str | None:
    return ", ".join(f"{name} {value:g}" for name, value in values.items()) or None


def _identity(files: SessionFiles, extras: Extras) -> Rows:
    known = next(record for record in files if record is not None)
    code, session = known.code, files.session
    entries, head = extras.chain or (0, None)
    strategy = files.preflight.strategy_sha256 if files.preflight else None
    return [
        ("run", known.run_id),
        ("code", f"{code.version} at {code.commit or 'no commit'}{' (dirty)' if code.dirty else ''}"),
        ("code SHA-256", code.sha256),
        ("strategy SHA-256", strategy),
        ("config_sha256", known.config_sha256),
        ("trading_sha256", known.trading_sha256),
        *((f"input {item['name']}", f"{item['bytes']:,} bytes, {item['sha256']}") for item in _inputs(session)),
        ("chain of events", f"{entries:,} events, head {head}" if head else None),
        ("signed by", extras.keyid),
    ]


def _inputs(session: Any) -> Sequence[dict[str, Any]]:
    return session.inputs if session else ()


def _uri(name: str, content: bytes) -> str:
    kind = IMAGES[name[name.rindex(".") :].lower()]
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"

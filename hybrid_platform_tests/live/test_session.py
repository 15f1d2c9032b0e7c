"""Whole LIVE sessions against a local venue: exactly the approved orders arrive."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from itertools import islice
from typing import Any

import pytest

from hybrid_platform.domain.clocks import Clock, SystemClock
from hybrid_platform.domain.commands import Command, CommandKind
from hybrid_platform.domain.errors import ExitCode, GateRefused
from hybrid_platform.evidence.chain import EventChain
from hybrid_platform.evidence.reproduction import ReproductionVerdict
from hybrid_platform.evidence.run_context import RunContext
from hybrid_platform.gates.database import verify_database
from hybrid_platform.gates.postflight import postflight
from hybrid_platform.gates.preflight import preflight
from hybrid_platform.host.pressure import read_pressure
from hybrid_platform.live.conditions import CONDITIONS
from hybrid_platform.live.execution import LiveExecution
from hybrid_platform.log.session_log import SessionLog
from hybrid_platform.reproduce.fresh import reproduce_in_sandbox
from hybrid_platform.run.finalize import finalize_run
from hybrid_platform.run.steps import build_runner
from hybrid_platform.session.commands import CommandFile
from hybrid_platform.session.runner import SessionRunner
from hybrid_platform.session.stages.ingest import Ingest
from hybrid_platform.settings.session import DEFAULT_ISOLATION
from hybrid_platform.testing import LocalVenue, Send
from hybrid_platform.testing.frames import binance_trades
from hybrid_platform_tests.live.test_gate import TRUTH
from hybrid_platform_tests.live.world import World
from hybrid_platform_tests.live_venue import Behaviour, OrderVenue, by_turns, fills_in_two, rests
from hybrid_platform_tests.support import PROCESS_TIMEOUT_S, Artifacts, wait_until

pytestmark = [
    pytest.mark.scenario("S14", "G1", "L1"),
    pytest.mark.skipif(
        DEFAULT_ISOLATION != "process" or read_pressure(SystemClock()).cpu is None,
        reason="LIVE refuses on a host without a kernel guard or PSI",
    ),
]
SESSION_ID = "20260102T030405Z-ffffffff"
ADAPTER = {"loopback": "hybrid_platform_tests.live_venue:LoopbackAdapter"}
During = Callable[[SessionRunner, OrderVenue], None]


@contextmanager
def context_of(world: World, clock: Clock) -> Iterator[tuple[RunContext, io.StringIO]]:
    """Yield a run in which everything that the world does not break holds, with this host's own pressure."""
    world.now_ns = clock.wall_ns()
    request = world.build()
    gates = request.settings.gates.model_copy(update={"cpu_pressure_limit": 99.99, "pressure_wait_seconds": 0.0})
    settings = request.settings.model_copy(update={"gates": gates})
    database = f"sqlite:///{world.folder}/data/bot.db"
    chain, output = EventChain(world.data, SESSION_ID, clock), io.StringIO()
    with SessionLog(SESSION_ID, clock, stream=output, data_dir=world.data, on_line=chain.watch) as log:
        yield RunContext(settings, SESSION_ID, "run", world.data, database, world.code, clock, log, chain), output


def live_session(
    world: World, behaviour: Behaviour, during: During, **venue: Any
) -> tuple[Artifacts, OrderVenue, str, int]:
    """Run a whole LIVE session, trading each fifth tick, until ``during`` returns; return what it left."""
    market = islice(binance_trades(["BTCUSDT"]), 100_000)
    with LocalVenue(market, [[Send(per_second=60)]]) as feed, OrderVenue(behaviour, **venue) as orders:
        source = {"venue": "binance", "symbols": ["BTCUSDT"], "url": feed.url}
        world.settings.update(feed={"websocket": {"sources": [source]}})
        world.settings.update(strategy={"name": "periodic", "params": {"every": 5, "size": "0.01"}}, seconds=60)
        world.adapters = ADAPTER
        with context_of(world, SystemClock()) as (run, output):
            assert preflight(run).reasons == ()
            assert verify_database(run).reasons == ()
            shadow = build_runner(run)
            shadow.start()
            during(shadow, orders)
            shadow.request_stop("TIME_LIMIT")
            assert shadow.wait(PROCESS_TIMEOUT_S)
            code = shadow.finish().exit_code
            postflight(run)
            finalize_run(run)
    return Artifacts(world.data.root), orders, output.getvalue(), code


def failed(shadow: SessionRunner, venue: OrderVenue) -> None:
    wait_until(lambda: shadow.wait(0), "the session to fail")


def after(orders: int) -> During:
    return lambda shadow, venue: wait_until(lambda: len(venue.of("submit")) >= orders, "orders at the venue")


def told(order: Mapping[str, Any]) -> tuple[str, str, str, Decimal, Decimal]:
    return order["order_id"], order["symbol"], order["side"], Decimal(order["qty"]), Decimal(order["price"])


@pytest.mark.scenario("S8", "S10", "S11")
def test_exactly_the_approved_orders_reach_the_venue(world):
    """With every condition met, the session passes, and its reproduction equals it."""
    artifacts, venue, output, code = live_session(world, by_turns, after(7))
    session, after_it = artifacts.evidence("session"), artifacts.evidence("postflight")
    assert (code, session["reasons"], after_it["reasons"]) == (0, [], [])
    assert venue.received[0] == {"kind": "open", "account": "main-account", "session_id": SESSION_ID}
    arrived = [told(said) for said in venue.of("submit")]
    assert arrived == [told(row) for row in artifacts.rows("SELECT * FROM orders ORDER BY seq")]
    assert len(arrived) >= 7
    # The resting orders were canceled once at the end, and nothing else was requested.
    resting = [order_id for number, (order_id, *_) in enumerate(arrived) if number % 3 == 1]
    assert [said["order_id"] for said in venue.of("cancel")] == resting
    states = {row["order_id"]: row["status"] for row in artifacts.rows("SELECT order_id, status FROM orders")}
    wanted = ("FILLED", "CANCELED", "REJECTED")
    assert [states[order_id] for order_id, *_ in arrived] == [wanted[k % 3] for k in range(len(arrived))]
    assert {row["is_shadow"] for row in artifacts.rows("SELECT is_shadow FROM orders")} == {0}
    trades = artifacts.rows("SELECT * FROM trades ORDER BY n")
    assert len(trades) == 2 * states_of(states, "FILLED")
    assert {(row["is_shadow"], Decimal(row["fees"])) for row in trades} == {(0, Decimal("0.01"))}
    (held,) = session["account"]["positions"]
    signed = [Decimal(row["fill_qty"]) * (1 if row["side"] == "BUY" else -1) for row in trades]
    assert Decimal(held["net"]) == sum(signed)
    figures = session["live"]
    assert (figures["submitted"], figures["refused"], figures["open_orders"]) == (len(arrived), 0, {})
    assert session["isolation"]["enforced"] == "kernel-process"
    assert session["isolation"]["denied"] == []
    proofs = {proof["id"]: proof for proof in after_it["proofs"]}
    assert [proofs[name]["verdict"] for name in ("S14", "I1", "I2", "I4", "S9")] == [*["PASS"] * 4, "NOT_RUN"]
    # Nothing claims to be what it is not.
    assert "NO NETWORK" not in output + artifacts.report
    assert "shadow order executed" not in output + artifacts.report
    assert "# LIVE run" in artifacts.report
    assert session["counters"]["shadow_orders"] == 0
    assert (world.data.root / "control/spent" / world.armed.nonce).exists()
    found = reproduce_in_sandbox(world.data, f"sqlite:///{world.folder}/data/bot.db", SESSION_ID)
    assert (found.verdict, found.reasons) == (ReproductionVerdict.PASS, ())
    # The venue reported each fill three times, and every report is on record.
    assert found.inputs["REPORT"] == figures["reports"] > len(arrived)


def states_of(states: dict[str, str], wanted: str) -> int:
    return list(states.values()).count(wanted)


@pytest.mark.scenario("S8")
def test_a_halt_cancels_at_once_and_nothing_is_sent_after_it(world):
    at_halt: list[int] = []

    def halt(shadow: SessionRunner, venue: OrderVenue) -> None:
        after(3)(shadow, venue)
        CommandFile(world.data, SystemClock()).append(Command(CommandKind.HALT, "ops", "a test"))
        wait_until(lambda: len(venue.of("cancel")) >= 3, "cancels at the venue")
        at_halt.append(len(venue.of("submit")))
        seen = shadow.progress().ticks
        wait_until(lambda: shadow.progress().ticks > seen + 12, "more signals, which are vetoed")

    artifacts, venue, _, code = live_session(world, rests, halt)
    assert code == 0
    assert [len(venue.of("submit"))] == at_halt
    assert {said["order_id"] for said in venue.of("cancel")} == {said["order_id"] for said in venue.of("submit")}
    assert {row["status"] for row in artifacts.rows("SELECT status FROM orders")} == {"CANCELED"}
    assert artifacts.rows("SELECT count(*) AS n FROM vetoes WHERE reason = 'HALTED'")[0]["n"] >= 1
    found = reproduce_in_sandbox(world.data, f"sqlite:///{world.folder}/data/bot.db", SESSION_ID)
    assert (found.verdict, found.reasons) == (ReproductionVerdict.PASS, ())


@pytest.mark.scenario("L4")
def test_an_order_left_open_by_the_venue_is_recorded(world):
    """The order keeps its last known state, and log, evidence and verdict report it."""
    world.live.update(close_seconds="0.3")
    artifacts, venue, output, code = live_session(world, rests, after(2), obeys_cancels=False)
    order_ids = [said["order_id"] for said in venue.of("submit")]
    session = artifacts.evidence("session")
    assert (code, session["verdict"]) == (0, "FAIL")
    assert [reason for reason in session["reasons"] if "expected no order open at the venue" in reason]
    assert session["live"]["open_orders"] == dict.fromkeys(order_ids, "ACCEPTED")
    assert {row["status"] for row in artifacts.rows("SELECT status FROM orders")} == {"PENDING_CANCEL"}
    assert output.count("live order may still be open at the venue") == len(order_ids)


@pytest.mark.scenario("L4")
def test_an_impossible_report_fails_the_session(world):
    """Open orders are canceled before the session ends."""

    def nonsense(number: int, order: dict[str, Any]) -> list[dict[str, Any]]:
        answers = fills_in_two(number, order) if number == 2 else rests(number, order)
        if number == 2:
            answers[1]["fill"]["qty"] = "1e9"
        return answers

    world.live.update(close_seconds="0.3")
    artifacts, venue, _, code = live_session(world, nonsense, failed)
    session = artifacts.evidence("session")
    assert (code, session["state"], session["exit_reason"]) == (1, "FAILED", "LiveAdapterError")
    assert "expected at most 0.01 more, got 1E+9" in session["failure"]
    assert {said["order_id"] for said in venue.of("cancel")} == {said["order_id"] for said in venue.of("submit")}
    assert artifacts.evidence("postflight")["verdict"] == "FAIL"
    assert artifacts.rows("SELECT count(*) AS n FROM trades")[0]["n"] == 0
    assert "Traceback" not in artifacts.report


def shortest(name: str) -> str:
    """Return the first row of the truth table that breaks a condition, alone if there is one."""
    rows = [(len(unmet), what) for what, (_, unmet) in TRUTH.items() if name in unmet]
    return min(rows, key=lambda row: row[0])[1]


@pytest.mark.parametrize("name", [name for name in CONDITIONS if name != "host_pressure"])
def test_each_unmet_condition_refuses_the_run(world, name):
    """The run exits with CONFIG (12), and its evidence has the unmet conditions."""
    breaks, unmet = TRUTH[shortest(name)]
    breaks(world)
    if (standing := world.kill_switch) is not None:
        world.late.append(
            lambda w: CommandFile(w.data, SystemClock()).append(Command(CommandKind.HALT, "ops", standing))
        )
    with context_of(world, SystemClock()) as (run, _):
        evidence = preflight(run)
        assert {condition.name for condition in evidence.live_gate if not condition.met} == unmet
        assert name in unmet
        assert evidence.exit_code == ExitCode.CONFIG
        assert {reason.split(":")[1].strip() for reason in evidence.reasons} == unmet
        for step in (verify_database, lambda run: build_runner(run).start()):
            with pytest.raises(GateRefused) as refused:
                step(run)
            assert refused.value.exit_code == ExitCode.CONFIG
    (row,) = Artifacts(world.data.root).sessions
    assert (row["state"], row["exit_code"], row["mode"]) == ("REFUSED", 12, "LIVE")


def test_preflight_consumes_no_token(world):
    with context_of(world, SystemClock()) as (run, _):
        evidence = preflight(run)
    assert (evidence.reasons, {each.name for each in evidence.live_gate}) == ((), set(CONDITIONS))
    assert not (world.data.root / "control/spent").exists()


def test_the_start_judges_every_condition_again(world):
    """A change after preflight refuses the session before an adapter is constructed."""

    def thrown(run: RunContext) -> None:
        CommandFile(world.data, SystemClock()).append(Command(CommandKind.HALT, "ops", "a second thought"))

    artifacts, reason = started_anyway(world, thrown)
    assert "LIVE refused: kill_switch: expected clear, got HALT by ops" in reason
    assert artifacts.session["state"] == "REFUSED"
    assert not (world.data.root / "control/spent").exists()


@pytest.mark.scenario("L4")
@pytest.mark.parametrize("stage", [Ingest, LiveExecution], ids=["the last", "its own"])
def test_the_connection_closes_when_a_thread_cannot_start(world, monkeypatch, stage):
    def refuse(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(stage, "start", refuse)
    with OrderVenue(fills_in_two) as venue, LocalVenue(binance_trades()) as feed:
        source = {"venue": "binance", "symbols": ["BTCUSDT"], "url": feed.url}
        world.settings.update(feed={"websocket": {"sources": [source]}})
        world.adapters = ADAPTER
        with context_of(world, SystemClock()) as (run, _):
            assert not preflight(run).exit_code + verify_database(run).exit_code
            shadow = build_runner(run)
            shadow.start()
            assert shadow.wait(PROCESS_TIMEOUT_S)
            wait_until(lambda: venue.ended, "the adapter's connection to end", 10)
            evidence = shadow.finish()
        assert [message["kind"] for message in venue.received] == ["open"]
    assert (evidence.began, evidence.verdict) == (False, "FAIL")


def started_anyway(world: World, happen: Callable[[RunContext], None]) -> tuple[Artifacts, str]:
    """Pass both gates, let something happen, and start; nothing must reach the venue."""
    with OrderVenue(fills_in_two) as venue, LocalVenue(binance_trades()) as feed:
        source = {"venue": "binance", "symbols": ["BTCUSDT"], "url": feed.url}
        world.settings.update(feed={"websocket": {"sources": [source]}})
        world.adapters = ADAPTER
        with context_of(world, SystemClock()) as (run, _):
            assert not preflight(run).exit_code + verify_database(run).exit_code
            happen(run)
            shadow = build_runner(run)
            shadow.start()
            assert shadow.wait(PROCESS_TIMEOUT_S)
            evidence = shadow.finish()
        assert (evidence.exit_code, evidence.began, venue.received) == (ExitCode.CONFIG, False, [])
        return Artifacts(world.data.root), evidence.reasons[0]

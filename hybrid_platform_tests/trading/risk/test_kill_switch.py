"""The kill switch: commands, loss limits, vetoes in a row; journalled, and released by an operator only (S10)."""

from __future__ import annotations

import json

from hybrid_platform.domain.commands import Command, CommandKind, parse_command
from hybrid_platform.domain.orders import InputKind, InputRecord, Side
from hybrid_platform.trading.engine import ExecutionEngine
from hybrid_platform_tests.trading.market import (
    FREE,
    SECOND,
    START,
    Print,
    make_settings,
    make_steps,
    make_table,
    make_ticks,
    run,
    signal_at,
)

BUY, SELL = Side.BUY, Side.SELL
HALT = Command(CommandKind.HALT, "ann", "odd fills")
RESUME = Command(CommandKind.RESUME, "ann", "checked")


def driven(settings, ticks, signals, commands):
    """Run one step a tick; ``commands`` are carried out after the tick of that position."""
    engine = ExecutionEngine(settings, ticks.table)
    records = []
    for position, step in enumerate(make_steps(ticks, signals, range(len(ticks)))):
        records += engine.on_step(step)
        for command in commands.get(position, ()):
            records += engine.on_command(command, position + 1, int(ticks.ts_recv[position]))
    return engine, records + engine.finish()


def vetoes(records):
    return [record.reason.value for record in records if type(record).__name__ == "VetoRecord"]


def test_halt_vetoes_every_signal_until_resume():
    ticks = make_ticks(make_table(), ["100"] * 4)
    signals = [signal_at(ticks, position, BUY, 1) for position in range(4)]
    engine, records = driven(make_settings(), ticks, signals, {0: [HALT], 2: [RESUME]})
    assert vetoes(records) == ["HALTED", "HALTED"]
    assert [record.detail for record in records if type(record).__name__ == "VetoRecord"] == [
        "HALT by ann: odd fills"
    ] * 2
    entries = [record for record in records if isinstance(record, InputRecord)]
    assert [(entry.kind, entry.after_seq, entry.ts) for entry in entries] == [
        (InputKind.COMMAND, 1, START), (InputKind.COMMAND, 3, START + 2 * SECOND),
    ]  # fmt: skip
    assert [parse_command(entry) for entry in entries] == [HALT, RESUME]
    assert (engine.counters.state, engine.counters.halts, engine.counters.orders) == ("ACTIVE", 1, 2)


def test_reducing_lets_only_reducing_orders_pass():
    ticks = make_ticks(make_table(), ["100"] * 4)
    signals = [
        signal_at(ticks, 0, BUY, 5),
        signal_at(ticks, 1, BUY, 1),
        signal_at(ticks, 2, SELL, 6),
        signal_at(ticks, 3, SELL, 5),
    ]
    reduce = Command(CommandKind.REDUCE, "bob", "end of day")
    _, records = driven(make_settings(), ticks, signals, {0: [reduce]})
    assert vetoes(records) == ["REDUCING", "REDUCING"]


def test_the_daily_loss_halts_at_the_tick_that_exceeds_it():
    ticks = make_ticks(make_table(), ["100", "90", "89.99", "89.99", "95"])
    signals = [
        signal_at(ticks, 0, BUY, 10),
        signal_at(ticks, 1, BUY, 1),
        signal_at(ticks, 3, BUY, 1),
        signal_at(ticks, 4, BUY, 1),
    ]
    outcome = run(make_settings(risk={"max_daily_loss_usd": 100}, **FREE), ticks, signals)
    assert outcome.reasons == ["DAILY_LOSS", "HALTED"]
    (entry,) = outcome.of(InputRecord)
    assert (entry.after_seq, entry.ts) == (3, START + 2 * SECOND)
    assert json.loads(entry.detail) == {
        "automatic": True, "command": "HALT", "who": "risk engine", "why": "max_daily_loss_usd: limit 100, got 100.11",
    }  # fmt: skip
    assert outcome.engine.counters.state == "HALTED"


def test_a_new_day_starts_without_loss():
    """The daily loss counts from the equity at midnight UTC."""
    day = 86_400 * SECOND
    midnight = START - START % day + day
    prices = (100, 95, 94, 85, "84.99")
    prints = [Print(price, at=midnight + offset) for offset, price in enumerate(prices, -2)]
    ticks = make_ticks(make_table(), prints)
    outcome = run(make_settings(risk={"max_daily_loss_usd": 100}, **FREE), ticks, [signal_at(ticks, 0, BUY, 10)])
    (entry,) = outcome.of(InputRecord)
    assert entry.after_seq == 5  # 100.1 since midnight, when it stood at 95; not 150 since yesterday
    assert "got 100.1" in entry.detail


def test_drawdown_counts_from_the_peak_and_restarts_on_resume():
    ticks = make_ticks(make_table(), ["100", "120", "110", "109", "109", "108", "98"])
    signals = [signal_at(ticks, 0, BUY, 10)]
    settings = make_settings(risk={"max_drawdown_usd": 100}, **FREE)
    _, records = driven(settings, ticks, signals, {4: [RESUME]})
    entries = [record for record in records if isinstance(record, InputRecord)]
    assert [(entry.after_seq, json.loads(entry.detail)["command"]) for entry in entries] == [
        (4, "HALT"), (5, "RESUME"), (7, "HALT"),
    ]  # fmt: skip


def test_too_many_vetoes_in_a_row_halt():
    ticks = make_ticks(make_table(), ["100"] * 6)
    sizes = [100, 1, 100, 100, 1, 1]
    signals = [signal_at(ticks, position, BUY, size) for position, size in enumerate(sizes)]
    outcome = run(make_settings(risk={"halt_after_vetoes": 2}), ticks, signals)
    assert outcome.reasons == ["RISK_CAP", "RISK_CAP", "RISK_CAP", "HALTED", "HALTED"]
    (entry,) = outcome.of(InputRecord)
    assert (entry.after_seq, json.loads(entry.detail)["why"]) == (
        4,
        "halt_after_vetoes: 2 in a row, the last of them now",
    )


def test_an_automatic_halt_is_not_repeated_while_it_lasts():
    ticks = make_ticks(make_table(), ["100", "50", "40", "30"])
    outcome = run(make_settings(risk={"max_daily_loss_usd": 1}, **FREE), ticks, [signal_at(ticks, 0, BUY, 10)])
    assert len(outcome.of(InputRecord)) == 1

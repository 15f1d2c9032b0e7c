"""Sessions are reproduced from their stored rows, for any loss of ticks between feed and database (S8)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from hybrid_platform.domain.clocks import SystemClock
from hybrid_platform.domain.commands import CommandKind
from hybrid_platform.evidence.reproduction import ReproductionVerdict
from hybrid_platform.reproduce.session import reproduce
from hybrid_platform_tests.recording import CODE, Recorder, SessionEvent, make_ticks, session_events

MOVES = st.lists(
    st.tuples(st.integers(0, 1), st.integers(96, 104), st.sampled_from((0, 0, 1, 30, 700))), min_size=12, max_size=60
)
LATE = st.sampled_from((None, None, 0, 5000))
COMMANDS = st.sampled_from((CommandKind.RESUME, CommandKind.RESUME, CommandKind.REDUCE, CommandKind.HALT))
SHOWN = st.tuples(st.integers(1, 12), LATE).map(lambda drawn: SessionEvent("show", *drawn))
BETWEEN = st.one_of(
    SHOWN,
    SHOWN,
    session_events(["drop"], 8),
    session_events(["idle"], 2000),
    session_events(["report"], 200),
    st.tuples(st.integers(0, 300), COMMANDS).map(lambda drawn: SessionEvent("command", drawn[0], None, drawn[1])),
)
LOSS = session_events(["evict", "lose"], 4)
LOSSES = st.tuples(st.lists(BETWEEN, max_size=6), st.lists(LOSS, max_size=1), st.lists(BETWEEN | LOSS, max_size=4))
MODES = st.sampled_from(
    (
        {"mode": "SHADOW"},
        {"mode": "LIVE"},
        {"mode": "PAPER", "paper": {"latency": "home", "limit_fills": "at", "reject_rate": 0.2}},
        {"mode": "PAPER", "risk": {"max_drawdown_usd": 3, "halt_after_vetoes": 4, "max_symbol_exposure_usd": 500}},
        {"mode": "PAPER", "warm_start_ticks": 7, "paper": {"latency": "none"}},
    )
)


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    return Recorder(tmp_path_factory.mktemp("reproduce") / "data")


slow = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.scenario("S8")
@slow
@given(moves=MOVES, events=st.lists(BETWEEN, max_size=12), mode=MODES)
def test_session_with_all_ticks_stored_is_reproduced(recorder, moves, events, mode):
    recorded = recorder.record(recorder.settings(**mode), make_ticks(moves), events)
    found = reproduce(recorder.reading, recorded.session_id, CODE, SystemClock(), recorded.written)
    assert found.reasons == ()
    assert found.verdict is ReproductionVerdict.PASS
    assert (found.ticks, found.shown) == (len(moves), recorded.seen)
    for kind in found.inputs:
        event(f"journalled {kind}")
    event(f"trades: {min(3, found.tables[-1].compared)}")


@pytest.mark.scenario("S8")
@slow
@given(moves=MOVES, events=LOSSES.map(lambda parts: [each for part in parts for each in part]), mode=MODES)
def test_session_with_lost_ticks_never_passes(recorder, moves, events, mode):
    """Ticks lost before the database make the reproduction INCOMPLETE, and no stored row differs."""
    recorded = recorder.record(recorder.settings(**mode), make_ticks(moves), events)
    found = reproduce(recorder.reading, recorded.session_id, CODE, SystemClock())
    expected = ReproductionVerdict.INCOMPLETE if found.evicted else ReproductionVerdict.PASS
    assert (found.verdict, found.missing) == (expected, found.evicted)
    assert found.ticks + found.missing == len(moves)
    assert [table.differing for table in found.tables] == [0] * 6
    assert all(table.compared == table.reproduced for table in found.tables)
    event(f"lost: {bool(found.evicted)}, seen: {any(hole.is_needed for hole in found.holes)}")

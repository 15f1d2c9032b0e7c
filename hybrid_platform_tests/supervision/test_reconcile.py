"""Decisions of the supervisor: by exit code, with backoff and budget, and when it leaves a session alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.maintenance.lease import LeaseHeld
from hybrid_platform.settings.operations import SupervisionSettings
from hybrid_platform.supervision.observed import ObservedPreflight, RunLiveness
from hybrid_platform.supervision.reconcile import Check, Launch, Reap, Wait, backoff_seconds
from hybrid_platform.supervision.state import Phase, SupervisorState, read_cursor, to_cursor
from hybrid_platform_tests.supervision.world import START_NS, World

HOUR = 3600.0


def running(**options) -> World:
    """A world in which the first session runs."""
    world = World(**options)
    world.evaluate_until_launched()
    world.evaluate()
    assert world.state.phase is Phase.RUNNING
    return world


def test_preflight_comes_before_the_session():
    world = World()
    assert world.evaluate() == Check(1)
    assert world.evaluate() == Launch(1)
    assert world.evaluate() == Wait()
    assert world.state.phase is Phase.RUNNING
    assert world.state.next_at is not None, "when it rolls"


def test_scheduled_preflight_counts():
    world = World()
    world.evaluate()
    world.check_run = None
    world.cursor = ""
    assert world.evaluate() == Launch(1)
    assert world.checks == 1


def test_future_preflight_is_not_fresh():
    """The clock was set back: it would be fresh until the clock has caught up with it, and longer."""
    world = World(check=ObservedPreflight(START_NS + 3_615 * NS_PER_S, True, ""))
    assert world.evaluate() == Check(1)
    assert "the last preflight is dated 2023-11-14T23:13:35Z, 3,600 s after now (was the clock set" in world.state.why
    assert world.evaluate() == Launch(1)
    # Within what two readings of a clock may differ.
    world = World(check=ObservedPreflight(START_NS + 16 * NS_PER_S, True, ""))
    assert world.evaluate() == Launch(1)


def test_preflight_made_with_a_future_date_is_a_failure():
    world = World()
    world.evaluate()
    world.check = ObservedPreflight(world.now_ns + 3_600 * NS_PER_S, True, "")
    assert not isinstance(world.evaluate(), Launch)
    assert world.state.phase is Phase.BACKOFF and "was the clock set back?" in world.state.why


def test_failed_preflight_is_repeated_with_backoff():
    world = World(check_passes=False)
    for _ in range(40):
        assert not isinstance(world.evaluate(), Launch)
    assert world.state.phase is Phase.BACKOFF
    assert "CPU pressure" in world.state.why
    assert 3 <= world.checks <= 8
    world.check_passes = True
    world.evaluate_until_launched(2 * world.settings.max_backoff_seconds)


@pytest.mark.parametrize("code", [1, 10, 11, 13])
def test_failures_restart_with_growing_waits(code: int):
    world = running()
    waits = []
    for _ in range(9):
        world.end(code, "NetworkError")
        world.evaluate(0)
        assert world.state.phase is Phase.BACKOFF
        assert f"exit code {code} (NetworkError)" in world.state.why and world.state.next_at
        waits.append(world.evaluate_until_launched())
    expected = [10, 20, 40, 80, 160, 320, 640, 900, 900]
    # A stale preflight costs two looks more.
    assert all(0 <= wait - least <= 45 for wait, least in zip(waits, expected, strict=True)), waits


def test_healthy_session_resets_the_backoff():
    world = running()
    for _ in range(5):
        world.end(1)
        world.evaluate_until_launched()
    world.evaluate(HOUR / 4)
    world.end(1)
    assert world.evaluate_until_launched() <= 45
    assert world.state.failures == 1


def test_restart_budget_holds_in_any_window():
    world = running(settings=SupervisionSettings(restart_budget=3, budget_seconds=2 * HOUR, max_backoff_seconds=10))
    for _ in range(8):
        world.end(1)
        world.evaluate_until_launched()
    restarts = world.launched_at[1:]
    for first, fourth in zip(restarts, restarts[3:], strict=False):
        assert fourth - first >= 2 * HOUR
    world.end(1)
    for after_s in (0, 10):
        world.evaluate(after_s)
        assert world.state.phase is Phase.BACKOFF
    assert "the budget of 3 restarts in 7200 s is used up" in world.state.why
    assert world.state.next_at is not None


def require_nothing_more(world: World, phase: Phase) -> None:
    for _ in range(50):
        assert world.evaluate(HOUR) == Wait()
        assert world.state.phase is phase


def test_config_error_blocks_until_the_run_changes():
    world = running()
    world.end(12, "risk.max_open_orders: expected …")
    require_nothing_more(world, Phase.CONFIG)
    world.desired = "two"
    world.evaluate_until_launched(60)
    assert len(world.launched_at) == 2


def test_config_error_of_preflight_blocks():
    world = World()
    world.evaluate()
    world.check = None
    world.check_run = world.check_run._replace(exit_code=12)
    require_nothing_more(world, Phase.CONFIG)


@pytest.mark.parametrize("code", [0, 1, 12])
def test_operator_stop_lasts_until_switched_on_again(code: int):
    world = running()
    world.end(code, "TERMINATED", by_operator=True)
    require_nothing_more(world, Phase.STOPPED)
    world.switched_on += 1
    world.evaluate_until_launched(60)
    assert len(world.launched_at) == 2


def test_session_ended_with_its_host_restarts():
    world = running()
    world.end(0, "TERMINATED")
    assert world.evaluate_until_launched() <= 45


@pytest.mark.parametrize(("rolls", "reason"), [(True, "END_OF_FEED"), (False, "END_OF_FEED"), (False, "TIME_LIMIT")])
def test_end_of_feed_and_requested_time_end_supervision(rolls: bool, reason: str):
    world = running(rolls=rolls)
    world.end(0, reason)
    require_nothing_more(world, Phase.ENDED)


def test_rolling_starts_at_once_after_an_early_preflight():
    world = running()
    for _ in range(5):
        for _ in range(240):
            world.evaluate()
        world.end(0, "TIME_LIMIT")
        checks = world.checks
        assert isinstance(world.evaluate(1), Launch), "no check stands between two sessions"
        assert world.checks == checks
    assert world.state.failures == 0 and world.state.restarts_ns == ()
    assert world.checks <= 6


def test_nothing_starts_while_halted():
    world = running()
    world.halted = "by alice: prices are wrong"
    world.evaluate()
    assert world.state.phase is Phase.RUNNING, "a session that runs is halted by itself"
    world.end(1)
    require_nothing_more(world, Phase.HALTED)
    assert "alice" in world.state.why
    world.halted = None
    world.evaluate_until_launched(60)


def test_waits_for_the_holder_of_the_lease():
    world = World(holder="session x (process 7 on host)")
    require_nothing_more(world, Phase.WAITING)
    world.holder = None
    world.evaluate_until_launched(60)
    world.end(12, "another session holds the lease /data/bot.db.lease: …", error=LeaseHeld.__name__)
    world.evaluate()
    assert world.state.blocked is None, "it came a moment too late, and nothing is wrong with it"
    world.evaluate_until_launched(60)


def test_gone_process_is_reaped_once_and_restarted():
    world = running()
    world.set_liveness(RunLiveness.GONE)
    assert world.evaluate() == Reap("run-1", "gone")
    assert world.state.phase is Phase.REAPED
    world.evaluate_until_launched(60)
    assert world.reaped == ["run-1"]


@pytest.mark.parametrize(
    ("liveness", "phase"),
    [(RunLiveness.ALIVE, Phase.RUNNING), (RunLiveness.QUEUED, Phase.STARTING), (RunLiveness.STARTING, Phase.STARTING),
     (RunLiveness.SILENT, Phase.STUCK)],
)  # fmt: skip
def test_run_that_may_be_alive_is_never_reaped(liveness: RunLiveness, phase: Phase):
    world = running()
    world.set_liveness(liveness)
    for _ in range(50):
        assert not isinstance(world.evaluate(HOUR), Reap | Launch)
    assert world.state.phase is phase


def test_launch_that_never_appears_is_a_failure():
    world = running()
    world.end(1)
    world.evaluate_until_launched()
    lost, world.run = world.run, None
    waited = world.evaluate_until_launched()
    assert waited >= world.settings.start_timeout_seconds
    assert world.run.generation == lost.generation + 1


def test_emptied_cursor_reuses_no_run_key():
    world = running()
    for _ in range(3):
        world.end(1)
        world.evaluate_until_launched()
    world.end(1)
    world.cursor = ""
    world.evaluate_until_launched(60)
    assert world.run.generation == 5


@pytest.mark.parametrize("cursor", ["", "nonsense", "{}", "[1]", '{"generation": "x"}', '{"phase": "NO SUCH"}'])
def test_foreign_cursor_is_a_fresh_start(cursor: str):
    assert read_cursor(cursor) == SupervisorState()


def test_cursor_keeps_the_whole_state():
    world = running()
    world.end(12)
    world.evaluate()
    assert world.state.blocked is not None
    assert read_cursor(to_cursor(world.state)) == world.state
    assert '"phase": "CONFIG"' in world.cursor, "a person can read it"


@given(st.integers(1, 10_000), st.floats(0.001, 1e6), st.floats(0.001, 1e9))
def test_backoff_grows_up_to_its_limit(failures: int, first: float, most: float):
    limits = SupervisionSettings(backoff_seconds=first, max_backoff_seconds=most)
    waits = [backoff_seconds(n, limits) for n in (failures, failures + 1)]
    assert 0 < waits[0] <= waits[1] <= most


def test_clock_set_back_by_a_year():
    limits = SupervisionSettings(restart_budget=2, budget_seconds=HOUR)
    world = running(settings=limits)
    for _ in range(2):
        world.end(1)
        world.evaluate_until_launched()
    world.end(1)
    world.evaluate()
    world.evaluate(60)
    assert world.state.phase is Phase.BACKOFF and "budget" in world.state.why
    world.now_s -= 365 * 24 * HOUR
    world.run = world.run._replace(ended_ns=world.now_ns)
    world.evaluate_until_launched(HOUR + limits.max_backoff_seconds)


def test_missing_launch_with_a_clock_set_back():
    world = World()
    world.evaluate()
    world.evaluate()
    world.run = None
    world.now_s -= 365 * 24 * HOUR
    world.evaluate_until_launched(2 * world.settings.start_timeout_seconds)


EVENTS = st.one_of(
    st.tuples(st.just("end"), st.sampled_from([0, 1, 10, 11, 12, 13]),
              st.sampled_from(["TIME_LIMIT", "END_OF_FEED", "TERMINATED", "CRASH"]), st.booleans(),
              st.sampled_from(["", LeaseHeld.__name__])),
    st.tuples(st.just("life"), st.sampled_from(list(RunLiveness))),
    st.tuples(st.just("halt"), st.booleans()),
    st.tuples(st.just("holder"), st.booleans()),
    st.tuples(st.just("check"), st.booleans()),
    st.tuples(st.just("desired"), st.sampled_from(["one", "two"])),
    st.tuples(st.just("switch"),),
    st.tuples(st.just("cursor lost"),),
    st.tuples(st.just("time"), st.floats(0, 10_000)),
)  # fmt: skip


def happen(world: World, event: tuple) -> None:
    kind, *values = event
    alive = world.run is not None and world.run.liveness is not None
    if kind == "end" and alive:
        code, reason, by_operator, error = values
        world.end(code, reason, by_operator=by_operator, error=error)
    elif kind == "life" and alive:
        world.set_liveness(values[0])
    elif kind == "halt":
        world.halted = "by an operator" if values[0] else None
    elif kind == "holder":
        world.holder = "session x" if values[0] else None
    elif kind == "check":
        world.check_passes = values[0]
    elif kind == "desired":
        world.desired = values[0]
    elif kind == "switch":
        world.switched_on += 1
    elif kind == "cursor lost":
        world.cursor = ""
    elif kind == "time":
        world.now_s += values[0]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(EVENTS, st.integers(1, 4)), max_size=40), st.booleans())
def test_at_most_one_session_in_any_history(events: list, rolls: bool):
    """`World.look` itself refuses a second run, a repeated run key, and a reaped run that was not gone."""
    limits = SupervisionSettings(restart_budget=2, budget_seconds=HOUR, backoff_seconds=5)
    world = World(settings=limits, rolls=rolls)
    for event, looks in events:
        happen(world, event)
        for _ in range(looks):
            before, blocked = len(world.launched_at), world.state.blocked
            known = (world.desired, world.switched_on) == (world.state.desired, world.state.switched_on)
            world.evaluate()
            if len(world.launched_at) > before:
                assert world.halted is None and world.holder is None
                assert world.check is not None and world.check.passed
                assert world.now_ns - world.check.at_ns <= limits.preflight_max_age_seconds * 1e9
                assert not (known and blocked), "a block stays until a person lifts it"
    if not any(event[0] in {"switch", "desired", "cursor lost"} for event, _ in events):
        restarts = world.state.restarts_ns
        assert all(later >= sooner for sooner, later in pairwise(restarts))
        assert all(third - first >= HOUR * 1e9 for first, third in zip(restarts, restarts[2:], strict=False))

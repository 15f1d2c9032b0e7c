"""What the supervisor decides: by exit code, with backoff and budget, and when it keeps its hands off (SPEC 9)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_platform.domain.clocks import NS_PER_S
from hybrid_platform.maintenance.lease import LeaseHeld
from hybrid_platform.settings.operations import SupervisionSettings
from hybrid_platform.supervision.observed import CheckSeen, Life
from hybrid_platform.supervision.reconcile import Check, Launch, Reap, Wait, backoff_seconds
from hybrid_platform.supervision.state import Memory, Phase, cursor_of, read_memory
from hybrid_platform_tests.supervision.world import START_NS, World

HOUR = 3600.0


def running(**options) -> World:
    """A world in which the first session runs."""
    world = World(**options)
    world.look_until_launched()
    world.look()
    assert world.memory.phase is Phase.RUNNING
    return world


def test_a_fresh_preflight_comes_first_and_then_the_session():
    world = World()
    assert world.look() == Check(1)
    assert world.look() == Launch(1)
    assert world.look() == Wait()
    assert world.memory.phase is Phase.RUNNING
    assert world.memory.next_at is not None, "when it rolls"


def test_a_preflight_of_the_schedule_serves_too():
    world = World()
    world.look()
    world.check_run = None
    world.cursor = ""
    assert world.look() == Launch(1)
    assert world.checks == 1


def test_a_preflight_that_is_dated_in_the_future_is_not_fresh_and_another_is_made():
    """The clock was set back: it would be fresh until the clock has caught up with it, and longer."""
    world = World(check=CheckSeen(START_NS + 3_615 * NS_PER_S, True, ""))
    assert world.look() == Check(1)
    assert "the last preflight is dated 2023-11-14T23:13:35Z, 3,600 s after now (was the clock set" in world.memory.why
    assert world.look() == Launch(1)
    # Within what two readings of a clock may differ.
    world = World(check=CheckSeen(START_NS + 16 * NS_PER_S, True, ""))
    assert world.look() == Launch(1)


def test_a_preflight_whose_own_date_is_in_the_future_is_a_failure_by_name():
    world = World()
    world.look()
    world.check = CheckSeen(world.now_ns + 3_600 * NS_PER_S, True, "")
    assert not isinstance(world.look(), Launch)
    assert world.memory.phase is Phase.BACKOFF and "was the clock set back?" in world.memory.why


def test_no_session_begins_on_a_host_that_is_not_fit_and_the_check_is_repeated_with_backoff():
    world = World(check_passes=False)
    for _ in range(40):
        assert not isinstance(world.look(), Launch)
    assert world.memory.phase is Phase.BACKOFF
    assert "CPU pressure" in world.memory.why
    assert 3 <= world.checks <= 8
    world.check_passes = True
    world.look_until_launched(2 * world.settings.max_backoff_seconds)


@pytest.mark.parametrize("code", [1, 10, 11, 13])
def test_a_failure_is_started_again_each_time_later(code: int):
    world = running()
    waits = []
    for _ in range(9):
        world.end(code, "NetworkError")
        world.look(0)
        assert world.memory.phase is Phase.BACKOFF
        assert f"exit code {code} (NetworkError)" in world.memory.why and world.memory.next_at
        waits.append(world.look_until_launched())
    expected = [10, 20, 40, 80, 160, 320, 640, 900, 900]
    # A stale preflight costs two looks more.
    assert all(0 <= wait - least <= 45 for wait, least in zip(waits, expected, strict=True)), waits


def test_a_session_that_ran_well_for_long_starts_the_backoff_anew():
    world = running()
    for _ in range(5):
        world.end(1)
        world.look_until_launched()
    world.look(HOUR / 4)
    world.end(1)
    assert world.look_until_launched() <= 45
    assert world.memory.failures == 1


def test_the_budget_of_restarts_is_a_limit_within_any_window():
    world = running(settings=SupervisionSettings(restart_budget=3, budget_seconds=2 * HOUR, max_backoff_seconds=10))
    for _ in range(8):
        world.end(1)
        world.look_until_launched()
    restarts = world.launched_at[1:]
    for first, fourth in zip(restarts, restarts[3:], strict=False):
        assert fourth - first >= 2 * HOUR
    world.end(1)
    for after_s in (0, 10):
        world.look(after_s)
        assert world.memory.phase is Phase.BACKOFF
    assert "the budget of 3 restarts in 7200 s is used up" in world.memory.why
    assert world.memory.next_at is not None


def require_nothing_more(world: World, phase: Phase) -> None:
    for _ in range(50):
        assert world.look(HOUR) == Wait()
        assert world.memory.phase is phase


def test_a_config_error_is_never_started_again_until_the_wanted_run_is_another():
    world = running()
    world.end(12, "risk.max_open_orders: expected …")
    require_nothing_more(world, Phase.CONFIG)
    world.wanted = "two"
    world.look_until_launched(60)
    assert len(world.launched_at) == 2


def test_a_config_error_of_the_preflight_blocks_as_well():
    world = World()
    world.look()
    world.check = None
    world.check_run = world.check_run._replace(exit_code=12)
    require_nothing_more(world, Phase.CONFIG)


@pytest.mark.parametrize("code", [0, 1, 12])
def test_what_a_person_ended_stays_ended_until_the_sensor_is_switched_on_anew(code: int):
    world = running()
    world.end(code, "TERMINATED", by_person=True)
    require_nothing_more(world, Phase.STOPPED)
    world.switched_on += 1
    world.look_until_launched(60)
    assert len(world.launched_at) == 2


def test_a_session_that_went_down_with_its_host_is_started_again():
    world = running()
    world.end(0, "TERMINATED")
    assert world.look_until_launched() <= 45


@pytest.mark.parametrize(("rolls", "reason"), [(True, "END_OF_FEED"), (False, "END_OF_FEED"), (False, "TIME_LIMIT")])
def test_a_feed_that_ended_and_a_time_that_was_asked_for_end_the_supervision(rolls: bool, reason: str):
    world = running(rolls=rolls)
    world.end(0, reason)
    require_nothing_more(world, Phase.ENDED)


def test_a_long_session_rolls_at_once_with_its_preflight_made_before():
    world = running()
    for _ in range(5):
        for _ in range(240):
            world.look()
        world.end(0, "TIME_LIMIT")
        checks = world.checks
        assert isinstance(world.look(1), Launch), "no check stands between two sessions"
        assert world.checks == checks
    assert world.memory.failures == 0 and world.memory.restarts_ns == ()
    assert world.checks <= 6


def test_nothing_begins_while_trading_is_halted_and_a_resume_lets_it_go_on():
    world = running()
    world.halted = "by alice: prices are wrong"
    world.look()
    assert world.memory.phase is Phase.RUNNING, "a session that runs is halted by itself"
    world.end(1)
    require_nothing_more(world, Phase.HALTED)
    assert "alice" in world.memory.why
    world.halted = None
    world.look_until_launched(60)


def test_another_session_on_the_database_is_waited_for():
    world = World(holder="session x (process 7 on host)")
    require_nothing_more(world, Phase.WAITING)
    world.holder = None
    world.look_until_launched(60)
    world.end(12, "another session holds the lease /data/bot.db.lease: …", error=LeaseHeld.__name__)
    world.look()
    assert world.memory.blocked is None, "it came a moment too late, and nothing is wrong with it"
    world.look_until_launched(60)


def test_a_run_whose_process_is_gone_is_given_up_once_and_started_again():
    world = running()
    world.life(Life.GONE)
    assert world.look() == Reap("run-1", "gone")
    assert world.memory.phase is Phase.REAPED
    world.look_until_launched(60)
    assert world.reaped == ["run-1"]


@pytest.mark.parametrize(
    ("life", "phase"),
    [(Life.ALIVE, Phase.RUNNING), (Life.QUEUED, Phase.STARTING), (Life.STARTING, Phase.STARTING),
     (Life.SILENT, Phase.STUCK)],
)  # fmt: skip
def test_a_run_that_may_live_is_never_given_up(life: Life, phase: Phase):
    world = running()
    world.life(life)
    for _ in range(50):
        assert not isinstance(world.look(HOUR), Reap | Launch)
    assert world.memory.phase is phase


def test_a_launch_that_never_appears_is_a_failure_and_its_run_key_is_not_used_again():
    world = running()
    world.end(1)
    world.look_until_launched()
    lost, world.run = world.run, None
    waited = world.look_until_launched()
    assert waited >= world.settings.start_timeout_seconds
    assert world.run.generation == lost.generation + 1


def test_an_emptied_cursor_does_not_bring_an_old_run_key_back():
    world = running()
    for _ in range(3):
        world.end(1)
        world.look_until_launched()
    world.end(1)
    world.cursor = ""
    world.look_until_launched(60)
    assert world.run.generation == 5


@pytest.mark.parametrize("cursor", ["", "nonsense", "{}", "[1]", '{"generation": "x"}', '{"phase": "NO SUCH"}'])
def test_a_cursor_that_is_not_ours_is_a_fresh_start(cursor: str):
    assert read_memory(cursor) == Memory()


def test_the_cursor_keeps_all_of_the_memory():
    world = running()
    world.end(12)
    world.look()
    assert world.memory.blocked is not None
    assert read_memory(cursor_of(world.memory)) == world.memory
    assert '"phase": "CONFIG"' in world.cursor, "a person can read it"


@given(st.integers(1, 10_000), st.floats(0.001, 1e6), st.floats(0.001, 1e9))
def test_the_backoff_grows_and_never_passes_its_limit(failures: int, first: float, most: float):
    limits = SupervisionSettings(backoff_seconds=first, max_backoff_seconds=most)
    waits = [backoff_seconds(n, limits) for n in (failures, failures + 1)]
    assert 0 < waits[0] <= waits[1] <= most


def test_a_clock_that_was_set_back_by_a_year_keeps_nothing_waiting():
    limits = SupervisionSettings(restart_budget=2, budget_seconds=HOUR)
    world = running(settings=limits)
    for _ in range(2):
        world.end(1)
        world.look_until_launched()
    world.end(1)
    world.look()
    world.look(60)
    assert world.memory.phase is Phase.BACKOFF and "budget" in world.memory.why
    world.now_s -= 365 * 24 * HOUR
    world.run = world.run._replace(ended_ns=world.now_ns)
    world.look_until_launched(HOUR + limits.max_backoff_seconds)


def test_a_launch_that_never_appeared_is_given_up_in_time_by_a_clock_that_was_set_back():
    world = World()
    world.look()
    world.look()
    world.run = None
    world.now_s -= 365 * 24 * HOUR
    world.look_until_launched(2 * world.settings.start_timeout_seconds)


EVENTS = st.one_of(
    st.tuples(st.just("end"), st.sampled_from([0, 1, 10, 11, 12, 13]),
              st.sampled_from(["TIME_LIMIT", "END_OF_FEED", "TERMINATED", "CRASH"]), st.booleans(),
              st.sampled_from(["", LeaseHeld.__name__])),
    st.tuples(st.just("life"), st.sampled_from(list(Life))),
    st.tuples(st.just("halt"), st.booleans()),
    st.tuples(st.just("holder"), st.booleans()),
    st.tuples(st.just("check"), st.booleans()),
    st.tuples(st.just("wanted"), st.sampled_from(["one", "two"])),
    st.tuples(st.just("switch"),),
    st.tuples(st.just("cursor lost"),),
    st.tuples(st.just("time"), st.floats(0, 10_000)),
)  # fmt: skip


def happen(world: World, event: tuple) -> None:
    kind, *values = event
    alive = world.run is not None and world.run.life is not None
    if kind == "end" and alive:
        code, reason, by_person, error = values
        world.end(code, reason, by_person=by_person, error=error)
    elif kind == "life" and alive:
        world.life(values[0])
    elif kind == "halt":
        world.halted = "by somebody" if values[0] else None
    elif kind == "holder":
        world.holder = "session x" if values[0] else None
    elif kind == "check":
        world.check_passes = values[0]
    elif kind == "wanted":
        world.wanted = values[0]
    elif kind == "switch":
        world.switched_on += 1
    elif kind == "cursor lost":
        world.cursor = ""
    elif kind == "time":
        world.now_s += values[0]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(EVENTS, st.integers(1, 4)), max_size=40), st.booleans())
def test_whatever_happens_there_is_one_session_at_most_and_its_limits_hold(events: list, rolls: bool):
    """`World.look` itself refuses a second run, a repeated run key, and a reaped run that was not gone."""
    limits = SupervisionSettings(restart_budget=2, budget_seconds=HOUR, backoff_seconds=5)
    world = World(settings=limits, rolls=rolls)
    for event, looks in events:
        happen(world, event)
        for _ in range(looks):
            before, blocked = len(world.launched_at), world.memory.blocked
            known = (world.wanted, world.switched_on) == (world.memory.wanted, world.memory.switched_on)
            world.look()
            if len(world.launched_at) > before:
                assert world.halted is None and world.holder is None
                assert world.check is not None and world.check.passed
                assert world.now_ns - world.check.at_ns <= limits.preflight_max_age_seconds * 1e9
                assert not (known and blocked), "a block stays until a person lifts it"
    if not any(event[0] in {"switch", "wanted", "cursor lost"} for event, _ in events):
        restarts = world.memory.restarts_ns
        assert all(later >= sooner for sooner, later in pairwise(restarts))
        assert all(third - first >= HOUR * 1e9 for first, third in zip(restarts, restarts[2:], strict=False))

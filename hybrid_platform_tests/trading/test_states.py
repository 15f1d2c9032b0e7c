"""The order state machine: its table of transitions (S10, S11, I3)."""

from __future__ import annotations

import pytest

from hybrid_platform.domain.orders import OrderStatus as S
from hybrid_platform.trading.states import ALLOWED, CLOSED, IllegalTransitionError, build_lifecycle, transition


@pytest.mark.scenario("S10")
def test_the_table_has_every_state_and_the_races():
    assert set(ALLOWED) == set(S)
    for before, after in [(S.CANCELED, S.PARTIALLY_FILLED), (S.CANCELED, S.FILLED),
                          (S.PENDING_CANCEL, S.ACCEPTED), (S.PENDING_CANCEL, S.FILLED)]:  # fmt: skip
        assert transition("O1", before, after) is after


@pytest.mark.scenario("S10")
def test_transitions_outside_the_table_are_errors():
    illegal = [(before, after) for before in S for after in S if after not in ALLOWED[before]]
    assert len(illegal) == 81 - 28
    for before, after in illegal:
        with pytest.raises(IllegalTransitionError, match=f"order O1 in {before}: expected one of .*, got {after}"):
            transition("O1", before, after)


def test_every_state_is_reachable_and_can_end():
    reached, edge = {S.INITIALIZED}, {S.INITIALIZED}
    while edge:
        edge = {after for before in edge for after in ALLOWED[before]} - reached
        reached |= edge
    assert reached == set(S)
    for status in set(S) - CLOSED:
        assert any(after in CLOSED or ALLOWED[after] for after in ALLOWED[status])
    assert {S.REJECTED, S.FILLED} == {status for status in S if not ALLOWED[status]}


def test_a_lifecycle_is_checked_when_it_is_built():
    with pytest.raises(IllegalTransitionError, match="expected INITIALIZED to a closed state"):
        build_lifecycle((S.INITIALIZED, ""), (S.SUBMITTED, ""))
    with pytest.raises(IllegalTransitionError, match="in INITIALIZED"):
        build_lifecycle((S.INITIALIZED, ""), (S.FILLED, ""))
    assert len(build_lifecycle((S.INITIALIZED, "a"), (S.SUBMITTED, "b"), (S.REJECTED, "c"))) == 3

"""Coalesced messages keep their ticks and their order (S8, S6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.commands import Command, CommandKind
from hybrid_platform.session.messages import MAX_COALESCED, ControlMessage, coalesce
from hybrid_platform_tests.session.ticks import single_table, tick_message

REFS = st.one_of(st.none(), st.integers(1, 99), st.text("abc", min_size=1, max_size=3))
STOP = ControlMessage(Command(CommandKind.HALT, "ann", "a reason", 1))


def flatten(messages) -> list[object]:
    """Return every tick and every control message, in order."""
    return [
        entry
        for message in messages
        for entry in ([message] if isinstance(message, ControlMessage) else list(message.batch.rows()))
    ]


@pytest.mark.scenario("S8", "S6")
@given(st.lists(st.one_of(st.none(), st.lists(REFS, min_size=1, max_size=MAX_COALESCED + 2)), max_size=12))
def test_coalesced_ticks_are_unchanged_and_in_order(parts):
    """A command keeps its place between the ticks."""
    table, messages, first = single_table(), [], 1
    for part in parts:
        if part is None:
            messages.append(STOP)
        else:
            messages.append(tick_message(table, first, part))
            first += len(part)
    joined = list(coalesce(messages))
    assert flatten(joined) == flatten(messages)
    assert sum(message.events for message in joined) == first - 1
    longest = max((len(part) for part in parts if part), default=0)
    assert all(message.events <= max(MAX_COALESCED, longest) for message in joined), (
        "a signal waits for a few ticks only"
    )


@pytest.mark.scenario("S6")
def test_waiting_single_ticks_are_processed_by_eights():
    table = single_table()
    messages = [tick_message(table, number, [None]) for number in range(1, 21)]
    assert [message.events for message in coalesce(messages)] == [MAX_COALESCED, MAX_COALESCED, 20 - 2 * MAX_COALESCED]

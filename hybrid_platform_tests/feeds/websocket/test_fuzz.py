"""Arbitrary input: no decoder raises, and each accounts for every frame (S5).

``FUZZ_INPUTS=100000`` (or another number) sets how many inputs *every* decoder gets.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.feeds.websocket.gaps import GapNumbers, GapTracker
from hybrid_platform.feeds.websocket.reader import FrameReader
from hybrid_platform.feeds.websocket.venue import Trade
from hybrid_platform.feeds.websocket.venues import create_venue
from hybrid_platform_tests.feeds.websocket.samples import FORMS, HISTORY, OTHERS, REFUSALS, TRADES, frame_format

INPUTS = int(os.environ.get("FUZZ_INPUTS", "1000"))
VENUES = {name: create_venue(frame_format(name)) for name in sorted(FORMS)}
SEEDS = [
    *TRADES.values(),
    *(frame for frames in OTHERS.values() for frame, _ in frames),
    *(frame for frame, _ in HISTORY.values()),
    *(frame for frame, _ in REFUSALS.values()),
]

NASTY: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**63, 2**64, -(2**63), 10**40, 1e308, -0.0, 5e-324, [], {}, [[]], [{}], {"a": {}}),
    *("", "0", "NaN", "Infinity", "-Infinity", "1e999", "1e-999", "1_000", "٣", " 1", "0x1", "9" * 400, "[]", "{}"),
    *("\x00", "\ud800", "\u202e", "=1+1", "'; DROP TABLE x", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00.123456789Z"),
]
SCALARS = st.one_of(
    st.sampled_from(NASTY), st.text(max_size=20), st.integers(), st.floats(), st.binary(max_size=8).map(repr)
)


def _mutated(value: Any, draw: st.DrawFn, budget: list[int]) -> Any:
    """Return a JSON value with a few of its parts replaced, removed or doubled."""
    if budget[0] and draw(st.integers(0, 5)) == 0:
        budget[0] -= 1
        return draw(SCALARS)
    if isinstance(value, dict):
        items = [(key, _mutated(item, draw, budget)) for key, item in value.items()]
        if budget[0] and items and draw(st.integers(0, 7)) == 0:
            budget[0] -= 1
            items.pop(draw(st.integers(0, len(items) - 1)))
        return dict(items)
    if isinstance(value, list):
        items = [_mutated(item, draw, budget) for item in value]
        return items * draw(st.integers(0, 3)) if budget[0] and draw(st.integers(0, 7)) == 0 else items
    return value


@st.composite
def mutated_messages(draw: st.DrawFn) -> str:
    seed = draw(st.sampled_from([seed for seed in SEEDS if seed[:1] in "[{"]))
    return json.dumps(_mutated(json.loads(seed), draw, [draw(st.integers(1, 4))]))


@st.composite
def damaged_bytes(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)).encode())
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0:
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=3))
            case 1:
                del data[at:]
            case 2:
                del data[at : at + draw(st.integers(1, 9))]
            case _:
                data[at:at] = data[max(0, at - 9) : at]
    return bytes(data)


FRAMES = st.one_of(
    mutated_messages(),
    mutated_messages().map(lambda text: text.encode("utf-8", "surrogatepass")),
    damaged_bytes(),
    st.binary(max_size=60),
    st.text(max_size=60),
)


@pytest.mark.scenario("S5")
@settings(max_examples=INPUTS, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(FRAMES)
def test_no_decoder_raises_on_any_input(frame):
    """Each decoder accounts for every frame."""
    for name, venue in VENUES.items():
        decoded = venue.decode(frame)
        outcomes = bool(decoded.trades) + bool(decoded.history) + bool(decoded.ignored) + bool(decoded.rejected)
        assert outcomes, name
        assert not (decoded.ignored and (decoded.trades or decoded.rejected or decoded.history)), name
        for trade in decoded.trades:
            assert isinstance(trade, Trade)
            assert trade.price > 0
            assert trade.size >= 0
            assert trade.side in {-1, 0, 1}
            assert 0 < trade.ts_event < 2**63
        for cause, sample in decoded.rejected:
            assert cause.isidentifier()
            assert len(sample) <= 200
            assert sample.isprintable()
        reader = FrameReader(
            venue, InstrumentTable(), GapTracker(venue.label, contiguous=venue.contiguous, numbers=GapNumbers())
        )
        reader.read(frame, 1_700_000_000_000_000_000)
        for batch in reader.drain():
            assert batch.received == len(batch.ticks) + sum(batch.rejected.values()) + batch.history

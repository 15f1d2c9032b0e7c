"""De-duplication by the venue's trade id alone (I3, S3)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.domain.instruments import InstrumentTable
from hybrid_platform.domain.ticks import TickBatch, batch_from_rows
from hybrid_platform.session.stages.deduplicate import Deduplicator

pytestmark = pytest.mark.scenario("I3", "S3")


def batch(refs: list[int | str | None], instruments: list[int] | None = None) -> TickBatch:
    table = InstrumentTable()
    for index in range(max(instruments or [0], default=0) + 1):
        table.intern("TEST", f"S{index}")
    rows = [(i, 1, 1, 0, ref, 1, 1) for ref, i in zip(refs, instruments or [0] * len(refs), strict=True)]
    return batch_from_rows(table, rows)


def kept(ticks: TickBatch) -> list[int | str | None]:
    return [row[5] for row in ticks.rows()]


ids = st.one_of(st.none(), st.integers(0, 40), st.integers(0, 20).map(lambda n: f"id-{n}"))


@given(st.lists(st.tuples(ids, st.integers(0, 1)), max_size=200), st.lists(st.integers(0, 200), max_size=6))
def test_the_first_tick_of_each_id_stays(ticks, cuts):
    """Ticks without an id always stay."""
    whole = batch([ref for ref, _ in ticks], [i for _, i in ticks])
    seen, expected = set(), []
    for ref, instrument in ticks:
        is_text = whole.trade_ref is not None and whole.trade_ref.dtype == object
        if ref is None or (instrument, ref) not in seen:
            expected.append(str(ref) if is_text and ref is not None else ref)
        seen.add((instrument, ref))
    deduplicator = Deduplicator()
    edges = [0, *sorted(cut % (len(ticks) + 1) for cut in cuts), len(ticks)]
    got = [ref for a, b in pairwise(edges) for ref in kept(deduplicator.new_only(whole[a:b]))]
    assert got == expected


def test_a_burst_of_duplicates_after_a_reconnect_is_removed():
    deduplicator = Deduplicator()
    assert len(deduplicator.new_only(batch(list(range(1000, 1100))))) == 100
    assert kept(deduplicator.new_only(batch(list(range(1050, 1150))))) == list(range(1100, 1150))


def test_a_repeated_file_counts_once_with_bounded_memory():
    deduplicator = Deduplicator(window=64)
    for start in range(0, 2000, 50):
        assert len(deduplicator.new_only(batch(list(range(start, start + 50))))) == 50
    for start in range(0, 2000, 50):
        assert len(deduplicator.new_only(batch(list(range(start, start + 50))))) == 0
    remembered = deduplicator._seen[0]
    assert len(remembered.known) + remembered.pending <= 64 + 50


def test_ids_that_do_not_increase_are_not_compared_by_size():
    deduplicator = Deduplicator(window=8)
    refs = [(61_111 * i) % 100_003 for i in range(1, 200)]
    assert kept(deduplicator.new_only(batch(refs))) == refs


def test_integer_and_text_forms_of_an_id_are_the_same():
    deduplicator = Deduplicator()
    assert kept(deduplicator.new_only(batch([5, 6]))) == [5, 6]
    assert kept(deduplicator.new_only(batch(["5", "a", "06"]))) == ["a", "06"]


def test_identical_neighbours_without_an_id_are_real_prints():
    assert len(Deduplicator().new_only(batch([None, None, None]))) == 3

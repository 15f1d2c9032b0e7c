"""Quantiles of samples in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.report.measures.sample import Sample, compute_quantiles


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_quantiles_are_among_the_values(values):
    found = compute_quantiles(np.array(values))
    assert {found.p50, found.p95, found.p99, found.max} <= set(values)
    assert found.p50 <= found.p95 <= found.p99 <= found.max == max(values)
    assert sum(value <= found.p50 for value in values) >= len(values) / 2


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.integers(2, 40))
def test_a_sample_is_exact_up_to_its_limit(values, limit):
    """Beyond the limit it holds every second, fourth … value."""
    sample = Sample(limit)
    for value in values:
        sample.add(value)
    found, exact = sample.quantiles(), compute_quantiles(np.array(values))
    assert (found.count, found.max) == (len(values), max(values))
    assert found.mean == pytest.approx(exact.mean, abs=1e-6)
    assert len(sample.values) <= limit
    assert sample.values.tolist() == values[:: sample.every]
    assert len(values) > limit or (found.p50, found.p95, found.p99) == (exact.p50, exact.p95, exact.p99)

"""Steps of the equity curve."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hybrid_platform.report.measures.curve import MAX_STEPS, STEPS_NS, choose_step


@given(st.integers(1, 10**19))
def test_a_step_is_round_and_short_enough(elapsed):
    """At most `MAX_STEPS` steps cover the session."""
    step = choose_step(elapsed)
    assert -(-elapsed // step) <= MAX_STEPS
    assert step in STEPS_NS or step % STEPS_NS[-1] == 0

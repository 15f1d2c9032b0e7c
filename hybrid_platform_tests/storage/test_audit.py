"""Audit queries over a finished session."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hybrid_platform.storage import audit
from hybrid_platform.storage.frames import frames
from hybrid_platform_tests.storage.conftest import SESSION


@pytest.mark.parametrize("at_once", [7, 1_000, 65_536])
def test_the_highest_price_spans_all_pages(finished, at_once):
    ticks = frames(finished, SESSION)["ticks"]
    highest = {key: Decimal(str(price)) for key, price in ticks.groupby(["venue", "symbol"])["price"].max().items()}
    assert audit.find_highest_prices(finished, SESSION, rows_at_once=at_once) == highest

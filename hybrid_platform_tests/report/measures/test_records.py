"""Every figure is documented."""

from __future__ import annotations

import msgspec

from hybrid_platform.report.measures import records
from hybrid_platform_tests.support import REPOSITORY


def test_every_figure_is_documented():
    text = (REPOSITORY / "docs" / "measures.md").read_text()
    groups = (records.Result, records.Risk, records.Drawdown, records.Exposure, records.RoundTrips, records.Cost)
    names = {
        field.encode_name
        for group in (*groups, records.Latency, records.Counts)
        for field in msgspec.structs.fields(group)
    }
    missing = sorted(name for name in names if f"`{name}`" not in text)
    assert missing == ["ends", "fills", "orders", "signals"], "these are in words; explain every other"

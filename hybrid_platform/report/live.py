"""What a LIVE session sent to a venue, as facts for both reports (S14)."""

from __future__ import annotations

from hybrid_platform.evidence.records import LiveFigures


def live_facts(live: LiveFigures | None) -> list[tuple[str, object]]:
    """Return the facts; none in the other modes."""
    if live is None:
        return []
    still = ", ".join(f"{order_id} {status}" for order_id, status in live.open_orders.items())
    return [
        ("LIVE account", live.account),
        ("LIVE adapter", live.adapter),
        ("armed maximum notional, USD", live.max_notional_usd),
        ("orders sent to the venue", live.submitted),
        ("orders kept back by the second judge or the kill switch", live.refused),
        ("cancels asked for", live.cancels),
        ("reports of the venue", live.reports),
        ("exposure at the end, USD", live.exposure_usd),
        ("may still be open at the venue", still or "none"),
    ]

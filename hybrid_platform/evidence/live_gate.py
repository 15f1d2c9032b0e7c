"""The LIVE gate: default deny, every unmet condition named (G1, S14, L1).

in: settings · out: the conditions of SPEC 3, each met or not. LIVE may begin only if all are met, and
whatever raises while judging counts as not met.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from hybrid_platform.config import Mode, SessionSettings
from hybrid_platform.evidence.records import LiveCondition

ADAPTERS = "hybrid_platform.live_adapters"


def live_conditions(settings: SessionSettings) -> tuple[LiveCondition, ...]:
    """Return every condition for LIVE; an empty tuple for the other modes."""
    if settings.mode is not Mode.LIVE:
        return ()
    adapters = sorted(point.name for point in entry_points(group=ADAPTERS))
    return (
        LiveCondition("live_armed", settings.live_armed, f"live_armed: expected true, was {settings.live_armed}"),
        LiveCondition("proof_bundle", False, "proof bundle: expected a signed one that verifies, was none"),
        LiveCondition(
            "live_adapter",
            bool(adapters),
            f"live execution adapter: expected one installed ({ADAPTERS}), was {', '.join(adapters) or 'none'}",
        ),
    )

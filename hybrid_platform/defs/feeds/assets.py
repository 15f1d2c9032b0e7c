"""Feeds and exchanges as external assets: the start of the lineage that leads to every stored trade.

Nothing here is materialized. A session reads exactly one feed; its settings say which.
"""

from __future__ import annotations

from typing import get_args

import dagster as dg

from hybrid_platform.defs.shared.names import FEEDS
from hybrid_platform.settings.websocket import FeedSource

GROUP = "feeds"
VENUES: tuple[str, ...] = get_args(FeedSource.model_fields["venue"].annotation)
_DESCRIPTIONS = {
    "synthetic": "A random walk from a seed: the same settings give the same ticks.",
    "replay": "Recorded trades from CSV, JSON Lines or Parquet files, or from an earlier session.",
    "websocket": "Public trades of exchanges, live or played back from a recording of the connection.",
}

venues = [
    dg.AssetSpec(
        ["venue", name],
        group_name=GROUP,
        kinds={"websocket"},
        description=f"Public trades that the adapter `{name}` reads over a websocket (docs/live-data.md).",
    )
    for name in VENUES
]

feeds = [
    dg.AssetSpec(
        key,
        group_name=GROUP,
        kinds={"websocket"} if name == "websocket" else {"file"} if name == "replay" else {"python"},
        deps=venues if name == "websocket" else [],
        description=_DESCRIPTIONS[name],
    )
    for name, key in FEEDS.items()
]

"""The readable tables and views of the database as external assets, with their columns and their lineage.

A session reports a materialization of each table it wrote to, with the number of rows it added. The columns
`signal_id`, `order_id` and `seq` lead from a trade back to the tick that caused it.
"""

from __future__ import annotations

import dagster as dg
from sqlalchemy.dialects import sqlite

from hybrid_platform.defs.shared.names import SHADOW
from hybrid_platform.defs.shared.tables import build_table_key, build_table_metadata
from hybrid_platform.storage.views import PUBLIC_TABLES

GROUP = "database"
_DESCRIPTIONS = {
    "sessions": "One row per session: identity, settings, state and exit code.",
    "ticks": "Every trade that the feed delivered, in order of arrival.",
    "signals": "Decisions of the strategy, each with the tick that caused it.",
    "vetoes": "Signals that risk rejected, with the check and the reason.",
    "orders": "Orders that passed risk, with their last status.",
    "order_events": "Every change of status of every order.",
    "trades": "Fills of orders: quantity, price and fees.",
    "inputs": "Everything else that decisions depended on: commands, reports, timers.",
    "heartbeats": "Heartbeats of the session, late ones marked.",
    "gaps": "Trades that the feed is known to have missed.",
    "ledger": "Accounts of every event of every channel and every row of every table.",
}
_UPSTREAM = {
    "signals": ["ticks"],
    "vetoes": ["signals"],
    "orders": ["signals"],
    "order_events": ["orders"],
    "trades": ["orders"],
}


def _build_schema(name: str) -> dg.TableSchema:
    dialect = sqlite.dialect()
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name,
                type=column.type.compile(dialect=dialect),
                constraints=dg.TableColumnConstraints(nullable=bool(column.nullable)),
            )
            for column in PUBLIC_TABLES[name].columns
        ]
    )


tables = [
    dg.AssetSpec(
        build_table_key(name),
        group_name=GROUP,
        kinds={"sqlite", "table"},
        deps=[build_table_key(table) for table in _UPSTREAM.get(name, [])] or [SHADOW],
        description=_DESCRIPTIONS[name],
        metadata={"dagster/column_schema": _build_schema(name), **build_table_metadata(name)},
    )
    for name in PUBLIC_TABLES
]

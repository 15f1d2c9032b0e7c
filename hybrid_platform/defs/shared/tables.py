"""The database's tables as Dagster shows them: keys of their assets, and the columns that lead from one to another."""

from __future__ import annotations

from typing import Any

import dagster as dg

COLUMN_LINEAGE = {
    "signals": {"seq": "ticks"},
    "vetoes": {"signal_id": "signals"},
    "orders": {"signal_id": "signals"},
    "order_events": {"order_id": "orders"},
    "trades": {"order_id": "orders"},
}
"""For each table, the columns that hold keys of another table."""


def build_table_key(name: str) -> dg.AssetKey:
    """Return the key of the external asset that stands for a table of the database."""
    return dg.AssetKey(["database", name])


def build_table_metadata(name: str) -> dict[str, Any]:
    """Return the name and the column lineage of a table. The UI reads them from materializations only."""
    metadata: dict[str, Any] = {"dagster/table_name": name}
    if name in COLUMN_LINEAGE:
        metadata["dagster/column_lineage"] = dg.TableColumnLineage(
            {
                column: [dg.TableColumnDep(asset_key=build_table_key(table), column_name=column)]
                for column, table in COLUMN_LINEAGE[name].items()
            }
        )
    return metadata

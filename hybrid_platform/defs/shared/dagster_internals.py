"""The only place that imports private modules of Dagster, because no public name does the same.

`test_dagster_internals.py` checks that they exist and behave, so that an upgrade of Dagster fails there first.
"""

from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._utils.interrupts import capture_interrupts, pop_captured_interrupt

__all__ = ["capture_interrupts", "event_log_file", "pop_captured_interrupt"]


def event_log_file(instance: dg.DagsterInstance, run_id: str) -> Path | None:
    """Return the file that holds a run's events, or None if the instance does not keep one file per run."""
    storage = instance.event_log_storage
    return Path(storage.path_for_shard(run_id)) if isinstance(storage, SqliteEventLogStorage) else None

"""The entry point that Dagster loads: all definitions below `defs`, found by their place.

`load_from_defs_folder` would do the same, but it needs the project's pyproject.toml, which an installed wheel lacks.
"""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Return every asset, check, job, schedule, sensor and resource of the platform."""
    package = importlib.import_module("hybrid_platform.defs")
    with warnings.catch_warnings():
        # Dagster warns about its own use of a function in preview; load_from_defs_folder suppresses this as well.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.ComponentTree.from_module(defs_module=package, project_root=Path(__file__).parents[1]).build_defs()

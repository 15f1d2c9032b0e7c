"""The entry point that Dagster loads: all definitions below `defs`, found by their place, under one policy.

`load_from_defs_folder` would do the same, but it needs the project's pyproject.toml, which an installed wheel lacks.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Return every asset, check, job, schedule, sensor and resource of the platform."""
    # Imported here: importing the entry point alone must not load every definition.
    import hybrid_platform.defs as package
    from hybrid_platform.defs.shared.policy import apply_policy

    with warnings.catch_warnings():
        # Dagster warns about its own functions; the bound on its version makes a change visible.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        warnings.simplefilter("ignore", dg.BetaWarning)
        loaded = dg.ComponentTree.from_module(defs_module=package, project_root=Path(__file__).parents[1]).build_defs()
        return apply_policy(loaded, os.environ)

"""The entry point that Dagster loads: all definitions below `defs`, found by their place, under one policy.

`load_from_defs_folder` would do the same, but it needs the project's pyproject.toml, which an installed wheel lacks.
"""

from __future__ import annotations

import os
import warnings
from functools import cache
from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Return every asset, check, job, schedule, sensor and resource of the platform."""
    return _load_definitions()


@cache
def _load_definitions() -> dg.Definitions:
    """Load the definitions once per process: Dagster calls `defs` several times while it executes one job."""
    # Imported here: importing the entry point alone must not load every definition.
    import hybrid_platform.defs as package
    from hybrid_platform.defs.shared.policy import apply_policy

    with warnings.catch_warnings():
        # Dagster warns about its own functions; the bound on its version makes a change visible.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        warnings.simplefilter("ignore", dg.BetaWarning)
        tree = dg.ComponentTree.from_module(defs_module=package, project_root=Path(__file__).parents[1])
        # Without a path, Dagster also describes every component type of the installation: 0.1 s at each start.
        return apply_policy(tree.build_defs(Path(package.__file__).parent), os.environ)

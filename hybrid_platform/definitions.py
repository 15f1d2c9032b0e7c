"""The entry point that Dagster loads: all definitions below `defs`, found by their place, under one policy.

`load_from_defs_folder` would find the same, and components as well, of which there are none. It needs the project's
pyproject.toml, which an installed wheel lacks, and it adds 0.2 s of CPU to each start.
"""

from __future__ import annotations

import os
import warnings
from functools import cache

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
    from hybrid_platform.defs.shared.resources import session

    with warnings.catch_warnings():
        # Dagster warns about its own functions; the bound on its version makes a change visible.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        warnings.simplefilter("ignore", dg.BetaWarning)
        loaded = dg.load_definitions_from_package_module(package, resources={"session": session})
        return apply_policy(loaded, os.environ)

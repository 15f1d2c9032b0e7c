"""Names that scripts, schedules and sensors rely on: assets, jobs and run tags.

A test pins every name; a change needs an entry in CHANGELOG.md.
"""

import dagster as dg

PREFLIGHT, PRAGMA, SHADOW, POSTFLIGHT = (
    "preflight_healthcheck",
    "pragma_verification",
    "shadow_run",
    "postflight_evidence",
)
"""The session's assets, in their order. `SHADOW` is also the name of the job that materializes all four."""

FEEDS = {name: dg.AssetKey(["feed", name]) for name in ("synthetic", "replay", "websocket")}
"""External assets, by the name of the feed in the settings."""

PREFLIGHT_CHECK, POSTFLIGHT_CHECK = "preflight_check", "postflight_check"
PREFLIGHT_JOB, POSTFLIGHT_JOB = "preflight", "postflight"
MATRIX = "verification_matrix"

PLATFORM_JOBS = frozenset(
    {
        SHADOW,
        PREFLIGHT_JOB,
        POSTFLIGHT_JOB,
        MATRIX,
        "halt_trading",
        "reduce_trading",
        "resume_trading",
        "reproduce",
        "compare",
        "plan_sweep",
        "sweep",
        "sweep_report",
        "retention",
    }
)
"""Every job of the platform: retention deletes old runs of these and leaves the runs of other projects alone."""

SESSION_TAG = "hybrid_platform/session_id"
EXIT_CODE_TAG = "hybrid_platform/exit_code"
EXIT_REASON_TAG = "hybrid_platform/exit_reason"
ERROR_TAG = "hybrid_platform/error"
"""The class of the error that kept the session from starting; the supervisor decides by it."""
PROCESS_TAG = ".dagster/hybrid_platform_process"
"""The process that executes the steps, as the JSON of `RunProcess`; the supervisor reads it. The UI hides the tag."""
